"""What is measured on: molecules, or images; how a batch moves, and how the outputs of layers do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molaugerino.equivariance.dual import dual
from molaugerino.equivariance.features import FEWEST, Features, MapFeatures, SampleFeatures, flow
from molaugerino.equivariance.layers import outputs
from molaugerino.spaces import Colour, Image, InputSpace, Molecules, Padded


@runtime_checkable
class View(Protocol):
    """A kind of input."""

    @property
    def input(self) -> InputSpace[Any]:
        """rho_in."""

    def with_tangent(self, x: Any, matrix: Float[Tensor, "h h"]) -> Any:
        """The batch as dual numbers x + t d/dt rho_in(exp(tX)) x, X the generator as a homogeneous matrix."""

    def features(self, model: nn.Module, x: Any, layers: list[str]) -> dict[str, Features | None]:
        """What the layers give for a batch, by name; None for what cannot be told."""


class MoleculeView:
    """`Molecules`. Whatever a layer gives belongs to atoms, pairs of atoms or molecules, which keep their identity.

    Which dimension is which is found by two passes over batches of other sizes: dimensions that follow the number of
    molecules or of padded atoms are examples; of those that stay, one of size 3 beside one of channels holds the
    components of vectors.
    """

    input: InputSpace[Any] = Padded()

    def with_tangent(self, x: Molecules, matrix: Float[Tensor, "4 4"]) -> Molecules:
        matrix = matrix.to(x.pos)
        tangent = x.pos @ matrix[:3, :3].mT + matrix[:3, 3]
        return x._replace(pos=dual(x.pos, tangent))

    @torch.no_grad()
    def features(self, model: nn.Module, x: Molecules, layers: list[str]) -> dict[str, Features | None]:
        few = Molecules(*(field[:1] for field in x)) if len(x.z) > 1 else self.input.tile(x, 2)
        wide = Molecules(*(torch.cat([field, torch.zeros_like(field[:, :1])], 1) for field in few))
        shapes = []
        with outputs(model, layers) as found:
            for batch in (x, wide):
                model(batch)
                shapes.append({name: tuple(h.shape) for name, h in found.items()})
                found.clear()
        return {name: _told(shape, shapes[1][name], x.mask, wide.mask) for name, shape in shapes[0].items()}


def _told(a: tuple[int, ...], b: tuple[int, ...], mask_a: Tensor, mask_b: Tensor) -> SampleFeatures | None:
    """By the shapes of one output for two batches."""
    if len(a) != len(b):
        return None
    sizes = list(zip(a, b, strict=True))
    molecules, atoms = ((mask_a.shape[k], mask_b.shape[k]) for k in (0, 1))
    rows = tuple(k for k, (one, other) in enumerate(sizes) if one != other)
    if not rows or rows[0] != 0:
        return None
    whole = sizes[0] == molecules
    packed = not whole and sizes[0] == (int(mask_a.sum()), int(mask_b.sum()))
    padded = tuple(k for k in rows[1:] if sizes[k] == atoms)
    if padded and not whole:
        return None  # padded atoms of several copies of each molecule: which are atoms is not known
    stay = [k for k in range(len(a)) if k not in rows]
    threes = [k for k in stay if a[k] == 3]
    vector = threes[0] if len(threes) == 1 and len(stay) > 1 else None
    if vector is not None and not (whole or packed):
        return None  # vectors on edges: to which molecule each belongs is not known
    return SampleFeatures(rows, padded, packed, vector)


@dataclass(frozen=True)
class ImageView:
    """Images (images, channels, height, width). Layers give maps, which move alike, or one vector per image.

    Channels come before the places, as in all of torch's layers. Maps of fewer than 4 places that count are taken for
    vectors, which stay.

    Attributes:
        input: `Image` or `Colour`.
        border: see `MapFeatures`.
    """

    input: InputSpace[Any] = field(default_factory=Image)
    border: float = 0.2

    @property
    def moves(self) -> bool:
        return not isinstance(self.input, Colour)

    def with_tangent(self, x: Tensor, matrix: Float[Tensor, "h h"]) -> Tensor:
        matrix = matrix.to(x)
        if self.moves:
            tangent = flow(matrix, x)
        else:
            tangent = torch.einsum("ck,nkhw->nchw", matrix[:-1, :-1], x) + matrix[:-1, -1][:, None, None]
        return dual(x, tangent)

    @torch.no_grad()
    def features(self, model: nn.Module, x: Tensor, layers: list[str]) -> dict[str, Features | None]:
        with outputs(model, layers) as found:
            model(x)
        return {name: self._told(h, len(x)) for name, h in found.items()}

    def _told(self, h: Tensor, images: int) -> Features | None:
        if h.dim() < 2 or len(h) != images or h.dim() == 3:
            return None  # tokens of images: where each lies is not known
        if h.dim() == 2:
            return SampleFeatures()
        maps = MapFeatures(self.border, self.moves)
        height, width = h.shape[-2:]
        return maps if int(maps.seen(height, width, h).sum()) >= FEWEST else SampleFeatures()
