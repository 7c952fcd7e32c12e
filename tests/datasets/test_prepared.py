"""Prepared folders: what goes in comes out, nothing is read before it is used, and damage is named."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from molaugerino.datasets import PackedData, World, in_frames, load_npz, prepared
from molaugerino.datasets.prepared import MANIFEST, is_prepared, open_prepared, save_prepared
from molaugerino.errors import UserError


@pytest.fixture(scope="module")
def small(small_npz):
    return load_npz(small_npz)


@pytest.fixture
def folder(small, tmp_path):
    save_prepared(small, tmp_path / "small")
    return tmp_path / "small"


def change(folder, edit):
    manifest = json.loads((folder / MANIFEST).read_text())
    edit(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


class TestRoundTrip:
    def test_everything_comes_back(self, small, folder):
        again = open_prepared(folder)
        for name in ("id", "num_atoms", "atomic_numbers", "positions", "positions_mmff", "smiles"):
            assert np.array_equal(getattr(small, name), getattr(again, name))
        assert (again.name, again.geometry) == (small.name, small.geometry)
        for before, after in zip(small.columns, again.columns, strict=True):
            assert (before.name, before.method, before.unit, before.kind) == (
                after.name,
                after.method,
                after.unit,
                after.kind,
            )
            assert np.array_equal(before.values, after.values)

    def test_what_is_optional_may_be_absent(self, small, tmp_path):
        save_prepared(replace(small, smiles=None, positions_mmff=None, columns=()), tmp_path / "bare")
        again = open_prepared(tmp_path / "bare", whole=True)
        assert (again.smiles, again.positions_mmff, again.columns) == (None, None, ())

    def test_nothing_is_read_before_it_is_used(self, folder):
        again = open_prepared(folder)
        for array in (again.positions, again.atomic_numbers, again.columns[0].values):
            assert isinstance(array.base, np.memmap)
            assert not array.flags.writeable
        assert again.atomic_numbers.dtype == np.uint8

    def test_the_checksum_is_that_of_the_content(self, small, folder, tmp_path):
        checksum = open_prepared(folder).checksum
        save_prepared(replace(small, name="other", checksum="?"), tmp_path / "same")
        assert open_prepared(tmp_path / "same").checksum == checksum
        save_prepared(replace(small, columns=small.columns[:-1]), tmp_path / "fewer")
        method = replace(small.columns[0], method="B3LYP")
        save_prepared(replace(small, columns=(method, *small.columns[1:])), tmp_path / "method")
        save_prepared(replace(small, positions=-small.positions), tmp_path / "mirrored")
        others = [open_prepared(tmp_path / name).checksum for name in ("fewer", "method", "mirrored")]
        assert len({checksum, *others}) == 4

    def test_permissions_are_those_of_any_folder(self, folder, tmp_path):
        (tmp_path / "plain").mkdir()
        assert folder.stat().st_mode == (tmp_path / "plain").stat().st_mode


class TestUse:
    """Elements of one byte in read-only memory, wherever a set is used."""

    def test_batches(self, small, folder):
        targets = [small.target("gap"), small.target("dipole")]
        rows = torch.tensor([5, 2])
        here, there = (PackedData(m, targets).batch(rows) for m in (small, open_prepared(folder)))
        assert here.x.z.dtype == there.x.z.dtype == torch.int64
        for a, b in zip((*here.x, here.y), (*there.x, there.y), strict=True):
            assert torch.equal(a, b)

    @pytest.mark.parametrize("frames", ["principal", "random"])
    def test_frames(self, small, folder, frames):
        here, there = (in_frames(m, frames, 1)[0] for m in (small, open_prepared(folder)))
        assert np.array_equal(here.positions, there.positions)

    @pytest.mark.parametrize("world", ["field", "two-fields", "slab", "pseudoscalar"])
    def test_worlds(self, small, folder, world):
        here, there = (World(world, 1).place(m) for m in (small, open_prepared(folder)))
        assert np.array_equal(here.columns[0].values, there.columns[0].values)


class TestHalfPrepared:
    def test_nothing_is_left_where_writing_fails(self, small, tmp_path, monkeypatch):
        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(prepared.json, "dumps", full)
        with pytest.raises(UserError, match=r"cannot write .*No space left on device; choose another place"):
            save_prepared(small, tmp_path / "sub" / "small")
        assert list((tmp_path / "sub").iterdir()) == []

    def test_nothing_is_left_after_an_interrupt(self, small, tmp_path, monkeypatch):
        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(prepared, "_manifest", interrupt)
        with pytest.raises(KeyboardInterrupt):
            save_prepared(small, tmp_path / "small")
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_in_use_is_left_alone(self, small, folder, tmp_path):
        with pytest.raises(UserError, match="exists already; remove it"):
            save_prepared(small, folder)
        (tmp_path / "file").write_text("mine")
        with pytest.raises(UserError, match="exists already; remove it"):
            save_prepared(small, tmp_path / "file")
        assert (tmp_path / "file").read_text() == "mine"
        assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "small"]

    def test_an_empty_folder_is_filled(self, small, tmp_path):
        (tmp_path / "empty").mkdir()
        save_prepared(small, tmp_path / "empty")
        assert len(open_prepared(tmp_path / "empty")) == len(small)

    @pytest.mark.skipif(os.geteuid() == 0, reason="the superuser can write everywhere")
    def test_a_folder_that_is_closed(self, small, tmp_path):
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(UserError, match=r"cannot write .*Permission denied"):
            save_prepared(small, tmp_path / "closed" / "small")


class TestDamage:
    def test_no_prepared_folder(self, tmp_path):
        assert not is_prepared(tmp_path)
        with pytest.raises(UserError, match=r"not a prepared data set: it has no manifest.json"):
            open_prepared(tmp_path)

    def test_a_file_is_missing(self, folder):
        (folder / "label_001.npy").unlink()
        with pytest.raises(UserError, match=r"label_001.npy is missing; remove the folder and prepare it again"):
            open_prepared(folder)

    @pytest.mark.parametrize("name", ["positions", "num_atoms", "label_000"])
    def test_a_file_is_cut(self, folder, name):
        path = folder / f"{name}.npy"
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(UserError, match=rf"damaged: {name}.npy has \d+ bytes, expected \d+"):
            open_prepared(folder)

    @pytest.mark.parametrize("content", [b"\x93NUMPY", b"\x80\x04K\x01.", b"hello"])
    def test_a_file_is_no_array(self, folder, content):
        path = folder / "id.npy"
        path.write_bytes(content.ljust(path.stat().st_size, b"\0"))
        with pytest.raises(UserError, match=r"damaged: id.npy: "):
            open_prepared(folder)

    def test_another_array(self, folder):
        path, array = folder / "positions.npy", np.load(folder / "positions.npy")
        np.save(path, array.astype(">f4"))
        with pytest.raises(UserError, match=r"positions.npy holds >f4 .*, not what manifest.json says"):
            open_prepared(folder)
        np.save(path, array.astype(np.int32))
        with pytest.raises(UserError, match=r"positions.npy holds int32 .*, not what manifest.json says"):
            open_prepared(folder)
        change(folder, lambda m: m["arrays"]["positions"].update(dtype="<i4"))
        with pytest.raises(UserError, match=r"positions.npy holds int32"):
            open_prepared(folder)

    def test_a_byte_is_flipped(self, folder):
        path = folder / "label_000.npy"
        data = bytearray(path.read_bytes())
        data[-5] ^= 4
        path.write_bytes(bytes(data))
        open_prepared(folder)
        with pytest.raises(UserError, match=r"the content of label_000.npy is not what was written"):
            open_prepared(folder, whole=True)

    def test_counts_that_contradict_each_other(self, folder):
        counts = np.load(folder / "num_atoms.npy")
        counts[0] += 1
        np.save(folder / "num_atoms.npy", counts)
        with pytest.raises(UserError, match=r"num_atoms.npy does not hold 400 molecules"):
            open_prepared(folder)

    @pytest.mark.parametrize("content", [b"{", b"\xff", b"[]", b"{}", b"7"])
    def test_no_manifest(self, folder, content):
        (folder / MANIFEST).write_bytes(content)
        with pytest.raises(UserError, match="prepare it again"):
            open_prepared(folder)

    @pytest.mark.parametrize(
        ("edit", "message"),
        [
            (lambda m: m.update(schema=2), "has schema 2, expected 1"),
            (lambda m: m.pop("checksum"), r"manifest.json lacks a field"),
            (lambda m: m.update(molecules="400"), r"manifest.json lacks a field"),
            (lambda m: m.update(geometry="guessed"), r"manifest.json lacks a field"),
            (lambda m: m.update(columns=[[]]), r"manifest.json lacks a field"),
            (lambda m: m["columns"][0].update(kind="tensor"), r"manifest.json lacks a field"),
            (lambda m: m.update(molecules=401), r"no array id of shape \[401\]"),
            (lambda m: m["columns"].append(m["columns"][0]), "no array label_007"),
            (lambda m: m["arrays"]["id"].pop("sha256"), "no array id"),
        ],
    )
    def test_a_manifest_that_says_something_else(self, folder, edit, message):
        change(folder, edit)
        with pytest.raises(UserError, match=message):
            open_prepared(folder)
