"""Groups given by their generators: matrix exponential and logarithm, for what has no closed form."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.checks import check_last_dims
from molaugerino.errors import UserError
from molaugerino.groups.affine import Affine, check_space
from molaugerino.groups.precision import full_precision
from molaugerino.groups.so import SO2, SO3, homogeneous

CLOSED = 1e-6  # relative; brackets of generators may leave their span by rounding only
ROOT_STEPS = (26, 7, 6, 6, 6)  # of each square root; five turn a rotation by pi into one by 0.1
LOG_TERMS = 10
SQUARINGS = 8  # of exp: the series is exact to rounding for matrices of norm up to 70 in float64, 400 in float32


class MatrixGroup:
    """exp(xi) = matrix_exp(sum_i xi_i G_i) for generators G_i that close under brackets.

    Args:
        generators: (k, d, d), the linear parts; with the shifts they must be linearly independent.
        shifts: (k, d), velocities that the generators give to the origin; none where left out.
        name: what the group is called.
        axes: names of the coordinates; g1, g2, ... where none are given.
        orthonormal: replace the generators by orthonormal ones (Gram-Schmidt in their order,
            Frobenius product), so that unit coordinates move points by comparable amounts.
        log_volume: log of the Haar volume of the rotations among them, in these coordinates.

    `log` takes square roots of the matrix until it is near the identity (Denman-Beavers), then
    sums the series of 2 artanh((M - I) (M + I)^-1). It is defined where no eigenvalue of the linear
    part is zero or negative, which is wherever a principal logarithm exists; within 1e-6 rad of a pure
    half turn it is not found. Counts of steps are fixed, so nothing waits for a device.

    Raises:
        UserError: for generators of another shape, dependent ones, or ones whose brackets leave their span.
    """

    def __init__(
        self,
        generators: Tensor,
        shifts: Tensor | None = None,
        name: str = "matrix group",
        axes: Sequence[str] | None = None,
        orthonormal: bool = True,
        log_volume: float = 0.0,
    ) -> None:
        self.log_volume = log_volume
        basis = _homogeneous(generators, shifts)
        self.dim, self.space_dim = len(basis), basis.shape[-1] - 1
        flat = basis.flatten(1)
        if self.dim == 0 or int(torch.linalg.matrix_rank(flat)) < self.dim:
            raise UserError(f"`generators` must be linearly independent, got {self.dim} of which some depend on others")
        if orthonormal:
            q, r = torch.linalg.qr(flat.mT)
            flat = (q * r.diagonal().sign()).mT
        self.name = name
        self.axes = tuple(f"g{k + 1}" for k in range(self.dim)) if axes is None else tuple(axes)
        if len(self.axes) != self.dim:
            raise UserError(f"`axes` must name {self.dim} coordinates, got {len(self.axes)}")
        self.generators = flat.reshape(basis.shape)
        self._dual = torch.linalg.pinv(flat)  # (h * h, k): coordinates of a matrix in the span
        self._structure = self._brackets()  # (k, k, k): [G_i, G_j] = sum_l structure[i, j, l] G_l

    def _brackets(self) -> Tensor:
        g = self.generators
        products = torch.einsum("iab,jbc->ijac", g, g)
        brackets = (products - products.transpose(0, 1)).flatten(2)
        coordinates = brackets @ self._dual
        left = (coordinates @ g.flatten(1) - brackets).norm(dim=-1)
        if bool((left > CLOSED * (1 + brackets.norm(dim=-1))).any()):
            i, j = divmod(int(left.argmax()), self.dim)
            raise UserError(
                f"`generators` do not form a group: the bracket of {self.axes[i]} and {self.axes[j]} leaves their "
                "span; add it as a generator"
            )
        return coordinates

    def to(self, device: torch.device | str) -> MatrixGroup:
        """The same group with its constants on `device`, so that nothing is copied there in each call."""
        moved = copy.copy(self)
        moved.generators = self.generators.to(device)
        moved._dual, moved._structure = self._dual.to(device), self._structure.to(device)
        return moved

    @full_precision
    def hat(self, xi: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch h h"]:
        check_last_dims("xi", xi, self.dim)
        return torch.tensordot(xi, self.generators.to(xi), 1)

    @full_precision
    def vee(self, matrix: Float[Tensor, "*batch h h"]) -> Float[Tensor, "*batch dim"]:
        """Coordinates of an algebra element."""
        return matrix.flatten(-2) @ self._dual.to(matrix)

    def exp(self, xi: Float[Tensor, "*batch dim"]) -> Affine:
        return _affine(matrix_exp(self.hat(xi)))

    @full_precision
    def log(self, g: Affine) -> Float[Tensor, "*batch dim"]:
        check_space(g, self.space_dim)
        return self.vee(matrix_log(_matrix(g)))

    @full_precision
    def adjoint(self, g: Affine) -> Float[Tensor, "*batch dim dim"]:
        check_space(g, self.space_dim)
        m, back = _matrix(g), _matrix(g.inverse())
        moved = m.unsqueeze(-3) @ self.generators.to(m) @ back.unsqueeze(-3)
        return self.vee(moved).mT

    @full_precision
    def log_jacobian(self, xi: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """log |det (1 - exp(-ad)) / ad|: of the left-invariant measure where left and right differ."""
        ad = torch.tensordot(xi, self._structure.to(xi), 1).mT
        k = self.dim
        block = torch.zeros(*ad.shape[:-2], 2 * k, 2 * k, dtype=ad.dtype, device=ad.device)
        eye = torch.eye(k, dtype=ad.dtype, device=ad.device).expand_as(ad)
        upper = torch.cat([-ad, eye], -1)  # exp of [[-ad, 1], [0, 0]] holds the integral of exp(-s ad), s from 0 to 1
        whole = matrix_exp(torch.cat([upper, block[..., k:, :]], -2))
        return torch.linalg.slogdet(whole[..., :k, k:]).logabsdet


@full_precision
def matrix_exp(m: Float[Tensor, "*batch h h"]) -> Float[Tensor, "*batch h h"]:
    """exp(M) by scaling and squaring with fixed counts, where torch.linalg.matrix_exp asks the host for the norms.

    exp(M) - 1 is squared rather than exp(M), so that nothing is lost however small the scaled matrix is.
    """
    eye = torch.eye(m.shape[-1], dtype=m.dtype, device=m.device)
    a = m / 2**SQUARINGS
    square = a @ a
    cube = square @ a
    # sum a^k / k!, k = 1 to 12, in blocks of three (Paterson, Stockmeyer)
    blocks = [sum(p / math.factorial(k + n) for n, p in enumerate((a, square, cube))) for k in (10, 7, 4, 1)]
    total = blocks[0]
    for block in blocks[1:]:
        total = block + cube @ total
    for _ in range(SQUARINGS):
        total = 2 * total + total @ total
    return total + eye


@full_precision
def matrix_log(m: Float[Tensor, "*batch h h"]) -> Float[Tensor, "*batch h h"]:
    """Principal logarithm of matrices without eigenvalues on the closed negative half-axis, or 1e-6 rad from it."""
    eye = torch.eye(m.shape[-1], dtype=m.dtype, device=m.device)
    for steps in ROOT_STEPS:
        m = _square_root(m, eye, steps)
    z = torch.linalg.solve_ex(m + eye, m - eye).result  # they commute
    square, power, total = z @ z, z, z
    for k in range(1, LOG_TERMS):
        power = power @ square
        total = total + power / (2 * k + 1)
    return 2 ** (len(ROOT_STEPS) + 1) * total


def _square_root(m: Tensor, eye: Tensor, steps: int) -> Tensor:
    """Denman-Beavers: y -> sqrt(m), z -> 1 / sqrt(m), quadratically."""
    y, z = m, eye.expand_as(m)
    for _ in range(steps):
        y, z = (y + torch.linalg.inv_ex(z).inverse) / 2, (z + torch.linalg.inv_ex(y).inverse) / 2
    return y


def _homogeneous(generators: Tensor, shifts: Tensor | None) -> Tensor:
    """(k, d + 1, d + 1): [[linear, shift], [0, 0]]."""
    linear = torch.as_tensor(generators, dtype=torch.float64)
    if linear.dim() != 3 or linear.shape[1] != linear.shape[2]:
        raise UserError(f"`generators` must have shape (k, d, d), got {tuple(linear.shape)}")
    shift = linear.new_zeros(linear.shape[:2]) if shifts is None else torch.as_tensor(shifts, dtype=torch.float64)
    if shift.shape != linear.shape[:2]:
        raise UserError(f"`shifts` must have shape {tuple(linear.shape[:2])}, got {tuple(shift.shape)}")
    for name, value in (("generators", linear), ("shifts", shift)):
        if not bool(torch.isfinite(value).all()):
            raise UserError(f"`{name}` must be finite, got {int((~torch.isfinite(value)).sum())} entries that are not")
    return homogeneous(linear, shift)


def _matrix(g: Affine) -> Tensor:
    top = torch.cat([g.linear, g.shift.unsqueeze(-1)], -1)
    last = torch.zeros_like(top[..., :1, :])
    last[..., -1] = 1
    return torch.cat([top, last], -2)


def _affine(m: Tensor) -> Affine:
    return Affine(m[..., :-1, :-1], m[..., :-1, -1])


def aff2() -> MatrixGroup:
    """Affine maps of the plane: shifts, turn, isotropic scale, squeeze diag(1, -1), shear, as published for images."""
    linear = torch.zeros(6, 2, 2)
    linear[2] = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    linear[3] = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    linear[4] = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    linear[5] = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    axes = ("tx", "ty", "rz", "scale", "squeeze", "shear")
    return MatrixGroup(linear, torch.eye(6, 2), "Aff(2)", axes, orthonormal=False, log_volume=SO2.log_volume)


def aff3() -> MatrixGroup:
    """Affine maps of space: three turns, three shears, two squeezes, isotropic scale, three shifts."""
    linear = torch.zeros(12, 3, 3)
    for k, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        linear[k, j, i], linear[k, i, j] = 1.0, -1.0  # turns axis i towards axis j
        linear[3 + k, i, j] = linear[3 + k, j, i] = 1.0
    linear[6] = torch.diag(torch.tensor([1.0, -1.0, 0.0]))
    linear[7] = torch.diag(torch.tensor([0.0, 1.0, -1.0]))
    linear[8] = torch.eye(3)
    shifts = torch.zeros(12, 3)
    shifts[9:] = torch.eye(3)
    axes = ("rx", "ry", "rz", "shear_x", "shear_y", "shear_z", "squeeze_xy", "squeeze_yz", "scale", "tx", "ty", "tz")
    return MatrixGroup(linear, shifts, "Aff(3)", axes, orthonormal=False, log_volume=SO3.log_volume)
