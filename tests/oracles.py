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
