"""Loss shares, curves and worst cases, where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from molaugerino.distributions import AlgebraUniform, HaarBall
from molaugerino.equivariance import absolute, curve, loss_share, squared, worst
from molaugerino.errors import UserError
from molaugerino.groups import SO3, T2, Affine
from molaugerino.quadrature import lebedev


def test_the_squared_error_falls_into_that_of_the_mean_and_the_spread():
    torch.manual_seed(0)
    rule = lebedev(4)
    each, y = torch.randn(len(rule), 50, 3, dtype=torch.float64), torch.randn(50, 3, dtype=torch.float64)
    found = loss_share(each, y, squared, rule.weights)
    weights = rule.weights.double() / rule.weights.double().sum()
    mean = torch.tensordot(weights, each, 1)
    spread = torch.tensordot(weights, (each - mean).square(), 1).mean()
    assert found.loss_of_mean == pytest.approx(float((mean - y).square().mean()), rel=1e-12)
    assert found.orientation == pytest.approx(float(spread), rel=1e-12)
    assert found.loss == pytest.approx(found.loss_of_mean + found.orientation, rel=1e-12)
    assert found.share == pytest.approx(found.orientation / found.loss, rel=1e-12)


@pytest.mark.parametrize("loss", [absolute, lambda p, y: functional.cross_entropy(p, y.argmax(1), reduction="none")])
def test_jensens_gap_is_never_negative_and_vanishes_without_a_spread(loss):
    torch.manual_seed(0)
    each, y = torch.randn(7, 50, 3, dtype=torch.float64), torch.randn(50, 3, dtype=torch.float64)
    assert loss_share(each, y, loss).orientation > 0.05
    assert abs(loss_share(each[:1].expand(7, -1, -1), y, loss).orientation) < 1e-12


def test_rows_without_a_label_are_left_out_and_the_error_is_over_rows():
    torch.manual_seed(0)
    each, y = torch.randn(7, 400, 1), torch.randn(400, 1)
    y[::2] = math.nan
    found = loss_share(each, y, squared)
    assert found.examples == 200
    again = [loss_share(torch.randn(7, 200, 1), torch.randn(200, 1), squared).orientation for _ in range(200)]
    assert found.error == pytest.approx(float(np.std(again)), rel=0.25)
    with pytest.raises(UserError, match="no example has a label"):
        loss_share(each, torch.full_like(y, math.nan), squared)


def test_labels_of_one_number_need_no_dimension_of_their_own():
    torch.manual_seed(0)
    each, y = torch.randn(7, 400), torch.randn(400)
    for loss in (absolute, squared):
        assert loss_share(each, y, loss) == loss_share(each.unsqueeze(-1), y.unsqueeze(-1), loss)


ARROWS = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def height(g: Affine) -> torch.Tensor:
    """|z(g a) - z(a)| of arrows a: at the worst |a| + |z(a)|."""
    turned = (g.linear @ ARROWS.unsqueeze(-1)).squeeze(-1)
    return (turned - ARROWS)[..., 2].abs()


def test_the_search_finds_the_worst_rotation():
    law = HaarBall(SO3, math.pi).double()
    found = worst(height, law, len(ARROWS), rounds=30, tries=16)
    exact = ARROWS.norm(dim=1) + ARROWS[:, 2].abs()
    assert bool((found.deviation <= exact + 1e-9).all())
    assert torch.allclose(found.deviation, exact, rtol=1e-3)
    at = height(found.elements.unsqueeze(0))[0]
    assert torch.allclose(at, found.deviation)
    few = worst(height, law, len(ARROWS), rounds=0)
    assert bool((found.deviation >= few.deviation).all())
    with pytest.raises(UserError, match="candidates"):
        worst(height, law, len(ARROWS), starts=0)


def test_the_search_does_not_leave_the_law():
    found = worst(height, HaarBall(SO3, 0.3).double(), len(ARROWS), rounds=30, tries=16)
    assert float(SO3.log(found.elements).norm(dim=1).max()) < 0.3 + 1e-6
    law = AlgebraUniform(T2, [0.1, 0.2], 0.5, 0.5, "half side").double()
    away = worst(lambda g: g.shift.norm(dim=-1), law, 5, rounds=30, tries=16)
    assert torch.allclose(away.deviation, torch.full((5,), math.hypot(0.1, 0.2), dtype=torch.float64), rtol=0.02)


def test_the_curve_is_the_deviation_at_turns_of_that_angle():
    """|R a - a| = 2 sin(t / 2) |a across the axis|."""

    def distance(g: Affine) -> torch.Tensor:
        assert g.batch_shape == (1, 6)
        turned = (g.linear @ ARROWS.unsqueeze(-1)).squeeze(-1)
        return (turned - ARROWS).norm(dim=-1)

    angles = torch.linspace(0, math.pi, 7, dtype=torch.float64)
    found = curve(distance, SO3, angles, 6)
    assert found.shape == (7, 6)
    assert float(found[0].abs().max()) < 1e-12
    ratio = found[1:] / found[-1]
    assert torch.allclose(ratio, (angles[1:] / 2).sin().unsqueeze(1).expand(-1, 6), atol=1e-9)
