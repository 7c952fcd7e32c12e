"""Answers for every pixel, which move with the image."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from molaugerino.groups import Affine
from molaugerino.spaces.raster import check_elements, in_frame, places, precise, preimages, sample

IGNORED = -100  # what torch's losses leave out unless told otherwise


class Mask:
    """(rho(g) m)(u) = m(g^-1 u) where g^-1 u lies on the image, `outside` where it does not.

    The output action of segmentation, in the coordinates of `Image`: scores of classes, depths, any map (images,
    channels, height, width) that is predicted for the pixels. Bilinear; half a pixel within the edge, the value of the
    outermost pixel goes on. Whether a pixel is seen is decided by its coordinates, not by the values.

    With NaN for `outside`, the copies that do not see a pixel can be left out of the mean:
    `Augmented(net, law, Image(), Mask(), reduce=reductions.in_view)`, of scores of classes by `probability_in_view`.
    A NaN in the value itself spreads to whatever is interpolated from it. Gradients of seen pixels are those of
    `Image`; `outside` has none.

    Args:
        outside: the value of pixels that come from outside of the image.

    Example:
        >>> up = Affine(torch.eye(2), torch.tensor([0., 1.])).expand(1)
        >>> Mask().act(up, torch.tensor([[[[1., 2.], [3., 4.]]]]))
        tensor([[[[3., 4.],
                  [nan, nan]]]])
    """

    per_point = False

    def __init__(self, outside: float = math.nan) -> None:
        self.outside = outside

    def act(
        self, g: Affine, value: Float[Tensor, "images channels height width"], index: Tensor | None = None
    ) -> Float[Tensor, "images channels height width"]:
        """The maps, moved.

        Args:
            g: one map of the plane per image, batch shape (images,); b in halves of the shorter side.
            value: (images, channels, height, width), any unit.
            index: None; rows are images.

        Raises:
            UserError: for maps of another space, or another number of them.
        """
        check_elements(g, value, 2)
        height, width = value.shape[-2:]
        exact = precise(value)
        points = preimages(g.to(exact.dtype), height, width)
        seen = in_frame(points, height, width).unsqueeze(1)
        return torch.where(seen, sample(exact, points, "bilinear", "border"), self.outside).to(value.dtype)

    def labels(
        self, g: Affine, labels: Int[Tensor, "images height width"], ignore_index: int = IGNORED
    ) -> Int[Tensor, "images height width"]:
        """labels[nearest pixel to g^-1 u], `ignore_index` where that lies outside of the image.

        Args:
            g: one map of the plane per image, batch shape (images,).
            labels: (images, height, width) integers, the true class of each pixel.
            ignore_index: the class of pixels that come from outside, as the loss expects it.

        Raises:
            UserError: for maps of another space, or another number of them.
        """
        check_elements(g, labels, 2)
        height, width = labels.shape[-2:]
        points = preimages(g.detach(), height, width)
        column, row = places(points, height, width).round().long().unbind(-1)
        which = torch.arange(len(labels), device=labels.device)[:, None, None]
        found = labels[which, row.clamp(0, height - 1), column.clamp(0, width - 1)]
        return found.masked_fill(~in_frame(points, height, width), ignore_index)
