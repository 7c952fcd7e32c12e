"""The correlation measure, against scipy channel by channel and against what it must be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from molaugerino.equivariance import SampleCorrelation, SpatialCorrelation
from molaugerino.equivariance.correlation import BLOCKS
from molaugerino.errors import UserError

EXAMPLES, CHANNELS, SIDE = 12, 5, 6


def maps(seed=0, examples=EXAMPLES, channels=CHANNELS):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(examples, channels, SIDE, SIDE, generator=generator, dtype=torch.float64)


def related(seed=0):
    """Two sets of maps that have something in common, more in some channels than in others."""
    a = maps(seed)
    share = torch.linspace(0.1, 0.9, CHANNELS)[:, None, None]
    return a, share * a.roll(1, 1) + (1 - share) * maps(seed + 1)


def pearson(a, b):
    return stats.pearsonr(np.asarray(a).ravel(), np.asarray(b).ravel()).statistic


def scores_of(metric, *arguments, **options):
    metric.update(*arguments, **options)
    return {name: float(value) for name, value in metric.compute().items()}


def test_spatial_scores_are_those_of_scipy():
    a, b = related()
    found = scores_of(SpatialCorrelation(CHANNELS), a, b)
    rho = np.array([[[pearson(a[n, c], b[n, d]) for d in range(CHANNELS)] for c in range(CHANNELS)] for n in range(12)])
    null = np.array([[pearson(a[n, c], b[n - 1, c]) for c in range(CHANNELS)] for n in range(12)])
    assert found["invariance"] == pytest.approx(np.diagonal(rho, axis1=1, axis2=2).mean(), abs=1e-12)
    assert found["equivariance"] == pytest.approx(rho.max(2).mean(), abs=1e-12)
    assert found["null_invariance"] == pytest.approx(null.mean(), abs=1e-12)
    assert found["dead"] == 0


def test_spatial_scores_of_some_places_are_those_of_scipy():
    a, b = related()
    seen = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    seen[1:4, 2:] = True
    found = scores_of(SpatialCorrelation(CHANNELS), a, b, seen)
    expected = np.mean([pearson(a[n, c][seen], b[n, c][seen]) for n in range(12) for c in range(CHANNELS)])
    assert found["invariance"] == pytest.approx(expected, abs=1e-12)


def test_sample_scores_are_those_of_scipy():
    a, b = (v[:, :, 0, 0] for v in related())
    found = scores_of(SampleCorrelation(CHANNELS), a, b)
    rho = np.array([[pearson(a[:, c], b[:, d]) for d in range(CHANNELS)] for c in range(CHANNELS)])
    assert found["invariance"] == pytest.approx(np.diagonal(rho).mean(), abs=1e-12)
    assert found["equivariance"] == pytest.approx(rho.max(1).mean(), abs=1e-12)


@pytest.mark.parametrize("spatial", [True, False])
def test_a_permutation_of_channels_leaves_equivariance_alone_and_lowers_invariance(spatial):
    a = maps(examples=64)
    metric = SpatialCorrelation(CHANNELS) if spatial else SampleCorrelation(CHANNELS)
    values = a if spatial else a[:, :, 0, 0]
    for part in values.split(8):
        metric.update(part, part.roll(1, 1))
    found = metric.compute()
    for name in ("equivariance", "matched"):
        assert abs(float(found[name]) - 1) < 1e-12
    assert float(found["invariance"]) < 0.2


@pytest.mark.parametrize("spatial", [True, False])
def test_each_transformation_permutes_the_channels_in_its_own_way(spatial):
    """Matches of one transformation do not bind another; its own scores are those of a metric of its own."""
    values = maps(examples=64) if spatial else maps(examples=64)[:, :, 0, 0]
    kind = SpatialCorrelation if spatial else SampleCorrelation
    whole, own = kind(CHANNELS, transforms=2), [kind(CHANNELS), kind(CHANNELS)]
    for block, part in enumerate(values.split(8)):
        for k, shift in enumerate((1, 3)):
            whole.update(part, part.roll(shift, 1), block=block, transform=k)
            own[k].update(part, part.roll(shift, 1))
    found = whole.compute()
    for name in ("equivariance", "matched"):
        assert abs(float(found[name]) - 1) < 1e-12
    for name, value in found.items():
        assert float(value) == pytest.approx(np.mean([float(metric.compute()[name]) for metric in own]), abs=1e-12)
    with pytest.raises(UserError, match="transform must be in 0 to 1, got 2"):
        whole.update(values, values, transform=2)


@pytest.mark.parametrize("spatial", [True, False])
def test_scale_and_offset_are_not_seen(spatial):
    a, b = related()
    if not spatial:
        a, b = a[:, :, 0, 0], b[:, :, 0, 0]
    kind = SpatialCorrelation if spatial else SampleCorrelation
    plain = scores_of(kind(CHANNELS), a, b)
    assert scores_of(kind(CHANNELS), a, 2 * b + 1) == pytest.approx(plain, abs=1e-9, nan_ok=True)


def test_a_random_linear_map_has_its_analytic_scores():
    """h = W x, x normal: T' trivial, cov(h_c(x), h_c'(T x)) = w_c T^t w_c'."""
    generator = torch.Generator().manual_seed(3)
    w = torch.randn(CHANNELS, 7, generator=generator, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(7, 7, generator=generator, dtype=torch.float64)).Q
    samples = 200_000
    x = torch.randn(samples, 7, generator=generator, dtype=torch.float64)
    metric = SampleCorrelation(CHANNELS)
    for part in x.split(samples // 20):
        metric.update(part @ w.mT, part @ turn.mT @ w.mT)
    found = metric.compute()
    size = w.norm(dim=1)
    rho = w @ turn.mT @ w.mT / (size.unsqueeze(1) * size)
    error = 4 / math.sqrt(samples)  # of each correlation at most 1 / sqrt(n); four of them
    assert abs(float(found["invariance"] - rho.diagonal().mean())) < error
    assert abs(float(found["equivariance"] - rho.amax(1).mean())) < error
    low, high = metric.intervals(level=0.9999)["invariance"]
    assert low < float(rho.diagonal().mean()) < high
    assert high - low < 20 / math.sqrt(samples)


@pytest.mark.parametrize("spatial", [True, False])
def test_the_held_out_match_of_noise_is_not_biased(spatial):
    """Of unrelated features the best of many channels correlates, and so does the null; the held-out match does not."""
    channels, blocks = 40, 2 * BLOCKS
    metric = SpatialCorrelation(channels) if spatial else SampleCorrelation(channels)
    for k in range(blocks):
        a, b = maps(2 * k, 8, channels), maps(2 * k + 1, 8, channels)
        metric.update(*((a, b) if spatial else (a[:, :, 0, 0], b[:, :, 0, 0])))
    found = {name: float(value) for name, value in metric.compute().items()}
    assert found["equivariance"] > 0.1
    assert found["null_equivariance"] == pytest.approx(found["equivariance"], rel=0.1)
    assert abs(found["matched"]) < 0.03
    assert abs(found["null_invariance"]) < 0.03


@pytest.mark.parametrize("spatial", [True, False])
def test_dead_channels_are_counted_and_left_out(spatial):
    a, b = related()
    a[:, 2] = 3.0
    if not spatial:
        a, b = a[:, :, 0, 0], b[:, :, 0, 0]
    found = scores_of((SpatialCorrelation if spatial else SampleCorrelation)(CHANNELS), a, b)
    assert found["dead"] == pytest.approx(1 / CHANNELS)
    alive = [0, 1, 3, 4]
    if spatial:
        expected = np.mean([pearson(a[n, c], b[n, c]) for n in range(12) for c in alive])
    else:
        expected = np.mean([pearson(a[:, c], b[:, c]) for c in alive])
    assert found["invariance"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("spatial", [True, False])
def test_parts_add_up_to_the_whole_and_merge_like_any_metric(spatial):
    a, b = related()
    if not spatial:
        a, b = a[:, :, 0, 0], b[:, :, 0, 0]
    kind = SpatialCorrelation if spatial else SampleCorrelation
    whole, parts, other = kind(CHANNELS), kind(CHANNELS), kind(CHANNELS)
    whole.update(a, b, block=0)
    parts.update(a[:6], b[:6], block=0)
    other.update(a[6:], b[6:], block=3)
    parts.merge_state(other)
    for name in ("invariance", "equivariance", "dead"):
        assert float(parts.compute()[name]) == pytest.approx(float(whole.compute()[name]), abs=1e-12)
    assert sorted(whole.intervals()) == sorted(whole.compute())
    assert all(math.isnan(v) for v in whole.intervals()["invariance"]), "one block cannot be resampled"
    low, high = parts.intervals()["invariance"]
    assert low <= float(whole.compute()["invariance"]) <= high


@pytest.mark.parametrize("spatial", [True, False])
def test_as_a_metric_of_a_training_loop(spatial):
    """`forward` resets the state before every update; batches still fall into blocks of their own."""
    metric = SpatialCorrelation(CHANNELS) if spatial else SampleCorrelation(CHANNELS)
    plain = SpatialCorrelation(CHANNELS) if spatial else SampleCorrelation(CHANNELS)
    for seed in range(4):
        a, b = related(2 * seed) if spatial else (v[:, :, 0, 0] for v in related(2 * seed))
        batch = metric(a, b)
        plain.update(a, b)
        assert all(value.dim() == 0 for value in batch.values()), "as log_dict takes it"
    assert {k: float(v) for k, v in metric.compute().items()} == pytest.approx(
        {k: float(v) for k, v in plain.compute().items()}
    )
    assert int((metric.updates > 0).sum()) == 4
    assert not math.isnan(metric.intervals()["invariance"][0])


@pytest.mark.parametrize("spatial", [True, False])
def test_what_cannot_be_known_is_not_a_number(spatial):
    """A match needs two blocks, a null two examples."""
    metric = SpatialCorrelation(CHANNELS) if spatial else SampleCorrelation(CHANNELS)
    a = maps() if spatial else maps()[:, :, 0, 0]
    for row in a:
        metric.update(row.unsqueeze(0), row.unsqueeze(0), block=0)
    found = metric.compute()
    assert float(found["equivariance"]) == pytest.approx(1)
    for name in ("matched", "null_invariance", "null_equivariance"):
        assert math.isnan(float(found[name])), name


@pytest.mark.parametrize("spatial", [True, False])
def test_intervals_hold_their_score(spatial):
    metric = SpatialCorrelation(40) if spatial else SampleCorrelation(40)
    for k in range(BLOCKS):
        a, b = maps(2 * k, 8, 40), maps(2 * k + 1, 8, 40)
        metric.update(*((a, b) if spatial else (a[:, :, 0, 0], b[:, :, 0, 0])))
    intervals = metric.intervals()
    for name, score in metric.compute().items():
        low, high = intervals[name]
        assert low <= float(score) <= high, name


def test_shapes_that_do_not_fit_are_refused(untyped):
    with pytest.raises(UserError, match=r"\(examples, 5, \*places\)"):
        SpatialCorrelation(5).update(torch.zeros(2, 4, 3), torch.zeros(2, 4, 3))
    with pytest.raises(UserError, match="two places"):
        SpatialCorrelation(5).update(torch.zeros(2, 5, 1), torch.zeros(2, 5, 1))
    with pytest.raises(UserError, match=r"\(examples, 5\)"):
        SampleCorrelation(5).update(torch.zeros(2, 5), torch.zeros(3, 5))
