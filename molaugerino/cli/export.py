"""molaugerino export"""

from __future__ import annotations

import sys

from rich.console import Console

from molaugerino.config import ExportConfig
from molaugerino.datasets import EMBEDDED, open_joined
from molaugerino.predict.export import MEASURE, TOLERANCE, export
from molaugerino.predict.predictor import Predictor


def run(config: ExportConfig) -> int:
    predictor = Predictor.from_pretrained(config.model)
    molecules = open_joined(config.data or EMBEDDED)
    with Console(stderr=True).status(f"exporting {predictor.name}"):
        found = export(predictor, config.out, molecules)
    for note in predictor.warnings:
        print(f"warning: {note}", file=sys.stderr)
    print(
        f"{config.out}: {predictor.card.model} for {', '.join(column.titled() for column in predictor.columns)}; "
        f"on {found.compared} molecules of {molecules.name} it differs from the model by at most "
        f"{found.difference:.1e} of {MEASURE} (allowed: {TOLERANCE:.0e})"
    )
    return 0
