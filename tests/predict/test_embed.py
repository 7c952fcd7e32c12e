"""Latent vectors of molecules, and their files."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from molaugerino.errors import UserError
from molaugerino.predict import Embeddings, Predictor
from molaugerino.predict.embed import LONGEST, check_form, render
from molaugerino.predict.entries import Entry, Structure
from molaugerino.predict.predictor import packed
from molaugerino.predict.routes import Geometry
from molaugerino.uncertainty.answers import last_hidden

GOLDEN = Path(__file__).parent.parent / "golden" / "0.2"
WATER = Structure(np.array([8, 1, 1]), np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]))


@pytest.fixture(scope="module")
def predictor():
    return Predictor.from_pretrained(GOLDEN / "law")


def test_the_readout_of_a_vector_is_the_value(predictor):
    """What enters the last map, over atoms and passes: for a mean the map of the vector is the prediction."""
    found = predictor.embed(["CCO", "c1ccccc1"])
    readout = predictor.augmented.model.readout
    gap = readout.mlp[-1](torch.from_numpy(found.vectors))[:, 0]
    expected = [row.values[0] for row in predictor.predict(["CCO", "c1ccccc1"])]
    np.testing.assert_allclose((readout.scale[0] * gap + readout.shift[0]).detach(), expected, rtol=1e-5)


def test_vectors_are_the_last_hidden_layer(predictor):
    structure = Entry("water", structure=WATER)
    [vector] = predictor.embed([structure], geometry="given").vectors
    one = packed([Geometry(WATER.numbers, WATER.positions - WATER.positions.mean(0), 0, 1.0)])
    with last_hidden(predictor.augmented) as seen:
        predictor.answers(one)
    np.testing.assert_allclose(vector, seen[0].mean((0, 1)), rtol=1e-5, atol=1e-6)


def test_isomers_are_averaged(predictor):
    mean, left, right = predictor.embed(["CC(F)O", "C[C@H](F)O", "C[C@@H](F)O"]).vectors
    np.testing.assert_allclose(mean, (left + right) / 2, rtol=1e-4, atol=1e-6)
    assert np.abs(left - right).max() > 1e-5
    [one] = predictor.embed("CC(F)O", isomers=1).vectors
    assert np.abs(one - mean).max() > 1e-6


def test_a_row_per_molecule_and_none_without_status(predictor):
    lines = ["CCO", "", "xx", "CCl", "CCO"]
    found = predictor.embed(lines)
    rows = predictor.predict(lines)
    assert len(found) == 5
    assert found.input == tuple(lines)
    for k, row in enumerate(rows):
        assert (found.smiles[k], found.status[k]) == (row.smiles, row.status)
        assert np.isnan(found.vectors[k]).all() == (row.status != "ok")
        assert found.reason[k] == row.reason or row.status == "ok"
    assert found.vectors.dtype == np.float32
    np.testing.assert_allclose(found.vectors[0], found.vectors[4], atol=1e-6)
    refused = predictor.embed(["xx"])
    assert refused.vectors.shape == (1, predictor.width) == (1, 8)
    assert predictor.embed([]).vectors.shape == (0, 8)


@pytest.mark.slow
def test_processes_change_nothing(predictor):
    alone, shared = (predictor.embed(["CCO", "xx", "CC(F)O"], jobs=jobs) for jobs in (1, 2))
    np.testing.assert_array_equal(alone.vectors, shared.vectors)


def test_a_model_of_broken_weights_gives_none():
    predictor = Predictor.from_pretrained(GOLDEN / "invariant")
    predictor.augmented.model.readout.scale.fill_(float("nan"))
    found = predictor.embed(["CCO"])
    assert found.status == ("bad_geometry",)
    assert "no finite number" in found.reason[0]
    assert np.isnan(found.vectors).all()


FOUND = Embeddings(
    input=("CCO", 'b,"d'),
    smiles=("CCO", ""),
    status=("ok", "bad_smiles"),
    reason=("", "why"),
    columns=({"name": "drink", "h1": "x", "status": "y"}, {}),
    vectors=np.array([[1 / 3, -2e-8], [np.nan, np.nan]], np.float32),
)


TITLES = ["input", "name", "h1 (given)", "status (given)", "smiles", "status", "reason", "h0", "h1"]


class TestFiles:
    def test_csv(self):
        rows = list(csv.DictReader(io.StringIO(render(FOUND, ".csv").decode())))
        assert list(rows[0]) == TITLES
        assert [row["input"] for row in rows] == list(FOUND.input)
        assert [row["name"] for row in rows] == ["drink", ""]
        assert [row["status"] for row in rows] == ["ok", "bad_smiles"], "a column of the file hides none of ours"
        read = np.array([[float(row["h0"]), float(row["h1"])] for row in rows], np.float32)
        np.testing.assert_array_equal(read, FOUND.vectors)

    def test_parquet(self, tmp_path):
        parquet = pytest.importorskip("pyarrow.parquet", reason="the extra [parquet] is not installed")
        (tmp_path / "h.parquet").write_bytes(render(FOUND, ".parquet"))
        table = parquet.read_table(tmp_path / "h.parquet")
        assert table.column_names == TITLES
        np.testing.assert_array_equal(table["h0"].to_numpy(), FOUND.vectors[:, 0])

    def test_npz_without_objects(self, tmp_path):
        long = Embeddings(("C" * (LONGEST + 5), *FOUND.input[1:]), *[getattr(FOUND, n) for n in list(vars(FOUND))[1:]])
        (tmp_path / "h.npz").write_bytes(render(long, ".NPZ"))
        with np.load(tmp_path / "h.npz", allow_pickle=False) as arrays:
            assert set(arrays) == {"input", "smiles", "status", "reason", "h"}
            assert arrays["input"].tolist() == ["C" * LONGEST, 'b,"d']
            assert arrays["status"].tolist() == ["ok", "bad_smiles"]
            np.testing.assert_array_equal(arrays["h"], FOUND.vectors)

    def test_other_names(self):
        with pytest.raises(UserError, match=r"--out writes .csv, .parquet, .npz, got h.txt"):
            check_form(Path("h.txt"))
