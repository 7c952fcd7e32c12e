"""Networks of other libraries among the contestants of the benchmark of equivariance: B3LYP gaps, the same splits.

    python benchmarks/rivals.py OUT --data DIR ... --rival-python PYTHON [--splits 5] [--minutes 1.25] [--only NAME ...]

OUT is the folder of the suite `full`: the records go to its runs, and the next call of `molaugerino benchmark
equivariance --resume` takes them up. SchNetPack's PaiNN and SchNet train in an environment of their own
(benchmarks/schnetpack_rival.py says how it is made), torch_geometric's SchNet here, through `FromGraph`, by the same
recipe: batch 64, AdamW at 1e-3, half a cosine, L1, the best of ten validations. One thread, and as many processor
minutes as our contestants took there, in the median, so run it after them.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # of this and of the processes it starts; read when torch is loaded

import numpy as np
import torch
from torch_geometric.nn.models import SchNet

from molaugerino.benchmark.contestants import CONTESTANTS
from molaugerino.benchmark.runs import Job, provenance
from molaugerino.benchmark.sets import prepare
from molaugerino.benchmark.suite import RESULTS
from molaugerino.benchmark.worlds import SUITES, WORLDS
from molaugerino.datasets import Batch, PackedData, Split, Target, load_split
from molaugerino.datasets.prepared import open_prepared
from molaugerino.files import write_atomic
from molaugerino.models import FromGraph
from molaugerino.models.from_graph import AllPairs

WORLD = "gap"
BATCH, RATE, CUTOFF, VALIDATIONS = 64, 1e-3, 5.0, 10
SCHNETPACK = {"schnetpack-schnet": "schnet", "schnetpack-painn": "painn"}
KEPT = {"PYTHONPATH": ""}  # its environment is its own


class Course:
    """A split of the world, as arrays for others and as batches for us."""

    def __init__(self, split: int, folders: list[Path], out: Path) -> None:
        folder, file = prepare(WORLDS[WORLD], split, SUITES["full"].tested, folders, out / "data")
        self.molecules = open_prepared(folder)
        self.target: Target = self.molecules.target(WORLDS[WORLD].settings["target"][0])
        whole: Split = load_split(file, self.molecules.id, by_id=True)
        self.rows = {"train": np.sort(np.concatenate([whole.train, whole.budget]))}
        self.rows |= {"valid": whole.valid, "test": whole.test}

    def save(self, path: Path) -> None:
        m = self.molecules
        y = m.values(self.target)
        np.savez(path, num_atoms=m.num_atoms, z=m.atomic_numbers, pos=m.positions, y=y, **self.rows)  # type: ignore[arg-type]


def of_schnetpack(name: str, course: Course, split: int, minutes: float, python: str) -> dict[str, Any]:
    script = Path(__file__).parent / "schnetpack_rival.py"
    with tempfile.TemporaryDirectory() as scratch:
        arrays, out = Path(scratch) / "molecules.npz", Path(scratch) / "result.json"
        course.save(arrays)
        options = ["--minutes", str(minutes), "--seed", str(split), "--threads", "1", "--clock", "processor"]
        command = [python, str(script), str(arrays), SCHNETPACK[name], *options, "--out", str(out)]
        subprocess.run(command, check=True, env=os.environ | KEPT, stdout=subprocess.DEVNULL)
        return json.loads(out.read_text())


def of_torch_geometric(course: Course, split: int, minutes: float) -> dict[str, Any]:
    torch.manual_seed(split)
    data = PackedData(course.molecules, [course.target])
    train = data.batch(torch.from_numpy(course.rows["train"]))
    network = FromGraph(SchNet(128, 128, 6, 50, CUTOFF, AllPairs(CUTOFF), readout="mean"), [course.target])
    network.readout.fit_scale(train.x, train.y)
    spread = float(train.y.std())
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE)
    rng = np.random.default_rng(split)

    @torch.no_grad()
    def error(part: str) -> float:
        found = [(network(b.x) - b.y).abs() for b in data.batches(course.rows[part], 256)]
        return float(torch.cat(found).mean())

    def step(batch: Batch, rate: float) -> None:
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = (network(batch.x) - batch.y).abs().mean() / spread
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    best, kept, validated, steps = math.inf, copy.deepcopy(network.state_dict()), 0, 0
    spent, begun = 0.0, time.process_time()
    while spent < 60 * minutes:
        order = rng.permutation(course.rows["train"])
        for batch in data.batches(order[: len(order) // BATCH * BATCH], BATCH):
            spent = time.process_time() - begun
            progress = min(spent / (60 * minutes), 1.0)
            step(batch, 0.5 * RATE * (1 + math.cos(math.pi * progress)))
            steps += 1
            if progress * VALIDATIONS >= validated + 1 or progress >= 1:
                validated, paused = validated + 1, time.process_time()
                if (mae := error("valid")) < best:
                    best, kept = mae, copy.deepcopy(network.state_dict())
                begun += time.process_time() - paused
            if progress >= 1:
                break
    network.load_state_dict(kept)
    count = sum(p.numel() for p in network.parameters())
    return {"parameters": count, "steps": steps, "test_mae": error("test")}


def record(job: Job, course: Course, minutes: float, train: Callable[[], dict[str, Any]]) -> None:
    """Train, and write what the report shows."""
    before = sum(os.times()[:4])
    found = train()
    spent = (sum(os.times()[:4]) - before) / 60  # its processes included
    cell = {"frames": "stored", "copies": 1, "n": len(course.rows["test"]), "mae": found["test_mae"]}
    result = {"world": WORLD, "contestant": job.contestant, "split": job.split, "steps": found["steps"]}
    result |= {"unit": course.target.unit, "errors": [cell], "error": cell["mae"]}
    result |= {"error_name": f"MAE, {course.target.unit}", "parameters": found["parameters"], "predict_ms": {}}
    result |= {"law": None, "recovered": None, "checks": {}, "curve": []}
    result |= {"train_minutes": minutes, "cpu_minutes": spent} | provenance()
    job.record.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(job.record, json.dumps(result) + "\n")
    print(f"{job.name}: {cell['mae']:.4g} {course.target.unit}, {found['parameters']:,} parameters", flush=True)


def minutes_of(out: Path) -> float:
    """That a training of our contestants took in this world, in the median."""
    path = out / RESULTS
    runs = json.loads(path.read_text())["runs"] if path.is_file() else []
    own = [r["train_minutes"] for r in runs if r["world"] == WORLD and not CONTESTANTS[r["contestant"]].foreign]
    if not own:
        raise SystemExit(f"{path} has no runs of {WORLD} whose minutes to take: run the suite before, or say --minutes")
    return statistics.median(own)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the suite")
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--rival-python", help="of an environment with schnetpack")
    parser.add_argument("--splits", type=int, default=SUITES["full"].plan[WORLD][1])
    parser.add_argument("--minutes", type=float, help="(default: those of our contestants in OUT)")
    parser.add_argument("--only", nargs="+", default=[*SCHNETPACK, "pyg-schnet"])
    options = parser.parse_args()
    if options.rival_python is None and set(options.only) & set(SCHNETPACK):
        parser.error("--rival-python is needed for the networks of SchNetPack; or leave them out with --only")
    torch.set_num_threads(1)
    minutes = options.minutes or minutes_of(options.out)
    for split in range(options.splits):
        course = Course(split, options.data, options.out)
        for name in options.only:
            job = Job(WORLD, name, split, 0, SUITES["full"].tested, tuple(options.data), options.out)
            if job.record.exists():
                continue
            made = partial(of_torch_geometric, course, split, minutes)
            if name in SCHNETPACK:
                made = partial(of_schnetpack, name, course, split, minutes, options.rival_python)
            record(job, course, minutes, made)


if __name__ == "__main__":
    main()
