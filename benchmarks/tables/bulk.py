"""Tables of libraries."""

from __future__ import annotations

import math
from typing import Any

from molaugerino.predict.predictor import CHUNK
from tables.cells import table
from tables.layerwise import of

NAMES = {"rdkit": "RDKit alone", "qm9-mmff": "`qm9-mmff`, one pass", "xtb9": "`xtb9`"}


def bulk_table(content: dict[str, Any]) -> str:
    """Rates, alone and over that of RDKit, and memory at the first chunk and at the last."""
    rows = []
    [alone] = of(content, part="rate", model="rdkit")
    for model, name in NAMES.items():
        for run in of(content, part="rate", model=model):
            rate = run["rows"] / run["seconds"]
            memory = while_predicting(run)
            if (copies := run["copies"] or 1) > 1:
                name = f"{name}, {copies} rotations"
            cells = [name, f"{run['rows']:,}", f"{rate:.0f}", f"{alone['seconds'] / run['seconds']:.2f}"]
            rows.append([*cells, f"{memory[0]:.0f}, {memory[-1]:.0f}" if memory else ""])
    header = ["", "molecules", "a second", "of RDKit's rate", "memory at the first chunk, at the last, MB"]
    return "\n\n".join([table(header, rows), *(_killed(run) for run in of(content, part="killed"))])


def while_predicting(run: dict[str, Any]) -> list[float]:
    """Megabytes from the first chunk to the last but one; after it the processes that make geometries have ended."""
    chunks = math.ceil(run["rows"] / CHUNK)
    return [mb for done, mb in run.get("memory_mb", ()) if done < chunks]


def _killed(run: dict[str, Any]) -> str:
    times = len(run["rows_at_each_kill"])
    outcome = "identical with that of an unbroken run" if run["identical"] else "NOT that of an unbroken run"
    return f"Killed {times} times at random over {run['rows']:,} rows and resumed, the file is {outcome}."
