"""A recipe trains, shows published errors beside its own, and goes on after it was stopped."""

from __future__ import annotations

import json

import pytest

from molaugerino.benchmark.recipes import published, recipes, result
from molaugerino.cli.benchmark import RESULT, show
from molaugerino.cli.main import main, parse
from molaugerino.config import RecipeConfig
from molaugerino.datasets import NAMES
from molaugerino.errors import UserError
from molaugerino.training.checkpoint import CONFIG
from molaugerino.training.evaluation import Result
from molaugerino.training.resume import CHECKPOINT

STEPS = 40


@pytest.fixture
def recipe(small_npz, tmp_path):
    """A file as a user would write it."""
    path = tmp_path / "own.toml"
    path.write_text(
        f'# mine\ndata = ["{small_npz}"]\ntarget = ["gap"]\nsteps = {STEPS}\n[net]\nwidth = 16\ndepth = 1\n'
    )
    return path


def test_the_recipes_are_settings_of_train_and_say_what_they_are(capsys):
    for name, path in recipes().items():
        settings = parse("train", ["--config", str(path)])
        assert settings.target, name
        assert settings.split == "dimenet" or settings.data[0] not in NAMES, name
    assert main(["benchmark", "qm9"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(recipes())
    assert all(len(line) <= 100 for line in lines)


def test_stopped_resumed_and_shown_again(recipe, tmp_path, capsys):
    out = tmp_path / "run"
    command = ["benchmark", "qm9", "--recipe", str(recipe), "--out", str(out), "--resume"]
    assert main([*command, "--piece", "1e-9"]) == 130  # with no run yet, it begins one
    assert f"--out {out} --resume" in capsys.readouterr().out
    assert (out / CHECKPOINT).exists()
    assert not (out / RESULT).exists()
    assert main(command) == 0
    first = capsys.readouterr().out
    found = json.loads((out / RESULT).read_text())
    assert found["settings"]["steps"] == STEPS
    assert found["settings"]["model"] == "vector-transformer"  # what auto stood for
    assert {"torch", "molaugerino", "python"} <= set(found["versions"])
    assert f"{found['results'][0]['mae']:.4g}" in first
    assert main(command) == 0
    assert capsys.readouterr().out == first
    assert main(command[:-1]) == 2  # without --resume nothing is overwritten
    assert "add --resume to go on with it" in capsys.readouterr().err
    for option, value in {"--seed": "3", "--steps": "7"}.items():
        assert main([*command, option, value]) == 2
        assert f"has {option[2:]} {0 if option == '--seed' else STEPS}, not {value}" in capsys.readouterr().err


def test_killed_between_training_and_the_result(recipe, tmp_path, capsys):
    out = tmp_path / "run"
    command = ["benchmark", "qm9", "--recipe", str(recipe), "--out", str(out), "--resume"]
    assert main(command) == 0
    first = json.loads((out / RESULT).read_text())
    (out / RESULT).unlink()
    assert main(command) == 0
    assert json.loads((out / RESULT).read_text())["results"] == first["results"]


def test_killed_while_testing(recipe, tmp_path, monkeypatch):
    out = tmp_path / "run"
    command = ["benchmark", "qm9", "--recipe", str(recipe), "--out", str(out), "--resume"]
    with monkeypatch.context() as patched:
        patched.setattr("molaugerino.training.run.evaluate_model", killed)
        with pytest.raises(RuntimeError, match="killed"):
            main(command)
    assert not (out / CONFIG).exists()
    assert main(command) == 0
    assert json.loads((out / RESULT).read_text())["results"]


def killed(*_: object) -> None:
    raise RuntimeError("killed")


def test_the_command_line_overrides_the_recipe(recipe, tmp_path):
    assert main(["benchmark", "qm9", "--recipe", str(recipe), "--out", str(tmp_path / "r"), "--steps", "4"]) == 0
    assert json.loads((tmp_path / "r" / RESULT).read_text())["settings"]["steps"] == 4


def test_mistakes(recipe, capsys):
    assert main(["benchmark", "qm9", "--recipe", "gab"]) == 2
    assert "no recipe 'gab'; there are alpha, b3lyp-gap" in capsys.readouterr().err
    for name, value in {"minutes": -1.0, "steps": -1, "piece": 0.0}.items():
        with pytest.raises(UserError, match=f"--{name} must be positive, got {value}"):
            RecipeConfig(**{name: value})
    with pytest.raises(UserError, match="one of --minutes and --steps"):
        RecipeConfig(minutes=1.0, steps=1)


def test_published_errors_have_sources_and_units():
    for target in ("mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "U0", "U", "H", "G", "Cv"):
        unit = {"mu": "debye", "alpha": "bohr^3", "r2": "bohr^2", "Cv": "cal/(mol K)"}.get(target, "eV")
        found = published(target, unit)
        assert found, target
        assert all(e["source"] and e["split"] and e["unit"] == unit for e in found)
        assert [e["mae"] for e in found] == sorted(e["mae"] for e in found)
    assert published("gap", "eV")[0]["mae"] == pytest.approx(0.046)
    assert published("u0", "meV") == published("U0", "meV")
    assert published("gap", "meV")[0]["mae"] == pytest.approx(46)
    assert published("charge", "e") == []


def test_published_errors_stand_beside_labels_of_their_method_only(capsys):
    for method, shown in (("B3LYP/6-31G(2df,p)", True), ("B3LYP/def2-SVP", False), ("GFN2-xTB", False)):
        cell = Result("gap", method, "eV", "stored", 1, "identity", 10, 0.05, 1.0)
        settings = {"model": "painn", "split": None, "minutes": 3.0, "steps": None, "epochs": None}
        show(result("gap", 0, [cell], {"settings": settings}))
        assert ("PaiNN" in capsys.readouterr().out) is shown
