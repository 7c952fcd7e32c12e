"""Linear maps of images that commute with circular shifts."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from molaugerino.errors import UserError
from molaugerino.layers.blocks import LinearMap
from molaugerino.layers.interpolation import fitted, interpolation

FILTER_ANCHORS = 0.8  # of the taps of a sparse filter
GAIN = math.sqrt(2)  # of a path, for the half that a ReLU takes


class Filter(LinearMap):
    """y[c', x'] = sum_{c, d} filter[c', c, d] x[c, x' + d] + b[c'], circular, the filter made from the weights.

    Args:
        kernel: side of the filter.

    Raises:
        UserError: for an even side.

    Input: (images, channels, size, size). Output: (images, outputs, size, size).
    """

    def __init__(self, kernel: int) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise UserError(f"`kernel` must be odd, got {kernel}")
        self.kernel = kernel

    @abstractmethod
    def filter(self) -> Float[Tensor, "outputs channels kernel kernel"]:
        """What the image is convolved with."""

    def offset(self) -> Tensor | None:
        """What is added to each channel of the output."""
        return self.bias

    def forward(self, x: Float[Tensor, "images channels size size"]) -> Float[Tensor, "images outputs size size"]:
        return functional.conv2d(self._wide(x), self.filter(), self.offset())

    def _wide(self, x: Tensor) -> Tensor:
        return functional.pad(x, [self.kernel // 2] * 4, "circular")

    def patches(self, x: Tensor) -> Float[Tensor, "images places channels taps"]:
        """What the filter sees around every place."""
        columns = functional.unfold(self._wide(x), self.kernel)
        return columns.reshape(len(x), x.shape[1], self.kernel**2, -1).permute(0, 3, 1, 2)

    def given(self, y: Tensor) -> Float[Tensor, "images places 1 outputs"]:
        return y.flatten(2).mT.unsqueeze(2)


class Convolution(Filter):
    """CONV: y[c', x'] = sum_{c, d} W[c', c, d] x[c, x' + d] + b[c'], circular: 9 C' C parameters.

    Commutes exactly with every circular shift, before the subsampling that a stride asks of the layer.

    Args:
        channels: C.
        outputs: C'.
        kernel: side of the filter, odd.
    """

    def __init__(self, channels: int, outputs: int, kernel: int = 3) -> None:
        super().__init__(kernel)
        scale = GAIN / math.sqrt(channels * kernel**2)
        self.weight = nn.Parameter(scale * torch.randn(outputs, channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def filter(self) -> Float[Tensor, "outputs channels kernel kernel"]:
        return self.weight

    def seen(self, x: Tensor) -> Float[Tensor, "images places 1 inputs"]:
        return self.patches(x).flatten(2).unsqueeze(2)


class SparseConvolution(Filter):
    """S-CONV: a circular convolution whose filters are W[c', c, d] = sum_p w[c', c, p] Psi[p, d].

    Args:
        channels: C.
        outputs: C'.
        share: of the taps that are anchors, (0, 1].
        kernel: side of the filter, odd.
        seed: of the places of the anchors.
    """

    psi: Tensor

    def __init__(
        self, channels: int, outputs: int, share: float = FILTER_ANCHORS, kernel: int = 3, seed: int = 0
    ) -> None:
        super().__init__(kernel)
        self.register_buffer("psi", interpolation(kernel, share, seed))
        scale = GAIN / math.sqrt(channels * kernel**2)
        dense = scale * torch.randn(outputs, channels, kernel**2)
        self.weight = nn.Parameter(fitted(dense, self.psi))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def filter(self) -> Float[Tensor, "outputs channels kernel kernel"]:
        return (self.weight @ self.psi).reshape(*self.weight.shape[:2], self.kernel, self.kernel)

    def seen(self, x: Tensor) -> Float[Tensor, "images places 1 inputs"]:
        return (self.patches(x) @ self.psi.mT).flatten(2).unsqueeze(2)


class GroupConvolution(Filter):
    """GCONV: y[c', r, x'] = sum_{c, s, d} W[c', c, r^-1 s, r^-1 d] x[c, s, x' + d] + b[c'], r, s quarter turns.

    Commutes with circular shifts, and with quarter turns, which turn the image and move r on by one: 36 C' C
    parameters. Without mixing, s = r only, 9 C' C of them: the same convolution of each of the four turned copies.

    Args:
        channels: C; the input has 4 C, those of one channel's four turns side by side.
        outputs: C'; the output has 4 C'.
        kernel: side of the filter, odd.
        mixing: whether different turns see each other.
    """

    order: Tensor

    def __init__(self, channels: int, outputs: int, kernel: int = 3, mixing: bool = True) -> None:
        super().__init__(kernel)
        self.mixing = mixing
        turns = 4 if mixing else 1
        scale = GAIN / math.sqrt(turns * channels * kernel**2)
        self.weight = nn.Parameter(scale * torch.randn(outputs, channels, turns, kernel**2))
        self.bias = nn.Parameter(torch.zeros(outputs))
        taps = torch.arange(kernel**2).reshape(kernel, kernel)
        self.register_buffer("order", torch.stack([taps.rot90(-k).flatten() for k in range(4)]), persistent=False)

    def filter(self) -> Float[Tensor, "outputs channels kernel kernel"]:
        rows = []
        for turn in range(4):
            back = self.order[turn].argsort()
            turned = self.weight[..., back]  # (outputs, channels, turns or 1, taps), as this turn sees the image
            if self.mixing:
                rows.append(turned.roll(turn, 2))
            else:
                alone = turned.new_zeros(*turned.shape[:2], 4, turned.shape[3])
                alone[:, :, turn] = turned[:, :, 0]
                rows.append(alone)
        outputs, channels = self.weight.shape[:2]
        return torch.stack(rows, 1).reshape(4 * outputs, 4 * channels, self.kernel, self.kernel)

    def offset(self) -> Tensor | None:
        return None if self.bias is None else self.bias.repeat_interleave(4)

    def seen(self, x: Tensor) -> Float[Tensor, "images uses 1 inputs"]:
        taps = self.patches(x)
        taps = taps.reshape(*taps.shape[:2], -1, 4, taps.shape[3])  # (images, places, channels, turns, taps)
        found = []
        for turn in range(4):
            turned = taps[..., self.order[turn]]
            turned = turned.roll(-turn, 3) if self.mixing else turned[:, :, :, turn : turn + 1]
            found.append(turned.flatten(2))
        return torch.stack(found, 2).flatten(1, 2).unsqueeze(2)

    def given(self, y: Tensor) -> Float[Tensor, "images uses 1 outputs"]:
        return y.reshape(len(y), y.shape[1] // 4, 4, -1).permute(0, 3, 2, 1).flatten(1, 2).unsqueeze(2)


def lifted(x: Float[Tensor, "images channels size size"]) -> Float[Tensor, "images turned size size"]:
    """Every channel four times, as all turns of the filters see it: what a group convolution begins with."""
    return x.repeat_interleave(4, 1)
