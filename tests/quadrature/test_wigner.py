"""Wigner matrices against what defines them, and the powers against functions made of them."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.special import sph_harm_y

from molaugerino.errors import UserError
from molaugerino.groups import SO2, SO3, Affine
from molaugerino.quadrature import cube, icosahedron, lebedev, power, product, wigner_d
from tests.quadrature.functions import BandLimited, angles, rotations

DEGREES = (0, 1, 2, 3, 7, 12)


def special_rotations():
    """Where Euler angles are not unique, almost so, and Haar-random ones."""
    vectors = [[0, 0, 0], [0, 0, 1], [math.pi, 0, 0], [0, math.pi, 0], [0, 0, math.pi], [1e-9, 0, 0.3], [0, 1e-5, 0]]
    near_pole = SO3.exp(torch.tensor([[math.pi, 0, 0], [0, 1e-7, 0]], dtype=torch.float64))
    special = SO3.exp(torch.tensor(vectors, dtype=torch.float64))
    parts = special, near_pole[:1] @ near_pole[1:], rotations(20)
    return Affine(torch.cat([p.linear for p in parts]), torch.cat([p.shift for p in parts]))


def real_harmonics(degree, points):
    """Y_m(x) at unit vectors (n, 3), from scipy's complex ones: (n, 2 degree + 1)."""
    theta, phi = torch.acos(points[:, 2].clamp(-1, 1)).numpy(), torch.atan2(points[:, 1], points[:, 0]).numpy()
    columns = []
    for m in range(-degree, degree + 1):
        y = torch.from_numpy(sph_harm_y(degree, abs(m), theta, phi)) * (-1) ** m * (1 if m == 0 else math.sqrt(2))
        columns.append(y.imag if m < 0 else y.real)
    return torch.stack(columns, -1)


@pytest.mark.parametrize("degree", DEGREES)
def test_is_an_orthogonal_representation(degree):
    g, h = special_rotations().unsqueeze(1), special_rotations().unsqueeze(0)
    d = [wigner_d(degree, x) for x in (g, h, g @ h)]
    assert (d[0] @ d[1] - d[2]).abs().max() < 1e-10
    assert (d[0] @ d[0].mT - torch.eye(2 * degree + 1, dtype=torch.float64)).abs().max() < 1e-10


def test_powers_of_one_value_per_node():
    nodes = lebedev(5)
    values = nodes.elements.linear[:, 0, 0]
    assert torch.equal(power(values, nodes, 2), power(values[:, None], nodes, 2)[:, 0])


@pytest.mark.parametrize("degree", DEGREES)
def test_trace_is_the_character(degree):
    g = rotations(200)
    w = angles(g)
    expected = ((2 * degree + 1) * w / 2).sin() / (w / 2).sin()
    trace = wigner_d(degree, g).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert trace.tolist() == pytest.approx(expected.tolist(), abs=1e-10)


def test_first_degree_is_the_rotation_on_y_z_x():
    g = special_rotations()
    order = [1, 2, 0]
    assert (wigner_d(1, g) - g.linear[:, order][:, :, order]).abs().max() < 1e-12


@pytest.mark.parametrize("degree", [1, 2, 5, 12])
def test_turns_the_harmonics_of_scipy(degree):
    """Y_n(R^-1 x) = sum_m Y_m(x) D_mn: transposes, signs and the order of m are all told apart."""
    x = torch.nn.functional.normalize(torch.randn(15, 3, dtype=torch.float64), dim=-1)
    for sign in (1, -1):  # rotations, and rotary reflections
        for r in rotations(5).linear * sign:
            g = Affine(r, torch.zeros(3, dtype=torch.float64))
            expected = real_harmonics(degree, x @ r)  # rows are R^-1 x
            assert (real_harmonics(degree, x) @ wigner_d(degree, g) - expected).abs().max() < 1e-10


def test_single_precision():
    g = rotations(50)
    d = wigner_d(6, g.to(torch.float32))
    assert d.dtype == torch.float32
    assert (d - wigner_d(6, g)).abs().max() < 1e-5


def test_powers_are_those_the_function_was_made_with():
    f, rule = BandLimited(4, rows=3), lebedev(8)
    found = power(f(rule.elements) + 2.0, rule, 4)
    expected = f.power()
    expected[0] += 4.0
    assert (found - expected).abs().max() < 1e-10


def test_powers_add_up_to_the_mean_square():
    f, rule = BandLimited(5, rows=4, decay=0.7), lebedev(10)
    values = (f(rule.elements) - 0.3).unflatten(1, (2, 2))
    assert power(values, rule, 5).shape == (6, 2, 2)
    assert torch.allclose(power(values, rule, 5).sum(0), rule.mean(values.square()), rtol=1e-10)
    assert not torch.allclose(power(values, rule, 4).sum(0), rule.mean(values.square()), rtol=1e-3)


def test_averaging_leaves_the_power_beyond_the_degree_of_the_set():
    """Of an average over the cube's rotations of x -> f(g x), the degrees 1 to 3 are gone and some of 4 is left."""
    f, rule, few = BandLimited(4, rows=2), lebedev(8), cube()
    each = f(product(rule, few).elements).unflatten(0, (len(rule), len(few)))
    left = power(torch.einsum("k, nkr -> nr", few.weights, each), rule, 4)
    assert left[:4].max() < 1e-10
    assert left[4].min() > 1e-3


def test_mistakes():
    shears = Affine(torch.ones(2, 3, 3), torch.zeros(2, 3))
    with pytest.raises(UserError, match="orthogonal"):
        wigner_d(2, shears)
    with pytest.raises(UserError, match="`degree` must be >= 0, got -1"):
        wigner_d(-1, rotations(2))
    with pytest.raises(UserError, match=r"R\^3"):
        wigner_d(2, SO2.exp(torch.zeros(2, 1)))
    rule = icosahedron()
    with pytest.raises(UserError, match=r"`values` must have shape \(60, "):
        power(torch.zeros(59), rule, 2)
    mirrored = product(rule, type(rule)("inversion", Affine(-torch.eye(3)[None], torch.zeros(1, 3)), torch.ones(1)))
    with pytest.raises(UserError, match="reflections"):
        power(torch.zeros(60), mirrored, 2)
