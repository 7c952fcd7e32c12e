"""The law and the error table, for people and for programs."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from molaugerino.predict.outputs import number
from molaugerino.training.evaluation import Result
from molaugerino.training.evidence import ReadOut


def print_report(
    law: dict[str, Any],
    results: Sequence[Result],
    coverage: Sequence[dict[str, Any]] = (),
    evidence: ReadOut | None = None,
) -> None:
    """The law, test errors and how often intervals held, where there were tests, and what the evidence found where it
    was asked."""
    console = Console()
    print_law(law, console)
    methods = ", ".join(dict.fromkeys(r.method for r in results if r.method))
    title = "test errors (mean absolute" + (f", against {methods})" if methods else ")")
    table = Table(box=box.SIMPLE, title=title, title_justify="left")
    for name in ("target", "frames", "passes", "MAE", "mean predictor", "molecules"):
        is_text = name in ("target", "frames", "passes")
        table.add_column(name, justify="left" if is_text else "right", overflow="fold")
    methods_of = Counter(name for name, _ in {(r.target, r.method) for r in results})
    for r in results:
        target = escape(f"{r.target}@{r.method} [{r.unit}]" if methods_of[r.target] > 1 else f"{r.target} [{r.unit}]")
        table.add_row(target, r.frames, f"{r.copies}, {r.passes}", _number(r.mae), _number(r.mean_predictor), str(r.n))
    if results:
        console.print(table)
    print_coverage(coverage, console)
    if evidence is not None:
        print_evidence(evidence, console)


def print_image_report(law: dict[str, Any], results: Sequence[Any], evidence: ReadOut | None = None) -> None:
    """The law, test scores per number of copies (`ImageResult`), and what the evidence found where it was asked."""
    console = Console()
    print_law(law, console)
    table = Table(box=box.SIMPLE, title=f"test scores, {results[0].n} images", title_justify="left")
    for name in ("copies", *results[0].scores):
        table.add_column(escape(name), justify="right")
    for r in results:
        table.add_row(str(r.copies), *map(_number, r.scores.values()))
    console.print(table)
    if evidence is not None:
        print_evidence(evidence, console)


def print_evidence(found: ReadOut, console: Console) -> None:
    """Per layer, how many parameters the data determine, and which share of them each path has."""
    shares, sizes, effective = found.shares(), dict[str, int](), dict[str, float]()
    for tensor in found.tensors:
        sizes[tensor.layer] = sizes.get(tensor.layer, 0) + tensor.size
        effective[tensor.layer] = effective.get(tensor.layer, 0.0) + tensor.effective
    title = "parameters that the data determine, by layer and path"
    table = Table(box=box.SIMPLE, title=title, title_justify="left")
    paths = list(dict.fromkeys(path for layer in shares.values() for path in layer))
    for name in ("layer", "parameters", "determined", *paths):
        table.add_column(escape(name), justify="left" if name == "layer" else "right")
    for layer, size in sizes.items():
        known = {path: share for path, share in shares.get(layer, {}).items() if math.isfinite(share)}
        own = (f"{known[path]:.0%}" if path in known else "" for path in paths)
        table.add_row(escape(layer), f"{size:,}", f"{effective[layer]:,.0f}", *own)
    console.print(table)
    noise = "" if found.noise is None else f"; noise of the label {found.noise:.3g}"
    if found.idle():
        console.print(f"of these tensors the data determine nothing: {', '.join(found.idle())}", soft_wrap=True)
    console.print(f"log evidence {found.log_evidence:.4g} nats per training example{noise}", soft_wrap=True)


def print_coverage(coverage: Sequence[dict[str, Any]], console: Console) -> None:
    """How often intervals held the label; nothing where there are none."""
    if not coverage:
        return
    title = f"{coverage[0]['level']:.0%} intervals on test molecules"
    table = Table(box=box.SIMPLE, title=title, title_justify="left")
    for name in ("target", "hold the label", "mean width", "calibrated on", "tested on"):
        table.add_column(name, justify="left" if name == "target" else "right", overflow="fold")
    for c in coverage:
        held = f"{c['found']:.1%} +- {c['standard_error']:.1%}"
        table.add_row(escape(c["column"]), held, _number(c["width"]), str(c["calibrated"]), str(c["tested"]))
    console.print(table)


def print_law(law: dict[str, Any], console: Console) -> None:
    table = Table(box=box.SIMPLE, title=f"law of transformations: {law['augment']}", title_justify="left")
    for name in ("part", "reaches", "mean", "unit", "nats from the widest"):
        table.add_column(name, justify="left" if name in ("part", "unit") else "right")
    for name, part in law["parts"].items():
        nats = "-" if part["nats"] is None else f"{abs(part['nats']):.2f}"
        table.add_row(name, f"{part['width']:.3g}", f"{part['mean']:.3g}", part["unit"], nats)
    console.print(table)
    if law["verdict"]:
        console.print(law["verdict"], soft_wrap=True)


def _number(value: float | None) -> str:
    return "-" if value is None else number(value)


def report_json(
    law: dict[str, Any],
    results: Sequence[Any],
    coverage: Sequence[dict[str, Any]] | None = None,
    evidence: ReadOut | None = None,
) -> str:
    found: dict[str, Any] = {"law": law, "results": [r._asdict() for r in results]}
    found |= {} if coverage is None else {"coverage": list(coverage)}
    found |= {} if evidence is None else {"evidence": evidence.content()}
    return json.dumps(found, indent=1, allow_nan=False)
