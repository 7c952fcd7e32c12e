"""One run of the benchmark: a contestant in a world, trained for its number of steps, then scored."""

from __future__ import annotations

import csv
import json
import math
import platform
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
from rich.console import Console

import molaugerino
from molaugerino.benchmark.contestants import CONTESTANTS, WIDEST, Contestant
from molaugerino.benchmark.scores import COPIES, memory_to_predict, recovered, score_molecules
from molaugerino.benchmark.sets import located, prepare
from molaugerino.benchmark.worlds import WORLDS, World
from molaugerino.config import ImageConfig, TrainConfig
from molaugerino.datasets import World as Physics
from molaugerino.errors import UserError
from molaugerino.files import write_atomic
from molaugerino.tasks import TASKS
from molaugerino.training.callbacks import METRICS
from molaugerino.training.checkpoint import package_versions
from molaugerino.training.folder import SPLITS
from molaugerino.training.image_models import load_image_model
from molaugerino.training.images import train_images
from molaugerino.training.module import TrainingModule
from molaugerino.training.run import train

QUIET = Console(quiet=True)
LEAST = 50  # steps
PARTS = {"train": "train", "law": "budget", "valid": "valid", "test": "test"}  # of a record, and of a split
NEAR = 5.0  # degrees: an image law has the width that is right


@dataclass(frozen=True)
class Job:
    """A run to be done.

    Attributes:
        world: by name.
        contestant: by name.
        split: which one; the seed of everything.
        steps: weight updates.
        tested: molecules to test on, at most.
        folders: where data are looked for.
        out: folder of the suite.
    """

    world: str
    contestant: str
    split: int
    steps: int
    tested: int
    folders: tuple[Path, ...]
    out: Path

    @property
    def name(self) -> str:
        return f"{self.world}-{self.contestant}-{self.split}"

    @property
    def record(self) -> Path:
        """The file of its result."""
        return self.out / "runs" / f"{self.name}.json"

    @property
    def folder(self) -> Path:
        """The folder of its model."""
        return self.out / "models" / self.name


def steps_of(world: World, contestant: str, minutes: float) -> int:
    """Steps that take so many minutes of one processor core where paces were measured, for anybody the same."""
    paces = json.loads((resources.files("molaugerino.benchmark") / "pace.json").read_text())["seconds_per_step"]
    key = world.name if world.of_images else world.source
    pace = paces.get(key, {}).get({"told": "fixed", "broken": "fixed"}.get(contestant, contestant))
    if pace is None:
        raise UserError(
            f"what a step of {contestant} costs on {key} is not known; measure it with benchmarks/pace.py, or leave "
            f"{world.name}/{contestant} out with --only"
        )
    return max(LEAST, round(60 * minutes * world.effort / pace))


def settings_of(world: World, contestant: Contestant) -> dict[str, Any]:
    """The settings of train that make a contestant in a world, as a record holds them."""
    settings = dict(world.settings) | dict((contestant.images if world.of_images else contestant.molecules) or {})
    return cast(dict[str, Any], json.loads(json.dumps(settings, default=asdict)))


class Clock(pl.Callback):
    """Processor seconds of training, validation not counted, at the end of every step."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.since = self.left = 0.0

    def on_train_start(self, *_: Any) -> None:
        self.since = time.process_time()

    def on_train_batch_end(self, *_: Any) -> None:
        self.times.append(time.process_time() - self.since)

    def on_validation_start(self, *_: Any) -> None:
        self.left = time.process_time()

    def on_validation_end(self, *_: Any) -> None:
        self.since += time.process_time() - self.left


class Change(pl.Callback):
    """Does to a model, before it is trained, what a contestant asks for."""

    def __init__(self, contestant: Contestant) -> None:
        self.contestant = contestant

    def on_fit_start(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        if self.contestant.change is not None:
            self.contestant.change(module.augmented)


def do(job: Job) -> dict[str, Any]:
    """Train and score, on the threads that there are; the result is written to `job.record`, too."""
    world, contestant = WORLDS[job.world], CONTESTANTS[job.contestant]
    shutil.rmtree(job.folder, ignore_errors=True)  # of a run that was broken off
    begun = time.process_time()
    run = _images if world.of_images else _molecules
    found = run(job, world, contestant)
    if not math.isfinite(found["error"]):
        raise RuntimeError("its predictions are not finite")
    result = {"world": job.world, "contestant": job.contestant, "split": job.split, "steps": job.steps}
    result |= (
        {"settings": settings_of(world, contestant)}
        | found
        | {"parts": sizes_of_parts(job.folder)}
        | {"cpu_minutes": (time.process_time() - begun) / 60}
        | provenance()
    )
    job.record.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(job.record, json.dumps(result) + "\n")
    return result


def sizes_of_parts(folder: Path) -> dict[str, int]:
    """How many molecules or images a run has for what."""
    with np.load(folder / SPLITS) as split:
        return {name: len(split[part]) for name, part in PARTS.items()}


def molecule_config(job: Job) -> TrainConfig:
    """The settings of train."""
    world, contestant = WORLDS[job.world], CONTESTANTS[job.contestant]
    settings: dict[str, Any] = dict(world.settings) | dict(contestant.molecules)
    if world.placed:
        settings["target"] = (Physics("field").label,)
    if contestant.told:
        axis = tuple(Physics(settings["world"], job.split).axis.tolist())
        settings["law"] = replace(WIDEST, axis=cast(Any, axis))
    data, split = prepare(world, job.split, job.tested, job.folders, job.out / "data")
    settings |= {"data": (str(data),), "split": str(split), "steps": job.steps, "out": job.folder}
    return TrainConfig(**settings, seed=job.split, split_seed=job.split, world_seed=job.split)


def image_config(job: Job) -> ImageConfig:
    """The settings of train."""
    world, contestant = WORLDS[job.world], CONTESTANTS[job.contestant]
    if contestant.images is None:
        raise UserError(f"{contestant.name} is not for images")
    places = located(world.source, job.folders)
    settings = dict(world.settings) | dict(contestant.images) | {"data": places[0] if places else None}
    settings["width"] = contestant.widen * settings.get("width", ImageConfig.width)
    return ImageConfig(**settings, steps=job.steps, out=job.folder, seed=job.split, split_seed=job.split)


def _molecules(job: Job, world: World, contestant: Contestant) -> dict[str, Any]:
    clock = Clock()
    finished = train(molecule_config(job), QUIET, callbacks=[Change(contestant), clock])
    if finished is None:
        raise KeyboardInterrupt
    found = score_molecules(job.folder, contestant, world)
    if job.split == 0:
        found["predict_mb"] = memory_to_predict(job.folder, contestant.name)
    if finished.evidence is not None:
        found["shares"] = finished.evidence.content()["shares"]
        found["log_evidence"] = finished.evidence.log_evidence
    headline = headline_of(found["errors"], contestant)
    return found | {
        "error": headline["mae"],
        "rmse": headline["rmse"],
        "train_minutes": clock.times[-1] / 60,
        "curve": read_curve(job.folder, clock.times, "mae/"),
        "recovered": recovered(found["law"], world.symmetry),
    }


def headline_of(errors: list[dict[str, Any]], contestant: Contestant) -> dict[str, Any]:
    """The error that a contestant is ranked by, on the frames tested last, which are random where they can be: of one
    pass, or of the average over 16 elements of its own law, which is told nothing of the world."""
    copies = COPIES if contestant.averaged else 1
    return next(e for e in errors if (e["frames"], e["copies"]) == (errors[-1]["frames"], copies))


def _images(job: Job, world: World, contestant: Contestant) -> dict[str, Any]:
    config, clock = image_config(job), Clock()
    finished = train_images(config, QUIET, callbacks=[clock])
    if finished is None:
        raise KeyboardInterrupt
    augmented, _ = load_image_model(job.folder)
    last = finished.results[-1]
    errors = [{"frames": "as drawn", "copies": r.copies, "n": r.n} | r.scores for r in finished.results]
    law: dict[str, Any] | None = None
    if config.augment == "learned":
        [line] = [p for p in finished.law["parts"].values() if p["unit"] == "degree"]
        right = TASKS[config.task].right
        wanted = 180.0 if right is None else math.degrees(right)
        law = {"width_degree": line["width"], "right_degree": wanted, "verdict": finished.law["verdict"]}
    return {
        "unit": "",
        "errors": errors,
        "error": max(1 - last.scores["accuracy"], 0.5 / last.n),  # of none wrong, half of one: it has a logarithm
        "error_name": "share of images named wrongly",
        "parameters": sum(p.numel() for p in augmented.model.parameters()),
        "law": law,
        "recovered": None if law is None else abs(law["width_degree"] - law["right_degree"]) <= NEAR,
        "train_minutes": clock.times[-1] / 60,
        "curve": read_curve(job.folder, clock.times, "score/accuracy"),
        "checks": {},
    }


def read_curve(folder: Path, times: list[float], prefix: str) -> list[list[float]]:
    """[[minutes, validation score], ...] of a run whose steps ended at these seconds."""
    with (folder / METRICS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name.startswith(prefix)] if rows else []
    if not names:
        return []
    return [[times[int(r["step"])] / 60, float(r[names[0]])] for r in rows if r.get(names[0])]


def provenance() -> dict[str, Any]:
    """Version, commit where the package is a checkout, machine."""
    versions = package_versions()
    return {
        "commit": commit(),
        "version": versions["molaugerino"],
        "torch": versions["torch"],
        "machine": f"{platform.machine()} {processor()}, Python {platform.python_version()}".strip(),
    }


def commit() -> str | None:
    root = Path(molaugerino.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    described = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(described, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def processor() -> str:
    """The model of the processor, where the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
