"""Whether one contestant is better than another, from errors paired over splits."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

LEVEL = 0.05  # of all comparisons of a world together


@dataclass(frozen=True)
class Place:
    """Where a contestant stands in a world.

    Attributes:
        name: of the contestant.
        mean: geometric mean of its errors over the splits.
        rank: 1 for the lowest mean.
        letters: contestants that share one cannot be told apart; empty where there are too few splits to tell.
    """

    name: str
    mean: float
    rank: int
    letters: str


def ranking(errors: Mapping[str, Sequence[float]], level: float = LEVEL) -> list[Place]:
    """Contestants by their error, with letters of Tukey's honestly significant difference, splits as blocks.

        log error_ij = contestant_i + split_j + noise,   HSD = q(1 - level; k, (k - 1)(n - 1)) sqrt(MS / n)

    with k contestants, n splits, q the studentised range and MS the mean square of the noise. Means nearer than HSD get
    a common letter. The level is that of all pairs together.

    Args:
        errors: of every contestant, above 0, one per split, in the same order.
        level: at which a difference counts.

    Source: J. W. Tukey (1949); the letters after H.-P. Piepho, J. Comput. Graph. Stat. 13, 456 (2004).
    """
    if not errors:
        return []
    names = sorted(errors, key=lambda name: float(np.mean(np.log(errors[name]))))
    table = np.log(np.array([errors[name] for name in names], dtype=np.float64))
    k, means = len(table), table.mean(1)
    reach = _reach(table, level)
    letters = [""] * k
    if reach is not None:
        groups = [(i, int(np.flatnonzero(means - means[i] <= reach)[-1])) for i in range(k)]
        widest = [g for i, g in enumerate(groups) if i == 0 or g[1] > groups[i - 1][1]]
        for letter, (first, last) in zip(string.ascii_lowercase, widest, strict=False):
            for i in range(first, last + 1):
                letters[i] += letter
    return [Place(name, math.exp(m), i + 1, letters[i]) for i, (name, m) in enumerate(zip(names, means, strict=True))]


def _reach(table: np.ndarray, level: float) -> float | None:
    """The honestly significant difference of rows of a table, None where nothing is left to estimate noise from."""
    k, n = table.shape
    if k < 2 or n < 2:
        return None
    noise = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    freedom = (k - 1) * (n - 1)
    square = float(np.square(noise).sum()) / freedom
    return _quantile(level, k, freedom) * math.sqrt(square / n)


@lru_cache
def _quantile(level: float, k: int, freedom: int) -> float:
    return float(stats.studentized_range.ppf(1 - level, k, freedom))  # takes a tenth of a second


@dataclass(frozen=True)
class Ratio:
    """Ratio of two contestants' errors, its 95 % interval, and the splits it is from."""

    value: float
    low: float
    high: float
    splits: int

    def __str__(self) -> str:
        interval = f" ({self.low:.3f} to {self.high:.3f})" if self.splits > 1 else ""
        return f"{self.value:.3f}{interval}"


def ratio(errors: Sequence[float], others: Sequence[float]) -> Ratio:
    """exp of the mean difference of logarithms, paired over splits, with the interval of Student's t.

    Of one split, no interval: low and high are the value.
    """
    a, b = np.log(np.asarray(errors, dtype=np.float64)), np.log(np.asarray(others, dtype=np.float64))
    value = math.exp(float((a - b).mean()))
    if len(a) < 2:
        return Ratio(value, value, value, len(a))
    reach = math.exp(float(stats.t.ppf(0.975, len(a) - 1) * stats.sem(a - b)))
    return Ratio(value, value / reach, value * reach, len(a))
