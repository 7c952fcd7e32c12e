"""Trained along principal axes, tested in random frames: no, learned and fixed augmentation at equal steps.

    python benchmarks/frames.py [--seeds 0 1 2] [--steps 4000]

Runs that are already in results/frames.json are kept, so the program can be stopped and started again.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from record import Job, cells, gather, provenance

from molaugerino.config import TrainConfig
from molaugerino.training.run import train

KINDS = ("learned", "fixed", "none")


def one(kind: Any, seed: int, steps: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run = train(TrainConfig(frames="principal", augment=kind, seed=seed, steps=steps, out=Path(folder) / "run"))
    if run is None:
        raise KeyboardInterrupt
    return {"law": run.law, "results": [r._asdict() for r in run.results]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=4000)
    options = parser.parse_args()
    origin = provenance(options.seeds)
    jobs: list[Job] = [
        ({"augment": kind, "seed": seed, "steps": options.steps}, partial(one, kind, seed, options.steps))
        for seed in options.seeds
        for kind in KINDS
    ]
    gather("frames", origin, jobs, lambda r: f"{r['augment']} seed {r['seed']}: {cells(r)} eV; {r['law']['verdict']}")


if __name__ == "__main__":
    main()
