"""Writing a table of predictions: for the eye, as CSV, JSON or Parquet, and as pictures."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from molaugerino.errors import UserError
from molaugerino.predict.table import Layout, Row, Table

Format = Literal["table", "csv", "json", "parquet"]
SUFFIXES: dict[str, Format] = {".csv": "csv", ".json": "json", ".parquet": "parquet"}
Records = Iterable[dict[str, Any]]
VANISHING = 5e-5  # that four decimals would show as 0
ROW_GROUP = 10_000  # rows of a parquet file that are written together
WIDE = 3  # columns beyond which a table for the eye has a block per molecule


def render(table: Table, form: Format) -> str | bytes:
    """The table in one of the forms: bytes for parquet, text else."""
    if form == "table":
        return _in_blocks(table) if len(table.layout.targets) > WIDE else _in_lines(table)
    out = io.BytesIO()
    write(out, form, table.layout, table.kept, table.records())
    return out.getvalue() if form == "parquet" else out.getvalue().decode()


def write(file: io.BufferedIOBase, form: Format, layout: Layout, kept: Sequence[str], records: Records) -> None:
    """Records, as they come, in one of the forms that files have.

    csv: nan where there is no number. json: a list of objects, null where there is none. parquet: needs pyarrow.
    """
    header = layout.header(kept)
    if form == "parquet":
        _write_parquet(file, layout, header, records)
        return
    text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")  # type: ignore[type-var]
    if form == "csv":
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([_cell(record.get(name, "")) for name in header] for record in records)
    else:
        text.write("[")
        for k, record in enumerate(records):
            text.write((",\n " if k else "\n ") + json.dumps({name: record.get(name, "") for name in header}))
        text.write("\n]\n")
    text.detach()  # flushes it


def _cell(value: Any) -> Any:
    return "nan" if value is None else value


def need_parquet() -> None:
    """Raise where the extra is not installed."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise UserError("a .parquet file needs pyarrow; install it with: pip install 'molaugerino[parquet]'") from None


def _write_parquet(file: io.BufferedIOBase, layout: Layout, header: Sequence[str], records: Records) -> None:
    import pyarrow
    import pyarrow.parquet

    types = [pyarrow.float64() if name in layout.numbers else pyarrow.string() for name in header]
    about = {"methods": json.dumps(layout.methods), "level": json.dumps(layout.level)}
    schema = pyarrow.schema([*zip(header, types, strict=True)], metadata=about)
    source = iter(records)
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        while group := list(islice(source, ROW_GROUP)):
            columns = [pyarrow.array([r.get(n, "") for r in group], t) for n, t in zip(header, types, strict=True)]
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))


def read_columns(path: Path, form: Format, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Columns of text of a file that `write` made, from the first row on.

    Raises:
        UserError: where another program made it.
    """
    try:
        if form == "parquet":
            import pyarrow.parquet

            for group in pyarrow.parquet.ParquetFile(path).iter_batches(columns=[*names]):
                yield from zip(*(group[name].to_pylist() for name in names), strict=True)
        elif form == "csv":
            with path.open(encoding="utf-8", newline="") as file:
                yield from (tuple(record[name] for name in names) for record in csv.DictReader(file))
        else:
            yield from (tuple(record[name] for name in names) for record in json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(f"{path} is no finished table of these predictions ({error}); choose another --out") from None


def _in_lines(table: Table) -> str:
    """A line per molecule."""
    header = ["input", "smiles"]
    for target in table.layout.targets:
        method = f" {target.method}" if target.method else ""
        header += [f"{target.titled()}{method}", f"{table.layout.level:.0%} interval"]
    lines = [[*header, "domain", "status", "reason"]]
    for row in table:
        cells = [row.input, row.smiles]
        for target in table.layout.targets:
            cells += [number(row.values[target.channel]), interval(row, target.channel)]
        lines.append([*cells, row.domain, row.status, row.reason])
    return _aligned(lines)


def _in_blocks(table: Table) -> str:
    """A block per molecule, a line per target."""
    blocks = []
    for row in table:
        about = [row.smiles if row.smiles != row.input else "", row.status]
        about += [f"domain: {row.domain}"] if row.domain else []
        about += [f"{row.isomers} isomers"] if row.isomers > 1 else []
        about += [row.reason] if row.reason else []
        title = "  ".join([_printable(row.input), *map(_printable, filter(None, about))])
        lines = [["", "target", "value", f"{table.layout.level:.0%} interval", "orientation sd", "unit", "method"]]
        for target in table.layout.targets:
            k = target.channel
            spread = number(row.orientation_sd[k])
            lines.append(["", target.name, number(row.values[k]), interval(row, k), spread, target.unit, target.method])
        blocks.append(title + "\n" + (_aligned(lines) if row.status == "ok" else ""))
    return "\n".join(blocks)


def number(value: float) -> str:
    """Four decimals, fewer of large numbers, two digits of those that would vanish."""
    if 0 < abs(value) < VANISHING:
        return f"{value:.2g}"
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:.2f}"


def interval(row: Row, channel: int) -> str:
    """lo .. hi, '' where there is none."""
    lo, hi = row.lo[channel], row.hi[channel]
    return f"{number(lo)} .. {number(hi)}" if math.isfinite(lo + hi) else ""


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _aligned(lines: list[list[str]], most: int = 44) -> str:
    cells = [[_printable(cell) for cell in line] for line in lines]
    widths = [min(max(len(line[k]) for line in cells), most) for k in range(len(cells[0]))]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join(shown) + "\n"
