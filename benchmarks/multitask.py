"""Do scarce labels profit from plentiful ones? Twelve targets of QM9, learned from all label sets or from their own.

    python benchmarks/multitask.py FOLDER [--seeds 0 1 2] [--steps 4000]

FOLDER holds the files named in FILES: B3LYP labels of all twelve targets for a few molecules, and other labels, by
other methods, for many. `alone` trains on the first file; `all` on the joined files, with the labels of HELPERS beside
the twelve; both on the same test molecules, with the same network and the same number of steps. Runs that are already
in results/multitask.json are kept.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from record import provenance, read, write

from molaugerino.config import LawConfig, OptimConfig, TrainConfig
from molaugerino.training.folder import SPLITS
from molaugerino.training.run import Run, train

TARGETS = ("mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "U0", "U", "H", "G", "Cv")
HELPERS = ("g4mp2_atomization_energy", "mp2_relaxed_dipole", "mp2_relaxed_dipole_norm")
FILES = ("qm9_b3lyp19", "qm9_b3lyp_gap", "qm9_g4mp2_00", "qm9_g4mp2_01", "qm9_g4mp2_02", "qm9_rimp2")
METHOD = "B3LYP/6-31G(2df,p)"
ARMS = ("all", "alone")


def one(arm: str, seed: int, steps: int, folder: Path, place: Path) -> tuple[Run, float]:
    """Train one arm; `alone` takes the molecules of `all`'s split."""
    files = tuple(str(folder / f"{name}.npz") for name in (FILES if arm == "all" else FILES[:1]))
    settings: dict[str, Any] = {"augment": "fixed", "steps": steps, "seed": seed, "split_seed": seed}
    settings |= {"optim": OptimConfig(batch=64), "law": LawConfig(eval_copies=8)}
    settings |= {"target": TARGETS + (HELPERS if arm == "all" else ())}
    settings |= {"split": None if arm == "all" else str(place / "all" / SPLITS)}
    start = time.monotonic()
    run = train(TrainConfig(data=files, out=place / arm, **settings))
    if run is None:
        raise KeyboardInterrupt
    return run, (time.monotonic() - start) / 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=4000)
    options = parser.parse_args()
    origin = provenance(options.seeds)
    runs = read("multitask").get("runs", [])
    for seed in options.seeds:
        if any((r["seed"], r["steps"]) == (seed, options.steps) for r in runs):
            continue
        pair = []
        with tempfile.TemporaryDirectory() as place:
            for arm in ARMS:
                run, minutes = one(arm, seed, options.steps, options.folder, Path(place))
                cells = [r._asdict() for r in run.results if r.method == METHOD]
                facts = {"arm": arm, "seed": seed, "steps": options.steps, "minutes": round(minutes, 2)}
                pair.append(facts | {"results": cells, "commit": origin["commit"]})
                shown = {r["target"]: r["mae"] for r in cells if r["frames"] == "stored" and r["copies"] > 1}
                print(f"{arm} seed {seed} ({minutes:.1f} min): {shown}", flush=True)
        runs += pair
        write("multitask", origin | {"runs": runs})


if __name__ == "__main__":
    main()
