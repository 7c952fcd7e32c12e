"""Reading lines of SMILES and writing rows of predictions."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from molaugerino.errors import UserError
from molaugerino.predict.predictor import Row

Format = Literal["table", "csv", "json"]
FILES = (".smi", ".txt", ".csv")


def read_inputs(inputs: Sequence[str], column: str) -> Iterator[str]:
    """SMILES from the command line, from files, or from standard input ("-", or no input at all).

    Files are checked before the first line is given out, so a wrong name costs no work.
    """
    sources = [_open(text, column) for text in inputs or ("-",)]
    for source in sources:
        yield from source


def _open(text: str, column: str) -> Iterator[str]:
    if text == "-":
        return _smi(sys.stdin.buffer.read())
    if not text.strip():
        return iter([text])
    path = Path(text)
    if path.suffix.lower() not in FILES:
        if _is(path, Path.is_dir):
            raise UserError(f"{text} is a folder; give a {', '.join(FILES)} file or a SMILES")
        if _is(path, Path.is_file):
            raise UserError(
                f"{text} is a file of a kind that is not read; give {', '.join(FILES)}, or SMILES on standard input"
            )
        return iter([text])
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {text}: {error.strerror}") from None
    return _csv(content, text, column) if path.suffix.lower() == ".csv" else _smi(content)


def _is(path: Path, test: Callable[[Path], bool]) -> bool:
    try:
        return test(path)
    except (OSError, ValueError):  # a SMILES too long or too odd to be a path
        return False


def _smi(content: bytes) -> Iterator[str]:
    """The first word of every line; names after it are left out."""
    for line in content.decode("utf-8-sig", errors="replace").splitlines():
        yield line.split()[0] if line.strip() else ""


def _csv(content: bytes, name: str, column: str) -> Iterator[str]:
    text = content.decode("utf-8-sig", errors="replace").replace("\0", "\ufffd")
    lines = csv.reader(io.StringIO(text, newline=""))
    header = next(lines, None)
    if header is None:
        raise UserError(f"{name} is empty; a .csv file needs a header with a column {column!r}")
    matches = [k for k, cell in enumerate(header) if cell.strip().lower() == column.lower()]
    if not matches:
        raise UserError(f"{name} has no column {column!r}; it has {', '.join(header)}; name one with --column")
    return _cells(lines, matches[0])


def _cells(lines: Iterator[list[str]], k: int) -> Iterator[str]:
    while True:
        try:
            cells = next(lines, None)
        except csv.Error:  # an overlong field: one bad row, not the end of the file
            yield "\ufffd"
            continue
        if cells is None:
            return
        yield cells[k] if k < len(cells) else ""


def render(rows: Sequence[Row], columns: Sequence[str], form: Format) -> str:
    """The rows as a table for the eye, as CSV, or as a JSON list of objects (null where there is no number)."""
    header = ["input", "smiles", *columns, "status", "reason"]
    if form == "json":
        objects = [dict(zip(header, _cell_values(row, None), strict=True)) for row in rows]
        return json.dumps(objects, indent=1) + "\n"
    if form == "csv":
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(_cell_values(row, "nan") for row in rows)
        return out.getvalue()
    return _table(rows, header)


def _cell_values(row: Row, missing: str | None) -> list[Any]:
    numbers = [value if math.isfinite(value) else missing for value in row.values]
    return [row.input, row.smiles, *numbers, row.status, row.reason]


def _table(rows: Sequence[Row], header: list[str]) -> str:
    cells = [header] + [
        [
            row.input,
            row.smiles,
            *(f"{v:.4f}" if math.isfinite(v) else "nan" for v in row.values),
            row.status,
            row.reason,
        ]
        for row in rows
    ]
    cells = [["".join(c if c.isprintable() else "\ufffd" for c in cell) for cell in line] for line in cells]
    widths = [min(max(len(line[k]) for line in cells), 40) for k in range(len(header))]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join(shown) + "\n"
