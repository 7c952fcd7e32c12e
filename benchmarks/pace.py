"""What a step of each contestant of the benchmark of equivariance costs: molaugerino/benchmark/pace.json.

    python benchmarks/pace.py --data DIR ... [--jobs 2] [--only CONTESTANT ...] [--again]

Processor seconds of one core, from a short run of every contestant on every set of molecules and image task that a
suite has it on: the mean of 400 steps, twice all that happens now and then, after 200 that are not counted, and without
validation. A law judged by evidence is left alone until the network has learned something, and costs more from then on:
there it is the mean of 2,000 steps from the first, about as many as a suite takes. As many runs go on at once as a
suite would have, since they share what is beside the cores. Numbers of steps of the suites come from this file; what it
holds is kept, or with --again measured anew. Ratios between contestants are what counts, so measure all of them in one
go, on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # of this and of the processes it starts; read when torch is loaded

import torch
from record import provenance

from molaugerino import benchmark
from molaugerino.benchmark.contestants import CONTESTANTS
from molaugerino.benchmark.runs import QUIET, Clock, Job, image_config, molecule_config
from molaugerino.benchmark.sets import located
from molaugerino.benchmark.worlds import SUITES, WORLDS
from molaugerino.training.images import train_images
from molaugerino.training.run import train

WINDOW = 200  # steps, a multiple of what lies between two updates of a law or of evidence
STEPS, LONG = 3 * WINDOW, 2000
PLACE = Path(benchmark.__file__).parent / "pace.json"


def measured(job: Job) -> float:
    """Seconds per step."""
    torch.set_num_threads(1)
    clock, first = Clock(), 0 if job.steps == LONG else WINDOW
    with tempfile.TemporaryDirectory() as scratch:
        job = replace(job, out=Path(scratch))
        if WORLDS[job.world].of_images:
            train_images(image_config(job), QUIET, callbacks=[clock])
        else:
            train(molecule_config(job), QUIET, callbacks=[clock])
    ends = [0.0, *clock.times]
    return (ends[-1] - ends[first]) / (job.steps - first)


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
                settings = CONTESTANTS[contestant].molecules
                changing = settings["augment"] == "learned" and settings.get("objective") == "evidence"
                job = Job(name, contestant, 0, LONG if changing else STEPS, 100, tuple(options.data), Path())
                wanted.setdefault((key, contestant), job)
    with ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        found = {place: pool.submit(measured, job) for place, job in wanted.items()}
        for (key, contestant), pace in found.items():
            try:
                paces.setdefault(key, {})[contestant] = round(pace.result(), 5)
            except Exception as error:  # it costs itself only
                print(key, contestant, f"failed: {type(error).__name__}: {error}", flush=True)
                continue
            print(key, contestant, paces[key][contestant], flush=True)
            PLACE.write_text(json.dumps(origin | {"seconds_per_step": paces}, indent=1) + "\n")


if __name__ == "__main__":
    main()
