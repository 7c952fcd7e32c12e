"""Whether one contestant is better than another, from errors paired over splits."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

LEVEL = 0.05  # of all comparisons of a world together
LEAST = 3  # splits; of two, the t of a single pair must be above 12.7


def ranking(errors: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """Contestants, the lowest error first, with letters from t tests of all pairs, paired over splits, in Holm's order.

        p_ij of log error_i - log error_j;   the m-th smallest of them counts while p <= 0.05 / (pairs - m + 1)

    Who shares a letter cannot be told apart; there are none of less than three splits. The level is that of all pairs
    together. Every pair has a variance of its own: with one for all, as in Tukey's range
    test, an erratic contestant blurs the others and seems to differ itself.

    Args:
        errors: of every contestant, above 0, one per split, in the same order.

    Source: S. Holm, Scand. J. Stat. 6, 65 (1979); letters by insertion and absorption, H.-P. Piepho, J. Comput. Graph.
    Stat. 13, 456 (2004).
    """
    logs = {name: np.log(np.asarray(own, dtype=np.float64)) for name, own in errors.items()}
    names = sorted(logs, key=lambda name: float(logs[name].mean()))
    if len(names) < 2 or len(logs[names[0]]) < LEAST:
        return dict.fromkeys(names, "")
    tests = sorted((_paired(logs[a] - logs[b]), a, b) for a, b in combinations(names, 2))
    groups = [set(names)]
    for m, (p, a, b) in enumerate(tests):
        if not p <= LEVEL / (len(tests) - m):
            break
        groups = [part for g in groups for part in ([g - {a}, g - {b}] if {a, b} <= g else [g])]
        groups = [g for k, g in enumerate(groups) if not any(g < other for other in groups) and g not in groups[:k]]
    groups.sort(key=lambda g: [name not in g for name in names])
    return {n: "".join(x for x, g in zip(string.ascii_letters, groups, strict=False) if n in g) for n in names}


def _paired(difference: np.ndarray) -> float:
    """The p-value of the paired t test; of differences that are all the same, 0, or 1 where they are none."""
    mean, error = abs(float(difference.mean())), float(stats.sem(difference))
    return 2 * float(stats.t.sf(mean / error, len(difference) - 1)) if error else float(mean == 0)


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
