"""molaugerino evaluate"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from molaugerino.cli.report import print_image_report, print_report, report_json
from molaugerino.config import EvaluateConfig
from molaugerino.errors import UserError
from molaugerino.training.calibration import LEVEL, calibration_of, coverage_rows, covered
from molaugerino.training.checkpoint import is_of_images, load_model
from molaugerino.training.evaluation import evaluate_model
from molaugerino.training.evidence import load_evidence
from molaugerino.training.folder import RUNS, molecules_to_test
from molaugerino.training.ready import TESTED, find_model


def run(config: EvaluateConfig) -> int:
    if config.copies < 1:
        raise UserError(f"--copies must be at least 1, got {config.copies}")
    folder = find_model(config.run, RUNS)
    if not config.data and (folder / TESTED).is_file():
        if config.method or config.copies != EvaluateConfig.copies:
            raise UserError(
                f"--method and --copies are for tests on --data; without it {folder.name} shows those stored with it"
            )
        return stored(folder, config)
    if is_of_images(folder):
        if config.method:
            raise UserError(f"--method is for labels of molecules; {folder} is a model of images, leave it out")
        return images(folder, config)
    augmented, card = load_model(folder)
    calibration = calibration_of(folder, card)
    molecules, rows = molecules_to_test(folder, card, config.data, config.method)
    known = np.isin(molecules.atomic_numbers, card.elements)
    strange = np.intersect1d(rows, molecules.owner[~known])
    rows = np.setdiff1d(rows, strange)
    if len(rows) == 0:
        raise UserError(f"no molecule of {molecules.name} consists of elements the model has seen, {card.elements}")
    results = evaluate_model(augmented, card, molecules, rows, config.copies)
    held = [] if calibration is None else coverage_rows(card, covered(augmented, card, calibration, molecules, rows))
    if config.format == "json":
        print(report_json(card.law, results, held, load_evidence(folder)))
    else:
        print_report(card.law, results, held, load_evidence(folder))
    if len(strange):
        print(f"{len(strange)} molecules with elements that the model has not seen were left out", file=sys.stderr)
    unstated = [t.name for t in card.targets if t.method and not any(u.method for u in molecules.targets(t.name))]
    if unstated:
        print(
            f"warning: {molecules.name} does not say by which method {', '.join(unstated)} was computed; "
            f"the model predicts {', '.join(dict.fromkeys(t.method for t in card.targets))}",
            file=sys.stderr,
        )
    if molecules.geometry != card.geometry:
        print(
            f"warning: the model was trained on {card.geometry} geometries, {molecules.name} holds given ones only; "
            "make them with: molaugerino data mmff",
            file=sys.stderr,
        )
    return 0


def images(folder: Path, config: EvaluateConfig) -> int:
    """Law and test scores of a model of images, on the pictures of its run."""
    from molaugerino.training.image_scores import evaluate_run

    card, results = evaluate_run(folder, config.data, config.copies)
    evidence = load_evidence(folder)
    if config.format == "json":
        print(report_json(card.law, results, evidence=evidence))
    else:
        print_image_report(card.law, results, evidence)
    return 0


def stored(folder: Path, config: EvaluateConfig) -> int:
    """The tests of a model that comes with the package, whose data do not."""
    text = (folder / TESTED).read_text()
    if config.format == "json":
        print(text, end="")
        return 0
    tested = json.loads(text)
    console = Console()
    for route, rows in tested["routes"].items():
        title = f"{folder.name}, {route}: test errors, and {LEVEL:.0%} intervals"
        table = Table(box=box.SIMPLE, title=title, title_justify="left")
        for name in ("target", "MAE", "molecules", "hold the label", "mean width", "calibrated on"):
            table.add_column(name, justify="left" if name == "target" else "right")
        for r in rows:
            held = f"{r['found']:.1%} +- {r['standard_error']:.1%}"
            cells = f"{r['mae']:.4g}", str(r["tested"]), held, f"{r['width']:.4g}", str(r["calibrated"])
            table.add_row(escape(r["column"]), *cells)
        console.print(table)
    print(f"as stored with the model; test it on data of your own with --data ({tested['note']})", file=sys.stderr)
    return 0
