"""Paired tests of all pairs together, and paired ratios."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from molaugerino.benchmark.statistics import ranking, ratio


def test_two_contestants_are_told_apart_where_the_paired_t_test_tells_them_apart():
    rng = np.random.default_rng(0)
    decided = set()
    for _ in range(60):
        splits = rng.normal(size=6)
        a, b = splits + 0.3 * rng.normal(size=6), splits + rng.uniform(0, 0.8) + 0.3 * rng.normal(size=6)
        places = ranking({"a": np.exp(a).tolist(), "b": np.exp(b).tolist()})
        apart = stats.ttest_rel(a, b).pvalue < 0.05
        assert (places["a"] != places["b"]) == apart
        decided.add(bool(apart))
    assert decided == {True, False}


def test_letters():
    rng = np.random.default_rng(1)

    def near(mean: float) -> list[float]:
        return [mean * float(np.exp(0.02 * rng.normal())) for _ in range(5)]

    places = ranking({"far": near(3.0), "low": near(1.0), "alike": near(1.005), "middle": near(2.0)})
    assert list(places)[2:] == ["middle", "far"]
    assert list(places.values()) == ["a", "a", "b", "c"]


def test_a_chain_shares_letters_two_by_two():
    """Neighbours cannot be told apart, the ends can: a, ab, b."""
    noise = np.array([0.1, -0.1, 0.1, -0.1])
    tables = {"x": np.exp(noise), "y": np.exp(0.15 - noise), "z": np.exp(0.3 + noise)}
    assert list(ranking({k: v.tolist() for k, v in tables.items()}).values()) == ["a", "ab", "b"]


def test_differences_between_splits_are_no_noise():
    splits = np.array([1.0, 10.0, 100.0])
    close = {"a": (splits * [1.0, 1.001, 0.999]).tolist(), "b": (1.1 * splits).tolist()}
    assert list(ranking(close).values()) == ["a", "b"]


@pytest.mark.parametrize("erratic", [1.0, 10.0])
def test_where_nothing_differs_few_are_told_apart(erratic):
    """Be they all alike or two of them erratic, which a variance in common would not stand."""
    rng = np.random.default_rng(2)
    wrong = 0
    for _ in range(400):
        scatter = {name: erratic if name in "de" else 1.0 for name in "abcde"}
        places = ranking({name: np.exp(s * rng.normal(size=4)).tolist() for name, s in scatter.items()})
        wrong += any(letters != "a" for letters in places.values())
    assert 400 * 0.01 < wrong < 400 * 0.09  # the level of all pairs together is 0.05


def test_an_erratic_contestant_blurs_no_others():
    rng = np.random.default_rng(4)
    errors = {"low": [1.0, 1.01, 0.99], "high": [1.5, 1.515, 1.49], "wild": np.exp(rng.normal(size=3)).tolist()}
    letters = {name: set(own) for name, own in ranking(errors).items()}
    assert not letters["low"] & letters["high"]
    assert letters["low"] & letters["wild"]
    assert letters["high"] & letters["wild"]


def test_what_is_alike_in_all_splits_is_not_told_apart():
    same = [1.0, 2.0, 3.0]
    assert ranking({"a": same, "b": same, "c": [2 * x for x in same]}) == {"a": "a", "b": "a", "c": "b"}


def test_one_split_tells_nothing():
    assert ranking({"b": [2.0], "a": [1.0]}) == ranking({"b": [2.0, 3.0], "a": [1.0, 1.5]}) == {"a": "", "b": ""}
    single = ratio([2.0], [1.0])
    assert (single.value, single.low, single.high) == (2.0, 2.0, 2.0)
    assert str(single) == "2.000"


def test_ratio_is_paired():
    rng = np.random.default_rng(3)
    base = np.exp(rng.normal(size=5))
    found = ratio((1.2 * base * np.array([1, 1.001, 0.999, 1, 1])).tolist(), base.tolist())
    assert found.value == pytest.approx(1.2, rel=1e-5)
    assert 0 < found.high - found.low < 0.01
    a, b = np.exp(rng.normal(size=7)), np.exp(rng.normal(size=7))
    found = ratio(a.tolist(), b.tolist())
    difference = np.log(a) - np.log(b)
    reach = stats.t.ppf(0.975, 6) * difference.std(ddof=1) / np.sqrt(7)
    assert np.log([found.low, found.high]) == pytest.approx([difference.mean() - reach, difference.mean() + reach])
