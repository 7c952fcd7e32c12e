"""Work on molecules shared by processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # each; read when their libraries are loaded
AHEAD = 50  # chunks per process that are handed out before results are asked for


def in_processes(work: Callable[[A], B], items: Iterable[A], jobs: int, chunk: int = 10) -> Iterator[B]:
    """`map(work, items)` in several processes, in order, a few chunks ahead; one job works here.

    The processes end with the one that started them, however that ends.
    """
    if jobs == 1:
        yield from map(work, items)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=_follow, initargs=(os.getpid(),)) as pool:
        with _environment(ONE_THREAD):
            pool.submit(int).result()  # starts them all
        source = iter(items)
        try:
            while batch := list(islice(source, AHEAD * chunk * jobs)):
                yield from pool.map(work, batch, chunksize=chunk)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """These variables for processes that are started while this is open; those that are set already stay."""
    new = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]


def _follow(parent: int) -> None:
    """End this process when the one that started it is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
