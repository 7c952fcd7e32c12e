"""The orientation in which each molecule is stored."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from scipy.spatial.transform import Rotation

from molaugerino.datasets.molecules import MoleculeSet
from molaugerino.errors import UserError

Frames = Literal["stored", "principal", "random"]
DEGENERATE = 1e-2  # relative difference of two moments of inertia below which the axes are arbitrary
SYMMETRIC = 1e-3  # third moment, relative to its bound, below which it does not fix an axis's sign


def in_frames(molecules: MoleculeSet, frames: Frames, seed: int = 0) -> tuple[MoleculeSet, np.ndarray]:
    """Turn every molecule, with its vector labels, about its centroid into the named frame.

    Args:
        molecules: the set as loaded.
        frames: "stored" leaves it alone; "random" turns each molecule by one uniformly random
            rotation, the same in every epoch; "principal" by its principal axes of inertia,
            smallest moment first.
        seed: of the random rotations.

    Returns:
        The turned set, and (n,) True where the principal frame is not determined by the
        molecule (a symmetric top, or a sign that no third moment fixes).
    """
    none = np.zeros(len(molecules), dtype=bool)
    if frames == "stored":
        return molecules, none
    if frames == "random":
        turns = Rotation.random(len(molecules), rng=np.random.default_rng(seed)).as_matrix()
        return molecules.rotated(turns), none
    if frames == "principal":
        axes, undetermined = principal_axes(molecules)
        return molecules.rotated(axes), undetermined
    raise UserError(f"`frames` must be one of {', '.join(get_args(Frames))}, got {frames!r}")


def principal_axes(molecules: MoleculeSet) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (n, 3, 3) into the principal axes of inertia, and where they are undetermined.

    The rows are the axes by increasing moment about the centre of mass. The first two point
    where the mass-weighted third moment sum m x^3 along them is positive, or, where it
    vanishes, towards the first atom off the origin; the third makes the frame right-handed.
    """
    from rdkit.Chem import GetPeriodicTable

    table = GetPeriodicTable()
    weights = np.array([0.0] + [table.GetAtomicWeight(z) for z in range(1, 119)])
    mass, starts = weights[molecules.atomic_numbers], molecules.starts
    total = np.add.reduceat(mass, starts)
    positions = molecules.positions.astype(np.float64)
    centre = np.add.reduceat(mass[:, None] * positions, starts, axis=0) / total[:, None]
    x = positions - centre[molecules.owner]
    second = np.add.reduceat(mass[:, None, None] * x[:, :, None] * x[:, None, :], starts, axis=0)
    inertia = np.trace(second, axis1=1, axis2=2)[:, None, None] * np.eye(3) - second
    moments, vectors = np.linalg.eigh(inertia)
    axes = vectors.transpose(0, 2, 1)  # rows
    along = np.einsum("akj,aj->ak", axes[molecules.owner], x)  # (atoms, axes)
    third = np.add.reduceat(mass[:, None] * along**3, starts, axis=0)
    bound = np.add.reduceat(mass[:, None] * np.abs(along) ** 3, starts, axis=0)
    weak = np.abs(third) <= SYMMETRIC * bound
    sign = np.where(weak, _first_side(along, starts), np.sign(third))
    axes[:, :2] *= sign[:, :2, None]
    axes[:, 2] = np.cross(axes[:, 0], axes[:, 1])
    gaps = np.diff(moments, axis=1) / moments[:, 2:].clip(1e-9)
    return axes, (gaps < DEGENERATE).any(1) | weak[:, :2].any(1)


def _first_side(along: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Per axis the side of the first atom that lies off the plane through the centre of mass."""
    off = np.abs(along) > 1e-2
    rows = np.arange(len(along))[:, None]
    first = np.minimum.reduceat(np.where(off, rows, len(along)), starts, axis=0)
    found = first < len(along)
    side = np.sign(np.take_along_axis(along, np.where(found, first, 0), axis=0))
    return np.where(found, side, 1.0)
