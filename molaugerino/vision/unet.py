"""A network with one answer per pixel."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from molaugerino.vision.convolutions import normalised, widths


def twice(channels: int, outputs: int) -> nn.Sequential:
    """Two convolutions, each with batch normalisation and ReLU."""
    return nn.Sequential(normalised(channels, outputs), normalised(outputs, outputs))


class UNet(nn.Module):
    """y = W c_0 + b, from coarse to fine:

        d_0 = F_0(x),    d_k = F_k(pool d_{k-1})          going down, k = 1, 2
        c_2 = d_2,       c_k = G_k(d_k, U_k c_{k+1})      coming up, k = 1, 0

    F and G are two 3x3 convolutions with batch normalisation and ReLU, pool takes the largest of 2x2, U is a
    transposed convolution that doubles the sides, W a 1x1 convolution. Widths 32, 64, 128 times the factor.

    The outermost pixels are repeated until the sides are multiples of 4, and what was added is cut off again. A shift
    by a multiple of 4 pixels shifts the output wherever the edges are farther off than 24 pixels.

    Args:
        channels: of an image.
        outputs: numbers per pixel, such as one logit per class.
        width: factor on all widths; no layer has fewer than 4 channels.

    Input: (images, channels, height, width), values in [0, 1], any sides. Output: (images, outputs, height, width).

    Raises:
        UserError: for a width that is not positive.

    Source: after Ronneberger, Fischer, Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation (2015),
    arXiv:1505.04597, with two levels instead of four, normalised, and of the size of the input.
    """

    def __init__(self, channels: int, outputs: int, width: float = 1.0) -> None:
        super().__init__()
        sizes = widths(width, 32, 64, 128)
        self.stride = 2 ** (len(sizes) - 1)
        self.down = nn.ModuleList(twice(before, after) for before, after in pairwise([channels, *sizes]))
        climb = list(pairwise(sizes[::-1]))
        self.up = nn.ModuleList(nn.ConvTranspose2d(low, high, 2, 2, bias=False) for low, high in climb)
        self.merge = nn.ModuleList(twice(2 * high, high) for _, high in climb)
        self.readout = nn.Conv2d(sizes[0], outputs, 1)

    def forward(self, x: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images outputs height width"]:
        height, width = x.shape[-2:]
        lower, wider = -height % self.stride, -width % self.stride
        top, left = lower // 2, wider // 2
        h = functional.pad(x, (left, wider - left, top, lower - top), "replicate")
        levels: list[Tensor] = []
        for block in self.down:
            h = block(functional.max_pool2d(h, 2) if levels else h)
            levels.append(h)
        for up, merge, level in zip(self.up, self.merge, levels[-2::-1], strict=True):
            h = merge(torch.cat([level, up(h)], 1))
        return self.readout(h)[..., top : top + height, left : left + width]
