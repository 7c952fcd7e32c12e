"""Rotations about an axis, and away from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from molaugerino.checks import check_last_dims
from molaugerino.distributions.base import Extent, GroupDistribution, bounded, width_parameter, within
from molaugerino.errors import UserError
from molaugerino.groups import SO3, Affine

NARROWEST = 1e-3  # rad; below, `divergence` is constant


class SwingTwist(GroupDistribution):
    """g = B exp(swing) exp(twist) B^-1: a turn about an axis n = B e_z, then a tilt of that axis.

    The twist is uniform in [-w_t, w_t], the tilted axis uniform in the spherical cap of half-angle
    w_s about n: density sin t / (1 - cos w_s) of the tilt t. At w_t = w_s = pi it is exactly Haar, at
    w_s = 0 and w_t = pi exactly uniform on the rotations about n. The axis is trained with the widths.

    Args:
        axis: n, three numbers, any length but 0.
        twist: w_t in radians, in [0, pi].
        swing: w_s in radians, in [0, pi].

    Raises:
        UserError: for a zero axis or a width outside its range.

    `divergence` is the Kullback-Leibler divergence to Haar: log(pi / w_t) + log(2 / (1 - cos w_s)).
    """

    noise_dim = 3

    def __init__(self, axis: Sequence[float] = (0.0, 0.0, 1.0), twist: float = 0.1, swing: float = 0.1) -> None:
        super().__init__()
        self.group = SO3()
        n = torch.as_tensor(axis, dtype=torch.get_default_dtype())
        if n.shape != (3,) or not bool(torch.isfinite(n).all()) or not bool(n.any()):
            raise UserError(f"`axis` must be three finite numbers, not all zero, got {tuple(n.tolist())}")
        self._frame = nn.Parameter(_turn_from_z(n / n.norm()))
        self._twist = width_parameter(twist, torch.tensor(math.pi), "rad")
        self._swing = width_parameter(swing, torch.tensor(math.pi), "rad")

    @property
    def axis(self) -> Tensor:
        """n (3,), of length one, differentiable."""
        return SO3.exp(self._frame).linear[:, 2]

    @property
    def twist(self) -> Tensor:
        """w_t in radians, differentiable."""
        return bounded(self._twist, math.pi)

    @property
    def swing(self) -> Tensor:
        """w_s in radians, differentiable."""
        return bounded(self._swing, math.pi)

    def elements(self, noise: Tensor, context: Any = None) -> Affine:
        check_last_dims("noise", noise, self.noise_dim)
        turn = self.twist.to(noise.dtype) * (2 * noise[..., 0] - 1)
        # 1 - cos t = u (1 - cos w) in half angles, where it is smooth at 0
        tilt = 2 * (noise[..., 1].sqrt() * (self.swing.to(noise.dtype) / 2).sin()).asin()
        phi = 2 * math.pi * noise[..., 2]
        zero = torch.zeros_like(turn)
        swung = SO3.exp(torch.stack([tilt * phi.cos(), tilt * phi.sin(), zero], -1))
        turned = swung.compose(SO3.exp(torch.stack([zero, zero, turn], -1)))
        frame = self._frame.to(noise.dtype)
        return SO3.exp(frame).compose(turned).compose(SO3.exp(-frame))

    def _nats(self) -> tuple[Tensor, Tensor]:
        half = self.swing.clamp_min(NARROWEST) / 2
        return math.log(math.pi) - self.twist.clamp_min(NARROWEST).log(), -2 * half.sin().log()

    def divergence(self, context: Any = None) -> Tensor:
        return torch.stack(self._nats()).sum()

    def widths(self) -> Tensor:
        return torch.stack([self.twist, self.swing])

    def log_prob(self, g: Affine, context: Any = None) -> Tensor:
        frame = SO3.exp(self._frame.double())
        m = (frame.inverse() @ g.to(torch.float64) @ frame).linear
        tilt = torch.atan2(m[..., :2, 2].norm(dim=-1), m[..., 2, 2])
        turn = torch.atan2(m[..., 1, 0] - m[..., 0, 1], m[..., 0, 0] + m[..., 1, 1]).abs()
        widths = self.swing.double().clamp_min(NARROWEST), self.twist.double().clamp_min(NARROWEST)
        inside = within(tilt, widths[0], g) & within(turn, widths[1], g)
        return torch.where(inside, self.divergence() - SO3.log_volume, -math.inf).to(g.shift.dtype)

    def describe(self) -> list[Extent]:
        twist, swing = float(self.twist.detach()), float(self.swing.detach())
        mean = (math.sin(swing) - swing * math.cos(swing)) / (1 - math.cos(swing)) if swing > 1e-3 else 2 * swing / 3
        nats = [float(part.detach()) for part in self._nats()]
        degrees = math.degrees
        return [
            Extent("twist angle", ("rz",), degrees(twist), degrees(twist / 2), 180.0, "degree", nats[0]),
            Extent("swing angle", ("rx", "ry"), degrees(swing), degrees(mean), 180.0, "degree", nats[1]),
        ]


def _turn_from_z(n: Tensor) -> Tensor:
    """The shortest rotation vector that takes e_z to the unit vector n."""
    across = torch.stack([-n[1], n[0], torch.zeros_like(n[0])])  # e_z x n
    sine = across.norm()
    if float(sine) < 1e-12:
        return torch.tensor([0.0 if n[2] > 0 else math.pi, 0.0, 0.0], dtype=n.dtype)
    return torch.atan2(sine, n[2]) * across / sine
