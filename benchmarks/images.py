"""Laws learned from images, against the extent that is right: every task, three seeds.

    python benchmarks/images.py [--parts laws prices digits segment paper] [--seeds 0 1 2] [--steps 1500] [--mnist DIR]
        [--width 0.125] [--jobs 2]

1. laws: the tasks whose right half-width is known, by the loss budget with its numbers as they are; `angle` beside a
   network without augmentation.
2. prices: the same tasks at fixed prices 1e-3, 1e-2 and 1e-1 of the norm of the widths: how far each overshoots.
3. digits: rotated digits, none / fixed / learned from 1, 4 and 16 copies, and the same for upright digits.
4. segment: scenes, orientation a part of the classes or not, none / fixed / learned; in small batches, 4,000 steps,
   the first 1,400 of them warm-up.
5. paper: Augerino as published, on rotated digits and two icons, for as many steps.

The digits are those of --mnist, 20,000 of them, else the embedded ones, and their network is the residual one of four
times the width. Runs that are already in results/images.json are kept. Each run computes on one thread, --jobs at a
time; times are processor minutes.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # of this and of the processes it starts; read when torch is loaded

import torch
from record import Job, done, gather, provenance
from rich.console import Console

from molaugerino.config import ImageConfig, ImageLawConfig
from molaugerino.tasks import TASKS
from molaugerino.training.image_models import load_image_model
from molaugerino.training.image_scores import evaluation_copies, predictions
from molaugerino.training.images import open_image_data, train_images

KNOWN = ("two-icons", "touching-ranges", "angle", "hue")
PRICES = (1e-3, 1e-2, 1e-1)
ANGLES = 24
DIGITS = 20_000
# small batches, since most pixels are background; the law waits until the few others have been learned
SCENES = {"batch": 16, "lr": 2e-3, "warmup": 0.35, "steps": 4000}
OPTIONS = ("task", "augment", "objective", "data", "model", "width")
PARTS = ("laws", "prices", "digits", "segment", "paper")


def settings(part: str, mnist: str | None, width: float) -> list[dict[str, Any]]:
    """What tells the runs of a part from each other."""
    if part == "laws":
        runs: list[dict[str, Any]] = [{"task": name, "augment": "learned"} for name in KNOWN]
        return [*runs, {"task": "angle", "augment": "none"}]
    if part == "prices":
        priced = {"augment": "learned", "objective": "norm"}
        return [priced | {"task": name, "strength": price} for name in KNOWN for price in PRICES]
    if part == "digits":
        each = [{"task": "rotmnist", "augment": a} for a in ("none", "fixed", "learned")]
        runs = [*each, {"task": "upright", "augment": "learned"}]
        return [run | {"data": mnist, "model": "residual", "width": 4 * width} for run in runs]
    if part == "segment":
        kinds = [(t, a) for t in ("segment", "segment-free") for a in ("none", "fixed", "learned")]
        return [{"task": t, "augment": a, "width": 2 * width} | SCENES for t, a in kinds]
    digits = {"task": "rotmnist", "augment": "paper", "data": mnist, "model": "residual", "width": 4 * width}
    return [digits, {"task": "two-icons", "augment": "paper"}]


def run(made: dict[str, Any], seed: int) -> dict[str, Any]:
    law = ImageLawConfig(strength=made.get("strength"))
    options: dict[str, Any] = {key: made[key] for key in OPTIONS if key in made}
    if options.get("data") is not None:
        options["images"] = DIGITS
    with tempfile.TemporaryDirectory() as scratch:
        options |= {"seed": seed, "split_seed": seed, "steps": made["steps"], "out": Path(scratch) / "run"}
        optim = {key: made[key] for key in ("batch", "lr", "warmup") if key in made}
        config = ImageConfig(**options, law=law)
        config = replace(config, optim=replace(config.optim, **optim))
        begun = time.process_time()
        finished = train_images(config, Console(quiet=True))
        if finished is None:
            raise KeyboardInterrupt
        minutes = (time.process_time() - begun) / 60
        augmented, card = load_image_model(finished.folder)
        data = open_image_data(config)
        found: dict[str, Any] = {"cpu_minutes": minutes, "law": finished.law, "right": TASKS[card.task].right}
        found["results"] = [r._asdict() for r in finished.results]
        found["data_name"] = data.name
        if TASKS[card.task].kind == "classes" and TASKS[card.task].law == "rotation":
            found["flatness"] = flatness(augmented, card.eval_copies, data)
        if TASKS[card.task].kind == "classes":
            y = data.packed.y[torch.from_numpy(data.split.test)]
            wanted = evaluation_copies(augmented, card.eval_copies if card.augment != "none" else 1)
            said = predictions(augmented, data.packed, data.split.test, wanted)
            found["right_or_wrong"] = "".join(str(int(r)) for r in said.argmax(1) == y)  # to compare runs in pairs
    return found


@torch.no_grad()
def flatness(augmented: Any, copies: int, data: Any) -> dict[str, float]:
    """How the probability of the true class varies as test images are turned, averaged over the law.

    The range over the circle, in the mean over the images and the largest of 90 % of them.
    """
    from molaugerino.groups import SO2

    rows = torch.from_numpy(data.split.test[:200])
    x, y = data.packed.x[rows], data.packed.y[rows]
    elements = evaluation_copies(augmented, copies)
    probabilities = []
    for angle in torch.linspace(-math.pi, math.pi, ANGLES + 1)[:-1]:
        turned = augmented.input.act(SO2.exp(angle.reshape(1, 1).expand(len(x), 1)), x, None)
        said = augmented.reduce(augmented.each(turned, elements))
        probabilities.append(said.softmax(1).gather(1, y.unsqueeze(1))[:, 0])
    over = torch.stack(probabilities)
    spread = over.max(0).values - over.min(0).values
    mean = over.mean(1)
    return {
        "range_of_mean": float(mean.max() - mean.min()),
        "mean_range": float(spread.mean()),
        "range_of_90_percent": float(spread.quantile(0.9)),
    }


def say(found: dict[str, Any]) -> str:
    parts = found["law"]["parts"]
    widths = ", ".join(f"{part['width']:.3g} {part['unit']}" for part in parts.values())
    best = found["results"][-1]["scores"]
    made = " ".join(str(found[key]) for key in ("task", "augment", "objective", "strength") if found.get(key))
    scores = ", ".join(f"{k} {v:.4g}" for k, v in best.items())
    return f"{made} seed {found['seed']}: {widths}; {scores}; {found['cpu_minutes']:.1f} min"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=[*PARTS], choices=PARTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--mnist", help="folder of MNIST")
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    jobs: list[Job] = []
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        for part in options.parts:
            for seed in options.seeds:
                for made in settings(part, options.mnist, options.width):
                    made = {"width": options.width, "steps": options.steps} | made
                    named = {key: value for key, value in made.items() if key != "data"}
                    facts = {"part": part, **named, "seed": seed}
                    if not done("images", facts):
                        jobs.append((facts, pool.submit(run, made, seed).result))
        gather("images", provenance(options.seeds), jobs, say)


if __name__ == "__main__":
    main()
