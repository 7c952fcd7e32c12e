"""The gap from SMILES alone after equal minutes: our defaults on MMFF94 geometries against chemprop on the graph.

    python benchmarks/smiles_race.py DATA --chemprop rival/bin/chemprop [--minutes 30] [--splits random scaffold]
        [--names molaugerino chemprop] [--molecules N] [--seed 0]

DATA is a folder that `molaugerino data mmff qm9_b3lyp_gap.npz --out DATA` made. The rival's environment:

    python3 -m venv rival && rival/bin/pip install torch==2.13.0 && rival/bin/pip install chemprop==2.3.1

Both get the same molecules, isomeric SMILES and split; the validation molecules choose chemprop's best epoch, and
nothing of ours. Chemprop runs its defaults with the loss that is tested, the absolute error. Each trains in one thread
for so many minutes of processor time: for as many steps, or epochs, as two short trials say; the learning rates of both
fall over all of them. Start, test and, of ours, making the geometries come on top and are stated. The two run at the
same time, one thread each, which leaves other work on the machine little to disturb. Runs that are already in
results/smiles_race.json are kept.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from record import Job, done, gather, provenance
from torch import Tensor

from molaugerino.datasets import MoleculeSet, PackedData, Split, Target, open_joined, random_split, save_split
from molaugerino.datasets.splits import scaffolds
from molaugerino.datasets.units import factor
from molaugerino.predict.sets import molecules_of, remake
from molaugerino.training.checkpoint import load_model
from molaugerino.uncertainty import answers

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


def geometry_minutes(data: MoleculeSet) -> float:
    """Processor time of making the geometries of all molecules, by those of a random few."""
    few = data.subset(np.sort(np.random.default_rng(1).permutation(len(data))[:TIMED]))
    begun = time.process_time()
    for given in molecules_of(few):
        remake(given)
    return (time.process_time() - begun) / 60 * len(data) / len(few)


class Side(Protocol):
    """One of the two. `trials` are lengths of training, in `unit`, that tell how long one more takes."""

    unit: ClassVar[str]
    trials: ClassVar[tuple[int, int]]

    def command(self, length: int, out: Path) -> list[str]:
        """What trains so long, tests, and leaves its results in a folder."""

    def errors(self, out: Path) -> Tensor:
        """(test molecules,) absolute errors in the unit of the label."""


@dataclass(frozen=True)
class Molaugerino:
    course: Course
    seed: int
    unit: ClassVar[str] = "steps"
    trials: ClassVar[tuple[int, int]] = (100, 500)

    def command(self, length: int, out: Path) -> list[str]:
        options = ["--data", str(self.course.source), "--target", LABEL, "--geometry", "mmff"]
        options += ["--split", str(self.course.splits), "--seed", str(self.seed)]
        return [sys.executable, "-m", "molaugerino", "train", *options, "--steps", str(length), "--out", str(out)]

    def errors(self, out: Path) -> Tensor:
        augmented, card = load_model(out)
        data = PackedData(self.course.data, card.targets)
        rows = self.course.split.test
        y = data.y[torch.from_numpy(rows)]
        return (answers(augmented, data, rows, 1, "identity").values - y).abs()[:, 0]


@dataclass(frozen=True)
class Chemprop:
    program: str
    course: Course
    seed: int
    unit: ClassVar[str] = "epochs"
    trials: ClassVar[tuple[int, int]] = (1, 3)

    def command(self, length: int, out: Path) -> list[str]:
        options = ["-i", str(self.course.table), "-s", "smiles", "--target-columns", "gap", "--splits-column", "split"]
        options += ["-l", "mae", "--metrics", "mae", "--warmup-epochs", str(min(2, length - 1))]
        options += ["--pytorch-seed", str(self.seed), "--accelerator", "cpu"]
        return [self.program, "train", *options, "--epochs", str(length), "-o", str(out)]

    def errors(self, out: Path) -> Tensor:
        data, rows = self.course.data, self.course.split.test
        with next(out.rglob("test_predictions.csv")).open(newline="") as file:
            said = {row["smiles"]: float(row["gap"]) for row in csv.DictReader(file)}
        assert data.smiles is not None
        found = np.array([said[data.smiles[row]] for row in rows])
        return torch.from_numpy(found - data.values(self.course.target)[rows]).abs()


def race(side: Side, course: Course, minutes: float, geometry: float) -> dict[str, Any]:
    """As long as fits the minutes, by two trials; a third before them reads files cold."""
    place = Path(tempfile.mkdtemp(dir=course.place))
    few, many = side.trials
    _, short, long = (
        cpu_seconds(side.command(length, place / str(k)), place) for k, length in enumerate((few, few, many))
    )
    each = (long - short) / (many - few)
    length = max(many, int(60 * minutes / each))
    spent = cpu_seconds(side.command(length, place / "race"), place)
    errors = side.errors(place / "race")
    facts = {"length": length, "of": side.unit, "cpu_seconds": spent, "outside_cpu_seconds": short - few * each}
    facts |= {"geometry_cpu_minutes": geometry, "tested": len(errors)}
    return facts | {"mae": factor(course.target.unit, "eV") * float(errors.mean())}


def cpu_seconds(command: list[str], place: Path) -> float:
    """Processor time of a program in one thread, whatever runs beside it."""
    with (place / "log.txt").open("w+") as log:
        process = subprocess.Popen(
            command, cwd=place, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=log, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{log.read()[-3000:]}")
    return usage.ru_utime + usage.ru_stime


def say(run: dict[str, Any]) -> str:
    place = f"{run['name']}, {run['split']} split, {run['minutes']:g} min"
    return f"{place}: test MAE {1000 * run['mae']:.1f} meV of {run['tested']}, {run['length']} {run['of']}"


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
    origin = provenance(options.seed)
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(len(options.names)) as pool:
        for split in options.splits:
            course = lay_out(options.data.resolve(), options.molecules, split, Path(scratch))
            sides: dict[str, Side] = {
                "molaugerino": Molaugerino(course, options.seed),
                "chemprop": Chemprop(options.chemprop, course, options.seed),
            }
            made = geometry_minutes(course.data)
            jobs: list[Job] = []
            for name in options.names:
                facts = {"name": name, "split": split, "seed": options.seed, "minutes": options.minutes}
                facts |= {"molecules": len(course.data)}
                if not done("smiles_race", facts):
                    geometry = made if name == "molaugerino" else 0.0
                    running = pool.submit(race, sides[name], course, options.minutes, geometry)
                    jobs.append((facts, running.result))
            gather("smiles_race", origin, jobs, say)


if __name__ == "__main__":
    main()
