"""SDF, extended XYZ and CSV files, and what is said where one of them is wrong."""

from __future__ import annotations

import sys

import ase
import ase.io
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from rdkit import Chem
from rdkit.Chem import AllChem

from molaugerino.datasets import load_npz, open_data, save_prepared
from molaugerino.datasets.readers import load_extxyz, load_sdf
from molaugerino.datasets.tabular import load_csv
from molaugerino.errors import UserError

SMILES = ("CO", "CC", "N")


def embedded(smiles, hydrogens=True):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    return mol if hydrogens else Chem.RemoveHs(mol)


def write_sdf(path, mols, properties=None, titles=None):
    with Chem.SDWriter(str(path)) as writer:
        for k, mol in enumerate(mols):
            mol.SetProp("_Name", titles[k] if titles else f"m{k}")
            for name, value in (properties[k] if properties else {"gap[eV]": f"{k}.5", "remark": "fine"}).items():
                mol.SetProp(name, value)
            writer.write(mol)
    return path


class TestSdf:
    def test_molecules_and_numbers(self, tmp_path):
        mols = [embedded(smiles) for smiles in SMILES]
        found = open_data(str(write_sdf(tmp_path / "m.sdf", mols)))
        assert found.id.tolist() == ["m0", "m1", "m2"]
        assert found.num_atoms.tolist() == [6, 8, 4]
        assert [(c.name, c.unit, c.method, c.values.tolist()) for c in found.columns] == [
            ("gap", "eV", "", [0.5, 1.5, 2.5])
        ]
        ethane = mols[1].GetConformer().GetPositions()
        assert np.abs(found.positions[6:14] - (ethane - ethane.mean(0))).max() < 1e-3
        assert found.atomic_numbers[14:].tolist() == [7, 1, 1, 1]

    def test_titles_that_repeat_are_no_ids(self, tmp_path):
        mols = [embedded(smiles) for smiles in SMILES]
        assert load_sdf(write_sdf(tmp_path / "m.sdf", mols, titles=["a", "a", "b"])).id.tolist() == [1, 2, 3]
        assert load_sdf(write_sdf(tmp_path / "m.sdf", mols, titles=["7", "5", "30"])).id.tolist() == [7, 5, 30]

    @pytest.mark.parametrize(
        ("properties", "message"),
        [
            (
                [{"gap": "1"}, {"gap": "1"}, {"gap": "high"}],
                "record 3 needs a number as 'gap', as others have, or none",
            ),
            ([{"gap": "inf"}, {"gap": "1"}, {"gap": "1"}], "record 1 needs a number as 'gap'"),
        ],
    )
    def test_something_else_for_a_number(self, tmp_path, properties, message):
        path = write_sdf(tmp_path / "m.sdf", [embedded(smiles) for smiles in SMILES], properties)
        with pytest.raises(UserError, match=f"m.sdf: {message}"):
            load_sdf(path)

    @pytest.mark.parametrize(
        "properties", [[{"gap": "1"}, {}, {"gap": "2"}], [{"gap": "1"}, {"gap": "nan"}, {"gap": "2"}]]
    )
    def test_a_missing_number_is_a_missing_label(self, tmp_path, properties):
        found = load_sdf(write_sdf(tmp_path / "m.sdf", [embedded(smiles) for smiles in SMILES], properties))
        assert found.values(found.target("gap")) == pytest.approx([1, np.nan, 2], nan_ok=True)

    def test_geometry_and_hydrogens_are_needed(self, tmp_path):
        path = write_sdf(tmp_path / "m.sdf", [embedded("CO"), embedded("CO", hydrogens=False)])
        with pytest.raises(UserError, match="record 2 lacks hydrogens on its carbons"):
            load_sdf(path)
        flat = Chem.AddHs(Chem.MolFromSmiles("CO"))
        AllChem.Compute2DCoords(flat)
        with pytest.raises(UserError, match="record 1 has no 3D geometry"):
            load_sdf(write_sdf(tmp_path / "m.sdf", [flat]))

    def test_what_is_no_record(self, tmp_path):
        path = write_sdf(tmp_path / "m.sdf", [embedded("CO"), embedded("CC")])
        path.write_text(path.read_text().replace(" V2000", " V9000"))
        with pytest.raises(UserError, match="record 1 is not a readable molecule"):
            load_sdf(path)
        path.write_text("")
        with pytest.raises(UserError, match="holds no molecule"):
            load_sdf(path)


def frames():
    """Water, methane and ammonia with an energy, a dipole, a name, and what is no label."""
    found = [molecule(name) for name in ("H2O", "CH4", "NH3")]
    for k, atoms in enumerate(found):
        atoms.info |= {"gap[eV]": 7.5 - k, "count": k, "good": True, "id": f"m{k}", "remark": "fine"}
        atoms.info |= {"field": np.array([0.0, k, 1.0]), "quadrupole": np.arange(6.0)}
        atoms.calc = SinglePointCalculator(
            atoms, energy=-10.0 * k, dipole=np.array([k, 0.0, 0.0]), forces=atoms.positions
        )
    return found


def write_extxyz(path, atoms):
    ase.io.write(path, atoms, format="extxyz")
    return path


class TestExtxyz:
    @pytest.mark.parametrize("suffix", [".extxyz", ".xyz"])
    def test_molecules_and_numbers(self, tmp_path, suffix):
        atoms = frames()
        found = open_data(str(write_extxyz(tmp_path / f"m{suffix}", atoms)))
        assert found.id.tolist() == ["m0", "m1", "m2"]
        assert found.atomic_numbers.tolist() == [z for a in atoms for z in a.numbers]
        columns = {c.name: c for c in found.columns}
        assert set(columns) == {"gap", "count", "energy", "field", "dipole"}
        assert (columns["gap"].unit, columns["gap"].values.tolist()) == ("eV", [7.5, 6.5, 5.5])
        assert columns["energy"].values.tolist() == [0.0, -10.0, -20.0]
        assert columns["dipole"].values.tolist() == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]
        assert found.target("field").kind == "vector"
        assert np.abs(found.positions[:3] - (atoms[0].positions - atoms[0].positions.mean(0))).max() < 1e-6

    def test_an_id_that_is_a_number_is_no_label(self, tmp_path):
        atoms = frames()
        for k, a in enumerate(atoms):
            a.info["id"] = 10 + k
        found = load_extxyz(write_extxyz(tmp_path / "m.xyz", atoms))
        assert found.id.tolist() == [10, 11, 12]
        assert "id" not in [c.name for c in found.columns]

    def test_vectors_turn_with_their_molecule(self, tmp_path):
        found = load_extxyz(write_extxyz(tmp_path / "m.xyz", frames()))
        turn = np.array([[[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]] * 3)
        assert found.rotated(turn).values(found.target("dipole"))[1].tolist() == [0, 1, 0]

    def test_plain_files_have_no_labels(self, tmp_path):
        (tmp_path / "m.xyz").write_text("2\nhydrogen -1.17\nH 0 0 0\nH 0 0 0.74\n")
        found = load_extxyz(tmp_path / "m.xyz")
        assert (found.id.tolist(), found.columns) == ([1], ())

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (np.zeros(3), "frame 2 needs a number as 'gap.eV.'"),
            (np.inf, "frame 2 needs a number as 'gap.eV.'"),
        ],
    )
    def test_something_else_for_a_number(self, tmp_path, value, message):
        atoms = frames()
        atoms[1].info["gap[eV]"] = value
        with pytest.raises(UserError, match=f"m.xyz: {message}"):
            load_extxyz(write_extxyz(tmp_path / "m.xyz", atoms))

    def test_a_vector_that_is_missing(self, tmp_path):
        atoms = frames()
        del atoms[2].info["field"]
        del atoms[0].info["gap[eV]"]
        found = load_extxyz(write_extxyz(tmp_path / "m.xyz", atoms))
        assert np.isnan(found.values(found.target("field"))).all(1).tolist() == [False, False, True]
        assert np.isnan(found.values(found.target("gap"))).tolist() == [True, False, False]
        atoms[2].info["field"] = 1.0
        with pytest.raises(UserError, match="frame 3 needs three numbers as 'field'"):
            load_extxyz(write_extxyz(tmp_path / "m.xyz", atoms))

    @pytest.mark.parametrize("content", ["hello\n", "3\nid=1\nH 0 0 0\n", "1\nid=1\nXx 0 0 0\n", "1\nid=1\nH 0 0 x\n"])
    def test_another_form(self, tmp_path, content):
        (tmp_path / "m.xyz").write_text(content)
        with pytest.raises(UserError, match=r"m.xyz is not an extended XYZ file"):
            load_extxyz(tmp_path / "m.xyz")

    def test_nothing(self, tmp_path):
        (tmp_path / "m.xyz").write_text("")
        with pytest.raises(UserError, match=r"m.xyz (holds no molecule|is not an extended)"):
            load_extxyz(tmp_path / "m.xyz")

    def test_without_ase(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "ase.io", None)
        with pytest.raises(UserError, match="needs ase; install it with: pip install ase"):
            load_extxyz(tmp_path / "m.xyz")


WATER = "3\n{0}\nO 0.0 0.0 0.1\nH 0.0 0.76 -0.48\nH 0.0 -0.76 -0.48\n"
AMMONIA = "4\n{0}\nN 0 0 0.1 9\nH 0 0.9 -0.3 9\nH 0.8 -0.5 -0.3 9\nH -0.8 -0.5 -0.3 9\n"
TABLE = "id,gap[eV], homo[eV] , smiles,remark\n b,8.1,-8.0,N,x\na,7.5,-7.3,O,\n"


@pytest.fixture
def beside(tmp_path):
    """A table, and its geometries in another order beside it."""
    (tmp_path / "t.csv").write_text(TABLE)
    (tmp_path / "t.xyz").write_text(WATER.format("a water") + AMMONIA.format("b") + "\n")
    return tmp_path / "t.csv"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "a.xyz").write_text(WATER.format(""))
    (tmp_path / "g" / "b.xyz").write_text(AMMONIA.format("b"))
    (tmp_path / "t.csv").write_text("id,file,gap[eV]\n3,g/b.xyz,8.1\n1,g/a.xyz,7.5\n")
    return tmp_path / "t.csv"


class TestCsv:
    def test_geometries_beside_it(self, beside):
        found = open_data(str(beside))
        assert found.id.tolist() == ["b", "a"]
        assert found.smiles.tolist() == ["N", "O"]
        assert found.num_atoms.tolist() == [4, 3]
        assert found.atomic_numbers.tolist() == [7, 1, 1, 1, 8, 1, 1]
        assert [(c.name, c.unit, c.values.tolist()) for c in found.columns] == [
            ("gap", "eV", [8.1, 7.5]),
            ("homo", "eV", [-8.0, -7.3]),
        ]
        assert found.positions[5, 1] == pytest.approx(0.76)

    @pytest.mark.parametrize("column", ["file", "xyz"])
    def test_geometries_in_files(self, files, column):
        files.write_text(files.read_text().replace("file", column))
        found = load_csv(files)
        assert found.id.tolist() == [3, 1]
        assert found.num_atoms.tolist() == [4, 3]
        assert [c.name for c in found.columns] == ["gap"]

    @pytest.mark.parametrize("form", ["files", "beside"])
    def test_the_checksum_covers_the_geometries(self, form, request):
        path = request.getfixturevalue(form)
        before = load_csv(path).checksum
        for xyz in path.parent.rglob("*.xyz"):
            xyz.write_text(xyz.read_text().replace("0.76", "0.77"))
        assert load_csv(path).checksum != before

    @pytest.mark.parametrize(
        ("extra", "message"),
        [("1\na again\nC 0 0 0\n", "holds two molecules called 'a'"), ("1\nc\nXx 0 0 0\n", "no element 'Xx'")],
    )
    def test_geometries_called_alike_or_of_no_element(self, beside, extra, message):
        xyz = beside.with_suffix(".xyz")
        xyz.write_text(xyz.read_text().rstrip() + "\n" + extra)
        with pytest.raises(UserError, match=message):
            load_csv(beside)

    def test_an_empty_entry_is_a_missing_label(self, beside):
        beside.write_text("id,gap,note\na,1,good\nb,,\n")
        found = load_csv(beside)
        assert found.values(found.target("gap")) == pytest.approx([1, np.nan], nan_ok=True)
        assert len(found.columns) == 1

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ("", "a line of distinct column names with `id`"),
            ("id,gap\n", "then a line per molecule"),
            ("name,gap\na,1\n", "with `id` among them"),
            ("id,gap,gap\na,1,2\n", "distinct column names"),
            ("id,gap\na,1\nb\n", "line 3 has 1 entries, expected 2"),
            ("id,gap\n\na,1\n\nb,x\n", r"line 5 \(id b\) needs a number as 'gap'"),
            ("id,gap\na,1\nb,x\n", r"line 3 \(id b\) needs a number as 'gap'"),
            ("id,gap\na,1\nc,1\n", r"line 3 \(id c\) has no geometry in t.xyz; add or remove it"),
            ("id,gap\na,1\na,1\n", r"line 3 \(id a\) repeats the id of line 2 \(id a\)"),
            ("id,gap\na,1\n,1\n", r"line 3 \(id \) has no geometry"),
        ],
    )
    def test_a_table_with_a_mistake(self, beside, table, message):
        beside.write_text(table)
        with pytest.raises(UserError, match=message):
            load_csv(beside)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("g/c.xyz", r"line 2 \(id 3\) names the file 'g/c.xyz', which is not in"),
            ("", r"line 2 \(id 3\) names the file ''"),
            ("g/both.xyz", "holds 2 molecules, expected one"),
        ],
    )
    def test_a_file_that_is_not_there(self, files, name, message):
        (files.parent / "g" / "both.xyz").write_text(WATER + WATER)
        files.write_text(files.read_text().replace("g/b.xyz", name))
        with pytest.raises(UserError, match=message):
            load_csv(files)

    @pytest.mark.parametrize(
        ("xyz", "line"),
        [
            ("x\n", 1),
            (WATER + "3\nb\nO 0 0 0\n", 6),
            (WATER.replace("O ", "Q "), 1),
            (WATER.replace("0.76", "?"), 1),
            (WATER.replace(" 0.1", ""), 1),
        ],
    )
    def test_geometries_with_a_mistake(self, beside, xyz, line):
        beside.with_suffix(".xyz").write_text(xyz)
        with pytest.raises(UserError, match=rf"t.xyz: no molecule begins in line {line} "):
            load_csv(beside)

    def test_no_geometries(self, beside):
        beside.with_suffix(".xyz").unlink()
        with pytest.raises(UserError, match=r"no geometries for .*t.csv: name .xyz files in a column `file`, or put"):
            load_csv(beside)

    def test_bytes_that_are_no_text(self, beside):
        beside.write_bytes(b"id,gap\n\xff,1\n")
        with pytest.raises(UserError, match="write it as UTF-8"):
            load_csv(beside)


class TestSources:
    def test_a_prepared_folder_and_the_usual_one(self, small_npz, tmp_path, monkeypatch):
        small = load_npz(small_npz)
        save_prepared(small, tmp_path / "qm9")
        assert np.array_equal(open_data(str(tmp_path / "qm9")).id, small.id)
        monkeypatch.setenv("MOLAUGERINO_DATA", str(tmp_path))
        assert np.array_equal(open_data("qm9").id, small.id)
        monkeypatch.delenv("MOLAUGERINO_DATA")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        (tmp_path / "home" / ".cache" / "molaugerino").mkdir(parents=True)
        (tmp_path / "qm9").rename(tmp_path / "home" / ".cache" / "molaugerino" / "qm9")
        assert np.array_equal(open_data("qm9").id, small.id)

    @pytest.mark.parametrize("source", ["qm10", "none.sdf", "there.txt", "."])
    def test_what_cannot_be_opened(self, source, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "there.txt").write_text("")
        with pytest.raises(UserError, match=r"prepared|give xtb9, qm9, a prepared folder, or .*\.sdf, \.extxyz"):
            open_data(source)
