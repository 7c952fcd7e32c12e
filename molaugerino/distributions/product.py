"""Independent laws, composed."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from molaugerino.distributions.base import Extent, GroupDistribution
from molaugerino.distributions.haar import HaarBall
from molaugerino.distributions.translation import TranslationBall
from molaugerino.errors import UserError
from molaugerino.groups import SE3, SO3, Affine, Group
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

    @property
    def _laws(self) -> list[GroupDistribution]:
        return cast(list[GroupDistribution], list(self.factors))

    @property
    def noise_dim(self) -> int:
        return sum(law.noise_dim for law in self._laws)

    def elements(self, noise: Tensor, context: Any = None) -> Affine:
        parts = torch.split(noise, [law.noise_dim for law in self._laws], -1)
        product, *others = (law.elements(part, context) for law, part in zip(self._laws, parts, strict=True))
        for other in others:
            product = product.compose(other)
        return product

    def divergence(self) -> Tensor:
        return torch.stack([law.divergence() for law in self._laws]).sum()

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
