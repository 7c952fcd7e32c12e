"""Images that are moved in their plane."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.errors import UserError
from molaugerino.groups import Affine
from molaugerino.spaces.raster import ImageBatch, check_elements, check_images, precise, preimages, sample

Mode = Literal["bilinear", "bicubic", "nearest"]
Padding = Literal["zeros", "border", "reflection"]


class Image(ImageBatch):
    """(rho(g) x)(u) = x(g^-1 u): what is seen at the point p is seen at g(p) afterwards.

    Points u are those of the plane of the image: the origin at its centre, x to the right, y UP (against the rows),
    the unit half of the shorter side along both axes. A rotation by a positive angle is counter-clockwise to the eye
    and keeps distances on images of any shape; a shift by 1 moves by half of the shorter side.

    Exact where pixel centres fall on pixel centres: the eight symmetries of a square image, half turn and mirrors of
    any other. In between, values are interpolated; where an element makes things smaller, nothing is smoothed first.
    Differentiable in the images, and in g unless `mode` is "nearest"; "bilinear" has a kink wherever a point crosses
    a line between pixel centres (at the identity, all of them do), and its derivative there is that of one side.
    Derivatives are those of reverse mode; torch has no forward mode for grid_sample.

    Args:
        mode: "bilinear", "bicubic" (smooth, may overshoot) or "nearest".
        padding: what lies outside of the image: "zeros", "border" (the outermost pixels go on) or "reflection". The
            left-action law holds for as far as nothing leaves the image.

    Raises:
        UserError: for another mode or padding.

    Source: the action of Benton, Finzi, Izmailov, Wilson, Learning Invariances in Neural Networks (2020),
    arXiv:2010.11882, with one scale for both axes; Jaderberg et al., Spatial Transformer Networks (2015),
    arXiv:1506.02025, for the derivatives.

    Example:
        >>> quarter = Affine(torch.tensor([[0., -1.], [1., 0.]]), torch.zeros(2)).expand(1)
        >>> Image().act(quarter, torch.tensor([[[[1., 2.], [3., 4.]]]])).round()  # counter-clockwise
        tensor([[[[2., 4.],
                  [1., 3.]]]])
    """

    def __init__(self, mode: Mode = "bilinear", padding: Padding = "zeros") -> None:
        for name, value, known in (("mode", mode, get_args(Mode)), ("padding", padding, get_args(Padding))):
            if value not in known:
                raise UserError(f"`{name}` must be one of {', '.join(known)}, got {value!r}")
        self.mode = mode
        self.padding = padding

    def act(
        self, g: Affine, value: Float[Tensor, "images channels height width"], index: Tensor | None = None
    ) -> Float[Tensor, "images channels height width"]:
        """The images, moved.

        Args:
            g: one map of the plane per image, batch shape (images,); b in halves of the shorter side.
            value: (images, channels, height, width), any unit.
            index: None; rows are images.

        Raises:
            UserError: for maps of another space, or another number of them.
        """
        check_elements(g, value, 2)
        exact = precise(value)
        points = preimages(g.to(exact.dtype), *value.shape[-2:])
        return sample(exact, points, self.mode, self.padding).to(value.dtype)

    def check(self, x: Tensor, dim: int, device: torch.device) -> None:
        """Raise unless maps of R^dim, on this device, can move the batch.

        Raises:
            UserError: for a law on another space than the plane; for another shape than (images, channels, height,
                width), integers, another device, or values that are not finite.
        """
        if dim != 2:
            raise UserError(f"images need maps of the plane, and the law is one of maps of R^{dim}; use SE2 or aff2()")
        check_images(x, None, device)
