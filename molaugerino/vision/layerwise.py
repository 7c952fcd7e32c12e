"""Eight layers of several paths each, whose precisions say how far each is a convolution."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from molaugerino.errors import UserError
from molaugerino.layers import (
    Convolution,
    Dense,
    Factored,
    GroupConvolution,
    Pathways,
    SparseConvolution,
    SparseFactored,
    last_map,
    lifted,
)

TURNS = 4
# (channels, outputs, side, stride) -> a path; those that keep the side are subsampled by the layer
_PATHS: dict[str, Callable[[int, int, int, int], nn.Module]] = {
    "fc": Dense,
    "conv": lambda channels, outputs, _size, _stride: Convolution(channels, outputs),
    "f-fc": Factored,
    "s-fc": SparseFactored,
    "s-conv": lambda channels, outputs, _size, _stride: SparseConvolution(channels, outputs),
    "gconv": lambda channels, outputs, _size, _stride: GroupConvolution(channels // TURNS, outputs // TURNS),
}
PATHS: Mapping[str, Callable[[int, int, int, int], nn.Module]] = MappingProxyType(_PATHS)
STRICT = ("conv", "s-conv", "gconv")
SMALL = 0.1  # initial size of a free path beside a strict one: what it adds has to be learned
BESIDE = 0.5  # share of the taps that are anchors of a sparse filter beside a sparse factored path
FACTORS, STRIDES = (1, 2, 2, 4, 4, 8, 8, 16), (1, 2, 1, 2, 1, 2, 2, 2)
SIZE = 32  # pixels


class Layerwise(nn.Module):
    """W2 relu(W1 h + b1) + b2, h = relu(layer_8(... relu(layer_1(x)))): eight relaxed layers, from 32 x 32 to 1 x 1.

    Channels a, 2a, 2a, 4a, 4a, 8a, 8a, 16a, strides 1, 2, 1, 2, 1, 2, 2, 2, then 64a; no normalisation. With a group
    convolution among the paths all features are on the group of quarter turns, and the largest of the four is taken at
    the end. Images of other sizes are resized.

    Args:
        channels: of an image.
        classes: of the output.
        paths: of every layer, of `PATHS`, each once.
        a: width.
        size: side that images are brought to, a power of two; smaller ones have strides only while they last.
        mixing: of the group convolutions; those of the paper have none.

    Input: (images, channels, height, width). Output: (images, classes).

    Raises:
        UserError: for unknown paths, or sizes out of these ranges.

    Source: van der Ouderaa, Immer, van der Wilk, Learning Layer-wise Equivariances Automatically using Gradients
    (2023), arXiv:2310.06131.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        paths: Sequence[str] = ("f-fc", "conv"),
        a: int = 10,
        size: int = SIZE,
        mixing: bool = True,
    ) -> None:
        super().__init__()
        if not paths or len(set(paths)) < len(paths) or set(paths) - set(PATHS):
            raise UserError(f"`paths` are some of {', '.join(PATHS)}, each once, got {', '.join(paths) or 'none'}")
        if size < 1 or size & (size - 1):
            raise UserError(f"`size` must be a power of two, got {size}")
        if a < 1:
            raise UserError(f"`a` must be at least 1, got {a}")
        self.size, self.on_group = size, "gconv" in paths
        turns = TURNS if self.on_group else 1
        makers = dict(PATHS)
        if not mixing:
            makers["gconv"] = lambda channels, outputs, _size, _stride: GroupConvolution(
                channels // TURNS, outputs // TURNS, mixing=False
            )
        if "s-fc" in paths:
            makers["s-conv"] = lambda channels, outputs, _size, _stride: SparseConvolution(channels, outputs, BESIDE)
        layers = []
        for (before, after), stride in zip(pairwise([channels, *(a * f for f in FACTORS)]), STRIDES, strict=True):
            stride = min(stride, size)
            made = {name: makers[name](turns * before, turns * after, size, stride) for name in paths}
            strict = [name for name in paths if name in STRICT]
            with torch.no_grad():
                for name, path in made.items():  # the mean over n paths, of which the strict ones make up the size
                    last_map(path).weight.mul_(len(paths) / len(strict or paths) ** 0.5)
                    if strict and name not in strict:
                        last_map(path).weight.mul_(SMALL)
            layers.append(Pathways(made, stride))
            size //= stride
        self.layers = nn.ModuleList(layers)
        self.hidden = nn.Linear(FACTORS[-1] * a * size**2, 64 * a)
        self.readout = nn.Linear(64 * a, classes)

    def forward(self, x: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images classes"]:
        if x.shape[-2:] != (self.size, self.size):
            x = functional.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        h = lifted(x) if self.on_group else x
        for layer in self.layers:
            h = layer(h).relu()
        if self.on_group:
            h = h.reshape(len(h), -1, TURNS, *h.shape[2:]).amax(2)
        return self.readout(self.hidden(h.flatten(1)).relu())
