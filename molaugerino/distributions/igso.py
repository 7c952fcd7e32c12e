"""The rotation law of Brownian motion on the sphere of orientations."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from molaugerino.checks import check_last_dims
from molaugerino.distributions.base import Extent, GroupDistribution, bounded, width_parameter
from molaugerino.distributions.haar import sphere
from molaugerino.groups import SO3, Affine
from molaugerino.groups.algebra import sinc

NARROWEST, WIDEST = 0.02, 4.0  # rad; at 4 the law is Haar to 1e-12 nat
TERMS = 440  # exp(-l (l + 1) / 2 sigma^2) < 1e-16 beyond, at the narrowest
NODES = 512  # of the table that starts the inversion, and of the quadrature
REACH = 9.0  # standard deviations; nothing lies beyond
NEWTON_STEPS = 4
WINDINGS = 6  # turns about the circle that `log_density` counts, each way; beyond, less than 1e-15 at the widest


class IGSO3(GroupDistribution):
    """p(t) = (1 - cos t) / pi sum_l (2l + 1) e^(-l(l+1) s^2 / 2) sin((l + 1/2) t) / sin(t/2), on SO(3).

    The angle t in [0, pi] has this density, the axis is uniform. It is the law of a Brownian
    motion of orientations at time s^2: a Gaussian of standard deviation s per axis where s is
    small, Haar where it is large, and steadily closer to Haar in between.

    Args:
        sigma: s in radians, in [0.02, 4].

    Raises:
        UserError: for a value outside the range.

    With harmonics c_0 = 1, c_m = (2m + 1) e_m - (2m - 1) e_(m-1), e_l = e^(-l(l+1) s^2 / 2), density
    and distribution function are p = (1 + sum_m c_m cos m t) / pi and F = (t + sum_m c_m sin(m t) / m) / pi.
    Samples are differentiable in s by the implicit gradient dt/ds = -F_s / p. `divergence` is the
    Kullback-Leibler divergence to Haar, by Gauss-Legendre quadrature.

    Source: D. I. Nikolayev, T. I. Savyolov, Textures and Microstructures 29, 201 (1997).
    """

    noise_dim = 3
    nodes: Tensor
    weights: Tensor

    def __init__(self, sigma: float = 0.1) -> None:
        super().__init__()
        self.group = SO3()
        self._sigma = width_parameter(sigma, torch.tensor(WIDEST), "rad", low=NARROWEST)
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        self.register_buffer("nodes", torch.from_numpy((nodes + 1) / 2), persistent=False)
        self.register_buffer("weights", torch.from_numpy(weights / 2), persistent=False)

    @property
    def sigma(self) -> Tensor:
        """s in radians, differentiable."""
        return bounded(self._sigma, WIDEST, NARROWEST)

    def elements(self, noise: Tensor, context: Any = None) -> Affine:
        check_last_dims("noise", noise, self.noise_dim)
        angle = igso_angle(noise[..., 0], self.sigma.to(noise.dtype))
        return SO3.turn(angle, sphere(noise[..., 1:]))

    def divergence(self, context: Any = None) -> Tensor:
        sigma = self.sigma.double()
        reach = _reach(sigma)
        t = reach * self.nodes.double()
        density = _density(t, harmonics(sigma)).clamp_min(1e-300)
        haar = (2 * (t / 2).sin().square() / math.pi).clamp_min(1e-300)
        return (reach * self.weights.double() @ (density * (density / haar).log())).to(self._sigma.dtype)

    def widths(self) -> Tensor:
        return self.sigma.reshape(1)

    def log_prob(self, g: Affine, context: Any = None) -> Tensor:
        angle = SO3.log(g.to(torch.float64)).norm(dim=-1)
        return log_density(angle, self.sigma.double()).to(g.shift.dtype)

    def describe(self) -> list[Extent]:
        with torch.no_grad():
            c, m = harmonics(self.sigma.double()), _orders(self.sigma.device)
            sign = 1 - 2 * (m % 2)
            mean = math.pi / 2 + float((c * (sign - 1) / m.square()).sum()) / math.pi
            spread = math.sqrt(math.pi**2 / 3 + 2 * float((c * sign / m.square()).sum()))
            nats = max(float(self.divergence()), 0.0)
        degrees = math.degrees
        widest = degrees(math.sqrt(math.pi**2 / 3 + 2))
        return [Extent("rotation angle", self.group.axes, degrees(spread), degrees(mean), widest, "degree", nats)]


def log_density(t: Tensor, sigma: Tensor) -> Tensor:
    """log of the density at angles t (n,) in [0, pi] against the Haar measure of volume 8 pi^2.

    The harmonics, summed the other way (Poisson), which keeps the tails of a narrow law:
    f = e^(s^2 / 8) / (8 pi^2 sin(t/2)) sqrt(2 pi) / s^3 sum_k (-1)^k (t - 2 pi k) e^(-(t - 2 pi k)^2 / (2 s^2)).
    The terms k and -k are taken together, where they are regular at t = 0.
    """
    square = sigma.square()
    k = torch.arange(1, WINDINGS + 1, dtype=t.dtype, device=t.device)
    turn = 2 * math.pi * k
    rise = turn / square * t.unsqueeze(-1)  # (n, windings)
    decay = (rise - turn.square() / (2 * square)).exp()
    moved = torch.where(rise > 0, rise, 1.0)
    even = 1 + (-2 * rise).exp()  # 2 cosh(rise) e^-rise
    odd = torch.where(rise > 0, -(-2 * moved).expm1() / moved, 2.0)  # 2 sinh(rise) / rise e^-rise
    wound = ((1 - 2 * (k % 2)) * decay * (even - turn.square() / square * odd)).sum(-1)
    spread = square / 8 + math.log(2 * math.pi) / 2 - 3 * sigma.log() - t.square() / (2 * square)
    return spread + wound.log1p() - (4 * math.pi**2 * sinc(t.square() / 4)).log()


class _Angle(torch.autograd.Function):
    """t(u, s) with F(t, s) = u; the backward is made of differentiable functions of the saved t and s."""

    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor, sigma: Tensor) -> Tensor:
        s, level = sigma.double(), u.double()
        c, reach = harmonics(s), _reach(s)
        grid = reach * torch.linspace(0, 1, NODES, dtype=s.dtype, device=s.device)
        table = _cumulative(grid, c).cummax(0).values
        place = torch.searchsorted(table, level.contiguous()).clamp(1, NODES - 1)
        low, high = table[place - 1], table[place]
        share = ((level - low) / (high - low).clamp_min(1e-300)).clamp(0, 1)
        left, right = grid[place - 1], grid[place]
        t = left + (right - left) * share
        for _ in range(NEWTON_STEPS):
            step = (_cumulative(t, c) - level) / _density(t, c).clamp_min(1e-12)
            t = torch.minimum(torch.maximum(t - step, left), right)
        return t.to(u.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1], output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        sigma, angle = ctx.saved_tensors
        s, t = sigma.double(), angle.double()
        m = _orders(t.device)
        moved = (_slopes(s) / m * (t.unsqueeze(-1) * m).sin()).sum(-1) / math.pi
        slope = -moved / _density(t, harmonics(s)).clamp_min(1e-12)
        return None, (gradient * slope.to(gradient)).sum()


def igso_angle(u: Tensor, sigma: Tensor) -> Tensor:
    """The angle t in [0, pi] at which the distribution function is u, differentiable in sigma."""
    return cast(Tensor, _Angle.apply(u, sigma))  # type: ignore[no-untyped-call]


def _orders(device: torch.device) -> Tensor:
    return torch.arange(1, TERMS, dtype=torch.float64, device=device)


def _damping(sigma: Tensor) -> tuple[Tensor, Tensor]:
    """l and e_l, l = 0, 1, ..."""
    order = torch.arange(TERMS, dtype=torch.float64, device=sigma.device)
    return order, (-order * (order + 1) * sigma.square() / 2).exp()


def harmonics(sigma: Tensor) -> Tensor:
    """c_1, c_2, ... of the density in cos m t."""
    order, damping = _damping(sigma)
    weighted = (2 * order + 1) * damping
    return weighted[1:] - weighted[:-1]


def _slopes(sigma: Tensor) -> Tensor:
    """d c_m / ds."""
    order, damping = _damping(sigma)
    weighted = -(2 * order + 1) * order * (order + 1) * sigma * damping
    return weighted[1:] - weighted[:-1]


def _density(t: Tensor, c: Tensor) -> Tensor:
    return (1 + ((t.unsqueeze(-1) * _orders(t.device)).cos() * c).sum(-1)) / math.pi


def _cumulative(t: Tensor, c: Tensor) -> Tensor:
    m = _orders(t.device)
    return (t + ((t.unsqueeze(-1) * m).sin() * (c / m)).sum(-1)) / math.pi


def _reach(sigma: Tensor) -> Tensor:
    return (REACH * sigma.detach()).clamp_max(math.pi)
