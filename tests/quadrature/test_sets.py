"""Deterministic sets: what they integrate exactly, what they do not, and what they say of their error."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from molaugerino.distributions import AlgebraUniform
from molaugerino.errors import UserError
from molaugerino.groups import SE3, SO2, SO3, T3, Affine
from molaugerino.quadrature import (
    AveragingSet,
    box,
    circle,
    cube,
    gauss_legendre,
    icosahedron,
    lebedev,
    product,
    random,
    square,
    super_fibonacci,
)
from tests.oracles import cube_rotations
from tests.quadrature.functions import BandLimited, angles, largest_moment, rotations

SETS = {
    "lebedev 1": lambda: lebedev(1),
    "lebedev 3": lambda: lebedev(3),
    "lebedev 8": lambda: lebedev(8),
    "lebedev, few angles": lambda: lebedev(5, angles=2),
    "super-Fibonacci": lambda: super_fibonacci(101),
    "cube": cube,
    "icosahedron": icosahedron,
    "circle": lambda: circle(7),
    "square": square,
    "box": lambda: box(SE3, 0.3, (3, 3, 3, 1, 3, 4)),
    "product": lambda: product(icosahedron(), box(T3, (0.2, 0.0, 0.1), 3)),
}
FINITE = {"cube": (cube, 24), "icosahedron": (icosahedron, 60), "square": (square, 8), "circle": (lambda: circle(9), 9)}


def gaps(a, b):
    """Largest entry of the difference between each of a and each of b."""
    return (a.linear.unsqueeze(1) - b.linear).abs().amax((-2, -1)) + (a.shift.unsqueeze(1) - b.shift).abs().amax(-1)


@pytest.mark.parametrize("name", SETS)
def test_every_set(name):
    s = SETS[name]()
    assert s.elements.batch_shape == (len(s),) == tuple(s.weights.shape)
    assert s.weights.sum().item() == pytest.approx(1, abs=1e-12)
    off = s.elements.linear @ s.elements.linear.mT - torch.eye(s.elements.dim, dtype=torch.float64)
    assert off.abs().max() < 1e-12
    ones = torch.ones(len(s), 2, dtype=torch.float64)
    assert s.mean(ones).tolist() == pytest.approx([1, 1], abs=1e-12)
    assert s.to(torch.zeros(1, dtype=torch.float32)).elements.linear.dtype == torch.float32
    if s.coarser is not None:
        assert torch.equal(s.elements[s.nested].linear, s.coarser.elements.linear)
        assert s.error(ones).max() < 1e-12
        assert not math.isclose(float(s.error(torch.arange(len(s)).double() ** 2)), 0, abs_tol=1e-6)


@pytest.mark.parametrize("degree", [3, 5, 8])
def test_lebedev_is_exact_up_to_its_degree_and_not_beyond(degree):
    s = lebedev(degree)
    assert max(largest_moment(s.elements, s.weights, k) for k in range(1, degree + 1)) < 1e-10
    assert max(largest_moment(s.elements, s.weights, k) for k in (degree + 1, degree + 2)) > 1e-2
    [low, high] = [largest_moment(s.coarser.elements, s.coarser.weights, k) for k in (1, degree)]
    assert low < 1e-10 < 1e-2 < high


def test_lebedev_needs_its_weights_and_all_its_elements():
    s = lebedev(5)
    assert largest_moment(s.elements, torch.full_like(s.weights, 1 / len(s)), 4) > 1e-3
    assert largest_moment(s.elements[1:], s.weights[1:] / s.weights[1:].sum(), 1) > 1e-3


def test_lebedev_takes_the_z_axis_to_the_points_of_scipy():
    points, weights = integrate.lebedev_rule(9)
    s = lebedev(9)
    assert np.abs(s.elements.linear[:, :, 2].unflatten(0, (-1, 10)).numpy() - points.T[:, None]).max() < 1e-12
    assert np.abs(s.weights.reshape(-1, 10).sum(1).numpy() - weights / (4 * math.pi)).max() < 1e-12


def test_lebedev_takes_the_smallest_rule_without_negative_weights():
    points = {1: 6, 3: 6, 4: 14, 7: 26, 13: 86, 25: 302, 32: 434, 36: 590}
    assert {d: len(lebedev(d, angles=1)) for d in points} == points


@pytest.mark.parametrize(("make", "degree", "count"), [(cube, 3, 24), (icosahedron, 5, 60)])
def test_finite_rotation_groups_are_exact_below_their_first_invariant(make, degree, count):
    s = make()
    assert len(s) == count
    assert max(largest_moment(s.elements, s.weights, k) for k in range(1, degree + 1)) < 1e-10
    assert largest_moment(s.elements, s.weights, degree + 1) > 0.1
    assert max(largest_moment(s.coarser.elements, s.coarser.weights, k) for k in (1, 2)) < 1e-10
    assert largest_moment(s.coarser.elements, s.coarser.weights, 3) > 0.1


@pytest.mark.parametrize("name", FINITE)
def test_finite_groups_are_groups(name):
    make, count = FINITE[name]
    g = make().elements
    assert g.batch_shape == (count,)
    apart = gaps(g, g) + torch.eye(count)
    assert apart.min() > 0.1  # no duplicates
    assert gaps(g[:1], Affine.identity(g.dim, (1,), like=g.shift)).max() < 1e-12
    products = (g.unsqueeze(1) @ g.unsqueeze(0)).reshape(-1)
    assert gaps(products, g).amin(1).max() < 1e-12
    assert gaps(g.inverse(), g).amin(1).max() < 1e-12


def test_the_cube_is_that_of_the_signed_permutations():
    assert gaps(cube().elements, cube_rotations()).amin(1).max() == 0


def test_square_is_the_group_of_the_square():
    s = square()
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    moved = s.elements(corners.expand(8, 4, 2))
    assert all(sorted(m) == sorted(corners.tolist()) for m in moved.tolist())
    assert sorted(torch.linalg.det(s.elements.linear).tolist()) == [-1.0] * 4 + [1.0] * 4
    turn = SO2.exp(torch.tensor([[math.pi / 2]], dtype=torch.float64))
    assert gaps(turn, s.elements).min() < 1e-12
    assert (torch.linalg.det(s.coarser.elements.linear) < 0).sum() == 2


@pytest.mark.parametrize("n", [2, 5, 8])
def test_circle_is_exact_below_its_number_and_its_coarser_set_below_half(n):
    def largest(s, k):
        a = k * SO2.log(s.elements)
        return float(s.mean(torch.cat([a.cos(), a.sin()], 1)).abs().max())

    s = circle(n)
    assert max(largest(s, k) for k in range(1, n)) < 1e-12
    assert largest(s, n) == pytest.approx(1)
    assert all(largest(s.coarser, k) < 1e-12 for k in range(1, n // 2))
    assert largest(s.coarser, n // 2) > 0.4


def test_super_fibonacci_has_the_angles_of_haar_and_is_more_even_than_chance():
    s = super_fibonacci(2000)
    found = stats.kstest(angles(s.elements).numpy(), lambda t: (t - np.sin(t)) / math.pi)
    assert found.statistic < 0.005  # of independent draws, 0.02
    own = sum(largest_moment(s.elements, s.weights, k) for k in range(1, 7))
    chance = [sum(largest_moment(rotations(2000, seed), s.weights, k) for k in range(1, 7)) for seed in range(5)]
    assert own < min(chance) / 5


def test_super_fibonacci_leaves_no_hole():
    """The farthest of many rotations from its nearest node, in radians, against independent nodes."""
    probes = rotations(3000, seed=9).linear.flatten(1)

    def hole(g):
        cosine = ((probes @ g.linear.flatten(1).mT).amax(1).min() - 1) / 2
        return float(cosine.clamp(-1, 1).arccos())

    assert hole(super_fibonacci(500).elements) < 0.8 * min(hole(rotations(500, seed)) for seed in range(5))


@pytest.mark.parametrize("n", [1, 2, 5, 16])
def test_gauss_legendre_is_that_of_scipy(n):
    x, w = gauss_legendre(-0.5, 2.0, n)
    value, _ = integrate.fixed_quad(np.exp, -0.5, 2.0, n=n)
    assert float(w @ x.exp()) == pytest.approx(value, rel=1e-13)
    assert float(w @ x ** (2 * n - 1)) == pytest.approx((2.0 ** (2 * n) - 0.5 ** (2 * n)) / (2 * n))
    assert float(w.sum()) == pytest.approx(2.5)


def test_box_is_the_mean_of_the_uniform_law():
    law = AlgebraUniform(SE3, (0.3, 0.9, 1.5, 0.2, 0.0, 0.7))
    points = torch.tensor([[1.0, -0.5, 2.0], [0.3, 1.1, 0.4]])

    def f(g):
        return g(points.to(g.shift).expand(*g.batch_shape, 2, 3)).sin().flatten(1)

    s = box(law.group, law.width.detach(), (4, 5, 6, 3, 1, 4))
    draws = f(law.sample((200_000,), torch.Generator().manual_seed(0)))
    blur = draws.std(0) / math.sqrt(len(draws))
    assert len(s) == 4 * 5 * 6 * 3 * 4
    assert ((s.mean(f(s.elements)) - draws.mean(0)) / blur).abs().max() < 4
    narrow = box(law.group, 0.9 * law.width.detach(), (4, 5, 6, 3, 1, 4))  # the test tells widths apart
    assert ((narrow.mean(f(narrow.elements)) - draws.mean(0)) / blur).abs().max() > 20


def test_box_converges_and_is_differentiable_in_its_widths():
    widths = torch.tensor([0.3, 0.9, 1.2], dtype=torch.float64, requires_grad=True)
    fine, finer = (s.mean(s.elements.linear) for s in (box(SO3, widths, 8), box(SO3, widths, 10)))
    assert (fine - finer).abs().max() < 1e-10
    assert torch.autograd.gradcheck(lambda w: box(SO3, w, 4).mean(box(SO3, w, 4).elements.linear), [widths])


def test_box_takes_one_node_where_it_has_no_width():
    assert len(box(SO3, (0.2, 0.0, 0.0), 5)) == 5
    assert len(box(SO3, 0.0, 5)) == 1
    assert not box(SO3, (0.2, 0.1, 0.0), (3, 2, 3)).has_error


def test_error_of_a_box_is_the_finest_detail():
    s = box(T3, (1.0, 0.0, 0.0), 5)
    x = s.elements.shift[:, 0]
    legendre = (35 * x**4 - 30 * x**2 + 3) / 8
    assert s.error(x + x**2 + 0.9 * legendre).item() == pytest.approx(0.1)  # <P_4, P_4> = 1/9
    assert s.error(x**3).item() == pytest.approx(0, abs=1e-12)


def test_products_are_all_products():
    a, b = cube(), box(T3, (0.3, 0.2, 0.0), 3)
    s = product(a, b)
    assert len(s) == len(a) * len(b)
    for i, j in ((0, 0), (3, 8), (23, 2)):
        assert gaps(s.elements[i * 9 + j].unsqueeze(0), (a.elements[i] @ b.elements[j]).unsqueeze(0)).max() == 0
        assert s.weights[i * 9 + j] == a.weights[i] * b.weights[j]
    values = torch.randn(len(a), len(b), 2, dtype=torch.float64)
    assert torch.allclose(s.mean(values.flatten(0, 1)), a.mean(torch.stack([b.mean(v) for v in values])))
    coarse = a.coarser.mean(torch.stack([b.coarser.mean(v) for v in values])[a.nested])
    assert torch.allclose(s.coarser.mean(values.flatten(0, 1)[s.nested]), coarse)


def test_products_with_a_random_set_keep_replicates_together():
    draws, rule = random(AlgebraUniform(T3, 0.5).double(), 10, torch.Generator().manual_seed(0)), cube()
    f = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    for s, each in ((product(draws, rule), draws.elements.shift @ f), (product(rule, draws), torch.zeros(10).double())):
        assert s.replicates == 10
        found = s.elements.shift @ f  # g h moves the origin by g's part, or by the turned part of h, whose mean is 0
        assert s.error(found).square().item() >= (each.std() / math.sqrt(10)).square().item() - 1e-12
    plain = product(AveragingSet("cube", rule.elements, rule.weights), draws)
    assert plain.error(plain.elements.shift @ f).item() == pytest.approx(0, abs=1e-12)
    with pytest.raises(UserError, match="must not both be random"):
        product(draws, draws)


def test_product_with_a_set_of_unknown_error_has_none():
    unknown = box(T3, 0.3, 2)
    assert not product(cube(), unknown).has_error
    assert product(cube(), box(T3, 0.0, 1)).has_error


@pytest.mark.parametrize(
    ("name", "make", "most"),
    [
        ("lebedev", lambda: lebedev(4), 6),
        ("icosahedron", icosahedron, 6),
        ("cube", cube, 6),
        ("super-Fibonacci", lambda: super_fibonacci(60), 6),
    ],
)
def test_error_estimates_are_of_the_size_of_the_errors(name, make, most):
    """Root mean square over 400 functions of degree <= 8: never below the true error, nor many times above."""
    s, f = make(), BandLimited(8, rows=400, decay=0.8)
    values = f(s.elements)
    ratio = (s.error(values).square().mean() / s.mean(values).square().mean()).sqrt().item()
    assert 0.9 < ratio < most


def test_icosahedron_leaves_at_most_a_tenth_of_the_error_of_random_draws():
    f, s = BandLimited(3, rows=50), icosahedron()
    chance = torch.stack([f(rotations(60, seed)).mean(0) for seed in range(20)]).square().mean().sqrt()
    assert s.mean(f(s.elements)).square().mean().sqrt() < chance / 10
    g = BandLimited(6, rows=50)  # beyond its degree, it is not exact
    assert s.mean(g(s.elements)).square().mean().sqrt() > 1e-2


def test_mistakes(untyped):
    rule = cube()
    with pytest.raises(UserError, match=r"\[1, 131\], got 132; take `super_fibonacci`"):
        lebedev(132)
    for make in (super_fibonacci, circle):
        with pytest.raises(UserError, match="at least 1, got 0"):
            make(0)
    with pytest.raises(UserError, match="`angles` must be at least 1"):
        lebedev(3, angles=0)
    with pytest.raises(UserError, match=r"in order, got 1\.0 and 0.0"):
        gauss_legendre(1.0, 0.0, 3)
    with pytest.raises(UserError, match="one number or 3"):
        box(SO3, (0.1, 0.2), 3)
    with pytest.raises(UserError, match="finite and >= 0"):
        box(SO3, -0.1, 3)
    with pytest.raises(UserError, match=r"`values` must have shape \(24, \*rows\), .* got \(23, 2\)"):
        rule.mean(torch.zeros(23, 2))
    with pytest.raises(UserError, match="add up to 1, got 24"):
        AveragingSet("x", rule.elements, torch.ones(24))
    with pytest.raises(UserError, match="give both or none"):
        AveragingSet("x", rule.elements, rule.weights, rule.coarser)
    with pytest.raises(UserError, match="divisor of the 24"):
        AveragingSet("x", rule.elements, rule.weights, replicates=5)
    with pytest.raises(UserError, match="cannot be told"):
        box(SO3, 0.3, 2).error(torch.zeros(8))
