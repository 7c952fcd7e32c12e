"""Which molecules train the weights, which the law, and which are kept for checking."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from molaugerino.errors import UserError
from molaugerino.files import write_atomic

SMALLEST = 40


@dataclass(frozen=True)
class Split:
    """Row numbers of a data set, disjoint and sorted.

    Attributes:
        train: train the weights.
        budget: part of the training data that never updates weights; the law's budget is measured on it.
        valid: choose when to stop.
        test: reported, and used for nothing else.
    """

    train: np.ndarray
    budget: np.ndarray
    valid: np.ndarray
    test: np.ndarray

    @property
    def checksum(self) -> str:
        parts = (self.train, self.budget, self.valid, self.test)
        return hashlib.sha256(b"|".join(part.astype("<i8").tobytes() for part in parts)).hexdigest()


def random_split(n: int, seed: int = 0) -> Split:
    """At most 2,000 test, 1,000 validation and 1,000 budget molecules, each at most a tenth or a twentieth.

    Raises:
        UserError: for fewer than 40 molecules.
    """
    if n < SMALLEST:
        raise UserError(f"a data set needs at least {SMALLEST} molecules to be split, got {n}")
    test, valid, budget = min(2000, n // 10), min(1000, n // 20), min(1000, n // 20)
    order = np.random.default_rng(seed).permutation(n)
    pieces = np.split(order, np.cumsum([test, valid, budget]))
    test_rows, valid_rows, budget_rows, train_rows = (np.sort(piece) for piece in pieces)
    return Split(train_rows, budget_rows, valid_rows, test_rows)


def save_split(split: Split, path: Path) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, train=split.train, budget=split.budget, valid=split.valid, test=split.test)
    write_atomic(path, content.getvalue())


def load_split(path: Path, n: int) -> Split:
    """Read a split of n molecules back, checked to be disjoint and in range."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            split = Split(*(archive[key].astype(np.int64) for key in ("train", "budget", "valid", "test")))
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, KeyError, EOFError, RuntimeError) as error:
        raise UserError(f"{path} is not a readable split ({error}); train again to make one") from None
    rows = np.concatenate([split.train, split.budget, split.valid, split.test])
    if len(np.unique(rows)) != len(rows) or rows.min(initial=0) < 0 or rows.max(initial=0) >= n:
        raise UserError(f"{path} does not split {n} molecules: rows repeat or lie outside 0..{n - 1}")
    return split
