"""Verdicts on laws and networks whose symmetry is known, and on runs that have learned nothing."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from molaugerino.augment import Augmented
from molaugerino.cli.main import main
from molaugerino.config import LawConfig, NetConfig, TrainConfig
from molaugerino.datasets import PackedData, World, in_frames, load_npz
from molaugerino.datasets.worlds import DECAY
from molaugerino.discover import _Trial, discover, judged
from molaugerino.distributions import AlgebraGaussian, Product, TranslationGaussian, reflection
from molaugerino.errors import UserError
from molaugerino.groups import E3, SE3
from molaugerino.models.readout import Readout
from molaugerino.spaces import Padded
from molaugerino.training.checkpoint import build, load_model
from molaugerino.training.run import train

CAP = 1 / math.sqrt(5)


class KnowsTheSlab(nn.Module):
    """sum_i exp(-z_i / lambda), or nothing at all."""

    def __init__(self, targets, knows):
        super().__init__()
        self.readout, self.knows = Readout(4, targets), knows

    def forward(self, x):
        label = (torch.exp(-x.pos[:, :, 2:] / DECAY) * x.mask.unsqueeze(-1)).sum(1)
        return label if self.knows else 0 * label + 8.0


@pytest.fixture(scope="module")
def card(small_npz, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "seed"
    law = LawConfig(family="gaussian", mirror=0.1, refresh=5)
    net = NetConfig(width=16, depth=1, heads=2, pair=8)
    settings = {"world": "slab", "frames": "random", "steps": 4, "law": law, "net": net}
    train(TrainConfig(data=(str(small_npz),), out=folder, **settings))
    return load_model(folder)[1]


def slab_trial(small_npz, card, law, knows=True):
    molecules = in_frames(load_npz(small_npz).with_geometry("mmff"), "random", 0)[0]
    data = PackedData(World("slab").place(molecules), card.targets)
    augmented = Augmented(KnowsTheSlab(card.targets, knows), law, Padded()).eval()
    return _Trial(augmented, card, data, np.arange(200)).run("known")


def slab_law(turn=(1e-3, 1e-3, 1.7), shift=(CAP, CAP, 1e-3), mirror=1e-6):
    motions = Product(SE3, TranslationGaussian(shift, CAP), AlgebraGaussian(turn))
    return Product(E3, motions, reflection(mirror))


def verdicts(found):
    """(kind, whether the axis is z) -> verdicts."""
    table = {}
    for f in found.findings:
        table.setdefault((f.kind, f.axis is not None and abs(f.axis[2]) > 0.99), set()).add(f.verdict)
    return table


def test_the_slab_known_exactly(small_npz, card):
    found = slab_trial(small_npz, card, slab_law())
    assert verdicts(found) == {
        ("rotation", True): {"kept"},
        ("rotation", False): {"broken"},
        ("translation", False): {"kept"},
        ("translation", True): {"broken"},
        ("reflection", False): {"broken"},
    }
    assert len(found.findings) == 7
    assert found.identity_loss < 1e-5
    kept = next(f for f in found.findings if f.verdict == "kept" and f.kind == "rotation")
    assert kept.nats == pytest.approx(0.057, abs=0.01)
    assert kept.gained > 2
    assert abs(kept.rise) < 1e-5


def test_a_wide_law_is_no_proof_where_forcing_costs(small_npz, card):
    wide = slab_trial(small_npz, card, slab_law((1.7, 1.7, 1.7), (CAP, CAP, CAP), 0.5))
    assert [f.name for f in wide.findings] == ["all rotations", "all translations", "reflection"]
    assert {f.verdict for f in wide.findings} == {"undecided"}
    assert all("yet forcing it costs" in f.reason for f in wide.findings)


def test_a_narrow_law_is_no_proof_where_forcing_is_free(small_npz, card):
    narrow = slab_trial(small_npz, card, slab_law((1e-3, 1e-3, 2e-2), (1e-2, 5e-3, 1e-4)))
    table = verdicts(narrow)
    assert table["rotation", True] == {"undecided"}
    assert table["translation", False] == {"undecided"}
    assert table["rotation", False] == {"broken"}


def test_a_network_that_knows_nothing_decides_nothing(small_npz, card):
    blind = slab_trial(small_npz, card, slab_law(), knows=False)
    assert {f.verdict for f in blind.findings} == {"undecided"}


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        # nats, rise, error, response, level, constant, allowed
        ((0.05, 0.00, 0.001, 0.0, 0.1, 0.8, 0.005), "kept"),
        ((0.05, 0.20, 0.001, 0.5, 0.1, 0.8, 0.005), "undecided"),
        ((0.05, 0.00, 0.001, 0.0, 0.5, 0.8, 0.005), "undecided"),
        ((2.50, 0.60, 0.010, 0.7, 0.1, 0.8, 0.005), "broken"),
        ((2.50, 0.60, 0.400, 0.7, 0.1, 0.8, 0.005), "undecided"),
        ((2.50, 0.60, 0.010, 0.7, 0.4, 0.8, 0.005), "undecided"),
    ],
)
def test_the_rules(evidence, verdict):
    assert judged(*evidence)[0] == verdict


@pytest.fixture(scope="module")
def run(tiny_config, tmp_path_factory):
    law = LawConfig(family="gaussian", mirror=0.1, refresh=5, eval_copies=4)
    return train(tiny_config(tmp_path_factory.mktemp("runs") / "run", law=law)).folder


class TestRuns:
    def test_text_json_and_picture(self, run, tmp_path, capsys):
        assert main(["discover", str(run), "--molecules", "30", "--out", str(tmp_path / "new")]) == 0
        said = capsys.readouterr().out
        assert "all rotations: undecided" in said
        table = json.loads((tmp_path / "new" / "discovery.json").read_text())
        assert table["molecules"] == 30
        assert {f["name"] for f in table["findings"]} == {"all rotations", "all translations", "reflection"}
        assert (tmp_path / "new" / "discovery.png").read_bytes().startswith(b"\x89PNG")
        assert main(["discover", str(run), "--molecules", "30", "--format", "json"]) == 0
        assert json.loads(capsys.readouterr().out) == json.loads((run / "discovery.json").read_text())

    def test_twice_the_same(self, run):
        assert discover(run, molecules=20) == discover(run, molecules=20)

    @pytest.mark.parametrize("augment", ["none", "fixed", "paper"])
    def test_only_learned_laws_of_motions(self, tiny_config, tmp_path, augment):
        held = train(tiny_config(tmp_path / "run", augment=augment, steps=3))
        with pytest.raises(UserError, match=f"trained with --augment {augment}, and discover reads"):
            discover(held.folder)

    def test_laws_that_depend_on_the_molecule(self, tiny_config, tmp_path):
        law = LawConfig(conditional=True, refresh=5, eval_copies=2)
        held = train(tiny_config(tmp_path / "run", law=law, steps=8))
        assert np.isfinite(held.results[-1].mae)
        with pytest.raises(UserError, match="depends on the molecule"):
            discover(held.folder)

    def test_too_few_molecules(self, run):
        with pytest.raises(UserError, match="`molecules` must be at least 2, got 1"):
            discover(run, molecules=1)


@pytest.mark.slow
def test_every_law_can_be_judged(small_npz, card):
    """Extents are shares of the widest, whatever the family."""
    for family in ("ball", "igso", "box", "swing-twist"):
        plain = replace(card, family=family)
        law = build(plain, 0.5, 0.3, 0.2).distribution
        found = slab_trial(small_npz, plain, law)
        assert all(f.nats >= 0 and math.isfinite(f.gained) for f in found.findings)
