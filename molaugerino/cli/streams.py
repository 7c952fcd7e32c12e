"""Molecules that stream through a verb: where they come from, who works on them, and how far it is."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from molaugerino.predict.entries import Entry
from molaugerino.predict.inputs import open_inputs

FEW = 32  # molecules whose geometries are made without processes of their own, which take seconds to start
SAY_EVERY = 60  # seconds, where there is no terminal to draw a bar on


def molecules(inputs: Sequence[str], column: str) -> tuple[Iterator[Entry], int | None]:
    """What is asked for, one after the other, and how many they are where that is known."""
    sources = open_inputs(inputs, column)
    totals = [source.total for source in sources if source.total is not None]
    entries = chain.from_iterable(source.entries() for source in sources)
    return entries, sum(totals) if len(totals) == len(sources) else None


def processes(jobs: int | None, total: int | None) -> int | None:
    """So many as asked for; else one per core, none for a few molecules."""
    if jobs is None and (total is None or total > FEW):
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return jobs


@contextmanager
def on_threads(number: int | None) -> Iterator[None]:
    """Threads of the network, None as they are. One where processes have the cores: spinning threads would hinder
    them, and rows come out the same whatever the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def progress(total: int | None, done: int = 0, what: str = "predicting") -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, a line now and then elsewhere; takes the number of new rows."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn()
    said, begun, first = time.monotonic(), time.monotonic(), done

    def advance(rows: int) -> None:
        nonlocal done, said
        done += rows
        bar.update(task, completed=done)
        now = time.monotonic()
        if not console.is_terminal and now - said > SAY_EVERY:
            rate, said = (done - first) / (now - begun), now
            left = "" if total is None else f" of {total:,}, {(total - done) / rate / 60:.0f} min left"
            say(f"{done:,}{left}, {rate:.1f} a second")

    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield advance


class Rate(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s")


def say(text: str) -> None:
    print(text, file=sys.stderr)
