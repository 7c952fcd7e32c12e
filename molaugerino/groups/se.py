"""Translations and rigid motions, in closed form."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.checks import check_last_dims
from molaugerino.groups.affine import Affine, Shift, check_space
from molaugerino.groups.algebra import cosc, cotc, hat, sinc, tanc
from molaugerino.groups.so import SO2, SO3, homogeneous, rotation, rotation_vector, sign


class _Translations:
    """exp(v) = (x -> x + v). The volume is infinite, so there is no Haar law."""

    name: str
    dim: int
    space_dim: int
    axes: tuple[str, ...]
    log_volume = 0.0

    @classmethod
    def hat(cls, xi: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch h h"]:
        check_last_dims("xi", xi, cls.dim)
        return homogeneous(torch.zeros_like(xi.unsqueeze(-1) * xi.unsqueeze(-2)), xi)

    @classmethod
    def exp(cls, xi: Float[Tensor, "*batch d"]) -> Affine:
        check_last_dims("xi", xi, cls.dim)
        eye = torch.eye(cls.dim, dtype=xi.dtype, device=xi.device)
        return Shift(eye.expand(*xi.shape, cls.dim), xi)

    @classmethod
    def log(cls, g: Affine) -> Float[Tensor, "*batch d"]:
        check_space(g, cls.space_dim)
        return g.shift

    @classmethod
    def adjoint(cls, g: Affine) -> Float[Tensor, "*batch d d"]:
        check_space(g, cls.space_dim)
        return g.linear

    @classmethod
    def log_jacobian(cls, xi: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        return torch.zeros_like(xi[..., 0])


class T2(_Translations):
    """Translations of the plane."""

    name = "T(2)"
    dim = space_dim = 2
    axes: tuple[str, ...] = ("tx", "ty")


class T3(_Translations):
    """Translations of space."""

    name = "T(3)"
    dim = space_dim = 3
    axes: tuple[str, ...] = ("tx", "ty", "tz")


class SE2:
    """Rigid motions of the plane: exp(a, v) = (x -> R x + V v), R the turn by a.

    V = sin a / a I + (1 - cos a) / a K, K = [[0, -1], [1, 0]]. Coordinates: angle a (radians),
    then v (unit of the points). `log` returns a in (-pi, pi].
    """

    name = "SE(2)"
    dim = 3
    space_dim = 2
    axes: tuple[str, ...] = ("rz", "tx", "ty")
    log_volume = SO2.log_volume

    @staticmethod
    def hat(xi: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
        check_last_dims("xi", xi, 3)
        return SO2.hat(xi[..., :1]) + T2.hat(xi[..., 1:])

    @staticmethod
    def exp(xi: Float[Tensor, "*batch 3"]) -> Affine:
        check_last_dims("xi", xi, 3)
        a, v = xi[..., :1], xi[..., 1:]
        s = a.square()
        return Affine(SO2.exp(a).linear, sinc(s) * v + a * cosc(s) * _quarter_turn(v))

    @staticmethod
    def log(g: Affine) -> Float[Tensor, "*batch 3"]:
        """V^-1 = (a/2) cot(a/2) I - a/2 K."""
        a = SO2.log(g)
        s = a.square()
        return torch.cat([a, (1 - s * cotc(s)) * g.shift - a / 2 * _quarter_turn(g.shift)], -1)

    @staticmethod
    def adjoint(g: Affine) -> Float[Tensor, "*batch 3 3"]:
        check_space(g, 2)
        upper = torch.nn.functional.pad(torch.ones_like(g.linear[..., :1, :1]), (0, 2))
        return torch.cat([upper, torch.cat([-_quarter_turn(g.shift).unsqueeze(-1), g.linear], -1)], -2)

    @staticmethod
    def log_jacobian(xi: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
        """log det V = log of 2 (1 - cos a) / a^2."""
        return (2 * cosc(xi[..., 0].square())).log()


def _quarter_turn(v: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
    return torch.stack([-v[..., 1], v[..., 0]], -1)


class SE3:
    """Rigid motions of space: exp(w, v) = (x -> R x + V v), R = exp(hat(w)).

    V = I + (1 - cos t) / t^2 K + (t - sin t) / t^3 K^2, t = |w|, K = hat(w).
    Coordinates: rotation vector w (radians), then v (unit of the points).
    """

    name = "SE(3)"
    dim = 6
    space_dim = 3
    axes: tuple[str, ...] = ("rx", "ry", "rz", "tx", "ty", "tz")
    log_volume = SO3.log_volume

    @staticmethod
    def hat(xi: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 4 4"]:
        check_last_dims("xi", xi, 6)
        return homogeneous(hat(xi[..., :3]), xi[..., 3:])

    @staticmethod
    def exp(xi: Float[Tensor, "*batch 6"]) -> Affine:
        check_last_dims("xi", xi, 6)
        w, v = xi[..., :3], xi[..., 3:]
        s = w.square().sum(-1, keepdim=True)
        turned = torch.linalg.cross(w, v)
        shift = v + cosc(s) * turned + tanc(s) * torch.linalg.cross(w, turned)
        return Affine(rotation(w), shift)

    @staticmethod
    def log(g: Affine) -> Float[Tensor, "*batch 6"]:
        """V^-1 = I - K / 2 + (1 - (t/2) cot(t/2)) / t^2 K^2."""
        check_space(g, 3)
        w = rotation_vector(g.linear)
        turned = torch.linalg.cross(w, g.shift)
        twice = torch.linalg.cross(w, turned)
        return torch.cat([w, g.shift - turned / 2 + cotc(w.square().sum(-1, keepdim=True)) * twice], -1)

    @staticmethod
    def adjoint(g: Affine) -> Float[Tensor, "*batch 6 6"]:
        check_space(g, 3)
        r = g.linear
        upper = torch.cat([r, torch.zeros_like(r)], -1)
        lower = torch.cat([torch.linalg.cross(g.shift.unsqueeze(-1), r, dim=-2), r], -1)
        return torch.cat([upper, lower], -2)

    @staticmethod
    def log_jacobian(xi: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch"]:
        """Twice that of SO(3): once for the rotation, once for det V."""
        return 2 * SO3.log_jacobian(xi[..., :3])


class E3(SE3):
    """Rigid motions and reflections of space: det of the linear part = 1 or -1. exp reaches the motions only.

    `log` gives the coordinates of the motion with linear part det(A) A and the same shift: every element is the
    inversion x -> -x, or nothing, followed by exp(log g).
    """

    name = "E(3)"
    log_volume = math.log(2) + SE3.log_volume

    @staticmethod
    def log(g: Affine) -> Float[Tensor, "*batch 6"]:
        return SE3.log(Affine(sign(g) * g.linear, g.shift))

    @staticmethod
    def adjoint(g: Affine) -> Float[Tensor, "*batch 6 6"]:
        check_space(g, 3)
        s = sign(g)
        r = s * g.linear
        upper = torch.cat([r, torch.zeros_like(r)], -1)
        return torch.cat([upper, torch.cat([hat(g.shift) @ r, s * r], -1)], -2)
