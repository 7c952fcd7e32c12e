"""Cost of the law: ratios of interleaved repetitions within one run.

    python benchmarks/speed.py [--repetitions 200]

1. A training step of `molaugerino train` with the learned SE(3) law against the same step without.
2. exp of 4,096 rotations, forward and backward, beside torch.linalg.matrix_exp and the single
   Runge-Kutta step of the published molecular code (a degree-four Taylor polynomial).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from record import provenance, write
from torch import Tensor

from molaugerino.augment import Augmented
from molaugerino.datasets import PaddedData, open_data, output_action
from molaugerino.distributions import rigid_motions
from molaugerino.groups import SO3
from molaugerino.models import PointTransformer
from molaugerino.spaces import Padded

SEED = 0


def interleaved(jobs: dict[str, Callable[[], None]], repetitions: int) -> dict[str, np.ndarray]:
    """Seconds of each job, repetition by repetition, the order drawn anew each time."""
    rng = np.random.default_rng(SEED)
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for repetition in range(repetitions + 5):
        for name in rng.permutation(list(jobs)):
            start = time.perf_counter()
            jobs[name]()
            if repetition >= 5:  # warm-up
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def ratio(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Ratio of the medians of a and b, with a 95 % bootstrap interval over repetitions."""
    rng = np.random.default_rng(SEED)
    rows = rng.integers(len(a), size=(4000, len(a)))
    boots = np.median(a[rows], 1) / np.median(b[rows], 1)
    low, high = np.quantile(boots, [0.025, 0.975])
    return {"ratio": float(np.median(a) / np.median(b)), "low": float(low), "high": float(high)}


def training_steps() -> dict[str, Callable[[], None]]:
    """One optimiser step on the same batch, with the law drawn and trained, and at the identity."""
    molecules = open_data("xtb9").with_geometry("mmff")
    target = molecules.target("gap")
    batch = PaddedData(molecules, [target]).batch(
        torch.randperm(len(molecules), generator=torch.manual_seed(SEED))[:64]
    )

    def step(learned: bool) -> Callable[[], None]:
        torch.manual_seed(SEED)
        network = PointTransformer([target])
        h = Augmented(network, rigid_motions(2.0, 0.5), Padded(), output_action([target]))
        identity = h.identity()
        parameters = list(h.parameters() if learned else network.parameters())
        optimizer = torch.optim.AdamW(parameters, lr=1e-4)

        def run() -> None:
            optimizer.zero_grad()
            if learned:
                loss = (h(batch.x) - batch.y).abs().mean() + 1e-3 * h.distribution.divergence()
            else:
                loss = (h(batch.x, identity) - batch.y).abs().mean()
            loss.backward()
            optimizer.step()

        return run

    return {"with the law": step(True), "without": step(False)}


def exponentials() -> dict[str, Callable[[], None]]:
    """Forward and backward through 4,096 rotations."""
    xi = torch.randn(4096, 3, generator=torch.manual_seed(SEED)).requires_grad_()
    weights = torch.randn(4096, 3, 3)

    def runge_kutta(a: Tensor) -> Tensor:
        k1 = a
        k2 = a + a @ k1 / 2
        k3 = a + a @ k2 / 2
        k4 = a + a @ k3
        return torch.eye(3) + (k1 + 2 * k2 + 2 * k3 + k4) / 6

    def job(exp: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        def run() -> None:
            xi.grad = None
            (exp(xi) * weights).sum().backward()

        return run

    return {
        "closed form": job(lambda v: SO3.exp(v).linear),
        "matrix_exp": job(lambda v: torch.linalg.matrix_exp(SO3.hat(v)[:, :3, :3])),
        "one Runge-Kutta step": job(lambda v: runge_kutta(SO3.hat(v)[:, :3, :3])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    repetitions = parser.parse_args().repetitions
    steps = interleaved(training_steps(), repetitions)
    exps = interleaved(exponentials(), repetitions)
    content: dict[str, Any] = {
        **provenance(SEED),
        "repetitions": repetitions,
        "training step, with the law / without": ratio(steps["with the law"], steps["without"]),
        "exp of 4096 rotations, matrix_exp / closed form": ratio(exps["matrix_exp"], exps["closed form"]),
        "exp of 4096 rotations, one Runge-Kutta step / closed form": ratio(
            exps["one Runge-Kutta step"], exps["closed form"]
        ),
    }
    for name, value in content.items():
        if isinstance(value, dict) and "ratio" in value:
            print(f"{name}: {value['ratio']:.3f} (95 % interval {value['low']:.3f} to {value['high']:.3f})")
    print(f"written to {write('speed', content)}")


if __name__ == "__main__":
    main()
