"""Gaussian translations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from molaugerino.checks import check_last_dims
from molaugerino.distributions.algebra_gaussian import LEAST, capped, square_matrix
from molaugerino.distributions.base import Extent, GroupDistribution
from molaugerino.errors import UserError
from molaugerino.groups import T3, Affine
from molaugerino.groups.precision import full_precision

NARROWEST = 1e-3  # of the cap; below, `divergence` is constant


class TranslationGaussian(GroupDistribution):
    """Shifts from a normal law: v = A n, n standard normal in three dimensions, A any 3 x 3 matrix up to a cap.

    The covariance A A^T says along which directions the law shifts, and how far. There is no Haar law on R^3: the
    widest member is that of standard deviation `cap` in every direction, and the divergence is counted to it,
    sum_k (log(cap / s_k) + s_k^2 / (2 cap^2) - 1/2) nats over the singular values s_k of A.

    Args:
        scale: A in the unit of the points (angstrom for molecules): one number s for s I, three for a diagonal, or
            3 x 3.
        cap: the largest standard deviation in any direction, in the same unit.

    Raises:
        UserError: for a cap that is not positive, another shape, or a singular value beyond the cap.
    """

    noise_dim = 3

    def __init__(
        self, scale: float | Sequence[float] | Sequence[Sequence[float]] | Tensor = 0.1, cap: float = 1.0
    ) -> None:
        super().__init__()
        if not 0 < cap < math.inf:
            raise UserError(f"`cap` must be a positive length, got {cap}")
        self.group = T3()
        self.cap = float(cap)
        remedy = "nats are counted to the cap; raise it"
        self._raw = nn.Parameter(square_matrix(scale, self.cap, "angstrom", remedy) / self.cap)

    @property
    def scale(self) -> Tensor:
        """A (3, 3) in angstrom, differentiable."""
        return self.cap * capped(self._raw)

    @full_precision
    def elements(self, noise: Tensor, context: Any = None) -> Affine:
        check_last_dims("noise", noise, self.noise_dim)
        normal = torch.special.ndtri(noise.clamp(LEAST, 1 - LEAST))
        return self.group.exp(normal @ self.scale.to(noise.dtype).mT)

    def divergence(self, context: Any = None) -> Tensor:
        ratio = capped(self._raw).double()
        covariance = ratio @ ratio.mT
        floor = NARROWEST**2 * torch.eye(3, dtype=ratio.dtype, device=ratio.device)
        log_det = torch.linalg.slogdet(covariance + floor).logabsdet - 3 * math.log1p(NARROWEST**2)
        return ((covariance.diagonal().sum() - 3 - log_det) / 2).to(self._raw.dtype)

    def widths(self) -> Tensor:
        return self.scale.flatten()

    def log_prob(self, g: Affine, context: Any = None) -> Tensor:
        a, v = self.scale.double(), g.shift.double()
        covariance = a @ a.mT + (NARROWEST * self.cap) ** 2 * torch.eye(3, dtype=a.dtype, device=a.device)
        square = (v @ torch.linalg.inv_ex(covariance).inverse * v).sum(-1)
        log_det = torch.linalg.slogdet(2 * math.pi * covariance).logabsdet
        return (-(square + log_det) / 2).to(g.shift.dtype)

    def describe(self) -> list[Extent]:
        s = torch.linalg.svdvals(self.scale.detach().double())
        rms = float(s.square().sum().sqrt())
        nats = max(float(self.divergence().detach()), 0.0)
        mean = _mean_length(s)
        return [Extent("translation", self.group.axes, rms, mean, math.sqrt(3) * self.cap, "angstrom", nats)]


def _mean_length(s: Tensor) -> float:
    """E |diag(s) n| = 4 / sqrt(2 pi) E_u |diag(s) u|, u uniform on the sphere."""
    points, weights = _sphere()
    return 2 * math.sqrt(2 / math.pi) * float(weights @ (points * s.cpu()).norm(dim=-1).mean(-1))


@lru_cache
def _sphere() -> tuple[Tensor, Tensor]:
    """Unit vectors (64, 64, 3) and weights (64,) of the first axis, Gauss-Legendre times a trapezoid.

    Made once: a law is described all through a training, and for a tenth of a second after each call of LAPACK the
    threads of numpy do nothing but wait for the next.
    """
    nodes, weights = np.polynomial.legendre.leggauss(64)
    phi = 2 * math.pi * torch.arange(64, dtype=torch.float64) / 64
    z = torch.from_numpy(nodes)[:, None]
    rho = (1 - z.square()).sqrt()
    points = torch.stack([rho * phi.cos(), rho * phi.sin(), z.expand(-1, 64)], -1)
    return points, torch.from_numpy(weights) / 2
