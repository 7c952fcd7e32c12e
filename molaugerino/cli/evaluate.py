"""molaugerino evaluate"""

from __future__ import annotations

import sys

import numpy as np

from molaugerino.cli.report import print_report, report_json
from molaugerino.config import EvaluateConfig
from molaugerino.errors import UserError
from molaugerino.training.checkpoint import load_model
from molaugerino.training.evaluation import evaluate_model
from molaugerino.training.folder import molecules_to_test


def run(config: EvaluateConfig) -> int:
    if config.copies < 1:
        raise UserError(f"--copies must be at least 1, got {config.copies}")
    augmented, card = load_model(config.run)
    molecules, rows = molecules_to_test(config.run, card, config.data, config.method)
    known = np.isin(molecules.atomic_numbers, card.elements)
    strange = np.intersect1d(rows, molecules.owner[~known])
    rows = np.setdiff1d(rows, strange)
    if len(rows) == 0:
        raise UserError(f"no molecule of {molecules.name} consists of elements the model has seen, {card.elements}")
    results = evaluate_model(augmented, card, molecules, rows, config.copies)
    if config.format == "json":
        print(report_json(card.law, results))
    else:
        print_report(card.law, results)
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
            f"warning: the model was trained on {card.geometry} geometries, {molecules.name} holds given ones only",
            file=sys.stderr,
        )
    return 0
