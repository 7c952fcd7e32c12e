"""Molecules made from SMILES, with labels, as what `train` takes: a data set and its split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from molaugerino.datasets import Split, group_split, save_split
from molaugerino.errors import UserError
from molaugerino.predict.predictor import packed
from molaugerino.predict.routes import Geometry, Prepared
from molaugerino.uncertainty.conformal import FEWEST

KEPT, MOST_KEPT = 0.1, 0.25  # of the molecules, to calibrate: usually, and where that is fewer than a calibration needs
JUDGES = 0.05  # of the molecules, to judge a law by


def lowest(made: Prepared) -> Geometry:
    """The geometry of the lowest energy, which has all the weight."""
    return max(made.geometries, key=lambda geometry: geometry.weight)


def save_labelled(
    made: Sequence[Prepared], labels: np.ndarray, names: Sequence[str], split: Split, data: Path, parts: Path
) -> None:
    """Write a set of MMFF94 geometries, and which of them train.

    Args:
        made: molecules that are ok, at the route mmff.
        labels: (molecules, names).
        names: of the labels, which have no unit.
        split: of the molecules.
        data: the .npz file of the set.
        parts: that of the split.
    """
    molecules = packed([lowest(one) for one in made])
    np.savez(
        data,
        id=molecules.id,
        num_atoms=molecules.num_atoms,
        atomic_numbers=molecules.atomic_numbers,
        positions=molecules.positions,
        positions_mmff=molecules.positions,
        smiles=np.array([one.smiles for one in made]),
        targets=labels,
        target_names=np.array(names),
        target_units=np.full(len(names), ""),
    )
    save_split(split, parts, molecules.id)


def calibrating_split(made: Sequence[Prepared], share: float | None, law: bool, seed: int) -> Split:
    """Molecules that train, calibrate, and judge a law; none are kept for tests, and every element is trained.

    Args:
        made: molecules that are ok; one that comes several times stays together.
        share: of the different molecules, to calibrate; None takes a tenth, up to a quarter where a tenth is fewer
            than an interval needs.
        law: whether a twentieth is kept to judge one.
        seed: of the choice.

    Raises:
        UserError: for fewer molecules than parts.
    """
    smiles = np.array([one.smiles for one in made])
    n, needed = len(set(smiles.tolist())), 4 if law else 2
    if n < needed:
        raise UserError(f"at least {needed} different molecules that can be used are needed, got {n}; give more")
    carriers: dict[int, int] = {}
    for k, one in enumerate(made):
        for z in one.geometries[0].numbers.tolist():
            carriers.setdefault(z, k)
    budget = max(2, int(JUDGES * n)) if law else 0  # one tells no spread
    usual = max(KEPT * n, min(FEWEST, MOST_KEPT * n))
    valid = max(1, round(usual if share is None else share * n))
    return group_split(smiles, min(valid, n - budget - 1), budget, seed, np.array(list(carriers.values())))
