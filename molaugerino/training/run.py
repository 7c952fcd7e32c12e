"""A training run from settings to a folder: fit, save, test."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from rich.console import Console

from molaugerino.config import ImageConfig, TrainConfig, to_toml
from molaugerino.datasets import NAMES, BatchStream, Split, World, save_split
from molaugerino.errors import UserError
from molaugerino.files import make_folder, write_atomic
from molaugerino.training.calibration import calibrate, coverage_rows, covered
from molaugerino.training.callbacks import EarlyStop, Keeper, ProgressLine, join_metrics, set_aside_metrics
from molaugerino.training.checkpoint import CONFIG, ModelCard, save_model
from molaugerino.training.defaults import about_a_law, resolved
from molaugerino.training.evaluation import Result, describe_law, evaluate_model
from molaugerino.training.evidence import ReadOut, save_evidence
from molaugerino.training.folder import RUNS, SETTINGS, SPLITS
from molaugerino.training.memory import keep_freed_memory
from molaugerino.training.module import TrainingModule
from molaugerino.training.processes import first_alone, is_first, layout
from molaugerino.training.ready import find_model, ready_models
from molaugerino.training.resume import CHECKPOINT, SafeCheckpointIO, read_checkpoint
from molaugerino.training.setup import RunData, make_card, make_module, open_run_data, references
from molaugerino.uncertainty import save_calibration
from molaugerino.uncertainty.answers import BATCH

CHECKPOINT_EVERY = 400  # steps, at least
VALIDATE_EVERY = 500  # steps, at least
VALIDATION = 0.02  # of the time of a run, at most; an update of the weights takes three passes
NAMED = 3  # targets in the name of a run's folder


@runtime_checkable
class Trainable(Protocol):
    """What a run trains on, molecules or images: named, checked by a digest, split; `epoch` is the rows of one pass."""

    @property
    def name(self) -> str: ...

    @property
    def checksum(self) -> str: ...

    @property
    def packed(self) -> Any: ...

    @property
    def split(self) -> Split: ...

    @property
    def epoch(self) -> np.ndarray: ...


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, the law it found, its test errors, and how often its intervals held the label; of
    --objective evidence, what that found."""

    folder: Path
    law: dict[str, Any]
    results: list[Result]
    coverage: list[dict[str, Any]]
    evidence: ReadOut | None = None


def train(
    config: TrainConfig,
    console: Console | None = None,
    pause: float = math.inf,
    callbacks: Sequence[pl.Callback] = (),
) -> Run | None:
    """Train a network with its law; with `config.resume`, go on where that run was interrupted.

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
    config, console = resolved(config), begin(config, console)
    data = open_run_data(config, config.resume)
    if data.undetermined:
        share = f"{data.undetermined} of {len(data.loaded)} molecules"
        console.print(f"{share} are too symmetric for their principal axes and signs to be unique", soft_wrap=True)
    if data.unused:
        share = f"{data.unused} of {len(data.loaded)} molecules"
        console.print(f"{share} are in no part of the split {config.split}, and used for nothing", soft_wrap=True)
    if config.augment == "none" and config.objective != "evidence" and about_a_law(config):
        console.print("--augment none has no law; --objective and --law are not used", soft_wrap=True)
    torch.manual_seed(config.seed)
    card = make_card(config, data)
    module = make_module(config, card, data)
    folder = config.resume or Path()
    if is_first() and config.resume is None:
        folder = new_folder(config.out, stem_of(config))  # last: a mistake leaves no folder
        save_split(data.split, folder / SPLITS, data.loaded.id)
        split = str(Path(config.split).resolve()) if config.split and config.split.endswith(".npz") else config.split
        init = config.init
        if init is not None and init not in ready_models():
            init = str(find_model(init, RUNS).resolve())
        settings = replace(config, data=absolute(config.data), split=split, init=init, out=None, config=None)
        write_atomic(folder / SETTINGS, to_toml(settings))
    finished = fit(module, config, data, folder, console, 60 * pause, callbacks)
    if not finished:
        console.print(f"interrupted; go on with: molaugerino train --resume {folder}", soft_wrap=True)
        return None
    return first_alone(lambda: conclude(module, config, data, card, folder))


def begin(config: TrainConfig | ImageConfig, console: Console | None) -> Console:
    """What comes before any data are read: refuse what cannot be run; where to show progress."""
    first = is_first()
    if first:
        refuse_used(config)
    keep_freed_memory()
    refuse_processes(config)
    return console if console is not None and first else Console(stderr=True, quiet=not first)


def absolute(sources: Sequence[str]) -> tuple[str, ...]:
    """Data sets as they are found from any folder."""
    return tuple(s if s in NAMES else str(Path(s).resolve()) for s in sources)


def conclude(module: TrainingModule, config: TrainConfig, data: RunData, card: ModelCard, folder: Path) -> Run:
    """Calibrate the model, test it where there are test molecules, then save it: a run killed in between can be
    resumed."""
    module.settle()
    verdict = "" if module.objective is None else module.objective.verdict
    augmented = module.result()
    law = describe_law(augmented.distribution, config.augment, verdict)
    calibration = calibrate(augmented, card, data.packed, data.loaded, data.train, data.split.valid)
    results, coverage = [], []
    if len(test := data.split.test):
        results = evaluate_model(augmented, card, data.loaded, test, config.law.eval_copies)
        coverage = coverage_rows(card, covered(augmented, card, calibration, data.loaded, test))
    card = replace(card, law=law, references=references(augmented, card.elements))
    evidence = keep_evidence(module, folder)
    save_calibration(folder, calibration, save_model(folder, augmented, card))
    join_metrics(folder)
    return Run(folder, law, results, coverage, evidence)


def keep_evidence(module: TrainingModule, folder: Path) -> ReadOut | None:
    """Write what the evidence found, where it was asked for and could be taken."""
    if module.evidence is None:
        return None
    found = module.evidence.read_out()
    if found is None:
        warnings.warn("no curvature could be taken: the prior precisions are those of the start", stacklevel=1)
    else:
        save_evidence(folder, found)
    return found


def refuse_used(config: TrainConfig | ImageConfig) -> None:
    """No run is overwritten, and a finished one is not resumed."""
    out, resumed = config.out, config.resume
    if out is not None and any(os.path.exists(out / name) for name in (CONFIG, SETTINGS)):
        go_on = "" if os.path.exists(out / CONFIG) else f", or go on with --resume {out}"
        raise UserError(f"{out} already holds a {'' if go_on else 'finished '}run; choose another --out{go_on}")
    if resumed is not None and os.path.exists(resumed / CONFIG):
        raise UserError(f"the run in {resumed} is finished; start a longer one with --config {resumed / SETTINGS}")


def refuse_processes(config: TrainConfig | ImageConfig) -> None:
    """A GPU for each process, where there are GPUs at all; and no objective that needs the whole batch in one place."""
    local, computers = layout(config.devices)
    reasons = {
        "hypergradient": "looks one step of the whole batch ahead",
        "evidence": "draws examples of its own",
    }
    if config.objective in reasons and local * computers > 1:
        raise UserError(f"--objective {config.objective} {reasons[config.objective]}: it takes one process")
    if torch.cuda.is_available() and local > torch.cuda.device_count():
        raise UserError(f"--devices asks for {local} GPUs, this machine has {torch.cuda.device_count()}")


def stem_of(config: TrainConfig) -> str:
    """What a run's folder is called: data, task and augmentation."""
    names = config.target or (World(config.world).label,)
    labels = "-".join(names) if len(names) <= NAMED else f"{len(names)}-targets"
    labels = labels.replace("/", "_")
    source = Path(config.data[0]).stem + (f"-and-{len(config.data) - 1}-more" if config.data[1:] else "")
    return f"{source}-{labels}-{config.augment}"


def new_folder(out: Path | None, stem: str) -> Path:
    """--out, or a folder under ./runs named after the task and the time, never one that another run has taken."""
    if out is not None:
        make_folder(out)
        return out
    make_folder(RUNS)
    stem = f"{stem}-{datetime.now():%Y%m%d-%H%M%S}"
    k = 1
    while True:
        folder = RUNS / (stem if k == 1 else f"{stem}-{k}")
        try:
            folder.mkdir()
        except FileExistsError:
            k += 1
        else:
            return folder


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's remarks about hardware, loggers and its own internals away from the user."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            yield
    finally:
        logger.setLevel(level)


def make_trainer(
    config: TrainConfig | ImageConfig, steps: int | None, valid: int, callbacks: list[pl.Callback], folder: Path
) -> pl.Trainer:
    """Lightning's loop, on a GPU where there is one, on several processes where they are asked for.

    A single process is told that it is one: a cluster's variables may speak of others that do something else.
    """
    cuda = torch.cuda.is_available()
    has_half = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
    half = config.precision == "bf16" or (config.precision == "auto" and has_half)
    devices, computers = layout(config.devices)
    every = max(VALIDATE_EVERY, math.ceil(valid / (3 * VALIDATION * config.optim.batch)))
    return pl.Trainer(
        max_steps=-1 if steps is None else steps,
        max_epochs=-1,
        callbacks=callbacks,
        logger=[CSVLogger(folder, name="", version=""), TensorBoardLogger(folder, name="", version="tensorboard")],
        plugins=[SafeCheckpointIO(), *([LightningEnvironment()] if devices * computers == 1 else [])],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        val_check_interval=every if steps is None else max(1, min(every, steps // 5)),
        check_val_every_n_epoch=None,
        log_every_n_steps=10,
        accelerator="cuda" if cuda else "cpu",  # laws count in float64, which MPS lacks
        devices=devices,
        num_nodes=computers,
        strategy=DDPStrategy(find_unused_parameters=True) if devices * computers > 1 else "auto",  # the law's, at times
        use_distributed_sampler=False,
        precision="bf16-mixed" if half else "32-true",
    )


def checkpoint_every(every: int) -> int:
    """Steps between checkpoints: some updates of the law, and the elements of one update last until the next."""
    return every * math.ceil(CHECKPOINT_EVERY / every)


def fit(
    module: TrainingModule,
    config: TrainConfig | ImageConfig,
    data: Trainable,
    folder: Path,
    console: Console,
    pause: float,
    others: Sequence[pl.Callback],
) -> bool:
    """Run the optimiser to the end of the schedule. Returns False where an interrupt, or `pause` seconds, ended it."""
    checkpoint = folder / CHECKPOINT
    resuming = config.resume is not None and checkpoint.exists()
    if resuming:
        if read_checkpoint(checkpoint)["data_sha256"] != data.checksum:  # before Lightning wraps what is wrong
            raise UserError(f"{data.name} changed since {folder} was begun; restore the data or start a new run")
        if is_first():
            set_aside_metrics(folder)
    keeper = Keeper(folder, checkpoint_every(module.law.every), data.checksum, pause)
    callbacks: list[pl.Callback] = [keeper, ProgressLine(console), *others]
    if config.optim.patience is not None:
        callbacks.append(EarlyStop(config.optim.patience))
    with _quiet():
        trainer = make_trainer(config, module.schedule.steps, len(data.split.valid), callbacks, folder)
        packed = data.packed.to(trainer.strategy.root_device)
        shared = trainer.global_rank, trainer.world_size
        size = config.optim.batch
        stream = BatchStream(packed, data.epoch, size, config.seed, lambda: trainer.global_step, *shared)
        rows = data.split.valid
        valid = packed.batches(rows[packed.by_size(rows).numpy()], BATCH)
        module.schedule.started = time.monotonic()
        trainer.fit(module, stream, valid, ckpt_path=checkpoint if resuming else None)
    return not keeper.interrupted
