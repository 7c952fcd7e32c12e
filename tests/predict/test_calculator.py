"""A model behind ASE."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.optimize import BFGS
from scipy.spatial.transform import Rotation

from molaugerino.cli.main import main
from molaugerino.datasets import Target
from molaugerino.datasets.units import CHARGE
from molaugerino.errors import UserError
from molaugerino.predict import Predictor
from molaugerino.predict.smiles import embed, parse
from molaugerino.training.checkpoint import build, save_model

GOLDEN = Path(__file__).parent.parent / "golden" / "0.2"


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


@pytest.fixture(scope="module")
def polar():
    """Of an energy in hartree and a dipole in debye, averaged over a law, with random weights."""
    card = Predictor.from_pretrained(GOLDEN / "law").card
    targets = [Target("energy", "", "hartree", "sum"), *card.targets[1:]]
    torch.manual_seed(0)
    card = replace(card, targets=targets)
    return Predictor(build(card, rotation=2.0, translation=0.5).eval(), card)


def test_energy_and_dipole_are_those_of_the_command(polar, tmp_path, capsys):
    """Far from the origin, too: the model knows molecules about their centroids."""
    (tmp_path / "model").mkdir()
    save_model(tmp_path / "model", polar.augmented, polar.card)
    atoms = molecule("CH3OH")
    atoms.positions += [30.0, -20.0, 10.0]
    atoms.write(tmp_path / "methanol.xyz")
    options = "--geometry", "given", "--checkpoint", str(tmp_path / "model"), "--format", "json"
    assert main(["predict", str(tmp_path / "methanol.xyz"), *options]) == 0
    [row] = json.loads(capsys.readouterr().out)
    atoms.calc = Predictor.from_pretrained(tmp_path / "model").calculator("energy")
    assert atoms.get_potential_energy() / 27.211386 == pytest.approx(row["energy[hartree]"], rel=1e-7, abs=1e-6)
    expected = [row[f"dipole_{axis}[debye]"] / CHARGE for axis in "xyz"]
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(atoms.get_dipole_moment(), expected, atol=1e-5)


def test_forces_of_an_average_that_is_not_invariant(polar):
    """Slopes at any place, by finite differences in float64."""
    double = Predictor(polar.augmented.double(), polar.card)
    atoms = molecule("CH3OH")
    atoms.calc = double.calculator("energy")
    forces, step = atoms.get_forces(), 1e-4
    for atom, axis in ((0, 0), (1, 2), (3, 1)):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            moved.calc = atoms.calc
            ends.append(moved.get_potential_energy())
        assert (ends[1] - ends[0]) / (2 * step) == pytest.approx(forces[atom, axis], abs=1e-6)
    polar.augmented.float()


def test_one_pass_where_predict_makes_one():
    """A law that was learned, and not averaged over: the identity, and no draw of the law."""
    card = Predictor.from_pretrained(GOLDEN / "law").card
    card = replace(card, eval_copies=1)
    torch.manual_seed(0)
    predictor = Predictor(build(card, rotation=3.0).eval(), card)
    atoms = molecule("CH3OH")
    atoms.calc = predictor.calculator("gap")
    [row] = predictor.predict(atoms, geometry="given")
    assert atoms.get_potential_energy() == pytest.approx(row.values[0], abs=1e-6)
    np.testing.assert_allclose(CHARGE * atoms.get_dipole_moment(), row.values[1:], atol=1e-5)


def test_the_dipole_alone(polar):
    atoms = molecule("CH3OH")
    for calculator in (polar.calculator(), polar.calculator(dipole="dipole")):
        assert calculator.implemented_properties == ["dipole"]
        atoms.calc = calculator
        assert atoms.get_dipole_moment().shape == (3,)
        with pytest.raises(NotImplementedError):
            atoms.get_potential_energy()
    assert polar.calculator("energy").implemented_properties == ["energy", "forces", "dipole"]


def test_it_is_computed_when_asked_for(polar, monkeypatch):
    atoms, passes = molecule("CH3OH"), []
    atoms.calc = polar.calculator("energy")
    forward = polar.augmented.model.forward
    monkeypatch.setattr(polar.augmented.model, "forward", lambda x: passes.append(1) or forward(x))
    atoms.get_forces()
    atoms.get_potential_energy()
    assert len(passes) == 1
    atoms.get_dipole_moment()
    assert len(passes) == 2
    assert set(atoms.calc.results) == {"energy", "forces", "dipole"}
    atoms.calc.calculate(molecule("H2O"), ["energy"])
    assert set(atoms.calc.results) == {"energy", "forces"}, "the dipole was that of other atoms"


def test_dipoles_that_are_none(predictor, polar):
    assert predictor.calculator("u0").implemented_properties == ["energy", "forces"]
    with pytest.raises(UserError, match="mu is no dipole vector; of these the model predicts none"):
        predictor.calculator(dipole="mu")
    with pytest.raises(
        UserError, match=r"name an energy, .* the model predicts no dipole vectors, and in all mu, alpha"
    ):
        predictor.calculator()
    with pytest.raises(UserError, match="dipole is in debye; forces belong to an energy"):
        polar.calculator("dipole")
    posed = Predictor(polar.augmented, replace(polar.card, frames="principal"))
    with pytest.raises(UserError, match="principal frames"):
        posed.calculator()


def test_molecules_that_get_none(predictor):
    sulfur = Atoms("SH2", [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    sulfur.calc = predictor.calculator("u0")
    with pytest.raises(UserError, match="gives no number for these atoms, unsupported_element: S: the model has seen"):
        sulfur.get_potential_energy()
    charged = Atoms("OH2", [[0, 0, 0], [1, 0, 0], [0, 1, 0]], charges=[1, 0, 0])
    for atoms, status in [
        (Atoms("CH3", [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]), "open_shell"),
        (Atoms("H2", [[0, 0, 0], [0.7, 0, 0]]), "no_heavy_atom"),
        (charged, "charged"),
    ]:
        [row] = predictor.predict(atoms, geometry="given")
        assert row.status == status
        atoms.calc = sulfur.calc
        with pytest.raises(UserError, match=f"gives no number for these atoms, {status}"):
            atoms.get_potential_energy()
    crystal = Atoms("C", [[0, 0, 0]], cell=[3, 3, 3], pbc=True)
    crystal.calc = sulfur.calc
    with pytest.raises(UserError, match="periodic"):
        crystal.get_forces()
