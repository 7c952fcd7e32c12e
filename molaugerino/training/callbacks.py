"""What a run shows, keeps and reacts to while it trains."""

from __future__ import annotations

import csv
import io
import math
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from torch import Tensor

from molaugerino.files import write_atomic
from molaugerino.training.module import TrainingModule
from molaugerino.training.resume import CHECKPOINT

METRICS = "metrics.csv"
SHOW_EVERY = 10  # steps between two updates of the progress line


class ProgressLine(pl.Callback):
    """One line: how far, the loss, validation errors with units, the law in degrees and angstrom."""

    def __init__(self, console: Console) -> None:
        columns = (
            BarColumn(20),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        self.progress = Progress(*columns, console=console)
        self.task = self.progress.add_task("", total=1.0, note="")

    def on_train_start(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        self.progress.start()

    def on_train_batch_end(self, trainer: pl.Trainer, module: TrainingModule, *_: Any) -> None:
        if trainer.global_step % SHOW_EVERY == 0:
            done = min(module.schedule.progress(trainer.global_step), 1.0)
            self.progress.update(self.task, completed=done, note=self.note(trainer, module))

    def note(self, trainer: pl.Trainer, module: TrainingModule) -> str:
        shown = trainer.logged_metrics | trainer.callback_metrics
        parts = [f"loss {float(shown['loss']):.3f}"] if "loss" in shown else []
        errors = {name.removeprefix("mae/"): float(value) for name, value in shown.items() if name.startswith("mae/")}
        parts += [f"MAE {name} {value:.4g}" for name, value in errors.items()]
        parts += [f"{name[6:]} {float(value):.3f}" for name, value in shown.items() if name.startswith("score/")]
        if module.objective is not None:
            parts += [f"{line.width:.3g} {line.unit}" for line in module.distribution.describe()]
        return "  ".join(parts)

    def teardown(self, trainer: pl.Trainer, module: TrainingModule, stage: str) -> None:
        self.progress.stop()

    def on_exception(self, trainer: pl.Trainer, module: TrainingModule, exception: BaseException) -> None:
        self.progress.stop()  # Lightning skips teardown then


class Keeper(pl.Callback):
    """Writes the resumable checkpoint every so many steps, and at an interrupt, which soon ends the run.

    Args:
        folder: of the run.
        every: steps between two checkpoints.
        data_sha256: of the data, checked when the run goes on.
        pause: seconds after which the run is interrupted anyhow.
    """

    def __init__(self, folder: Path, every: int, data_sha256: str, pause: float = math.inf) -> None:
        self.path = folder / CHECKPOINT
        self.every = every
        self.data_sha256 = data_sha256
        self.interrupted = False
        self.pause, self.began = pause, 0.0
        self._previous: Any = None

    def on_fit_start(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        self.began = time.monotonic()
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        signal.signal(signal.SIGINT, self._previous)  # a second one stops at once

    def on_train_batch_start(self, trainer: pl.Trainer, module: TrainingModule, *_: Any) -> None:
        if trainer.global_step and trainer.global_step % self.every == 0:  # the last step is complete only now
            trainer.save_checkpoint(self.path)

    def on_train_batch_end(self, trainer: pl.Trainer, module: TrainingModule, *_: Any) -> None:
        # elements are drawn for several steps at once; a run can be taken up only where new ones are
        if trainer.global_step % module.law.every == 0:
            self.interrupted |= time.monotonic() - self.began > self.pause
            of_any = trainer.strategy.reduce_boolean_decision(self.interrupted, all=False)  # one interrupt stops all
            self.interrupted = of_any
            trainer.should_stop |= of_any

    def on_train_end(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        trainer.save_checkpoint(self.path)

    def on_save_checkpoint(self, trainer: pl.Trainer, module: TrainingModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["data_sha256"] = self.data_sha256

    def teardown(self, trainer: pl.Trainer, module: TrainingModule, stage: str) -> None:
        self._give_back_signal()

    def on_exception(self, trainer: pl.Trainer, module: TrainingModule, exception: BaseException) -> None:
        self._give_back_signal()

    def _give_back_signal(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None


class EarlyStop(pl.Callback):
    """Stops after `patience` validations without improvement, and goes back to the best weights and their law."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best, self.misses = math.inf, 0
        self.kept: dict[str, Tensor] = {}

    def on_train_start(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        trainer.should_stop = self.misses >= self.patience  # resumed after it had stopped

    def on_validation_end(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        loss = float(trainer.callback_metrics["valid_loss"])
        if loss < self.best:
            self.best, self.misses = loss, 0
            self.kept = {name: value.clone() for name, value in module.result().state_dict().items()}
        else:
            self.misses += 1
        if self.misses >= self.patience:
            trainer.should_stop = True

    def on_fit_end(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        if self.misses >= self.patience:
            module.result().load_state_dict(self.kept)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "misses": self.misses, "kept": self.kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.misses, self.kept = state["best"], state["misses"], state["kept"]


def set_aside_metrics(folder: Path) -> None:
    """Before resuming, keep the rows written so far: the logger starts its file anew."""
    path = folder / METRICS
    if path.exists():
        parts = len(list(folder.glob("metrics.part*.csv")))
        path.rename(folder / f"metrics.part{parts + 1}.csv")


def join_metrics(folder: Path) -> None:
    """One metrics.csv out of the parts of an interrupted run; of a step logged twice the later row stays."""
    parts = sorted(folder.glob("metrics.part*.csv"), key=lambda path: int(path.stem.removeprefix("metrics.part")))
    if not parts:
        return
    rows: list[dict[str, str]] = []
    for path in filter(Path.exists, [*parts, folder / METRICS]):  # a run resumed at its end logs nothing
        with path.open(newline="") as file:
            new = [row for row in csv.DictReader(file) if (row["step"] or "").isdigit()]  # a kill may tear the last row
        first = min((int(row["step"]) for row in new), default=math.inf)
        rows = [row for row in rows if int(row["step"]) < first] + new
    columns = sorted({key for row in rows for key in row if key is not None})
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(folder / METRICS, text.getvalue())
    for path in parts:
        path.unlink()
