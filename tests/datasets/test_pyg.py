"""torch_geometric's own file, as its InMemoryDataset writes it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from torch_geometric.data import Data, InMemoryDataset

from molaugerino.datasets import open_data
from molaugerino.datasets.names import UNITS
from molaugerino.datasets.pyg import load_pt
from molaugerino.errors import UserError

SIZES = (5, 3, 4)
IDS = (1, 21, 7)


def molecules(**changes):
    """Random molecules with the fields of QM9."""
    torch.manual_seed(0)
    found = []
    for k, n in enumerate(SIZES):
        edges = {"edge_index": torch.zeros(2, 2 * n, dtype=torch.long), "edge_attr": torch.zeros(2 * n, 4)}
        fields = edges | {
            "x": torch.zeros(n, 11),
            "z": torch.randint(1, 9, (n,)),
            "pos": torch.randn(n, 3),
            "y": torch.randn(1, 19),
            "name": f"gdb_{IDS[k]}",
            "idx": IDS[k] - 1,
            "smiles": "C" * (k + 1),
        }
        found.append(Data(**{key: value for key, value in (fields | changes).items() if value is not None}))
    return found


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data_v3.pt"


def test_what_torch_geometric_saves(path):
    data = molecules()
    InMemoryDataset.save(data, str(path))
    found = open_data(str(path))
    assert found.id.tolist() == list(IDS)
    assert found.num_atoms.tolist() == list(SIZES)
    assert found.smiles.tolist() == ["C", "CC", "CCC"]
    assert found.atomic_numbers.tolist() == torch.cat([d.z for d in data]).tolist()
    for k, d in enumerate(data):
        atoms = slice(found.starts[k], found.starts[k] + found.num_atoms[k])
        assert np.abs(found.positions[atoms] - (d.pos - d.pos.mean(0)).numpy()).max() < 1e-6
    assert [(c.name, c.unit, c.method) for c in found.columns] == [
        (name, unit, "B3LYP/6-31G(2df,p)") for name, unit in UNITS.items()
    ]
    assert np.array_equal(np.stack([c.values for c in found.columns], 1), torch.cat([d.y for d in data]).double())
    assert len(found.checksum) == 64


def test_without_the_class(path):
    """As it was written before the class was."""
    data, slices = InMemoryDataset.collate(molecules())
    torch.save((data.to_dict(), slices), path)
    assert load_pt(path).id.tolist() == list(IDS)


@pytest.mark.parametrize("name", ["methane", "gdb_7a"])
def test_names_that_are_no_numbers(path, name):
    InMemoryDataset.save(molecules(name=name, smiles=None), str(path))
    found = load_pt(path)
    assert found.id.tolist() == [1, 2, 3]
    assert found.smiles is None


def test_torch_geometric_is_not_needed(path):
    """In a process of its own: here its classes are allowed already."""
    InMemoryDataset.save(molecules(), str(path))
    code = (
        "import sys; from molaugerino.datasets.pyg import load_pt; found = load_pt(sys.argv[1]);"
        "sys.exit('torch_geometric' in sys.modules or found.id.tolist() != [1, 21, 7])"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 0


class Harmful:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


class TestRefused:
    def test_code_is_never_run(self, path, tmp_path):
        data, slices = InMemoryDataset.collate(molecules())
        torch.save((data.to_dict() | {"extra": Harmful(str(tmp_path / "mark"))}, slices), path)
        with pytest.raises(UserError, match=r"data_v3.pt was not read .*; give the data_v3.pt that torch_geometric"):
            load_pt(path)
        assert not (tmp_path / "mark").exists()

    def test_plain_pickles(self, path, tmp_path):
        path.write_bytes(pickle.dumps(Harmful(str(tmp_path / "mark"))))
        with pytest.raises(UserError, match="was not read"):
            load_pt(path)
        assert not (tmp_path / "mark").exists()

    def test_classes_that_are_not_needed(self, path):
        torch.save(InMemoryDataset.collate(molecules()), path)
        with pytest.raises(UserError, match=r"data_v3.pt that torch_geometric \(2.3 or newer\)"):
            load_pt(path)

    @pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
    def test_cut(self, path, share):
        InMemoryDataset.save(molecules(), str(path))
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        with pytest.raises(UserError, match="was not read"):
            load_pt(path)

    def test_another_archive(self, path):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a", "b")
        with pytest.raises(UserError, match="was not read"):
            load_pt(path)

    @pytest.mark.parametrize("content", [{"w": torch.zeros(3)}, (torch.zeros(1), {}), ({},)])
    def test_something_else(self, path, content):
        torch.save(content, path)
        with pytest.raises(UserError, match=r"expected .data, slices. as dictionaries"):
            load_pt(path)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"z": None}, "no 1-dimensional `z` for each molecule"),
            ({"pos": torch.zeros(3)}, "no 2-dimensional `pos`"),
            ({"y": torch.zeros(1, 12)}, "`y` has 12 targets, expected the 19 of QM9"),
            ({"y": torch.zeros(2, 19)}, "not sliced into the same 6 molecules"),
            ({"pos": torch.zeros(5, 3)}, "not sliced into the same 3 molecules"),
            ({"z": torch.tensor([0])}, "not sliced into the same"),
        ],
    )
    def test_other_molecules(self, path, changes, message):
        InMemoryDataset.save(molecules(**changes), str(path))
        with pytest.raises(UserError, match=message):
            load_pt(path)
