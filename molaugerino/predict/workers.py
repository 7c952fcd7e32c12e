"""Work on molecules shared by processes, that outlive a molecule on which one of them hangs or dies."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import TimeoutError as TimedOut
from itertools import islice
from types import TracebackType
from typing import Any, Literal, TypeVar

A = TypeVar("A")
B = TypeVar("B")
End = Literal["timeout", "crashed"]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # each; read by libraries not loaded yet
AHEAD = 200  # chunks per process that are handed out before results are asked for: work while one item hangs


def in_processes(
    work: Callable[[A], B],
    items: Iterable[A],
    jobs: int | None,
    given_up: Callable[[A, End], B] | None = None,
    limit: float | None = None,
) -> Iterator[B]:
    """`map(work, items)` in so many processes, in order; None works here. Without `given_up` lost items raise."""
    if jobs is None:
        yield from map(work, items)
        return
    with Workers(jobs, limit) as workers:
        yield from workers.map(work, items, given_up)


class Workers:
    """Processes that share work and end with the one that started them, however that ends.

    An item that takes longer than the limit ends its process, as does one that crashes it; another is started, and
    what the two did else is done again.

    Args:
        jobs: processes.
        limit: seconds that an item may take.
        chunk: items that are handed out together; together they have the time of one, or are done again one by one.

    Example:
        >>> with Workers(2, limit=10) as workers:                    # doctest: +SKIP
        ...     found = list(workers.map(work, items, given_up))
    """

    def __init__(self, jobs: int, limit: float | None = None, chunk: int = 10) -> None:
        import multiprocessing

        from pebble import ProcessPool

        self.limit, self.chunk, self.most = limit, chunk, AHEAD * jobs
        context: Any = multiprocessing.get_context("spawn")
        self.pool = ProcessPool(jobs, context=context, initializer=_begin, initargs=(os.getpid(),))

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.pool.stop()  # type: ignore[no-untyped-call]
        self.pool.join()

    def map(
        self, work: Callable[[A], B], items: Iterable[A], given_up: Callable[[A, End], B] | None = None
    ) -> Iterator[B]:
        """`map(work, items)`, in order, some way ahead of what is asked for.

        Args:
            work: a function of a module, done in the processes; what it raises is raised here.
            items: that can be pickled, as results must be.
            given_up: makes the result of an item that took too long, or whose process died.
        """
        source = iter(items)
        waiting: deque[tuple[list[A], Any]] = deque()
        while True:
            while len(waiting) < self.most and (batch := list(islice(source, self.chunk))):
                waiting.append((batch, self._send(work, batch)))
            if not waiting:
                return
            yield from self._received(work, *waiting.popleft(), given_up)

    def _send(self, work: Callable[[A], B], batch: list[A]) -> Any:
        return self.pool.schedule(_each, args=(work, batch), timeout=self.limit)

    def _received(
        self, work: Callable[[A], B], batch: list[A], answer: Any, given_up: Callable[[A, End], B] | None
    ) -> Sequence[B]:
        """Results of a chunk; where its process was lost, of its items one by one."""
        from pebble import ProcessExpired

        try:
            return answer.result()
        except (TimedOut, ProcessExpired) as error:
            if given_up is None:
                raise
            if len(batch) == 1:
                return [given_up(batch[0], "crashed" if isinstance(error, ProcessExpired) else "timeout")]
        alone = [([item], self._send(work, [item])) for item in batch]
        return [self._received(work, item, answer, given_up)[0] for item, answer in alone]


def _each(work: Callable[[A], B], batch: list[A]) -> list[B]:
    return [work(item) for item in batch]


def _begin(parent: int) -> None:
    """In a new process: one thread, interrupts left to the parent, and an end when the parent is gone."""
    os.environ.update(ONE_THREAD)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
