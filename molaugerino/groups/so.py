"""Rotations of the plane and of space, in closed form."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.errors import check_last_dims
from molaugerino.groups.affine import Affine
from molaugerino.groups.algebra import angle_per_sine, cosc, hat, sinc


def homogeneous(linear: Float[Tensor, "*batch d d"], shift: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch h h"]:
    """[[linear, shift], [0, 0]]: an algebra element as a matrix on (x, 1)."""
    return torch.nn.functional.pad(torch.cat([linear, shift.unsqueeze(-1)], -1), (0, 0, 0, 1))


class SO2:
    """Rotations of the plane: exp(a) = [[cos a, -sin a], [sin a, cos a]].

    Coordinate a in radians. `log` returns a in (-pi, pi].
    """

    name = "SO(2)"
    dim = 1
    space_dim = 2
    axes: tuple[str, ...] = ("rz",)
    log_volume = math.log(2 * math.pi)

    @staticmethod
    def hat(xi: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch 3 3"]:
        a = xi[..., 0]
        o = torch.zeros_like(a)
        return homogeneous(torch.stack([o, -a, a, o], -1).reshape(*a.shape, 2, 2), torch.stack([o, o], -1))

    @staticmethod
    def exp(xi: Float[Tensor, "*batch 1"]) -> Affine:
        check_last_dims("xi", xi, 1)
        c, s = xi[..., 0].cos(), xi[..., 0].sin()
        return Affine(torch.stack([c, -s, s, c], -1).reshape(*c.shape, 2, 2), torch.zeros_like(xi).expand(*c.shape, 2))

    @staticmethod
    def log(g: Affine) -> Float[Tensor, "*batch 1"]:
        return torch.atan2(
            g.linear[..., 1, 0] - g.linear[..., 0, 1], g.linear[..., 0, 0] + g.linear[..., 1, 1]
        ).unsqueeze(-1)

    @staticmethod
    def adjoint(g: Affine) -> Float[Tensor, "*batch 1 1"]:
        return torch.ones_like(g.linear[..., :1, :1])

    @staticmethod
    def log_jacobian(xi: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch"]:
        return torch.zeros_like(xi[..., 0])


class SO3:
    """Rotations of space (Rodrigues): exp(w) = I + sin t / t K + (1 - cos t) / t^2 K^2.

    Coordinates w: rotation vector in radians, t = |w|, K = hat(w). `log` returns the w with
    t <= pi, through the quaternion's largest component, so that it is accurate at 0 and
    near pi; at pi exactly the sign of the axis is arbitrary.
    """

    name = "SO(3)"
    dim = 3
    space_dim = 3
    axes: tuple[str, ...] = ("rx", "ry", "rz")
    log_volume = math.log(8 * math.pi**2)

    @staticmethod
    def hat(xi: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 4 4"]:
        return homogeneous(hat(xi), torch.zeros_like(xi))

    @staticmethod
    def exp(xi: Float[Tensor, "*batch 3"]) -> Affine:
        check_last_dims("xi", xi, 3)
        return Affine(rotation(xi), torch.zeros_like(xi))

    @staticmethod
    def log(g: Affine) -> Float[Tensor, "*batch 3"]:
        return rotation_vector(g.linear)

    @staticmethod
    def adjoint(g: Affine) -> Float[Tensor, "*batch 3 3"]:
        return g.linear

    @staticmethod
    def log_jacobian(xi: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
        """log of 2 (1 - cos t) / t^2."""
        return (2 * cosc(xi.square().sum(-1))).log()


def rotation(w: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rodrigues' formula, written out: R = cos t I + sin t / t K + (1 - cos t) / t^2 w w^T."""
    s = w.square().sum(-1)
    a, b = sinc(s), cosc(s)
    x, y, z = w.unbind(-1)
    ax, ay, az = a * x, a * y, a * z
    bx, by, bz = b * x, b * y, b * z
    cosine = 1 - b * s
    xy, xz, yz = bx * y, bx * z, by * z
    rows = [cosine + bx * x, xy - az, xz + ay, xy + az, cosine + by * y, yz - ax, xz - ay, yz + ax, cosine + bz * z]
    return torch.stack(rows, -1).reshape(*w.shape[:-1], 3, 3)


def axis_angle(axis: Float[Tensor, "*batch 3"], angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3 3"]:
    """R = cos t I + sin t K + (1 - cos t) n n^T for a unit axis n, K = hat(n): smooth in t without any series."""
    c, s = angle.cos(), angle.sin()
    x, y, z = axis.unbind(-1)
    v = 1 - c
    sx, sy, sz = s * x, s * y, s * z
    vx, vy = v * x, v * y
    xy, xz, yz = vx * y, vx * z, vy * z
    rows = [c + vx * x, xy - sz, xz + sy, xy + sz, c + vy * y, yz - sx, xz - sy, yz + sx, c + v * z * z]
    return torch.stack(rows, -1).reshape(*angle.shape, 3, 3)


def rotation_vector(r: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Inverse of `rotation` for angles up to pi."""
    q = _quaternion(r)  # (*batch, 4), scalar part first
    q = torch.where(q[..., :1] < 0, -q, q)
    v = q[..., 1:]
    return 2 * angle_per_sine(v.square().sum(-1), q[..., 0]).unsqueeze(-1) * v


def _quaternion(r: Tensor) -> Tensor:
    """Unit quaternion of a rotation from the row of 4 q q^T with the largest diagonal entry."""
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in r.unbind(-2))
    outer = [1 + a + e + i, h - f, c - g, d - b, h - f, 1 + a - e - i, b + d, c + g]
    outer += [c - g, b + d, 1 - a + e - i, f + h, d - b, c + g, f + h, 1 - a - e + i]
    table = torch.stack(outer, -1).reshape(*r.shape[:-2], 4, 4)  # 4 q q^T
    largest = table.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = table.gather(-2, largest[..., None, None].expand(*largest.shape, 1, 4)).squeeze(-2)
    return row / row.norm(dim=-1, keepdim=True)
