"""Reductions over copies against numpy and scipy."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch.autograd import gradcheck

from molaugerino import augment, reductions
from molaugerino.errors import UserError
from molaugerino.reductions import (
    in_view,
    mean,
    mean_log_probability,
    mean_probability,
    median,
    probability_in_view,
)

ALL = [mean, median, mean_probability, mean_log_probability, in_view, probability_in_view]
SHAPES = [(1, 4, 3), (5, 4, 3), (6, 2, 3, 2, 1)]


def copies(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
class TestOracles:
    def test_mean(self, shape):
        y = copies(*shape)
        assert np.allclose(mean(y), y.numpy().mean(0), rtol=0, atol=1e-14)

    def test_median(self, shape):
        y = copies(*shape)
        assert np.array_equal(median(y), np.median(y.numpy(), 0))

    def test_mean_probability(self, shape):
        y = 5 * copies(*shape)
        expected = np.log(special.softmax(y.numpy(), 2).mean(0))
        assert np.allclose(mean_probability(y), expected, rtol=0, atol=1e-12)
        assert np.allclose(mean_probability(y).exp().sum(1), 1, rtol=0, atol=1e-14)

    def test_mean_log_probability(self, shape):
        y = 5 * copies(*shape)
        geometric = stats.gmean(special.softmax(y.numpy(), 2), axis=0)
        assert np.allclose(mean_log_probability(y).exp(), geometric, rtol=1e-12, atol=0)

    def test_in_view(self, shape):
        y = copies(*shape)
        assert np.allclose(in_view(y), mean(y), rtol=0, atol=1e-14)
        y[copies(*shape, seed=1) > 0] = math.nan
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy on slices that are empty
            expected = np.nanmean(y.numpy(), 0)
        assert np.allclose(in_view(y), expected, rtol=0, atol=1e-14, equal_nan=True)

    def test_probability_in_view(self, shape):
        y = copies(*shape)
        assert np.allclose(probability_in_view(y), mean_probability(y), rtol=0, atol=1e-13)
        hidden = (copies(*shape, seed=1) > 0)[:, :, :1].expand_as(y)
        y[hidden] = math.nan
        p = special.softmax(y.numpy(), 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = np.nanmean(p, 0)
        assert np.allclose(probability_in_view(y).exp(), expected, rtol=0, atol=1e-13, equal_nan=True)

    @pytest.mark.parametrize("reduce", ALL)
    def test_order_and_repetition_of_copies_do_not_matter(self, shape, reduce):
        y = copies(*shape)
        assert torch.allclose(reduce(y.flip(0)), reduce(y), rtol=0, atol=1e-14)
        assert torch.allclose(reduce(torch.cat([y, y])), reduce(y), rtol=0, atol=1e-14)

    @pytest.mark.parametrize("reduce", ALL)
    def test_derivatives(self, shape, reduce):
        assert gradcheck(reduce, copies(*shape).requires_grad_())


def test_the_median_is_that_of_the_negative():
    """Halfway between the two in the middle: a change of sign commutes with it."""
    y = copies(6, 4)
    assert torch.equal(median(-y), -median(y))


def test_probabilities_of_certain_and_contrary_copies():
    """Scores of +-2000: no overflow, one half each."""
    y = torch.tensor([[[2000.0, 0.0]], [[0.0, 2000.0]]])
    assert torch.allclose(mean_probability(y).exp(), torch.tensor([[0.5, 0.5]]))
    assert torch.allclose(mean_log_probability(y), torch.tensor([[-1000.0, -1000.0]]))


class TestNaN:
    def test_is_seen_everywhere_but_in_view(self):
        y = copies(4, 2, 3)
        y[1, 0, 2] = math.nan
        for reduce in (mean, median):
            assert torch.equal(reduce(y).isnan(), y.isnan().any(0))
        for reduce in (mean_probability, mean_log_probability):
            assert reduce(y)[0].isnan().all()
            assert not reduce(y)[1].isnan().any()
        assert not in_view(y).isnan().any()
        assert not probability_in_view(y).isnan().any()

    def test_slopes_of_probabilities_that_no_copy_sees(self):
        y = copies(3, 2, 4)
        y[:, 0] = math.nan
        y[1, 1] = math.nan
        y.requires_grad_()
        with torch.autograd.set_detect_anomaly(True):
            found = probability_in_view(y)
            found[1, 0].backward()
        assert found[0].isnan().all()
        assert y.grad.isfinite().all()
        assert not y.grad[1].any()
        assert y.grad[0, 1].abs().min() > 0

    def test_pixels_that_no_copy_sees(self):
        y = copies(3, 2, 2)
        y[:, 0, 0] = math.nan
        y[1, 1, 1] = math.nan
        y.requires_grad_()
        with torch.autograd.set_detect_anomaly(True):
            in_view(y).nansum().backward()
        expected = torch.full((3, 2, 2), 1 / 3, dtype=torch.float64)
        expected[:, 0, 0], expected[:, 1, 1], expected[1, 1, 1] = 0, 0.5, 0
        assert torch.allclose(y.grad, expected)
        assert in_view(y)[0, 0].isnan()


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("reduce", [mean_probability, mean_log_probability, probability_in_view])
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1)])
def test_one_class_is_refused(reduce, shape):
    """A softmax over one score is 1 whatever the network says."""
    with pytest.raises(UserError, match=r"two classes or more, got \(4, 5(, 1)?\); give the second class the score 0"):
        reduce(torch.zeros(shape))


def test_the_default_is_the_mean():
    assert augment.mean is reductions.mean
