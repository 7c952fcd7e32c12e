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
    line = text.encode(errors="replace").decode()  # bytes of the command line that are no text
    if not text.strip():
        return iter([line])
    path = Path(text)
    if path.suffix.lower() not in FILES:
        if _is(path, Path.is_dir):
            raise UserError(f"{text} is a folder; give a {', '.join(FILES)} file or a SMILES")
        if _is(path, Path.is_file):
            raise UserError(
                f"{text} is a file of a kind that is not read; give {', '.join(FILES)}, or SMILES on standard input"
            )
        return iter([line])
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
    for line in _lines(content):
        yield line.split()[0] if line.strip() else ""


def _lines(content: bytes) -> list[str]:
    """Lines as an editor counts them (str.splitlines would also break at rarer separators)."""
    text = content.decode("utf-8-sig", errors="replace").replace("\0", "\ufffd")
    return [line.rstrip("\n") for line in io.StringIO(text, newline=None)]


def _csv(content: bytes, name: str, column: str) -> Iterator[str]:
    lines = _lines(content)
    if not lines:
        raise UserError(f"{name} is empty; a .csv file needs a header with a column {column!r}")
    header, used = _record(lines, 0)
    matches = [k for k, cell in enumerate(header) if cell.strip().lower() == column.lower()]
    if not matches:
        raise UserError(f"{name} has no column {column!r}; it has {_shown(header)}; name one with --column")
    return _cells(lines, used, matches[0])


def _cells(lines: list[str], first: int, k: int) -> Iterator[str]:
    """Cell k of every record; where quotes do not pair up, a line is a record of its own, and no good one is lost."""
    while first < len(lines):
        cells, used = _record(lines, first)
        if used > 1 and k < len(cells) and "\n" in cells[k]:  # no SMILES goes over a line
            cells, used = lines[first].split(","), 1
        yield cells[k] if k < len(cells) else ""
        first += used


def _record(lines: list[str], first: int) -> tuple[list[str], int]:
    """The record that starts on a line, and how many lines it takes."""
    reader = csv.reader((lines[i] + "\n" for i in range(first, len(lines))), strict=True)
    try:
        return next(reader), reader.line_num
    except csv.Error:  # a stray quote, or an overlong field
        return lines[first].split(","), 1


def _shown(header: list[str], width: int = 200) -> str:
    text = ", ".join(header)
    return text if len(text) <= width else text[: width - 3] + "..."


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
