"""How far a run is, by steps or by the clock, and the learning rates there."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

LAW_SETTLES = 0.7  # share of the run after which the law's learning rate falls to zero


@dataclass
class Schedule:
    """progress = step / steps, or time spent / seconds; learning rates follow the progress.

    Attributes:
        steps: length of the run in weight updates, or None.
        seconds: length of the run in wall time, or None.
        warmup: share of the run in which the weights' learning rate rises linearly.
        started: when the run began on the monotonic clock (earlier for a resumed run).
        spent: seconds of training at the start of this step.
    """

    steps: int | None
    seconds: float | None
    warmup: float
    started: float = field(default_factory=time.monotonic)
    spent: float = 0.0

    def elapsed(self) -> float:
        """Seconds of training so far."""
        return time.monotonic() - self.started

    def progress(self, step: int) -> float:
        """0 at the start, 1 at the end."""
        if self.steps is not None:
            return step / self.steps
        return self.spent / self.seconds if self.seconds is not None else 0.0

    def weights(self, step: int) -> float:
        """Linear warm-up, then a half cosine to zero."""
        p = self.progress(step)
        if p < self.warmup:
            return (p + 1e-3) / (self.warmup + 1e-3)
        return 0.5 * (1 + math.cos(math.pi * min((p - self.warmup) / (1 - self.warmup), 1.0)))

    def law(self, step: int) -> float:
        """Zero during the warm-up, then one, then a quadratic fall, in which the law averages over its swings."""
        p = self.progress(step)
        return float(p >= self.warmup) * min(1.0, max(0.0, (1 - p) / (1 - LAW_SETTLES))) ** 2
