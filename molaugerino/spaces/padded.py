"""Molecules padded to one length, for dense networks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from molaugerino.errors import UserError
from molaugerino.groups import Affine
from molaugerino.spaces.base import check_points, tensors_of


class Molecules(NamedTuple):
    """A batch of padded molecules.

    Attributes:
        z: (molecules, atoms) atomic numbers, 0 in the padding.
        pos: (molecules, atoms, 3) positions in angstrom.
        mask: (molecules, atoms) True at atoms.
    """

    z: Int[Tensor, "molecules atoms"]
    pos: Float[Tensor, "molecules atoms 3"]
    mask: Bool[Tensor, "molecules atoms"]

    def to(self, device: torch.device | str) -> Molecules:
        return Molecules(*(field.to(device) for field in self))


class Padded:
    """rho(g) moves the atoms of each molecule, pos -> A pos + b; numbers and mask stay."""

    per_point = False

    def act(self, g: Affine, value: Molecules, index: Tensor | None = None) -> Molecules:
        return value._replace(pos=g.to(value.pos.dtype)(value.pos))

    def check(self, x: Molecules, dim: int, device: torch.device) -> None:
        z, pos, mask = tensors_of(x, ("z", "pos", "mask"), "Molecules")
        if pos.dim() != 3 or pos.shape[-1] != dim or z.shape != pos.shape[:2] or mask.shape != pos.shape[:2]:
            got = tuple(z.shape), tuple(pos.shape), tuple(mask.shape)
            raise UserError(
                f"`z`, `pos` and `mask` must have shapes (molecules, atoms), (molecules, atoms, {dim}) and "
                f"(molecules, atoms), got {got[0]}, {got[1]} and {got[2]}"
            )
        check_points(pos, mask.any(-1), device)

    def count(self, x: Molecules) -> int:
        return x.z.shape[0]

    def index(self, x: Molecules) -> None:
        return None

    def tile(self, x: Molecules, copies: int) -> Molecules:
        return Molecules(*(field.repeat(copies, *[1] * (field.dim() - 1)) for field in x)) if copies > 1 else x
