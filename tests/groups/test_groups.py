"""Every property over every group, element size and precision; the oracle is the matrix exponential."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.autograd import gradcheck, gradgradcheck

from molaugerino.errors import UserError
from molaugerino.groups import SE3, SO2, SO3, T3, Affine

GROUPS = [SO2, SO3, T3, SE3]
SIZES = [0.0, 1e-7, 1e-3, 0.4999, 0.5001, 1.0, 2.5, math.pi - 1e-3]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6}


def coordinates(group, size, dtype=torch.float64, count=64):
    """Random algebra coordinates whose rotation angle (or shift) is `size`."""
    generator = torch.Generator().manual_seed(int(size * 1e4) + group.dim)
    xi = torch.randn(count, group.dim, generator=generator, dtype=torch.float64)
    turning = [k for k, axis in enumerate(group.axes) if axis.startswith("r")] or list(range(group.dim))
    xi[:, turning] *= size / xi[:, turning].norm(dim=-1, keepdim=True)
    return xi.to(dtype)


def distance(g, h):
    return max((g.linear - h.linear).abs().max(), (g.shift - h.shift).abs().max())


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.name)
class TestEveryElement:
    def test_exp_is_the_matrix_exponential(self, group, size, dtype):
        xi = coordinates(group, size, dtype)
        g = group.exp(xi)
        full = torch.linalg.matrix_exp(group.hat(xi.double())).to(dtype)
        d = group.space_dim
        assert distance(g, Affine(full[:, :d, :d], full[:, :d, d])) < TOLERANCE[dtype]

    def test_log_inverts_exp(self, group, size, dtype):
        xi = coordinates(group, size, dtype)
        # near pi a rotation matrix fixes its vector only to the square root of the precision over the distance
        slack = 1e3 if dtype == torch.float32 and size > 3 else 10
        assert (group.log(group.exp(xi)) - xi).abs().max() < slack * TOLERANCE[dtype]

    def test_exp_of_minus_is_the_inverse(self, group, size, dtype):
        xi = coordinates(group, size, dtype)
        assert distance(group.exp(-xi), group.exp(xi).inverse()) < 10 * TOLERANCE[dtype]

    def test_linear_part_is_a_rotation(self, group, size, dtype):
        linear = group.exp(coordinates(group, size, dtype)).linear
        eye = torch.eye(group.space_dim, dtype=dtype)
        assert (linear @ linear.mT - eye).abs().max() < TOLERANCE[dtype]
        assert (torch.linalg.det(linear) - 1).abs().max() < TOLERANCE[dtype]

    def test_adjoint(self, group, size, dtype):
        xi = coordinates(group, size, dtype)
        g = group.exp(coordinates(group, 1.3, dtype))
        moved = (group.adjoint(g) @ xi.unsqueeze(-1)).squeeze(-1)
        assert distance(group.exp(moved), g @ group.exp(xi) @ g.inverse()) < 20 * TOLERANCE[dtype]


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.name)
class TestAxioms:
    def test_composition_is_that_of_the_maps(self, group):
        g, h = group.exp(coordinates(group, 1.0)), group.exp(coordinates(group, 2.0))
        points = torch.randn(64, 5, group.space_dim, dtype=torch.float64)
        assert ((g @ h)(points) - g(h(points))).abs().max() < 1e-12

    def test_associative_with_identity_and_inverse(self, group):
        g, h, k = (group.exp(coordinates(group, size)) for size in (0.3, 1.0, 2.0))
        one = Affine.identity(group.space_dim, (64,), like=g.shift)
        assert distance((g @ h) @ k, g @ (h @ k)) < 1e-12
        assert distance(g @ g.inverse(), one) < 1e-12
        assert distance(one @ g, g) == 0

    def test_volume_element_is_the_jacobian_of_exp(self, group):
        """|det| of d/dxi log(exp(xi0)^-1 exp(xi)) at xi0, by float64 autodiff."""
        xi = coordinates(group, 1.2, count=1)[0]
        back = group.exp(xi).inverse()
        jacobian = torch.autograd.functional.jacobian(lambda x: group.log(back @ group.exp(x)), xi)
        assert torch.linalg.det(jacobian).abs().log() == pytest.approx(float(group.log_jacobian(xi)), abs=1e-9)


@pytest.mark.parametrize("size", [0.0, 1e-9, 0.3, 0.5, 2.0, math.pi - 1e-3])
@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.name)
def test_first_and_second_derivatives(group, size):
    xi = coordinates(group, size, count=2).requires_grad_()
    weights = torch.randn(2, group.space_dim, group.space_dim + 1, dtype=torch.float64)

    def exp(x):
        g = group.exp(x)
        return (torch.cat([g.linear, g.shift.unsqueeze(-1)], -1) * weights).sum((-1, -2))

    def there_and_back(x):
        return group.log(group.exp(x))

    for function in (exp, there_and_back):
        assert gradcheck(function, xi, check_forward_ad=True)
        assert gradgradcheck(function, xi)


@pytest.mark.parametrize("size", [0.0, 1e-6, 1e-3, 0.1, 2.0, math.pi - 1e-3])
def test_the_quick_derivative_of_rotations_is_the_smooth_one(size):
    """In float32, where digits are lost near the identity, against float64 through the series."""
    xi = coordinates(SO3, size)
    weights = torch.randn(64, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    quick, smooth = xi.float().requires_grad_(), xi.clone().requires_grad_()
    (fast,) = torch.autograd.grad((SO3.exp(quick).linear * weights.float()).sum(), quick)
    (slow,) = torch.autograd.grad((SO3.exp(smooth).linear * weights).sum(), smooth, create_graph=True)
    assert (fast - slow).abs().max() < 2e-5


def test_exp_under_transforms():
    xi = coordinates(SO3, 1.0, count=5)
    rows = torch.func.vmap(torch.func.jacrev(lambda x: SO3.exp(x).linear))(xi)
    columns = torch.func.vmap(torch.func.jacfwd(lambda x: SO3.exp(x).linear))(xi)
    assert (rows - columns).abs().max() < 1e-12


@pytest.mark.parametrize("size", [0.0, 1e-4, math.pi - 1e-4])
def test_float32_derivatives_are_finite(size):
    xi = coordinates(SE3, size, torch.float32).requires_grad_()
    g = SE3.exp(xi)
    (first,) = torch.autograd.grad(g.linear.pow(3).sum() + SE3.log(g).pow(2).sum(), xi, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), xi)
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()


def test_rotations_agree_with_scipy():
    """Outside oracle for the conventions: active rotations of column vectors, right-handed."""
    xi = coordinates(SO3, 2.0)
    theirs = Rotation.from_rotvec(xi.numpy())
    assert (SO3.exp(xi).linear - torch.tensor(theirs.as_matrix())).abs().max() < 1e-14
    assert (SO3.log(SO3.exp(xi)) - torch.tensor(theirs.as_rotvec())).abs().max() < 1e-14


def test_a_quarter_turn_about_z_takes_x_to_y():
    turn = SO3.exp(torch.tensor([0.0, 0.0, math.pi / 2]))
    assert torch.allclose(turn(torch.tensor([[1.0, 0.0, 0.0]])), torch.tensor([[0.0, 1.0, 0.0]]), atol=1e-6)


def test_the_angle_pi_itself():
    for axis in torch.eye(3, dtype=torch.float64):
        back = SO3.log(SO3.exp(math.pi * axis))
        assert back.abs().allclose(math.pi * axis, atol=1e-12)


def test_wrong_shapes_are_named(untyped):
    with pytest.raises(UserError, match=r"`xi` must have shape \(\.\.\., 3\), got \(5, 2\)"):
        SO3.exp(torch.zeros(5, 2))
    with pytest.raises(UserError, match=r"`points` must have shape"):
        SO3.exp(torch.zeros(3))(torch.zeros(4, 2))
    with pytest.raises(UserError, match=r"`linear` and `shift`"):
        Affine(torch.zeros(2, 2), torch.zeros(3))
