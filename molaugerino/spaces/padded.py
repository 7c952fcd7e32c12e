"""Molecules padded to one length, for dense networks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from molaugerino.groups import Affine


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

    def count(self, x: Molecules) -> int:
        return x.z.shape[0]

    def index(self, x: Molecules) -> None:
        return None

    def tile(self, x: Molecules, copies: int) -> Molecules:
        return Molecules(*(field.repeat(copies, *[1] * (field.dim() - 1)) for field in x)) if copies > 1 else x
