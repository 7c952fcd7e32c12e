"""Plain networks of convolutions, one after the other, and what the other networks share with them."""

from __future__ import annotations

import math
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from molaugerino.errors import UserError

FEWEST = 4  # channels of a layer, however narrow the network
LEAK = 0.1


def widths(factor: float, *full: int) -> list[int]:
    """max(4, round(factor * w)) for every w: channels per layer of a narrower or wider network.

    Raises:
        UserError: unless the factor is positive and finite.

    Example:
        >>> widths(0.25, 8, 128)
        [4, 32]
    """
    if not (math.isfinite(factor) and factor > 0):
        raise UserError(f"`width` must be positive and finite, got {factor:g}; it is a factor, 1 for the full network")
    return [max(FEWEST, round(factor * each)) for each in full]


def normalised(channels: int, outputs: int, leak: float = 0.0) -> nn.Sequential:
    """ReLU(norm(W * x)): a 3x3 convolution that keeps the size, with zeros outside, and batch normalisation.

    Args:
        channels: in.
        outputs: channels out.
        leak: slope below 0.
    """
    activation = nn.LeakyReLU(leak) if leak else nn.ReLU()
    # a bias would be taken off by the normalisation
    return nn.Sequential(nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), activation)


class FiveLayer(nn.Module):
    """W mean_u h(u) + b: five 3x3 convolutions h, max pools after the second and the fourth, the mean, a linear map.

    Widths 128, 128, 256, 256, 256 times the factor; batch normalisation and ReLU after every convolution, dropout of
    whole channels after every pool.

    Args:
        channels: of an image.
        outputs: numbers per image, such as one logit per class.
        width: factor on all widths; no layer has fewer than 4 channels.
        dropout: share of the channels that are dropped in training, [0, 1).

    Input: (images, channels, height, width), values in [0, 1], sides of 8 pixels or more. Output: (images, outputs).

    Raises:
        UserError: for a width that is not positive.

    Source: after the network for rotated digits of Benton, Finzi, Izmailov, Wilson, Learning Invariances in Neural
    Networks (2020), arXiv:2010.11882. Which pool is followed by dropout is chosen here.
    """

    def __init__(self, channels: int, outputs: int, width: float = 1.0, dropout: float = 0.3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        sizes = widths(width, 128, 128, 256, 256, 256)
        for layer, (before, after) in enumerate(pairwise([channels, *sizes]), 1):
            layers.append(normalised(before, after))
            if layer in (2, 4):
                layers += [nn.MaxPool2d(2), nn.Dropout2d(dropout)]
        self.features = nn.Sequential(*layers)
        self.readout = nn.Linear(sizes[-1], outputs)

    def forward(self, x: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images outputs"]:
        return self.readout(self.features(x).mean((-2, -1)))


class ThirteenLayer(nn.Module):
    """W mean_u h(u) + b: three times three 3x3 convolutions h, a max pool between the threes, the mean, a linear map.

    Widths 128, 128, 128, then 256, times the factor; batch normalisation and leaky ReLU after every convolution,
    dropout of whole channels after every pool. It is called so after the network of thirteen layers that it shortens.

    Args:
        channels: of an image.
        outputs: numbers per image, such as one logit per class.
        width: factor on all widths; no layer has fewer than 4 channels.
        dropout: share of the channels that are dropped in training, [0, 1).

    Input: (images, channels, height, width), values in [0, 1], sides of 8 pixels or more. Output: (images, outputs).

    Raises:
        UserError: for a width that is not positive.

    Source: after "layer13s", the network for CIFAR-10 of Benton, Finzi, Izmailov, Wilson (2020), arXiv:2010.11882:
    nine 3x3 convolutions of widths 128 and 256, two pools, dropout 0.3 of whole channels, the global mean. After
    Laine and Aila, Temporal Ensembling for Semi-Supervised Learning (2017), arXiv:1610.02242: threes of one width,
    and slope 0.1 below 0. There, the last three layers are of width 512, 256 and 128, two of them 1x1.
    """

    def __init__(self, channels: int, outputs: int, width: float = 1.0, dropout: float = 0.3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        sizes = widths(width, *[128] * 3, *[256] * 6)
        for layer, (before, after) in enumerate(pairwise([channels, *sizes]), 1):
            layers.append(normalised(before, after, LEAK))
            if layer in (3, 6):
                layers += [nn.MaxPool2d(2), nn.Dropout2d(dropout)]
        self.features = nn.Sequential(*layers)
        self.readout = nn.Linear(sizes[-1], outputs)

    def forward(self, x: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images outputs"]:
        return self.readout(self.features(x).mean((-2, -1)))
