"""The harmonics of the rotation group: what a function on it consists of, and what an average leaves."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.errors import UserError
from molaugerino.groups import Affine
from molaugerino.groups.affine import check_space
from molaugerino.quadrature.base import AveragingSet

ROUNDING = 1e-4  # how far from orthogonal a rotation in float32 may be


def wigner_d(degree: int, rotations: Affine) -> Float[Tensor, "*batch m m"]:
    """D(R)_mn = <Y_m, Y_n o R^-1>: how the real spherical harmonics of degree l turn, Y_n(R^-1 x) = sum_m Y_m(x) D_mn.

    Rows and columns are m = -l, ..., l, with Y_m ~ cos(m phi) for m > 0 and sin(|m| phi) for m < 0, so that l = 1 is
    the rotation itself on (y, z, x). D(R S) = D(R) D(S), and D is orthogonal. R = R_z(a) R_y(b) R_z(c) gives
    D = Z(a) K Z(b) K^T Z(c), where Z mixes m with -m only and K = D(R_x(-pi/2)) takes z to y: no recursion, so no
    digits are lost up to l of some tens. Of a rotary reflection, (-1)^l D(-R): harmonics have the parity of l.

    Args:
        degree: l, >= 0.
        rotations: R, batch shape (*batch), of determinant 1 or -1; shifts are ignored.

    Returns:
        (*batch, 2l + 1, 2l + 1) in the dtype of `rotations`; not to be differentiated, since Euler angles have poles.

    Raises:
        UserError: for a negative degree, or matrices that are not orthogonal.

    Source: Pinchon, Hoggan, Rotation matrices for real spherical harmonics (2007).
    """
    _check_degree(degree)
    check_space(rotations, 3)
    r = rotations.linear.detach()
    off = (r @ r.mT - torch.eye(3, dtype=r.dtype, device=r.device)).abs().amax((-2, -1))
    if not bool((off < ROUNDING).all()):
        raise UserError(f"`rotations` must be orthogonal matrices, got some that are off by {float(off.max()):.3g}")
    sign = torch.linalg.det(r).sign()
    a, b, c = _euler(r * sign[..., None, None])
    k = _z_to_y(degree).to(r)
    m = torch.arange(-degree, degree + 1, device=r.device)
    tilt = k @ _turned(m, b, k.mT.expand(*b.shape, -1, -1))
    return _turned(m, a, _turned(m, -c, tilt.mT).mT) * (sign**degree)[..., None, None]


def power(values: Float[Tensor, "n ..."], nodes: AveragingSet, degree: int) -> Tensor:
    """P_l = (2l + 1) sum_mn <f, D^l_mn>^2, <f, h> the Haar mean of f h: how much of f on SO(3) is of each degree.

    sum_l P_l = mean of f^2 (Parseval; Peter and Weyl). Averaging f over all rotations leaves P_0; over the nodes
    of a set that is exact up to degree L, what lies beyond L can remain: the powers say which set a network needs.

    Args:
        values: f(g_k) at the nodes, shape (n, *rows), in any unit.
        nodes: a set of rotations that is exact up to `degree` plus the degree of f, such as `lebedev`.
        degree: the largest l asked for, >= 0.

    Returns:
        (degree + 1, *rows), in the unit of f squared, none negative.

    Raises:
        UserError: for values of another number of nodes, a negative degree, or nodes that are not rotations.
    """
    _check_degree(degree)
    if bool((torch.linalg.det(nodes.elements.linear) < 0).any()):
        raise UserError(f"`nodes` must be rotations, got {nodes.name}, which has reflections")
    powers = [nodes.mean(values).square()]
    weighted = (values * nodes.weights.to(values).reshape(-1, *[1] * (values.dim() - 1))).reshape(len(values), -1)
    for k in range(1, degree + 1):
        d = wigner_d(k, nodes.elements).flatten(1).to(values)  # (n, (2k + 1)^2)
        powers.append((2 * k + 1) * (d.mT @ weighted).square().sum(0).reshape(values.shape[1:]))
    return torch.stack(powers)


def _euler(r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """a, b, c with R = R_z(a) R_y(b) R_z(c), accurate at the poles too: c is read off what a and b leave."""
    x, y, z = r[..., :, 2].unbind(-1)
    a = torch.atan2(y, x)
    row = torch.stack([-a.sin(), a.cos(), torch.zeros_like(a)], -1)  # second row of R_z(-a)
    left = (row.unsqueeze(-2) @ r).squeeze(-2)  # (sin c, cos c, 0)
    return a, torch.atan2(torch.hypot(x, y), z), torch.atan2(left[..., 0], left[..., 1])


def _turned(m: Tensor, angle: Tensor, rows: Tensor) -> Tensor:
    """Z(angle) @ rows, where Z has cos(m angle) on the diagonal and sin(m angle) at (-m, m)."""
    phase = m * angle.unsqueeze(-1)
    return phase.cos().unsqueeze(-1) * rows + (phase.sin().unsqueeze(-1) * rows).flip(-2)


def _z_to_y(degree: int) -> Tensor:
    """D(R_x(-pi/2)) = exp(i pi/2 J_x) in the real basis, float64."""
    m = torch.arange(-degree, degree, dtype=torch.float64)
    raising = (degree * (degree + 1) - m * (m + 1)).sqrt()  # <m + 1| J_+ |m>
    x = (torch.diag(raising, -1) + torch.diag(raising, 1)).to(torch.complex128) / 2
    u = _real_basis(degree)
    generator = (u.mH @ (1j * x) @ u).real  # antisymmetric
    return torch.linalg.matrix_exp(math.pi / 2 * generator)


def _real_basis(degree: int) -> Tensor:
    """Columns: the real harmonics in terms of the complex ones, (Y_-m + (-1)^m Y_m) / sqrt 2 and i (Y_-m - ...)."""
    real, imaginary = torch.zeros(2, 2 * degree + 1, 2 * degree + 1, dtype=torch.float64)
    real[degree, degree] = 1
    for m in range(1, degree + 1):
        low, high, parity = degree - m, degree + m, (-1) ** m
        real[low, high], real[high, high] = math.sqrt(0.5), parity * math.sqrt(0.5)
        imaginary[low, low], imaginary[high, low] = math.sqrt(0.5), -parity * math.sqrt(0.5)
    return torch.complex(real, imaginary)


def _check_degree(degree: int) -> None:
    if degree < 0:
        raise UserError(f"`degree` must be >= 0, got {degree}")
