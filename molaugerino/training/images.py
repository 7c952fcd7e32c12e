"""A training run on images: the same step, law and objective as for molecules."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from molaugerino import paper
from molaugerino.config import ImageConfig, NetworkName, to_toml
from molaugerino.datasets import Batch, Split, save_split
from molaugerino.errors import UserError
from molaugerino.files import write_atomic
from molaugerino.laplace import Categorical, Gaussian
from molaugerino.tasks import TASKS, PackedImages, TaskData, open_task
from molaugerino.training.callbacks import join_metrics
from molaugerino.training.checkpoint import save_model
from molaugerino.training.evaluation import describe_law
from molaugerino.training.evidence import EvidenceSearch, ReadOut
from molaugerino.training.folder import SETTINGS, SPLITS
from molaugerino.training.image_models import ImageCard, build_images, measures_of
from molaugerino.training.image_scores import ImageResult, evaluate_images
from molaugerino.training.law_evidence import BlockSearch, LawEvidence, at_its_pace, random_blocks
from molaugerino.training.module import TrainingModule
from molaugerino.training.objective import NormPrice
from molaugerino.training.processes import first_alone, is_first
from molaugerino.training.run import begin, fit, keep_evidence, new_folder
from molaugerino.training.setup import (
    budget_batches,
    keeps_for_law,
    make_objective,
    make_schedule,
)
from molaugerino.vision import NETWORKS

WITNESSES = 50  # images of a pass that takes curvature, whose memory grows with them


@dataclass(frozen=True)
class ImageRunData:
    """What a run trains on: the pictures of its task, and the rows that update weights."""

    task: TaskData
    train: np.ndarray

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def checksum(self) -> str:
        return self.task.checksum

    @property
    def packed(self) -> PackedImages:
        return self.task.packed

    @property
    def split(self) -> Split:
        return self.task.split

    @property
    def epoch(self) -> np.ndarray:
        return self.train


@dataclass(frozen=True)
class ImageRun:
    """A finished run: its folder, the law it found, its test scores; of --objective evidence, what that found."""

    folder: Path
    law: dict[str, Any]
    results: list[ImageResult]
    evidence: ReadOut | None = None


def open_image_data(config: ImageConfig) -> ImageRunData:
    task = open_task(config.task, config.data, config.images, config.split_seed)
    split = task.split
    train = split.train if keeps_for_law(config) else np.sort(np.concatenate([split.train, split.budget]))
    return ImageRunData(task, train)


def refuse_unfit(config: ImageConfig) -> None:
    """A network that gives what the task asks for, and a law of its pictures; before any are drawn."""
    task, model = TASKS[config.task], network_of(config)
    if (NETWORKS[model].kind == "pixels") != (task.kind == "pixels"):
        wanted = "a class per pixel" if task.kind == "pixels" else "one answer per image"
        raise UserError(f"--task {config.task} asks for {wanted}, which {model} does not give; leave --model out")
    if config.objective == "evidence" and task.kind == "pixels":
        raise UserError(f"--objective evidence needs one answer per image, which --task {config.task} does not have")
    if ((config.law.kind or task.law) == "hue") != (task.law == "hue"):
        raise UserError(f"--task {config.task} cannot learn a law of kind {config.law.kind}; leave --law.kind out")


def network_of(config: ImageConfig) -> NetworkName:
    return config.model or ("unet" if TASKS[config.task].kind == "pixels" else "five-layer")


def make_image_card(config: ImageConfig, data: ImageRunData) -> ImageCard:
    task, x = TASKS[config.task], data.packed.x
    return ImageCard(
        task=config.task,
        model=network_of(config),
        width=config.width,
        channels=x.shape[1],
        size=(x.shape[2], x.shape[3]),
        classes=list(data.task.classes),
        augment=config.augment,
        kind=config.law.kind or task.law,
        law={},
        start=config.law.start,
        eval_copies=config.law.eval_copies,
        data=data.name,
        data_sha256=data.checksum,
        split_sha256=data.split.checksum,
    )


def make_image_module(config: ImageConfig, card: ImageCard, data: ImageRunData) -> TrainingModule:
    """Everything that is trained, at its start."""
    share = {"none": 0.0, "fixed": 1.0, "learned": card.start, "paper": 0.0}[card.augment]
    augmented = build_images(card, share)
    judged = measures_of(card, data.packed.y[torch.from_numpy(data.train)])
    law = config.law
    schedule = make_schedule(config, -(-len(data.train) // config.optim.batch))
    budget = budget_batches(data.split, data.packed, config.seed)
    loss: Callable[[Tensor, Tensor], Tensor] = judged.loss
    evidence: EvidenceSearch | None = None
    witnesses: tuple[Batch, ...] = ()
    if config.objective == "evidence":
        y = data.packed.y[torch.from_numpy(data.train)]
        likelihood = Gaussian(float(y.std())) if TASKS[card.task].kind == "number" else Categorical()
        loss = likelihood.losses
        if card.augment == "learned":
            evidence = BlockSearch(augmented.model, likelihood, len(data.train), config.evidence, law=True)
        else:
            evidence = EvidenceSearch(augmented.model, likelihood, len(data.train), config.evidence)
        size = len(data.train) if card.augment == "learned" else WITNESSES
        witnesses = tuple(data.packed.batches(evidence.rows(data.train, config.seed), size))
    objective = make_objective(config, judged.constant)
    if isinstance(evidence, BlockSearch):
        blocks = random_blocks(data.train, data.packed, config.seed, config.evidence.block)
        objective, law = LawEvidence(evidence, blocks, judged.cost, judged.constant), at_its_pace(law, evidence)
    if card.augment == "paper":
        objective = NormPrice(paper.IMAGE_STRENGTH if law.strength is None else law.strength)
        augmented.copies, law = paper.IMAGE_COPIES, replace(law, every=1, lr=config.optim.lr)
    return TrainingModule(
        augmented,
        objective,
        loss,
        judged.metrics,
        budget,
        schedule,
        config.optim,
        law,
        config.seed,
        cost=judged.cost,
        evidence=evidence,
        witnesses=witnesses,
    )


def train_images(
    config: ImageConfig,
    console: Console | None = None,
    pause: float = math.inf,
    callbacks: Sequence[pl.Callback] = (),
) -> ImageRun | None:
    """Train a network of images with its law; with `config.resume`, go on where that run was interrupted.

    Args:
        config: the settings; of a resumed run, those in its folder.
        console: where progress is shown (default: standard error).
        pause: minutes after which the run is interrupted, to be resumed.
        callbacks: of Lightning, beside our own.

    Returns:
        The finished run, None where it was interrupted (its folder can be resumed).

    Raises:
        UserError: for data, settings or a folder that cannot be used.
    """
    console = begin(config, console)
    refuse_unfit(config)
    data = open_image_data(config)
    torch.manual_seed(config.seed)
    card = make_image_card(config, data)
    module = make_image_module(config, card, data)
    folder = config.resume or Path()
    if is_first() and config.resume is None:
        folder = new_folder(config.out, f"{config.task}-{config.augment}")  # last: a mistake leaves no folder
        save_split(data.split, folder / SPLITS, np.arange(len(data.packed)))
        write_atomic(folder / SETTINGS, to_toml(replace(settled(config), out=None, config=None)))
    if not fit(module, config, data, folder, console, 60 * pause, callbacks):
        console.print(f"interrupted; go on with: molaugerino train --resume {folder}", soft_wrap=True)
        return None
    return first_alone(lambda: conclude(module, data, card, folder))


def settled(config: ImageConfig) -> ImageConfig:
    """The settings as they hold from any folder."""
    there = config.data is not None and Path(config.data).exists()
    return replace(config, data=str(Path(cast(str, config.data)).resolve())) if there else config


def conclude(module: TrainingModule, data: ImageRunData, card: ImageCard, folder: Path) -> ImageRun:
    """Test the model, then save it: a run killed in between can be resumed."""
    module.settle()
    augmented = module.result()
    verdict = "" if module.objective is None else module.objective.verdict
    law = describe_law(augmented.distribution, card.augment, verdict)
    results = evaluate_images(augmented, card, data.task)
    evidence = keep_evidence(module, folder)
    save_model(folder, augmented, replace(card, law=law))
    join_metrics(folder)
    return ImageRun(folder, law, results, evidence)
