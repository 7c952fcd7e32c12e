"""Latent vectors of molecules, and the files that they go to."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from molaugerino.errors import UserError
from molaugerino.predict.entries import Entry, beside
from molaugerino.predict.routes import Prepared
from molaugerino.predict.smiles import Status

FORMS = (".csv", ".parquet", ".npz")
LONGEST = 1000  # characters of a text in .npz, whose texts are all as long as the longest


class Embedded(NamedTuple):
    """One molecule: as given, canonical SMILES, status, reason, columns of its file, and its vector (width,)."""

    input: str
    smiles: str
    status: Status
    reason: str
    columns: Mapping[str, str]
    vector: np.ndarray


@dataclass(frozen=True)
class Embeddings:
    """Latent vectors, one per molecule, in the order of the input.

    Attributes:
        input: as given.
        smiles: canonical SMILES, '' where the line was refused, or nothing is known of bonds.
        status: "ok", or why there is no vector.
        reason: the same in words; where ok, what to know about the molecule.
        columns: of the file that each came from.
        vectors: (molecules, width) float32, the last hidden layer; NaN where `status` is not ok.
    """

    input: tuple[str, ...]
    smiles: tuple[str, ...]
    status: tuple[Status, ...]
    reason: tuple[str, ...]
    columns: tuple[Mapping[str, str], ...]
    vectors: Float[np.ndarray, "molecules width"]

    def __len__(self) -> int:
        return len(self.input)

    @property
    def titles(self) -> list[str]:
        """h0, h1, ...: what the components are called in a table."""
        return [f"h{k}" for k in range(self.vectors.shape[1])]

    @property
    def texts(self) -> dict[str, list[str]]:
        """The columns beside the vectors: the input, those of its file, and the rest."""
        after: dict[str, list[str]] = {"smiles": [*self.smiles], "status": [*self.status], "reason": [*self.reason]}
        own = {"input", *after, *self.titles}
        kept = list(dict.fromkeys(c for columns in self.columns for c in columns))
        return {
            "input": list(self.input),
            **{beside(name, own): [columns.get(name, "") for columns in self.columns] for name in kept},
            **after,
        }


def rows_of(chunk: Sequence[tuple[Entry, Prepared]], hidden: Float[np.ndarray, "ok width"]) -> Iterator[Embedded]:
    """The rows of some molecules, from the vectors of those of them that got a geometry."""
    vectors = iter(hidden)
    for entry, made in chunk:
        status, reason = made.status, made.reason or made.note
        vector = next(vectors) if status == "ok" else np.full(hidden.shape[1], np.nan, np.float32)
        if status == "ok" and not np.isfinite(vector).all():
            status, reason = "bad_geometry", "the model gave no finite number for this geometry"
        yield Embedded(entry.text, made.smiles, status, reason, entry.columns, vector)


def gathered(rows: Iterable[Embedded], width: int) -> Embeddings:
    """The molecules as they came, together; `width` is that of a vector, should there be none."""
    fields = tuple(zip(*rows, strict=True)) or ((),) * len(Embedded._fields)
    *texts, vectors = fields
    return Embeddings(*texts, vectors=np.array(vectors, np.float32).reshape(-1, width))


def check_form(path: Path) -> None:
    """Raise for a suffix that is not written, or one whose package is missing."""
    if path.suffix.lower() not in FORMS:
        raise UserError(f"--out writes {', '.join(FORMS)}, got {path}; name the file so")
    if path.suffix.lower() == ".parquet":
        from molaugerino.predict.outputs import need_parquet

        need_parquet()


def render(found: Embeddings, suffix: str) -> bytes:
    """A file of them: columns of text and h0, h1, ... in .csv and .parquet.

    In .npz five arrays without pickled objects: input, smiles, status, reason, whose texts end after `LONGEST`
    characters, and h (molecules, width).
    """
    return {".csv": _csv, ".parquet": _parquet, ".npz": _npz}[suffix.lower()](found)


def _csv(found: Embeddings) -> bytes:
    out, texts = io.StringIO(), found.texts
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*texts, *found.titles])
    for *cells, vector in zip(*texts.values(), found.vectors, strict=True):
        writer.writerow([*cells, *(f"{value:.9g}" for value in vector)])
    return out.getvalue().encode()


def _parquet(found: Embeddings) -> bytes:
    import pyarrow
    import pyarrow.parquet

    columns = {name: pyarrow.array(cells, pyarrow.string()) for name, cells in found.texts.items()}
    columns |= {title: pyarrow.array(found.vectors[:, k]) for k, title in enumerate(found.titles)}
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), out)
    return out.getvalue()


def _npz(found: Embeddings) -> bytes:
    arrays: dict[str, Any] = {
        name: np.array([cell[:LONGEST] for cell in getattr(found, name)], np.str_)
        for name in ("input", "smiles", "status", "reason")
    }
    out = io.BytesIO()
    np.savez_compressed(out, **arrays, h=found.vectors)
    return out.getvalue()
