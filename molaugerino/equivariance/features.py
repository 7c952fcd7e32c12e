"""How the outputs of a layer move when the input does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from molaugerino.groups import Affine
from molaugerino.spaces import Image
from molaugerino.spaces.raster import centres, in_frame, preimages

FEWEST = 4  # places that must count; maps with fewer are correlated over examples


@runtime_checkable
class Features(Protocol):
    """One kind of output.

    Attributes:
        spatial: whether values of one example at several places are correlated, or values of several examples.
    """

    spatial: bool

    def act(self, g: Affine, h: Tensor, x: Any) -> Tensor:
        """T'[h]: the features of the batch x, moved by one element per example."""

    def rate(self, matrix: Float[Tensor, "h h"], h: Tensor, x: Any) -> Tensor:
        """d/dt T'_exp(tX)[h] at t = 0, X the generator as a homogeneous matrix."""

    def flat(self, h: Tensor, x: Any, g: Affine | None = None) -> Tensor:
        """(examples, channels, places) where `spatial`, else (examples, channels); only what counts under g."""


@dataclass(frozen=True)
class SampleFeatures:
    """Values that keep their identity: of atoms, pairs of atoms, molecules, or pooled from an image.

    Attributes:
        rows: dimensions along which examples lie, in order.
        padded: those of them that are padded atoms.
        packed: whether the first dimension is that of the atoms of all molecules, one after the other.
        vector: dimension of the components of vectors, which turn; None for scalars, which stay.
    """

    rows: tuple[int, ...] = (0,)
    padded: tuple[int, ...] = ()
    packed: bool = False
    vector: int | None = None
    spatial = False

    def act(self, g: Affine, h: Tensor, x: Any) -> Tensor:
        if self.vector is None:
            return h
        return self._apply(g.linear[x.mask.nonzero()[:, 0]] if self.packed else g.linear, h)

    def rate(self, matrix: Float[Tensor, "h h"], h: Tensor, x: Any) -> Tensor:
        return torch.zeros_like(h) if self.vector is None else self._apply(matrix[:-1, :-1].expand(len(h), -1, -1), h)

    def _apply(self, linear: Float[Tensor, "rows 3 3"], h: Tensor) -> Tensor:
        assert self.vector is not None  # both callers have looked
        last = h.movedim(self.vector, -1)
        turned = last.reshape(len(h), -1, last.shape[-1]) @ linear.to(h).mT
        return turned.reshape(last.shape).movedim(-1, self.vector)

    def flat(self, h: Tensor, x: Any, g: Affine | None = None) -> Float[Tensor, "samples channels"]:
        first = (*self.rows, *(() if self.vector is None else (self.vector,)))
        rest = tuple(k for k in range(h.dim()) if k not in first)
        table = h.permute(*first, *rest).reshape(*(h.shape[k] for k in first), -1)
        if self.padded:
            counted = x.mask
            if len(self.padded) == 2:
                counted = counted.unsqueeze(1) & counted.unsqueeze(2)
            shape = [table.shape[k] if row == 0 or row in self.padded else 1 for k, row in enumerate(self.rows)]
            counted = counted.reshape(shape).expand(table.shape[: len(self.rows)])
            table = table[counted]
        return table.reshape(-1, table.shape[-1])


@dataclass(frozen=True)
class MapFeatures:
    """Maps (examples, ..., height, width) that move like the image, at their own resolution.

    The coordinates of a map are those of `Image`: its pixels cover the same area as those of the input. What counts
    are the places that lie, and come from, within the edge by at least `border` times half of the side, each way.

    Attributes:
        border: share of half of each side; 0 counts all places that come from inside.
        moves: whether a transformation moves places at all; colours are changed where they are.
    """

    border: float = 0.2
    moves: bool = True
    spatial = True

    def act(self, g: Affine, h: Tensor, x: Any) -> Tensor:
        if not self.moves:
            return h
        return Image().act(g, h.flatten(1, -3)).reshape(h.shape)

    def rate(self, matrix: Float[Tensor, "h h"], h: Tensor, x: Any) -> Tensor:
        return flow(matrix, h.flatten(1, -3)).reshape(h.shape) if self.moves else torch.zeros_like(h)

    def flat(self, h: Tensor, x: Any, g: Affine | None = None) -> Float[Tensor, "examples channels places"]:
        values = h.flatten(1, -3)
        if not self.moves:
            return values.flatten(2)
        height, width = h.shape[-2:]
        return values[..., self.seen(height, width, h, g)]

    def seen(self, height: int, width: int, like: Tensor, g: Affine | None = None) -> Tensor:
        """(height, width) places that count under all elements, and under the identity."""
        inner = 1 - self.border
        counted = in_frame(centres(height, width, like) / inner, height, width)
        if g is not None:
            counted = counted & in_frame(preimages(g.to(like.dtype), height, width) / inner, height, width).all(0)
        return counted


def flow(
    matrix: Float[Tensor, "3 3"], x: Float[Tensor, "images channels height width"]
) -> Float[Tensor, "images channels height width"]:
    """d/dt x(exp(-tX) u) = -grad x . (A u + b), X = (A, b).

    The gradient is that of the cubic interpolant through the pixels (Catmull and Rom), the central difference; the
    outermost pixels go on. The coordinates are those of `Image`.
    """
    height, width = x.shape[-2:]
    m = min(height, width)
    wide = functional.pad(x, [1, 1, 1, 1], "replicate")
    right = (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) * m / 4  # half of a difference; a pixel is 2 / m wide
    up = (wide[..., :-2, 1:-1] - wide[..., 2:, 1:-1]) * m / 4
    velocity = centres(height, width, x) @ matrix[:2, :2].to(x).mT + matrix[:2, 2].to(x)
    return -(right * velocity[..., 0] + up * velocity[..., 1])
