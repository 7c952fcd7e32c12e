"""Finite subgroups as averaging sets: the mean over them is exact where no invariant of theirs is in the way."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from molaugerino.groups import Affine
from molaugerino.quadrature.base import AveragingSet
from molaugerino.quadrature.rotations import from_quaternion

GOLDEN = (1 + math.sqrt(5)) / 2


def cube() -> AveragingSet:
    """The 24 rotations of the cube, weights 1/24: exact for Wigner entries with 1 <= l <= 3 and l = 5, 7, 11.

    The first invariant of the group is of degree 4. The coarser set is the subgroup of the tetrahedron, 12 rotations,
    exact for l <= 2.

    Returns:
        24 elements with the entries -1, 0 and 1, float64; the first is the identity.
    """
    axes = torch.eye(4, dtype=torch.float64)
    sums = [axes[i] + sign * axes[j] for i, j in itertools.combinations(range(4), 2) for sign in (1, -1)]
    rest = torch.stack(sums) / math.sqrt(2)
    return _group("cube", from_quaternion(torch.cat([_tetrahedral(), rest])).linear.round(), coarse=12)


def icosahedron() -> AveragingSet:
    """The 60 rotations of the icosahedron, weights 1/60: exact for Wigner entries with 1 <= l <= 5, and up to 14 but
    for l = 6, 10 and 12, where the group has invariants.

    The coarser set is the subgroup of the tetrahedron, 12 rotations, exact for l <= 2.

    Returns:
        60 elements, float64; the first is the identity.
    """
    numbers = (GOLDEN / 2, 0.5, 1 / (2 * GOLDEN), 0.0)
    even = [p for p in itertools.permutations(range(4)) if _parity(p) == 1]
    quaternions = [
        [sign * numbers[k] for sign, k in zip(signs, places, strict=True)]
        for places in even
        for signs in itertools.product((1, -1), repeat=4)
    ]
    rest = torch.tensor(quaternions, dtype=torch.float64)
    first = rest.gather(1, rest.abs().gt(0.1).int().argmax(1, keepdim=True))  # one of q and -q, one of 0 and -0
    rest = torch.unique(rest * first.sign() + 0.0, dim=0)
    return _group("icosahedron", from_quaternion(torch.cat([_tetrahedral(), rest])).linear, coarse=12)


def square() -> AveragingSet:
    """D4, the 4 rotations and 4 reflections of the square, weights 1/8: exact for cos(k a), sin(k a), k = 1, 2, 3.

    The coarser set is the subgroup of the half turn and the reflections in the two axes.

    Returns:
        8 elements of O(2) with the entries -1, 0 and 1, float64; the first is the identity.
    """
    flips = torch.cartesian_prod(torch.tensor([1.0, -1.0]), torch.tensor([1.0, -1.0])).double().diag_embed()
    return _group("square", torch.cat([flips, flips.flip(-1)]), coarse=4)


def _group(name: str, linear: Tensor, coarse: int) -> AveragingSet:
    """Equal weights; the first `coarse` elements are the subgroup."""
    elements = Affine(linear, linear.new_zeros(linear.shape[:-1]))
    few = AveragingSet(f"{name}, coarser", elements[:coarse], linear.new_full((coarse,), 1 / coarse))
    n = len(linear)
    return AveragingSet(name, elements, linear.new_full((n,), 1 / n), few, torch.arange(coarse))


def _tetrahedral() -> Tensor:
    """One of q and -q of the 24 units of the Hurwitz quaternions (12, 4), 1 first."""
    halves = [(0.5, *signs) for signs in itertools.product((0.5, -0.5), repeat=3)]
    return torch.cat([torch.eye(4, dtype=torch.float64), torch.tensor(halves, dtype=torch.float64)])


def _parity(permutation: tuple[int, ...]) -> int:
    return math.prod((1 if a < b else -1) for a, b in itertools.combinations(permutation, 2))
