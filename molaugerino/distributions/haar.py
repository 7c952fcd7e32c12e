"""The rotation law that reaches from the identity to Haar."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor

from molaugerino.checks import check_last_dims
from molaugerino.distributions.base import Extent, GroupDistribution, bounded, width_parameter, within
from molaugerino.errors import UserError
from molaugerino.groups import SO2, SO3, Affine, Group
from molaugerino.groups.algebra import cosc, tanc, tanc_slope
from molaugerino.groups.base import as_group

NARROWEST = 1e-3  # rad; below, `divergence` is constant, since it is infinite at the identity


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
        check_last_dims("noise", noise, self.noise_dim)
        width = self.width.to(noise.dtype)
        if self.group.dim == 1:
            return self.group.exp(width * (2 * noise - 1))
        axis = sphere(noise[..., 1:])
        return SO3.turn(width * haar_radius(noise[..., 0], width), axis)

    def divergence(self, context: Any = None) -> Tensor:
        width = self.width.double().clamp_min(NARROWEST)  # in float64, w - sin w keeps nine digits down to there
        reach = width if self.group.dim == 1 else width - width.sin()
        return (math.log(math.pi) - reach.log()).to(self._width.dtype)

    def widths(self) -> Tensor:
        return self.width.reshape(1)

    def log_prob(self, g: Affine, context: Any = None) -> Tensor:
        angle = self.group.log(g.to(torch.float64)).norm(dim=-1)
        inside = within(angle, self.width.double().clamp_min(NARROWEST), g)
        return torch.where(inside, self.divergence() - self.group.log_volume, -math.inf).to(g.shift.dtype)

    def describe(self) -> list[Extent]:
        w = min(float(self.width.detach()), math.pi)  # pi in float32 lies above
        mean = w / 2 if self.group.dim == 1 else mean_angle(w)
        degrees = math.degrees
        nats = max(float(self.divergence().detach()), 0.0)
        return [Extent("rotation angle", self.group.axes, degrees(w), degrees(mean), 180.0, "degree", nats)]


class _HaarRadius(torch.autograd.Function):
    """r(u, w) with its implicit derivative dr/dw = -F_w / F_r, F = r^3 tanc(w^2 r^2) - u tanc(w^2) = 0.

    F is (wr - sin wr) - u (w - sin w) over w^3, which stays regular at w = 0. To be differentiated
    again, the backward is made of differentiable functions of the saved r and w.
    """

    @staticmethod
    def forward(u: Tensor, width: Tensor) -> Tensor:
        w, level = width.double(), u.double()
        y = (6 * tanc(w.square()) * level).pow(1 / 3)  # r to third order; w y is x to third order
        v = (w * y).square()
        r = y * (1 + v * (1 / 60 + v * (1 / 1400 + v * (1 / 25200 + v * (43 / 17248000)))))
        start = x = w * r
        level = level * (w - w.sin())
        for _ in range(2):  # the series is good to half a per cent up to pi, and exact below 0.1
            x = x - (x - x.sin() - level) / (1 - x.cos()).clamp_min(1e-6)
        return torch.where(start > 0.1, x / w, r).clamp_max(1.0).to(u.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)
        ctx.save_for_forward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        slope = _radius_slope if torch.is_grad_enabled() else _quick_slope
        return None, (gradient * slope(*ctx.saved_tensors)).sum_to_size(ctx.saved_tensors[1].shape)


class _ForwardHaarRadius(_HaarRadius):
    """With forward-mode derivatives and batching, which torch.compile does not take."""

    generate_vmap_rule = True

    @staticmethod
    def jvp(ctx: Any, _: Tensor | None, tangent: Tensor) -> Tensor:
        return tangent * _radius_slope(*ctx.saved_tensors)


def _quick_slope(u: Tensor, width: Tensor, r: Tensor) -> Tensor:
    """dr/dw = (dx/dw - r) / w with x = wr: loses digits to cancellation at w -> 0, w times it does not."""
    w = width.double().clamp_min(1e-6) / 2
    share = w.sin() / (w * r).sin().clamp_min(1e-30)  # dx/dw = u (1 - cos w) / (1 - cos x)
    return ((u * share * share - r) / (2 * w)).to(r.dtype)


def _radius_slope(u: Tensor, width: Tensor, r: Tensor) -> Tensor:
    square = width.square()
    s = square * r.square()
    rise = u * tanc_slope(square) - r.pow(5) * tanc_slope(s)
    return 2 * width * rise / (r.square() * cosc(s)).clamp_min(1e-30)


def haar_radius(u: Tensor, width: Tensor) -> Tensor:
    """The root r in [0, 1] of (wr - sin wr) / (w - sin w) = u, differentiable in w as often as wanted.

    The start is the reverted series x = y + y^3/60 + y^5/1400 + ..., y^3 = 6 (x - sin x), of
    x = wr; two Newton steps make it exact.
    """
    function = _HaarRadius if torch.compiler.is_compiling() else _ForwardHaarRadius
    return cast(Tensor, function.apply(u, width))  # type: ignore[no-untyped-call]


def sphere(noise: Tensor) -> Tensor:
    """Uniform unit vectors (*batch, 3) from uniform numbers (*batch, 2) (Archimedes)."""
    u, phi = noise[..., 0], 2 * math.pi * noise[..., 1]
    rho = 2 * (u - u * u).sqrt()
    return torch.stack([rho * phi.cos(), rho * phi.sin(), 2 * u - 1], -1)


def mean_angle(w: float) -> float:
    """Mean of t under p(t) ~ 1 - cos t on [0, w]: (w^2/2 - w sin w - cos w + 1) / (w - sin w)."""
    if w < 1e-2:
        return 0.75 * w
    return (w * w / 2 - w * math.sin(w) - math.cos(w) + 1) / (w - math.sin(w))
