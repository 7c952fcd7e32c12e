"""molaugerino measure"""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from molaugerino.config import MeasureConfig
from molaugerino.errors import UserError
from molaugerino.files import check_file, write_atomic
from molaugerino.measure import Measurement, measure
from molaugerino.measure.report import Rate, shared_out
from molaugerino.training.folder import RUNS
from molaugerino.training.ready import find_model

PICTURES = (".png", ".svg")


def run(config: MeasureConfig) -> int:
    if config.plot is not None:
        if config.plot.suffix not in PICTURES:  # said before anything is computed
            raise UserError(f"--plot writes {' or '.join(PICTURES)}, got {config.plot}; name the file so")
        check_file(config.plot)
    folder = find_model(config.run, RUNS)
    with Console(stderr=True).status(f"measuring {folder}"):
        found = measure(folder, config.data, config.examples, config.layers)
    if config.format == "json":
        print(found.to_json())
    else:
        print_measurement(found)
    if config.plot is not None:
        from molaugerino.measure.picture import draw

        write_atomic(config.plot, draw(found, config.plot.suffix))
        print(f"written to {config.plot}", file=sys.stderr)
    return 0


def print_measurement(found: Measurement) -> None:
    """Layers, rates, curve and worst cases, and the verdict."""
    console = Console()
    console.print(
        f"{found.network}, --augment {found.augment}, {found.examples} test examples. Layers under "
        f"{found.layer_transformations}: I invariance, E equivariance (best-matching channel, or the one that matched "
        "on other examples), with the null of unrelated examples; L rate of change per unit, relative (the largest).",
        soft_wrap=True,
        highlight=False,
    )
    table = Table(box=box.SIMPLE, padding=0, collapse_padding=True)
    table.add_column("layer", no_wrap=True)
    for name in ("channels", "I", "null I", "E", "matched", "null E", "L"):
        table.add_column(name, justify="right", no_wrap=True)
    if found.paths:
        table.add_column("paths, by evidence", no_wrap=True)
    for layer in found.layers:
        lie = f"{max(layer.lie.values()):.2g}" if layer.lie else "-"
        scores = (layer.invariance, layer.null["invariance"], layer.equivariance, layer.matched)
        cells = [str(layer.channels), *map(_score, scores), _score(layer.null["equivariance"]), lie]
        cells += [shared_out(found.paths.get(layer.name, {}))] if found.paths else []
        table.add_row(escape(layer.name), *cells)
    console.print(table)
    if found.unmeasured:
        console.print(f"not measured, their layout is not known: {', '.join(found.unmeasured)}", soft_wrap=True)
    title = f"how far answers move from the untransformed one, under {found.transformations}"
    table = Table(box=box.SIMPLE, padding=0, collapse_padding=True, title=title, title_justify="left")
    for name in ("output", "passes", f"at {found.sizes[-1]:.3g} {found.size_unit}", "worst, mean", "largest", "of"):
        table.add_column(name, justify="left" if name in ("output", "of") else "right")
    for curve, case in zip(found.angle_curve, found.worst_angle, strict=True):
        numbers = (curve.deviation[-1], case.mean, case.largest)
        cells = [f"{value:.3g}" for value in numbers]
        table.add_row(escape(f"{curve.output} [{curve.unit}]"), str(curve.passes), *cells, escape(case.where))
    console.print(table)
    units = " and ".join(filter(None, dict.fromkeys(rate.per for rate in found.lie_derivative)))
    title = "Lie derivatives of one pass, root mean square" + (f", per {units}" if units else "")
    table = Table(box=box.SIMPLE, padding=0, collapse_padding=True, title=title, title_justify="left")
    rates: dict[str, list[Rate]] = {}
    for rate in found.lie_derivative:
        rates.setdefault(rate.output, []).append(rate)
    table.add_column("output")
    for rate in next(iter(rates.values())):
        table.add_column(rate.axis, justify="right")
    for output, each in rates.items():
        table.add_row(escape(f"{output} [{each[0].unit}]"), *(f"{rate.rms:.3g}" for rate in each))
    console.print(table)
    for output, shares in found.power.items():
        if shares:
            told = ", ".join(f"l = {k}: {share:.1%}" for k, share in enumerate(shares, 1))
            console.print(
                f"{output}: what turns with the molecule is of degree {told}", soft_wrap=True, highlight=False
            )
    if found.frames is not None:
        oriented = "are oriented" if found.frames.oriented else "show no orientation"
        console.print(
            f"the frames of these molecules {oriented}: stored and turned ones are told apart in "
            f"{found.frames.accuracy:.1%} of cases, p = {found.frames.p_value:.2g}",
            soft_wrap=True,
            highlight=False,
        )
    for sentence in found.verdict:
        console.print(sentence, soft_wrap=True, highlight=False)


def _score(value: float) -> str:
    return f"{value:.3f}"
