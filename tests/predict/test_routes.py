"""Geometries by every route, isomers and conformers, and what is refused on the way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem
from scipy.spatial.transform import Rotation

from molaugerino.datasets import open_data
from molaugerino.errors import UserError
from molaugerino.predict.entries import Entry, Structure, entries_of
from molaugerino.predict.perceive import perceive
from molaugerino.predict.routes import KT, Settings, _weights, given_up, prepare
from molaugerino.predict.smiles import embed, isomers, parse
from molaugerino.predict.xtb import has_xtb, relax

SETTINGS = Settings("mmff", 4, 1, "lowest", (1, 6, 7, 8, 9), 20)


def with_route(route, **changes):
    return Settings(**({**SETTINGS.__dict__, "route": route} | changes))


def structure(smiles="CC(=O)O", **changes):
    conformer = embed(parse(smiles))
    return Structure(conformer.atomic_numbers.astype(int), conformer.positions, **changes)


class TestIsomers:
    @pytest.mark.parametrize(
        ("smiles", "number"),
        [("CCO", 1), ("C[C@H](F)O", 1), ("CC(F)O", 2), ("CC=CC", 2), ("CC(F)C(Cl)C=CC", 4), ("C/C=C/C(F)O", 2)],
    )
    def test_as_many_as_are_open_at_most_four(self, smiles, number):
        mol = parse(smiles)
        found = [Chem.MolToSmiles(m) for m in isomers(mol, 4)]
        assert len(found) == len(set(found)) == number
        assert found == [Chem.MolToSmiles(m) for m in isomers(parse(smiles), 4)], "the same ones each time"
        for each in found:
            flat = Chem.MolFromSmiles(each)
            assert flat.HasSubstructMatch(mol, useChirality=True), "what is stated stays"

    def test_one_takes_the_molecule_as_it_is(self):
        [same] = isomers(parse("CC(F)O"), 1)
        assert Chem.MolToSmiles(same) == "CC(O)F"

    @pytest.mark.parametrize(
        ("smiles", "route"), [("CC(F)O", "open"), ("FC=CF", "open"), ("C[C@H](F)O", ""), ("CCO", "")]
    )
    def test_one_that_stands_for_several_is_told_as_such(self, smiles, route):
        alone = prepare((Entry("", smiles=smiles), with_route("mmff", isomers=1)))
        assert len(alone.geometries) == 1
        assert alone.route == "-".join(filter(None, ("mmff", route)))

    def test_their_weights(self):
        made = prepare((Entry("", smiles="CC(F)O"), SETTINGS))
        assert [g.isomer for g in made.geometries] == [0, 1]
        assert [g.weight for g in made.geometries] == [1.0, 1.0]
        assert made.route == "mmff-open"
        assert prepare((Entry("", smiles="C[C@H](F)O"), SETTINGS)).route == "mmff"


class TestConformers:
    def test_the_lowest_has_all_the_weight(self):
        made = prepare((Entry("", smiles="CCCCO"), with_route("mmff", conformers=4)))
        assert sorted(g.weight for g in made.geometries) == [0, 0, 0, 1]
        first = embed(parse("CCCCO"))
        assert np.array_equal(made.geometries[0].positions, first.positions), "the first is that of a single conformer"

    def test_boltzmann_weights(self):
        weights = _weights([1.0, 1.0 + KT, 1.0 + 40 * KT], with_route("mmff", weights="boltzmann"))
        assert weights[0] / weights[1] == pytest.approx(math.e)
        assert sum(weights) == pytest.approx(1)
        assert pytest.approx(8.617333262e-5 * 298.15) == KT


class TestGiven:
    def test_positions_are_those_given_but_centred(self):
        there = structure()
        moved = Structure(there.numbers, Rotation.random(rng=np.random.default_rng(0)).apply(there.positions) + 5)
        made = prepare((Entry("", structure=moved), with_route("given")))
        assert (made.status, made.smiles, made.route) == ("ok", "CC(=O)O", "given")
        np.testing.assert_allclose(made.geometries[0].positions, moved.positions - moved.positions.mean(0))

    def test_mmff_makes_them_anew_with_the_same_stereochemistry(self):
        for smiles in ("C[C@H](F)O", "C[C@@H](F)O", "C/C=C/F", "C/C=C\\F"):
            made = prepare((Entry("", structure=structure(smiles)), SETTINGS))
            assert made.smiles == Chem.CanonSmiles(smiles)
            np.testing.assert_array_equal(made.geometries[0].positions, embed(parse(smiles)).positions)
            assert made.note.startswith("its geometry is from MMFF94; the one given told bonds")
            assert prepare((Entry("", smiles=smiles), SETTINGS)).note == ""

    def test_a_smiles_has_none(self):
        made = prepare((Entry("", smiles="CCO"), with_route("given")))
        assert (made.status, made.smiles) == ("no_geometry", "CCO")

    @pytest.mark.parametrize(
        ("there", "status"),
        [
            (structure(charge=1), "charged"),
            (Structure(np.array([6, 1, 1, 1]), np.eye(4, 3) * 1.1), "open_shell"),
            (Structure(np.array([16, 1, 1]), np.eye(3)), "unsupported_element"),
            (Structure(np.array([0, 1, 1]), np.eye(3)), "unsupported_element"),
            (Structure(np.array([1, 1]), np.array([[0.0, 0, 0], [0.74, 0, 0]])), "no_heavy_atom"),
            (Structure(np.array([8, 1, 1]), np.zeros((3, 3))), "bad_geometry"),
            (Structure(np.array([8, 1, 1]), np.full((3, 3), np.nan)), "bad_geometry"),
            (Structure(np.zeros(0, int), np.zeros((0, 3))), "bad_geometry"),
            (Structure(np.full(42, 6), np.arange(126.0).reshape(42, 3)), "too_large"),
        ],
    )
    def test_what_is_refused(self, there, status):
        made = prepare((Entry("", structure=there), with_route("given")))
        assert made.status == status
        assert made.reason
        assert made.geometries == ()

    def test_a_geometry_that_no_bonds_fit(self):
        """Oxygen, nitrogen and a hydrogen that form nothing: a number at the given positions, none by MMFF94."""
        there = Structure(np.array([8, 7, 1]), np.array([[0.0, 0, 0], [6.0, 0, 0], [0, 6.0, 0]]))
        made = prepare((Entry("", structure=there), with_route("given")))
        assert (made.status, made.smiles, made.note) == ("ok", "", "no bonds fit this geometry")
        assert prepare((Entry("", structure=there), SETTINGS)).status == "bad_geometry"


class TestPerceive:
    def test_bonds_and_configuration_of_the_embedded_set(self):
        data = open_data("xtb9")
        carbon = [k for k in range(50, len(data), len(data) // 60) if "[N@" not in str(data.smiles[k])]
        for k in carbon:  # of nitrogen in a cage the SMILES say more than the geometry
            atoms = slice(data.starts[k], data.starts[k] + data.num_atoms[k])
            mol = perceive(data.atomic_numbers[atoms], data.positions[atoms].astype(float), str(data.smiles[k]))
            assert Chem.CanonSmiles(Chem.MolToSmiles(Chem.RemoveHs(mol))) == Chem.CanonSmiles(str(data.smiles[k]))
            assert [a.GetAtomicNum() for a in mol.GetAtoms()] == data.atomic_numbers[atoms].tolist()


@pytest.mark.skipif(not has_xtb(), reason="the extra [xtb] is not installed")
class TestXtb:
    def test_the_embedded_set_is_at_its_minima(self):
        data = open_data("xtb9")
        k = int(np.argmin(np.abs(data.num_atoms - 9)))
        atoms = slice(data.starts[k], data.starts[k] + data.num_atoms[k])
        start = data.positions[atoms].astype(float)
        energy = {c.name: c.values[k] for c in data.columns}["energy"]
        positions, found = relax(data.atomic_numbers[atoms], start)
        assert found == pytest.approx(energy, abs=0.002)
        apart = [np.linalg.norm(p[:, None] - p, axis=-1) for p in (positions, start)]
        assert np.abs(apart[0] - apart[1]).max() < 0.02

    def test_from_a_smiles_the_energy_falls(self):
        first = embed(parse("CCO"))
        made = prepare((Entry("", smiles="CCO"), with_route("xtb")))
        assert made.route == "xtb"
        assert relax(first.atomic_numbers, first.positions)[1] == pytest.approx(
            relax(first.atomic_numbers, made.geometries[0].positions)[1], abs=1e-3
        )
        assert np.abs(made.geometries[0].positions - first.positions).max() > 1e-3


class TestEntries:
    def test_objects_of_every_kind(self):
        ase = pytest.importorskip("ase")
        data = pytest.importorskip("torch_geometric.data")
        import torch

        there = structure("CCO")
        atoms = ase.Atoms(there.numbers, there.positions)
        graph = data.Data(z=torch.from_numpy(there.numbers), pos=torch.from_numpy(there.positions).float())
        solid = Chem.AddHs(Chem.MolFromSmiles("CCO"))
        for molecules in (
            "CCO",
            ["CCO"],
            Chem.MolFromSmiles("CCO"),
            solid,
            atoms,
            graph,
            data.Batch.from_data_list([graph]),
        ):
            [entry] = entries_of(molecules)
            assert prepare((entry, SETTINGS)).smiles == "CCO"
        assert len(list(entries_of(data.Batch.from_data_list([graph] * 3)))) == 3
        atoms.info["charge"] = 1
        assert prepare((next(entries_of(atoms)), SETTINGS)).status == "charged"

    def test_hydrogens_without_coordinates_are_said_to_be_placed(self):
        whole = Chem.AddHs(Chem.MolFromSmiles("CCO"))
        AllChem.EmbedMolecule(whole, randomSeed=1)
        for mol, note in (
            (whole, ""),
            (Chem.RemoveHs(whole), "6 hydrogens without coordinates were placed by their bonds"),
        ):
            [entry] = entries_of(mol)
            made = prepare((entry, with_route("given")))
            assert (made.status, made.smiles, made.note) == ("ok", "CCO", note)
            assert len(made.geometries[0].numbers) == 9

    @pytest.mark.parametrize(("molecules", "message"), [(3, "cannot predict a int"), ([3], "molecule 0 is a int")])
    def test_other_objects(self, molecules, message):
        with pytest.raises(UserError, match=message):
            list(entries_of(molecules))


class TestGivenUp:
    def test_status_and_reason(self):
        job = (Entry("CCO", smiles="CCO"), SETTINGS)
        assert (given_up(job, "timeout").status, given_up(job, "crashed").status) == ("timeout", "crashed")
        assert "--timeout" in given_up(job, "timeout").reason

    def test_what_nobody_thought_of_costs_one_row(self, monkeypatch):
        def broken(*_):
            raise RuntimeError("odd")

        monkeypatch.setattr("molaugerino.predict.routes.parse", broken)
        made = prepare((Entry("CCO", smiles="CCO"), SETTINGS))
        assert (made.status, made.reason, made.geometries) == ("crashed", "RuntimeError: odd", ())

    def test_a_text_too_long_for_any_molecule(self):
        assert prepare((Entry("x", smiles="C" * 10_001), SETTINGS)).status == "too_large"
