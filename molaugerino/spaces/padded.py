"""Molecules padded to one length, for dense networks."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from molaugerino.errors import UserError
from molaugerino.groups import Affine
from molaugerino.spaces.base import check_points, tensors_of
from molaugerino.spaces.points import Points


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


def as_padded(x: Any) -> Molecules:
    """Row m, place k of the padded tensors = k-th atom of molecule m, in the order in which they are listed.

    Args:
        x: `Molecules`, which pass through, or a graph or batch of graphs of torch_geometric, or anything with
            tensors z (atoms,), pos (atoms, 3) and batch (atoms,) (absent or None: one molecule).

    Raises:
        UserError: for anything else.
    """
    if isinstance(x, Molecules):
        return x
    z, pos, index = as_points(x)
    count = Points().count(x)
    sizes = torch.zeros(count, dtype=torch.long, device=z.device).index_add(0, index, torch.ones_like(index))
    order = index.argsort(stable=True)
    mask = torch.arange(int(sizes.max()) if count else 0, device=z.device) < sizes.unsqueeze(1)
    numbers, points = z.new_zeros(mask.shape), pos.new_zeros(*mask.shape, 3)
    numbers[mask] = z[order]
    return Molecules(numbers, points.masked_scatter(mask.unsqueeze(-1), pos[order]), mask)


def as_points(x: Any) -> tuple[Tensor, Tensor, Tensor]:
    """(z, pos, batch): atomic numbers (atoms,), positions (atoms, 3) and the molecule of each atom (atoms,).

    Args:
        x: what `as_padded` takes.

    Raises:
        UserError: for anything else.
    """
    if isinstance(x, Molecules):
        return x.z[x.mask], x.pos[x.mask], x.mask.nonzero()[:, 0]
    z, pos = tensors_of(x, ("z", "pos"), "Molecules, or a graph or batch of graphs,")
    index = Points().index(x)
    if pos.dim() != 2 or pos.shape[-1] != 3 or z.shape != pos.shape[:1] or index.shape != pos.shape[:1]:
        got = tuple(z.shape), tuple(pos.shape), tuple(index.shape)
        raise UserError(
            f"`z`, `pos` and `batch` must have shapes (atoms,), (atoms, 3) and (atoms,), got {got[0]}, {got[1]} and "
            f"{got[2]}"
        )
    return z, pos, index
