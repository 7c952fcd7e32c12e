"""Models that earlier versions wrote load, and predict what they predicted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from molaugerino.predict import Predictor
from tests.golden.make import SMILES

FOLDERS = sorted(path.parent for path in Path(__file__).parent.glob("*/*/config.json"))


def test_there_are_some():
    assert {folder.name for folder in FOLDERS} >= {"law", "conditional", "invariant", "mirror"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_a_model_of_an_earlier_version(folder):
    """Numbers to the rounding of other machines; every column, status and flag as it was."""
    found = Predictor.from_pretrained(folder).predict(SMILES).records()
    expected = json.loads((folder / "predictions.json").read_text())
    assert len(found) == len(expected)
    for new, old in zip(found, expected, strict=True):
        for key, value in old.items():
            if isinstance(value, float):
                assert new[key] == pytest.approx(value, rel=2e-3, abs=2e-3), key
            else:
                assert new[key] == value, key
