"""The models that come with the package: whole, small, known by name, and right about molecules everybody knows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from molaugerino.cli.main import main
from molaugerino.datasets import Split
from molaugerino.predict import Predictor
from molaugerino.training.folder import SPLITS
from molaugerino.training.ready import DEFAULT, TESTED, find_model, ready_models

HARTREE = 27.211386  # eV


@pytest.fixture(scope="module", params=sorted(ready_models()))
def ready(request):
    return request.param, Predictor.from_pretrained(request.param)


def test_the_default_is_there_and_all_are_small():
    assert DEFAULT in ready_models()
    files = [path for folder in ready_models().values() for path in folder.iterdir()]
    assert sum(path.stat().st_size for path in files) < 25e6


def test_card_split_and_tests_belong_together(ready):
    name, predictor = ready
    folder = ready_models()[name]
    with np.load(folder / SPLITS, allow_pickle=False) as arrays:
        split = Split(*(arrays[part] for part in ("train", "budget", "valid", "test")))
        parts = np.concatenate([arrays[f"{part}_id"] for part in ("train", "budget", "valid", "test")])
    assert split.checksum == predictor.card.split_sha256
    assert len(np.unique(parts)) == len(parts), "no molecule is in two parts"
    tested = json.loads((folder / TESTED).read_text())
    assert set(tested["routes"]) == set(predictor.calibration.routes)
    columns = [column.titled() for column in predictor.columns]
    for rows in tested["routes"].values():
        assert [row["column"] for row in rows] == columns
        for row in rows:
            assert row["tested"] > 0
            assert row["calibrated"] > 0
            assert row["standard_error"] == pytest.approx(
                np.sqrt(0.09 * (1 / row["calibrated"] + 1 / row["tested"])), rel=1e-6
            )


def test_it_knows_its_routes(ready):
    _, predictor = ready
    [isomeric, flat] = predictor.predict(["C[C@H](F)O", "CC(F)O"], geometry="mmff")
    if "mmff-open" in predictor.calibration.routes:
        assert flat.isomers == 2
        assert (np.array(flat.hi) > np.array(flat.values)).all()
    assert isomeric.isomers == 1


@pytest.mark.parametrize(
    ("smiles", "target", "value", "off"),
    [
        ("c1ccccc1", "gap", 6.811, 0.4),
        ("C", "gap", 0.5048 * HARTREE, 1.5),  # nothing else is like it
        ("c1ccccc1", "g4mp2_atomization_energy", -2.082378 * HARTREE, 0.4),
        ("N", "u0", -56.525887 * HARTREE, 2.0),
        ("c1ccccc1", "mu", 0.0, 0.3),
    ],
)
def test_molecules_everybody_knows(smiles, target, value, off):
    """Values of B3LYP/6-31G(2df,p) and G4MP2 as published with QM9."""
    [row] = Predictor.from_pretrained(DEFAULT).predict(smiles, targets=[target]).records()
    [found] = [row[key] for key in row if key.startswith(f"{target}[")]
    assert found == pytest.approx(value, abs=off)


@pytest.mark.parametrize(
    ("smiles", "status"),
    [
        ("CS", "unsupported_element"),
        ("CCl", "unsupported_element"),
        ("C[N+](C)(C)C", "charged"),
        ("CC(=O)[O-]", "charged"),
        ("[Na+].[Cl-]", "unsupported_element"),
        ("C[NH3+].[O-]C=O", "fragments"),
        ("[CH3]", "open_shell"),
    ],
)
def test_what_gets_no_number(ready, smiles, status):
    [row] = ready[1].predict(smiles)
    assert row.status == status
    assert row.reason
    assert np.isnan(row.values + row.lo + row.hi).all()


def test_predict_says_which_model(capsys):
    assert main(["predict", "CCO", "--target", "gap"]) == 0
    out, err = capsys.readouterr()
    assert f"model {DEFAULT} (the default; --checkpoint names another): B3LYP/6-31G(2df,p)" in err
    assert "gap[eV] B3LYP/6-31G(2df,p)" in out


def test_evaluate_shows_the_tests(ready, capsys):
    assert main(["evaluate", ready[0]]) == 0
    out, err = capsys.readouterr()
    assert f"{ready[0]}, {next(iter(ready[1].calibration.routes))}: test errors, and 90% intervals" in out
    assert "as stored with the model" in err
    assert main(["evaluate", ready[0], "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["level"] == 0.9
    assert main(["evaluate", ready[0], "--copies", "4"]) == 2
    assert "--method and --copies are for tests on --data" in capsys.readouterr().err


def test_a_folder_of_the_same_name_needs_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEFAULT).mkdir()
    assert find_model(DEFAULT, Path("runs")) == ready_models()[DEFAULT]
    assert find_model(f"./{DEFAULT}", Path("runs")) == Path(DEFAULT)
