"""Before training: are the frames of a data set oriented at all?"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.spatial.transform import Rotation

from molaugerino.datasets import MoleculeSet
from molaugerino.errors import UserError

LEAST = 40  # molecules
SIGNIFICANT = 0.01
RIDGE = 1e-2  # of the variance of a feature
FLAT = 1e-3  # of its bound: a smaller triple product has no sign


class FrameTest(NamedTuple):
    """What the stored frames of a set look like.

    Attributes:
        molecules: how many were looked at.
        accuracy: of a classifier that tells stored molecules from the same ones turned at random, on molecules that it
            has not seen.
        p_value: of such an accuracy, or a higher one, where frames are random.
        oriented: whether the p-value is below 0.01.
        chiral: molecules that are not their own mirror image by the sign of a triple product.
        handed: share of these with a positive sign; None where there are none.
        handed_p: two-sided p-value of a share of one half.
    """

    molecules: int
    accuracy: float
    p_value: float
    oriented: bool
    chiral: int
    handed: float | None
    handed_p: float | None


def frame_test(molecules: MoleculeSet, most: int = 5000, seed: int = 0) -> FrameTest:
    """Classifier two-sample test: stored molecules against other molecules of the set turned at random.

    Half of the molecules are kept as stored and half are turned, each by its own uniformly random rotation. The
    classifier sees the first, second and third moments of the atoms of each element about the centroid, and the
    squares of these, which change with the frame and do not know the order of atoms. It is linear, fitted to one half
    of both, and tested on the other. In a set whose frames are uniformly random it can do no better than one half, and
    the p-value is that of the binomial distribution. A high p-value only says that this classifier sees nothing.

    Where the centroids were makes no difference here: sets are loaded with them at the origin.

    A set with oriented frames lets a network learn the frame instead of the molecule, and makes a symmetry of the
    frames look like one of the label.

    Args:
        molecules: a set as loaded.
        most: molecules looked at.
        seed: of which they are, and of the turns.

    Raises:
        UserError: for fewer than 40 molecules.

    Source: Lopez-Paz, Oquab, Revisiting Classifier Two-Sample Tests (2017), arXiv:1610.06545.
    """
    if len(molecules) < LEAST:
        raise UserError(f"the test needs at least {LEAST} molecules, got {len(molecules)}; give more")
    rng = np.random.default_rng(seed)
    few = molecules.subset(rng.permutation(len(molecules))[:most])
    n = len(few)
    turned = rng.permutation(n) < n // 2
    turns = np.where(turned[:, None, None], Rotation.random(n, rng=rng).as_matrix(), np.eye(3))
    x, products = moments(few, turns)
    fit = rng.permutation(n) < n // 2
    correct = int((classified(x[fit], turned[fit], x[~fit]) == turned[~fit]).sum())
    tested = int((~fit).sum())
    signs = np.sign(products[np.abs(products) > FLAT])
    positive = int((signs > 0).sum())
    p_value = float(stats.binomtest(correct, tested, 0.5, alternative="greater").pvalue)
    return FrameTest(
        molecules=n,
        accuracy=correct / tested,
        p_value=p_value,
        oriented=p_value < SIGNIFICANT,
        chiral=len(signs),
        handed=positive / len(signs) if len(signs) else None,
        handed_p=float(stats.binomtest(positive, len(signs), 0.5).pvalue) if len(signs) else None,
    )


def moments(molecules: MoleculeSet, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each molecule: moments by element about the centroid once turned, and its triple product.

    The triple product is that of sum_a Z_a |r_a|^2k r_a, k = 0, 1, 2, over the product of their lengths: the same in
    every frame, the opposite for the mirror image.

    Args:
        molecules: of a set.
        turns: (n, 3, 3) rotations.
    """
    starts, owner = molecules.starts, molecules.owner
    positions = molecules.positions.astype(np.float64)
    r = np.einsum("axy,ay->ax", turns[owner], positions)  # sets are loaded with their centroids at the origin
    second = (r[:, :, None] * r[:, None, :])[:, *np.triu_indices(3)]
    third = np.stack([r[:, i] * r[:, j] * r[:, k] for i in range(3) for j in range(i, 3) for k in range(j, 3)], 1)
    each = np.concatenate([r, second, third], 1)
    z = molecules.atomic_numbers
    found = np.concatenate([np.add.reduceat(each * (z == one)[:, None], starts) for one in np.unique(z)], 1)
    size = (r * r).sum(1)
    arrows = np.stack([np.add.reduceat((z * size**k)[:, None] * r, starts) for k in range(3)], 1)
    bound = np.linalg.norm(arrows, axis=2).prod(1)
    return found, np.linalg.det(arrows) / np.where(bound > 0, bound, 1.0)


def classified(x: np.ndarray, label: np.ndarray, test: np.ndarray) -> np.ndarray:
    """What a linear classifier by least squares, fitted to x and label (bool), says of the rows of `test`."""
    centre, scale = np.median(x, 0), np.maximum(np.abs(x - np.median(x, 0)).mean(0), 1e-9)

    def features(rows: np.ndarray) -> np.ndarray:
        inside = np.tanh((rows - centre) / (2 * scale))  # large molecules do not rule
        return np.concatenate([np.ones((len(rows), 1)), inside, inside**2], 1)

    a = features(x)
    gram = a.T @ a / len(a) + RIDGE * math.sqrt(a.shape[1] / len(a)) * np.eye(a.shape[1])
    weights = np.linalg.solve(gram, a.T @ np.where(label, 1.0, -1.0) / len(a))
    return features(test) @ weights > 0
