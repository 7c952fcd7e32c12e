"""Work shared by processes."""

from __future__ import annotations

import os

import pytest
import torch

from molaugerino.predict.workers import in_processes


def square(x: int) -> int:
    return x * x


def told(x: int) -> tuple[int, int, int]:
    return x * x, os.getpid(), torch.get_num_threads()


def broken(x: int) -> int:
    raise ValueError(f"no {x}")


def test_in_order_each_process_on_one_thread():
    """OpenMP's threads of several processes wait for each other by spinning: together they are many times slower."""
    assert list(in_processes(square, range(5), 1)) == [0, 1, 4, 9, 16]
    found = list(in_processes(told, range(100), 2, chunk=7))
    assert [square for square, _, _ in found] == [x * x for x in range(100)]
    assert {n for _, _, n in found} == {1}
    assert os.getpid() not in {pid for _, pid, _ in found}
    assert torch.get_num_threads() == 2  # nothing changes here
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_fault_reaches_the_caller():
    with pytest.raises(ValueError, match="no 0"):
        list(in_processes(broken, range(3), 2))
