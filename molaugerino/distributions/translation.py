"""Translations, uniform in a ball up to a stated cap."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from molaugerino.checks import check_last_dims
from molaugerino.distributions.base import Extent, GroupDistribution, bounded, width_parameter, within
from molaugerino.distributions.haar import sphere
from molaugerino.errors import UserError
from molaugerino.groups import T3, Affine

NARROWEST = 1e-3  # angstrom; below, `divergence` is constant


class TranslationBall(GroupDistribution):
    """Shifts uniform in a ball: p(v) = 3 / (4 pi w^3) for |v| <= w.

    There is no Haar law on R^3, so the widest law is the ball of radius `cap`, and the
    divergence is counted to it: 3 log(cap / w) nats.

    Args:
        width: radius w in the unit of the points (angstrom for molecules), in [0, cap].
        cap: the largest radius, in the same unit.

    Raises:
        UserError: for a cap that is not positive or a width outside the range.
    """

    noise_dim = 3

    def __init__(self, width: float = 0.1, cap: float = 1.0) -> None:
        super().__init__()
        if not 0 < cap < math.inf:
            raise UserError(f"`cap` must be a positive length, got {cap}")
        self.group = T3()
        self.cap = float(cap)
        self._width = width_parameter(width, torch.tensor(self.cap), "angstrom")

    @property
    def width(self) -> Tensor:
        """w in angstrom, differentiable."""
        return bounded(self._width, self.cap)

    def elements(self, noise: Tensor, context: Any = None) -> Affine:
        check_last_dims("noise", noise, self.noise_dim)
        radius = self.width.to(noise.dtype) * noise[..., :1].pow(1 / 3)
        return self.group.exp(radius * sphere(noise[..., 1:]))

    def divergence(self, context: Any = None) -> Tensor:
        return 3 * (math.log(self.cap) - self.width.clamp_min(NARROWEST).log())

    def widths(self) -> Tensor:
        return self.width.reshape(1)

    def log_prob(self, g: Affine, context: Any = None) -> Tensor:
        width = self.width.double().clamp_min(NARROWEST)
        inside = within(g.shift.double().norm(dim=-1), width, g)
        return torch.where(inside, -math.log(4 * math.pi / 3) - 3 * width.log(), -math.inf).to(g.shift.dtype)

    def describe(self) -> list[Extent]:
        w = float(self.width.detach())
        nats = max(float(self.divergence().detach()), 0.0)
        return [Extent("translation", self.group.axes, w, 0.75 * w, self.cap, "angstrom", nats)]
