"""Data and trained runs that several tests share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # of this process and those that tests start; read when torch is loaded

import jaxtyping
import numpy as np
import pytest
import torch

from molaugerino.config import LawConfig, NetConfig, OptimConfig, TrainConfig
from molaugerino.datasets import open_data

SMALL = 400  # molecules of the small file


def archive(seed: int = 0, count: int = SMALL) -> dict[str, np.ndarray]:
    """The arrays of a small random part of xtb9, in the npz form."""
    full = open_data("xtb9")
    rows = np.sort(np.random.default_rng(seed).permutation(len(full))[:count])
    atoms = np.isin(full.owner, rows)
    scalars = [c for c in full.columns if c.kind == "scalar"]
    vectors = [c for c in full.columns if c.kind == "vector"]
    return {
        "id": full.id[rows],
        "num_atoms": full.num_atoms[rows],
        "atomic_numbers": full.atomic_numbers[atoms].astype(np.uint8),
        "positions": full.positions[atoms],
        "positions_mmff": full.positions_mmff[atoms],
        "smiles": full.smiles[rows],
        "targets": np.stack([c.values[rows] for c in scalars], 1),
        "target_names": np.array([c.name for c in scalars]),
        "target_units": np.array([c.unit for c in scalars]),
        "target_methods": np.array([c.method for c in scalars]),
        "vector_targets": np.stack([c.values[rows] for c in vectors], 1),
        "vector_target_names": np.array([c.name for c in vectors]),
        "vector_target_units": np.array([c.unit for c in vectors]),
        "vector_target_methods": np.array([c.method for c in vectors]),
    }


@pytest.fixture(scope="session")
def small_npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez_compressed(path, **archive())
    return path


@pytest.fixture(scope="session")
def tiny_config(small_npz: Path) -> Callable[..., TrainConfig]:
    """Settings of a run that takes seconds, of the point transformer unless another network is named."""
    from molaugerino.training.defaults import resolved

    def make(out: Path, **changes: object) -> TrainConfig:
        settings: dict[str, object] = {
            "data": (str(small_npz),),
            "model": "point-transformer",
            "steps": 30,
            "out": out,
            "net": NetConfig(width=16, depth=1, heads=2, pair=8),
            "optim": OptimConfig(batch=32),
            "law": LawConfig(refresh=5, eval_copies=4),
        }
        return resolved(TrainConfig(**(settings | changes)))

    return make


@pytest.fixture(scope="session")
def trained(tiny_config: Callable[..., TrainConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished tiny run on the gap."""
    from molaugerino.training.run import train

    run = train(tiny_config(tmp_path_factory.mktemp("runs") / "gap"))
    assert run is not None
    return run.folder


@pytest.fixture
def untyped() -> Iterator[None]:
    """Shapes unchecked by jaxtyping, as for a user: the library's own messages must do."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """One thread whatever the test before left, and before any fixture is made: bits depend on the number."""
    torch.set_num_threads(1)
