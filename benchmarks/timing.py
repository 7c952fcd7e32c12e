"""Timing side by side: interleaved repetitions within one run, and ratios with an interval."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

SEED = 0


def interleaved(
    jobs: dict[str, Callable[[], None]], repetitions: int, settle: Callable[[], None] = lambda: None
) -> dict[str, np.ndarray]:
    """Seconds of each job, repetition by repetition, the order drawn anew each time.

    Args:
        jobs: what to time.
        repetitions: how often, after five for warming up.
        settle: waits for a device to finish, before and after each job.
    """
    rng = np.random.default_rng(SEED)
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for repetition in range(repetitions + 5):
        for name in rng.permutation(list(jobs)):
            settle()
            start = time.perf_counter()
            jobs[name]()
            settle()
            if repetition >= 5:  # warm-up
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def ratio(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Ratio of the medians of a and b, with a 95 % bootstrap interval over repetitions."""
    rng = np.random.default_rng(SEED)
    rows = rng.integers(len(a), size=(4000, len(a)))
    boots = np.median(a[rows], 1) / np.median(b[rows], 1)
    low, high = np.quantile(boots, [0.025, 0.975])
    return {"ratio": float(np.median(a) / np.median(b)), "low": float(low), "high": float(high)}
