"""Training end to end on a tiny network: what is written, resumed, reproduced, refused."""

from __future__ import annotations

import csv
import json
import math
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from molaugerino.cli.train import resumed
from molaugerino.config import LawConfig, OptimConfig, TrainConfig, to_toml
from molaugerino.datasets import World, load_npz, load_split
from molaugerino.errors import UserError
from molaugerino.predict import Predictor
from molaugerino.training.checkpoint import load_model
from molaugerino.training.evaluation import evaluate
from molaugerino.training.run import new_folder, stem_of, train
from tests.conftest import archive


def tensors(folder):
    return load_model(folder)[0].state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


class TestFolder:
    def test_what_is_in_it(self, trained):
        names = {path.name for path in trained.iterdir()}
        assert {"config.toml", "config.json", "metrics.csv", "model.safetensors", "splits.npz", "tensorboard"} <= names
        assert any("events" in path.name for path in (trained / "tensorboard").iterdir())

    def test_the_card_says_what_the_model_is(self, trained, small_npz):
        card = json.loads((trained / "config.json").read_text())
        assert card["targets"] == [
            {"name": "gap", "method": "GFN2-xTB", "unit": "eV", "readout": "mean", "kind": "scalar"}
        ]
        data = load_npz(small_npz)
        assert card["data_sha256"] == data.checksum
        assert card["elements"] == [1, 6, 7, 8, 9]
        assert card["geometry"] == "mmff"
        train_rows = load_split(trained / "splits.npz", data.id).train
        assert card["max_atoms"] == data.num_atoms[train_rows].max()
        assert card["train_mean"][0] == pytest.approx(data.values(data.target("gap"))[train_rows].mean(), rel=1e-6)
        assert card["schema"] == 3
        assert {"molaugerino", "torch", "rdkit"} <= set(card["versions"])

    def test_metrics_have_loss_error_law_and_budget(self, trained):
        rows = metrics(trained)
        columns = {key for row in rows for key, value in row.items() if value}
        assert {"step", "loss", "mae/gap[eV]", "law/rotation_angle[degree]", "law/translation[angstrom]"} <= columns
        assert {"objective/rise", "objective/rise_se", "objective/allowed", "objective/strength"} <= columns

    def test_the_saved_model_gives_the_reported_errors(self, tiny_config, tmp_path):
        run = train(tiny_config(tmp_path / "run"))
        augmented, card = load_model(run.folder)
        data = load_npz(run_data(run)).with_geometry(card.geometry)
        rows = load_split(run.folder / "splits.npz", data.id).test
        again = evaluate(augmented, data, rows, card.targets, card.train_mean, card.frames, (1, 4))
        assert again == run.results


def part(law, name="rotation angle"):
    return law["parts"][name]


def run_data(run):
    return tomllib.loads((run.folder / "config.toml").read_text())["data"][0]


def metrics(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def start(options, awaited):
    """`molaugerino train` in a process of its own, up to the moment when a file appears."""
    command = [sys.executable, "-m", "molaugerino", "train", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not awaited.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    return process, awaited


class TestReproduction:
    def test_one_seed_one_result(self, tiny_config, tmp_path):
        first, second = (train(tiny_config(tmp_path / name)) for name in ("a", "b"))
        other = train(tiny_config(tmp_path / "c", seed=1))
        assert same(tensors(first.folder), tensors(second.folder))
        assert first.results == second.results
        assert not same(tensors(first.folder), tensors(other.folder))

    @pytest.mark.slow
    def test_kill_and_resume_gives_the_same_bits(self, tiny_config, small_npz, tmp_path):
        """kill -9 in mid-training, --resume, against an unbroken run; through the command line as a user would. Of the
        other optimiser, and with a law, the interrupt below shows the same."""
        steps, model = 600, "vector-transformer"
        whole = train(tiny_config(tmp_path / "whole", model=model, steps=steps))
        options = [
            "--data",
            str(small_npz),
            "--model",
            model,
            "--steps",
            str(steps),
            "--optim.batch",
            "32",
            "--out",
            str(tmp_path / "broken"),
        ]
        options += ["--net.width", "16", "--net.depth", "1", "--net.heads", "2", "--net.pair", "8"]
        options += ["--law.refresh", "5", "--law.eval-copies", "4"]
        process, checkpoint = start(options, tmp_path / "broken" / "last.ckpt")
        process.kill()
        process.communicate()
        assert checkpoint.exists()
        assert not (tmp_path / "broken" / "config.json").exists()
        again = train(resumed(TrainConfig(resume=tmp_path / "broken")))
        assert same(tensors(whole.folder), tensors(again.folder))
        assert again.results == whole.results
        steps_logged = [int(row["step"]) for row in metrics(tmp_path / "broken")]
        assert steps_logged == sorted(steps_logged)
        assert steps_logged[0] < 50 < steps - 50 < steps_logged[-1]

    @pytest.mark.slow
    def test_resume_before_the_first_checkpoint_starts_over(self, tiny_config, tmp_path):
        whole = train(tiny_config(tmp_path / "whole"))
        cut = train(tiny_config(tmp_path / "cut"))
        for name in ("config.json", "model.safetensors", "last.ckpt"):
            (cut.folder / name).unlink()
        again = train(resumed(TrainConfig(resume=cut.folder)))
        assert same(tensors(whole.folder), tensors(again.folder))

    def test_a_kill_before_the_model_was_saved(self, tiny_config, tmp_path):
        whole = train(tiny_config(tmp_path / "run"))
        before = tensors(whole.folder)
        for name in ("config.json", "model.safetensors"):
            (whole.folder / name).unlink()
        again = train(resumed(TrainConfig(resume=whole.folder)))
        assert same(before, tensors(again.folder))
        assert again.results == whole.results

    @pytest.mark.slow
    def test_an_interrupt_ends_soon_and_the_run_can_be_resumed(self, tiny_config, tmp_path):
        whole = train(tiny_config(tmp_path / "whole", steps=600))
        folder = tmp_path / "run"
        (tmp_path / "c.toml").write_text(to_toml(replace(tiny_config(folder, steps=600), out=None)))
        process, _ = start(["--config", str(tmp_path / "c.toml"), "--out", str(folder)], folder / "last.ckpt")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        assert f"--resume {folder}" in " ".join(said.split())
        assert "Traceback" not in said
        assert same(tensors(whole.folder), tensors(train(resumed(TrainConfig(resume=folder))).folder))


class TestAugmentation:
    def test_fixed_is_the_widest_law_held(self, tiny_config, tmp_path):
        law = train(tiny_config(tmp_path / "fixed", augment="fixed")).law
        assert part(law)["width"] == pytest.approx(180, abs=1e-4)
        assert part(law, "translation")["width"] == 1.0
        assert part(law)["nats"] == pytest.approx(0, abs=1e-5)

    def test_fixed_about_a_known_axis(self, tiny_config, tmp_path):
        axis = torch.tensor([1.0, -2.0, 0.5])
        law = LawConfig(axis=tuple(axis.tolist()), refresh=5, eval_copies=4)
        run = train(tiny_config(tmp_path / "fixed", augment="fixed", law=law))
        assert part(run.law, "twist angle rz")["width"] == pytest.approx(180, abs=1e-4)
        assert part(run.law, "swing angle")["width"] == pytest.approx(0, abs=1e-4)
        augmented, card = load_model(run.folder)
        assert card.family == "swing-twist"
        g = augmented.distribution.sample((100,), torch.Generator().manual_seed(0)).detach()
        assert torch.allclose(g.linear @ axis, axis.expand(100, 3), atol=1e-5)
        assert g.linear.std(0).max() > 0.5
        assert g.shift.norm(dim=-1).max() > 0.5

    def test_none_is_the_network_alone(self, tiny_config, tmp_path):
        run = train(tiny_config(tmp_path / "none", augment="none"))
        assert part(run.law)["width"] == 0
        assert part(run.law)["nats"] is None
        assert {r.copies for r in run.results} == {1}

    def test_a_fixed_strength_widens(self, tiny_config, tmp_path):
        strong = LawConfig(strength=10.0, refresh=5, eval_copies=4)
        law = train(tiny_config(tmp_path / "run", law=strong, objective="kl", steps=150)).law
        assert part(law)["width"] > 15  # from 5
        assert law["verdict"] == "a fixed price of 10 per nat"
        rows = [row for row in metrics(tmp_path / "run") if row["law/rotation_angle[degree]"]]
        assert len(rows) == 30
        assert float(rows[-1]["law/rotation_angle[degree]"]) == pytest.approx(part(law)["width"], rel=0.05)

    def test_undecided_while_nothing_is_learned(self, tiny_config, tmp_path):
        run = train(tiny_config(tmp_path / "run", optim=OptimConfig(lr=1e-12, batch=32)))
        assert run.law["verdict"].startswith("undecided")
        assert part(run.law)["width"] == pytest.approx(5.0, abs=1e-4)

    def test_several_targets_with_a_vector(self, tiny_config, tmp_path):
        run = train(tiny_config(tmp_path / "run", target=("gap", "dipole", "energy")))
        cells = {(r.target, r.unit, r.frames, r.copies) for r in run.results}
        assert len(cells) == 3 * 2 * 2
        assert all(r.n == 40 and np.isfinite(r.mae) for r in run.results)


class TestObjectives:
    @pytest.mark.parametrize(
        ("objective", "verdict"),
        [
            ("kl", "a fixed price of 0.01 per nat"),
            ("norm", "a fixed reward of 0.01 per unit"),
            ("entropy", "kept between 0.5 and 1.5 nats"),
            ("hypergradient", "as wide as lowers the loss"),
        ],
    )
    def test_each_trains_and_is_logged(self, tiny_config, tmp_path, objective, verdict):
        law = LawConfig(family="gaussian", mirror=0.2, refresh=5, eval_copies=2)
        run = train(tiny_config(tmp_path / "run", objective=objective, law=law, steps=12))
        assert run.law["verdict"].startswith(verdict)
        assert set(run.law["parts"]) == {"translation", "rotation angle", "reflection"}
        assert part(run.law)["width"] != pytest.approx(math.degrees(math.radians(5) * math.sqrt(3 / 5)), rel=1e-3)
        assert all(np.isfinite(r.mae) for r in run.results)
        rows = [row for row in metrics(tmp_path / "run") if row["law/reflection[probability]"]]
        assert len(rows) == 2

    def test_paper(self, tiny_config, tmp_path):
        run = train(tiny_config(tmp_path / "run", augment="paper"))
        assert len(run.law["parts"]) == 12
        assert {(r.copies, r.passes) for r in run.results} == {(1, "fresh draws")}
        assert run.law["parts"]["rotation rx"]["width"] != pytest.approx(math.degrees(0.9992), rel=1e-4)
        augmented, card = load_model(run.folder)
        assert card.augment == "paper"
        data = load_npz(run_data(run)).with_geometry(card.geometry)
        rows = load_split(run.folder / "splits.npz", data.id).test
        settings = (card.targets, card.train_mean, card.frames, (1,))
        assert evaluate(augmented, data, rows, *settings, published=True) == run.results


class TestWorlds:
    def test_a_run_in_a_world(self, tiny_config, tmp_path):
        run = train(tiny_config(tmp_path / "run", world="field", world_seed=3, frames="random"))
        assert {(r.target, r.unit, r.frames) for r in run.results} == {("field_energy", "eV", "random")}
        augmented, card = load_model(run.folder)
        assert (card.world, card.world_seed) == ("field", 3)
        assert "orientation matters" in " ".join(Predictor(augmented, card).warnings)
        data = load_npz(run_data(run)).with_geometry(card.geometry)
        rows = load_split(run.folder / "splits.npz", data.id).test
        settings = (card.targets, card.train_mean, card.frames, (1, 4))
        assert evaluate(augmented, data, rows, *settings, world=World("field", 3)) == run.results


class TestStopping:
    @pytest.mark.slow
    def test_early_stop_goes_back_to_the_best(self, tiny_config, tmp_path):
        wild = OptimConfig(batch=32, lr=0.5, ema=0.0, patience=1)
        run = train(tiny_config(tmp_path / "run", steps=400, optim=wild))
        rows = metrics(run.folder)
        losses = [float(row["valid_loss"]) for row in rows if row["valid_loss"]]
        assert len(losses) < 5
        augmented, card = load_model(run.folder)
        data = load_npz(run_data(run)).with_geometry("mmff")
        valid = load_split(run.folder / "splits.npz", data.id).valid
        [one, _] = evaluate(augmented, data, valid, card.targets, card.train_mean, "stored", (1,))
        assert one.mae / augmented.model.readout.scale.item() == pytest.approx(min(losses), rel=1e-4)

    def test_an_overflow_costs_a_step_and_not_the_run(self, tiny_config, tmp_path):
        class Overflow(pl.Callback):
            def __init__(self, steps):
                self.steps = steps

            def on_after_backward(self, trainer, module):
                if trainer.global_step in self.steps:
                    for parameter in module.parameters():
                        if parameter.grad is not None:
                            parameter.grad.mul_(math.inf)  # inf, and nan where it was zero

        run = train(tiny_config(tmp_path / "run", steps=12), callbacks=[Overflow([7])])
        assert all(bool(value.isfinite().all()) for value in tensors(run.folder).values())
        with pytest.raises(UserError, match="training diverged before step"):
            train(tiny_config(tmp_path / "lost", steps=40), callbacks=[Overflow(range(40))])

    def test_minutes(self, tiny_config, tmp_path):
        start = time.monotonic()
        assert train(tiny_config(tmp_path / "run", steps=None, minutes=0.05)) is not None
        assert 3 < time.monotonic() - start < 30


class TestRefusals:
    def test_a_folder_that_holds_a_run(self, tiny_config, trained):
        with pytest.raises(UserError, match=r"already holds a finished run; choose another --out$"):
            train(tiny_config(trained))

    def test_an_unwritable_folder(self, tiny_config, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match="cannot write to the folder"):
            train(tiny_config(tmp_path / "file" / "run"))

    def test_labels_that_are_missing(self, tiny_config, tmp_path):
        arrays = archive(count=60)
        arrays["targets"][:, 2] = np.nan
        np.savez(tmp_path / "holes.npz", **arrays)
        [name] = arrays["target_names"][[2]]
        with pytest.raises(UserError, match=f"no molecule of the train part of holes has a label {name}"):
            train(tiny_config(tmp_path / "run", data=(str(tmp_path / "holes.npz"),), target=(name,)))

    def test_resume_takes_no_other_setting(self, trained):
        with pytest.raises(UserError, match="drop the other options"):
            resumed(TrainConfig(resume=trained, seed=3))
        with pytest.raises(UserError, match="no run to resume"):
            resumed(TrainConfig(resume=trained / "none"))

    def test_a_finished_run_is_not_resumed(self, trained):
        with pytest.raises(UserError, match="is finished"):
            train(resumed(TrainConfig(resume=trained)))

    def test_data_that_changed(self, tiny_config, small_npz, tmp_path):
        shutil.copy(small_npz, tmp_path / "data.npz")
        run = train(tiny_config(tmp_path / "run", data=(str(tmp_path / "data.npz"),)))
        (run.folder / "config.json").unlink()
        np.savez(tmp_path / "data.npz", **archive(seed=1))
        with pytest.raises(UserError, match="changed since"):
            train(resumed(TrainConfig(resume=run.folder)))

    def test_a_mistake_leaves_no_folder(self, tiny_config, tmp_path):
        with pytest.raises(UserError, match="no label 'alpha'"):
            train(tiny_config(tmp_path / "run", target=("alpha",)))
        assert not (tmp_path / "run").exists()

    def test_runs_of_the_same_second_get_folders_of_their_own(self, small_npz, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        folders = {new_folder(None, stem_of(TrainConfig(data=(str(small_npz),)))) for _ in range(5)}
        assert len(folders) == 5

    @pytest.mark.slow
    def test_a_damaged_checkpoint(self, tiny_config, tmp_path):
        run = train(tiny_config(tmp_path / "run", steps=200))
        (run.folder / "config.json").unlink()
        path = run.folder / "last.ckpt"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
        with pytest.raises(UserError, match="damaged"):
            train(resumed(TrainConfig(resume=run.folder)))

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"minutes": 1.0, "steps": 5}, "one of --minutes, --epochs and --steps"),
            ({"steps": 0}, "--steps must be positive"),
            ({"seed": -1}, "--seed must lie in"),
            ({"optim": OptimConfig(warmup=1.0)}, "--optim.warmup must be below 1"),
            ({"optim": OptimConfig(lr=-1.0)}, "--optim.lr must be above 0"),
            ({"law": LawConfig(rotation=200.0)}, "cannot start beyond its widest"),
            ({"world": "field"}, "--world field places molecules in space"),
            ({"law": LawConfig(strength=1.0)}, "--law.strength is for --objective kl or norm; budget sets its own"),
            ({"law": LawConfig(mirror=1.5)}, "--law.mirror is a probability, got 1.5"),
            ({"law": LawConfig(axis=(0.0, 0.0, 0.0)), "augment": "fixed"}, "three finite numbers, not all 0"),
            ({"law": LawConfig(axis=(0.0, 0.0, 1.0))}, "--law.axis is for --augment fixed"),
            ({"law": LawConfig(axis=(0.0, 1.0, 0.0), mirror=0.1), "augment": "fixed"}, "without --law.mirror"),
            ({"augment": "paper", "objective": "kl"}, "--augment paper has a law and an objective of its own"),
            ({"augment": "paper", "law": LawConfig(family="box")}, "leave out --objective and --law"),
            ({"law": LawConfig(band=(2.0, 1.0))}, "--law.band needs two rising numbers of nats, got 2.0 1.0"),
        ],
    )
    def test_settings(self, settings, message):
        with pytest.raises(UserError, match=message):
            TrainConfig(**settings)
