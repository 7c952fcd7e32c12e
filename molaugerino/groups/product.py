"""Products of groups whose elements commute."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.checks import check_last_dims
from molaugerino.errors import UserError
from molaugerino.groups.affine import Affine
from molaugerino.groups.base import Group, as_group
from molaugerino.groups.matrix import MatrixGroup


class DirectProduct(MatrixGroup):
    """G_1 x ... x G_n on one space: exp(xi_1, ..., xi_n) = exp(xi_1) ... exp(xi_n), factors that commute.

    Rotations and isotropic scale commute; rotations and translations do not (their product is SE(d)).

    Args:
        groups: two or more groups, or their classes, on the same space.

    Raises:
        UserError: for groups on different spaces, or whose elements do not commute.
    """

    def __init__(self, *groups: Group | type[Group]) -> None:
        self.groups = [as_group(group) for group in groups]
        spaces = {group.space_dim for group in self.groups}
        if len(self.groups) < 2 or len(spaces) > 1:
            got = ", ".join(group.name for group in self.groups) or "none"
            raise UserError(f"`groups` must be two or more on the same space, got {got}")
        [d] = spaces
        matrices = torch.cat([group.hat(torch.eye(group.dim, dtype=torch.float64)) for group in self.groups])
        axes = [axis for group in self.groups for axis in group.axes]
        name = " x ".join(group.name for group in self.groups)
        volume = sum(group.log_volume for group in self.groups)
        super().__init__(matrices[:, :d, :d], matrices[:, :d, d], name, axes, orthonormal=False, log_volume=volume)
        self._check_commuting()

    def _check_commuting(self) -> None:
        owner = torch.tensor([k for k, group in enumerate(self.groups) for _ in range(group.dim)])
        across = owner[:, None] != owner[None, :]
        if bool((self._structure.abs().amax(-1) * across > 1e-9).any()):
            raise UserError(
                f"elements of {self.name} do not commute, so they have no direct product; give all generators to "
                "MatrixGroup, or use SE2 or SE3 for rotations with translations"
            )

    def to(self, device: torch.device | str) -> DirectProduct:
        moved = cast(DirectProduct, super().to(device))
        moved.groups = [group.to(device) if isinstance(group, MatrixGroup) else group for group in self.groups]
        return moved

    def exp(self, xi: Float[Tensor, "*batch dim"]) -> Affine:
        check_last_dims("xi", xi, self.dim)
        parts = torch.split(xi, [group.dim for group in self.groups], -1)
        product, *others = (group.exp(part) for group, part in zip(self.groups, parts, strict=True))
        for other in others:
            product = product.compose(other)
        return product
