"""What predict returns: a row per molecule, with names, units and methods."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, overload

from molaugerino.predict.entries import beside
from molaugerino.predict.smiles import Status

DomainColumn = Literal["inside", "edge", "outside", ""]
DIGITS = 6  # after the point, of numbers in tables


@dataclass(frozen=True)
class Row:
    """What became of one molecule. The numbers come one per channel of the model, NaN where there is none.

    Attributes:
        input: as given.
        smiles: canonical SMILES, '' where the line was refused, or nothing is known of bonds.
        status: "ok", or why there is no number.
        reason: the same in words; where ok, what to know about the molecule, '' where there is nothing.
        domain: "inside" what the model knows, at its "edge", or "outside"; '' without a calibration or a number.
        values: predictions.
        lo, hi: ends of the interval that holds the label with the table's level.
        orientation_sd: standard deviation over orientations.
        isomer_sd: over the isomers of a molecule that leaves its configuration open.
        conformer_sd: over conformers.
        isomers: how many were made.
        columns: of the file that it came from.
    """

    input: str
    smiles: str
    status: Status
    reason: str
    domain: DomainColumn
    values: tuple[float, ...]
    lo: tuple[float, ...]
    hi: tuple[float, ...]
    orientation_sd: tuple[float, ...]
    isomer_sd: tuple[float, ...]
    conformer_sd: tuple[float, ...]
    isomers: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """A predicted channel: name, unit, method, its place in the rows' tuples, and digits after the point in tables."""

    name: str
    unit: str
    method: str
    channel: int
    digits: int = DIGITS

    def titled(self, suffix: str = "") -> str:
        """gap[eV], or gap_lo[eV]."""
        return f"{self.name}{suffix}[{self.unit}]"


def digits_of(spread: float) -> int:
    """Digits after the point: 6, and as many more as labels of a small spread need."""
    return max(DIGITS, 3 - math.floor(math.log10(spread))) if spread > 0 else DIGITS


PARTS = {"": "values", "_lo": "lo", "_hi": "hi", "_orientation_sd": "orientation_sd"}
OWN = ("input", "smiles", "status", "reason", "domain")  # columns of every table
SPREADS = {"_isomer_sd": "isomer_sd", "_conformer_sd": "conformer_sd"}


@dataclass(frozen=True)
class Layout:
    """What a table of predictions has in its columns.

    Attributes:
        targets: what is predicted.
        level: of the intervals.
        spreads: suffixes of the spreads that were asked for, of `SPREADS`.
    """

    targets: tuple[Column, ...]
    level: float
    spreads: tuple[str, ...] = ()

    @cached_property
    def numbers(self) -> dict[str, tuple[str, int]]:
        """Title of every column of numbers: the rows' field it comes from, and the channel."""
        parts = PARTS | {suffix: SPREADS[suffix] for suffix in self.spreads}
        return {t.titled(suffix): (part, t.channel) for t in self.targets for suffix, part in parts.items()}

    @cached_property
    def methods(self) -> dict[str, str]:
        """Level of theory of every target, by the title of its column."""
        return {t.titled(): t.method for t in self.targets}

    @cached_property
    def _own(self) -> frozenset[str]:
        return frozenset((*OWN, *self.numbers))

    @cached_property
    def _digits(self) -> dict[int, int]:
        return {target.channel: target.digits for target in self.targets}

    def given(self, columns: Mapping[str, str]) -> dict[str, str]:
        """Cells of the input's file; a column that is called like one here is called "... (given)"."""
        return {beside(name, self._own): cell for name, cell in columns.items()}

    def kept(self, rows: Iterable[Row]) -> list[str]:
        """Titles of the columns of the input's file."""
        return list(dict.fromkeys(title for row in rows for title in self.given(row.columns)))

    def header(self, kept: Sequence[str]) -> list[str]:
        """Titles of all columns, those of the input's file among them."""
        return ["input", *kept, "smiles", *self.numbers, "domain", "status", "reason"]

    def record(self, row: Row, kept: Sequence[str]) -> dict[str, Any]:
        """A row under `header`, numbers to 6 decimals, more in large units; None where there is none."""
        given = self.given(row.columns)
        found: dict[str, Any] = {"input": row.input, **{title: given.get(title, "") for title in kept}}
        found["smiles"] = row.smiles
        for title, (part, channel) in self.numbers.items():
            value = getattr(row, part)[channel]
            found[title] = round(value, self._digits[channel]) if math.isfinite(value) else None
        return found | {"domain": row.domain, "status": row.status, "reason": row.reason}


@dataclass(frozen=True)
class Table:
    """Rows in the order of the input, one per molecule, and their layout."""

    rows: tuple[Row, ...]
    layout: Layout

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @overload
    def __getitem__(self, k: int) -> Row: ...

    @overload
    def __getitem__(self, k: slice) -> Sequence[Row]: ...

    def __getitem__(self, k: int | slice) -> Row | Sequence[Row]:
        return self.rows[k]

    @property
    def kept(self) -> list[str]:
        """Columns of the input's file that the table has too."""
        return self.layout.kept(self.rows)

    @property
    def header(self) -> list[str]:
        return self.layout.header(self.kept)

    def records(self) -> list[dict[str, Any]]:
        """One dictionary per row under `header`, numbers as `Layout.record` has them; None where there is none."""
        kept = self.kept
        return [self.layout.record(row, kept) for row in self.rows]

    def to_pandas(self) -> Any:
        """A DataFrame under `header`, NaN where there is no number; `.attrs` holds methods and level.

        Needs pandas.
        """
        import pandas

        frame = pandas.DataFrame(self.records(), columns=self.header)
        for title in self.layout.numbers:
            frame[title] = frame[title].astype(float)
        frame.attrs = {"methods": self.layout.methods, "level": self.layout.level}
        return frame
