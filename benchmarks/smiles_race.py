"""The gap from SMILES alone after equal minutes: our defaults on MMFF94 geometries against chemprop on the graph.

    python benchmarks/smiles_race.py DATA --chemprop rival/bin/chemprop [--minutes 30] [--splits random scaffold]
        [--names molaugerino chemprop] [--molecules N] [--seed 0]

DATA is a folder that `molaugerino data mmff qm9_b3lyp_gap.npz --out DATA` made. The rival's environment:

    python3 -m venv rival && rival/bin/pip install torch==2.13.0 && rival/bin/pip install chemprop==2.3.1

Both get the same molecules, isomeric SMILES and split; the validation molecules choose chemprop's best epoch, and
nothing of ours. Chemprop runs its defaults with the loss that is tested, the absolute error, for as many epochs as fit
the minutes by trials of 1 and 3; its learning rate falls over all of them. The minutes are those of training: start,
test and, of ours, making the geometries are outside them and stated. Runs that are already in results/smiles_race.json
are kept. Nothing else should run beside it.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from record import Job, gather, provenance

from molaugerino.config import TrainConfig
from molaugerino.datasets import MoleculeSet, Split, Target, open_joined, random_split, save_split
from molaugerino.datasets.splits import scaffolds
from molaugerino.datasets.units import factor
from molaugerino.predict.sets import molecules_of, remake
from molaugerino.predict.workers import in_processes
from molaugerino.training.defaults import resolved
from molaugerino.training.run import train

LABEL = "gap@B3LYP/6-31G(2df,p)"
NAMES, SPLITS = ("molaugerino", "chemprop"), ("random", "scaffold")
TIMED = 400  # molecules whose geometries are made again, to tell how long that takes
CSV_SPLIT = {"train": "train", "budget": "train", "valid": "val", "test": "test"}


@dataclass(frozen=True)
class Course:
    """What both run on a split, and where it lies for either side."""

    source: Path
    data: MoleculeSet
    target: Target
    split: Split
    place: Path
    name: str

    @property
    def splits(self) -> Path:
        return self.place / f"{self.name}.npz"

    @property
    def table(self) -> Path:
        return self.place / f"{self.name}.csv"


def lay_out(source: Path, molecules: int | None, name: str, place: Path) -> Course:
    whole = open_joined([str(source)]).with_geometry("mmff")
    (target,) = whole.targets(LABEL)
    rows = np.flatnonzero(np.isfinite(whole.values(target)))
    if molecules is not None:
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:molecules])
    data = whole.subset(rows)
    groups = scaffolds(data.smiles, data.name) if name == "scaffold" else None
    course = Course(source, data, target, random_split(len(data), 0, groups), place, name)
    save_split(course.split, course.splits, data.id)
    assert data.smiles is not None  # `data mmff` writes them
    with course.table.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["smiles", "gap", "split"])
        for part, shown in CSV_SPLIT.items():
            for row in getattr(course.split, part):
                lines.writerow([data.smiles[row], data.values(target)[row], shown])
    return course


def geometry_minutes(data: MoleculeSet, workers: int) -> float:
    """How long the geometries of all molecules take, by those of a random few."""
    few = data.subset(np.sort(np.random.default_rng(1).permutation(len(data))[:TIMED]))
    begun = time.monotonic()
    for _ in in_processes(remake, molecules_of(few), workers):
        pass
    return (time.monotonic() - begun) / 60 * len(data) / len(few)


def molaugerino(course: Course, minutes: float, seed: int) -> dict[str, Any]:
    settings: dict[str, Any] = {"data": (str(course.source),), "target": (LABEL,), "geometry": "mmff"}
    settings |= {"split": str(course.splits), "minutes": minutes, "seed": seed}
    config = resolved(TrainConfig(**settings, out=course.place / f"ours-{course.name}-{seed}"))
    made = geometry_minutes(course.data, 2)
    begun = time.monotonic()
    run = train(config)
    if run is None:
        raise KeyboardInterrupt
    seconds = time.monotonic() - begun
    result = next(r for r in run.results if r.frames == "stored")
    with (run.folder / "metrics.csv").open(newline="") as log:
        steps = max(int(row["step"]) for row in csv.DictReader(log)) + 1
    epochs = steps * config.optim.batch / (len(course.split.train) + len(course.split.budget))
    mae = factor(result.unit, "eV") * result.mae
    return {"mae": mae, "tested": result.n, "epochs": epochs, "seconds": seconds, "geometry_minutes": made}


def chemprop(program: str, course: Course, minutes: float, seed: int) -> dict[str, Any]:
    _, one, three = (fit(program, course, epochs, seed)[1] for epochs in (1, 1, 3))  # the first reads files cold
    each = (three - one) / 2
    epochs = max(3, int(60 * minutes / each))
    out, seconds = fit(program, course, epochs, seed)
    with next(out.rglob("test_predictions.csv")).open(newline="") as file:
        said = {row["smiles"]: float(row["gap"]) for row in csv.DictReader(file)}
    assert course.data.smiles is not None
    labels = course.data.values(course.target)
    errors = [abs(said[course.data.smiles[row]] - labels[row]) for row in course.split.test]
    mae = factor(course.target.unit, "eV") * float(np.mean(errors))
    facts = {"epoch_seconds": each, "epochs": epochs, "seconds": seconds, "outside_seconds": one - each}
    return {"mae": mae, "tested": len(errors)} | facts


def fit(program: str, course: Course, epochs: int, seed: int) -> tuple[Path, float]:
    """Train and test; the folder, and the seconds of the whole process."""
    out = course.place / f"chemprop-{course.name}-{seed}-{epochs}"
    options = ["-i", str(course.table), "-s", "smiles", "--target-columns", "gap", "--splits-column", "split"]
    options += ["-l", "mae", "--metrics", "mae", "--epochs", str(epochs), "--warmup-epochs", str(min(2, epochs - 1))]
    options += ["--pytorch-seed", str(seed), "-o", str(out), "--accelerator", "cpu"]
    begun = time.monotonic()
    done = subprocess.run([program, "train", *options], cwd=course.place, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{program} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return out, time.monotonic() - begun


def say(run: dict[str, Any]) -> str:
    place = f"{run['name']}, {run['split']} split, {run['minutes']:g} min"
    return f"{place}: test MAE {1000 * run['mae']:.1f} meV of {run['tested']}, {run['epochs']:.0f} epochs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--chemprop", help="the program, of an environment that has it")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--splits", nargs="+", default=[*SPLITS], choices=SPLITS)
    parser.add_argument("--names", nargs="+", default=[*NAMES], choices=NAMES)
    parser.add_argument("--molecules", type=int, help="of those that have the label (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.chemprop is None and "chemprop" in options.names:
        parser.error("--chemprop is needed; or leave it out of --names")
    with tempfile.TemporaryDirectory() as scratch:
        jobs: list[Job] = []
        for split in options.splits:
            course = lay_out(options.data.resolve(), options.molecules, split, Path(scratch))
            for name in options.names:
                side = molaugerino if name == "molaugerino" else partial(chemprop, options.chemprop)
                facts = {"name": name, "split": split, "seed": options.seed, "minutes": options.minutes}
                facts |= {"molecules": len(course.data)}
                jobs.append((facts, partial(side, course, options.minutes, options.seed)))
        gather("smiles_race", provenance(options.seed), jobs, say)


if __name__ == "__main__":
    main()
