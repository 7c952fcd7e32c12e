"""Finite groups with learned weights; reflection is the smallest of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from molaugerino.checks import check_last_dims
from molaugerino.distributions.base import Extent, GroupDistribution
from molaugerino.errors import UserError
from molaugerino.groups import O3, Affine, Group
from molaugerino.groups.base import as_group

CLOSED = 1e-5  # how far a product of two elements may lie from the nearest one
EXACT = "donot_use_mm_for_euclid_dist"
MATCH = 1e-4  # how far an element may be from a listed one to be it
LEAST = 1e-6  # smallest weight at the start: the logarithm of zero would never come back


class Finite(GroupDistribution):
    """P(g = g_k) = p_k over the elements g_1 = identity, ..., g_n of a finite group, p = softmax of the parameters.

    A draw has no derivative with respect to the weights. `enumerated` gives all elements with their weights instead:
    it is the *losses* of the n copies that are to be weighted, not their predictions, since for a label that changes
    sign sum_k p_k f(g_k x) would only shrink, and the network would make up for it.

    Args:
        group: the Lie group that the elements belong to.
        elements: batch shape (n,), the identity first.
        weights: p, n numbers that are not negative and add up to 1; equal ones where left out.
        name: of the finite group, for the description.

    Raises:
        UserError: for elements that do not form a group with the identity first, or other weights.

    `divergence` is that to equal weights, the Haar law: log n + sum_k p_k log p_k.
    """

    noise_dim = 1
    linear: Tensor
    shift: Tensor

    def __init__(
        self,
        group: Group | type[Group],
        elements: Affine,
        weights: Sequence[float] | None = None,
        name: str = "finite group",
    ) -> None:
        super().__init__()
        self.group = as_group(group)
        self.name = name
        _check_group(elements)
        [self.branches] = elements.batch_shape
        p = torch.full((self.branches,), 1 / self.branches) if weights is None else torch.tensor(list(weights))
        if p.shape != (self.branches,) or not bool((p >= 0).all()) or abs(float(p.sum()) - 1) > 1e-5:
            raise UserError(f"`weights` must be {self.branches} numbers >= 0 that add up to 1, got {p.tolist()}")
        dtype = torch.get_default_dtype()
        self._logits = nn.Parameter(p.to(dtype).clamp_min(LEAST).log())
        self.register_buffer("linear", elements.linear.to(dtype), persistent=False)
        self.register_buffer("shift", elements.shift.to(dtype), persistent=False)

    @property
    def weights(self) -> Tensor:
        """p (n,), differentiable."""
        return self._logits.softmax(-1)

    def elements(self, noise: Tensor, context: Any = None) -> Affine:
        """One element each, drawn; without a derivative with respect to the weights."""
        check_last_dims("noise", noise, self.noise_dim)
        ends = self.weights.detach().cumsum(-1)[:-1]
        place = (noise >= ends.to(noise.dtype)).sum(-1)
        return Affine(self.linear.to(noise.dtype)[place], self.shift.to(noise.dtype)[place])

    def enumerated(self, noise: Tensor, context: Any = None) -> tuple[Affine, Tensor]:
        check_last_dims("noise", noise, self.noise_dim)
        batch = noise.shape[:-1]
        every = Affine(self.linear.to(noise.dtype), self.shift.to(noise.dtype)).reshape(-1, *[1] * len(batch))
        return every.expand(self.branches, *batch), self.weights

    def log_prob(self, g: Affine, context: Any = None) -> Tensor:
        """log p_k of the element that g is, against the counting measure; -inf where it is none of them."""
        linear, shift = self.linear.to(g.linear), self.shift.to(g.shift)
        off = (g.linear.unsqueeze(-3) - linear).abs().amax((-2, -1)) + (g.shift.unsqueeze(-2) - shift).abs().amax(-1)
        return torch.where(off < MATCH, self._logits.log_softmax(-1).to(off), -math.inf).amax(-1)

    def divergence(self, context: Any = None) -> Tensor:
        return math.log(self.branches) + (self.weights * self._logits.log_softmax(-1)).sum()

    def widths(self) -> Tensor:
        return self.weights[1:]

    def describe(self) -> list[Extent]:
        others = 1 - float(self.weights[0].detach())
        nats = max(float(self.divergence().detach()), 0.0)
        return [Extent(self.name, (), others, others, max(others, 1 - 1 / self.branches), "probability", nats)]


def reflection(probability: float = 0.1, normal: Sequence[float] | None = None) -> Finite:
    """With this probability the inversion x -> -x, else the identity; p = 1/2 is Haar on the two.

    With rotations about all axes the inversion reaches every reflection. Where some axes are broken, a mirror says
    more: `normal` gives the reflection at the plane through the origin that this vector is normal to.

    Args:
        probability: p at the start, in [0, 1].
        normal: three numbers, or None for the inversion.
    """
    if not 0 <= probability <= 1:
        raise UserError(f"`probability` must lie in [0, 1], got {probability}")
    n = torch.eye(3) if normal is None else torch.tensor([list(normal)], dtype=torch.get_default_dtype())
    if n.shape[-1] != 3 or not bool(torch.isfinite(n).all()) or not bool(n.any()):
        raise UserError(f"`normal` must be three finite numbers, not all zero, got {normal}")
    mirror = torch.eye(3) - 2 * (n.mT @ n) / (n.square().sum() / len(n))
    elements = Affine(torch.stack([torch.eye(3), mirror]), torch.zeros(2, 3))
    return Finite(O3, elements, (1 - probability, probability), "reflection")


def _check_group(elements: Affine) -> None:
    if len(elements.batch_shape) != 1:
        raise UserError(f"`elements` must have batch shape (n,), got {elements.batch_shape}")
    flat = torch.cat([elements.linear.flatten(1), elements.shift], -1)
    identity = Affine.identity(elements.dim, like=elements.shift)
    if float((elements.linear[0] - identity.linear).abs().max() + elements.shift[0].abs().max()) > CLOSED:
        raise UserError("`elements` must begin with the identity")
    products = elements.unsqueeze(1) @ elements.unsqueeze(0)
    product = torch.cat([products.linear.flatten(-2), products.shift], -1)
    if float(torch.cdist(product.flatten(0, 1), flat, compute_mode=EXACT).amin(-1).max()) > CLOSED * flat.abs().max():
        raise UserError("`elements` do not form a group: the product of two of them is missing; add it")
