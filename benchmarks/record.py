"""Results on disk: what was measured, where, with what, by which command."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from molaugerino.training.checkpoint import package_versions

RESULTS = Path(__file__).parent / "results"


def provenance(seed: int | list[int]) -> dict[str, Any]:
    """Commit, versions, device, seed and command of this program."""
    described = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(described, capture_output=True, text=True, cwd=RESULTS.parent, check=False).stdout.strip()
    cuda = torch.cuda.is_available()
    return {
        "commit": commit,
        "versions": package_versions() | {"python": platform.python_version()},
        "device": torch.cuda.get_device_name()
        if cuda
        else f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
        "seed": seed,
        "command": " ".join(["python", "benchmarks/" + Path(sys.argv[0]).name, *map(_shown, sys.argv[1:])]),
    }


def _shown(argument: str) -> str:
    """A path by its name: where it lies on this machine is nobody's business."""
    return Path(argument).name if Path(argument).is_absolute() else argument


def write(name: str, content: dict[str, Any]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


Job = tuple[dict[str, Any], Callable[[], dict[str, Any]]]  # facts that tell a run from the others, and the run


def gather(name: str, origin: dict[str, Any], jobs: Iterable[Job], say: Callable[[dict[str, Any]], str]) -> None:
    """Do the jobs whose runs are not in results/NAME.json yet, and write that file after each."""
    runs = read(name).get("runs", [])
    for facts, job in jobs:
        if done(name, facts):
            continue
        runs.append(facts | job() | {"commit": origin["commit"]})
        write(name, origin | {"runs": runs})
        print(say(runs[-1]), flush=True)


def done(name: str, facts: dict[str, Any]) -> bool:
    """Whether results/NAME.json holds a run with these facts."""
    runs = read(name).get("runs", [])
    return any(all(run.get(key) == value for key, value in facts.items()) for run in runs)


def cells(run: dict[str, Any], scale: float = 1.0) -> str:
    """The test errors of a run in one line."""
    return ", ".join(f"{r['frames']} x{r['copies']} {scale * r['mae']:.4g}" for r in run["results"])


def read(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}
