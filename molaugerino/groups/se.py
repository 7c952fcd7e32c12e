"""Translations and rigid motions, in closed form."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.errors import check_last_dims
from molaugerino.groups.affine import Affine
from molaugerino.groups.algebra import cosc, cotc, hat, tanc
from molaugerino.groups.so import SO3, homogeneous, rotation, rotation_vector


class T3:
    """Translations of space: exp(v) = (x -> x + v). The volume is infinite, so there is no Haar law."""

    name = "T(3)"
    dim = 3
    space_dim = 3
    axes: tuple[str, ...] = ("tx", "ty", "tz")
    log_volume = 0.0

    @staticmethod
    def hat(xi: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 4 4"]:
        return homogeneous(torch.zeros_like(hat(xi)), xi)

    @staticmethod
    def exp(xi: Float[Tensor, "*batch 3"]) -> Affine:
        check_last_dims("xi", xi, 3)
        eye = torch.eye(3, dtype=xi.dtype, device=xi.device)
        return Affine(eye.expand(*xi.shape, 3), xi)

    @staticmethod
    def log(g: Affine) -> Float[Tensor, "*batch 3"]:
        return g.shift

    @staticmethod
    def adjoint(g: Affine) -> Float[Tensor, "*batch 3 3"]:
        return g.linear

    @staticmethod
    def log_jacobian(xi: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
        return torch.zeros_like(xi[..., 0])


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
        w = rotation_vector(g.linear)
        turned = torch.linalg.cross(w, g.shift)
        twice = torch.linalg.cross(w, turned)
        return torch.cat([w, g.shift - turned / 2 + cotc(w.square().sum(-1, keepdim=True)) * twice], -1)

    @staticmethod
    def adjoint(g: Affine) -> Float[Tensor, "*batch 6 6"]:
        r = g.linear
        upper = torch.cat([r, torch.zeros_like(r)], -1)
        lower = torch.cat([hat(g.shift) @ r, r], -1)
        return torch.cat([upper, lower], -2)

    @staticmethod
    def log_jacobian(xi: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch"]:
        """Twice that of SO(3): once for the rotation, once for det V."""
        return 2 * SO3.log_jacobian(xi[..., :3])
