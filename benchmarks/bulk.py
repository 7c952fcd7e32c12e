"""Libraries of molecules: rate of predict against RDKit alone, memory from the first chunk to the last, and kill -9.

    python benchmarks/bulk.py --smiles FILE.npz ... [--parts rate killed] [--rows 100000] [--isomers 1] [--jobs 2]

1. rate: ETKDGv3 + MMFF94 of every isomer by RDKit alone, in the same number of processes; then `molaugerino predict`
   of the same rows with qm9-mmff, one pass of an invariant network, and with xtb9, the average over 4 rotations.
   Memory of all its processes together, chunk by chunk.
2. killed: `predict --resume` of 5,000 rows, killed five times at random, beside an unbroken run.

Seconds are of the wall, so run it alone. Runs that are already in results/bulk.json are kept.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem
from record import Job, gather, provenance
from tables.bulk import while_predicting

from molaugerino.predict.smiles import Unpredictable, embed, isomers
from molaugerino.predict.workers import in_processes

MODELS = {"rdkit": None, "qm9-mmff": 1, "xtb9": 4}  # copies that each averages over
KILLS, KILLED_ROWS = 5, 5000
EVERY = 2.0  # seconds between looks at the memory


def smiles_of(paths: Sequence[Path], rows: int) -> list[str]:
    found = np.concatenate([np.load(path, allow_pickle=False)["smiles"] for path in paths])
    if len(found) < rows:
        raise SystemExit(f"{len(found):,} SMILES in the files, --rows asks for {rows:,}")
    return found[np.random.default_rng(0).permutation(len(found))[:rows]].tolist()


def by_rdkit(most: int, smiles: str) -> int:
    """Conformers made of one molecule."""
    made = 0
    for isomer in isomers(Chem.MolFromSmiles(smiles), most):
        try:
            embed(isomer)
            made += 1
        except Unpredictable:
            pass
    return made


def command(source: Path, out: Path, options: argparse.Namespace, model: str, *more: str) -> list[str]:
    settings = [
        "--isomers",
        str(options.isomers),
        "--jobs",
        str(options.jobs),
        "--checkpoint",
        model,
        "--out",
        str(out),
    ]
    return [sys.executable, "-m", "molaugerino", "predict", str(source), *settings, *more]


def memory_of(process: int) -> float:
    """Megabytes of a process and those it started, what they share counted once."""
    pids = [str(process), *Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def rate(smiles: list[str], model: str, options: argparse.Namespace) -> dict[str, Any]:
    if MODELS[model] is None:
        begun = time.perf_counter()
        made = sum(in_processes(partial(by_rdkit, options.isomers), smiles, options.jobs))
        return {"seconds": time.perf_counter() - begun, "conformers": made}
    with tempfile.TemporaryDirectory() as scratch:
        source, out = Path(scratch) / "in.smi", Path(scratch) / "out.csv"
        source.write_text("\n".join(smiles) + "\n")
        begun = time.perf_counter()
        run = subprocess.Popen(command(source, out, options, model), stderr=subprocess.PIPE, text=True)
        memory: list[tuple[int, float]] = []
        while run.poll() is None:
            time.sleep(EVERY)
            chunks = len(list(Path(f"{out}.parts").glob("*.jsonl")))
            try:
                memory.append((chunks, memory_of(run.pid)))
            except OSError:  # it ended in between
                continue
        seconds = time.perf_counter() - begun
        assert run.stderr is not None
        summary = run.stderr.read().splitlines()[-1]
        if run.returncode:
            raise SystemExit(summary)
    working = [(chunks, mb) for chunks, mb in memory if chunks]
    return {"seconds": seconds, "summary": summary, "memory_mb": working[:: max(1, len(working) // 40)]}


def killed(smiles: list[str], options: argparse.Namespace) -> dict[str, Any]:
    choose = random.Random(0)
    with tempfile.TemporaryDirectory() as scratch:
        source, out, whole = (Path(scratch) / name for name in ("in.smi", "out.csv", "whole.csv"))
        source.write_text("\n".join(smiles[:KILLED_ROWS]) + "\n")
        begun = time.perf_counter()
        subprocess.run(command(source, whole, options, "qm9-mmff"), check=True, capture_output=True)
        seconds = time.perf_counter() - begun
        rows = []
        for _ in range(KILLS):
            run = subprocess.Popen(command(source, out, options, "qm9-mmff", "--resume"), stderr=subprocess.DEVNULL)
            time.sleep(choose.uniform(0.05, 0.3) * seconds)
            run.kill()
            run.wait()
            rows.append(256 * len(list(Path(f"{out}.parts").glob("*.jsonl"))))
        subprocess.run(command(source, out, options, "qm9-mmff", "--resume"), check=True, capture_output=True)
        return {"seconds": seconds, "rows_at_each_kill": rows, "identical": out.read_bytes() == whole.read_bytes()}


def say(found: dict[str, Any]) -> str:
    if found["part"] == "killed":
        return f"killed at {found['rows_at_each_kill']} rows, identical: {found['identical']}"
    text = f"{found['model']}: {found['rows'] / found['seconds']:.1f} molecules a second"
    if memory := while_predicting(found):
        text += f", {memory[0]:.0f} MB at the first chunk, {memory[-1]:.0f} MB at the last; {found['summary']}"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smiles", type=Path, nargs="+", required=True, help=".npz files with an array `smiles`")
    parser.add_argument("--parts", nargs="+", default=["rate", "killed"], choices=["rate", "killed"])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--isomers", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    smiles = smiles_of(options.smiles, max(options.rows, KILLED_ROWS))
    shared = {"isomers": options.isomers, "jobs": options.jobs}
    jobs: list[Job] = []
    if "rate" in options.parts:
        for model, copies in MODELS.items():
            facts = {"part": "rate", "model": model, "copies": copies, "rows": options.rows, **shared}
            jobs.append((facts, partial(rate, smiles[: options.rows], model, options)))
    if "killed" in options.parts:
        jobs.append(({"part": "killed", "rows": KILLED_ROWS, **shared}, partial(killed, smiles, options)))
    gather("bulk", provenance(0), jobs, say)


if __name__ == "__main__":
    main()
