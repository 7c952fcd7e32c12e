"""Rows of an unfinished table, kept on disk chunk by chunk until the table can be written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from molaugerino.errors import UserError
from molaugerino.files import atomic_file, make_folder, write_atomic
from molaugerino.predict.outputs import Format, write
from molaugerino.predict.table import Layout, Row

STAMP = "stamp.json"


class Parts:
    """Chunks of rows in FILE.parts, that become FILE when all are there.

    Every chunk is a file of lines in JSON: the columns it kept of the input, then a record for each row. It is there
    whole or not at all, so that whatever ends a run costs the rows of one chunk.

    Args:
        out: the file that it will be.
        stamp: what decides the rows, but for the molecules: the same where a run goes on.

    Raises:
        UserError: where chunks of another run lie there.
    """

    def __init__(self, out: Path, stamp: Mapping[str, Any]) -> None:
        self.out = out
        self.folder = out.with_name(f"{out.name}.parts")
        self.stamp = json.loads(json.dumps(stamp))
        self.count = 0
        while self._chunk(self.count).exists():
            self.count += 1
        if self.count and (changed := self._changed()):
            raise UserError(
                f"{self.folder} holds rows of an unfinished run with {changed}; repeat its settings, or remove it"
            )

    def _changed(self) -> str:
        try:
            old = json.loads((self.folder / STAMP).read_text())
        except (OSError, ValueError):
            return f"no readable {STAMP}"
        if old == self.stamp or not isinstance(old, dict):
            return "" if old == self.stamp else f"no readable {STAMP}"
        names = [name for name in {**old, **self.stamp} if old.get(name) != self.stamp.get(name)]
        return ", ".join(f"another {name} ({old.get(name)}, not {self.stamp.get(name)})" for name in names)

    def _chunk(self, k: int) -> Path:
        return self.folder / f"{k:06d}.jsonl"

    def add(self, layout: Layout, rows: Sequence[Row]) -> None:
        """Keep a chunk of rows."""
        if not self.count:
            make_folder(self.folder)
            write_atomic(self.folder / STAMP, json.dumps(self.stamp, indent=1) + "\n")
        kept = layout.kept(rows)
        lines = [json.dumps(line) for line in (kept, *(layout.record(row, kept) for row in rows))]
        write_atomic(self._chunk(self.count), "\n".join(lines) + "\n")
        self.count += 1

    def records(self) -> Iterator[dict[str, Any]]:
        """All rows that are there."""
        for k in range(self.count):
            with self._chunk(k).open() as file:
                next(file)
                yield from map(json.loads, file)

    def finish(self, form: Format, layout: Layout) -> None:
        """Write the table, and remove its parts."""
        kept = dict.fromkeys(chain.from_iterable(self._kept(k) for k in range(self.count)))
        with atomic_file(self.out) as file:
            write(file, form, layout, list(kept), self.records())
        shutil.rmtree(self.folder, ignore_errors=True)

    def _kept(self, k: int) -> list[str]:
        with self._chunk(k).open() as file:
            return json.loads(next(file))
