"""Dipole vectors at equal minutes: networks that know nothing of rotations, under a learned law, beside those that do.

    python benchmarks/dipoles.py FILE [--minutes 4] [--seeds 0] [--models NAME ...]

FILE is qm9_rimp2.npz: RI-MP2 dipole vectors of QM9 molecules. Every molecule is turned once into a random frame.
Networks without the symmetry train with --augment learned, the dipole turned back by `Vector`; those that have it with
--augment none. Runs that are already in results/dipoles.json are kept. Nothing else should run beside it.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from record import Job, cells, gather, provenance

from molaugerino.config import TrainConfig
from molaugerino.models import BACKBONES
from molaugerino.training.run import train

TARGET = "mp2_relaxed_dipole"


def one(model: Any, seed: int, minutes: float, file: str) -> dict[str, Any]:
    knows = BACKBONES[model].symmetry in ("proper motions", "all motions")
    settings: dict[str, Any] = {"model": model, "augment": "none" if knows else "learned", "frames": "random"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        run = train(TrainConfig(data=(file,), target=(TARGET,), minutes=minutes, seed=seed, out=out, **settings))
        if run is None:
            raise KeyboardInterrupt
        with (out / "metrics.csv").open(newline="") as log:
            steps = max(int(row["step"]) for row in csv.DictReader(log)) + 1
    facts = {"symmetry": BACKBONES[model].symmetry, "steps": steps, "augment": settings["augment"]}
    return facts | {"law": run.law, "results": [r._asdict() for r in run.results]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--models", nargs="+", default=list(BACKBONES), choices=list(BACKBONES))
    options = parser.parse_args()
    origin = provenance(options.seeds)
    jobs: list[Job] = [
        (
            {"model": model, "seed": seed, "minutes": options.minutes},
            partial(one, model, seed, options.minutes, options.file),
        )
        for seed in options.seeds
        for model in options.models
    ]
    gather("dipoles", origin, jobs, say)


def say(run: dict[str, Any]) -> str:
    return f"{run['model']} seed {run['seed']}: {run['steps']} steps, {cells(run)}; {run['law']['verdict']}"


if __name__ == "__main__":
    main()
