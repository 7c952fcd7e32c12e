"""Labelled SMILES as a data set: what is kept to calibrate, and what is not."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from molaugerino.datasets import load_npz, load_split
from molaugerino.errors import UserError
from molaugerino.predict.entries import Entry
from molaugerino.predict.labelled import calibrating_split, lowest, save_labelled
from molaugerino.predict.routes import Geometry, Prepared, Settings, prepare

ANY = Settings("mmff", 1, 4, "lowest", None, None)


def made(smiles, numbers=(6, 1)):
    return Prepared(smiles, geometries=(Geometry(np.array(numbers), np.zeros((len(numbers), 3)), 0, 1.0),))


def sizes(split):
    return len(split.train), len(split.budget), len(split.valid), len(split.test)


class TestSplit:
    @pytest.mark.parametrize(
        ("n", "share", "law", "expected"),
        [
            (1000, None, False, (900, 0, 100)),
            (300, None, False, (260, 0, 40)),
            (120, None, False, (90, 0, 30)),
            (100, 0.5, True, (45, 5, 50)),
            (10, 0.99, False, (1, 0, 9)),
            (4, 0.01, True, (1, 2, 1)),
        ],
    )
    def test_how_many_molecules_are_kept_whatever_the_rows(self, n, share, law, expected):
        once = [made(str(k)) for k in range(n)]
        assert sizes(calibrating_split(once, share, law, 0)) == (*expected, 0)
        assert sizes(calibrating_split(2 * once, share, law, 0)) == (*(2 * k for k in expected), 0)

    def test_rows_of_a_molecule_stay_together_and_the_seed_decides(self):
        rows = [made(str(k)) for k in np.random.default_rng(0).integers(0, 50, 400)]
        split, other = (calibrating_split(rows, 0.3, True, seed) for seed in (0, 1))
        owners = [{rows[k].smiles for k in part} for part in (split.train, split.budget, split.valid)]
        assert sum(map(len, owners)) == len(set.union(*owners)) == 50
        assert Counter(np.concatenate([split.train, split.budget, split.valid]).tolist()) == Counter(range(400))
        assert split.checksum != other.checksum
        assert split.checksum == calibrating_split(rows, 0.3, True, 0).checksum

    def test_every_element_is_trained(self):
        rows = [made(str(k), (6, 1, 10 + k)) for k in range(8)] + [made(str(k)) for k in range(8, 60)]
        for seed in range(5):
            split = calibrating_split(rows, 0.8, False, seed)
            assert set(range(8)) <= set(split.train.tolist())
            assert len(split.valid) == 48

    def test_too_few(self):
        rows = [made("C"), made("CC"), made("C")]
        assert len(calibrating_split(rows, None, False, 0).train) > 0
        with pytest.raises(UserError, match="at least 4 different molecules that can be used are needed, got 2"):
            calibrating_split(rows, None, True, 0)


def test_what_is_written(tmp_path):
    """The lowest of the geometries, which are MMFF94 ones, with labels and SMILES."""
    found = [prepare((Entry(text, smiles=text), ANY)) for text in ("OCCO", "CBr")]
    split = calibrating_split(found, None, False, 0)
    save_labelled(found, np.array([[1.0, 2.0], [3.0, 4.0]]), ("a", "b"), split, tmp_path / "d.npz", tmp_path / "s.npz")
    data = load_npz(tmp_path / "d.npz").with_geometry("mmff")
    assert data.smiles.tolist() == ["OCCO", "CBr"]
    assert [column.values.tolist() for column in data.columns] == [[1.0, 3.0], [2.0, 4.0]]
    np.testing.assert_allclose(data.positions[:10], lowest(found[0]).positions, atol=1e-5)
    assert len(found[0].geometries) == 4
    assert {g.weight for g in found[0].geometries} == {0.0, 1.0}
    assert load_split(tmp_path / "s.npz", data.id, by_id=True).checksum == split.checksum


def test_any_element_is_taken():
    assert prepare((Entry("*", smiles="*C"), ANY)).reason == "* stands for no element"
