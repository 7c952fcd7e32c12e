"""Intervals per channel and geometry route, from the answers to molecules that trained nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from torch import Tensor

from molaugerino.uncertainty.answers import Answers
from molaugerino.uncertainty.conformal import FEWEST, Interval
from molaugerino.uncertainty.domain import Domain
from molaugerino.uncertainty.latent import Latent

SIGNALS = ("one", "latent distance", "orientation variance", "isomer variance", "conformer variance")


class Spread(NamedTuple):
    """Standard deviations (molecules, channels) over the isomers and the conformers that a prediction is made of."""

    isomer_sd: np.ndarray
    conformer_sd: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """What travels with a model beside its tensors.

    Attributes:
        latent: distance from the training molecules.
        domain: what a molecule of a known kind is.
        routes: by geometry route, one interval per channel, None where labels are too few.
    """

    latent: Latent
    domain: Domain
    routes: dict[str, tuple[Interval | None, ...]]

    def signals(self, answers: Answers, spread: Spread | None = None) -> np.ndarray:
        """(molecules, channels, signals): what tells that a prediction may be far off, see `SIGNALS`."""
        orientation = answers.orientation_sd.double().numpy() ** 2
        none = np.zeros_like(orientation)
        distance = self.latent.distance(answers.hidden).double().numpy()
        isomers, conformers = (none, none) if spread is None else (sd**2 for sd in spread)
        return np.stack([none + 1, none + distance[:, None], orientation, isomers, conformers], -1)

    def with_route(self, route: str, answers: Answers, labels: Tensor, spread: Spread | None = None) -> Calibration:
        """Calibrated for one more way to geometries.

        Args:
            route: its name.
            answers: to molecules that trained nothing, at such geometries.
            labels: (molecules, channels), NaN without a label.
            spread: as `predict` finds it.
        """
        signals, errors = self.signals(answers, spread), (answers.values - labels).double().numpy()
        intervals = []
        for channel in range(errors.shape[1]):
            known = np.isfinite(errors[:, channel])
            enough = known.sum() >= FEWEST
            intervals.append(Interval.fit(errors[known, channel], signals[known, channel]) if enough else None)
        return replace(self, routes=self.routes | {route: tuple(intervals)})

    def half_widths(self, route: str, answers: Answers, spread: Spread | None, level: float) -> np.ndarray:
        """(molecules, channels) half of the intervals' widths, NaN where the route or channel has none."""
        return self._of_intervals(route, answers, spread, lambda interval, s: interval.half_width(s, level))

    def deviations(self, route: str, answers: Answers, spread: Spread | None = None) -> np.ndarray:
        """(molecules, channels) standard deviations of the errors, NaN where the route or channel has no interval."""
        return self._of_intervals(route, answers, spread, Interval.deviation)

    def _of_intervals(
        self,
        route: str,
        answers: Answers,
        spread: Spread | None,
        width: Callable[[Interval, np.ndarray], np.ndarray],
    ) -> np.ndarray:
        signals = self.signals(answers, spread)
        widths = np.full(signals.shape[:2], np.nan)
        for channel, interval in enumerate(self.routes.get(route, ())):
            if interval is not None:
                widths[:, channel] = width(interval, signals[:, channel])
        return widths


class Coverage(NamedTuple):
    """How often intervals held the label, of one channel on one route.

    Attributes:
        level: how often they should.
        found: how often they did.
        standard_error: of that, for as many calibration and test molecules.
        width: mean width, in the unit of the target.
        calibrated: molecules.
        tested: molecules.
    """

    level: float
    found: float
    standard_error: float
    width: float
    calibrated: int
    tested: int


def coverage(
    calibration: Calibration, route: str, answers: Answers, labels: Tensor, level: float, spread: Spread | None = None
) -> list[Coverage | None]:
    """Per channel; None where there is no interval or no label."""
    half = calibration.half_widths(route, answers, spread, level)
    errors = (answers.values - labels).abs().double().numpy()
    found: list[Coverage | None] = []
    for channel, interval in enumerate(calibration.routes.get(route, (None,) * errors.shape[1])):
        known = np.isfinite(errors[:, channel])
        if interval is None or not known.any():
            found.append(None)
            continue
        held = errors[known, channel] <= half[known, channel]
        n, m = len(interval.scores), int(known.sum())
        error = float(np.sqrt(level * (1 - level) * (1 / n + 1 / m)))
        found.append(Coverage(level, float(held.mean()), error, float(2 * half[known, channel].mean()), n, m))
    return found
