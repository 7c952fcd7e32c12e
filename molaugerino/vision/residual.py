"""A small residual network."""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from molaugerino.vision.convolutions import widths

BLOCKS = 2  # per stage


class Block(nn.Module):
    """h + W2 * a(W1 * a(h)), a = ReLU after batch normalisation; W are 3x3 convolutions.

    Where the stride is not 1 or the width changes, h is replaced by V * a(h), V a 1x1 convolution with that stride.
    """

    def __init__(self, channels: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.change = nn.Sequential(
            nn.Conv2d(channels, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        )
        same = stride == 1 and channels == outputs
        self.shortcut = None if same else nn.Conv2d(channels, outputs, 1, stride, bias=False)

    def forward(
        self, h: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images outputs lower narrower"]:
        entered = self.enter(h)
        return self.change(entered) + (h if self.shortcut is None else self.shortcut(entered))


class SmallResidual(nn.Module):
    """W mean_u a(h(u)) + b: h from three stages of two residual blocks, a = ReLU after batch normalisation.

    Widths 16, 32, 64 times the factor, strides 1, 2, 2. Fourteen layers with weights along the longest way.

    Args:
        channels: of an image.
        outputs: numbers per image, such as one logit per class.
        width: factor on all widths; no layer has fewer than 4 channels.

    Input: (images, channels, height, width), values in [0, 1]. Output: (images, outputs).

    Raises:
        UserError: for a width that is not positive.

    Source: after He, Zhang, Ren, Sun, Identity Mappings in Deep Residual Networks (2016), arXiv:1603.05027.
    """

    def __init__(self, channels: int, outputs: int, width: float = 1.0) -> None:
        super().__init__()
        sizes = widths(width, 16, 32, 64)
        layers: list[nn.Module] = [nn.Conv2d(channels, sizes[0], 3, padding=1, bias=False)]
        for stage, (before, after) in enumerate(pairwise([sizes[0], *sizes])):
            layers.append(Block(before, after, 1 if stage == 0 else 2))
            layers += [Block(after, after, 1) for _ in range(BLOCKS - 1)]
        self.features = nn.Sequential(*layers, nn.BatchNorm2d(sizes[-1]), nn.ReLU())
        self.readout = nn.Linear(sizes[-1], outputs)

    def forward(self, x: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images outputs"]:
        return self.readout(self.features(x).mean((-2, -1)))
