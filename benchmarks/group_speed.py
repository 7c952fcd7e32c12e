"""Cost of the group algebra beside the matrix product that it cannot do without.

    python benchmarks/group_speed.py [--device cuda] [--repetitions 200]

1. Sample, exp, apply and backward of the law of molecules, 4,096 elements on 18 points each, eager and compiled,
   over one batched matrix product of that size with its backward: ratios of interleaved repetitions within one run.
2. One element each applied to 4,000 sets of 250 points, a million in all: seconds, and points per second.

On a CPU in one thread: compiled code brings its own pool of threads, and two pools only fight for the cores.
Where no compiler is at hand the compiled figures are null, with the reason beside them.
"""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from record import provenance, write
from timing import SEED, interleaved, ratio
from torch import Tensor

from molaugerino.distributions import rigid_motions

ELEMENTS, POINTS = 4096, 18
MANY = 4000, 250  # a million points
Job = Callable[[], None]


def why_not_compiled(device: str) -> str | None:
    """Why torch.compile has nothing to generate code with, if so."""
    if device == "cpu" and not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        return "not measured: no compiler"
    if device == "cuda":
        try:
            import triton  # noqa: F401
        except ImportError:
            return "not measured: no triton"
    return None


def training_jobs(device: str) -> dict[str, Job]:
    """The matrix product, and all that a law does in one training step, each with its backward."""
    generator = torch.Generator(device).manual_seed(SEED)
    points, weights = torch.randn(2, ELEMENTS, POINTS, 3, generator=generator, device=device)
    factors = torch.randn(ELEMENTS, 3, 3, generator=generator, device=device, requires_grad=True)
    law = rigid_motions(math.pi, 1.0).to(device)

    def matrix_product() -> None:
        factors.grad = None
        (points @ factors).backward(weights)

    def step(move: Callable[[Tensor], Tensor]) -> Job:
        def run() -> None:
            law.zero_grad()
            move(law.noise((ELEMENTS,), generator)).backward(weights)

        return run

    def move(noise: Tensor) -> Tensor:
        return law.elements(noise)(points)

    jobs = {"matrix product": matrix_product, "eager": step(move)}
    if why_not_compiled(device) is None:
        jobs["compiled"] = step(torch.compile(move, fullgraph=True))
    return jobs


def many_points(device: str) -> dict[str, Job]:
    """A million points moved, and the batched product alone."""
    generator = torch.Generator(device).manual_seed(SEED)
    points = torch.randn(*MANY, 3, generator=generator, device=device)
    with torch.no_grad():
        g = rigid_motions(math.pi, 1.0).to(device).sample(MANY[:1], generator)
    turns = g.linear.mT.contiguous()

    def apply() -> None:
        g(points)

    def product() -> None:
        points @ turns

    return {"apply": apply, "product": product}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--repetitions", type=int, default=200)
    options = parser.parse_args()
    if options.device == "cpu":
        torch.set_num_threads(1)
    settle = torch.cuda.synchronize if options.device == "cuda" else lambda: None
    steps = interleaved(training_jobs(options.device), options.repetitions, settle)
    moved = interleaved(many_points(options.device), options.repetitions, settle)
    apply = float(np.median(moved["apply"]))
    base = steps["matrix product"]
    content: dict[str, Any] = {
        **provenance(SEED),
        "on": options.device,
        "repetitions": options.repetitions,
        "elements": ELEMENTS,
        "points per element": POINTS,
        "seconds": {name: float(np.median(values)) for name, values in steps.items()},
        "sample + exp + apply + backward / matrix product": ratio(steps["eager"], base),
        "the same, compiled": ratio(steps["compiled"], base) if "compiled" in steps else None,
        "compiler": why_not_compiled(options.device) or "found",
        "1M points: seconds": apply,
        "1M points: points per second": math.prod(MANY) / apply,
        "1M points: apply / matrix product": ratio(moved["apply"], moved["product"]),
    }
    for name, value in content.items():
        if isinstance(value, dict) and "ratio" in value:
            print(f"{name}: {value['ratio']:.3f} (95 % interval {value['low']:.3f} to {value['high']:.3f})")
    name = "group_speed" if options.device == "cpu" else f"group_speed_{options.device}"
    print(f"written to {write(name, content)}")


if __name__ == "__main__":
    main()
