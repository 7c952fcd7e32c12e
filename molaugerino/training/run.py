"""A training run from settings to a folder: data, network, law, fit, save, test."""

from __future__ import annotations

import contextlib
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from rich.console import Console
from torch import Tensor

from molaugerino.augment import Augmented
from molaugerino.config import DEFAULT_MINUTES, TrainConfig, to_toml
from molaugerino.datasets import (
    EMBEDDED,
    BatchStream,
    MoleculeSet,
    PaddedData,
    Split,
    Target,
    channel_slices,
    in_frames,
    load_split,
    open_data,
    random_split,
    save_split,
)
from molaugerino.errors import UserError
from molaugerino.files import make_folder, write_atomic
from molaugerino.models import Readout
from molaugerino.training.callbacks import EarlyStop, Keeper, ProgressLine, join_metrics, set_aside_metrics
from molaugerino.training.checkpoint import CONFIG, ModelCard, build, save_model
from molaugerino.training.evaluation import Result, describe_law, evaluate
from molaugerino.training.folder import RUNS, SETTINGS, SPLITS
from molaugerino.training.module import TrainingModule
from molaugerino.training.objective import FixedStrength, LossBudget, Objective
from molaugerino.training.resume import CHECKPOINT, SafeCheckpointIO, read_checkpoint
from molaugerino.training.schedule import Schedule

CHECKPOINT_EVERY = 200  # steps
VALIDATE_EVERY = 200  # steps
BUDGET_BATCH = 256  # molecules per measurement of the loss budget


@dataclass(frozen=True)
class Data:
    """What a run trains on: the set as loaded, the same in the training frames, padded, and its split."""

    loaded: MoleculeSet
    targets: list[Target]
    padded: PaddedData
    split: Split
    undetermined: int


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, the law it found, and its test errors."""

    folder: Path
    law: dict[str, Any]
    results: list[Result]


def open_run_data(config: TrainConfig, folder: Path | None = None) -> Data:
    """Read, check, frame and split the molecules; a split already in the folder is kept."""
    loaded = open_data(config.data)
    loaded = loaded.with_geometry(config.geometry or ("given" if loaded.positions_mmff is None else "mmff"))
    turned, undetermined = in_frames(loaded, config.frames, config.split_seed)
    targets = [turned.find(name)[0] for name in dict.fromkeys(config.target)]
    labels = [turned.find(t.name, t.method)[1].reshape(len(turned), -1) for t in targets]
    incomplete = ~np.isfinite(np.concatenate(labels, axis=1)).all(1)
    if incomplete.any():
        wanted = ", ".join(config.target)
        raise UserError(f"{int(incomplete.sum())} molecules of {loaded.name} lack a label of {wanted}; remove them")
    kept = folder / SPLITS if folder is not None else None
    split = load_split(kept, len(loaded)) if kept and kept.exists() else random_split(len(loaded), config.split_seed)
    return Data(loaded, targets, PaddedData(turned, targets), split, int(undetermined.sum()))


def make_card(config: TrainConfig, data: Data) -> ModelCard:
    train = data.split.train
    seen = np.isin(data.loaded.owner, train)
    return ModelCard(
        targets=data.targets,
        model=config.model,
        augment=config.augment,
        law={},
        translation_cap=config.law.cap,
        eval_copies=config.law.eval_copies,
        geometry=data.loaded.geometry,
        frames=config.frames,
        elements=sorted({int(z) for z in data.loaded.atomic_numbers[seen]}),
        max_atoms=int(data.loaded.num_atoms[train].max()),
        data=data.loaded.name,
        data_sha256=data.loaded.checksum,
        split_sha256=data.split.checksum,
        train_mean=data.padded.y[train].double().mean(0).tolist(),
    )


def make_augmented(config: TrainConfig, card: ModelCard, data: Data) -> Augmented:
    """The network, scaled to the training labels, under the law that the run starts from."""
    start = {
        "none": (0.0, 0.0),
        "fixed": (math.pi, config.law.cap),
        "learned": (math.radians(config.law.rotation), config.law.translation),
    }
    augmented = build(card, *start[config.augment])
    train = data.split.train
    readout_of(augmented).fit_scale(data.padded.z[train], data.padded.y[train])
    return augmented


def readout_of(augmented: Augmented) -> Readout:
    """The part of the network that knows units."""
    return cast(Readout, augmented.model.readout)


def make_loss(augmented: Augmented) -> Callable[[Tensor, Tensor], Tensor]:
    """Mean absolute error in units of each channel's scale, (examples,)."""
    readout = readout_of(augmented)

    def loss(prediction: Tensor, label: Tensor) -> Tensor:
        return ((prediction - label) / readout.scale).abs().mean(1)

    return loss


def make_metrics(targets: list[Target]) -> Callable[[Tensor, Tensor], dict[str, Tensor]]:
    """Absolute errors per target in its unit, (examples,) each."""
    slices = channel_slices(targets)

    def metrics(prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        errors = (prediction - label).abs()
        return {f"mae/{t.name}[{t.unit}]": errors[:, s].mean(1) for t, s in zip(targets, slices, strict=True)}

    return metrics


@torch.no_grad()
def best_constant_loss(augmented: Augmented, data: Data, loss: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Training loss of the best constant on top of the per-element references: the median."""
    batch = data.padded.batch(torch.from_numpy(data.split.train))
    baseline = readout_of(augmented).baseline(batch.x)
    median = (batch.y - baseline).median(0).values
    return float(loss(baseline + median, batch.y).mean())


def make_objective(config: TrainConfig, constant_loss: float) -> Objective | None:
    if config.augment != "learned":
        return None
    return LossBudget(constant_loss) if config.law.strength is None else FixedStrength(config.law.strength)


def make_schedule(config: TrainConfig, steps_per_epoch: int) -> Schedule:
    steps = config.steps if config.epochs is None else config.epochs * steps_per_epoch
    minutes = config.minutes if config.minutes is not None or steps is not None else DEFAULT_MINUTES
    return Schedule(steps, None if minutes is None else 60 * minutes, config.optim.warmup)


def budget_batches(data: Data, seed: int) -> Callable[[int], Any]:
    """Batch k of the molecules kept from weight updates, cycling through them in a seeded order."""
    rows = np.random.default_rng((seed, 0)).permutation(data.split.budget)
    size = min(BUDGET_BATCH, len(rows))

    def batch(k: int) -> Any:
        return data.padded.batch(torch.from_numpy(np.take(rows, range(k * size, (k + 1) * size), mode="wrap")))

    return batch


def new_folder(config: TrainConfig) -> Path:
    """--out, or a folder under ./runs named after the task and the time."""
    if config.out is not None:
        if (config.out / CONFIG).exists() or (config.out / SETTINGS).exists():
            raise UserError(
                f"{config.out} already holds a run; choose another --out, or go on with --resume {config.out}"
            )
        return config.out
    stem = f"{Path(config.data).stem}-{'-'.join(config.target)}-{config.augment}-{datetime.now():%Y%m%d-%H%M%S}"
    folder, k = RUNS / stem, 2
    while folder.exists():
        folder, k = RUNS / f"{stem}-{k}", k + 1
    return folder


def train(config: TrainConfig, console: Console | None = None) -> Run | None:
    """Train a network with its law; with `config.resume`, go on where that run was interrupted.

    Args:
        config: the settings; of a resumed run, those in its folder.
        console: where progress is shown (default: standard error).

    Returns:
        The finished run, None where it was interrupted (its folder can be resumed).

    Raises:
        UserError: for data, settings or a folder that cannot be used.
    """
    console = console or Console(stderr=True)
    folder = config.resume if config.resume is not None else new_folder(config)
    data = open_run_data(config, config.resume)
    make_folder(folder)
    if config.resume is None:
        source = config.data if config.data in EMBEDDED else str(Path(config.data).resolve())
        write_atomic(folder / SETTINGS, to_toml(replace(config, data=source, out=None, config=None)))
        save_split(data.split, folder / SPLITS)
    torch.manual_seed(config.seed)
    card = make_card(config, data)
    module = make_module(config, card, data)
    finished = fit(module, config, data, folder, console)
    if not finished:
        console.print(f"interrupted; go on with: molaugerino train --resume {folder}")
        return None
    verdict = "" if module.objective is None else module.objective.verdict
    augmented = module.result()
    law = describe_law(augmented.distribution, config.augment, verdict)
    save_model(folder, augmented, replace(card, law=law))
    copies = (1,) if config.augment == "none" else (1, config.law.eval_copies)
    test = data.split.test
    return Run(
        folder, law, evaluate(augmented, data.loaded, test, data.targets, card.train_mean, config.frames, copies)
    )


def make_module(config: TrainConfig, card: ModelCard, data: Data) -> TrainingModule:
    augmented = make_augmented(config, card, data)
    loss = make_loss(augmented)
    objective = make_objective(config, best_constant_loss(augmented, data, loss))
    steps_per_epoch = -(-len(data.split.train) // config.optim.batch)
    schedule = make_schedule(config, steps_per_epoch)
    budget = budget_batches(data, config.seed)
    return TrainingModule(
        augmented, objective, loss, make_metrics(data.targets), budget, schedule, config.optim, config.law, config.seed
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's remarks about hardware, loggers and its own internals away from the user."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\.")
        yield
    logger.setLevel(level)


def fit(module: TrainingModule, config: TrainConfig, data: Data, folder: Path, console: Console) -> bool:
    """Run the optimiser to the end of the schedule. Returns False where an interrupt ended it."""
    checkpoint = folder / CHECKPOINT
    resuming = config.resume is not None and checkpoint.exists()
    if resuming:
        read_checkpoint(checkpoint)  # say what is wrong before Lightning wraps it
        set_aside_metrics(folder)
    keeper = Keeper(folder, CHECKPOINT_EVERY)
    callbacks: list[pl.Callback] = [keeper, ProgressLine(console)]
    if config.optim.patience is not None:
        callbacks.append(EarlyStop(config.optim.patience))
    steps = module.schedule.steps
    every = VALIDATE_EVERY if steps is None else max(1, min(VALIDATE_EVERY, steps // 5))
    with _quiet():
        trainer = pl.Trainer(
            max_steps=-1 if steps is None else steps,
            max_epochs=-1,
            callbacks=callbacks,
            logger=[CSVLogger(folder, name="", version=""), TensorBoardLogger(folder, name="", version="tensorboard")],
            plugins=[SafeCheckpointIO()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            val_check_interval=every,
            check_val_every_n_epoch=None,
            log_every_n_steps=10,
            devices=1,
        )
        stream = BatchStream(
            data.padded, data.split.train, config.optim.batch, config.seed, lambda: trainer.global_step
        )
        valid = data.padded.batches(data.split.valid, 256)
        module.schedule.started = time.monotonic()
        trainer.fit(module, stream, valid, ckpt_path=checkpoint if resuming else None)
    join_metrics(folder)
    return not keeper.interrupted
