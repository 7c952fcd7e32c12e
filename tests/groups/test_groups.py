"""Every property over every group, element size and precision; the oracle is the matrix exponential."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import linalg
from scipy.spatial.transform import Rotation
from torch.autograd import gradcheck, gradgradcheck

from molaugerino.errors import UserError
from molaugerino.groups import (
    O3,
    SE2,
    SE3,
    SO2,
    SO3,
    T2,
    T3,
    Affine,
    AnisotropicScale,
    DirectProduct,
    MatrixGroup,
    Scale,
    Shear,
    aff2,
    aff3,
    colours,
)
from molaugerino.groups.matrix import matrix_log

HEISENBERG = torch.zeros(3, 3, 3)  # upper triangular: nilpotent, no two of the first generators commute
HEISENBERG[0, 0, 1] = HEISENBERG[1, 1, 2] = HEISENBERG[2, 0, 2] = 1.0
RIGID = [SO2, SO3, T2, T3, SE2, SE3, O3]
OTHERS = [
    Scale(2),
    Scale(3),
    AnisotropicScale(3),
    Shear(),
    aff2(),
    aff3(),
    colours(),
    DirectProduct(SO3, Scale(3)),
    MatrixGroup(HEISENBERG, name="Heisenberg"),
]
GROUPS = RIGID + OTHERS
SIZES = [0.0, 1e-7, 1e-3, 0.4999, 0.5001, 1.0, 2.5, math.pi - 1e-3]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6}


def coordinates(group, size, dtype=torch.float64, count=64):
    """Random algebra coordinates whose rotation angle (or shift, or strain) is about `size`."""
    generator = torch.Generator().manual_seed(int(size * 1e4) + group.dim)
    xi = torch.randn(count, group.dim, generator=generator, dtype=torch.float64)
    turning = [k for k, axis in enumerate(group.axes) if axis.startswith("r")] or list(range(group.dim))
    strains = [k for k, axis in enumerate(group.axes) if not axis.startswith(("r", "t"))]
    if strains:
        size = 0.8 * size if set(turning) != set(strains) else 0.3 * size  # principal logarithms exist
    xi[:, turning] *= size / xi[:, turning].norm(dim=-1, keepdim=True)
    if set(turning) != set(strains):
        xi[:, strains] *= 0.2
    return xi.to(dtype)


def distance(g, h):
    """Largest difference, relative to the size of the entries where they are large."""
    scale = 1 + max(g.linear.abs().max(), g.shift.abs().max())
    return max((g.linear - h.linear).abs().max(), (g.shift - h.shift).abs().max()) / scale


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
        slack = 1e3 if dtype == torch.float32 and (size > 3 or isinstance(group, MatrixGroup)) else 10
        assert (group.log(group.exp(xi)) - xi).abs().max() < slack * TOLERANCE[dtype]

    def test_exp_of_minus_is_the_inverse(self, group, size, dtype):
        xi = coordinates(group, size, dtype)
        assert distance(group.exp(-xi), group.exp(xi).inverse()) < 10 * TOLERANCE[dtype]

    def test_adjoint(self, group, size, dtype):
        xi = coordinates(group, size, dtype)
        g = group.exp(coordinates(group, 1.3, dtype))
        moved = (group.adjoint(g) @ xi.unsqueeze(-1)).squeeze(-1)
        assert distance(group.exp(moved), g @ group.exp(xi) @ g.inverse()) < 20 * TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("group", RIGID, ids=lambda g: g.name)
def test_rigid_motions_have_orthogonal_linear_parts(group, size, dtype):
    linear = group.exp(coordinates(group, size, dtype)).linear
    eye = torch.eye(group.space_dim, dtype=dtype)
    assert (linear @ linear.mT - eye).abs().max() < TOLERANCE[dtype]
    assert (torch.linalg.det(linear) - 1).abs().max() < TOLERANCE[dtype]


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


DERIVATIVES = [(g, s) for g in RIGID for s in (0.0, 1e-9, 0.3, 0.5, 2.0, math.pi - 1e-3)]
SLOW = {"Aff(3)": pytest.mark.slow}
DERIVATIVES += [pytest.param(g, s, marks=SLOW.get(g.name, ())) for g in OTHERS for s in (0.0, 1.5)]


@pytest.mark.parametrize(("group", "size"), DERIVATIVES, ids=lambda v: getattr(v, "name", str(v)))
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
    g = SO3.exp(torch.zeros(2, 3))
    apart = r"batch shape \(3,\), these elements \(2,\), and the two must broadcast; give one per element"
    with pytest.raises(UserError, match=f"`points` have {apart}"):
        g(torch.zeros(3, 4, 3))
    with pytest.raises(UserError, match=f"elements to compose with have {apart}"):
        g.compose(SO3.exp(torch.zeros(3, 3)))
    with pytest.raises(UserError, match="`points` are on meta, these elements on cpu"):
        g(torch.zeros(2, 4, 3, device="meta"))
    with pytest.raises(UserError, match=r"maps of R\^3, got maps of R\^2"):
        g.compose(SO2.exp(torch.zeros(2, 1)))


@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.name)
def test_every_function_names_wrong_shapes(group, untyped):
    wrong = torch.zeros(2, group.dim + 1)
    other = Affine.identity(group.space_dim + 1, (2,))
    for function in (group.exp, group.hat):
        with pytest.raises(
            UserError, match=rf"`xi` must have shape \(\.\.\., {group.dim}\), got \(2, {group.dim + 1}\)"
        ):
            function(wrong)
    for function in (group.log, group.adjoint):
        with pytest.raises(UserError, match=rf"`g` must hold maps of R\^{group.space_dim}, got maps of"):
            function(other)


class TestReflections:
    def test_every_element_is_a_sign_times_a_rotation(self):
        g = O3.exp(coordinates(O3, 1.0))
        mirrored = O3.inversion(g)
        assert torch.allclose(torch.linalg.det(mirrored.linear), -torch.ones(64, dtype=torch.float64))
        assert (O3.log(mirrored) - O3.log(g)).abs().max() < 1e-12
        assert distance(O3.inversion(mirrored), g) == 0

    def test_the_adjoint_of_a_mirrored_element(self):
        xi = coordinates(O3, 0.7)
        g = O3.inversion(O3.exp(coordinates(O3, 1.3)))
        moved = (O3.adjoint(g) @ xi.unsqueeze(-1)).squeeze(-1)
        assert distance(O3.exp(moved), g @ O3.exp(xi) @ g.inverse()) < 1e-12


class TestMatrixGroups:
    @pytest.mark.parametrize("size", [0.0, 1e-6, 0.5, 2.5])
    def test_logarithm_against_scipy(self, size):
        full = torch.linalg.matrix_exp(aff3().hat(coordinates(aff3(), size, count=8)))
        for matrix, ours in zip(full, matrix_log(full), strict=True):
            assert np.abs(linalg.logm(matrix.numpy()) - ours.numpy()).max() < 1e-11

    @pytest.mark.parametrize("left", [1e-2, 1e-3, 1e-4, 1e-5, 1e-6])
    def test_logarithm_near_a_half_turn(self, left):
        xi = torch.tensor([[0.3, -0.2, math.pi - left, *change] for change in ((0, 0, 0), (0.3, 0.1, -0.2))]).double()
        group = aff2()
        assert group.axes[2] == "rz"
        assert (group.log(group.exp(xi)) - xi).abs().max() < 1e-9

    def test_generators_are_made_orthonormal(self):
        skewed = torch.tensor([[[0.0, -2.0], [2.0, 0.0]], [[1.0, -3.0], [3.0, 1.0]]])
        group = MatrixGroup(skewed)
        flat = group.generators.flatten(1)
        assert torch.allclose(flat @ flat.mT, torch.eye(2, dtype=torch.float64))
        assert (skewed.double().flatten(1) @ group.generators[0, :2, :2].flatten() > 0).all()

    def test_a_group_of_rotations_given_by_generators_is_the_closed_form(self):
        turns = SO3.hat(torch.eye(3, dtype=torch.float64))[:, :3, :3]
        group = MatrixGroup(turns, orthonormal=False)
        xi = coordinates(SO3, 2.0)
        assert distance(group.exp(xi), SO3.exp(xi)) < 1e-13
        assert (group.log(SO3.exp(xi)) - xi).abs().max() < 1e-12
        assert (group.log_jacobian(xi) - SO3.log_jacobian(xi)).abs().max() < 1e-12
        assert (group.adjoint(SO3.exp(xi)) - SO3.adjoint(SO3.exp(xi))).abs().max() < 1e-12

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((torch.zeros(2, 3),), r"`generators` must have shape \(k, d, d\)"),
            ((torch.eye(2)[None].expand(2, 2, 2),), "linearly independent"),
            ((SO3.hat(torch.eye(3))[:2, :3, :3],), "the bracket of g1 and g2 leaves their span"),
            ((torch.eye(2)[None], torch.zeros(1, 3)), r"`shifts` must have shape \(1, 2\)"),
            ((torch.full((1, 2, 2), math.nan),), "`generators` must be finite, got 4 entries"),
        ],
    )
    def test_generators_that_make_no_group(self, arguments, message, untyped):
        with pytest.raises(UserError, match=message):
            MatrixGroup(*arguments)


class TestProducts:
    def test_factors_act_one_after_the_other(self):
        group = DirectProduct(SO3, Scale(3))
        xi = coordinates(group, 1.0)
        assert distance(group.exp(xi), SO3.exp(xi[:, :3]) @ Scale(3).exp(xi[:, 3:])) == 0
        assert group.axes == ("rx", "ry", "rz", "scale")

    def test_what_does_not_commute_is_refused(self):
        with pytest.raises(UserError, match="do not commute"):
            DirectProduct(SO3, T3)
        with pytest.raises(UserError, match="on the same space, got SO"):
            DirectProduct(SO3, SO2)


class TestTurns:
    @pytest.mark.parametrize("dtype", TOLERANCE)
    @pytest.mark.parametrize("size", SIZES)
    def test_exp_of_angle_times_axis(self, size, dtype):
        axis = torch.nn.functional.normalize(coordinates(SO3, 1.0), dim=-1).to(dtype)
        angle = torch.full((64,), size, dtype=dtype)
        assert distance(SO3.turn(angle, axis), SO3.exp(size * axis)) < TOLERANCE[dtype]

    @pytest.mark.parametrize("size", [0.0, 1e-9, 2.0, math.pi])
    def test_derivatives(self, size):
        axis = torch.nn.functional.normalize(coordinates(SO3, 1.0, count=2), dim=-1)
        angle = torch.full((2,), size, dtype=torch.float64, requires_grad=True)
        assert gradcheck(lambda t: SO3.turn(t, axis).linear, angle, check_forward_ad=True)
        assert gradgradcheck(lambda t: SO3.turn(t, axis).linear, angle)

    def test_under_transforms(self):
        axis, angle = torch.eye(3, dtype=torch.float64), torch.arange(3, dtype=torch.float64)
        rows = torch.func.vmap(torch.func.jacrev(lambda t, n: SO3.turn(t, n).linear))(angle, axis)
        columns = torch.func.vmap(torch.func.jacfwd(lambda t, n: SO3.turn(t, n).linear))(angle, axis)
        assert (rows - columns).abs().max() < 1e-12
