"""What is trained where the user leaves the choice."""

from __future__ import annotations

import pytest

from molaugerino.config import LawConfig, OptimConfig, TrainConfig
from molaugerino.errors import UserError
from molaugerino.training.defaults import resolved
from molaugerino.training.setup import open_run_data

SMALL = ("point-transformer", "learned", "adamw")
FAST = ("vector-transformer", "none", "muon")
FREE = ("vector-transformer-absolute", "learned", "muon")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, SMALL),
        ({"data": ("own.npz",)}, FAST),
        ({"data": ("own.npz",), "target": ("dipole",)}, FAST),
        ({"data": ("own.npz",), "target": ("gap", "dipole_x@GFN2-xTB")}, FREE),
        ({"data": ("own.npz",), "world": "field", "frames": "random"}, SMALL),
        ({"data": ("own.npz",), "law": LawConfig(family="gaussian")}, FREE),
        ({"data": ("own.npz",), "objective": "kl"}, FREE),
        ({"data": ("own.npz",), "augment": "learned"}, FREE),
        ({"data": ("own.npz",), "augment": "none"}, FAST),
        ({"data": ("own.npz",), "augment": "none", "objective": "kl"}, FAST),
        ({"data": ("own.npz",), "consistency": 0.5}, FREE),
        ({"data": ("own.npz",), "law": LawConfig(eval_copies=4)}, FAST),
        ({"model": "canonical", "law": LawConfig(mirror=0.3)}, ("canonical", "learned", "adamw")),
        ({"data": ("own.npz",), "model": "graph"}, ("graph", "learned", "adamw")),
        ({"data": ("own.npz",), "model": "graph", "augment": "fixed"}, ("graph", "fixed", "adamw")),
        ({"model": "painn"}, ("painn", "none", "adamw")),
        ({"optim": OptimConfig(method="muon")}, ("point-transformer", "learned", "muon")),
    ],
    ids=str,
)
def test_auto(settings, expected):
    config = resolved(TrainConfig(**settings))
    assert (config.model, config.augment, config.optim.method) == expected
    assert resolved(config) == config


@pytest.mark.parametrize("augment", ["learned", "paper"])
def test_nothing_to_learn(augment):
    with pytest.raises(UserError, match=f"nothing for --augment {augment} to learn; leave it, --objective and"):
        resolved(TrainConfig(model="painn", augment=augment))
    with pytest.raises(UserError, match="there is nothing for --augment learned to learn"):
        resolved(TrainConfig(model="painn", objective="kl"))


def test_reflections_are_left_to_learn_for_networks_of_proper_motions():
    law = LawConfig(mirror=0.3)
    assert resolved(TrainConfig(model="canonical", augment="learned", law=law)).augment == "learned"
    with pytest.raises(UserError, match="painn respects"):
        resolved(TrainConfig(model="painn", augment="learned", law=law))


def test_molecules_kept_for_the_law_train_weights_where_there_is_none(tiny_config, tmp_path):
    learned, none = (open_run_data(tiny_config(tmp_path, augment=kind)) for kind in ("learned", "none"))
    assert learned.split.checksum == none.split.checksum
    assert len(learned.split.budget)
    assert set(none.train) == {*learned.train, *learned.split.budget}
    assert set(learned.epoch) == set(learned.train) == set(learned.split.train)
