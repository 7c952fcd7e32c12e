"""Independent laws, composed."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from molaugerino.checks import check_last_dims
from molaugerino.distributions.base import Extent, GroupDistribution
from molaugerino.distributions.finite import Finite
from molaugerino.errors import UserError
from molaugerino.groups import E3, O3, SE2, SE3, SO2, SO3, T2, T3, Affine, DirectProduct, Group
from molaugerino.groups.affine import check_space
from molaugerino.groups.base import as_group


class Product(GroupDistribution):
    """g = g_1 g_2 ... g_n with independent factors; the last one acts first.

    The divergence is the sum of the factors' divergences. So is the density, log p(g) = sum_i log p_i(g_i), where g
    has only one decomposition: a translation and a rotation in either order on SE2 or SE3, or rotations
    and isotropic scale on their DirectProduct.

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

    @property
    def conditional(self) -> bool:
        return any(law.conditional for law in self.laws)

    def elements(self, noise: Tensor, context: Any = None) -> Affine:
        check_last_dims("noise", noise, self.noise_dim)
        parts = torch.split(noise, [law.noise_dim for law in self.laws], -1)
        product, *others = (law.elements(part, context) for law, part in zip(self.laws, parts, strict=True))
        for other in others:
            product = product.compose(other)
        return product

    def enumerated(self, noise: Tensor, context: Any = None) -> tuple[Affine, Tensor]:
        check_last_dims("noise", noise, self.noise_dim)
        batch = noise.shape[:-1]
        parts = torch.split(noise, [law.noise_dim for law in self.laws], -1)
        pairs = [law.enumerated(part, context) for law, part in zip(self.laws, parts, strict=True)]
        product, probability = pairs[0]
        for g, p in pairs[1:]:
            product = product.unsqueeze(1).compose(g.unsqueeze(0)).reshape(-1, *batch)
            probability = torch.outer(probability, p.to(probability)).flatten()
        return product, probability

    def divergence(self, context: Any = None) -> Tensor:
        return torch.stack([law.divergence(context) for law in self.laws]).sum()

    def widths(self) -> Tensor:
        return torch.cat([law.widths() for law in self.laws])

    def log_prob(self, g: Affine, context: Any = None) -> Tensor:
        parts = zip(self.laws, self._decomposed(g), strict=True)
        return torch.stack([law.log_prob(part, context) for law, part in parts]).sum(0)

    def _decomposed(self, g: Affine) -> list[Affine]:
        """The only g_1, ..., g_n whose product is g."""
        check_space(g, self.group.space_dim)
        names, d = tuple(law.group.name for law in self.laws), g.dim
        turn, rigid = (SO2.name, SE2.name) if d == 2 else (SO3.name, SE3.name)
        if names == (self.group.name,):
            return [g]
        still, none = torch.eye(d).to(g.linear).expand_as(g.linear), torch.zeros_like(g.shift)
        if self.group.name == rigid and names in {(shift, turn) for shift in (T2.name, T3.name)}:
            return [Affine(still, g.shift), Affine(g.linear, none)]
        if self.group.name == rigid and names in {(turn, shift) for shift in (T2.name, T3.name)}:
            return [Affine(g.linear, none), Affine(still, (g.linear.mT @ g.shift.unsqueeze(-1)).squeeze(-1))]
        if self.group.name == E3.name and names == (SE3.name, O3.name) and _is_mirror(self.laws[1]):
            flipped = torch.linalg.det(g.linear)[..., None, None] < 0
            mirror = torch.where(flipped, cast(Finite, self.laws[1]).linear[-1].to(still), still)
            return [Affine(g.linear @ mirror.mT, g.shift), Affine(mirror, none)]
        if isinstance(self.group, DirectProduct) and sorted(names) == sorted((turn, f"Scale({d})")):
            size = torch.linalg.det(g.linear).pow(1 / d)[..., None, None]
            return [Affine(g.linear / size if name == turn else size * still, none) for name in names]
        raise UserError(
            f"the product of {' and '.join(names)} has no closed density on {self.group.name}; "
            "use `log_prob` of its factors, or `sample`"
        )

    def describe(self) -> list[Extent]:
        return [line for law in self.laws for line in law.describe()]


def _is_mirror(law: GroupDistribution) -> bool:
    """Whether a law on O(3) is one of two elements, the other improper: the sign of the determinant tells which."""
    return isinstance(law, Finite) and law.branches == 2 and bool(torch.linalg.det(law.linear[-1]) < 0)
