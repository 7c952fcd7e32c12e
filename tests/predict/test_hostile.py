"""Model folders from outside: whatever lies in them, nothing is executed and the message says what is wrong."""

from __future__ import annotations

import json
import pickle
import shutil

import pytest
import safetensors.torch
import torch

from molaugerino.errors import UserError
from molaugerino.files import sha256
from molaugerino.predict import Predictor
from molaugerino.training.checkpoint import CONFIG, WEIGHTS, _digest


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "copy")


def rewrite(folder, **changes):
    """The card with other content, vouched for as if it were right."""
    content = json.loads((folder / CONFIG).read_text()) | changes
    content["config_sha256"] = _digest(content)
    (folder / CONFIG).write_text(json.dumps(content))


def weights(folder, change):
    """Other tensors, vouched for as if they were right."""
    tensors = change(safetensors.torch.load((folder / WEIGHTS).read_bytes()))
    data = tensors if isinstance(tensors, bytes) else safetensors.torch.save(tensors)
    (folder / WEIGHTS).write_bytes(data)
    rewrite(folder, weights_sha256=sha256(data))


class Exploit:
    def __reduce__(self):
        return print, ("executed",)


NET = {"width": 16, "depth": 1, "heads": 2, "pair": 8, "pairwise": True, "cutoff": 5.0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"net": NET | {"width": 10**9}}, "net.width must lie in 0..2048"),
        ({"net": NET | {"width": "16"}}, "net.width"),
        ({"net": NET | {"heads": 3}}, "does not hold the tensors|heads"),
        ({"net": NET | {"cutoff": 1e400}}, "net.cutoff"),
        ({"net": NET | {"evil": 1}}, "net.evil"),
        ({"eval_copies": 10**12}, "eval_copies must lie in 1..10000"),
        ({"eval_copies": True}, "eval_copies"),
        ({"eval_copies": 4.5}, "eval_copies"),
        ({"max_atoms": -1}, "max_atoms must lie in 1..10000"),
        ({"elements": [1, 6, 500]}, "elements"),
        ({"elements": []}, "elements must lie in 1..118, got 0"),
        ({"targets": []}, "targets must lie in"),
        ({"targets": [{"name": "gap"}]}, "targets.0.method"),
        ({"train_mean": []}, "train_mean must lie in 1..1"),
        ({"family": "banana"}, "family"),
        ({"augment": "__import__('os')"}, "augment"),
        ({"model": "../../evil"}, "model"),
        ({"geometry": "/etc/passwd"}, "geometry"),
        ({"start": [1.0, 2.0]}, "start"),
        ({"start": [float("nan"), 0.0, 0.0]}, "start"),
        ({"references": []}, "references"),
        ({"surprise": 1}, "surprise"),
        ({"weights_sha256": None}, "weights_sha256 is missing"),
        ({"weights_sha256": 7}, "weights_sha256 is missing"),
        ({"schema": 99}, "has schema 99"),
    ],
)
def test_cards(copy, changes, message):
    rewrite(copy, **changes)
    with pytest.raises(UserError, match=message):
        Predictor.from_pretrained(copy)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{", b'"x"', b"[" * 100_000, b"\xff\xfe", b'{"schema": 3}'])
def test_cards_that_are_none(copy, content):
    (copy / CONFIG).write_bytes(content)
    with pytest.raises(UserError, match=r"config\.json"):
        Predictor.from_pretrained(copy)


def test_tensors(copy):
    changes = {
        "a missing tensor": lambda t: dict(list(t.items())[1:]),
        "one too many": lambda t: t | {"evil": torch.zeros(3)},
        "another shape": lambda t: {k: torch.zeros(2, 3) for k in t},
        "no tensors": lambda t: {},
        "a pickle": lambda t: pickle.dumps(Exploit()),
        "a torch file": lambda t: torch_file(copy, t),
        "half a file": lambda t: safetensors.torch.save(t)[:100],
        "a huge header": lambda t: (2**60).to_bytes(8, "little") + b"{}",
    }
    before = (copy / WEIGHTS).read_bytes()
    for change in changes.values():
        (copy / WEIGHTS).write_bytes(before)
        weights(copy, change)
        with pytest.raises(UserError, match="does not hold the tensors"):
            Predictor.from_pretrained(copy)


def torch_file(folder, tensors):
    torch.save(tensors | {"evil": Exploit()}, folder / "x.pt")
    return (folder / "x.pt").read_bytes()


def test_nothing_is_executed(copy, capsys):
    weights(copy, lambda t: pickle.dumps(Exploit()))
    (copy / "calibration.safetensors").write_bytes(pickle.dumps(Exploit()))
    with pytest.raises(UserError):
        Predictor.from_pretrained(copy)
    assert "executed" not in capsys.readouterr().out


NAMES = ["../qm9-mmff", "qm9-mmff/../../x", "/etc/passwd", "", "\0", "qm9-mmff\n", "~root", "a" * 5000]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_paths(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no model|no trained model"):
        Predictor.from_pretrained(name)


def test_finite_weights_only(copy):
    weights(copy, lambda t: {k: v * float("nan") if "readout.mlp" in k else v for k, v in t.items()})
    with pytest.raises(UserError, match="belongs to another model"):
        Predictor.from_pretrained(copy)
    (copy / "calibration.safetensors").unlink()
    [row] = Predictor.from_pretrained(copy).predict(["CCO"])
    assert row.status == "bad_geometry"
    assert "no finite number" in row.reason
