"""Functions on the rotation group whose mean is known."""

from __future__ import annotations

import torch
from torch import Tensor

from molaugerino.groups import SO3, Affine
from molaugerino.quadrature import wigner_d


def rotations(n: int, seed: int = 0) -> Affine:
    """Haar-random, from normal quaternions of scipy: none of the library's own laws."""
    from scipy.spatial.transform import Rotation

    linear = torch.from_numpy(Rotation.random(n, random_state=seed).as_matrix())
    return Affine(linear, torch.zeros(n, 3, dtype=torch.float64))


class BandLimited:
    """f_r(g) = sum_l s_l sum_mn c_rlmn D^l_mn(g) for 1 <= l <= degree, c standard normal: the Haar mean is 0.

    Args:
        degree: the largest l.
        rows: how many functions.
        decay: s_l = decay^l.
    """

    def __init__(self, degree: int, rows: int, decay: float = 1.0, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.coefficients = [
            decay**k * torch.randn((2 * k + 1) ** 2, rows, generator=generator, dtype=torch.float64)
            for k in range(1, degree + 1)
        ]

    def __call__(self, g: Affine) -> Tensor:
        """(n, rows)."""
        return sum(wigner_d(k, g).flatten(1) @ c for k, c in enumerate(self.coefficients, start=1))

    def power(self) -> Tensor:
        """Of each degree from 0 on, (degree + 1, rows): the squares of D^l_mn have the mean 1 / (2l + 1)."""
        rows = [c.square().sum(0) / (2 * k + 1) for k, c in enumerate(self.coefficients, start=1)]
        return torch.stack([torch.zeros_like(rows[0]), *rows])


def largest_moment(elements: Affine, weights: Tensor, degree: int) -> float:
    """Of the means of all entries of D^l, in absolute value."""
    return float((weights @ wigner_d(degree, elements).flatten(1)).abs().max())


def angles(g: Affine) -> Tensor:
    """Of rotations, in [0, pi]."""
    return SO3.log(g).norm(dim=-1)
