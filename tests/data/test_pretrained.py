"""The program behind the ready models, on a small set: every file of a ready model comes out of it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from molaugerino.datasets import graph_keys, open_data
from molaugerino.predict import Predictor
from molaugerino.training.ready import TESTED

PROGRAM = Path(__file__).parents[2] / "data" / "pretrained" / "make.py"


@pytest.fixture(scope="module")
def program():
    spec = importlib.util.spec_from_file_location("make_pretrained", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_split_keeps_graphs_together(program):
    molecules = open_data("xtb9").subset(np.arange(0, 6000))
    split = program.calibration_split(molecules)
    parts = [split.train, split.budget, split.valid, split.test]
    assert sorted(np.concatenate(parts)) == list(range(6000))
    assert len(split.test) == pytest.approx(600, abs=5)
    assert len(split.valid) == pytest.approx(600, abs=10)
    keys = graph_keys(molecules)
    trained = np.union1d(split.train, split.budget)
    for part in (split.valid, split.test):
        assert not np.isin(keys[part], keys[trained]).any()


@pytest.mark.slow
def test_a_ready_model_from_a_small_set(program, small_npz, tmp_path):
    program.run("xtb9", [str(small_npz)], None, tmp_path / "runs", 20, 1, tmp_path)
    predictor = Predictor.from_pretrained(tmp_path / "xtb9")
    assert set(predictor.calibration.routes) == {"mmff", "mmff-open"}
    tested = json.loads((tmp_path / "xtb9" / TESTED).read_text())
    [gap, *_] = tested["routes"]["mmff"]
    assert (gap["column"], gap["method"], gap["tested"]) == ("gap[eV]", "GFN2-xTB", 40)
    before = (tmp_path / "xtb9" / "model.safetensors").read_bytes()
    program.run("xtb9", [str(small_npz)], None, tmp_path / "runs", 20, 1, tmp_path)
    assert (tmp_path / "xtb9" / "model.safetensors").read_bytes() == before, "what is trained is not trained again"
