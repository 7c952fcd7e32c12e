"""What averaging costs beside the network: ratios of interleaved repetitions within one run.

    python benchmarks/averaging_cost.py [--device cuda] [--repetitions 60]

1. A prediction from k = 16 copies against 16 single passes of the same network: a point transformer on 64 molecules.
2. A training step of a convolutional network of 0.1 GMAC per image, 128 images of 32 x 32, with a learned law of affine
   maps and the warp against without.
3. exp of 128 affine maps of the plane, and of 4,096 rigid motions of space, forward and backward, by an adaptive
   solver of ODEs (torchdiffeq's dopri5 at rtol 1e-4, as in Augerino's code) against ours. Without torchdiffeq: null.

Nothing else should run beside it.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from record import provenance, write
from timing import SEED, interleaved, ratio
from torch import Tensor, nn

from molaugerino import Augmented
from molaugerino.config import TrainConfig
from molaugerino.distributions import AlgebraUniform, rigid_motions
from molaugerino.groups import SE3, Group, aff2
from molaugerino.spaces import Image, Padded
from molaugerino.training.defaults import resolved
from molaugerino.training.setup import make_augmented, make_card, open_run_data

COPIES, MOLECULES = 16, 64
IMAGES, SIDE, CLASSES = 128, 32, 10
MOTIONS = 4096
WIDTHS = (32, 64, 64, 128, 128)  # of the convolutions; the image is halved after the third
Job = Callable[[], None]


def copies(device: str) -> dict[str, Job]:
    """One prediction from k copies, in parts of as many passes as there are molecules, and k single passes."""
    config = resolved(TrainConfig())
    torch.manual_seed(SEED)
    data = open_run_data(config)
    network = make_augmented(config, make_card(config, data), data).model
    x = data.packed.batch(torch.from_numpy(data.split.train[:MOLECULES])).to(device).x
    law = rigid_motions(3.0, 1.0)
    h = Augmented(network, law, Padded(), eval_copies=COPIES, at_once=MOLECULES).to(device).eval()

    @torch.no_grad()
    def averaged() -> None:
        h(x)

    @torch.no_grad()
    def single() -> None:
        for _ in range(COPIES):
            network(x)

    return {"averaged": averaged, "single": single}


class Convolutions(nn.Module):
    """A network of images, and how many products it makes of one."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.products, side, before = 0, SIDE, 3
        for k, width in enumerate(WIDTHS):
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            self.products += 9 * before * width * side * side
            before = width
            if k == 2:
                layers.append(nn.MaxPool2d(2))
                side //= 2
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(before, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x).mean((-2, -1)))


def training_steps(device: str) -> dict[str, Job]:
    generator = torch.Generator(device).manual_seed(SEED)
    images = torch.rand(IMAGES, 3, SIDE, SIDE, generator=generator, device=device)
    labels = torch.randint(CLASSES, (IMAGES,), generator=generator, device=device)

    def step(augmented: bool) -> Job:
        torch.manual_seed(SEED)
        network = Convolutions()
        law = AlgebraUniform(aff2(), (0.2, 0.2, 0.5, 0.1, 0.1, 0.1))
        model: nn.Module = Augmented(network, law, Image()) if augmented else network
        model = model.to(device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

        def run() -> None:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            if augmented:
                loss = loss + 0.01 * law.divergence()
            loss.backward()
            optimizer.step()

        return run

    return {"with the law": step(True), "without": step(False)}


def exponentials(group: Group, count: int, device: str) -> dict[str, Job]:
    dim = group.space_dim + 1
    generator = torch.Generator(device).manual_seed(SEED)
    xi = (0.3 * torch.randn(count, group.dim, generator=generator, device=device)).requires_grad_()
    weights = torch.randn(count, dim, dim, generator=generator, device=device)

    def ours(v: Tensor) -> Tensor:
        g = group.exp(v)
        return (g.linear * weights[:, :-1, :-1]).sum() + (g.shift * weights[:, :-1, -1]).sum()

    def solved(v: Tensor) -> Tensor:
        from torchdiffeq import odeint

        a = group.hat(v)
        start, ends = torch.eye(dim, device=device).expand_as(a), torch.tensor([0.0, 1.0], device=device)
        return (odeint(lambda _, y: a @ y, start, ends, method="dopri5", rtol=1e-4)[1] * weights).sum()

    def job(value: Callable[[Tensor], Tensor]) -> Job:
        def run() -> None:
            xi.grad = None
            value(xi).backward()

        return run

    return {"ours": job(ours), "adaptive": job(solved)} if has_solver() else {}


def has_solver() -> bool:
    return importlib.util.find_spec("torchdiffeq") is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--repetitions", type=int, default=60)
    options = parser.parse_args()
    settle = torch.cuda.synchronize if options.device == "cuda" else lambda: None
    passes = interleaved(copies(options.device), options.repetitions, settle)
    steps = interleaved(training_steps(options.device), options.repetitions, settle)
    exps: dict[str, Any] = {}
    for title, group, count in (("affine maps", aff2().to(options.device), IMAGES), ("rigid motions", SE3, MOTIONS)):
        found = interleaved(exponentials(group, count, options.device), options.repetitions, settle)
        exps[f"exp of {count:,} {title}, adaptive solver / ours"] = (
            ratio(found["adaptive"], found["ours"]) if found else None
        )
    content: dict[str, Any] = {
        **provenance(SEED),
        "on": options.device,
        "repetitions": options.repetitions,
        "GMAC per image": Convolutions().products / 1e9,
        f"prediction from {COPIES} copies / {COPIES} single passes": ratio(passes["averaged"], passes["single"]),
        "step of a 0.1-GMAC network on 128 images, affine law and warp / without": ratio(
            steps["with the law"], steps["without"]
        ),
        **exps,
        "solver": "torchdiffeq" if has_solver() else "not measured: no torchdiffeq",
    }
    for name, value in content.items():
        if isinstance(value, dict) and "ratio" in value:
            print(f"{name}: {value['ratio']:.3f} (95 % interval {value['low']:.3f} to {value['high']:.3f})")
    name = "averaging_cost" if options.device == "cpu" else f"averaging_cost_{options.device}"
    print(f"written to {write(name, content)}")


if __name__ == "__main__":
    main()
