"""Independent laws, composed."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from molaugerino.distributions.base import Extent, GroupDistribution
from molaugerino.errors import UserError
from molaugerino.groups import Affine, Group
from molaugerino.groups.base import as_group


class Product(GroupDistribution):
    """g = g_1 g_2 ... g_n with independent factors; the last one acts first.

    The divergence is the sum of the factors' divergences.

    Args:
        group: the group that the products belong to.
        factors: the laws of g_1, ..., g_n, all on the same space.
    """

    def __init__(self, group: Group | type[Group], *factors: GroupDistribution) -> None:
        super().__init__()
        self.group = as_group(group)
        wrong = [f.group.name for f in factors if f.group.space_dim != self.group.space_dim]
        if wrong or not factors:
            got = ", ".join(wrong) or "none"
            raise UserError(f"`factors` must be laws on R^{self.group.space_dim} like {self.group.name}, got {got}")
        self.factors = nn.ModuleList(factors)
        self.branches = math.prod(f.branches for f in factors)

    @property
    def laws(self) -> list[GroupDistribution]:
        """The factors, first the one that acts last."""
        return cast(list[GroupDistribution], list(self.factors))

    @property
    def noise_dim(self) -> int:
        return sum(law.noise_dim for law in self.laws)

    def elements(self, noise: Tensor, context: Any = None) -> Affine:
        parts = torch.split(noise, [law.noise_dim for law in self.laws], -1)
        product, *others = (law.elements(part, context) for law, part in zip(self.laws, parts, strict=True))
        for other in others:
            product = product @ other
        return product

    def enumerated(self, noise: Tensor, context: Any = None) -> tuple[Affine, Tensor]:
        batch = noise.shape[:-1]
        parts = torch.split(noise, [law.noise_dim for law in self.laws], -1)
        pairs = [law.enumerated(part, context) for law, part in zip(self.laws, parts, strict=True)]
        product, probability = pairs[0]
        for g, p in pairs[1:]:
            product = (product.unsqueeze(1) @ g.unsqueeze(0)).reshape(-1, *batch)
            probability = torch.outer(probability, p.to(probability)).flatten()
        return product, probability

    def divergence(self) -> Tensor:
        return torch.stack([law.divergence() for law in self.laws]).sum()

    def widths(self) -> Tensor:
        return torch.cat([law.widths() for law in self.laws])

    def describe(self) -> list[Extent]:
        return [line for law in self.laws for line in law.describe()]
