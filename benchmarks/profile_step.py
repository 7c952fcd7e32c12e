"""Where a training step goes: network, optimiser, data and everything else; rate and memory.

    python benchmarks/profile_step.py FILE TARGET [--steps 400] [--runs NAME ...]

Reads Lightning's profiler on ordinary runs; validation and the first fifty steps are left out. Nothing else should run
beside it.

network: the law, moving the molecules, the network, the loss, and back. optimiser: clipping the slope, and the step of
the weights. data: making the batch. rest: all else from the beginning of a step to that of the next, as the loop, the
schedule, running average of weights, logging, progress.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.profilers import SimpleProfiler
from record import provenance, write

from molaugerino.config import TrainConfig
from molaugerino.training.run import train

WARM_UP = 50
RUNS: dict[str, dict[str, Any]] = {
    "default": {},
    "learned": {"augment": "learned"},
    "painn": {"model": "painn"},
    "schnet": {"model": "schnet"},
    "graph": {"model": "graph"},
}


class Watch(pl.Callback):
    """Lightning's profiler, and by the clock when each step began, how many molecules it has, and validation."""

    def __init__(self) -> None:
        self.profiler = SimpleProfiler()
        self.began: list[float] = []
        self.molecules: list[int] = []
        self.interrupted: set[int] = set()  # steps with a validation behind them

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        trainer.profiler = self.profiler

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, _: int) -> None:
        self.began.append(time.perf_counter())
        self.molecules.append(len(batch.y))

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.interrupted.add(len(self.began) - 1)

    @property
    def counted(self) -> list[int]:
        return [k for k in range(WARM_UP, len(self.began) - 1) if k not in self.interrupted]

    @property
    def total(self) -> np.ndarray:
        """Seconds from the beginning of a step to that of the next."""
        return np.diff(self.began)[self.counted]

    def of(self, *endings: str) -> np.ndarray:
        """Seconds per step of the actions with these names, added up."""
        found = [v for k, v in self.profiler.recorded_durations.items() if k.endswith(endings)]
        return np.sum([np.array(v)[self.counted] for v in found], axis=0)


def one(name: str, file: str, target: str, steps: int) -> dict[str, Any]:
    watch = Watch()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(data=(file,), target=(target,), steps=steps, out=Path(folder) / "run", **RUNS[name])
        train(config, callbacks=[watch])
    network = watch.of("Strategy.training_step", "Strategy.backward")
    whole_optimiser = watch.of("optimizer_step")  # the network runs inside
    parts = {"network": network, "optimiser": whole_optimiser - network, "data": watch.of("train_dataloader_next")}
    parts["rest"] = watch.total - sum(parts.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "name": name,
        "ms": {key: 1e3 * float(np.mean(seconds)) for key, seconds in parts.items()},
        "share": {key: float(np.sum(seconds) / np.sum(watch.total)) for key, seconds in parts.items()},
        "molecules_per_s": float(np.sum(np.array(watch.molecules)[watch.counted]) / np.sum(watch.total)),
        "peak_megabytes": torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("target")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--runs", nargs="+", default=list(RUNS), choices=list(RUNS))
    options = parser.parse_args()
    runs = []
    for name in options.runs:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:  # whose peak of memory is its own
            runs.append(fresh.submit(one, name, options.file, options.target, options.steps).result())
        shares = "  ".join(f"{part} {share:.1%}" for part, share in runs[-1]["share"].items())
        print(f"{name}: {shares}; {runs[-1]['molecules_per_s']:.0f} molecules/s", flush=True)
    write("profile", provenance(0) | {"runs": runs})


if __name__ == "__main__":
    main()
