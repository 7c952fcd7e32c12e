"""Splits: disjoint, reproducible, in published forms."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest

from molaugerino.datasets.splits import (
    Split,
    community_split,
    load_split,
    random_split,
    save_split,
    scaffolds,
    trained_ids,
)
from molaugerino.errors import UserError

QM9 = 130_831


def sizes(split: Split) -> list[int]:
    return [len(part) for part in astuple(split)]


class TestRandom:
    def test_groups_stay_together(self):
        groups = np.random.default_rng(0).integers(0, 300, 1000)
        split = random_split(1000, seed=1, groups=groups)
        assert np.array_equal(np.sort(np.concatenate(astuple(split))), np.arange(1000))
        owners = [set(groups[part]) for part in astuple(split)]
        assert sum(map(len, owners)) == len(set.union(*owners))
        assert 60 <= len(split.test) <= 100

    def test_every_stratum_is_tested(self):
        strata = np.repeat([0, 1], [30_000, 900])
        split = random_split(30_900, seed=1, strata=strata)
        assert np.bincount(strata[split.test]).tolist() == [2000, 90]
        assert np.bincount(strata[split.valid]).tolist() == [1000, 45]

    def test_the_seed_decides(self):
        assert random_split(100, 1).checksum == random_split(100, 1).checksum != random_split(100, 2).checksum

    def test_disjoint_and_complete(self):
        split = random_split(1000, 1)
        assert np.array_equal(np.sort(np.concatenate(astuple(split))), np.arange(1000))
        assert sizes(split) == [800, 50, 50, 100]
        with pytest.raises(UserError, match="at least 40 molecules"):
            random_split(39)


class TestCommunity:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("dimenet", [109_000, 1000, 10_000, 10_831]),
            ("torchmd", [109_000, 1000, 10_000, 10_831]),
            ("cormorant", [99_000, 1000, 17_748, 13_083]),
        ],
    )
    def test_sizes(self, name, expected):
        split = community_split(name, np.arange(QM9))
        assert sizes(split) == expected
        assert len(np.unique(np.concatenate(astuple(split)))) == QM9

    def test_cormorant_is_the_published_order(self):
        order = np.random.RandomState(0).permutation(QM9)
        split = community_split("cormorant", np.arange(QM9))
        assert np.array_equal(split.test, np.sort(order[117_748:]))
        assert np.array_equal(split.valid, np.sort(order[100_000:117_748]))

    @pytest.mark.parametrize("ids", [np.arange(113_683), np.arange(QM9)[::-1]])
    def test_other_molecules(self, ids):
        with pytest.raises(UserError, match=r"one of QM9's 130,831 molecules by rising id.*use --split random"):
            community_split("torchmd", ids)


class TestScaffolds:
    def test_rings_decide(self):
        found = scaffolds(np.array(["Cc1ccccc1", "OCc1ccccc1", "CCO", "CCN", "C1CC1C"]), "x")
        assert found[0] == found[1] == "c1ccccc1"
        assert len(set(found)) == 4

    @pytest.mark.parametrize("smiles", [None, np.array(["CCO", ""]), np.array(["CCO", "xx"])])
    def test_without_smiles(self, smiles):
        with pytest.raises(UserError, match="use --split graph"):
            scaffolds(smiles, "x")


class TestFiles:
    def test_round_trip_by_row_and_by_id(self, tmp_path):
        ids = np.random.default_rng(0).permutation(1000)[:200]
        split, path = random_split(200, seed=3), tmp_path / "s.npz"
        save_split(split, path, ids)
        assert load_split(path, ids).checksum == split.checksum
        fewer = ids[::-2]
        other = load_split(path, fewer, by_id=True)
        assert set(fewer[other.test]) == set(ids[split.test]) & set(fewer)
        assert sum(sizes(other)) == 100

    def test_damaged(self, tmp_path):
        path = tmp_path / "s.npz"
        path.write_bytes(b"PK\x03\x04")
        with pytest.raises(UserError, match="not a readable split"):
            load_split(path, np.arange(100))

    def test_what_was_trained_on(self, tmp_path):
        ids, path = np.arange(100, 300), tmp_path / "s.npz"
        split = random_split(200, seed=3)
        save_split(split, path, ids)
        assert set(trained_ids(path)) == set(ids) - set(ids[split.test])
        np.savez(path, train=split.train)
        with pytest.raises(UserError, match=r"lacks train_id, .*nothing tells what was trained on"):
            trained_ids(path)
        path.write_bytes(b"PK")
        with pytest.raises(UserError, match="not a readable split"):
            trained_ids(path)

    @pytest.mark.parametrize("keys", [("idx_train", "idx_val", "idx_test"), ("train_idx", "val_idx", "test_idx")])
    def test_other_libraries(self, tmp_path, keys):
        path = tmp_path / "s.npz"
        np.savez(path, **dict(zip(keys, (np.arange(80), np.arange(80, 90), np.arange(90, 100)), strict=True)))
        split = load_split(path, np.arange(100))
        assert sizes(split) == [76, 4, 10, 10]
        assert split.test.tolist() == list(range(90, 100))

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"idx_train": [1], "idx_val": [1], "idx_test": [2]}, "rows repeat"),
            ({"idx_train": [1], "idx_val": [3], "idx_test": [100]}, r"outside 0\.\.99"),
            ({"idx_train": [1], "idx_val": [-3], "idx_test": [10]}, "no row numbers"),
            ({"idx_train": [1.5], "idx_val": [3], "idx_test": [10]}, "no row numbers"),
            ({"rows": [1]}, "holds rows; a split needs train, budget, valid, test or idx_train"),
        ],
    )
    def test_bad_files(self, tmp_path, arrays, message):
        path = tmp_path / "s.npz"
        np.savez(path, **{key: np.array(value) for key, value in arrays.items()})
        with pytest.raises(UserError, match=message):
            load_split(path, np.arange(100))
