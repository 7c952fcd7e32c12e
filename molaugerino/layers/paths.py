"""Linear maps of images that need not commute with anything: the free paths of relaxed layers."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molaugerino.errors import UserError
from molaugerino.layers.blocks import BlockLinear
from molaugerino.layers.filters import GAIN
from molaugerino.layers.interpolation import fitted, interpolation

ANCHORS = 0.5  # of the places


class Dense(nn.Module):
    """FC: y[c', x'] = sum_{c, x} W[c', x', c, x] x[c, x] + b[c', x']: any linear map, C' C X' X parameters.

    Args:
        channels: C.
        outputs: C'.
        size: side of the square input, X = size^2.
        stride: X' = (size / stride)^2.

    Input: (images, channels, size, size). Output: (images, outputs, size / stride, size / stride).
    """

    def __init__(self, channels: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.outputs, self.side = outputs, reduced(size, stride)
        self.map = BlockLinear(1, channels * size**2, outputs * self.side**2, gain=GAIN)

    def forward(self, x: Float[Tensor, "images channels size size"]) -> Float[Tensor, "images outputs side side"]:
        return self.map(x.flatten(1).unsqueeze(1)).reshape(len(x), self.outputs, self.side, self.side)


class Factored(nn.Module):
    """F-FC: y[c', x'] = sum_c V[x', c', c] (sum_x U[c', c, x] x[c, x] + a[c']) + b[x']: C' C (X + X') parameters.

    Of rank one across places for every pair of channels. The bias b belongs to a place and is shared by the channels.

    Args:
        channels: C.
        outputs: C'.
        size: side of the square input.
        stride: X' = (size / stride)^2.
    """

    def __init__(self, channels: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.side = reduced(size, stride)
        self.gather = BlockLinear(channels, size**2, outputs)
        self.spread = BlockLinear(outputs, channels, self.side**2, gain=GAIN)

    def forward(self, x: Float[Tensor, "images channels size size"]) -> Float[Tensor, "images outputs side side"]:
        gathered = self.gather(x.flatten(2))  # (images, channels, outputs)
        return self.spread(gathered.mT).reshape(len(x), -1, self.side, self.side)


class SparseFactored(nn.Module):
    """S-FC: F-FC with U = u Psi and V = Psi'^t v interpolated from values at anchors: C' C (P + P') parameters.

    Args:
        channels: C.
        outputs: C'.
        size: side of the square input.
        stride: X' = (size / stride)^2.
        share: of the places that are anchors, (0, 1].
        seed: of the places of the anchors.
    """

    psi_in: Tensor
    psi_out: Tensor

    def __init__(
        self, channels: int, outputs: int, size: int, stride: int = 1, share: float = ANCHORS, seed: int = 0
    ) -> None:
        super().__init__()
        self.side = reduced(size, stride)
        self.register_buffer("psi_in", interpolation(size, share, seed))
        self.register_buffer("psi_out", interpolation(self.side, share, seed + 1))
        self.gather = BlockLinear(channels, len(self.psi_in), outputs)
        self.spread = BlockLinear(outputs, channels, len(self.psi_out), bias=False, gain=GAIN)
        with torch.no_grad():
            gather = torch.randn(channels, outputs, size**2) / size
            spread = GAIN / math.sqrt(channels) * torch.randn(outputs, channels, self.side**2)
            self.gather.weight.copy_(fitted(gather, self.psi_in))
            self.spread.weight.copy_(fitted(spread, self.psi_out).mT)

    def forward(self, x: Float[Tensor, "images channels size size"]) -> Float[Tensor, "images outputs side side"]:
        gathered = self.gather(x.flatten(2) @ self.psi_in.mT)
        return (self.spread(gathered.mT) @ self.psi_out).reshape(len(x), -1, self.side, self.side)


def reduced(size: int, stride: int) -> int:
    """The side after a stride.

    Raises:
        UserError: where the stride does not divide the side.
    """
    if stride < 1 or size % stride:
        raise UserError(f"`stride` must divide the side of the input, {size}, got {stride}")
    return size // stride
