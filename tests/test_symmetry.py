"""What a law does about an axis, against laws whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from molaugerino import symmetry
from molaugerino.distributions import HaarBall, SwingTwist, molecular_law
from molaugerino.groups import SO3, Affine

AXIS = torch.tensor([2.0, -1.0, 2.0], dtype=torch.float64) / 3


@pytest.mark.parametrize(("twist", "swing", "blur"), [(math.pi, 0.2, 0.005), (0.4, 0.0, 0.06), (2.0, 1.0, 0.02)])
def test_tilt_and_spin_of_swing_and_twist(twist, swing, blur):
    g = symmetry.draws(SwingTwist(AXIS.tolist(), twist, swing))
    assert symmetry.tilt(g, AXIS).max().item() <= swing + 1e-3
    mean = (math.sin(swing) - swing * math.cos(swing)) / (1 - math.cos(swing)) if swing else 0.0
    assert symmetry.tilt(g, AXIS).mean().item() == pytest.approx(mean, abs=2e-3)
    spin = symmetry.spin(g, AXIS)
    assert spin.abs().max().item() <= twist + 1e-3
    assert symmetry.nats_to_circle(spin) == pytest.approx(math.log(math.pi / twist), abs=blur)


def test_haar_spins_uniformly_about_any_axis():
    assert symmetry.nats_to_circle(symmetry.spin(symmetry.draws(HaarBall(width=math.pi)), AXIS)) < 0.005


@pytest.mark.parametrize("sigma", [0.2, 0.7, 1.7])
def test_nats_of_a_wound_normal(sigma):
    grid = torch.linspace(-math.pi, math.pi, 4001, dtype=torch.float64)[:-1]
    k = torch.arange(1, 200, dtype=torch.float64)[:, None]
    density = 1 + 2 * ((-(k * sigma).square() / 2).exp() * (k * grid).cos()).sum(0)
    angles = sigma * torch.randn(2**16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.xlogy(density.clamp_min(0), density.clamp_min(0)).mean().item()
    assert symmetry.nats_to_circle(torch.remainder(angles + math.pi, 2 * math.pi) - math.pi) == pytest.approx(
        expected, abs=0.01
    )


def test_reflections_do_not_hide_the_rotation():
    g = SO3.exp(0.3 * AXIS.expand(5, 3))
    flipped = Affine(-g.linear, g.shift)
    assert torch.allclose(symmetry.spin(flipped, AXIS), torch.full((5,), 0.3, dtype=torch.float64))
    assert symmetry.tilt(flipped, AXIS).max().item() < 1e-7


def test_principal_axes():
    vectors = torch.randn(50000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * AXIS
    spreads, axes = symmetry.principal_axes(vectors)
    assert spreads.tolist() == pytest.approx([1, 0, 0], abs=0.02)
    assert abs(float(axes[0] @ AXIS)) == pytest.approx(1)


def test_draws_are_the_same_each_time():
    law = molecular_law("gaussian", 1.0, 0.3)
    assert torch.equal(symmetry.draws(law).linear, symmetry.draws(law).linear)
