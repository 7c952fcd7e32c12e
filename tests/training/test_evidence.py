"""Runs whose prior precisions are chosen by evidence: schedule, kept weights, resuming, reading out, failures."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from torch import nn

from molaugerino.cli.main import main
from molaugerino.config import EvidenceConfig, ImageConfig, ImageLawConfig, LawConfig, OptimConfig
from molaugerino.errors import UserError
from molaugerino.laplace import Categorical, Gaussian, kfac
from molaugerino.measure import measure
from molaugerino.training.callbacks import Keeper
from molaugerino.training.evidence import EVIDENCE, EvidenceSearch, load_evidence, placed
from molaugerino.training.image_models import load_image_model
from molaugerino.training.images import make_image_card, make_image_module, open_image_data, train_images
from molaugerino.training.module import PROBES, TrainingModule, stream
from molaugerino.training.objective import LossBudget
from molaugerino.training.run import train
from molaugerino.training.setup import make_card, make_module, open_run_data

QUIET = Console(quiet=True)
SOON = EvidenceConfig(burn_in=0.25, every=5, examples=60)


def config(out, task="quadrant-blind", **changes):
    law = ImageLawConfig(refresh=5, eval_copies=4)
    optim = OptimConfig(batch=32, method="adamw")
    settings = {"images": 300, "width": 0.1, "steps": 20, "augment": "none", "model": "f-fc+conv"}
    settings |= {"objective": "evidence", "evidence": SOON, "law": law, "optim": optim, "out": out}
    return ImageConfig(task=task, **(settings | changes))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = train_images(config(tmp_path_factory.mktemp("evidence") / "run"), QUIET)
    assert run is not None
    return run


def module_of(settings):
    data = open_image_data(settings)
    torch.manual_seed(settings.seed)
    return make_image_module(settings, make_image_card(settings, data), data), data


def interrupted_at(step):
    """A keeper that ends the run after this step, as Ctrl-C does."""

    class Impatient(Keeper):
        def on_train_batch_end(self, trainer, module, *rest):
            super().on_train_batch_end(trainer, module, *rest)
            if trainer.global_step == step:
                self.interrupted = True
                trainer.should_stop = True
                trainer.save_checkpoint(self.path)

    return Impatient


class TestRun:
    def test_what_was_found_is_written_and_read(self, trained):
        found = load_evidence(trained.folder)
        assert found == trained.evidence
        assert len(found.tensors) == 52
        assert math.isfinite(found.log_evidence)
        assert found.noise is None
        shares = found.shares()
        assert list(shares) == [f"layers.{k}" for k in range(8)]
        assert all(set(own) == {"f-fc", "conv"} and sum(own.values()) == pytest.approx(1) for own in shares.values())
        written = json.loads((trained.folder / EVIDENCE).read_text())
        assert written["shares"] == shares
        for tensor in found.tensors:
            assert 0 <= tensor.effective <= tensor.size
            assert 0 < tensor.precision < math.inf
        assert len({round(t.precision, 6) for t in found.tensors}) > 10  # they have moved, each its own way

    @pytest.mark.slow
    def test_effective_numbers_are_those_of_the_saved_weights(self, trained):
        """gamma = sum lambda / (lambda + delta), by the curvature at the kept weights."""
        augmented, _ = load_image_model(trained.folder)
        settings = config(None)
        module, data = module_of(settings)
        rows = module.evidence.rows(data.train, settings.seed)
        batches = [batch.x for batch in data.packed.batches(rows, 50)]
        names = [t.name for t in trained.evidence.tensors]
        probes = torch.Generator().manual_seed(stream(settings.seed, PROBES, 0).initial_seed())
        found = kfac(augmented.model, batches, Categorical(), len, len(data.train), probes, names)
        for tensor in trained.evidence.tensors:
            values = found.values[tensor.name]
            effective = float((values / (values + tensor.precision)).sum())
            assert tensor.effective == pytest.approx(effective, rel=1e-4, abs=1e-6), tensor.name

    @pytest.mark.slow
    def test_interrupted_and_resumed_it_finds_the_same(self, trained, tmp_path):
        import molaugerino.training.images as images

        out = tmp_path / "halves"

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("molaugerino.training.run.Keeper", interrupted_at(12))
            assert train_images(config(out), QUIET) is None
        resumed = images.train_images(replace(config(out), resume=out, out=None), QUIET)
        assert resumed.evidence == trained.evidence

    @pytest.mark.slow
    def test_the_learned_precisions_are_what_a_map_run_does_not_have(self, tmp_path):
        still = EvidenceConfig(burn_in=1.0, examples=60, precision=3.0)
        run = train_images(config(tmp_path / "map", evidence=still), QUIET)
        assert all(t.precision == pytest.approx(3) for t in run.evidence.tensors)

    @pytest.mark.parametrize(
        ("task", "model"),
        [("angle", "conv"), ("two-icons", "five-layer"), pytest.param("hue", "s-fc+s-conv", marks=pytest.mark.slow)],
    )
    def test_other_tasks_and_networks(self, task, model, tmp_path):
        run = train_images(config(tmp_path / "run", task, model=model, images=150, steps=10), QUIET)
        assert (run.evidence.noise is None) == (task != "angle")
        assert math.isfinite(run.evidence.log_evidence)

    def test_a_run_without_any_curvature_is_kept(self, tmp_path):
        """The user is told, and has a model."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TrainingModule, "take_evidence", lambda *_, **__: None)
            with pytest.warns(UserWarning, match="no curvature could be taken"):
                run = train_images(config(tmp_path / "run", images=150, steps=3), QUIET)
        assert run.evidence is None
        assert load_evidence(run.folder) is None
        load_image_model(run.folder)

    @pytest.mark.slow
    def test_with_a_fixed_law(self, tmp_path):
        run = train_images(config(tmp_path / "run", "rotmnist", augment="fixed", images=150, steps=10), QUIET)
        assert math.isfinite(run.evidence.log_evidence)

    @pytest.mark.slow
    def test_measure_shows_the_paths_beside_the_measured_equivariance(self, trained):
        found = measure(trained.folder, examples=20)
        assert found.paths == trained.evidence.shares()
        assert [s.name for s in found.layers] == [*(f"layers.{k}" for k in range(8)), "hidden", "readout"]
        assert json.loads(found.to_json())["paths"] == trained.evidence.shares()


class TestCommandLine:
    @pytest.mark.slow
    def test_report(self, tmp_path, capsys):
        out = str(tmp_path / "run")
        options = ["--model", "f-fc+conv", "--augment", "none", "--objective", "evidence", "--images", "150"]
        small = ["--width", "0.1", "--steps", "6", "--evidence.every", "2", "--evidence.examples", "40", "--out", out]
        assert main(["train", "--task", "quadrant-aware", *options, *small]) == 0
        told = capsys.readouterr().out
        assert "parameters that the data determine" in told
        assert "log evidence" in told
        assert main(["measure", out, "--examples", "8", "--plot", str(tmp_path / "page.png")]) == 0
        assert "paths, by evidence" in capsys.readouterr().out
        assert (tmp_path / "page.png").stat().st_size > 10_000
        assert main(["evaluate", out]) == 0
        assert "log evidence" in capsys.readouterr().out
        assert main(["evaluate", out, "--format", "json"]) == 0
        assert list(json.loads(capsys.readouterr().out)["evidence"]["shares"]) == [f"layers.{k}" for k in range(8)]

    def test_a_network_with_matrices_of_its_own(self, tmp_path, capsys):
        options = ["--objective", "evidence", "--augment", "none", "--model", "p4", "--images", "100", "--steps", "2"]
        assert main(["train", "--task", "two-icons", *options, "--out", str(tmp_path / "run")]) != 0
        assert "belongs to none of them" in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "run").exists()

    def test_maps_of_pixels(self, tmp_path, capsys):
        options = ["--objective", "evidence", "--augment", "none", "--out", str(tmp_path / "run")]
        assert main(["train", "--task", "segment", *options]) != 0
        assert "needs one answer per image" in " ".join(capsys.readouterr().err.split())


class TestSearch:
    @staticmethod
    def search(model, **settings):
        return EvidenceSearch(model, Gaussian(), 40, EvidenceConfig(**settings))

    @staticmethod
    def data():
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(40, 4, generator=generator)
        return [(x, x[:, :1] + 0.1 * torch.randn(40, 1, generator=generator))]

    def test_schedule(self):
        search = self.search(nn.Linear(4, 1), burn_in=0.2, every=10)
        assert not search.due(10, 0.1)
        assert search.due(20, 0.2)
        assert not search.due(25, 0.25)
        assert not self.search(nn.Linear(4, 1), burn_in=1.0, every=1).due(100, 1.0)

    def test_the_penalty_is_the_prior_per_example(self):
        model = nn.Linear(4, 1)
        search = self.search(model, precision=3.0)
        expected = 3.0 * sum(p.square().sum() for p in model.parameters()) / 80
        torch.testing.assert_close(search.penalty(model), expected)

    def test_the_best_weights_come_back(self):
        model, data = nn.Linear(4, 1), self.data()
        search = self.search(model, trust=0.1)
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[1.0, 0, 0, 0]]))
        search.refresh(model, data, 0)
        kept = {name: t.clone() for name, t in model.state_dict().items()}
        precisions = search.priors.log_precision.detach().clone()
        best = float(search.best)
        with torch.no_grad():
            model.weight.add_(5.0)
        search.refresh(model, data, 0)
        assert search.value < best == float(search.best)
        assert not torch.equal(search.priors.log_precision, precisions)
        assert search.restore(model)
        assert all(torch.equal(t, kept[name]) for name, t in model.state_dict().items())
        assert torch.equal(search.priors.log_precision, precisions)

    def test_its_state_survives_a_checkpoint(self):
        model, data = nn.Linear(4, 1), self.data()
        search, other = self.search(model), self.search(model)
        search.refresh(model, data, 0)
        other.load_state_dict(search.state_dict())
        assert float(other.best) == float(search.best)
        assert other.kept.keys() == search.kept.keys()
        assert all(torch.equal(other.kept[name], value) for name, value in search.kept.items())
        assert torch.equal(other.priors.log_precision, search.priors.log_precision)

    def test_a_curvature_that_cannot_be_taken_leaves_all_as_it_was(self):
        model, data = nn.Linear(4, 1), self.data()
        search = self.search(model)
        search.refresh(model, data, 0)
        before = search.priors.log_precision.detach().clone()
        with torch.no_grad():
            model.weight.fill_(math.nan)
        with pytest.warns(UserWarning, match="the prior precisions stay as they are"):
            search.refresh(model, data, 0)
        assert torch.equal(search.priors.log_precision, before)
        assert search.restore(model)
        assert all(bool(p.isfinite().all()) for p in model.parameters())

    def test_nothing_to_read_out(self):
        assert self.search(nn.Linear(4, 1)).read_out() is None
        assert self.search(nn.Linear(4, 1)).report() == {}
        assert not self.search(nn.Linear(4, 1)).restore(nn.Linear(4, 1))

    def test_no_warning_on_a_sound_network(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            search = self.search(nn.Linear(4, 1))
            search.refresh(nn.Linear(4, 1), self.data(), 0)
        assert math.isfinite(search.value)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"augment": "learned", "evidence": EvidenceConfig(burn_in=1.0)}, "no update for the law to move in"),
        ({"law": ImageLawConfig(strength=0.1)}, "leave --law.strength out"),
        ({"objective": "budget"}, "--evidence settings are for --objective evidence, got --objective budget"),
        ({"optim": OptimConfig(patience=3, method="adamw")}, "leave --optim.patience out"),
        ({"devices": 2}, "--objective evidence takes one process, got --devices 2"),
        ({"evidence": EvidenceConfig(burn_in=2.0)}, "--evidence.burn-in is a share of the run, 0 to 1, got 2"),
        ({"evidence": EvidenceConfig(every=-1)}, "--evidence.every must be positive, got -1"),
        ({"evidence": EvidenceConfig(precision=-1.0)}, "--evidence.precision must be positive, got -1"),
    ],
)
def test_what_does_not_go_together(changes, match):
    with pytest.raises(UserError, match=match):
        config(None, **changes)


def test_names_of_layers_and_paths():
    assert placed("layers.0.paths.f-fc.gather.weight") == ("layers.0", "f-fc")
    assert placed("hidden.weight") == ("hidden", "")
    assert placed("weight") == ("", "")


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / EVIDENCE).write_text('{"tensors": [{"layer": 3}]}')
    with pytest.raises(UserError, match="is not what training wrote there"):
        load_evidence(tmp_path)
    assert load_evidence(tmp_path / "none") is None


class TestMolecules:
    """By blocks of examples: any network, and laws."""

    SOON = EvidenceConfig(burn_in=0.2, every=5, examples=12, block=4, copies=2)

    @pytest.fixture
    def settings(self, tiny_config):
        def make(out=None, **changes):
            law = LawConfig(refresh=5, eval_copies=4)
            return tiny_config(out, **({"objective": "evidence", "evidence": self.SOON, "law": law} | changes))

        return make

    @staticmethod
    def module_of(config):
        data = open_run_data(config)
        torch.manual_seed(config.seed)
        return make_module(config, make_card(config, data), data), data

    @pytest.mark.slow
    def test_paths_of_a_relaxed_network(self, settings, tmp_path, capsys):
        run = train(settings(tmp_path / "run", model="relaxed-painn", augment="none"), QUIET)
        assert load_evidence(run.folder) == run.evidence
        assert set(run.evidence.shares()["layers.0"]) == {"strict", "free"}
        assert len({round(t.precision, 6) for t in run.evidence.tensors}) > 10
        assert all(0 <= t.effective <= t.size for t in run.evidence.tensors)
        assert math.isfinite(run.evidence.log_evidence)
        assert run.evidence.noise > 0
        assert main(["evaluate", str(run.folder)]) == 0
        assert "log evidence" in capsys.readouterr().out
        assert measure(run.folder, examples=6).paths == run.evidence.shares()

    @pytest.mark.slow
    def test_a_run_with_a_law_and_its_second_half(self, settings, tmp_path):
        """Interrupted and resumed: the same weights, law, precisions, and whether the law may move."""
        soon, out = replace(self.SOON, every=2), tmp_path / "halves"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LossBudget, "LEARNED", 10.0)  # else it takes more than some steps
            whole = train(settings(tmp_path / "whole", augment="learned", evidence=soon), QUIET)
            patch.setattr("molaugerino.training.run.Keeper", interrupted_at(20))
            assert train(settings(out, augment="learned", evidence=soon), QUIET) is None
            patch.undo()
            patch.setattr(LossBudget, "LEARNED", 10.0)
            resumed = train(replace(settings(out, augment="learned", evidence=soon), resume=out, out=None), QUIET)
        assert resumed.evidence == whole.evidence
        assert resumed.law["parts"] == whole.law["parts"]
        assert "as wide as raises the evidence" in whole.law["verdict"]
        assert whole.law["parts"]["rotation angle"]["width"] != pytest.approx(5.0, rel=1e-3)  # it has moved

    def test_a_block_predicts_what_the_average_predicts(self, settings):
        module, data = self.module_of(settings(augment="learned"))
        batch = data.packed.batch(torch.from_numpy(data.train[:6]))
        block = module._losses(batch, *module._elements(batch)).block(batch, 3)
        expected = module.result()(block.batch.x, block.elements)
        found = torch.cat([block.predict(k, block.parameters()) for k in range(6)])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"law": LawConfig(family="gaussian")},
            {"law": LawConfig(family="swing-twist")},
            {"law": LawConfig(conditional=True)},
            {"target": ("gap", "energy", "dipole")},
        ],
    )
    def test_the_law_waits_until_the_label_is_learned(self, settings, changes):
        module, data = self.module_of(settings(augment="learned", **changes))
        batch = data.packed.batch(torch.from_numpy(data.train[:8]))
        losses = module._losses(batch, *module._elements(batch))
        objective, law = module.objective, list(module.distribution.parameters())
        assert not objective.open
        still = torch.autograd.grad(objective.penalty(module.distribution, losses), law)
        assert not any(bool(slope.any()) for slope in still)
        for _ in range(20):
            objective.search.saw(0.1, 1.0)
        assert objective.open
        penalty = objective.penalty(module.distribution, losses)
        slopes = torch.autograd.grad(penalty, law)
        assert all(bool(torch.isfinite(s).all()) for s in slopes)
        assert any(bool(s.any()) for s in slopes)
        objective.search.saw(10.0, 1.0)
        assert objective.open  # for good

    def test_kernels_are_not_taken_in_half_precision(self, settings):
        """Where a network fits well, their eigenvalues would be below zero there."""
        module, data = self.module_of(settings(augment="learned"))
        batch = data.packed.batch(torch.from_numpy(data.train[:8]))
        losses, search = module._losses(batch, *module._elements(batch)), module.evidence
        search.likelihood.log_noise.fill_(math.log(0.01))
        search.opened.fill_(True)
        law, before = list(module.distribution.parameters()), search.priors.log_precision.clone()
        found = []
        for half in (False, True):
            search.priors.log_precision.copy_(before)
            search.likelihood.log_noise.fill_(math.log(0.01))
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
                found.append(torch.autograd.grad(module.objective.penalty(module.distribution, losses), law))
        torch.testing.assert_close(found[0], found[1])

    def test_blocks_are_random_and_reproducible(self, settings):
        module, data = self.module_of(settings(augment="learned"))
        blocks = module.objective.blocks
        assert torch.equal(blocks(3).x.pos, blocks(3).x.pos)
        assert not torch.equal(blocks(3).y, blocks(4).y)
        sizes = torch.stack([blocks(k).x.mask.sum(1).float().std() for k in range(40)])
        assert sizes.mean() > 0.6 * data.packed.num_atoms.float().std()

    def test_precisions_take_the_place_of_weight_decay(self, settings):
        muon = OptimConfig(batch=32, method="muon")
        module, _ = self.module_of(settings(augment="none", model="vector-transformer", optim=muon))
        groups = module.configure_optimizers()["optimizer"].param_groups
        assert len(groups) == 3
        assert all(group["weight_decay"] == 0 for group in groups)

    def test_nothing_is_kept_from_training(self, settings):
        module, data = self.module_of(settings(augment="learned"))
        assert len(data.train) == len(data.split.train) + len(data.split.budget)
        assert module.evidence.examples == len(data.train)

    def test_settings_that_mean_nothing_are_refused(self, settings):
        for changes, message in (
            ({"law": LawConfig(mirror=0.1)}, "leave --law.mirror out"),
            ({"law": LawConfig(every=9)}, "leave --law.every out"),
            ({"law": LawConfig(strength=1.0)}, "--law.strength"),
            ({"devices": 2}, "takes one process"),
            ({"objective": "budget"}, "are for --objective evidence"),
            ({"evidence": EvidenceConfig(copies=0)}, "--evidence.copies must be positive"),
        ):
            with pytest.raises(UserError, match=message):
                settings(**changes)

    def test_missing_labels_are_refused(self, settings):
        config = settings(augment="none")
        data = open_run_data(config)
        data.packed.y[data.train[:3]] = math.nan
        with pytest.raises(UserError, match="needs all labels of all molecules"):
            make_module(config, make_card(config, data), data)


def test_a_law_of_images(tmp_path):
    chosen = {"model": "five-layer", "augment": "learned", "images": 150, "steps": 6}
    settings = EvidenceConfig(every=2, examples=12, block=4, copies=2)
    run = train_images(config(tmp_path / "run", "two-icons", evidence=settings, **chosen), QUIET)
    assert math.isfinite(run.evidence.log_evidence)
    assert run.evidence.noise is None
    assert "undecided" in run.law["verdict"]
