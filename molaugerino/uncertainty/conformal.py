"""Intervals that hold the label as often as they say, from the errors on molecules that trained nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from molaugerino.errors import UserError

FEWEST = 40  # calibration molecules
SPLIT = 500  # calibration molecules from which on one half sets the scale and the other calibrates
FOLDS = 10  # of the cross-conformal interval, where there are fewer
SMALLEST = 1e-200  # above zero, and below any error squared in any unit


@dataclass(frozen=True)
class Interval:
    """prediction +- the ceil((n + 1) level)-th smallest of  score_i sigma_k(i)(x),

        sigma_k(x)^2 = sum_s c_ks signal_s(x)

    score_i = |error_i| / sigma_k(i)(x_i) of calibration molecule i, where the scale sigma_k was fitted to the molecules
    outside of its fold k(i). With one fold (split-conformal) the scale is fitted to other molecules altogether, and the
    interval holds the label with probability `level` at least, whatever the network, if the new molecule is drawn like
    the calibration molecules. With several (cross-conformal, CV+ of the scale; the network is one and the same, trained
    on none of them) every molecule serves both purposes; the guarantee is then 2 level - 1, and near `level` in
    practice.

    Attributes:
        coefficients: (folds, signals), not negative.
        scores: (n,) in rising order within a fold.
        fold: (n,) to which each score belongs.

    Source: Lei, G'Sell, Rinaldo, Tibshirani, Wasserman, Distribution-free predictive inference for regression (2018),
    arXiv:1604.04173; Barber, Candes, Ramdas, Tibshirani, Predictive inference with the jackknife+ (2021),
    arXiv:1905.02928.
    """

    coefficients: np.ndarray
    scores: np.ndarray
    fold: np.ndarray

    @classmethod
    def fit(cls, errors: np.ndarray, signals: np.ndarray, seed: int = 0) -> Interval:
        """Calibrate on the errors of n molecules.

        Args:
            errors: (n,) prediction minus label, finite.
            signals: (n, signals) not negative, the first of them 1.
            seed: of the folds.

        Raises:
            UserError: for fewer molecules than `FEWEST`.
        """
        n = len(errors)
        if n < FEWEST:
            raise UserError(f"an interval needs at least {FEWEST} calibration molecules, got {n}")
        size, order = np.abs(errors), np.random.default_rng(seed).permutation(n)
        parts = [order[n // 2 :]] if n >= SPLIT else np.array_split(order, FOLDS)
        coefficients, scores, fold = [], [], []
        for k, part in enumerate(parts):
            others = np.setdiff1d(order, part)
            found = fit_scale(size[others], signals[others])
            coefficients.append(found)
            scores.append(np.sort(size[part] / scale(signals[part], found)))
            fold.append(np.full(len(part), k))
        return cls(np.stack(coefficients), np.concatenate(scores), np.concatenate(fold))

    def half_width(self, signals: np.ndarray, level: float) -> np.ndarray:
        """(molecules,) half of the interval's width.

        Args:
            signals: (molecules, signals).
            level: 0 < level < 1; infinite where the calibration molecules are too few for it.
        """
        rank = math.ceil((len(self.scores) + 1) * level)
        if rank > len(self.scores):
            return np.full(len(signals), np.inf)
        sigma = np.stack([scale(signals, c) for c in self.coefficients], 1)
        if len(self.coefficients) == 1:
            return sigma[:, 0] * self.scores[rank - 1]
        return np.partition(sigma[:, self.fold] * self.scores, rank - 1, axis=1)[:, rank - 1]

    def deviation(self, signals: np.ndarray) -> np.ndarray:
        """(molecules,) sqrt(mean_i (score_i sigma_k(i)(x))^2), the standard deviation of the error about 0.

        The second moment of the distribution whose quantiles are the half-widths: errors of the calibration molecules,
        each carried over to a molecule by the ratio of their scales.

        Args:
            signals: (molecules, signals).
        """
        weight = np.bincount(self.fold, self.scores**2, len(self.coefficients)) / len(self.scores)
        return np.sqrt(np.stack([scale(signals, c) ** 2 for c in self.coefficients], 1) @ weight)

    def sigma(self, signals: np.ndarray) -> np.ndarray:
        """(molecules,) the scale, averaged over folds: it ranks predictions by how far they may be off."""
        return np.mean([scale(signals, c) for c in self.coefficients], axis=0)


def scale(signals: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """sigma = sqrt(sum_s c_s signal_s), above zero."""
    return np.sqrt(np.maximum(signals @ coefficients, SMALLEST))


def fit_scale(size: np.ndarray, signals: np.ndarray) -> np.ndarray:
    """(signals,) the c >= 0 under which errors of Laplace's law with scale sigma are likeliest.

        c = argmin sum_i log sigma_i + |error_i| / sigma_i

    Args:
        size: (n,) absolute errors.
        signals: (n, signals) not negative, the first of them 1; one that is always 0 gets c = 0.
    """
    unit = np.maximum(size.mean(), SMALLEST)
    typical = signals.mean(0)
    used = typical > 0
    x, r = signals[:, used] / typical[used], size / unit

    def loss(logs: np.ndarray) -> tuple[float, np.ndarray]:
        c = np.exp(logs)
        square = x @ c
        sigma = np.sqrt(square)
        slope = (0.5 / square - 0.5 * r / (square * sigma)) @ x * c
        return float(np.mean(np.log(sigma) + r / sigma)), slope / len(r)

    start = np.full(used.sum(), -math.log(used.sum()))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(-16, 8)] * len(start)).x
    coefficients = np.zeros(signals.shape[1])
    coefficients[used] = np.exp(found) * unit**2 / typical[used]
    return coefficients
