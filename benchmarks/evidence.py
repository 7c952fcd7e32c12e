"""Symmetry by evidence: relaxed layers for molecules, laws without a penalty, and classes that few examples have.

    python benchmarks/evidence.py [--parts paths laws tail memory] [--mnist DIR] [--seeds 0 1 2] [--jobs 2]
        [--minutes 4] [--steps 6000] [--image-steps 3000]

1. paths: the equivariant path, the free one, and both in every layer, at equal minutes, on GFN2-xTB gaps and on
   energies in a field; molecules of xtb9 in random frames. Test error on random frames, evidence, share of each path.
2. laws: the law that the evidence chooses, and the one that the loss budget chooses, at equal steps: molecules of xtb9
   of at most 15 atoms, and drawn icons.
3. tail: MNIST with a hundredth of the images of the commonest class in the rarest one; tested on all classes alike.
4. memory: what an update of the law adds to the largest memory of a process, with few and with many training images.
   Run it alone.

Runs that are already in results/evidence.json are kept. Each computes on one thread, --jobs at a time; times of laws
and tail are processor minutes.
"""

from __future__ import annotations

import argparse
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
from rich.console import Console
from worlds import judged, small_molecules

from molaugerino.config import ImageConfig, LawConfig, TrainConfig
from molaugerino.datasets import World
from molaugerino.tasks import TASKS
from molaugerino.training.checkpoint import load_model
from molaugerino.training.images import make_image_card, make_image_module, open_image_data, train_images
from molaugerino.training.law_evidence import LawEvidence
from molaugerino.training.run import train

PARTS = ("paths", "laws", "tail", "memory")
LABELS = ("gap", "field")
NETWORKS = ("painn", "relaxed-painn", "free-painn")
MOLECULES = ("gap", "dipole_x", "field", "two-fields")
ICONS = ("two-icons", "angle")
OBJECTIVES = ("evidence", "budget")
TAIL = ("none", "norm", "budget", "evidence")
LARGEST, RATIO = 1000, 100  # images of the commonest class, and how many times fewer the rarest has
QUIET = Console(quiet=True)


def label_of(name: str, seed: int) -> dict[str, Any]:
    """Settings of a label: of a world, or of the data."""
    world = {"world": name, "world_seed": seed} if name in ("field", "two-fields") else {"target": (name,)}
    return world | {"frames": "random", "seed": seed, "split_seed": seed}


def paths(made: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        settings = label_of(made["label"], made["seed"]) | {"model": made["model"], "minutes": made["minutes"]}
        config = TrainConfig(**settings, augment="none", objective="evidence", out=Path(scratch) / "run")
        finished = train(config, QUIET)
        if finished is None:
            raise KeyboardInterrupt
        if finished.evidence is None:
            raise RuntimeError(f"no curvature could be taken of {made}")
    [error] = [r for r in finished.results if r.frames == "random" and r.copies == 1]
    return {
        "mae": error.mae,
        "unit": error.unit,
        "mean_predictor": error.mean_predictor,
        "log_evidence": finished.evidence.log_evidence,
        "noise": finished.evidence.noise,
        "shares": finished.evidence.shares(),
    }


def molecule_law(made: dict[str, Any]) -> dict[str, Any]:
    seed, name = made["seed"], made["label"]
    with tempfile.TemporaryDirectory() as scratch:
        settings = label_of(name, seed) | {"data": (str(small_molecules(Path(scratch))),), "steps": made["steps"]}
        settings |= {"model": "point-transformer", "law": LawConfig(family="gaussian")}
        config = TrainConfig(**settings, augment="learned", objective=made["objective"], out=Path(scratch) / "run")
        begun = time.process_time()
        finished = train(config, QUIET)
        if finished is None:
            raise KeyboardInterrupt
        minutes = (time.process_time() - begun) / 60
        law = load_model(finished.folder)[0].distribution
    axis = np.array([1.0, 0.0, 0.0]) if name == "dipole_x" else None
    return {
        "cpu_minutes": minutes,
        "judged": judged(law, World(name if name in ("field", "two-fields") else "none", seed), False, axis),
        "parts": finished.law["parts"],
        "verdict": finished.law["verdict"],
        "results": [r._asdict() for r in finished.results],
        "log_evidence": None if finished.evidence is None else finished.evidence.log_evidence,
    }


def image_run(config: ImageConfig) -> dict[str, Any]:
    begun = time.process_time()
    finished = train_images(config, QUIET)
    if finished is None:
        raise KeyboardInterrupt
    return {
        "cpu_minutes": (time.process_time() - begun) / 60,
        "parts": finished.law["parts"],
        "verdict": finished.law["verdict"],
        "right": TASKS[config.task].right,
        "results": [r._asdict() for r in finished.results],
        "log_evidence": None if finished.evidence is None else finished.evidence.log_evidence,
    }


def icon_law(made: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        settings = {"task": made["label"], "steps": made["steps"], "width": 0.125, "out": Path(scratch) / "run"}
        settings |= {"objective": made["objective"], "seed": made["seed"], "split_seed": made["seed"]}
        return image_run(ImageConfig(**settings))


def long_tailed(mnist: Path, folder: Path, seed: int) -> Path:
    """A folder of MNIST whose class c has LARGEST * RATIO^(-c/9) images to train on, and all of those to test."""
    whole = np.load(mnist / "mnist_train.npz", allow_pickle=False)
    order = np.random.default_rng(seed).permutation(len(whole["labels"]))
    kept = []
    for c in range(10):
        own = order[whole["labels"][order] == c]
        kept.append(own[: round(LARGEST * RATIO ** (-c / 9))])
    rows = np.sort(np.concatenate(kept))
    np.savez(folder / "mnist_train.npz", images=whole["images"][rows], labels=whole["labels"][rows])
    (folder / "mnist_test.npz").write_bytes((mnist / "mnist_test.npz").read_bytes())
    return folder


def tail(made: dict[str, Any], mnist: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "mnist"
        data.mkdir()
        settings: dict[str, Any] = {"task": "upright", "data": str(long_tailed(mnist, data, made["seed"]))}
        settings |= {"steps": made["steps"], "width": 0.25, "seed": made["seed"], "split_seed": made["seed"]}
        if made["objective"] == "none":
            settings["augment"] = "none"
        else:
            settings["objective"] = made["objective"]
        return image_run(ImageConfig(**settings, out=Path(scratch) / "run"))


def memory(images: int) -> dict[str, Any]:
    """Megabytes that updates of the law add to the largest memory of this process so far."""
    config = ImageConfig(task="two-icons", objective="evidence", steps=100, images=images, width=0.125)
    data = open_image_data(config)
    module = make_image_module(config, make_image_card(config, data), data).train()
    objective = module.objective
    assert isinstance(objective, LawEvidence)
    objective.search.opened.fill_(True)
    batch = data.packed.batch(torch.from_numpy(data.train[:64]))
    elements = module._elements(batch)
    module(batch, *elements).backward()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(3):
        objective.penalty(module.distribution, module._losses(batch, *elements)).backward()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"train": len(data.train), "before_mb": before / 1024, "added_mb": (after - before) / 1024}


def jobs_of(part: str, options: argparse.Namespace) -> list[tuple[dict[str, Any], Any]]:
    """Facts of each run of a part, and the run."""
    found: list[tuple[dict[str, Any], Any]] = []
    for seed in options.seeds:
        if part == "paths":
            made = [{"label": label, "model": m, "minutes": options.minutes} for label in LABELS for m in NETWORKS]
            found += [(m | {"seed": seed}, partial(paths, m | {"seed": seed})) for m in made]
        elif part == "laws":
            for label in (*MOLECULES, *ICONS):
                run, steps = (icon_law, options.image_steps) if label in ICONS else (molecule_law, options.steps)
                for objective in OBJECTIVES:
                    made_law = {"label": label, "objective": objective, "steps": steps, "seed": seed}
                    found.append((made_law, partial(run, made_law)))
        elif part == "tail":
            made = [{"objective": o, "steps": options.image_steps, "seed": seed} for o in TAIL]
            found += [(m, partial(tail, m, options.mnist)) for m in made]
    if part == "memory":
        found = [({"images": n}, partial(memory, n)) for n in (500, 5000, 20_000)]
    return found


def say(found: dict[str, Any]) -> str:
    facts = " ".join(str(found[key]) for key in ("part", "label", "model", "objective", "seed") if key in found)
    if found["part"] == "memory":
        return f"memory of {found['train']} images: {found['before_mb']:.0f} MB, an update adds {found['added_mb']:.0f}"
    if found["part"] == "paths":
        shares = "; ".join("/".join(f"{s:.0%}" for s in own.values()) for own in found["shares"].values())
        return f"{facts}: {found['mae']:.4g} {found['unit']}, evidence {found['log_evidence']:.4g}; {shares}"
    widths = ", ".join(f"{p['width']:.3g} {p['unit']}" for p in found["parts"].values())
    scores = ", ".join(f"{k} {v:.4g}" for k, v in found["results"][-1].get("scores", {}).items())
    shown = ", ".join(f"{k} {v:.3g}" for k, v in found.get("judged", {}).items() if isinstance(v, float))
    return f"{facts}: {widths}; {scores}{shown}; {found['cpu_minutes']:.1f} min; {found['verdict']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=[*PARTS], choices=PARTS)
    parser.add_argument("--mnist", type=Path, help="folder of MNIST, for tail")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=4.0, help="of every network of paths")
    parser.add_argument("--steps", type=int, default=6000, help="of molecules, of laws")
    parser.add_argument("--image-steps", type=int, default=3000)
    options = parser.parse_args()
    if "tail" in options.parts and options.mnist is None:
        parser.error("tail needs --mnist, a folder with mnist_train.npz and mnist_test.npz")
    jobs: list[Job] = []
    pool_of = partial(ProcessPoolExecutor, mp_context=multiprocessing.get_context("spawn"))
    with pool_of(options.jobs) as pool, pool_of(1, max_tasks_per_child=1) as fresh:
        for part in options.parts:
            for named, job in jobs_of(part, options):
                facts = {"part": part, **named}
                if not done("evidence", facts):
                    jobs.append((facts, (fresh if part == "memory" else pool).submit(job).result))
        gather("evidence", provenance(options.seeds), jobs, say)


if __name__ == "__main__":
    main()
