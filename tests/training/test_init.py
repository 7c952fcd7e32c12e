"""Starting from the weights of a trained model."""

from __future__ import annotations

import pytest
import torch

from molaugerino.config import NetConfig
from molaugerino.errors import UserError
from molaugerino.training.checkpoint import load_model
from molaugerino.training.run import train
from molaugerino.training.setup import make_card, make_module, open_run_data


def started(config):
    data = open_run_data(config)
    torch.manual_seed(1)
    return make_module(config, make_card(config, data), data).augmented


def test_the_same_targets_take_every_tensor(trained, tiny_config, tmp_path):
    before = load_model(trained)[0].model.state_dict()
    after = started(tiny_config(tmp_path, init=str(trained))).model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_other_targets_keep_their_own_readout(trained, tiny_config, tmp_path):
    before = load_model(trained)[0].model.state_dict()
    config = tiny_config(tmp_path, init=str(trained), target=("homo", "mu"))
    after = started(config).model.state_dict()
    fresh = started(tiny_config(tmp_path, target=("homo", "mu"))).model.state_dict()
    for key, value in after.items():
        expected = fresh if "readout." in key else before
        assert torch.equal(value, expected[key]), key


def test_it_begins_where_the_other_ended_and_says_so_in_its_settings(trained, tiny_config, tmp_path):
    run = train(tiny_config(tmp_path / "more", init=str(trained), steps=5))
    assert f'init = "{trained}"' in (run.folder / "config.toml").read_text()
    [one] = [r for r in run.results if (r.frames, r.copies) == ("stored", 1)]
    fresh = train(tiny_config(tmp_path / "fresh", steps=5))
    [other] = [r for r in fresh.results if (r.frames, r.copies) == ("stored", 1)]
    assert one.mae < other.mae


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"net": NetConfig(width=8, depth=1, heads=2, pair=8)}, "give the same --model and --net"),
        ({"model": "schnet", "augment": "none"}, "is a point-transformer .* this run trains a schnet"),
        ({"init": "nowhere"}, "no model 'nowhere'"),
    ],
)
def test_mistakes_leave_no_folder(trained, tiny_config, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        train(tiny_config(tmp_path / "run", **({"init": str(trained)} | changes)))
    assert not (tmp_path / "run").exists()
