"""Augerino as published for molecules, faults included, for comparison only.

    x' = x M + M_t / 2      [[M, M_t], [0, 1]] = rk4_step(hat(z)),   z_i = theta_i u_i,   u ~ U[0, 1)^12

       published                              this library
    1  one Runge-Kutta step                   the exact exponential
    2  one-sided, z in [0, theta)             centred, [-w, w)
    3  all of Aff(3), theta = 1 at the start  the named group, narrow at the start
    4  the transpose of M, but its own shift  one map, x -> A x + b
    5  0.001 theta^2 paid per width below 10   nats on the group, the price set by what the loss allows
    6  one draw per molecule in evaluation    the mean over fixed copies
    7  the last partial batch is left out     every molecule counts

What they do, measured: (1) a turn by 1 rad is off by 0.008, by pi / 2 off by 0.075 with determinant
0.86, by pi off by 2.0 with determinant 4.1. (2) The identity is a corner of the support: exact rotations
with theta = pi have a mean of Frobenius norm 0.99, centred ones of the same length 0.64, Haar 0. (3) At the
start the determinant averages 6.1 (6.4 with the exact exponential) and goes beyond 20, and 5 % of the
singular values exceed 7.9, so bond lengths are lost from the first step. Not kept: published positions are
about the origin of the file, here about the centroid.

Source: Benton, Finzi, Izmailov, Wilson, Learning Invariances in Neural Networks (2020), arXiv:2010.11882.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from molaugerino.distributions import Extent, GroupDistribution
from molaugerino.distributions.uniform import KINDS
from molaugerino.groups import Affine, aff2, aff3

RAW_START = 0.54  # of all twelve; theta = softplus(0.54) = 0.9992
THETA_OFF = 10.0  # a width from here on is no longer rewarded
SHIFT_SCALE = 0.5  # angstrom per unit of the matrix's shift
STRENGTH = 1e-3  # of the reward for width
LR = 3e-3  # of Adam without weight decay; weights and widths are one group, on one schedule
BATCH = 75  # molecules per step, each with one draw
EVAL_COPIES = 1  # in validation, early stopping and test too, drawn afresh for every molecule
DROP_LAST = True  # the last partial batch is left out of validation and test


def rk4_step(a: Float[Tensor, "*batch h h"]) -> Float[Tensor, "*batch h h"]:
    """I + A + A^2/2 + A^3/6 + A^4/24: one classical Runge-Kutta step from 0 to 1 of dX/dt = A X, X(0) = I."""
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    m = eye + a / 4
    for k in (3, 2, 1):
        m = eye + a @ m / k
    return m


class _PublishedBox(GroupDistribution):
    """A box of sides theta = softplus(raw), which nothing bounds."""

    raw: nn.Parameter

    @property
    def theta(self) -> Tensor:
        """Lengths of the sides, one per axis, differentiable; nothing bounds them."""
        return softplus(self.raw)

    def divergence(self, context: Any = None) -> Tensor:
        """sum_i log(10 / theta_i), none below 0: nats to the box whose widths are no longer rewarded.

        In the coordinates, not on the group, and no part of the published method, which rewards width
        by a penalty: for display only.
        """
        return self._nats().sum()

    def _nats(self) -> Tensor:
        return (THETA_OFF / self.theta).log().clamp_min(0)

    def widths(self) -> Tensor:
        return self.theta


class PaperBox(_PublishedBox):
    """x' = x M + M_t / 2, M = rk4_step(hat(z)), z_i = theta_i u_i, u_i uniform in [0, 1), theta = softplus(raw).

    The coordinates z are those of Aff(3): three turns, three shears, two squeezes, scale, three shifts.
    x is a row, so the linear part of the map is the transpose of M, while its shift is that of M.
    """

    noise_dim = 12
    generators: Tensor

    def __init__(self) -> None:
        super().__init__()
        group = aff3()
        self.group = group
        self.raw = nn.Parameter(torch.full((self.noise_dim,), RAW_START))
        self.register_buffer("generators", group.generators.to(self.raw.dtype), persistent=False)

    def coordinates(self, noise: Float[Tensor, "*batch 12"]) -> Float[Tensor, "*batch 12"]:
        """z = theta u."""
        return self.theta.to(noise.dtype) * noise

    def elements(self, noise: Float[Tensor, "*batch 12"], context: Any = None) -> Affine:
        m = rk4_step(torch.tensordot(self.coordinates(noise), self.generators.to(noise.dtype), 1))
        return Affine(m[..., :3, :3].mT, SHIFT_SCALE * m[..., :3, 3])

    def describe(self) -> list[Extent]:
        """One line per axis, of the coordinates z in [0, theta): the cap is where the reward ends, not a bound."""
        lines = []
        columns = self.group.axes, self.theta.tolist(), self._nats().tolist()
        for axis, theta, nats in zip(*columns, strict=True):
            what, unit = KINDS.get(axis[0], (axis, "log-scale"))
            scale = {"degree": 180 / math.pi, "angstrom": SHIFT_SCALE}.get(unit, 1.0)
            lines.append(Extent(what, (axis,), scale * theta, scale * theta / 2, scale * THETA_OFF, unit, nats))
        return lines


def penalty(law: PaperBox) -> Tensor:
    """-0.001 sum_i theta_i^2 [theta_i < 10], added to the loss: widening is rewarded, then suddenly no more."""
    theta = law.theta
    return -STRENGTH * torch.where(theta < THETA_OFF, theta.square(), 0.0).sum()


IMAGE_RAW = {"rz": 1.0}  # of a rotation at the start; of everything else IMAGE_NARROW
IMAGE_NARROW = -5.0
IMAGE_SHIFT = 0.1  # of half the image per unit of a shift's width
IMAGE_STRENGTH = 0.1  # of the reward for the norm of the widths
IMAGE_COPIES = 4  # in training


class PaperImageBox(_PublishedBox):
    """x -> exp(A) x, A = sum_i theta_i (u_i - 1/2) G_i, u_i uniform in [0, 1), theta = softplus(raw): all of Aff(2).

    Six widths, shifts in tenths; nothing bounds them, a turn can go round more than once. The exponential is exact,
    where the published code solves its equation to a tolerance of 1e-4. The reward is lambda |theta|, the norm.
    """

    noise_dim = 6
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.group = aff2()
        self.raw = nn.Parameter(torch.tensor([IMAGE_RAW.get(axis, IMAGE_NARROW) for axis in self.group.axes]))
        scale = torch.tensor([IMAGE_SHIFT if axis[0] == "t" else 1.0 for axis in self.group.axes])
        self.register_buffer("scale", scale, persistent=False)

    def elements(self, noise: Float[Tensor, "*batch 6"], context: Any = None) -> Affine:
        return self.group.exp((self.scale * self.theta).to(noise.dtype) * (noise - 0.5))

    def describe(self) -> list[Extent]:
        """One line per axis, of the half-widths theta / 2: the cap is where the reward ends in the safe form."""
        lines = []
        columns = self.group.axes, self.theta.tolist(), self.scale.tolist(), self._nats().tolist()
        for axis, theta, scale, nats in zip(*columns, strict=True):
            what, unit = KINDS.get(axis[0], (axis, "log-scale"))
            half = theta * (math.degrees(0.5) if unit == "degree" else 0.5 * scale)
            shown = "half side" if unit == "angstrom" else unit
            lines.append(Extent(what, (axis,), half, half / 2, half * THETA_OFF / theta, shown, nats))
        return lines
