"""Two processes that share a step train what one does."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from molaugerino.errors import UserError
from molaugerino.training.processes import is_first, layout
from molaugerino.training.run import train

STEPS = 50
BATCH = "51"  # 26 and 25 molecules; of the last of an epoch, 2 and 1
LAW = ["--objective", "kl", "--law.rotation", "90", "--law.translation", "0.5"]  # drawn far apart, and on its way


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file) if row["loss"]]


def trained(small_npz: Path, out: Path, launcher: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    settings = ["--net.width", "16", "--net.depth", "1", "--net.heads", "2", "--optim.batch", BATCH]
    command = [sys.executable, *launcher, "molaugerino", "train", "--data", str(small_npz), "--target", "gap"]
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return subprocess.run(
        [*command, "--out", str(out), *settings, "--steps", str(STEPS), *options],
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


TORCHRUN = ["-m", "torch.distributed.run", "--nproc_per_node=2", "-m"]


@pytest.mark.parametrize(
    ("law", "launcher", "option"),
    [
        pytest.param(LAW, ["-m"], ["--devices", "2"], id="--devices"),
        pytest.param([*LAW, "--law.conditional"], TORCHRUN, [], id="torchrun"),
    ],
)
@pytest.mark.slow
def test_one_and_two_processes_give_the_same_losses(small_npz, tmp_path, law, launcher, option):
    alone = trained(small_npz, tmp_path / "alone", ["-m"], *law)
    assert alone.returncode == 0, alone.stderr
    both = trained(small_npz, tmp_path / "both", launcher, *law, *option)
    assert both.returncode == 0, both.stderr
    assert both.stdout.count("test errors") == 1  # one of them speaks
    assert losses(tmp_path / "both") == pytest.approx(losses(tmp_path / "alone"), abs=1e-5)
    assert len(losses(tmp_path / "both")) == STEPS // 10


def test_an_objective_that_needs_one_process(tiny_config, tmp_path):
    with pytest.raises(UserError, match="hypergradient looks one step of the whole batch ahead"):
        train(tiny_config(tmp_path / "run", devices=2, objective="hypergradient"))
    assert not (tmp_path / "run").exists()


def test_a_process_among_unrelated_ones_of_a_cluster_is_the_first(monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "3")
    assert is_first()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not is_first()


def test_layout(monkeypatch):
    assert layout(3) == (3, 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("WORLD_SIZE", "6")
    assert layout(1) == (2, 3)


def test_more_processes_than_molecules_in_a_step(tiny_config, tmp_path):
    with pytest.raises(UserError, match="--devices must lie between 1 and"):
        tiny_config(tmp_path, devices=1000)
