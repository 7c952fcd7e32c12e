"""Is the law right for the right reason? Three labels with three right answers, random frames, default settings.

    python benchmarks/laws.py [--seeds 0 1 2] [--minutes 4] [--only LABEL ...]

gap, an invariant scalar: every rotation is right (the data say nothing, so the law goes to Haar).
dipole_x, one component read as a scalar: no rotation is right. dipole, the vector: every
rotation is right. Translations are right for all three. Runs that are already in
results/laws.json are kept, so the program can be stopped and started again.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from record import Job, gather, provenance

from molaugerino.config import DEFAULT_MINUTES, TrainConfig
from molaugerino.training.run import train

LABELS = ("gap", "dipole_x", "dipole")


ROTATION, TRANSLATION = "law/rotation_angle[degree]", "law/translation[angstrom]"


def one(label: str, seed: int, minutes: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run = train(TrainConfig(target=(label,), frames="random", seed=seed, minutes=minutes, out=Path(folder) / "run"))
        if run is None:
            raise KeyboardInterrupt
        with (run.folder / "metrics.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row[ROTATION]]
    return {
        "mean_rotation_rad": math.radians(run.law["parts"]["rotation angle"]["mean"]),
        "law": run.law,
        "results": [r._asdict() for r in run.results],
        "path": [[int(r["step"]), round(float(r[ROTATION]), 2), round(float(r[TRANSLATION]), 3)] for r in rows],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=DEFAULT_MINUTES)
    parser.add_argument("--only", nargs="+", default=LABELS, choices=LABELS)
    options = parser.parse_args()
    origin = provenance(options.seeds)
    jobs: list[Job] = [
        ({"label": label, "seed": seed, "minutes": options.minutes}, partial(one, label, seed, options.minutes))
        for seed in options.seeds
        for label in options.only
    ]
    gather("laws", origin, jobs, say)


def say(run: dict[str, Any]) -> str:
    turn, shift = run["law"]["parts"]["rotation angle"], run["law"]["parts"]["translation"]
    shown = f"rotation {turn['width']:.1f} degree ({turn['nats']:.3f} nats from Haar)"
    shown += f", mean {run['mean_rotation_rad']:.3f} rad, translation {shift['width']:.2f} A"
    return f"{run['label']} seed {run['seed']}: {shown}; {run['law']['verdict']}"


if __name__ == "__main__":
    main()
