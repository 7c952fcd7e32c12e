"""Work shared by processes."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from molaugerino.predict.workers import Workers, in_processes


def square(x: int) -> int:
    return x * x


def told(x: int) -> tuple[int, int, int]:
    return x * x, os.getpid(), torch.get_num_threads()


def broken(x: int) -> int:
    raise ValueError(f"no {x}")


def awkward(x: int) -> int:
    """Hangs in Python, hangs in C where no signal is looked at, dies, or answers."""
    if x == 3:
        time.sleep(1000)
    if x == 14:
        ctypes.PyDLL(None).sleep(1000)  # holds the interpreter's lock
    if x == 16:
        os.kill(os.getpid(), signal.SIGSEGV)
    return x * x


def lost(x: int, end: str) -> str:
    return f"{x} {end}"


def test_in_order_each_process_on_one_thread():
    """OpenMP's threads of several processes wait for each other by spinning: together they are many times slower."""
    assert list(in_processes(square, range(5), None)) == [0, 1, 4, 9, 16]
    found = list(in_processes(told, range(100), 2))
    assert [square for square, _, _ in found] == [x * x for x in range(100)]
    assert {n for _, _, n in found} == {1}
    assert os.getpid() not in {pid for _, pid, _ in found}
    assert "OMP_NUM_THREADS" not in os.environ or torch.get_num_threads() == 1  # nothing changes here


def test_a_fault_reaches_the_caller():
    with pytest.raises(ValueError, match="no 0"):
        list(in_processes(broken, range(3), 2))


@pytest.mark.slow
def test_items_that_hang_or_crash_cost_no_other():
    with Workers(2, limit=2.0, chunk=10) as workers:
        found = list(workers.map(awkward, range(40), lost))
        bad = {3: "3 timeout", 14: "14 timeout", 16: "16 crashed"}
        assert found == [bad.get(x, x * x) for x in range(40)]
        assert {n for _, _, n in workers.map(told, range(20), lost)} == {1}, "those that took their place too"


@pytest.mark.slow
def test_they_end_with_the_process_that_started_them():
    program = (
        "import os, sys, time; from molaugerino.predict.workers import in_processes\n"
        "if __name__ == '__main__':\n"
        "    print(next(in_processes(os.path.abspath, ['a'] * 5, 1)), flush=True); time.sleep(100)\n"
    )
    script = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    script.stdout.readline()
    children = subprocess.run(["pgrep", "-P", str(script.pid)], capture_output=True, text=True).stdout.split()
    assert children
    script.kill()
    script.wait()
    until = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{pid}") for pid in children) and time.monotonic() < until:
        time.sleep(0.1)
    assert not [pid for pid in children if os.path.exists(f"/proc/{pid}")]
    script.stdout.close()
