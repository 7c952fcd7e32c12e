"""Independent laws, composed."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from molaugerino.distributions.base import Extent, GroupDistribution
from molaugerino.distributions.haar import HaarBall
from molaugerino.distributions.translation import TranslationBall
from molaugerino.errors import UserError
from molaugerino.groups import SE2, SE3, SO2, SO3, T2, T3, Affine, DirectProduct, Group
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

    @property
    def _laws(self) -> list[GroupDistribution]:
        return cast(list[GroupDistribution], list(self.factors))

    @property
    def noise_dim(self) -> int:
        return sum(law.noise_dim for law in self._laws)

    @property
    def conditional(self) -> bool:
        return any(law.conditional for law in self._laws)

    def elements(self, noise: Tensor, context: Any = None) -> Affine:
        parts = torch.split(noise, [law.noise_dim for law in self._laws], -1)
        product, *others = (law.elements(part, context) for law, part in zip(self._laws, parts, strict=True))
        for other in others:
            product = product @ other
        return product

    def divergence(self, context: Any = None) -> Tensor:
        return torch.stack([law.divergence(context) for law in self._laws]).sum()

    def log_prob(self, g: Affine, context: Any = None) -> Tensor:
        parts = zip(self._laws, self._decomposed(g), strict=True)
        return torch.stack([law.log_prob(part, context) for law, part in parts]).sum(0)

    def _decomposed(self, g: Affine) -> list[Affine]:
        """The only g_1, ..., g_n whose product is g."""
        names, d = tuple(law.group.name for law in self._laws), g.dim
        turn, rigid = (SO2.name, SE2.name) if d == 2 else (SO3.name, SE3.name)
        if names == (self.group.name,):
            return [g]
        still, none = torch.eye(d).to(g.linear).expand_as(g.linear), torch.zeros_like(g.shift)
        if self.group.name == rigid and names in {(shift, turn) for shift in (T2.name, T3.name)}:
            return [Affine(still, g.shift), Affine(g.linear, none)]
        if self.group.name == rigid and names in {(turn, shift) for shift in (T2.name, T3.name)}:
            return [Affine(g.linear, none), Affine(still, (g.linear.mT @ g.shift.unsqueeze(-1)).squeeze(-1))]
        if isinstance(self.group, DirectProduct) and sorted(names) == sorted((turn, f"Scale({d})")):
            size = torch.linalg.det(g.linear).pow(1 / d)[..., None, None]
            return [Affine(g.linear / size if name == turn else size * still, none) for name in names]
        raise UserError(
            f"the product of {' and '.join(names)} has no closed density on {self.group.name}; "
            "use `log_prob` of its factors, or `sample`"
        )

    def describe(self) -> list[Extent]:
        return [line for law in self._laws for line in law.describe()]


def rigid_motions(rotation: float, translation: float, cap: float = 1.0) -> Product:
    """The law of molecules: turn about the origin by `HaarBall`, then shift by `TranslationBall`.

    Args:
        rotation: largest rotation angle in radians, in [0, pi].
        translation: radius of the ball of shifts in angstrom, in [0, cap].
        cap: the radius to which nats are counted.
    """
    return Product(SE3, TranslationBall(translation, cap), HaarBall(SO3, width=rotation))
