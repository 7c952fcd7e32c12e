"""The embedded set: whole, sane, and what its README says; and the program that makes it."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem, RDLogger
from scipy.spatial.transform import Rotation

from molaugerino.datasets import data_path, open_data

HERE = Path(__file__).parents[2] / "data" / "xtb9"
SHORTEST = {(1, 1): 1.4, (1, 6): 1.02, (1, 7): 0.97, (1, 8): 0.92, (6, 6): 1.15, (6, 7): 1.1, (6, 8): 1.1, (6, 9): 1.25}


@pytest.fixture(scope="module")
def xtb9():
    return open_data("xtb9")


@pytest.fixture(scope="module")
def prepare():
    """data/xtb9/prepare.py as a module; needs the extra [xtb]."""
    pytest.importorskip("tblite")
    sys.path.insert(0, str(HERE))
    spec = importlib.util.spec_from_file_location("xtb9_prepare", HERE / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(HERE))
    return module


def molecule(data, k):
    atoms = slice(data.starts[k], data.starts[k] + data.num_atoms[k])
    return data.atomic_numbers[atoms], data.positions[atoms].astype(float), atoms


class TestContent:
    def test_size_and_checksum(self, xtb9):
        report = json.loads(data_path("xtb9").with_suffix(".json").read_text())
        assert len(xtb9) == report["molecules"] >= 20000
        assert report["sha256"] == xtb9.checksum
        assert data_path("xtb9").stat().st_size == report["bytes"] <= 14e6
        assert sum(report["outcomes"].values()) == report["constitutions"]
        assert report["outcomes"]["ok"] == len(xtb9)

    def test_nothing_twice_nothing_missing(self, xtb9):
        assert len(set(xtb9.smiles.tolist())) == len(xtb9)
        assert all(np.isfinite(column.values).all() for column in xtb9.columns)
        with np.load(data_path("xtb9")) as arrays:
            charges = arrays["atom_targets"][:, list(arrays["atom_target_names"]).index("charge")]
            assert charges.shape == arrays["atomic_numbers"].shape
            assert np.abs(charges).max() < 1.5
            assert np.abs(np.add.reduceat(charges, xtb9.starts)).max() < 1e-2  # neutral; NaN fails both

    def test_smiles_are_canonical_neutral_and_match_the_atoms(self, xtb9):
        RDLogger.DisableLog("rdApp.*")
        for k in range(0, len(xtb9), 23):
            smiles = str(xtb9.smiles[k])
            mol = Chem.MolFromSmiles(smiles)
            assert Chem.MolToSmiles(mol) == smiles
            assert Chem.GetFormalCharge(mol) == 0
            numbers = [atom.GetAtomicNum() for atom in Chem.AddHs(mol).GetAtoms()]
            assert numbers == molecule(xtb9, k)[0].tolist()
            assert 1 <= mol.GetNumHeavyAtoms() <= 9
        RDLogger.EnableLog("rdApp.*")

    def test_distances_are_sane(self, xtb9):
        for positions in (xtb9.positions, xtb9.positions_mmff):
            for k in range(0, len(xtb9), 11):
                z, _, atoms = molecule(xtb9, k)
                distance = np.linalg.norm(positions[atoms][:, None] - positions[atoms][None], axis=-1)
                for i in range(len(z)):
                    for j in range(i):
                        pair = tuple(sorted((int(z[i]), int(z[j]))))
                        assert distance[i, j] > SHORTEST.get(pair, 1.05), (xtb9.smiles[k], pair, distance[i, j])
                nearest = np.sort(distance, axis=1)[:, 1] if len(z) > 1 else np.zeros(0)
                assert nearest.max(initial=0) < 1.7, xtb9.smiles[k]

    def test_labels_agree_with_each_other(self, xtb9):
        value = {c.name: c.values for c in xtb9.columns}
        assert np.abs(value["lumo"] - value["homo"] - value["gap"]).max() < 3e-6
        assert np.abs(np.linalg.norm(value["dipole"], axis=1) - value["mu"]).max() < 1e-4
        assert value["gap"].min() >= 0.5
        assert value["atomization_energy"].max() < 0

    def test_frames_are_random_and_shared_by_both_geometries(self, xtb9):
        big = xtb9.num_atoms >= 10
        first = (xtb9.positions[xtb9.starts] / np.linalg.norm(xtb9.positions[xtb9.starts], axis=1, keepdims=True))[big]
        assert np.linalg.norm(first.mean(0)) < 4 / np.sqrt(big.sum())
        for k in range(0, len(xtb9), 997):
            _, positions, atoms = molecule(xtb9, k)
            if len(positions) > 3:
                turn, _ = Rotation.align_vectors(positions, xtb9.positions_mmff[atoms])
                assert turn.magnitude() < 1e-2, xtb9.smiles[k]

    def test_the_readme_states_what_is_there(self):
        text = (HERE / "README.md").read_text()
        with np.load(data_path("xtb9"), allow_pickle=False) as archive:
            stated = set(re.findall(r"`(\w+)`", text))
            assert {name for name in archive.files if not name.startswith(("vector_target_", "atom_target_"))} <= stated


class TestEnumeration:
    @pytest.fixture
    def enumeration(self, prepare):
        return sys.modules["enumeration"]

    def test_small_ones_are_complete(self, enumeration):
        """All sensible constitutions of up to two heavy atoms, by hand."""
        one = ["C", "F", "N", "O"]
        two = ["CC", "C=C", "C#C", "CN", "C=N", "C#N", "CO", "C=O", "CF", "NN", "N#N", "NO", "N=O"]
        found = set(enumeration.grow_all(2))
        assert set(one) <= found
        assert found - set(one) <= {Chem.CanonSmiles(s) for s in two} | {"N=N"}
        assert {Chem.CanonSmiles(s) for s in ("CC", "C=C", "C#C", "CN", "C#N", "CO", "C=O", "CF", "NN", "N#N")} <= found

    @pytest.mark.parametrize(
        "smiles", ["OO", "C1#CC1", "C1=CC=C1", "OC(O)C", "C1C2=C1CC2", "C1CC2=C1C2", "NF", "C=C=C=C"]
    )
    def test_senseless_ones_are_refused(self, enumeration, smiles):
        assert not enumeration.is_sensible(Chem.MolFromSmiles(smiles))

    @pytest.mark.parametrize(
        "smiles", ["CCO", "c1ccccc1", "C1CC2CCC1C2", "C[N+](=O)[O-]", "O=C1CC1", "C1=CC1", "OC=O", "N#CC=C"]
    )
    def test_sensible_ones_are_kept(self, enumeration, smiles):
        assert enumeration.is_sensible(Chem.MolFromSmiles(smiles))

    @pytest.mark.slow
    def test_random_growth_is_seeded_and_distinct(self, enumeration):
        def draw():
            return list(enumeration.constitutions(3, {6: 20, 9: 20}))[-40:]

        first = draw()
        assert first == draw()
        assert len(set(first)) == 40
        assert all(enumeration.is_sensible(Chem.MolFromSmiles(smiles)) for smiles in first)


class TestPrepare:
    def test_identity_is_checked(self, prepare):
        mol, start = prepare.stereoisomer("CC(O)F")
        prepare.check_identity(mol, start, start.positions)
        with pytest.raises(prepare.Rejected, match="stereo_changed"):
            prepare.check_identity(mol, start, start.positions * [1, 1, -1])
        torn = start.positions.copy()
        torn[0] += 2.0
        with pytest.raises(prepare.Rejected, match="graph_changed"):
            prepare.check_identity(mol, start, torn)

    def test_the_dipole_rotates_with_the_molecule(self, prepare, xtb9):
        z, positions, _ = molecule(xtb9, len(xtb9) // 2)
        turn = Rotation.random(rng=np.random.default_rng(0))
        here, there = prepare.singlepoint(z, positions), prepare.singlepoint(z, turn.apply(positions))
        assert np.abs(turn.apply(here["dipole"]) - there["dipole"]).max() < 1e-5
        assert here["lumo"] == pytest.approx(there["lumo"], abs=1e-5)

    def test_a_cut_off_record_is_computed_again(self, prepare, tmp_path):
        cache = tmp_path / "records.jsonl"
        cache.write_text('{"constitution": "C", "status": "ok"}\n{"constitution": "N", "sta')
        prepare.drop_partial_line(cache)
        assert [r["constitution"] for r in prepare.read_cache(cache)] == ["C"]

    def test_failures_are_counted_not_dropped(self, prepare):
        assert prepare.record("C1#CC1")["status"] == "embed_failed"

    @pytest.mark.slow
    def test_a_dozen_molecules_from_smiles_to_labels(self, prepare, xtb9):
        """Made again from the SMILES' constitution; labels of the stored positions recomputed."""
        for smiles in ("O", "N", "C", "CO", "C#N", "C=O", "CCO", "c1ccccc1", "c1ccoc1", "CC(N)=O", "CC(C)=O", "C1CC1"):
            k = int(np.flatnonzero(xtb9.smiles == Chem.CanonSmiles(smiles))[0])
            z, positions, _ = molecule(xtb9, k)
            labels = prepare.singlepoint(z, positions)
            made = prepare.compute(Chem.CanonSmiles(smiles))
            for name in ("energy", "homo", "lumo"):
                assert labels[name] == pytest.approx(xtb9.values(xtb9.target(name))[k], abs=1e-4)
                assert made[name] == pytest.approx(xtb9.values(xtb9.target(name))[k], abs=2e-3)
            assert np.abs(labels["dipole"] - xtb9.values(xtb9.target("dipole"))[k]).max() < 1e-3
            bound = labels["energy"] - sum(prepare.free_atom_energies()[int(n)] for n in z)
            assert bound == pytest.approx(xtb9.values(xtb9.target("atomization_energy"))[k], abs=1e-4)

    @pytest.mark.slow
    def test_a_killed_run_resumes(self, prepare, tmp_path):
        import subprocess

        command = [sys.executable, str(HERE / "prepare.py"), "--limit", "12", "--workers", "2"]
        command += ["--cache", str(tmp_path / "cache.jsonl"), "--out", str(tmp_path / "few.npz")]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0
        first = (tmp_path / "few.npz").read_bytes()
        lines = (tmp_path / "cache.jsonl").read_text().splitlines(keepends=True)
        (tmp_path / "cache.jsonl").write_text("".join(lines[:7]) + lines[7][:30])
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0
        with np.load(tmp_path / "few.npz") as again, np.load(io.BytesIO(first)) as before:
            assert len(again["id"]) >= 10
            assert all(np.array_equal(again[key], before[key]) for key in before.files)
        assert len((tmp_path / "cache.jsonl").read_text().splitlines()) == len(lines)
        assert first == (tmp_path / "few.npz").read_bytes()
