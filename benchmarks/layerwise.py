"""Layer-wise equivariance by evidence: the experiments of van der Ouderaa, Immer and van der Wilk at small size.

    python benchmarks/layerwise.py [--parts toy references mixed curvature cost] [--mnist DIR] [--seeds 0 1]
        [--jobs 2]

1. toy: digits in a quarter of the picture, labelled by the digit, and by digit and quarter: the learned network of
   factored and convolutional paths (a = 10), 10,000 steps each.
2. references: dense and convolutional networks (a = 4), by MAP and by evidence, 1,500 steps.
3. mixed: three paths, the third on quarter turns, on 10,000 upright, translated and rotated digits, by MAP and by
   evidence, 1,200 steps.
4. curvature: log determinants of small networks: exact, by tensor, and by Kronecker factors.
5. cost: of training with evidence over that of MAP; of one update of the precisions from 1,000 and from all images;
   memory of the factors. Run it alone.

MAP is a prior precision of 1 for all tensors. Runs that are already in results/layerwise_toy.json are kept. Each
computes on one thread, --jobs at a time; times are processor minutes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # of this and of the processes it starts; read when torch is loaded

import torch
from record import Job, done, gather, provenance
from rich.console import Console
from torch import nn

from molaugerino.config import EvidenceConfig, ImageConfig
from molaugerino.laplace import Categorical, Full, Priors, exact, kfac
from molaugerino.layers import BlockLinear
from molaugerino.training.evidence import EvidenceSearch
from molaugerino.training.images import open_image_data, train_images
from molaugerino.vision import Layerwise, make_network

PARTS = ("toy", "references", "mixed", "curvature", "cost")
TASKS = ("quadrant-blind", "quadrant-aware")
MIXED = ("upright", "translated", "rotmnist")
STEPS = {"toy": 10_000, "references": 1500, "mixed": 1200, "cost": 200}
IMAGES = 10_000  # for training, of mixed
LEARNED = EvidenceConfig(examples=1000, every=200)
BATCH, RATE = 64, 3e-3
PROBES = 20


def run(made: dict[str, Any], mnist: str | None, images: int | None = None) -> dict[str, Any]:
    """One training; of MAP the precisions stay as they are."""
    with tempfile.TemporaryDirectory() as scratch:
        config = ImageConfig(
            task=made["task"],
            model=made["model"],
            width=made["width"],
            data=mnist,
            images=images,
            augment="none",
            objective="evidence",
            evidence=LEARNED if made["prior"] == "evidence" else replace(LEARNED, burn_in=1.0),
            steps=made["steps"],
            seed=made["seed"],
            split_seed=made["seed"],
            out=Path(scratch) / "run",
        )
        config = replace(config, optim=replace(config.optim, batch=BATCH, lr=RATE))
        begun, wall = time.process_time(), time.monotonic()
        finished = train_images(config, Console(quiet=True))
        if finished is None or finished.evidence is None:
            raise KeyboardInterrupt
        minutes = (time.process_time() - begun) / 60
    evidence = finished.evidence
    return {
        "cpu_minutes": minutes,
        "wall_minutes": (time.monotonic() - wall) / 60,
        "scores": finished.results[-1].scores,
        "n_test": finished.results[-1].n,
        "log_evidence": evidence.log_evidence,
        "shares": evidence.shares(),
        "tensors": [[t.name, t.size, t.precision, t.effective] for t in evidence.tensors],
    }


def curvature(paths: str) -> dict[str, Any]:
    """log det (H + P0) - log det P0 of a small network at its start: exact, of the blocks of the tensors alone, and by
    Kronecker factors."""
    torch.manual_seed(0)
    network = Layerwise(1, 4, paths.split("+"), a=1, size=8).double().eval()
    x = torch.rand(60, 1, 8, 8, dtype=torch.float64)
    precisions = {name: d.detach() for name, d in Priors(network).precisions().items()}
    whole = exact(network, x.split(20), Categorical())
    value, sizes = float(whole.log_det(precisions)), list(whole.sizes.values())
    blocks = [part.split(sizes, 1)[k] for k, part in enumerate(whole.matrix.split(sizes))]
    alone = [Full(block, {name: len(block)}) for name, block in zip(whole.sizes, blocks, strict=True)]
    by_tensor = sum(float(block.log_det(precisions)) for block in alone)
    found = [
        float(kfac(network, [x], Categorical(), generator=torch.Generator().manual_seed(k)).log_det(precisions))
        for k in range(PROBES)
    ]
    mean = sum(found) / PROBES
    count = sum(p.numel() for p in network.parameters())
    return {"parameters": count, "exact": value, "by_tensor": by_tensor, "kfac": mean}


def cost(mnist: str | None) -> dict[str, Any]:
    """Processor seconds of MAP and of evidence for as many steps, of updates of the precisions; bytes of factors."""
    named = {"task": "quadrant-aware", "model": "f-fc+conv", "width": 1.0, "steps": STEPS["cost"], "seed": 0}
    torch.manual_seed(0)
    network = make_network("f-fc+conv", 1, 40, 1.0)
    data = open_image_data(ImageConfig(task="quadrant-aware", data=mnist, augment="none", objective="evidence"))
    seconds = []
    for count in (LEARNED.examples, len(data.train)):
        search = EvidenceSearch(network, Categorical(), len(data.train), replace(LEARNED, examples=count))
        rows = search.rows(data.train, 0)
        batches = [(batch.x, batch.y) for batch in data.packed.batches(rows, 50)]
        begun = time.process_time()
        search.refresh(network.eval(), batches, 0)
        seconds.append(time.process_time() - begun)
    optimiser = torch.optim.Adam(network.parameters(), 1e-4)
    batch = data.packed.batch(torch.arange(BATCH))
    begun = time.process_time()
    for _ in range(STEPS["cost"]):
        optimiser.zero_grad()
        (nn.functional.cross_entropy(network(batch.x), batch.y) + search.penalty(network)).backward()
        optimiser.step()
    steps = (time.process_time() - begun) / STEPS["cost"]
    few, every = seconds
    epoch = len(data.train) / BATCH * steps
    return named | {
        "images": len(data.train),
        "examples": LEARNED.examples,
        "every": LEARNED.every,
        "step_seconds": steps,
        "update_seconds": few,
        "update_of_all_seconds": every,
        "evidence_over_map": 1 + few / (LEARNED.every * steps),
        "literal_over_map": 1 + every / (5 * epoch),
        "factors": factors(network),
    }


def factors(network: nn.Module) -> list[dict[str, Any]]:
    """Bytes of the Kronecker factors of every factored map, in float64, by block and padded to one matrix."""
    found = []
    for name, m in network.named_modules():
        if isinstance(m, BlockLinear) and len(m.weight) > 1:
            blocks, outputs, inputs = m.weight.shape
            own = 8 * blocks * (inputs**2 + outputs**2)
            padded = 8 * ((blocks * inputs) ** 2 + (blocks * outputs) ** 2)
            found.append({"map": name, "blocks": blocks, "bytes": own, "padded_bytes": padded})
    return found


def settings(part: str) -> list[dict[str, Any]]:
    """What tells the trainings of a part from each other."""
    if part == "toy":
        return [{"task": task, "model": "f-fc+conv", "width": 1.0, "prior": "evidence"} for task in TASKS]
    if part == "references":
        return [
            {"task": task, "model": model, "width": 0.4, "prior": prior}
            for task in TASKS
            for model in ("fc", "conv")
            for prior in ("map", "evidence")
        ]
    return [
        {"task": task, "model": "f-fc+conv+gconv", "width": 0.4, "prior": prior}
        for task in MIXED
        for prior in ("map", "evidence")
    ]


def jobs_of(part: str, options: argparse.Namespace) -> list[tuple[dict[str, Any], Any]]:
    """Facts of each run of a part, and the run."""
    if part == "curvature":
        return [({"paths": paths}, partial(curvature, paths)) for paths in ("fc", "conv", "f-fc", "f-fc+conv")]
    if part == "cost":
        return [({"batch": BATCH}, partial(cost, options.mnist))]
    made = [named | {"steps": STEPS[part], "seed": seed} for seed in options.seeds for named in settings(part)]
    images = IMAGES if part == "mixed" else None
    return [(named, partial(run, named, options.mnist, images)) for named in made]


def say(found: dict[str, Any]) -> str:
    if found["part"] == "curvature":
        values = ", ".join(f"{key} {found[key]:.2f}" for key in ("exact", "by_tensor", "kfac"))
        return f"{found['paths']}: {found['parameters']} parameters, {values}"
    if found["part"] == "cost":
        return f"evidence / MAP {found['evidence_over_map']:.2f}, literal / MAP {found['literal_over_map']:.2f}"
    scores = ", ".join(f"{k} {v:.4g}" for k, v in found["scores"].items())
    shares = "; ".join("/".join(f"{s:.0%}" for s in own.values()) for own in found["shares"].values())
    named = " ".join(str(found[key]) for key in ("task", "model", "prior", "seed"))
    return f"{named}: {scores}; evidence {found['log_evidence']:.4g}; {shares}; {found['cpu_minutes']:.1f} min"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=[*PARTS], choices=PARTS)
    parser.add_argument("--mnist", help="folder of MNIST")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    jobs: list[Job] = []
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        for part in options.parts:
            for named, job in jobs_of(part, options):
                facts = {"part": part, **named}
                if not done("layerwise_toy", facts):
                    jobs.append((facts, pool.submit(job).result))
        gather("layerwise_toy", provenance(options.seeds), jobs, say)


if __name__ == "__main__":
    main()
