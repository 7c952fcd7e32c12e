"""Trained along principal axes, tested in random frames: no, learned and fixed augmentation at equal steps.

    python benchmarks/frames.py [--seeds 0 1 2] [--steps 4000]

Runs that are already in results/frames.json are kept, so the program can be stopped and started again.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from record import provenance, read, write

from molaugerino.config import TrainConfig
from molaugerino.training.run import train

KINDS = ("learned", "fixed", "none")


def one(kind: Any, seed: int, steps: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run = train(TrainConfig(frames="principal", augment=kind, seed=seed, steps=steps, out=Path(folder) / "run"))
    if run is None:
        raise KeyboardInterrupt
    results = [r._asdict() for r in run.results]
    return {"augment": kind, "seed": seed, "steps": steps, "law": run.law, "results": results}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=4000)
    options = parser.parse_args()
    origin = provenance(options.seeds)
    runs = read("frames").get("runs", [])
    for seed in options.seeds:
        for kind in KINDS:
            if any((r["augment"], r["seed"], r["steps"]) == (kind, seed, options.steps) for r in runs):
                continue
            runs.append(one(kind, seed, options.steps) | {"commit": origin["commit"]})
            cells = {(r["frames"], r["copies"]): r["mae"] for r in runs[-1]["results"]}
            shown = ", ".join(f"{f} x{c} {mae:.4f}" for (f, c), mae in cells.items())
            print(f"{kind} seed {seed}: {shown} eV; {runs[-1]['law']['verdict']}", flush=True)
            write("frames", origin | {"runs": runs})


if __name__ == "__main__":
    main()
