"""Damaged, changed and hostile files: a message, never a number, never an import."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
import torch

from molaugerino.errors import UserError
from molaugerino.files import sha256
from molaugerino.training.checkpoint import _digest, load_model
from molaugerino.training.resume import MAGIC, read_checkpoint


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "copy")


def test_round_trip(copy):
    augmented, card = load_model(copy)
    again, _ = load_model(copy)
    assert not augmented.training
    assert all(torch.equal(a, b) for a, b in zip(augmented.parameters(), again.parameters(), strict=True))
    assert card.targets[0].unit == "eV"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_any_flipped_byte_is_noticed(copy, name):
    path = copy / name
    original = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in [0, len(original) - 2, *rng.integers(len(original), size=60)]:
        changed = bytearray(original)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(changed))
        with pytest.raises(UserError):
            load_model(copy)


def test_truncated_and_missing(copy):
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:100])
    with pytest.raises(UserError, match="digest mismatch"):
        load_model(copy)
    (copy / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot read"):
        load_model(copy)
    (copy / "config.json").unlink()
    with pytest.raises(UserError, match="no trained model in"):
        load_model(copy)


def rewrite(folder, **changes):
    """Change the card and sign it again, as a careless program might."""
    content = json.loads((folder / "config.json").read_text()) | changes
    content = {key: value for key, value in content.items() if value is not None}
    content["config_sha256"] = _digest(content)
    (folder / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "has schema 2, this version reads 3"),
        ({"targets": [{"name": "gap"}]}, "targets.0.method: Field required"),
        ({"targets": "gap"}, "not a molaugerino model"),
        ({"net": {"width": 32, "depth": 1, "heads": 2, "pair": 8}}, "does not hold the tensors"),
        ({"net": {"widht": 32}}, "not a molaugerino model"),
        ({"model": "transfomer"}, "model: Input should be .point-transformer."),
        ({"elements": None}, "not a molaugerino model"),
        ({"surprise": 1}, "not a molaugerino model"),
    ],
)
def test_a_card_that_does_not_fit(copy, changes, message):
    rewrite(copy, **changes)
    with pytest.raises(UserError, match=message):
        load_model(copy)


class Trap:
    def __reduce__(self):
        return (print, ("code ran",))


def test_pickles_are_never_run(copy, tmp_path, capsys):
    (copy / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UserError):
        load_model(copy)
    torch.save({"state": Trap()}, tmp_path / "bare.ckpt")
    with pytest.raises(UserError, match="not a molaugerino checkpoint"):
        read_checkpoint(tmp_path / "bare.ckpt")
    payload = (tmp_path / "bare.ckpt").read_bytes()
    (tmp_path / "signed.ckpt").write_bytes(MAGIC + sha256(payload).encode() + b"\n" + payload)
    with pytest.raises(UserError, match="more than tensors and numbers"):
        read_checkpoint(tmp_path / "signed.ckpt")
    assert "code ran" not in capsys.readouterr().out
