"""The laws of transformations that image tasks learn."""

from __future__ import annotations

import math
from collections.abc import Callable

from molaugerino.config import LawKind
from molaugerino.distributions import AlgebraUniform, GroupDistribution, HaarBall
from molaugerino.groups import SO2, T2, MatrixGroup, Scale, aff2, hues

CAP = 0.5  # largest shift, in halves of the shorter side
STRAIN = 0.5  # largest logarithm of a factor of size or shape
LENGTH = "half side"
GROUPS: dict[str, Callable[[], type[T2] | Scale | MatrixGroup]] = {
    "translation": lambda: T2,
    "scale": lambda: Scale(2),
    "affine": aff2,
    "hue": hues,
}
WIDEST = {"t": CAP, "r": math.pi, "h": math.pi}  # by the first letter of an axis; of all others STRAIN


def image_law(kind: LawKind, share: float) -> GroupDistribution:
    """The law of a kind that reaches this share of its widest: 0 is the identity, 1 the widest.

    rotation: angles uniform in [-w, w], w at most pi, which is Haar. The others are boxes of coordinates. translation:
    at most half of half the shorter side each way. scale: logarithms of factors up to 0.5. affine: all of these,
    squeezes and shears. hue: turns of the colours about the greys, w at most pi.
    """
    if kind == "rotation":
        return HaarBall(SO2, share * math.pi)
    group = GROUPS[kind]()
    return _box(group, [share] * group.dim)


def forced_law(kind: LawKind, part: int) -> GroupDistribution:
    """The law of a kind at its widest in one part, numbered as `describe` does, and the identity in all others."""
    if kind == "rotation":
        return HaarBall(SO2, math.pi)
    group = GROUPS[kind]()
    return _box(group, [float(k == part) for k in range(group.dim)])


def _box(group: type[T2] | Scale | MatrixGroup, shares: list[float]) -> AlgebraUniform:
    width = [share * WIDEST.get(axis[0], STRAIN) for share, axis in zip(shares, group.axes, strict=True)]
    return AlgebraUniform(group, width, CAP, STRAIN, LENGTH)
