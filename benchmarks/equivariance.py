"""How equivariant networks become by learning: the experiments of Bruintjes, Motyka and van Gemert at small size.

    python benchmarks/equivariance.py [--parts mnist6 widths molecules frames cost] [--mnist DIR] [--sets FILE ...]
        [--seeds 0 1 2] [--jobs 1]

1. mnist6: six digits (0, 2, 3, 4, 5, 7) upright; turned by quarters with the digit as the label; turned, with the turn
   a part of the label. A plain network of seven convolutions; invariance and equivariance under quarter turns by layer.
2. widths: a small residual network of 1, 2 and 4 times a width on upright digits, and with random crops: equivariance
   under shifts of 4 pixels in the middle and at the end. The paper's are ResNet-44 on other pictures: only the
   direction can be compared.
3. molecules: gap of xtb9, networks trained without, with fixed and with learned augmentation, and SchNet: the report of
   `measure` beside 1,000 random rotations of the same molecules.
4. frames: the test of stored frames, of the --sets (.npz).
5. cost: of measuring all layers of the default network, over that of the passes; memory by the number of
   transformations.

Runs that are already in results/equivariance.json are kept. Each computes on one thread, --jobs at a time.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # of this and of the processes it starts; read when torch is loaded

import numpy as np
import torch
from record import Job, done, gather, provenance
from torch import Tensor, nn
from torch.nn import functional

from molaugerino.config import TrainConfig
from molaugerino.datasets import PackedData, in_frames, open_data
from molaugerino.datasets.images import open_images
from molaugerino.distributions import HaarBall
from molaugerino.equivariance import (
    Correlation,
    ImageView,
    MoleculeView,
    absolute,
    drawn,
    fixed,
    frame_test,
    layer_correlations,
    row_losses,
    shared,
    squared,
)
from molaugerino.groups import SO2, SO3, T2
from molaugerino.measure import measure
from molaugerino.measure.molecules import subject_of
from molaugerino.models import make_network
from molaugerino.training.checkpoint import load_model
from molaugerino.training.evaluation import TEST_FRAMES_SEED
from molaugerino.training.run import train
from molaugerino.vision import make_network as make_image_network

PARTS = ("mnist6", "widths", "molecules", "frames", "cost")
SIX = (0, 2, 3, 4, 5, 7)
VARIANTS = ("upright", "turned", "turn is label")
STAGES, CHANNELS = 7, 20
TRAINED, MEASURED, BATCH = 12_000, 512, 64
STEPS = {"mnist6": 1200, "widths": 900}
RATE = 3e-3
MARGIN, SHIFT = 4, 4  # pixels
ROTATIONS = 1000
AT_ONCE = 100
MOLECULES = 64


class SevenStages(nn.Module):
    """Seven 3x3 convolutions of 20 channels, max pools after the second and the fourth, the mean, a linear map."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        for stage in range(STAGES):
            conv = nn.Conv2d(1 if stage == 0 else CHANNELS, CHANNELS, 3, padding=1, bias=False)
            pool = [nn.MaxPool2d(2)] if stage in (1, 3) else []
            self.stages.append(nn.Sequential(conv, nn.BatchNorm2d(CHANNELS), nn.ReLU(), *pool))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.final = nn.Linear(CHANNELS, classes)

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x)
        return self.final(self.pool(x).flatten(1))


def digits(mnist: str | None, train_part: bool, n: int, chosen: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The first n pictures of these digits, in [0, 1], and which of them each is."""
    source = open_images(mnist or "digits")
    trained = source.trained if source.trained is not None else int(0.8 * len(source))
    rows = np.arange(trained) if train_part else np.arange(trained, len(source))
    rows = rows[np.isin(source.labels[rows], chosen)]
    rows = np.random.default_rng(0).permutation(rows)[:n]
    x = torch.from_numpy(source.images[rows]).float() / 255
    place = {digit: k for k, digit in enumerate(chosen)}
    return x, torch.tensor([place[int(label)] for label in source.labels[rows]])


def turned(x: Tensor, y: Tensor, variant: str, seed: int) -> tuple[Tensor, Tensor]:
    """Of one of the three tasks."""
    if variant == "upright":
        return x, y
    quarters = torch.randint(4, (len(x),), generator=torch.Generator().manual_seed(seed))
    x = torch.stack([one.rot90(int(k), (1, 2)) for one, k in zip(x, quarters, strict=True)])
    return x, y if variant == "turned" else 4 * y + quarters


def fit(network: nn.Module, x: Tensor, y: Tensor, steps: int, seed: int, crops: bool = False) -> None:
    """Cross-entropy, Adam with the rate falling along half a cosine; crops are shifts by up to 4 pixels each way."""
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(seed)
    network.train()
    for _ in range(steps):
        rows = torch.randint(len(x), (BATCH,), generator=generator)
        batch = x[rows]
        if crops:
            wide = functional.pad(batch, [MARGIN] * 4)
            corners = torch.randint(2 * MARGIN + 1, (BATCH, 2), generator=generator).tolist()
            height, width = x.shape[-2:]
            pairs = zip(wide, corners, strict=True)
            batch = torch.stack([one[:, r : r + height, c : c + width] for one, (r, c) in pairs])
        optimiser.zero_grad()
        functional.cross_entropy(network(batch), y[rows]).backward()
        optimiser.step()
        schedule.step()
    network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    return float(torch.cat([network(part).argmax(1) for part in x.split(256)]).eq(y).double().mean())


def told(metrics: dict[str, Correlation]) -> list[dict[str, Any]]:
    return [
        {"layer": name, **{k: float(v) for k, v in metric.compute().items()}, "intervals": metric.intervals()}
        for name, metric in metrics.items()
    ]


def mnist6(variant: str, seed: int, mnist: str | None) -> dict[str, Any]:
    torch.manual_seed(seed)
    x, y = turned(*digits(mnist, True, TRAINED, SIX), variant, seed)
    network = SevenStages(len(SIX) * (4 if variant == "turn is label" else 1))
    fit(network, x, y, STEPS["mnist6"], seed)
    x, y = turned(*digits(mnist, False, 4 * MEASURED, SIX), variant, seed + 1)
    quarters = fixed(SO2.exp(math.pi / 2 * torch.tensor([[1.0], [2.0], [3.0]])))
    view = ImageView(border=0.0)  # a quarter turn takes the square to itself: nothing comes from outside
    metrics, _ = layer_correlations(network, x[:MEASURED].split(MEASURED // 16), view, quarters)
    return {"accuracy": accuracy(network, x, y), "layers": told(metrics)}


def widths(width: float, crops: bool, seed: int, mnist: str | None) -> dict[str, Any]:
    torch.manual_seed(seed)
    every = tuple(range(10))
    x, y = digits(mnist, True, TRAINED, every)
    network = make_image_network("residual", 1, 10, width)
    fit(network, x, y, STEPS["widths"], seed, crops)
    x, y = digits(mnist, False, 4 * MEASURED, every)
    step = 2 * SHIFT / min(x.shape[-2:])
    shifts = fixed(T2.exp(step * torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])))
    metrics, _ = layer_correlations(network, x[:MEASURED].split(MEASURED // 16), ImageView(), shifts)
    return {"accuracy": accuracy(network, x, y), "layers": told(metrics)}


@torch.no_grad()
def brute_force(folder: Path, examples: int) -> dict[str, Any]:
    """Absolute and squared error of the gap, and what orientation adds to them, by random rotations."""
    augmented, card = load_model(folder)
    subject, loaded = subject_of(augmented, card, folder, (), examples)
    moved, _ = in_frames(loaded, card.frames, TEST_FRAMES_SEED)
    data = PackedData(moved, card.targets)
    rows = np.flatnonzero(np.isin(loaded.id.astype(str), subject.names))
    law, generator = HaarBall(SO3, math.pi), torch.Generator().manual_seed(1)
    found: dict[str, list[tuple[Tensor, Tensor]]] = {"absolute error": [], "squared error": []}
    for batch in data.batches(rows, 4):
        g = law.sample((ROTATIONS, len(batch.y)), generator).detach()
        each = torch.cat([augmented.each(batch.x, g[k : k + AT_ONCE]) for k in range(0, ROTATIONS, AT_ONCE)])
        for name, loss in (("absolute error", absolute), ("squared error", squared)):
            found[name].append(row_losses(each, batch.y, loss))
    return {
        name: shared(*(torch.cat(side) for side in zip(*parts, strict=True)))._asdict() for name, parts in found.items()
    }


def molecules(model: str, augment: str, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        config = TrainConfig(
            data=("xtb9",),
            target=("gap",),
            model=model,
            augment=augment,
            seed=seed,
            steps=1500,
            out=Path(scratch) / "r",
        )
        run = train(config)
        if run is None:
            raise KeyboardInterrupt
        begun = time.process_time()
        found = measure(run.folder, examples=MOLECULES)
        seconds = time.process_time() - begun
        shares = [{"kind": s.kind, "passes": s.passes, "unit": s.unit, **s.found._asdict()} for s in found.loss_share]
        content = {"layers": [vars(layer) for layer in found.layers], "loss_share": shares, "verdict": found.verdict}
        content["lie"] = {rate.axis: rate.rms for rate in found.lie_derivative}
        content["worst"] = [vars(case) for case in found.worst_angle]
        content["curve"] = [curve.deviation for curve in found.angle_curve]
        return content | {"cpu_seconds": seconds, "brute_force": brute_force(run.folder, MOLECULES)}


def frames(path: str) -> dict[str, Any]:
    """The test of the frames, and how far the centroids of the file lie from its origin, angstrom."""
    with np.load(path) as file:
        positions, num_atoms = file["positions"].astype(float), file["num_atoms"].astype(int)
    starts = num_atoms.cumsum() - num_atoms
    away = np.linalg.norm(np.add.reduceat(positions, starts) / num_atoms[:, None], axis=1)
    found = frame_test(open_data(path))
    return {"centroid_mean": float(away.mean()), "centroid_largest": float(away.max())} | found._asdict()


def cost(transforms: int) -> dict[str, Any]:
    """Processor time of all layers of the default network over that of the passes; peak memory of the process."""
    torch.manual_seed(0)
    data = open_data("xtb9")
    data = data.subset(np.random.default_rng(0).permutation(len(data))[:1000])
    targets = data.targets("gap")
    network = make_network("vector-transformer", targets).eval()
    batches = [batch.x for batch in PackedData(data, targets).batches(np.arange(1000), 63)]
    law = HaarBall(SO3, math.pi)
    view = MoleculeView()
    layer_correlations(network, batches[:1], view, drawn(law, 1))  # warm
    begun = time.process_time()
    with torch.no_grad():
        for x in batches:
            for _ in range(1 + transforms):
                network(x)
    passes = time.process_time() - begun
    begun = time.process_time()
    metrics, _ = layer_correlations(network, batches, view, drawn(law, transforms))
    seconds = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"layers": len(metrics), "passes_seconds": passes, "seconds": seconds, "peak_mb": peak}


def jobs_of(part: str, options: argparse.Namespace) -> list[tuple[dict[str, Any], Any]]:
    """Facts of each run of a part, and the run."""
    if part == "mnist6":
        return [
            ({"variant": v, "seed": s}, partial(mnist6, v, s, options.mnist)) for s in options.seeds for v in VARIANTS
        ]
    if part == "widths":
        kinds = [(0.25, False), (0.5, False), (1.0, False), (0.25, True)]
        return [
            ({"width": w, "crops": c, "seed": s}, partial(widths, w, c, s, options.mnist))
            for s in options.seeds
            for w, c in kinds
        ]
    if part == "molecules":
        kinds = [("point-transformer", a) for a in ("none", "fixed", "learned")] + [("schnet", "none")]
        return [
            ({"model": m, "augment": a, "seed": s}, partial(molecules, m, a, s))
            for s in options.seeds[:1]
            for m, a in kinds
        ]
    if part == "frames":
        return [({"set": Path(path).stem}, partial(frames, path)) for path in options.sets]
    return [({"transforms": count}, partial(cost, count)) for count in (2, 16)]


def say(run: dict[str, Any]) -> str:
    facts = " ".join(
        f"{key} {run[key]}" for key in ("variant", "width", "crops", "model", "augment", "set") if key in run
    )
    if run["part"] in ("mnist6", "widths"):
        scores = ", ".join(f"{r['layer']} {r['invariance']:.2f}/{r['equivariance']:.2f}" for r in run["layers"])
        return f"{facts} seed {run['seed']}: accuracy {run['accuracy']:.3f}; {scores}"
    if run["part"] == "molecules":
        return f"{facts}: {run['verdict'][0]}; brute force {run['brute_force']['absolute error']['orientation']:.3g}"
    if run["part"] == "frames":
        return f"{facts}: {run['accuracy']:.3f} told apart, p {run['p_value']:.2g}, centroid {run['centroid_mean']:.3g}"
    return f"{run['transforms']} transformations: {run['seconds'] / run['passes_seconds']:.2f}, {run['peak_mb']:.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=[*PARTS], choices=PARTS)
    parser.add_argument("--mnist", help="folder of MNIST")
    parser.add_argument("--sets", nargs="*", default=[], help="data sets for the test of their frames, .npz")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    jobs: list[Job] = []
    # a process per run, so that the memory of one is not that of another
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        for part in options.parts:
            for named, job in jobs_of(part, options):
                facts = {"part": part, **named}
                if not done("equivariance", facts):
                    jobs.append((facts, pool.submit(job).result))
        gather("equivariance", provenance(options.seeds), jobs, say)


if __name__ == "__main__":
    main()
