"""A model as a file that torch reads alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from torch import nn

from molaugerino.augment import Augmented
from molaugerino.config import NetConfig
from molaugerino.datasets import PackedData, open_data
from molaugerino.distributions import rigid_motions
from molaugerino.errors import UserError
from molaugerino.forces import energy_and_forces
from molaugerino.models import BACKBONES, FromGraph
from molaugerino.predict import Predictor
from molaugerino.predict import export as module
from molaugerino.predict.export import TOLERANCE, export
from molaugerino.spaces import Padded
from molaugerino.training.checkpoint import build
from molaugerino.training.setup import readout_of

GOLDEN = Path(__file__).parent.parent / "golden" / "0.2"
TARGETS = ("gap", "atomization_energy", "mu", "dipole")  # a mean, a sum, a norm, a vector


@pytest.fixture(scope="module", autouse=True)
def _untyped():
    """While a program is traced, sizes are symbols, and an annotated int is none."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def molecules():
    full = open_data("xtb9")
    return full.subset(np.sort(np.random.default_rng(0).permutation(len(full))[:300]))


@pytest.fixture(scope="module")
def predictor():
    return Predictor.from_pretrained(GOLDEN / "law")


def untrained(name, augment, molecules):
    """A network of random weights in the units of the labels, single or averaged over a wide law."""
    card = Predictor.from_pretrained(GOLDEN / "law").card
    targets = [target for label in TARGETS for target in molecules.targets(label)]
    net = BACKBONES[name].shape(NetConfig(width=16, depth=2, heads=2, pair=8))
    card = replace(card, model=name, net=net, targets=targets, train_mean=[0.0] * 6, augment=augment)
    torch.manual_seed(0)
    augmented = build(card, rotation=2.0, translation=0.5).eval()
    batch = PackedData(molecules, targets).batch(torch.arange(len(molecules)))
    readout_of(augmented).fit_scale(batch.x, batch.y)
    return Predictor(augmented, card)


def loaded(path):
    return torch.export.load(path).module()


# as train would have them: a law where there is one to learn
AS_TRAINED = [(name, "none" if b.symmetry.endswith("motions") else "learned") for name, b in BACKBONES.items()]


def same(found, predictor, molecules, rows):
    """To float32: relative to the value, or to ten spreads of the label."""
    expected = predictor.answers(molecules, np.asarray(rows)).values
    scale = torch.maximum(expected.abs(), 10 * readout_of(predictor.augmented).scale)
    assert found.shape == expected.shape
    assert ((found - expected).abs() / scale).max() < 1e-6


@pytest.fixture(scope="module")
def written(predictor, molecules, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "law.pt2"
    export(predictor, path, molecules)
    return path


def test_it_gives_what_the_model_gives(written, predictor, molecules):
    program, data, sizes = loaded(written), PackedData(molecules, []), molecules.num_atoms
    for rows in ([0], [int(sizes.argmin())], [int(sizes.argmax())], range(3), range(10, 50)):
        x = data.batch(torch.tensor(list(rows))).x
        same(program(x.z, x.pos), predictor, molecules, rows)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "augment"), [*AS_TRAINED, ("point-transformer", "none")])
def test_every_network_gives_what_it_gave_for_any_sizes(name, augment, molecules, tmp_path):
    predictor = untrained(name, augment, molecules)
    written = export(predictor, tmp_path / "m.pt2", molecules)
    assert written.difference <= TOLERANCE
    assert written.compared == 100
    test_it_gives_what_the_model_gives(tmp_path / "m.pt2", predictor, molecules)
    operations = {node.target for node in torch.export.load(tmp_path / "m.pt2").graph.nodes}
    assert {one.namespace for one in operations if isinstance(one, torch._ops.OpOverload)} == {"aten"}
    x, program = PackedData(molecules, []).batch(torch.arange(40)).x, loaded(tmp_path / "m.pt2")
    if augment == "learned" and BACKBONES[name].symmetry == "none":
        single = predictor.augmented(x, predictor.augmented.identity())
        assert (program(x.z, x.pos) - single).abs().max() > 1e-3, "the average over the law is no single pass"


def test_origin_and_padding_do_not_matter(written, predictor, molecules):
    x = PackedData(molecules, []).batch(torch.arange(4)).x
    program = loaded(written)
    expected = program(x.z, x.pos)
    moved = torch.where(x.mask.unsqueeze(-1), x.pos + torch.tensor([3.0, -2.0, 1.0]), torch.nan)
    more = torch.nn.functional.pad(x.z, (0, 5)), torch.nn.functional.pad(moved, (0, 0, 0, 5), value=1e6)
    assert torch.allclose(program(*more), expected, rtol=1e-5, atol=1e-5)


def test_what_the_model_does_not_know_has_no_number(written, predictor):
    most = 2 * predictor.card.max_atoms
    z = torch.ones(5, most + 1, dtype=torch.long)
    z[0, 3], z[0, 9:] = 16, 0  # sulfur; then one atom too many
    z[2, :] = 0  # no atom
    z[3, most:], z[4, 3:] = 0, 0  # just as many as may be; few
    y = loaded(written)(z, torch.rand(5, most + 1, 3))
    assert y.isnan().all(1).tolist() == [True, True, True, False, False]
    assert y[3:].isfinite().all()


def test_forces_of_the_program(written, predictor, molecules):
    x = PackedData(molecules, []).batch(torch.arange(3)).x
    pos = x.pos.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loaded(written)(x.z, pos)[:, 0].sum(), pos)
    forces = energy_and_forces(predictor.augmented, x).forces
    mean = forces.sum(1, keepdim=True) / x.mask.sum(1)[:, None, None]
    assert torch.allclose(-slope, (forces - mean) * x.mask.unsqueeze(-1), atol=1e-5)


ALONE = """
import json, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("molaugerino", "rdkit", "lightning", "torch_geometric", "ase"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
try:
    import molaugerino
except ImportError:
    pass
else:
    sys.exit("the import was not blocked")
import torch

extra = {"molaugerino.json": ""}
model = torch.export.load(sys.argv[1], extra_files=extra).module()
z = torch.tensor([[6, 8, 1, 1, 1, 1], [8, 1, 1, 0, 0, 0]])
pos = torch.tensor(json.loads(sys.argv[2]))
print(json.dumps({"y": model(z, pos).tolist(), "about": json.loads(extra["molaugerino.json"])}))
"""


@pytest.mark.slow
def test_it_loads_without_the_package(written, predictor, tmp_path):
    from ase.build import molecule

    methanol, water = molecule("CH3OH"), molecule("H2O")
    pos = np.zeros((2, 6, 3))
    pos[0], pos[1, :3] = methanol.positions, water.positions
    assert methanol.numbers.tolist() == [6, 8, 1, 1, 1, 1]
    command = [sys.executable, "-c", ALONE, str(written), json.dumps(pos.tolist())]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    rows = predictor.predict([methanol, water], geometry="given")
    np.testing.assert_allclose(found["y"], [row.values for row in rows], rtol=1e-5, atol=1e-5)
    about = found["about"]
    assert about["columns"] == ["gap[eV]", "dipole_x[debye]", "dipole_y[debye]", "dipole_z[debye]"]
    assert about["methods"] == ["GFN2-xTB"] * 4
    assert about["elements"] == [1, 6, 7, 8, 9]
    assert about["max_atoms"] == 2 * predictor.card.max_atoms
    assert "dipole: in the frame" in about["warnings"][0]


def test_a_program_that_differs_is_not_kept(predictor, molecules, tmp_path, monkeypatch):
    answers = predictor.answers

    def other(*args):
        found = answers(*args)
        return found._replace(values=found.values * (1 + 1e-4))

    monkeypatch.setattr(predictor, "answers", other)
    with pytest.raises(UserError, match=r"differs from the model by .* of the larger of \|value\| and 10 spreads"):
        export(predictor, tmp_path / "m.pt2", molecules)
    assert list(tmp_path.iterdir()) == []


def test_a_program_of_one_size_is_not_kept(predictor, molecules, tmp_path, monkeypatch):
    def rigid(predictor):
        averaged = module.Averaged(predictor.augmented, predictor.card).eval()
        return torch.export.export(averaged, (torch.full((5, 7), 6), torch.rand(5, 7, 3)), strict=False)

    monkeypatch.setattr(module, "traced", rigid)
    with pytest.raises(UserError, match="the exported program does not run"):
        export(predictor, tmp_path / "m.pt2", molecules)
    assert list(tmp_path.iterdir()) == []


class Clever(nn.Module):
    """What the network does depends on what comes out of it."""

    def __init__(self, network):
        super().__init__()
        self.network, self.readout = network, network.readout

    def forward(self, x):
        y = self.network(x)
        return y if float(y.sum()) > 0 else -y


class TestRefusals:
    def refused(self, predictor, molecules, tmp_path, message):
        with pytest.raises(UserError, match=message):
            export(predictor, tmp_path / "m.pt2", molecules)
        assert not (tmp_path / "m.pt2").exists()

    def test_a_law_that_depends_on_the_molecule(self, molecules, tmp_path):
        conditional = Predictor.from_pretrained(GOLDEN / "conditional")
        self.refused(conditional, molecules, tmp_path, "a law that depends on the molecule")

    def test_principal_frames(self, predictor, molecules, tmp_path):
        posed = Predictor(predictor.augmented, replace(predictor.card, frames="principal"))
        self.refused(posed, molecules, tmp_path, "trained in principal frames")

    def test_networks_of_other_libraries(self, predictor, molecules, tmp_path):
        foreign = FromGraph(nn.Identity(), predictor.card.targets)
        augmented = Augmented(foreign, rigid_motions(0.1, 0.1), Padded())
        self.refused(Predictor(augmented, predictor.card), molecules, tmp_path, "FromGraph is no network of this")

    def test_what_torch_cannot_follow(self, predictor, molecules, tmp_path):
        clever = Augmented(Clever(predictor.augmented.model), predictor.augmented.distribution, Padded()).eval()
        self.refused(
            Predictor(clever, predictor.card), molecules, tmp_path, "torch.export cannot follow the network point-tr"
        )

    def test_nothing_to_compare_on(self, predictor, molecules, tmp_path):
        strange = Predictor(predictor.augmented, replace(predictor.card, elements=[14]))
        self.refused(strange, molecules, tmp_path, r"no molecule of xtb9 consists of elements .* --data")

    def test_a_file_that_is_there(self, predictor, molecules, tmp_path):
        (tmp_path / "m.pt2").write_text("mine")
        with pytest.raises(UserError, match="exists already"):
            export(predictor, tmp_path / "m.pt2", molecules)
        assert (tmp_path / "m.pt2").read_text() == "mine"
        with pytest.raises(UserError, match=r"--out writes .pt2"):
            export(predictor, tmp_path / "m.onnx", molecules)
