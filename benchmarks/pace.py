"""What a step of each contestant of the benchmark of equivariance costs: molaugerino/benchmark/pace.json.

    python benchmarks/pace.py --data DIR ... [--jobs 2] [--only CONTESTANT ...] [--again]

Processor seconds of one core, from a short run of every contestant on every set of molecules and image task that a
suite has it on: of the faster of two windows of 200 steps, which hold all that happens now and then, after as many that
are not counted, and without validation. Numbers of steps of the suites come from this file; what it holds is kept, or
with --again measured once more, the faster of the two counting.
"""

from __future__ import annotations

import argparse
import json
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

import lightning.pytorch as pl
import torch
from record import provenance

from molaugerino import benchmark
from molaugerino.benchmark.contestants import CONTESTANTS
from molaugerino.benchmark.runs import QUIET, Job, image_config, molecule_config
from molaugerino.benchmark.sets import located
from molaugerino.benchmark.worlds import SUITES, WORLDS
from molaugerino.training.images import train_images
from molaugerino.training.law_evidence import LawEvidence
from molaugerino.training.module import TrainingModule
from molaugerino.training.run import train

WINDOW = 200  # steps, a multiple of what lies between two updates of a law or of evidence
STEPS = 3 * WINDOW
PLACE = Path(benchmark.__file__).parent / "pace.json"


class Stopwatch(pl.Callback):
    """Processor seconds since the start at every step, validation not counted."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.away = self.left = 0.0

    def on_fit_start(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        if isinstance(module.objective, LawEvidence):
            module.objective.search.opened.fill_(True)  # as it is for most of a longer run

    def on_train_batch_end(self, *_: Any) -> None:
        self.times.append(time.process_time() - self.away)

    def on_validation_start(self, *_: Any) -> None:
        self.left = time.process_time()

    def on_validation_end(self, *_: Any) -> None:
        self.away += time.process_time() - self.left


def measured(job: Job) -> float:
    """Seconds per step."""
    torch.set_num_threads(1)
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as scratch:
        job = replace(job, out=Path(scratch))
        if WORLDS[job.world].of_images:
            train_images(image_config(job), QUIET, callbacks=[watch])
        else:
            train(molecule_config(job), QUIET, callbacks=[watch])
    windows = zip(watch.times[WINDOW - 1 :: WINDOW], watch.times[2 * WINDOW - 1 :: WINDOW], strict=False)
    return min(end - start for start, end in windows) / WINDOW


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", default=[])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=list(CONTESTANTS), choices=list(CONTESTANTS))
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    held = json.loads(PLACE.read_text()) if PLACE.exists() else {}
    paces: dict[str, dict[str, float]] = held.get("seconds_per_step", {})
    origin = provenance(0)
    context = multiprocessing.get_context("spawn")
    wanted: dict[tuple[str, str], Job] = {}
    for suite in SUITES.values():
        for name, contestant, _ in suite.runs():
            world = WORLDS[name]
            key = name if world.of_images else world.source
            alike = CONTESTANTS[contestant].told or CONTESTANTS[contestant].change is not None
            if (
                not alike
                and contestant in options.only
                and (options.again or contestant not in paces.get(key, {}))
                and located(world.source, options.data) is not None
            ):
                job = Job(name, contestant, 0, STEPS, 100, tuple(options.data), Path())
                wanted.setdefault((key, contestant), job)
    with ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        found = {place: pool.submit(measured, job) for place, job in wanted.items()}
        for (key, contestant), pace in found.items():
            try:
                known = paces.setdefault(key, {})
                known[contestant] = min(round(pace.result(), 5), known.get(contestant, math.inf))
            except Exception as error:  # it costs itself only
                print(key, contestant, f"failed: {type(error).__name__}: {error}", flush=True)
                continue
            print(key, contestant, paces[key][contestant], flush=True)
            PLACE.write_text(json.dumps(origin | {"seconds_per_step": paces}, indent=1) + "\n")


if __name__ == "__main__":
    main()
