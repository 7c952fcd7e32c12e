"""Writing a table of predictions: for the eye, as CSV, JSON or Parquet, and as pictures."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Literal

from molaugerino.errors import UserError
from molaugerino.predict.table import Row, Table

Format = Literal["table", "csv", "json", "parquet"]
SUFFIXES: dict[str, Format] = {".csv": "csv", ".json": "json", ".parquet": "parquet"}
WIDE = 3  # columns beyond which a table for the eye has a block per molecule


def render(table: Table, form: Format) -> str | bytes:
    """The table in one of the forms.

    csv: nan where there is no number. json: a list of objects, null where there is none. parquet: needs pyarrow.
    """
    if form == "json":
        return json.dumps(table.records(), indent=1) + "\n"
    if form == "csv":
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(table.header)
        writer.writerows(["nan" if v is None else v for v in record.values()] for record in table.records())
        return out.getvalue()
    if form == "parquet":
        return _parquet(table)
    return _in_blocks(table) if len(table.targets) > WIDE else _in_lines(table)


def need_parquet() -> None:
    """Raise where the extra is not installed."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise UserError("a .parquet file needs pyarrow; install it with: pip install 'molaugerino[parquet]'") from None


def _parquet(table: Table) -> bytes:
    import pyarrow
    import pyarrow.parquet

    records, numbers = table.records(), table.numbers
    columns = {
        name: pyarrow.array([r[name] for r in records], pyarrow.float64() if name in numbers else pyarrow.string())
        for name in table.header
    }
    methods = {t.titled(): t.method for t in table.targets}
    about = {"methods": json.dumps(methods), "level": json.dumps(table.level)}
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns).replace_schema_metadata(about), out)
    return out.getvalue()


def _in_lines(table: Table) -> str:
    """A line per molecule."""
    header = ["input", "smiles"]
    for target in table.targets:
        method = f" {target.method}" if target.method else ""
        header += [f"{target.titled()}{method}", f"{table.level:.0%} interval"]
    lines = [[*header, "domain", "status", "reason"]]
    for row in table:
        cells = [row.input, row.smiles]
        for target in table.targets:
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
        lines = [["", "target", "value", f"{table.level:.0%} interval", "orientation sd", "unit", "method"]]
        for target in table.targets:
            k = target.channel
            spread = number(row.orientation_sd[k])
            lines.append(["", target.name, number(row.values[k]), interval(row, k), spread, target.unit, target.method])
        blocks.append(title + "\n" + (_aligned(lines) if row.status == "ok" else ""))
    return "\n".join(blocks)


def number(value: float) -> str:
    """Four decimals, fewer before large numbers."""
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
