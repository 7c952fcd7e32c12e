"""Changes of colour: a group of affine maps of (red, green, blue), pixel by pixel."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from molaugerino import Augmented
from molaugerino.distributions import AlgebraUniform
from molaugerino.errors import UserError
from molaugerino.groups import SO2, Affine, colours
from molaugerino.spaces import Colour, InputSpace
from tests.oracles import central_differences

GROUP = colours()
EXACT = Colour(bounded=False)


def pictures(count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, 4, 5, generator=generator, dtype=torch.float64)


def elements(count, seed=0, size=0.5):
    generator = torch.Generator().manual_seed(seed)
    return GROUP.exp(size * torch.randn(count, 4, generator=generator, dtype=torch.float64))


def along(axis, amount, count=2):
    """One coordinate alone, the same for every picture."""
    xi = torch.zeros(count, 4, dtype=torch.float64)
    xi[:, GROUP.axes.index(axis)] = amount
    return GROUP.exp(xi)


class TestGroup:
    def test_axes(self):
        assert GROUP.axes == ("brightness", "contrast", "saturation", "hue")
        assert (GROUP.dim, GROUP.space_dim) == (4, 3)
        assert GROUP.log_volume == SO2.log_volume

    def test_brightness_multiplies(self):
        x = pictures()
        assert torch.allclose(EXACT.act(along("brightness", math.log(1.3)), x), 1.3 * x, rtol=0, atol=1e-14)

    def test_contrast_is_about_the_middle(self):
        x = pictures()
        assert torch.allclose(EXACT.act(along("contrast", math.log(0.6)), x), 0.5 + 0.6 * (x - 0.5), rtol=0, atol=1e-14)

    def test_saturation_is_the_distance_from_the_greys(self):
        x = pictures()
        grey = x.mean(1, keepdim=True)
        changed = EXACT.act(along("saturation", math.log(1.7)), x)
        assert torch.allclose(changed, grey + 1.7 * (x - grey), rtol=0, atol=1e-14)
        assert (EXACT.act(along("saturation", -40.0), x) - grey).abs().max() < 1e-12
        greys = grey.expand(-1, 3, -1, -1)
        assert torch.allclose(EXACT.act(along("saturation", 0.9), greys), greys, rtol=0, atol=1e-14)

    @pytest.mark.parametrize("angle", [0.3, 2 * math.pi / 3, -2.0, 3.1])
    def test_hue_is_a_rotation_about_the_greys(self, angle):
        x = pictures()
        moved = EXACT.act(along("hue", angle), x)
        turn = Rotation.from_rotvec(angle / math.sqrt(3) * np.ones(3))
        expected = turn.apply(x.movedim(1, -1).reshape(-1, 3)).reshape(2, 4, 5, 3)
        assert np.allclose(moved.movedim(1, -1), expected, rtol=0, atol=1e-14)
        assert torch.allclose(moved.mean(1), x.mean(1), rtol=0, atol=1e-14)
        greys = x.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        assert torch.allclose(EXACT.act(along("hue", angle), greys), greys, rtol=0, atol=1e-14)

    def test_hue_has_period_two_pi_and_takes_red_to_green(self):
        x = pictures()
        assert torch.allclose(EXACT.act(along("hue", 2 * math.pi), x), x, rtol=0, atol=1e-13)
        third = EXACT.act(along("hue", 2 * math.pi / 3), x)
        assert torch.allclose(third, x.roll(1, 1), rtol=0, atol=1e-14)  # red is the new green

    def test_what_commutes(self):
        for first, second in itertools.combinations(GROUP.axes, 2):
            g, h = along(first, 0.4), along(second, -0.7)
            one, other = g @ h, h @ g
            apart = (one.linear - other.linear).abs().max() + (one.shift - other.shift).abs().max()
            assert (apart > 0.01) == ((first, second) == ("brightness", "contrast"))

    def test_log_inverts_exp(self):
        xi = 0.5 * torch.randn(64, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        assert (GROUP.log(GROUP.exp(xi)) - xi).abs().max() < 1e-11


class TestAction:
    def test_left_action(self):
        x = pictures(16)
        g, h = elements(16), elements(16, seed=1)
        assert (EXACT.act(g @ h, x) - EXACT.act(g, EXACT.act(h, x))).abs().max() < 1e-12

    @pytest.mark.parametrize("space", [EXACT, Colour()])
    def test_identity(self, space):
        x = pictures()
        assert torch.equal(space.act(Affine.identity(3, (2,), like=x), x), x)

    def test_one_element_per_picture(self):
        x, g = pictures(), elements(2)
        for k in range(2):
            assert torch.allclose(EXACT.act(g, x)[k], EXACT.act(g[k : k + 1], x[k : k + 1])[0], rtol=0, atol=1e-14)

    def test_clamped_values(self):
        x, g = pictures(16), elements(16, size=1.0)
        free, clamped = EXACT.act(g, x), Colour().act(g, x)
        assert free.min() < -0.1
        assert free.max() > 1.1
        assert torch.equal(clamped, free.clamp(0, 1))

    def test_the_law_holds_inside_the_cube_only(self):
        """Twice as bright and back: exact while nothing leaves the cube, the loss of what did otherwise."""
        x, up = pictures(), along("brightness", math.log(2))
        back = Colour().act(up.inverse(), Colour().act(up, x))
        assert torch.allclose(back, x.clamp(max=0.5), rtol=0, atol=1e-14)

    def test_gradients_survive_clamping(self):
        x = pictures(8).requires_grad_()
        xi = torch.full((8, 4), 0.7, dtype=torch.float64, requires_grad=True)
        weights = torch.randn(8, 3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        slopes = [
            torch.autograd.grad((space.act(GROUP.exp(xi), x) * weights).sum(), (xi, x)) for space in (EXACT, Colour())
        ]
        for free, clamped in zip(*slopes, strict=True):
            assert torch.isfinite(clamped).all()
            assert clamped.abs().min() > 0
            assert torch.equal(free, clamped)

    def test_gradient_of_the_widths_of_a_law(self):
        law = AlgebraUniform(GROUP, (0.2, 0.3, 0.1, 1.5), strain=0.5).double()
        noise = law.noise((6,), torch.Generator().manual_seed(0))
        x = pictures(6)

        def value():
            return EXACT.act(law.elements(noise), x).sin().square().sum()

        (slope,) = torch.autograd.grad(value(), law._width)
        [oracle] = central_differences(value, [law._width])
        assert slope.abs().min() > 1e-3
        assert torch.allclose(slope, oracle, rtol=1e-6, atol=1e-8)

    def test_low_precision(self):
        x, g = pictures(), elements(2)
        exact = Colour().act(g, x)
        with torch.autocast("cpu", torch.bfloat16):
            assert (Colour().act(g.to(torch.float32), x.float()) - exact).abs().max() < 1e-6
        moved = Colour().act(g.to(torch.float32), x.to(torch.bfloat16))
        assert moved.dtype == torch.bfloat16
        assert (moved - exact).abs().max() < 0.02


def test_the_hue_of_a_law_is_an_angle():
    """Half a turn to either side is allowed, described in degrees, and all hues are no nats."""
    law = AlgebraUniform(GROUP, (0.1, 0.2, 0.3, math.pi), strain=0.3).double()
    lines = {line.quantity: line for line in law.describe()}
    assert lines["hue"].width == pytest.approx(180)
    assert (lines["hue"].unit, lines["contrast"].unit) == ("degree", "log-scale")
    assert lines["hue"].nats == pytest.approx(0, abs=1e-6)
    assert lines["brightness"].nats == pytest.approx(math.log(3), abs=1e-6)


def test_averaging_over_the_hues_makes_invariant():
    """The three cyclic exchanges of the channels, through the one formula."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(60, 4), torch.nn.Tanh()).double()
    h = Augmented(net, AlgebraUniform(GROUP, 0.1).double(), Colour())
    x = pictures()
    hues = torch.zeros(3, 4, dtype=torch.float64)
    hues[:, 3] = torch.arange(3).double() * 2 * math.pi / 3
    group = GROUP.exp(hues)
    turned = Colour().act(group[1].expand(2), x)
    assert (h(turned, group) - h(x, group)).abs().max() < 1e-12
    assert (h(turned, h.identity()) - h(x, h.identity())).abs().max() > 1e-2
    h(x).sum().backward()
    assert h.distribution._width.grad.abs().min() > 0


def test_layout():
    x = pictures()
    assert isinstance(Colour(), InputSpace)
    assert Colour().count(x) == 2
    assert Colour().index(x) is None
    assert torch.equal(Colour().tile(x, 2), torch.cat([x, x]))
    assert not Colour.per_point


@pytest.mark.usefixtures("untyped")
class TestBadInput:
    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (torch.zeros(2, 1, 4, 4), r"`x` must have shape \(images, 3, height, width\).* got \(2, 1, 4, 4\)"),
            (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), r"floating point numbers, got torch.uint8"),
            (torch.full((2, 3, 4, 4), math.nan), "must be finite, and in 2 images, first 0, it is not"),
            (torch.full((2, 3, 4, 4), 255.0), r"must lie in \[0, 1\], got 255 to 255; standardise inside the network"),
        ],
    )
    def test_batches(self, x, message):
        with pytest.raises(UserError, match=message):
            Colour().check(x, 3, torch.device("cpu"))

    def test_values_outside_are_for_the_unbounded(self):
        assert EXACT.check(torch.full((2, 3, 4, 4), 255.0), 3, torch.device("cpu")) is None

    def test_laws_of_the_plane(self):
        with pytest.raises(UserError, match=r"maps of R\^3, and the law is one of maps of R\^2; use groups.colours"):
            Colour().check(pictures(), 2, torch.device("cpu"))
        with pytest.raises(UserError, match=r"maps of R\^3, got maps of R\^2"):
            Colour().act(SO2.exp(torch.zeros(2, 1)), pictures())
        with pytest.raises(UserError, match=r"one element per image, batch shape \(2,\), got \(3,\)"):
            Colour().act(elements(3), pictures())
