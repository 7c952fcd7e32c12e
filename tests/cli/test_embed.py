"""molaugerino embed, as a user meets it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from molaugerino.cli.main import main
from molaugerino.predict import Predictor

MODEL = str(Path(__file__).parent.parent / "golden" / "0.2" / "law")
CHECKPOINT = "--checkpoint", MODEL


def test_files_of_all_kinds_hold_the_same(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("id,SMILES\n7,CCO\n8,xx\n9,CC(F)O\n")
    for name in ("h.csv", "h.parquet", "h.npz"):
        assert main(["embed", "in.csv", "--out", name, *CHECKPOINT]) == 0
    assert f"2 of 3 molecules embedded by {MODEL} in h.npz, 1 bad_smiles" in capsys.readouterr().err
    expected = Predictor.from_pretrained(MODEL).embed(["CCO", "xx", "CC(F)O"])
    with np.load("h.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["h"], expected.vectors)
        assert arrays["smiles"].tolist() == ["CCO", "", "CC(O)F"]
    with open("h.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["7", "8", "9"]
    vectors = [[float(row[f"h{k}"]) for k in range(8)] for row in rows]
    np.testing.assert_array_equal(np.array(vectors, np.float32), expected.vectors)
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra [parquet] is not installed")
    assert parquet.read_table("h.parquet")["status"].to_pylist() == ["ok", "bad_smiles", "ok"]


def test_strict(tmp_path):
    assert main(["embed", "CCO", "--out", str(tmp_path / "a.npz"), *CHECKPOINT, "--strict"]) == 0
    assert main(["embed", "xx", "--out", str(tmp_path / "b.npz"), *CHECKPOINT, "--strict"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "h.txt"], "--out writes .csv, .parquet, .npz, got h.txt"),
        (["--out", "mine.npz"], "mine.npz exists already"),
        (["--out", "h.npz", "--checkpoint", "nowhere"], "no model 'nowhere'"),
        (["--out", "h.npz", "--isomers", "0"], "--isomers must lie between 1 and 64"),
    ],
)
def test_mistakes(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.npz").write_text("mine")
    assert main(["embed", "CCO", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["mine.npz"]
    assert Path("mine.npz").read_text() == "mine"


def test_a_file_must_be_named(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["embed", "CCO"])
    assert stop.value.code == 2
    assert "--out" in capsys.readouterr().err
