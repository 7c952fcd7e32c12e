"""The lowest error for the minutes: our defaults against SchNetPack's PaiNN and SchNet, on one CPU, one after another.

    python benchmarks/race.py FILE ... --rival-python rival/bin/python [--target gap] [--minutes 10] [--seeds 0 1 2]
        [--names default learned painn schnet] [--molecules N] [--result race]

2,500 random molecules are tested, the same for all; 1,000 validate; the rest trains, or N of it. `default` is
`molaugerino train --data FILE ... --target TARGET --minutes M`; `learned` the best network that knows nothing of
symmetry, under a learned law. The rival's environment is described in schnetpack_rival.py; it, too, keeps the memory
that it frees. The three comparisons are

    race.py qm9_b3lyp_gap.npz                                                        B3LYP gap, ten minutes
    race.py qm9_g4mp2_0*.npz --target g4mp2_atomization_energy --minutes 20 --names default painn --result race_g4mp2
    the same with --minutes 60 --names default; with --molecules 1000 and 10000: the learning curve

Runs that are already in results/RESULT.json are kept. Nothing else should run beside it.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import subprocess
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import Job, gather, provenance

from molaugerino.augment import Augmented
from molaugerino.config import TrainConfig
from molaugerino.datasets import MoleculeSet, PackedData, Split, Target, open_joined, save_split
from molaugerino.datasets.units import factor
from molaugerino.distributions import HaarBall
from molaugerino.groups import SO3
from molaugerino.models import BACKBONES
from molaugerino.training.checkpoint import load_model
from molaugerino.training.defaults import resolved
from molaugerino.training.run import train
from molaugerino.training.setup import make_augmented, open_run_data

TEST, VALID, BUDGET = 2500, 1000, 1000
TURNS = 16
OURS: dict[str, dict[str, Any]] = {"default": {}, "learned": {"augment": "learned"}}
RIVALS = ("painn", "schnet")
KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}  # as ours: training/memory.py


@dataclass(frozen=True)
class Course:
    """What all of them run: the data, and where they lie for either side."""

    files: tuple[str, ...]
    target: Target
    split: Path
    arrays: Path
    place: Path


def split_of(n: int, molecules: int | None) -> Split:
    """The same for every seed: seeds are of weights and order."""
    order = np.random.default_rng(0).permutation(n)
    test, valid, budget, rest = np.split(order, np.cumsum([TEST, VALID, BUDGET]))
    if molecules is not None:  # a twentieth of them for the law
        kept = np.concatenate([budget, rest])[:molecules]
        budget, rest = np.split(kept, [min(BUDGET, molecules // 20)])
    return Split(*(np.sort(part) for part in (rest, budget, valid, test)))


def lay_out(files: list[str], label: str, molecules: int | None, place: Path) -> Course:
    data: MoleculeSet = open_joined(files)
    (target,) = data.targets(label)
    split = split_of(len(data), molecules)
    save_split(split, place / "split.npz", data.id)
    np.savez(
        place / "rival.npz",
        num_atoms=data.num_atoms,
        z=data.atomic_numbers,
        pos=data.positions,
        y=data.values(target).ravel(),
        train=np.concatenate([split.train, split.budget]),
        valid=split.valid,
        test=split.test,
    )
    return Course(tuple(files), target, place / "split.npz", place / "rival.npz", place)


def ours(course: Course, name: str, seed: int, minutes: float) -> dict[str, Any]:
    settings: dict[str, Any] = {"data": course.files, "target": (course.target.name,), "split": str(course.split)}
    settings |= {"minutes": minutes, "seed": seed, "out": course.place / f"{name}-{seed}-{minutes}"}
    config = resolved(TrainConfig(**settings, **OURS[name]))
    run = train(config)
    if run is None:
        raise KeyboardInterrupt
    augmented, card = load_model(run.folder)
    data = open_run_data(config)
    torch.manual_seed(seed)
    untrained = make_augmented(config, card, data).eval()
    with (run.folder / "metrics.csv").open(newline="") as log:
        steps = max(int(row["step"]) for row in csv.DictReader(log)) + 1
    cells = [r._asdict() for r in run.results]
    best = max(r["copies"] for r in cells)
    return {
        "model": card.model,
        "symmetry": BACKBONES[card.model].symmetry,
        "parameters": sum(p.numel() for p in augmented.model.parameters()),
        "steps": steps,
        "epochs": steps * config.optim.batch / len(data.epoch),
        "unit": course.target.unit,
        "test_mae": next(r["mae"] for r in cells if (r["frames"], r["copies"]) == ("stored", best)),
        "results": cells,
        "law": run.law,
        "orientation": orientation(augmented, data.packed, data.split.test),
        "untrained_orientation": orientation(untrained, data.packed, data.split.test),
    }


@torch.no_grad()
def orientation(augmented: Augmented, data: PackedData, rows: np.ndarray) -> dict[str, float]:
    """What turning the molecules does: E (f(g x) - y)^2 = E (mean - y)^2 + spread^2 over Haar-random g, exactly.

    In the unit of the label; `outputs` is the standard deviation of the mean prediction from molecule to molecule.
    """
    turns = HaarBall(SO3, width=math.pi).sample((TURNS,), torch.Generator().manual_seed(0)).detach()
    batches = list(data.batches(rows[data.by_size(rows).numpy()], 4))
    each = torch.cat([augmented.each(batch.x, turns) for batch in batches], 1)[..., 0]  # (turns, molecules)
    y, mean = torch.cat([batch.y for batch in batches])[:, 0], each.mean(0)
    return {
        "rmse_of_mean": float((mean - y).square().mean().sqrt()),
        "spread": float((each - mean).square().mean().sqrt()),
        "outputs": float(mean.std()),
        "mae_one_turn": float((each - y).abs().mean()),
        "mae_of_mean": float((mean - y).abs().mean()),
    }


def rival(course: Course, python: str, name: str, seed: int, minutes: float) -> dict[str, Any]:
    script = Path(__file__).parent / "schnetpack_rival.py"
    out = course.place / f"{name}-{seed}-{minutes}.json"
    options = ["--pooled", "sum" if course.target.readout == "sum" else "avg", "--minutes", str(minutes)]
    options += ["--seed", str(seed), "--threads", str(torch.get_num_threads()), "--out", str(out)]
    subprocess.run([python, str(script), str(course.arrays), name, *options], check=True, env=os.environ | KEPT)
    return json.loads(out.read_text()) | {"unit": course.target.unit}


def say(run: dict[str, Any]) -> str:
    mae = 1000 * factor(run["unit"], "eV") * run["test_mae"]
    return f"{run['name']} seed {run['seed']}, {run['minutes']} min: test MAE {mae:.1f} meV, {run['epochs']:.1f} epochs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--rival-python", help="of an environment with schnetpack")
    parser.add_argument("--target", default="gap")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--names", nargs="+", default=[*OURS, *RIVALS], choices=[*OURS, *RIVALS])
    parser.add_argument("--molecules", type=int, help="to train on (default: all)")
    parser.add_argument("--result", default="race")
    options = parser.parse_args()
    if options.rival_python is None and set(options.names) & set(RIVALS):
        parser.error("--rival-python is needed for painn and schnet; or leave them out of --names")
    with tempfile.TemporaryDirectory() as scratch:
        course = lay_out(options.files, options.target, options.molecules, Path(scratch))
        jobs: list[Job] = []
        for seed in options.seeds:
            for name in options.names:
                facts = {"name": name, "seed": seed, "minutes": options.minutes, "molecules": options.molecules}
                side = partial(ours, course) if name in OURS else partial(rival, course, options.rival_python)
                jobs.append((facts, partial(side, name, seed, options.minutes)))
        gather(options.result, provenance(options.seeds), jobs, say)


if __name__ == "__main__":
    main()
