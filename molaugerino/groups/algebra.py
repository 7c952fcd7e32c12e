"""Hat, and the series that keep exp and log smooth at the identity.

All coefficient functions take s = t^2 rather than t, because they are analytic in s
while t = sqrt(s) has no derivative at 0. Below `SMALL` they are Taylor polynomials,
whose first omitted term is under 1e-16, so that values and two derivatives hold in
float64 and nothing cancels in float32.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

SMALL = 0.25  # in units of s = t^2
TERMS = 7


def hat(w: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The skew matrix K with K x = w x x (cross product)."""
    x, y, z = w.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).reshape(*w.shape[:-1], 3, 3)


def _series(s: Tensor, coefficients: list[float]) -> Tensor:
    """Horner's rule for sum_k coefficients[k] s^k."""
    value = torch.full_like(s, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        value = value * s + c
    return value


def _split(s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where s is small, a small s for the series (else 0), a safe t for the closed form (else 1)."""
    small = s < SMALL
    return small, torch.where(small, s, 0.0), torch.where(small, 1.0, s).sqrt()


_SINC = [(-1) ** k / math.factorial(2 * k + 1) for k in range(TERMS)]
_COSC = [(-1) ** k / math.factorial(2 * k + 2) for k in range(TERMS)]
_TANC = [(-1) ** k / math.factorial(2 * k + 3) for k in range(TERMS)]
_COSC_SLOPE = [k * c for k, c in enumerate(_COSC)][1:]
_TANC_SLOPE = [k * c for k, c in enumerate(_TANC)][1:]
# 1 - (t/2) cot(t/2) = sum_k |B_2k| t^2k / (2k)!, with the Bernoulli numbers B_2k
_BERNOULLI = [
    1 / 6,
    1 / 30,
    1 / 42,
    1 / 30,
    5 / 66,
    691 / 2730,
    7 / 6,
    3617 / 510,
    43867 / 798,
    174611 / 330,
    854513 / 138,
]
_COTC = [b / math.factorial(2 * k + 2) for k, b in enumerate(_BERNOULLI)]
_ASINC = [math.comb(2 * k, k) / (4**k * (2 * k + 1)) for k in range(40)]


def sinc(s: Tensor) -> Tensor:
    """sin(t) / t with s = t^2."""
    small, tiny, t = _split(s)
    return torch.where(small, _series(tiny, _SINC), t.sin() / t)


def cosc(s: Tensor) -> Tensor:
    """(1 - cos t) / t^2 with s = t^2."""
    small, tiny, t = _split(s)
    return torch.where(small, _series(tiny, _COSC), 2 * (t / 2).sin().square() / t.square())


def tanc(s: Tensor) -> Tensor:
    """(t - sin t) / t^3 with s = t^2."""
    small, tiny, t = _split(s)
    return torch.where(small, _series(tiny, _TANC), (t - t.sin()) / t.pow(3))


def cosc_slope(s: Tensor) -> Tensor:
    """d cosc / ds = (sinc - 2 cosc) / (2 s)."""
    small, tiny, t = _split(s)
    square = t.square()
    closed = (t.sin() / t - 4 * (t / 2).sin().square() / square) / (2 * square)
    return torch.where(small, _series(tiny, _COSC_SLOPE), closed)


def tanc_slope(s: Tensor) -> Tensor:
    """d tanc / ds = (cosc - 3 tanc) / (2 s)."""
    small, tiny, t = _split(s)
    square = t.square()
    closed = (2 * (t / 2).sin().square() / square - 3 * (t - t.sin()) / t.pow(3)) / (2 * square)
    return torch.where(small, _series(tiny, _TANC_SLOPE), closed)


def cotc(s: Tensor) -> Tensor:
    """(1 - (t/2) cot(t/2)) / t^2 with s = t^2, for t < 2 pi."""
    small, tiny, t = _split(s)
    half = t / 2
    return torch.where(small, _series(tiny, _COTC), (1 - half * half.cos() / half.sin()) / t.square())


def angle_per_sine(s: Tensor, cosine: Tensor) -> Tensor:
    """a / sin a for the angle a in [0, pi/2] with s = sin^2 a and the given cosine >= 0."""
    small = s < SMALL
    tiny, sine = torch.where(small, s, 0.0), torch.where(small, 1.0, s).sqrt()
    return torch.where(small, _series(tiny, _ASINC), torch.atan2(sine, torch.where(small, 1.0, cosine)) / sine)
