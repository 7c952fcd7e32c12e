"""How a trained network depends on orientation, and which rotations average that away.

    python benchmarks/power.py MODEL ... [--molecules 200]

MODEL is xtb9, the model that comes with the package, or the folder of a run whose data are where it found them; the
result is of xtb9 and of

    molaugerino train --data qm9_b3lyp_gap.npz --target gap --model vector-transformer-absolute --augment learned \\
        --optim.batch 64 --steps 2500 --out qm9-absolute

For test molecules, the first target is predicted at the nodes of a rule on SO(3) that is exact to degree 14. It tells

- the power of each degree l of the prediction as a function of the rotation (what an average over all of them removes);
- the error of an average over fewer rotations: 60 of the icosahedral group and other sets, against independent draws.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import provenance, write
from torch import Tensor

from molaugerino.augment import Augmented
from molaugerino.datasets import PackedData, in_frames, load_split, open_data
from molaugerino.distributions import HaarBall
from molaugerino.groups import SO3, Affine
from molaugerino.quadrature import AveragingSet, cube, icosahedron, lebedev, power, random, super_fibonacci
from molaugerino.training.checkpoint import load_model
from molaugerino.training.folder import RUNS, SETTINGS, SPLITS, molecules_to_test
from molaugerino.training.ready import find_model

SEED = 0
EXACT, SHOWN = 14, 6  # degree of the rule, largest degree reported
DRAWS = 20  # of as many random rotations
BATCH = 128  # passes at once


@torch.no_grad()
def predicted(augmented: Augmented, data: PackedData, rows: np.ndarray, elements: Affine) -> Tensor:
    """(elements, molecules) first channel at each element, in the order of the rows."""
    order, [count] = data.by_size(rows), elements.batch_shape
    parts = [
        torch.cat([augmented.each(batch.x, elements[k : k + BATCH])[..., 0] for k in range(0, count, BATCH)])
        for batch in data.batches(rows[order.numpy()], max(1, BATCH // count))
    ]
    return torch.cat(parts, 1)[:, order.argsort()].double()


def sets() -> dict[str, AveragingSet]:
    """The sets to compare; of the random ones, as many draws as are averaged over."""
    found = {"cube, 24": cube(), "icosahedron, 60": icosahedron(), "super-Fibonacci, 60": super_fibonacci(60)}
    law, generator = HaarBall(SO3, math.pi).double(), torch.Generator().manual_seed(SEED)
    return found | {f"draw {k}": random(law, 60, generator) for k in range(DRAWS)}


def report(name: str, molecules: int) -> dict[str, Any]:
    folder = find_model(name, RUNS)
    augmented, card = load_model(folder)
    if (folder / SETTINGS).exists():
        loaded, rows = molecules_to_test(folder, card)
    else:  # of a ready model: its split, and the embedded set
        loaded = open_data(card.data)
        rows = load_split(folder / SPLITS, loaded.id).test
    turned, _ = in_frames(loaded.with_geometry(card.geometry), card.frames, SEED)
    data = PackedData(turned, card.targets)
    rows = np.sort(np.random.default_rng(SEED).permutation(rows)[:molecules])
    rule = lebedev(EXACT)
    values = predicted(augmented, data, rows, rule.to(next(augmented.parameters())).elements)
    exact = rule.mean(values)
    powers = power(values, rule, SHOWN)
    turning = rule.mean((values - exact).square())
    errors: dict[str, float] = {}
    drawn = []
    for title, few in sets().items():
        at = few.to(next(augmented.parameters())).elements
        values = predicted(augmented, data, rows, at)
        off = (few.to(values).mean(values) - exact).square().mean()
        if title.startswith("draw"):
            drawn.append(off)
        else:
            errors[title] = float(off.sqrt())
    errors["random, 60"] = float(torch.stack(drawn).mean().sqrt())
    y = data.y[torch.from_numpy(rows)][:, 0].double()
    return {
        "name": Path(name).name,
        "network": card.model,
        "data": card.data,
        "augment": card.augment,
        "target": card.targets[0].name,
        "unit": card.targets[0].unit,
        "molecules": len(rows),
        "nodes": len(rule),
        "mae": float((exact - y).abs().nanmean()),
        "turning_rms": float(turning.mean().clamp_min(0).sqrt()),
        "share_of_degree": (powers[1:].mean(1) / turning.mean()).tolist(),
        "rms_error": errors,
        "icosahedron / random": errors["icosahedron, 60"] / errors["random, 60"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--molecules", type=int, default=200)
    options = parser.parse_args()
    runs = []
    for name in options.models:
        runs.append(report(name, options.molecules))
        print(runs[-1], flush=True)
        write("power", provenance(SEED) | {"runs": runs})


if __name__ == "__main__":
    main()
