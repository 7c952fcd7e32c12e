"""Intervals: coverage on laws that are known, the scale that made the data, and too little data."""

from __future__ import annotations

import numpy as np
import pytest

from molaugerino.errors import UserError
from molaugerino.uncertainty.conformal import FEWEST, SPLIT, Interval, fit_scale, scale


def drawn(n, seed):
    """Errors whose spread follows the second signal, and signals; the third says nothing, the fourth is always 0."""
    rng = np.random.default_rng(seed)
    signals = np.stack([np.ones(n), rng.exponential(1.0, n), rng.exponential(1.0, n), np.zeros(n)], 1)
    return rng.laplace(0, np.sqrt(0.04 + signals[:, 1])), signals


def test_the_scale_that_made_the_errors_is_found():
    errors, signals = drawn(40_000, 0)
    found = fit_scale(np.abs(errors), signals)
    assert found[0] == pytest.approx(0.04, rel=0.15)
    assert found[1] == pytest.approx(1.0, rel=0.05)
    assert found[2] < 0.01
    assert found[3] == 0


@pytest.mark.parametrize("n", [FEWEST, 270, SPLIT, 2000])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_coverage_over_many_draws(n, level):
    """Mean over draws of calibration molecules: at least the level, and no more than what a finite n adds."""
    test_errors, test_signals = drawn(2000, 99)
    held = [
        np.mean(np.abs(test_errors) <= Interval.fit(*drawn(n, 1000 + k)).half_width(test_signals, level))
        for k in range(40)
    ]
    calibrating = n // 2 if n >= SPLIT else n
    error = np.sqrt(level * (1 - level) * (1 / 2000 + 1 / (40 * calibrating)))
    assert np.mean(held) == pytest.approx(level + 0.5 / calibrating, abs=4 * error + 0.01)


@pytest.mark.parametrize("n", [FEWEST, 270, SPLIT, 2000])
def test_deviations_over_many_draws(n):
    """Errors over deviations have the mean square 1, whatever their law."""
    test_errors, test_signals = drawn(2000, 99)
    found = [np.mean((test_errors / Interval.fit(*drawn(n, 1000 + k)).deviation(test_signals)) ** 2) for k in range(40)]
    assert np.mean(found) == pytest.approx(1, abs=0.15)


def test_deviations_are_those_of_each_molecule():
    errors, signals = drawn(40_000, 0)
    _, others = drawn(1000, 7)
    expected = np.sqrt(2 * (0.04 + others[:, 1]))  # of Laplace's law, sqrt(2) scales
    np.testing.assert_allclose(Interval.fit(errors, signals).deviation(others), expected, rtol=0.1)


def test_a_cross_deviation_is_the_second_moment_of_all_folds():
    errors, signals = drawn(90, 4)
    interval = Interval.fit(errors, signals)
    wanted = [
        np.sqrt(
            np.mean(
                [
                    (s * scale(row[None], interval.coefficients[k])[0]) ** 2
                    for s, k in zip(interval.scores, interval.fold, strict=True)
                ]
            )
        )
        for row in signals[:5]
    ]
    np.testing.assert_allclose(interval.deviation(signals[:5]), wanted)


def test_wide_where_the_signal_is_large_and_so_narrower_in_all():
    errors, signals = drawn(4000, 1)
    test_errors, test_signals = drawn(4000, 2)
    half = Interval.fit(errors, signals).half_width(test_signals, 0.9)
    flat = Interval.fit(errors, signals[:, :1]).half_width(test_signals[:, :1], 0.9)
    far = test_signals[:, 1] > 2
    assert half[far].mean() > 2 * half[~far].mean()
    for group in (far, ~far):
        assert np.mean(np.abs(test_errors[group]) <= half[group]) == pytest.approx(0.9, abs=0.03)
    assert np.mean(np.abs(test_errors[far]) <= flat[far]) < 0.85, "one width for all leaves the hard ones out"
    assert half.mean() < flat.mean()


@pytest.mark.parametrize("n", [100, 600])
def test_intervals_do_not_depend_on_the_unit(n):
    errors, signals = drawn(n, 3)
    usual, small = Interval.fit(errors, signals), Interval.fit(1e-19 * errors, signals)
    assert np.allclose(1e19 * small.half_width(signals[:20], 0.9), usual.half_width(signals[:20], 0.9), rtol=1e-6)


def test_a_split_interval_is_the_quantile_of_the_scores():
    errors, signals = drawn(SPLIT, 3)
    interval = Interval.fit(errors, signals)
    assert len(interval.coefficients) == 1
    order = np.random.default_rng(0).permutation(SPLIT)
    first, second = order[: SPLIT // 2], order[SPLIT // 2 :]
    found = fit_scale(np.abs(errors[first]), signals[first])
    scores = np.sort(np.abs(errors[second]) / scale(signals[second], found))
    expected = scores[int(np.ceil((len(scores) + 1) * 0.9)) - 1] * scale(signals, found)
    np.testing.assert_allclose(interval.half_width(signals, 0.9), expected)


def test_a_cross_interval_is_the_quantile_of_all_folds():
    errors, signals = drawn(90, 4)
    interval = Interval.fit(errors, signals)
    assert len(interval.scores) == 90
    wanted = [
        np.sort(
            [
                s * scale(row[None], interval.coefficients[k])[0]
                for s, k in zip(interval.scores, interval.fold, strict=True)
            ]
        )[int(np.ceil(91 * 0.8)) - 1]
        for row in signals[:5]
    ]
    np.testing.assert_allclose(interval.half_width(signals[:5], 0.8), wanted)


def test_a_level_beyond_the_data_is_infinite():
    interval = Interval.fit(*drawn(FEWEST, 5))
    assert np.isinf(interval.half_width(np.ones((2, 4)), 0.99)).all()


def test_too_few_molecules():
    with pytest.raises(UserError, match=f"at least {FEWEST} calibration molecules, got {FEWEST - 1}"):
        Interval.fit(*drawn(FEWEST - 1, 6))


def test_errors_that_are_all_zero():
    interval = Interval.fit(np.zeros(100), np.ones((100, 1)))
    assert interval.half_width(np.ones((1, 1)), 0.9)[0] == pytest.approx(0, abs=1e-5)
