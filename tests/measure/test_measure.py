"""The verb `measure`: what it reports, for runs whose answer is known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from molaugerino.cli.main import main
from molaugerino.cli.measure import print_measurement
from molaugerino.config import ImageConfig, ImageLawConfig, LawConfig
from molaugerino.datasets import PackedData, in_frames
from molaugerino.distributions import HaarBall
from molaugerino.groups import SO2, SO3, Affine
from molaugerino.measure import measure
from molaugerino.measure.images import nodes_of
from molaugerino.measure.molecules import randomised, subject_of, tetrahedron
from molaugerino.measure.picture import draw
from molaugerino.quadrature import cube, wigner_d
from molaugerino.training.checkpoint import load_model
from molaugerino.training.evaluation import TEST_FRAMES_SEED
from molaugerino.training.images import train_images
from molaugerino.training.run import train

EXAMPLES = 6


@pytest.fixture(scope="module")
def found(trained):
    return measure(trained, examples=EXAMPLES)


@pytest.fixture(scope="module")
def exact(tiny_config, tmp_path_factory):
    """A network that sees distances alone, of a scalar and a vector."""
    run = train(tiny_config(tmp_path_factory.mktemp("runs") / "exact", model="painn", augment="none", steps=3))
    assert run is not None
    return measure(run.folder, examples=EXAMPLES)


IMAGES = {
    "two-icons": {},
    "segment": {},
    "angle": {},
    "hue": {},
    "upright": {"augment": "paper"},
    "translated": {"law": ImageLawConfig(eval_copies=1)},
    "scaled": {"law": ImageLawConfig(kind="affine", eval_copies=4)},
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[] if name in ("segment", "angle") else pytest.mark.slow) for name in IMAGES],
)
def images(request, tmp_path_factory):
    settings = {"images": 100, "width": 0.1, "steps": 3, "law": ImageLawConfig(eval_copies=4)}
    settings |= IMAGES[request.param] | {"out": tmp_path_factory.mktemp("runs") / request.param}
    run = train_images(ImageConfig(request.param, **settings))
    assert run is not None
    return measure(run.folder, examples=EXAMPLES)


def test_an_exact_network_owes_nothing(exact):
    assert all(abs(layer.invariance - 1) < 1e-4 for layer in exact.layers)
    assert all(rate.rms < 1e-4 for rate in exact.lie_derivative)
    assert all(abs(share.found.orientation) < 1e-5 * share.found.loss for share in exact.loss_share)
    assert max(case.largest for case in exact.worst_angle) < 1e-4
    assert exact.power == {"gap": []}
    assert "of which nothing is due to orientation" in exact.verdict[0]


def test_a_network_that_sees_frames_owes_something(found):
    names = [layer.name for layer in found.layers]
    assert names == ["embedding", "coordinates.0", "coordinates.1", "coordinates.2", "pairs", "blocks.0", "readout"]
    by_name = {layer.name: layer for layer in found.layers}
    assert by_name["embedding"].invariance == pytest.approx(1)
    assert by_name["coordinates.0"].invariance < 0.9
    assert set(by_name["coordinates.0"].lie) == {"rx", "ry", "rz", "tx", "ty", "tz"}
    assert {share.passes for share in found.loss_share} == {1, 4}
    for share in found.loss_share:
        assert share.found.orientation > (0 if share.kind == "squared error" else -1e-12)
    assert found.angle_curve[0].deviation[0] == pytest.approx(0, abs=1e-6)
    assert found.angle_curve[0].deviation[-1] > 0
    for case in found.worst_angle:
        assert case.largest >= case.mean > 0
        assert case.where
    assert sum(found.power["gap"]) == pytest.approx(1, abs=0.1)
    assert "due to orientation" in found.verdict[0]


@torch.no_grad()
def brute_force(trained, times):
    """Absolute and squared error, and what orientation adds to them, of single passes in random frames."""
    augmented, card = load_model(trained)
    subject, loaded = subject_of(augmented, card, trained, (), EXAMPLES)
    turned, _ = in_frames(loaded, card.frames, TEST_FRAMES_SEED)
    data = PackedData(turned, card.targets)
    rows = torch.from_numpy(np.flatnonzero(np.isin(loaded.id.astype(str), subject.names)))
    batch = data.batch(rows)
    law = HaarBall(SO3, math.pi)
    g = law.sample((times, len(rows)), torch.Generator().manual_seed(5))
    each = augmented.each(batch.x, g)[..., 0].double()
    y = batch.y[:, 0].double()
    error = (each - y).abs().mean(0), (each - y).square().mean(0)
    mean = each.mean(0)
    return {
        "absolute error": (error[0], (mean - y).abs()),
        "squared error": (error[1], (mean - y).square()),
    }


def test_the_loss_share_is_that_of_many_random_rotations(found, trained):
    expected = brute_force(trained, 1000)
    for share in found.loss_share:
        if share.passes == 1:
            single, averaged = expected[share.kind]
            gap = float((single - averaged).mean())
            assert share.found.orientation == pytest.approx(gap, rel=0.1, abs=1e-9)
            assert share.found.loss == pytest.approx(float(single.mean()), rel=0.02)


def test_json_says_what_its_numbers_are(found):
    content = json.loads(found.to_json())
    assert {"layers", "lie_derivative", "loss_share", "worst_angle", "angle_curve", "verdict"} <= set(content)
    layer = content["layers"][0]
    assert {"name", "invariance", "equivariance", "null"} <= set(layer)
    assert {"kind", "loss", "loss_of_mean", "orientation", "share", "unit", "passes"} <= set(content["loss_share"][0])
    assert content["frames"]["molecules"] > 0


def test_images(images):
    task = Path(images.run).name
    assert images.layers
    assert all(-1 <= layer.invariance <= 1 + 1e-6 for layer in images.layers if not math.isnan(layer.invariance))
    assert all(rate.per in ("rad", "half side", "") for rate in images.lie_derivative)
    assert images.angle_curve[0].deviation[0] == pytest.approx(0, abs=1e-5)
    several = task != "translated"
    assert len(images.angle_curve) == len(images.worst_angle) == 1 + several
    assert len(images.loss_share) == (0 if task == "angle" else 1 + several)
    for share in images.loss_share:
        assert share.found.orientation > -1e-6
    for curve, case in zip(images.angle_curve, images.worst_angle, strict=True):
        assert curve.passes == case.passes
        assert case.largest >= case.mean >= 0
    assert len(draw(images, ".png")) > 1000
    json.loads(images.to_json())
    print_measurement(images)


def test_labels_that_change_are_not_held_against_a_network(images):
    """An angle turns with the image: no error is due to that. Two icons are told apart up to 45 degrees."""
    task = Path(images.run).name
    if task == "angle":
        assert "none of its error is due" in images.verdict[0]
    assert ("that keeps the labels" in images.transformations) == (task in ("two-icons", "segment", "angle", "hue"))


def test_nodes_of_a_circle_are_in_parts_and_on_no_lattice():
    """The same sixteen angles as those of an average would show that its answers do not depend on any."""
    g, weights = nodes_of(HaarBall(SO2, math.pi), 16)(50, torch.Generator().manual_seed(0))
    angles = SO2.log(g)[..., 0]
    assert torch.equal(angles.argsort(0), torch.arange(16).unsqueeze(1).expand(16, 50))
    harmonic = torch.polar(torch.ones(16, 50), 16 * angles).mean(0).abs()
    assert float(harmonic.mean()) < 0.5
    assert float(weights.sum()) == pytest.approx(1)


@pytest.mark.parametrize(("degree", "rule"), [(3, tetrahedron()), (4, cube())])
def test_nodes_show_a_spread_that_their_rule_does_not_resolve(degree, rule):
    """Of D^l the part that the group leaves alone is one in 2 l + 1 directions, met in turns that are random."""
    g, weights = randomised(rule)(400, torch.Generator().manual_seed(0))
    values = wigner_d(degree, Affine(g.linear.double(), g.shift.double()))[..., 0, 0]
    mean = torch.tensordot(weights.double(), values, 1)
    spread = torch.tensordot(weights.double(), (values - mean).square(), 1).mean()
    whole = 1 / (2 * degree + 1)  # mean square of a matrix element
    assert float(spread) == pytest.approx(whole * (1 - whole), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"law": LawConfig(conditional=True, refresh=5)}, {"world": "field", "frames": "random"}, {"augment": "paper"}],
)
def test_runs_of_other_kinds(changes, tiny_config, tmp_path):
    run = train(tiny_config(tmp_path / "run", steps=3, **changes))
    assert run is not None
    found = measure(run.folder, examples=4, layers=["readout"])
    assert {curve.passes for curve in found.angle_curve} <= {1, 4}
    if "world" in changes:
        assert not found.loss_share
        assert "turn with the molecule" in found.verdict[0]
    if "law" in changes:
        assert "depends on the molecule" in found.verdict[-1]
    print_measurement(found)
    assert len(draw(found, ".png")) > 1000


def test_the_twelve_rotations_leave_nothing_of_the_first_two_degrees():
    rule = tetrahedron().to(torch.zeros(0, dtype=torch.float64))
    for degree, left in ((1, 0.0), (2, 0.0), (3, 1.0)):
        average = wigner_d(degree, rule.elements).mean(0)
        assert float(average.square().sum()) == pytest.approx(left, abs=1e-12)
    g, weights = randomised(rule)(3, torch.Generator().manual_seed(0))
    assert g.batch_shape == (12, 3)
    assert float(weights.sum()) == pytest.approx(1)


def test_command_line(trained, tmp_path, capsys):
    picture = tmp_path / "new" / "page.svg"
    options = ["--examples", "4", "--layers", "blocks.*", "--plot", str(picture)]
    assert main(["measure", str(trained), *options, "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert "blocks.0" in [layer["name"] for layer in content["layers"]]
    assert picture.read_bytes().startswith(b"<?xml")
    assert main(["measure", str(trained), "--examples", "4"]) == 0
    assert "due to orientation" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--examples", "1"], "at least 2"),
        (["--layers", "nose"], "no layer is called nose"),
        (["--plot", "page.pdf"], ".png or .svg"),
        (["--plot", "."], ".png or .svg"),
        (["--data", "nowhere.npz"], "nowhere.npz"),
    ],
)
def test_mistakes(options, message, trained, capsys):
    assert main(["measure", str(trained), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_share_of_a_model_without_a_law_is_that_of_one_pass(exact):
    assert {share.passes for share in exact.loss_share} == {1}
