"""Files with geometries, and the columns they bring."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from molaugerino.errors import UserError
from molaugerino.predict import inputs
from molaugerino.predict.inputs import open_inputs

WATER = "3\n{}\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"


def entries(path):
    [source] = open_inputs([str(path)], "smiles")
    return list(source.entries())


def test_names_and_columns_are_kept(tmp_path):
    (tmp_path / "a.smi").write_text("CCO grain alcohol\nC\tmethane\nO\n")
    assert [dict(e.columns) for e in entries(tmp_path / "a.smi")] == [
        {"name": "grain alcohol"},
        {"name": "methane"},
        {},
    ]
    (tmp_path / "a.csv").write_text('id, Smiles ,note\n7,CCO,"a, b"\n8,C\n')
    found = entries(tmp_path / "a.csv")
    assert [e.smiles for e in found] == ["CCO", "C"]
    assert [dict(e.columns) for e in found] == [{"id": "7", "note": "a, b"}, {"id": "8"}]


def test_no_cell_of_a_table_is_lost(tmp_path):
    """Of columns that are called alike, or that the header does not name."""
    (tmp_path / "a.csv").write_text("name,smiles,name,status\nA,CCO,B,keep,more,yet\n")
    [found] = entries(tmp_path / "a.csv")
    assert dict(found.columns) == {
        "name": "A",
        "name (2)": "B",
        "status": "keep",
        "column 5": "more",
        "column 6": "yet",
    }


def test_sdf(tmp_path):
    solid = Chem.AddHs(Chem.MolFromSmiles("C[C@H](F)O"))
    rdDistGeom.EmbedMolecule(solid, randomSeed=1)
    solid.SetProp("_Name", "one")
    solid.SetProp("label", "3.5")
    writer = Chem.SDWriter(str(tmp_path / "a.sdf"))
    writer.write(solid)
    writer.write(Chem.MolFromSmiles("CCO"))
    writer.close()
    text = (tmp_path / "a.sdf").read_text()
    broken = "bad\n\n\n  9  9  0\n$$$$\n"
    (tmp_path / "a.sdf").write_text(text.replace("$$$$\n", "$$$$\n" + broken, 1))
    first, second, third = entries(tmp_path / "a.sdf")
    assert (first.text, dict(first.columns)) == ("one", {"label": "3.5"})
    assert first.mol.GetConformer().Is3D()
    assert second.fault == "RDKit cannot read record 2"
    assert third.text == "a.sdf#3"


def test_xyz(tmp_path):
    extended = 'Properties=species:S:1:pos:R:3 name=water charge=1 label="a b"'
    (tmp_path / "a.xyz").write_text(WATER.format("") + WATER.format(extended))
    first, second = entries(tmp_path / "a.xyz")
    assert first.text == "a.xyz#1"
    assert first.structure.numbers.tolist() == [8, 1, 1]
    assert first.structure.charge == 0
    np.testing.assert_allclose(first.structure.positions[1], [0.96, 0, 0])
    assert (second.text, second.structure.charge, second.columns["label"]) == ("water", 1, "a b")


def test_comments_of_plain_xyz_are_names(tmp_path):
    comments = ["ZINC001", "energy: -76.4", "a water, at its minimum"]
    (tmp_path / "a.xyz").write_text("".join(map(WATER.format, comments)))
    assert [(e.text, dict(e.columns)) for e in entries(tmp_path / "a.xyz")] == [(c, {}) for c in comments]


@pytest.mark.parametrize("content", ["3\n\nO 0 0 0\nH 1 0", "x\n\n", "2\n\nO 0 0 a\nH 0 0 0\n", "1\n\nQq 0 0 0\n"])
def test_frames_that_are_none(tmp_path, content):
    (tmp_path / "a.xyz").write_text(WATER.format("") + content)
    found = entries(tmp_path / "a.xyz")
    assert found[0].structure.numbers.tolist() == [8, 1, 1], "what comes before is read"
    assert found[1].fault.startswith("frame 2 is not readable as XYZ")
    assert len(found) == 2


def test_a_bad_frame_costs_no_other(tmp_path):
    (tmp_path / "a.xyz").write_text("2\n\nO 0 0 a\nH 0 0 0\n\n" + WATER.format(""))
    bad, good = entries(tmp_path / "a.xyz")
    assert bad.fault.startswith("frame 1 is not readable")
    assert good.structure.numbers.tolist() == [8, 1, 1]


def test_an_empty_file(tmp_path):
    (tmp_path / "a.xyz").write_text("")
    (tmp_path / "a.sdf").write_text("")
    assert entries(tmp_path / "a.sdf") == entries(tmp_path / "a.xyz") == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_encodings_of_names(tmp_path, encoding):
    """Windows programs write marks, UTF-16 and cp1252; no name is lost."""
    (tmp_path / "a.smi").write_bytes("CCO Äthanol € rein\nC Methan\n".encode(encoding))
    assert [dict(e.columns)["name"] for e in entries(tmp_path / "a.smi")] == ["Äthanol € rein", "Methan"]


def test_packed(tmp_path):
    with gzip.open(tmp_path / "a.SMI.gz", "wt") as file:
        file.write("CCO\nC\n")
    assert [e.smiles for e in entries(tmp_path / "a.SMI.gz")] == ["CCO", "C"]
    (tmp_path / "b.smi.gz").write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"cannot read .*b\.smi\.gz"):
        entries(tmp_path / "b.smi.gz")


def test_sources_are_counted_and_gone_through_again(tmp_path):
    (tmp_path / "a.csv").write_text("smiles\nC\nCC\n")
    (tmp_path / "a.xyz").write_text(WATER.format("") * 3)
    sources = open_inputs(["CCO", str(tmp_path / "a.csv"), str(tmp_path / "a.xyz")], "smiles")
    assert [source.total for source in sources] == [1, 2, 3]
    for _ in range(2):
        assert [len(list(source.entries())) for source in sources] == [1, 2, 3]


def test_endless_lines_and_records_are_cut(tmp_path, monkeypatch):
    """What is too long to be a molecule costs neither memory nor the next one."""
    monkeypatch.setattr(inputs, "LONGEST_LINE", 1000)
    monkeypatch.setattr(inputs, "LONGEST_RECORD", 50)
    (tmp_path / "a.smi").write_text("C" * 5500 + "\nCCO\n")
    assert [len(e.text) for e in entries(tmp_path / "a.smi")] == [1000, 3]
    (tmp_path / "a.sdf").write_text("x\n" * 500 + "$$$$\n" + Chem.MolToMolBlock(Chem.MolFromSmiles("C")) + "$$$$\n")
    assert [bool(e.fault) for e in entries(tmp_path / "a.sdf")] == [True, False]
    (tmp_path / "a.xyz").write_text("300\n\n" + "H 0 0 0\n" * 300 + WATER.format(""))
    assert [bool(e.fault) for e in entries(tmp_path / "a.xyz")] == [True, False]
    (tmp_path / "a.csv").write_text("smiles,note\n" + 'C,"never\n' + "CC,x\n" * 100)
    assert [e.text for e in entries(tmp_path / "a.csv")] == ["C"] + ["CC"] * 100
