"""Do scarce labels profit from plentiful ones? Twelve targets of QM9, learned from all label sets or from their own.

    python benchmarks/multitask.py FOLDER [--seeds 0 1 2] [--steps 12000]

FOLDER holds the files named in FILES: B3LYP labels of all twelve targets for a few molecules, and other labels, by
other methods, for many. `alone` trains on the first file, `all` on the joined files, with the labels of HELPERS beside
the twelve; both with the same network, on the same split. The few molecules may be learned by heart, so `alone` is
trained for half of the steps, too, and the better of the two on validation molecules counts.

Runs lie under runs/multitask, where an interrupted one is taken up again; those that are already in
results/multitask.json are kept.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

from record import provenance, read, write

from molaugerino.cli.train import resumed
from molaugerino.config import TrainConfig
from molaugerino.training.folder import SETTINGS, SPLITS
from molaugerino.training.run import Run, train

TARGETS = ("mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "U0", "U", "H", "G", "Cv")
HELPERS = ("g4mp2_atomization_energy", "mp2_relaxed_dipole_norm")
FILES = ("qm9_b3lyp19", "qm9_b3lyp_gap", "qm9_g4mp2_00", "qm9_g4mp2_01", "qm9_g4mp2_02", "qm9_rimp2")
METHOD = "B3LYP/6-31G(2df,p)"
PLACE = Path("runs") / "multitask"
SHORTER = (2, 1)  # by how much the runs of `alone` are


def one(arm: str, seed: int, steps: int, folder: Path) -> Run:
    """Train one arm, or go on with it; `alone` takes the molecules of the split of `all`."""
    out = PLACE / f"{arm}-{seed}-{steps}"
    if (out / SETTINGS).exists():
        return finished(train(resumed(TrainConfig(resume=out))))
    files = tuple(str(folder / f"{name}.npz") for name in (FILES if arm == "all" else FILES[:1]))
    settings: dict[str, Any] = {"model": "painn", "augment": "none", "steps": steps, "seed": seed, "split_seed": seed}
    settings |= {"target": TARGETS + (HELPERS if arm == "all" else ())}
    if arm == "alone":
        found = list(PLACE.glob(f"all-{seed}-*/{SPLITS}"))
        if not found:
            raise SystemExit(f"no run of `all` with seed {seed} under {PLACE}, whose split `alone` takes; start anew")
        settings["split"] = str(found[0])
    return finished(train(TrainConfig(data=files, out=out, **settings)))


def finished(run: Run | None) -> Run:
    if run is None:
        raise KeyboardInterrupt
    return run


def last_valid_loss(folder: Path) -> float:
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row["valid_loss"]) for row in csv.DictReader(file) if row["valid_loss"]][-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=12000)
    options = parser.parse_args()
    origin = provenance(options.seeds)
    runs = read("multitask").get("runs", [])
    done = {(r["arm"], r["seed"], r["steps"]) for r in runs}
    for arm, steps in (("all", options.steps), *(("alone", options.steps // k) for k in SHORTER)):
        for seed in options.seeds:
            if (arm, seed, steps) in done:
                continue
            run = one(arm, seed, steps, options.folder)
            cells = [r._asdict() for r in run.results if r.method == METHOD]
            facts = {"arm": arm, "seed": seed, "steps": steps, "valid_loss": last_valid_loss(run.folder)}
            runs.append(facts | {"results": cells, "commit": origin["commit"]})
            write("multitask", origin | {"runs": runs})
            shown = {r["target"]: r["mae"] for r in cells if r["frames"] == "stored"}
            print(f"{arm} seed {seed}, {steps} steps: {shown}", flush=True)


if __name__ == "__main__":
    main()
