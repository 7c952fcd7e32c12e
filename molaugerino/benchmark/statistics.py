"""Whether one contestant is better than another, from errors paired over splits."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np
from scipy import stats

LEVEL = 0.05  # of all comparisons of a world together
LEAST = 3  # splits; of two, the t of a single pair must be above 12.7

T = TypeVar("T")


def ranking(errors: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """Contestants, the lowest error first, with letters from t tests of all pairs, paired over splits, in Holm's order.

        p_ij of log error_i - log error_j;   the m-th smallest of them counts while p <= 0.05 / (pairs - m + 1)

    Who shares a letter cannot be told apart; there are none of less than three splits. The level is that of all pairs
    together. Every pair has a variance of its own: with one for all, as in Tukey's range test, an erratic contestant
    blurs the others and seems to differ itself.

    Args:
        errors: of every contestant, above 0, one per split, in the same order.

    Source: S. Holm, Scand. J. Stat. 6, 65 (1979); letters by insertion and absorption, H.-P. Piepho, J. Comput. Graph.
    Stat. 13, 456 (2004).
    """
    logs = {name: np.log(np.asarray(own, dtype=np.float64)) for name, own in errors.items()}
    names = sorted(logs, key=lambda name: float(logs[name].mean()))
    if len(names) < 2 or len(logs[names[0]]) < LEAST:
        return dict.fromkeys(names, "")
    groups = [set(names)]
    for a, b in certain({(a, b): _paired(logs[a] - logs[b]) for a, b in combinations(names, 2)}):
        groups = [part for g in groups for part in ([g - {a}, g - {b}] if {a, b} <= g else [g])]
        groups = [g for k, g in enumerate(groups) if not any(g < other for other in groups) and g not in groups[:k]]
    groups.sort(key=lambda g: [name not in g for name in names])
    return {n: "".join(x for x, g in zip(string.ascii_letters, groups, strict=False) if n in g) for n in names}


def certain(found: Mapping[T, float]) -> list[T]:
    """Of tests by their p-values, those that remain if all are to be right together, the surest first (Holm)."""
    kept: list[T] = []
    for name in sorted(found, key=lambda name: found[name]):
        if not found[name] <= LEVEL / (len(found) - len(kept)):
            break
        kept.append(name)
    return kept


def _paired(difference: np.ndarray) -> float:
    """The p-value of the paired t test; of differences that are all the same, 0, or 1 where they are none."""
    mean, error = abs(float(difference.mean())), float(stats.sem(difference))
    return 2 * float(stats.t.sf(mean / error, len(difference) - 1)) if error else float(mean == 0)


@dataclass(frozen=True)
class Ratio:
    """Of two contestants' errors.

    Attributes:
        value: the ratio.
        low: end of its 95 % interval.
        high: the other.
        splits: that it is from.
        p: of the paired t test; 1 of a single split.
        bound: the first of both did not err at all, so that the ratio is at most the value, and has no interval.
    """

    value: float
    low: float
    high: float
    splits: int
    p: float
    bound: bool = False

    def __str__(self) -> str:
        if self.bound:
            return f"at most {self.value:.3f}"
        interval = f" ({self.low:.3f} to {self.high:.3f})" if self.splits > 1 else ""
        return f"{self.value:.3f}{interval}"


def ratio(errors: Sequence[float], others: Sequence[float]) -> Ratio:
    """exp of the mean difference of logarithms, paired over splits, with the interval of Student's t.

    Of one split, no interval: low and high are the value.
    """
    a, b = np.log(np.asarray(errors, dtype=np.float64)), np.log(np.asarray(others, dtype=np.float64))
    value = math.exp(float((a - b).mean()))
    if len(a) < 2:
        return Ratio(value, value, value, len(a), p=1.0)
    reach = math.exp(float(stats.t.ppf(0.975, len(a) - 1) * stats.sem(a - b)))
    return Ratio(value, value / reach, value * reach, len(a), _paired(a - b))
