"""The rotation law that reaches from the identity to Haar."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from molaugerino.distributions.base import Extent, GroupDistribution, as_group, bounded, width_parameter
from molaugerino.errors import UserError
from molaugerino.groups import SO2, SO3, Affine, Group
from molaugerino.groups.algebra import cosc, tanc

NARROWEST = 1e-3  # rad; below, `divergence` is constant, since it is infinite at the identity
NEWTON_STEPS = 6


class HaarBall(GroupDistribution):
    """Haar restricted to rotations by at most w: angle density p(t) = (1 - cos t) / (w - sin w) on [0, w].

    At w -> 0 it is the identity, at w = pi exactly Haar. On SO(3) the axis is uniform on the
    sphere and the angle t has the density above; on SO(2) the angle is uniform in [-w, w].

    Args:
        group: `SO2` or `SO3`.
        width: w in radians, in [0, pi].

    Raises:
        UserError: for another group or a width outside the range.

    `divergence` is the Kullback-Leibler divergence to Haar: log(pi / (w - sin w)) nats on SO(3),
    log(pi / w) on SO(2). Samples are differentiable in w by the implicit gradient
    dt/dw = u (1 - cos w) / (1 - cos t) at a fixed value u of the distribution function.

    Example:
        >>> law = HaarBall(SO3, width=0.5)
        >>> round(law.divergence().item(), 2)
        5.03
    """

    def __init__(self, group: Group | type[Group] = SO3, width: float = 0.1) -> None:
        super().__init__()
        self.group = as_group(group)
        if self.group.name not in (SO2.name, SO3.name):
            raise UserError(
                f"`group` must be SO2 or SO3, got {self.group.name}; use AlgebraUniform or Product for other groups"
            )
        self._width = width_parameter(width, torch.tensor(math.pi), "rad")

    @property
    def noise_dim(self) -> int:
        return self.group.dim

    @property
    def width(self) -> Tensor:
        """w in radians, differentiable."""
        return bounded(self._width, math.pi)

    def elements(self, noise: Tensor, context: Any = None) -> Affine:
        width = self.width.to(noise.dtype)
        if self.group.dim == 1:
            return self.group.exp(width * (2 * noise - 1))
        angle = width * haar_radius(noise[..., 0], width)
        return self.group.exp(angle.unsqueeze(-1) * sphere(noise[..., 1:]))

    def divergence(self) -> Tensor:
        width = self.width.clamp_min(NARROWEST)
        if self.group.dim == 1:
            return math.log(math.pi) - width.log()
        return math.log(math.pi) - 3 * width.log() - tanc(width.square()).log()  # w - sin w = w^3 tanc(w^2)

    def describe(self) -> list[Extent]:
        w = float(self.width.detach())
        mean = w / 2 if self.group.dim == 1 else mean_angle(w)
        degrees = math.degrees
        nats = max(float(self.divergence().detach()), 0.0)
        return [Extent("rotation angle", self.group.axes, degrees(w), degrees(mean), 180.0, "degree", nats)]


def haar_radius(u: Tensor, width: Tensor) -> Tensor:
    """The root r in [0, 1] of (wr - sin wr) / (w - sin w) = u, differentiable twice in w.

    With x - sin x = x^3 tanc(x^2) both sides stay regular at w = 0, where r = u^(1/3). The
    function is convex in r, so Newton's iteration converges from any start. The last two
    steps carry the derivatives: each doubles the order to which they are exact.
    """
    u = u.clamp_min(1e-12)
    square = width.square()
    r = u.pow(1 / 3)
    with torch.no_grad():
        for _ in range(NEWTON_STEPS):
            r = _newton(r, u, square)
    return _newton(_newton(r, u, square), u, square)


def _newton(r: Tensor, u: Tensor, square: Tensor) -> Tensor:
    s = square * r.square()
    return r - (r.pow(3) * tanc(s) - u * tanc(square)) / (r.square() * cosc(s))


def sphere(noise: Tensor) -> Tensor:
    """Uniform unit vectors (*batch, 3) from uniform numbers (*batch, 2) (Archimedes)."""
    z = 2 * noise[..., 0] - 1
    phi = 2 * math.pi * noise[..., 1]
    rho = (1 - z.square()).clamp_min(0).sqrt()
    return torch.stack([rho * phi.cos(), rho * phi.sin(), z], -1)


def mean_angle(w: float) -> float:
    """Mean of t under p(t) ~ 1 - cos t on [0, w]: (w^2/2 - w sin w - cos w + 1) / (w - sin w)."""
    if w < 1e-2:
        return 0.75 * w
    return (w * w / 2 - w * math.sin(w) - math.cos(w) + 1) / (w - math.sin(w))
