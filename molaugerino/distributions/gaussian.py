"""Gaussian translations."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from molaugerino.distributions.base import Extent, GroupDistribution, bounded, width_parameter
from molaugerino.errors import UserError
from molaugerino.groups import T3, Affine

NARROWEST = 1e-3  # angstrom; below, `divergence` is constant


class TranslationGaussian(GroupDistribution):
    """Shifts from the normal law: v = s n, n standard normal in three dimensions.

    There is no Haar law on R^3: the widest member is that of standard deviation `cap`, and the
    divergence is counted to it, 3 (log(cap / s) + s^2 / (2 cap^2) - 1/2) nats.

    Args:
        sigma: standard deviation s per axis in the unit of the points (angstrom for molecules), in [0, cap].
        cap: the largest one, in the same unit.

    Raises:
        UserError: for a cap that is not positive or a value outside the range.
    """

    noise_dim = 3

    def __init__(self, sigma: float = 0.1, cap: float = 1.0) -> None:
        super().__init__()
        if not 0 < cap < math.inf:
            raise UserError(f"`cap` must be a positive length, got {cap}")
        self.group = T3()
        self.cap = float(cap)
        self._sigma = width_parameter(sigma, torch.tensor(self.cap), "angstrom")

    @property
    def sigma(self) -> Tensor:
        """s in angstrom, differentiable."""
        return bounded(self._sigma, self.cap)

    def elements(self, noise: Tensor, context: Any = None) -> Affine:
        least = torch.finfo(noise.dtype).eps / 4  # noise may be 0, where the quantile is infinite
        return self.group.exp(self.sigma.to(noise.dtype) * torch.special.ndtri(noise.clamp_min(least)))

    def divergence(self, context: Any = None) -> Tensor:
        ratio = self.sigma.clamp_min(NARROWEST) / self.cap
        return 3 * (ratio.square() / 2 - ratio.log() - 0.5)

    def log_prob(self, g: Affine, context: Any = None) -> Tensor:
        sigma = self.sigma.double().clamp_min(NARROWEST)
        square = (g.shift.double() / sigma).square().sum(-1)
        return (-square / 2 - 3 * sigma.log() - 1.5 * math.log(2 * math.pi)).to(g.shift.dtype)

    def describe(self) -> list[Extent]:
        s = float(self.sigma.detach())
        nats = max(float(self.divergence().detach()), 0.0)
        root = math.sqrt(3)
        mean = 2 * math.sqrt(2 / math.pi) * s
        return [Extent("translation", self.group.axes, root * s, mean, root * self.cap, "angstrom", nats)]
