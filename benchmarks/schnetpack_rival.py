"""Train a network of SchNetPack on one label for some minutes: the other side of benchmarks/race.py.

Runs in an environment of its own, without molaugerino:

    python3 -m venv rival && rival/bin/pip install torch==2.4.1 schnetpack==2.1.1
    rival/bin/python benchmarks/schnetpack_rival.py MOLECULES.npz NAME --minutes 10 --out RESULT.json

MOLECULES.npz holds num_atoms (n,), z (atoms,), pos (atoms, 3), y (n,), and the rows train, valid and test. The recipe:
batch 64, AdamW at 1e-3, half a cosine by the clock, L1 on standardised labels, cutoff 5 A; the weights of the best of
ten validations are tested. Neighbours are listed once, before the clock starts, and the clock stands still while
validating.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from pathlib import Path

import numpy as np
import schnetpack as spk
import torch
from schnetpack import properties

CUTOFF, BATCH, RATE = 5.0, 64, 1e-3
VALIDATIONS = 10


class Set:
    """Molecules with their neighbours, ready to be put together."""

    def __init__(self, path: Path) -> None:
        held = np.load(path, allow_pickle=False)
        self.count = held["num_atoms"]
        ends = np.cumsum(self.count)
        self.y = torch.from_numpy(held["y"]).float()
        self.z = [torch.from_numpy(z).long() for z in np.split(held["z"], ends[:-1])]
        self.pos = [torch.from_numpy(r).float() for r in np.split(held["pos"], ends[:-1])]
        self.pairs = [(torch.cdist(r, r) + 9 * CUTOFF * torch.eye(len(r)) < CUTOFF).nonzero().T for r in self.pos]
        self.rows = {part: held[part] for part in ("train", "valid", "test")}

    def batch(self, rows: np.ndarray) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        size = torch.tensor([len(self.z[k]) for k in rows])
        start = size.cumsum(0) - size
        i, j = torch.cat([self.pairs[k] + s for k, s in zip(rows, start)], 1)  # noqa: B905
        inputs = {
            properties.Z: torch.cat([self.z[k] for k in rows]),
            properties.R: torch.cat([self.pos[k] for k in rows]),
            properties.n_atoms: size,
            properties.idx_m: torch.repeat_interleave(torch.arange(len(rows)), size),
            properties.idx_i: i,
            properties.idx_j: j,
            properties.offsets: torch.zeros(len(i), 3),
            properties.cell: torch.zeros(len(rows), 3, 3),
            properties.pbc: torch.zeros(3 * len(rows), dtype=torch.bool),
        }
        return inputs, self.y[rows]


def network(name: str, pooled: str) -> torch.nn.Module:
    radial = spk.nn.GaussianRBF(n_rbf=20, cutoff=CUTOFF)
    fade = spk.nn.CosineCutoff(CUTOFF)
    representation = {
        "painn": lambda: spk.representation.PaiNN(128, 3, radial, fade),
        "schnet": lambda: spk.representation.SchNet(128, 6, radial, fade),
    }[name]()
    head = spk.atomistic.Atomwise(n_in=128, output_key="y", aggregation_mode=pooled)
    return spk.model.NeuralNetworkPotential(
        representation, input_modules=[spk.atomistic.PairwiseDistances()], output_modules=[head]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("molecules", type=Path)
    parser.add_argument("name", choices=["painn", "schnet"])
    parser.add_argument("--pooled", choices=["avg", "sum"], default="avg", help="over the atoms; sum for energies")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall", help="what the minutes are of")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    data = Set(options.molecules)
    train = data.rows["train"]
    model = network(options.name, options.pooled)
    baseline, scale = references(data, train, options.pooled)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE)
    rng = np.random.default_rng(options.seed)

    def error(part: str) -> float:
        model.eval()
        errors = []
        with torch.no_grad():
            for rows in np.array_split(data.rows[part], math.ceil(len(data.rows[part]) / 256)):
                inputs, y = data.batch(rows)
                errors.append((scale * model(inputs)["y"] + baseline[rows] - y).abs())
        model.train()
        return float(torch.cat(errors).mean())

    best, kept, validations, steps, seen = math.inf, copy.deepcopy(model.state_dict()), 0, 0, 0
    now = time.monotonic if options.clock == "wall" else time.process_time
    spent, began = 0.0, now()
    while spent < 60 * options.minutes:
        for rows in np.array_split(rng.permutation(train), math.ceil(len(train) / BATCH)):
            spent = now() - began
            progress = min(spent / (60 * options.minutes), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = 0.5 * RATE * (1 + math.cos(math.pi * progress))
            inputs, y = data.batch(rows)
            loss = (model(inputs)["y"] - (y - baseline[rows]) / scale).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps, seen = steps + 1, seen + len(rows)
            if progress * VALIDATIONS >= validations + 1 or progress >= 1:
                validations += 1
                paused = now()
                mae = error("valid")
                began += now() - paused
                print(f"{progress:4.0%}  step {steps}  validation MAE {mae:.4f}", flush=True)
                if mae < best:
                    best, kept = mae, copy.deepcopy(model.state_dict())
            if progress >= 1:
                break
    model.load_state_dict(kept)
    result = {
        "model": f"SchNetPack {options.name}",
        "parameters": sum(p.numel() for p in model.parameters()),
        "seed": options.seed,
        "minutes": options.minutes,
        "steps": steps,
        "epochs": seen / len(train),
        "molecules_per_s": seen / spent,
        "valid_mae": best,
        "test_mae": error("test"),
        "versions": {"torch": torch.__version__, "schnetpack": spk.__version__},
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def references(data: Set, train: np.ndarray, pooled: str) -> tuple[torch.Tensor, float]:
    """What is known before the network is asked, per molecule, and the spread of the rest that it has to learn.

    For a mean over atoms the mean label; for a sum a least-squares energy per element, the rest per atom.
    """
    if pooled == "avg":
        mean, spread = data.y[train].mean(), data.y[train].std()
        return mean.expand(len(data.y)), float(spread)
    counts = torch.stack([torch.bincount(z, minlength=10) for z in data.z]).double()
    seen = counts[train].any(0)
    solution = torch.linalg.lstsq(counts[train][:, seen], data.y[train].double()[:, None]).solution
    baseline = (counts[:, seen] @ solution)[:, 0].float()
    left = (data.y - baseline)[train] / torch.tensor(data.count[train]).sqrt()
    return baseline, float(left.std())


if __name__ == "__main__":
    main()
