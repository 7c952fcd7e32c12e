"""Is the symmetry found that is there? Worlds whose answer is known, one law and one objective for all of them.

    python benchmarks/worlds.py [--seeds 10] [--steps 6000] [--only WORLD/LAW ...]

Every run trains on the molecules of xtb9 of at most 15 atoms, in random frames, with the same settings; only the world
and the seed differ. The laws: `found` (full covariances, loss budget; with reflections in the world of the
pseudoscalar), and to show what they miss `box` (the centred box per axis, loss budget) and `paper` (Augerino as
published). What is judged is the law on the group: mean tilt of the world's axis, nats of the spin about it to uniform,
and so on. `decidable` is the proviso: the test error at the identity is below half of what the broken symmetry
contributes to the label. `findings` are the verdicts of `molaugerino discover`, beside what holds. Runs that are
already in results/worlds.json are kept.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import gather, provenance
from rich.console import Console

from molaugerino import symmetry
from molaugerino.benchmark.sets import chosen
from molaugerino.config import LawConfig, TrainConfig
from molaugerino.datasets import World, in_frames, save_prepared
from molaugerino.datasets.worlds import DECAY
from molaugerino.discover import Finding, discover
from molaugerino.distributions import GroupDistribution
from molaugerino.groups import Affine
from molaugerino.training.checkpoint import load_model
from molaugerino.training.run import train
from molaugerino.training.setup import open_run_data

FIRST = 10  # seeds 0 to 9 served to choose the length of the runs and the schedule of the law
FEW = 3  # seeds of everything but the field
NEAR = 0.98  # cosine: an axis is the one of the world
PLACES = 8  # of each molecule, to see what its place contributes to the label
LAWS: dict[str, dict[str, Any]] = {
    "found": {"law": LawConfig(family="gaussian")},
    "box": {"law": LawConfig(family="box")},
    "paper": {"augment": "paper"},
}
PLAN = [("field", "found"), ("slab", "found"), ("two-fields", "found"), ("pseudoscalar", "found"), ("none", "found")]
PLAN += [(world, law) for law in ("box", "paper") for world in ("field", "slab", "two-fields", "pseudoscalar")]


def contribution(config: TrainConfig) -> float:
    """Mean absolute change of the label that the broken symmetry makes, over places of the test molecules."""
    world = World(config.world, config.world_seed)
    data = open_run_data(config)
    rows = data.split.test
    if world.name == "none":
        return math.inf
    if world.name == "pseudoscalar":  # a reflection takes y to -y
        return float(np.abs(data.packed.y[torch.from_numpy(rows)].numpy()).mean())
    labels = []
    for k in range(PLACES):
        placed = World(world.name, world.seed).place(in_frames(data.loaded, "random", 1000 + k)[0])
        labels.append(placed.values(data.targets[0])[rows])
    spread = np.stack(labels)
    return float(np.abs(spread - spread.mean(0)).mean())


def judged(law: GroupDistribution, world: World, uniform: bool, axis_of: np.ndarray | None = None) -> dict[str, Any]:
    """The law on the group, against the axis that the world singles out, or another one."""
    axis = torch.from_numpy(world.axis if axis_of is None else axis_of)
    g = symmetry.draws(law)
    volume = float(torch.linalg.det(g.linear).abs().mean())
    left, _, right = torch.linalg.svd(g.linear)
    g = Affine(left @ right, g.shift)  # the nearest rotation, where a law distorts
    turns = symmetry.rotation_vectors(g)
    spreads, axes = symmetry.principal_axes(turns)
    covariance = (g.shift.mT @ g.shift / len(g.shift))[:2, :2] * (3 if uniform else 5)  # in units of the widest
    bound = 0.0 if uniform else (float(covariance.diagonal().sum()) - 2) / 2
    return {
        "mean_rotation_rad": float(turns.norm(dim=-1).mean()),
        "mean_tilt_rad": float(symmetry.tilt(g, axis).mean()),
        "spin_nats": symmetry.nats_to_circle(symmetry.spin(g, axis)),
        "axis_off_degree": math.degrees(math.acos(min(1.0, abs(float(axes[0] @ axis))))),
        "rotation_rms_rad": spreads.tolist(),
        "lateral_nats": bound - float(torch.linalg.slogdet(covariance).logabsdet) / 2,
        "height_half_width": math.sqrt(3) * float(g.shift[:, 2].square().mean().sqrt()),
        "height_per_decay": math.sqrt(3) * float(g.shift[:, 2].square().mean().sqrt()) / DECAY,
        "reflection": float((torch.linalg.det(g.linear) < 0).double().mean()),
        "volume": volume,
    }


def holds(finding: Finding, world: World) -> bool:
    """Whether the label of a world has this symmetry."""
    if world.name in ("two-fields", "field") and finding.kind == "rotation":
        return world.name == "field" and finding.axis is not None and abs(float(world.axis @ finding.axis)) > NEAR
    if world.name == "slab":
        along = None if finding.axis is None else abs(float(world.axis @ finding.axis))
        return along is not None and (along > NEAR if finding.kind == "rotation" else along < 1 - NEAR)
    return finding.kind != "reflection"


def small_molecules(folder: Path) -> Path:
    """The molecules of xtb9 of at most 15 atoms, prepared."""
    save_prepared(chosen("xtb9-15", ()), folder / "xtb9-15")
    return folder / "xtb9-15"


def one(world: Any, kind: str, seed: int, steps: int, data: Path) -> dict[str, Any]:
    start = time.monotonic()
    settings: dict[str, Any] = {"data": (str(data),), "frames": "random", "steps": steps, "seed": seed}
    settings |= {"model": "point-transformer", "world": world, "world_seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        chosen = dict(LAWS[kind])
        if world == "pseudoscalar" and "law" in chosen:  # the one question about reflections
            chosen["law"] = replace(chosen["law"], mirror=0.01)
        config = TrainConfig(**settings, **chosen, out=Path(folder) / "run")
        run = train(config, Console(quiet=True))
        if run is None:
            raise KeyboardInterrupt
        minutes = (time.monotonic() - start) / 60
        law = load_model(run.folder)[0].distribution
        findings = discover(run.folder).findings if "law" in chosen else []
        with (run.folder / "metrics.csv").open(newline="") as file:
            wanted = [k for k in next(csv.reader(file)) if k.startswith(("law/", "objective/"))]
            file.seek(0)
            rows = [row for row in csv.DictReader(file) if wanted and row[wanted[0]]]
    residual = run.results[0].mae or math.inf
    share = contribution(config)
    return {
        "minutes": round(minutes, 2),
        "judged": judged(law, World(world, seed), kind == "box"),
        "residual": residual,
        "contribution": share if math.isfinite(share) else None,
        "decidable": residual < share / 2,
        "parts": run.law["parts"],
        "verdict": run.law["verdict"],
        "findings": [{"name": f.name, "verdict": f.verdict, "holds": holds(f, World(world, seed))} for f in findings],
        "results": [r._asdict() for r in run.results],
        "path": [{k: float(row[k]) for k in wanted} | {"step": int(row["step"])} for row in rows[::4]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="of the field; everything else gets at most three")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--only", nargs="+", help="such as field/found")
    options = parser.parse_args()
    origin = provenance(options.seeds)
    jobs = []
    for seed in range(FIRST, FIRST + options.seeds):
        for world, kind in PLAN:
            wanted = options.only is None or f"{world}/{kind}" in options.only
            if wanted and (seed < FIRST + FEW or (world, kind) == ("field", "found")):
                jobs.append((world, kind, seed, options.steps))
    found = [job for job in jobs if job[1] == "found"]
    found.sort(key=lambda job: job[0] != "field")
    jobs = found + [job for job in jobs if job[1] != "found"]  # what is claimed before what it is compared with
    with tempfile.TemporaryDirectory() as folder:
        data = small_molecules(Path(folder))
        keys = ("world", "law", "seed", "steps")
        gather("worlds", origin, [(dict(zip(keys, job, strict=True)), partial(one, *job, data)) for job in jobs], say)


def say(run: dict[str, Any]) -> str:
    shown = ", ".join(f"{k} {v:.3g}" for k, v in run["judged"].items() if isinstance(v, float))
    head = f"{run['world']}/{run['law']} seed {run['seed']} ({run['minutes']} min): {shown}; "
    return head + f"residual {run['residual']:.3g} of {run['contribution'] or math.nan:.3g}; {run['verdict']}"


if __name__ == "__main__":
    main()
