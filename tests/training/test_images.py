"""Runs on images: from settings to a folder and back, resumed, evaluated, judged; files that no run writes."""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import pytest
import torch
from rich.console import Console

from molaugerino.cli.main import main
from molaugerino.config import ImageConfig, ImageLawConfig, OptimConfig, TaskName, read_training
from molaugerino.discover_images import discover_images
from molaugerino.errors import UserError
from molaugerino.groups import SO2
from molaugerino.tasks import TASKS
from molaugerino.training.image_models import build_images, load_image_model
from molaugerino.training.image_scores import evaluate_images, evaluation_copies, open_run
from molaugerino.training.images import make_image_card, make_image_module, open_image_data, train_images
from molaugerino.training.ready import find_model

QUIET = Console(quiet=True)


def config(out: Path | None, task: TaskName = "two-icons", **changes: object) -> ImageConfig:
    law = ImageLawConfig(refresh=5, eval_copies=4)
    settings: dict[str, object] = {"images": 200, "width": 0.1, "steps": 12, "law": law, "out": out}
    return ImageConfig(task=task, **(settings | changes))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = train_images(config(tmp_path_factory.mktemp("images") / "icons"), QUIET)
    assert run is not None
    return run


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """Long enough for the network to learn, and for the law to move."""
    run = train_images(config(tmp_path_factory.mktemp("images") / "learned", images=600, steps=80, width=0.25), QUIET)
    assert run is not None
    return run


class TestRun:
    @pytest.mark.parametrize("task", TaskName.__args__)
    def test_every_task(self, task, tmp_path):
        run = train_images(config(tmp_path / task, task, steps=4), QUIET)
        assert run is not None
        augmented, card = load_image_model(run.folder)
        again = evaluate_images(augmented, card, open_image_data(read_training(run.folder / "config.toml")).task)
        assert [r.copies for r in run.results] == [1, 4]
        for ours, theirs in zip(run.results, again, strict=True):
            assert ours.scores == pytest.approx(theirs.scores, rel=1e-4, abs=1e-5)
        assert set(run.law["parts"]) == set(card.law["parts"])

    @pytest.mark.parametrize("augment", ["none", "fixed", "learned", "paper"])
    def test_every_augmentation(self, augment, tmp_path):
        run = train_images(config(tmp_path / augment, augment=augment, steps=4), QUIET)
        assert run is not None
        _, card = load_image_model(run.folder)
        assert card.augment == augment
        width = card.law["parts"].get("rotation angle rz", {}).get("width")
        expected = {"none": 0.0, "fixed": 180.0}.get(augment)
        assert expected is None or width == pytest.approx(expected)

    def test_the_law_moves_once_the_network_has_learned(self, learned):
        [part] = learned.law["parts"].values()
        assert abs(part["width"] - 5.4) > 0.5  # degrees at the start
        assert learned.results[0].scores["accuracy"] > 0.9

    def test_an_interrupted_run_ends_as_an_unbroken_one(self, trained, tmp_path):
        broken = config(tmp_path / "broken")
        assert train_images(broken, QUIET, pause=1e-9) is None
        resumed = replace(read_training(tmp_path / "broken" / "config.toml"), resume=tmp_path / "broken")
        run = train_images(resumed, QUIET)
        assert run is not None
        ours, theirs = (load_image_model(folder)[0].state_dict() for folder in (run.folder, trained.folder))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)

    def test_what_dropout_hides_is_measured_without_it(self):
        """A law of next to nothing costs next to nothing, whatever the network drops while training."""
        settings = config(None, law=ImageLawConfig(start=1e-7))
        data = open_image_data(settings)
        module = make_image_module(settings, make_image_card(settings, data), data).train()
        objective = module.objective
        module.measure(objective)
        assert abs(objective.rise) < 1e-4
        assert all(part.training for part in module.augmented.model.modules())

    def test_a_law_of_maps_is_measured_by_what_edges_do_not_blur(self):
        settings = config(None, "segment", images=60)
        data = open_image_data(settings)
        module = make_image_module(settings, make_image_card(settings, data), data)
        p = torch.rand(3, 7, 48, 48, generator=torch.Generator().manual_seed(0)).softmax(1)
        y = data.packed.y[:3]
        assert (module.cost(p, y) - module.loss(p, y)).abs().min() > 0.01
        others = config(None, "two-icons", images=60)
        data = open_image_data(others)
        module = make_image_module(others, make_image_card(others, data), data)
        assert module.cost is module.loss

    def test_copies_are_evenly_spaced_and_the_identity_is_one_of_them(self, trained):
        augmented, card = load_image_model(trained.folder)
        widest = build_images(card, 1.0)
        for wanted in (1, 4, 16):
            angles = SO2.log(evaluation_copies(widest, wanted))[:, 0]
            circle = torch.arange(wanted) * 2 * math.pi / wanted
            turns = torch.stack([angles.cos(), angles.sin()], 1)
            assert torch.cdist(torch.stack([circle.cos(), circle.sin()], 1), turns).amin(1).max() < 1e-5
        own = evaluation_copies(augmented, 4)
        assert (own.linear - torch.eye(2)).flatten(1).norm(dim=1).min() < 1e-6
        assert len({float(a) for a in own.linear[:, 0, 1]}) == 4

    def test_scenes_are_scored_on_all_their_pixels(self, tmp_path):
        """The identity among the copies sees every pixel: nothing is left out, however far the others turn."""
        run = train_images(config(tmp_path / "run", "segment", augment="fixed", steps=2, images=60), QUIET)
        assert run is not None
        augmented, _ = load_image_model(run.folder)
        x = open_image_data(config(None, "segment", images=60)).packed.x[:2]
        with torch.no_grad():
            found = augmented.reduce(augmented.each(x, evaluation_copies(augmented, 4)))
            without = augmented.reduce(augmented.each(x, augmented.evaluation_elements(1)))
        assert torch.isfinite(found).all()
        assert without.isnan().any()
        assert (found.exp().sum(1) - 1).abs().max() < 1e-5


class TestVerbs:
    def test_train_evaluate_discover(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        options = ["--images", "120", "--width", "0.1", "--steps", "4", "--law.eval-copies", "4", "--out", "run"]
        assert main(["train", "--task", "rotmnist", *options]) == 0
        shown = capsys.readouterr().out
        assert "rotation angle" in shown
        assert "accuracy" in shown
        assert main(["evaluate", "run", "--copies", "2", "--format", "json"]) == 0
        content = json.loads(capsys.readouterr().out)
        assert [r["copies"] for r in content["results"]] == [1, 2]
        assert main(["evaluate", "run", "--method", "PBE"]) == 2
        assert "--method is for labels of molecules" in capsys.readouterr().err
        assert main(["discover", "run", "--molecules", "20"]) == 0
        for name in ("discovery.png", "law.png"):
            assert matplotlib.image.imread(tmp_path / "run" / name).std() > 0.05
        assert json.loads((tmp_path / "run" / "discovery.json").read_text())["findings"][0]["kind"] == "rotation"

    def test_resume_finds_out_what_it_resumes(self, tmp_path, capsys):
        assert train_images(config(tmp_path / "run"), QUIET, pause=1e-9) is None
        assert main(["train", "--resume", str(tmp_path / "run")]) == 0
        assert "test scores" in capsys.readouterr().out
        assert main(["train", "--resume", str(tmp_path / "run")]) == 2
        assert "is finished" in capsys.readouterr().err

    def test_latest_is_the_newest_run_of_its_kind(self, trained, tmp_path, monkeypatch):
        golden = Path(__file__).parents[1] / "golden" / "0.2" / "law"
        for name, source in (("molecules", golden), ("pictures", trained.folder)):
            shutil.copytree(source, tmp_path / "runs" / name)
            os.utime(tmp_path / "runs" / name / "config.json", (0, 1e9 + len(name) % 2))
        monkeypatch.chdir(tmp_path)
        assert find_model("latest", Path("runs")).name == "molecules"
        os.utime(tmp_path / "runs" / "pictures" / "config.json")
        assert find_model("latest", Path("runs")).name == "pictures"
        assert find_model("latest", Path("runs"), of_molecules=True).name == "molecules"

    def test_a_model_of_images_does_not_know_molecules(self, trained, tmp_path, capsys):
        name, out = str(trained.folder), ["--out", str(tmp_path / "m.pt2")]
        for call in (["predict", "CCO", "--checkpoint", name], ["export", name, *out]):
            assert main(call) == 2
            assert "is a model of images" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--task", "two-icons", "--data", "digits"], "draws its own pictures"),
            (["--task", "two-icons", "--model", "unet"], "one answer per image, which unet does not give"),
            (["--task", "segment", "--model", "p4"], "a class per pixel, which p4 does not give"),
            (["--task", "two-icons", "--law.kind", "hue"], "cannot learn a law of kind hue"),
            (["--task", "two-icons", "--images", "30"], "at least 40 images"),
            (["--task", "rotmnist", "--data", "nowhere"], "nowhere"),
        ],
    )
    def test_mistakes(self, options, message, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        assert main(["train", *options]) == 2
        assert message in capsys.readouterr().err
        assert not list(tmp_path.iterdir()), "a mistake leaves no folder"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 3, "epochs": 2}, "one of --minutes, --epochs and --steps"),
        ({"width": 0.0}, "--width must be positive, got 0"),
        ({"images": -1}, "--images must be positive, got -1"),
        ({"law": ImageLawConfig(start=2.0)}, "at most 1, got 2"),
        ({"law": ImageLawConfig(strength=1.0)}, "--law.strength is for"),
        ({"augment": "paper", "objective": "kl"}, "an objective of its own"),
        ({"optim": OptimConfig(method="muon")}, "for networks of molecules"),
        ({"seed": -1}, "--seed must lie in"),
    ],
)
def test_settings_that_contradict(settings, message):
    with pytest.raises(UserError, match=message):
        ImageConfig(task="two-icons", **settings)


class TestFiles:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"task": "nothing"}, "task"),
            ({"width": 1e9}, "width must lie in 0..16"),
            ({"channels": -1}, "channels must lie in 1..64"),
            ({"classes": "abc"}, "classes"),
            ({"model": "../../x"}, "model"),
            ({"more": 1}, "more"),
        ],
    )
    def test_cards_that_no_run_writes(self, trained, tmp_path, change, message):
        from molaugerino.training.checkpoint import _digest

        content = json.loads((trained.folder / "config.json").read_text()) | change
        content["config_sha256"] = _digest(content)
        (tmp_path / "config.json").write_text(json.dumps(content))
        (tmp_path / "model.safetensors").write_bytes((trained.folder / "model.safetensors").read_bytes())
        with pytest.raises(UserError, match=message):
            load_image_model(tmp_path)

    def test_tensors_of_another_network(self, trained, tmp_path):
        from molaugerino.training.checkpoint import save_model

        _, card = load_image_model(trained.folder)
        other = build_images(replace(card, width=0.2))
        save_model(tmp_path, other, card)
        with pytest.raises(UserError, match="does not hold the tensors"):
            load_image_model(tmp_path)

    def test_pictures_that_changed(self, trained, tmp_path):
        settings = (trained.folder / "config.toml").read_text()
        for name in ("config.json", "model.safetensors", "splits.npz"):
            (tmp_path / name).write_bytes((trained.folder / name).read_bytes())
        (tmp_path / "config.toml").write_text(settings.replace("images = 200", "images = 201"))
        with pytest.raises(UserError, match="changed since"):
            open_run(tmp_path)


def test_verdicts_know_the_task(learned):
    """Of a network that tells upright from upside-down, forcing half a turn costs; the law stays narrow."""
    [finding] = discover_images(open_run(learned.folder), images=100).findings
    assert finding.rise > 0.3
    assert finding.verdict == "broken"
    assert TASKS["two-icons"].right is not None


@pytest.mark.parametrize("task", ["two-icons", "segment-free"])
def test_a_network_that_has_learned_nothing_breaks_nothing(task, tmp_path):
    """Its answers are all alike, so that no transformation moves them, whatever the entropy of flat ones."""
    run = train_images(config(tmp_path / "run", task, steps=3, optim=OptimConfig(lr=1e-9)), QUIET)
    findings = discover_images(open_run(run.folder), images=50).findings
    assert {finding.verdict for finding in findings} == {"undecided"}
    assert max(abs(finding.response) for finding in findings) < 0.05
