"""A model behind ASE."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.optimize import BFGS
from scipy.spatial.transform import Rotation

from molaugerino.errors import UserError
from molaugerino.predict import Predictor
from molaugerino.predict.smiles import embed, parse


@pytest.fixture(scope="module")
def predictor():
    return Predictor.from_pretrained("qm9-mmff")


def ethanol(predictor, shake=0.0):
    found = embed(parse("CCO"))
    atoms = Atoms(found.atomic_numbers, found.positions + shake * np.random.default_rng(0).normal(size=(9, 3)))
    atoms.calc = predictor.calculator("u0")
    return atoms


def test_the_energy_is_that_of_predict(predictor):
    atoms = ethanol(predictor)
    [row] = predictor.predict(atoms, geometry="given")
    k = next(c.channel for c in predictor.columns if c.name == "u0")
    assert atoms.get_potential_energy() == pytest.approx(row.values[k], abs=1e-3)


def test_forces_are_slopes_of_it(predictor):
    atoms = ethanol(predictor, shake=0.05)
    forces = atoms.get_forces()
    direction = forces / np.linalg.norm(forces)
    ends = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.calc = atoms.calc
        moved.positions += sign * 0.01 * direction
        ends.append(moved.get_potential_energy())
    assert (ends[1] - ends[0]) / 0.02 == pytest.approx(np.linalg.norm(forces), rel=0.05)
    assert np.abs(forces.sum(0)).max() < 1e-2  # nothing pulls on the molecule as a whole


def test_forces_turn_with_the_molecule(predictor):
    atoms, turn = ethanol(predictor, shake=0.05), Rotation.random(rng=1)
    forces = atoms.get_forces()
    atoms.positions = turn.apply(atoms.positions)
    assert np.abs(atoms.get_forces() - turn.apply(forces)).max() < 1e-2 * np.abs(forces).max()


def test_steps_lower_the_energy(predictor):
    """A few: the model has seen minima alone, and where many steps lead is not validated."""
    atoms = ethanol(predictor, shake=0.05)
    found = [atoms.get_potential_energy()]
    for _ in range(3):
        BFGS(atoms, logfile=None).run(fmax=0.0, steps=1)
        found.append(atoms.get_potential_energy())
    assert found == sorted(found, reverse=True)
    assert found[-1] < found[0] - 0.01


@pytest.mark.parametrize(
    ("target", "message"),
    [("nothing", "does not predict nothing"), ("mu", "mu is in debye; forces belong to an energy")],
)
def test_targets_that_have_none(predictor, target, message):
    with pytest.raises(UserError, match=message):
        predictor.calculator(target)


def test_molecules_that_get_none(predictor):
    sulfur = Atoms("SH2", [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    sulfur.calc = predictor.calculator("u0")
    with pytest.raises(UserError, match=r"not trained on the elements of atomic number \[16\]"):
        sulfur.get_potential_energy()
    crystal = Atoms("C", [[0, 0, 0]], cell=[3, 3, 3], pbc=True)
    crystal.calc = sulfur.calc
    with pytest.raises(UserError, match="periodic"):
        crystal.get_forces()
