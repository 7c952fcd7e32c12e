"""Changes of colour as affine maps of the space of colours."""

from __future__ import annotations

import math

import torch

from molaugerino.groups.algebra import hat
from molaugerino.groups.matrix import MatrixGroup
from molaugerino.groups.so import SO2

MIDDLE = 0.5  # of each channel, in mid-grey


def colours() -> MatrixGroup:
    """exp(xi) = exp(xi_1 B + xi_2 C + xi_3 S + xi_4 H), affine maps of colours c = (red, green, blue) in [0, 1]^3.

    With n = (1, 1, 1) / sqrt 3 along the greys and m = (1, 1, 1) / 2 mid-grey, one coordinate alone is

    - brightness s: c -> e^s c;
    - contrast s: c -> m + e^s (c - m);
    - saturation s: c -> n n^T c + e^s (c - n n^T c), the distance from the greys; -infinity leaves a grey image;
    - hue a: the rotation about n by a (radians, period 2 pi), which takes red towards green; greys stay.

    Coordinates but the hue are logarithms of factors. Saturation and hue commute with everything; brightness and
    contrast do not with each other, [B, C] = C - B, so a sum of the two is not one after the other. The grey of a
    colour is the mean of its channels, not a weighted luminance: only then does the hue turn in a group with the rest.
    """
    eye, n = torch.eye(3, dtype=torch.float64), torch.full((3,), 1 / math.sqrt(3), dtype=torch.float64)
    generators = torch.stack([eye, eye, eye - torch.outer(n, n), hat(n)])
    shifts = torch.zeros(4, 3, dtype=torch.float64)
    shifts[1] = -MIDDLE
    axes = ("brightness", "contrast", "saturation", "hue")
    return MatrixGroup(generators, shifts, "Colours", axes, orthonormal=False, log_volume=SO2.log_volume)


def hues() -> MatrixGroup:
    """exp(a H): the turn of colours about the greys by a radians alone, as in `colours`."""
    n = torch.full((3,), 1 / math.sqrt(3), dtype=torch.float64)
    return MatrixGroup(hat(n)[None], None, "Hues", ("hue",), orthonormal=False, log_volume=SO2.log_volume)
