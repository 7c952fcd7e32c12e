"""The lowest error for the minutes: our defaults against SchNetPack's PaiNN and SchNet, on one CPU, one after another.

    python benchmarks/race.py FILE --rival-python rival/bin/python [--minutes 10] [--seeds 0 1 2]

FILE is qm9_b3lyp_gap.npz: B3LYP gaps. 2,500 random molecules are tested, the same for all; 1,000 validate; the rest
trains. `default` is `molaugerino train --data FILE --target gap --minutes M`; `learned` the best network that knows
nothing of symmetry, under a learned law. The rival's environment is described in schnetpack_rival.py. Runs that are
already in results/race.json are kept. Nothing else should run beside it.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import Job, gather, provenance

from molaugerino.augment import Augmented
from molaugerino.config import TrainConfig
from molaugerino.datasets import Batch, Split, open_joined, save_split
from molaugerino.distributions import HaarBall
from molaugerino.groups import SO3
from molaugerino.models import BACKBONES
from molaugerino.spaces import Molecules
from molaugerino.training.checkpoint import load_model
from molaugerino.training.defaults import resolved
from molaugerino.training.run import train
from molaugerino.training.setup import make_augmented, open_run_data

TARGET = "gap"
TEST, VALID, BUDGET = 2500, 1000, 1000
TURNS = 16
SPLIT, ARRAYS = "split.npz", "rival.npz"
OURS: dict[str, dict[str, Any]] = {"default": {}, "learned": {"augment": "learned"}}
RIVALS = ("painn", "schnet")


def split_of(n: int) -> Split:
    """The same for every seed: seeds are of weights and order."""
    order = np.random.default_rng(0).permutation(n)
    parts = np.split(order, np.cumsum([TEST, VALID, BUDGET]))
    test, valid, budget, rest = (np.sort(part) for part in parts)
    return Split(rest, budget, valid, test)


def ours(name: str, seed: int, minutes: float, file: str, place: Path) -> dict[str, Any]:
    settings: dict[str, Any] = {"data": (file,), "target": (TARGET,), "minutes": minutes, "seed": seed}
    config = resolved(TrainConfig(split=str(place / SPLIT), out=place / f"{name}-{seed}", **settings, **OURS[name]))
    run = train(config)
    if run is None:
        raise KeyboardInterrupt
    augmented, card = load_model(run.folder)
    data = open_run_data(config)
    test = data.packed.batch(torch.from_numpy(data.split.test))
    torch.manual_seed(seed)
    untrained = make_augmented(config, card, data).eval()
    with (run.folder / "metrics.csv").open(newline="") as log:
        rows = list(csv.DictReader(log))
    cells = [r._asdict() for r in run.results]
    best = max(r["copies"] for r in cells)
    return {
        "network": card.model,
        "symmetry": BACKBONES[card.model].symmetry,
        "parameters": sum(p.numel() for p in augmented.model.parameters()),
        "steps": max(int(row["step"]) for row in rows) + 1,
        "test_mae": next(r["mae"] for r in cells if (r["frames"], r["copies"]) == ("stored", best)),
        "results": cells,
        "law": run.law,
        "orientation": orientation(augmented, test),
        "untrained_orientation": orientation(untrained, test),
    }


@torch.no_grad()
def orientation(augmented: Augmented, test: Batch) -> dict[str, float]:
    """What turning the molecules does: E (f(g x) - y)^2 = E (mean - y)^2 + spread^2 over Haar-random g, exactly.

    In eV; `outputs` is the standard deviation of the mean prediction from molecule to molecule.
    """
    turns = HaarBall(SO3, width=math.pi).sample((TURNS,), torch.Generator().manual_seed(0)).detach()
    each = torch.cat([augmented.each(part, turns) for part in parts_of(test.x)], 1)[..., 0]  # (turns, molecules)
    mean = each.mean(0)
    left, spread = (mean - test.y[:, 0]).square().mean().sqrt(), (each - mean).square().mean().sqrt()
    return {
        "rmse_of_mean": float(left),
        "spread": float(spread),
        "outputs": float(mean.std()),
        "mae_one_turn": float((each - test.y[:, 0]).abs().mean()),
        "mae_of_mean": float((mean - test.y[:, 0]).abs().mean()),
    }


def parts_of(x: Molecules) -> list[Molecules]:
    return [Molecules(*fields) for fields in zip(*(field.split(100) for field in x), strict=True)]


def rival(name: str, seed: int, minutes: float, python: str, place: Path) -> dict[str, Any]:
    script = Path(__file__).parent / "schnetpack_rival.py"
    options = ["--minutes", str(minutes), "--seed", str(seed), "--threads", str(torch.get_num_threads())]
    out = place / "rival.json"
    subprocess.run([python, str(script), str(place / ARRAYS), name, *options, "--out", str(out)], check=True)
    return json.loads(out.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--rival-python", required=True)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    origin = provenance(options.seeds)
    molecules = open_joined((options.file,))
    split = split_of(len(molecules))
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        save_split(split, place / SPLIT, molecules.id)
        np.savez(
            place / ARRAYS,
            num_atoms=molecules.num_atoms,
            z=molecules.atomic_numbers,
            pos=molecules.positions,
            y=molecules.values(molecules.targets(TARGET)[0]).ravel(),
            train=np.concatenate([split.train, split.budget]),
            valid=split.valid,
            test=split.test,
        )
        jobs: list[Job] = []
        for seed in options.seeds:
            given = seed, options.minutes
            for name in OURS:
                work = partial(ours, name, *given, options.file, place)
                jobs.append(({"name": name, "seed": seed, "minutes": options.minutes}, work))
            for name in RIVALS:
                work = partial(rival, name, *given, options.rival_python, place)
                jobs.append(({"name": name, "seed": seed, "minutes": options.minutes}, work))
        gather("race", origin, jobs, lambda r: f"{r['name']} seed {r['seed']}: test MAE {1000 * r['test_mae']:.1f} meV")


if __name__ == "__main__":
    main()
