"""Work shared by processes."""

from __future__ import annotations

import os

import pytest
import torch

from molaugerino.predict.workers import in_processes


def square(x: int) -> int:
    return x * x


def threads(_: int) -> tuple[int, int]:
    return os.getpid(), torch.get_num_threads()


def broken(x: int) -> int:
    raise ValueError(f"no {x}")


def test_results_come_in_order():
    assert list(in_processes(square, range(100), 2, chunk=7)) == [x * x for x in range(100)]
    assert list(in_processes(square, range(5), 1)) == [0, 1, 4, 9, 16]


def test_each_process_computes_on_one_thread():
    """OpenMP's threads of several processes wait for each other by spinning: together they are many times slower."""
    found = list(in_processes(threads, range(8), 2, chunk=1))
    assert {n for _, n in found} == {1}
    assert os.getpid() not in {pid for pid, _ in found}
    assert torch.get_num_threads() == 2  # nothing changes here
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_fault_reaches_the_caller():
    with pytest.raises(ValueError, match="no 0"):
        list(in_processes(broken, range(3), 2))
