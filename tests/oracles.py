"""Independent answers that the tests compare with."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from molaugerino.groups import SO3, Affine


def cube_rotations(dtype: torch.dtype = torch.float64) -> Affine:
    """The 24 rotations of the cube: signed permutation matrices of determinant 1, exact in any precision."""
    matrices = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            if np.linalg.det(matrix) > 0:
                matrices.append(matrix)
    linear = torch.tensor(np.array(matrices), dtype=dtype)
    return Affine(linear, torch.zeros(len(linear), 3, dtype=dtype))


def haar_ball_cdf(t: np.ndarray, w: float) -> np.ndarray:
    """Distribution function of the rotation angle under the Haar law restricted to angles up to w."""
    return (t - np.sin(t)) / (w - math.sin(w))


def swing_and_twist(r: torch.Tensor, axis: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tilt of the axis, and the turn about it, of rotation matrices (n, 3, 3)."""
    tilt = (r @ axis @ axis).clamp(-1, 1).arccos()
    xi = SO3.log(Affine(r, torch.zeros_like(r[:, 0])))
    t = xi.norm(dim=-1)
    turn = 2 * torch.atan2((t / 2).sin() * (xi @ axis) / t.clamp_min(1e-12), (t / 2).cos())
    return tilt, turn


def table_of(groups: Affine) -> list[tuple[int, int]]:
    """All pairs of indices of a batch of elements."""
    return list(itertools.product(range(groups.batch_shape[0]), repeat=2))


@torch.no_grad()
def central_differences(value: Callable[[], Tensor], parameters: list[Tensor], step: float = 1e-6) -> list[Tensor]:
    """d value / d parameter, entry by entry."""
    slopes = []
    for parameter in parameters:
        flat, slope = parameter.data.view(-1), torch.empty_like(parameter).view(-1)
        for k in range(len(flat)):
            flat[k] += step
            up = value()
            flat[k] -= 2 * step
            slope[k] = (up - value()) / (2 * step)
            flat[k] += step
        slopes.append(slope.view_as(parameter))
    return slopes


def square_symmetries(dtype: torch.dtype = torch.float64) -> Affine:
    """The 8 symmetries of the square, the identity first: signed permutation matrices, exact in any precision."""
    orders = itertools.product(((0, 1), (1, 0)), itertools.product((1.0, -1.0), repeat=2))
    matrices = np.zeros((8, 2, 2))
    for matrix, (order, signs) in zip(matrices, orders, strict=True):
        matrix[range(2), order] = signs
    return Affine(torch.tensor(matrices, dtype=dtype), torch.zeros(8, 2, dtype=dtype))


def pixels(height: int, width: int) -> np.ndarray:
    """(height, width, 2): x to the right and y up, from the middle, in halves of the shorter side; one by one."""
    half = min(height, width) / 2
    where = np.zeros((height, width, 2))
    for r in range(height):
        for c in range(width):
            where[r, c] = (c - (width - 1) / 2) / half, ((height - 1) / 2 - r) / half
    return where


def rendered_dots(points: np.ndarray, height: int, width: int, size: float = 0.1) -> torch.Tensor:
    """One channel per point (n, 2), a Gaussian dot at the point: (1, n, height, width)."""
    away = pixels(height, width) - points[:, None, None]
    return torch.tensor(np.exp(-(away**2).sum(-1) / (2 * size**2)))[None]


def centres_of_mass(images: torch.Tensor) -> np.ndarray:
    """(n, 2) of one image (1, n, height, width)."""
    weights = images[0].numpy()[..., None]
    return (weights * pixels(*images.shape[-2:])).sum((1, 2)) / weights.sum((1, 2))
