"""What every contestant is asked: its own checks, its law, the floor in a field."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from molaugerino.benchmark import runs, scores
from molaugerino.benchmark.contestants import CONTESTANTS
from molaugerino.benchmark.runs import Job, do, headline_of
from molaugerino.benchmark.scores import QUADRATURE, Trained, all_turns, checks, failed, law_found, recovered
from molaugerino.benchmark.sets import cut, located, prepare
from molaugerino.benchmark.worlds import SUITES, WORLDS
from molaugerino.config import TrainConfig
from molaugerino.datasets import World as Physics
from molaugerino.datasets import load_split, open_data
from molaugerino.models import BACKBONES
from molaugerino.training.checkpoint import load_model
from molaugerino.training.defaults import resolved
from molaugerino.training.setup import make_augmented, make_card, open_run_data
from molaugerino.vision.registry import make_network
from tests.conftest import archive

QUICK = ("small-gap", "small-dipole", "small-field")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder whose sets of the quick suite are prepared."""
    out = tmp_path_factory.mktemp("suite")
    for world in QUICK:
        prepare(WORLDS[world], 0, 60, (), out / "data")
    return out


def untrained(home, world, contestant):
    """A contestant at its start, some molecules and labels."""
    job = Job(world, contestant, 0, 5, 60, (), home)
    config = resolved(runs.molecule_config(job))
    data = open_run_data(config)
    torch.manual_seed(0)
    augmented = make_augmented(config, make_card(config, data), data).eval()
    batch = data.packed.batch(torch.from_numpy(data.split.test[:20]))
    return augmented, batch


class TestChecks:
    @pytest.mark.parametrize("world", QUICK)
    @pytest.mark.parametrize("contestant", ["fixed", "learned", "conditional", "told"])
    def test_averages_turn_back(self, home, world, contestant):
        if contestant == "told" and world != "small-field":
            pytest.skip("an axis is there in the field only")
        augmented, batch = untrained(home, world, contestant)
        found = checks(augmented, CONTESTANTS[contestant], batch.x, batch.y)
        assert set(found) == {"turned_back"}
        assert not failed(found)

    def test_a_dropped_inverse_is_exposed(self, home):
        augmented, batch = untrained(home, "small-dipole", "broken")
        contestant = CONTESTANTS["broken"]
        assert not failed(checks(augmented, contestant, batch.x, batch.y))  # as it is before the fault
        assert contestant.change is not None
        contestant.change(augmented)
        assert failed(checks(augmented, contestant, batch.x, batch.y)) == ["turned_back"]

    @pytest.mark.parametrize("contestant", ["frame-averaging", "canonical", "invariant", "equivariant"])
    @pytest.mark.parametrize("world", ["small-gap", "small-dipole"])
    def test_networks_that_respect_rotations_do(self, home, world, contestant):
        augmented, batch = untrained(home, world, contestant)
        found = checks(augmented, CONTESTANTS[contestant], batch.x, batch.y - batch.y.mean(0))
        assert set(found) == {"exact"}
        assert not failed(found)

    def test_one_that_does_not_is_exposed(self, home):
        augmented, batch = untrained(home, "small-dipole", "none")
        found = checks(augmented, CONTESTANTS["equivariant"], batch.x, batch.y - batch.y.mean(0))
        assert failed(found) == ["exact"]

    def test_parameters_are_matched(self, home):
        sizes = {
            name: sum(p.numel() for p in untrained(home, "small-gap", name)[0].model.parameters())
            for name in (*SUITES["full"].plan["gap"][0],)
        }
        assert max(sizes.values()) < 1.07 * min(sizes.values()), sizes

    @pytest.mark.parametrize("world", ["rotmnist", "two-icons"])
    def test_parameters_of_images_are_about_matched(self, world):
        sizes = []
        for contestant in ("none", "equivariant"):
            job = Job(world, contestant, 0, 5, 60, (), Path())
            config = runs.image_config(job)
            network = make_network(config.model or "five-layer", 3, 4, config.width)
            sizes.append(sum(p.numel() for p in network.parameters()))
        assert max(sizes) < 1.25 * min(sizes), sizes


class TestLaws:
    def test_the_subgroup_that_is_told(self, home):
        augmented, _ = untrained(home, "small-field", "told")
        axis = torch.from_numpy(Physics("field", 0).axis).float()
        g = augmented.distribution.sample((200,), torch.Generator().manual_seed(0)).detach()
        assert torch.allclose(g.linear @ axis, axis.expand(200, 3), atol=1e-5)
        assert float(g.linear[:, 0, 0].std()) > 0.1

    def test_a_law_per_molecule_is_judged_by_the_molecules(self, home):
        augmented, batch = untrained(home, "small-field", "conditional")
        config = resolved(runs.molecule_config(Job("small-field", "conditional", 0, 5, 60, (), home)))
        card = replace(make_card(config, open_run_data(config)), law={"verdict": ""})
        axis = np.array([0.0, 0.0, 1.0])
        narrow = law_found(augmented, card, batch.x, axis)["nats"]
        base = augmented.distribution.law
        assert narrow == pytest.approx(sum(e.nats for e in base.describe() if e.unit == "degree"), rel=1e-4)
        torch.nn.init.normal_(augmented.distribution.readout.weight, std=0.5)
        assert law_found(augmented, card, batch.x, axis)["nats"] != pytest.approx(narrow, rel=0.01)

    def test_recovered(self):
        wide = {"nats": 0.05, "mean_tilt_rad": 1.5, "spin_nats": 0.0}
        about = {"nats": 5.0, "mean_tilt_rad": 0.06, "spin_nats": 0.06}
        assert recovered(wide, "rotations")
        assert not recovered(wide, "axis")
        assert recovered(about, "axis")
        assert not recovered(about, "rotations")
        assert recovered(about, "unknown") is None
        assert recovered(None, "axis") is None

    def test_rules_for_all_turns_of_a_world(self):
        axis = np.array([1.0, 2.0, -1.0]) / math.sqrt(6)
        rule = all_turns("axis", axis)
        moved = rule.elements.linear @ torch.from_numpy(axis)
        assert torch.allclose(moved, torch.from_numpy(axis).expand_as(moved), atol=1e-12)
        across = torch.tensor([2.0, -1.0, 0.0], dtype=torch.float64)
        assert torch.allclose(rule.mean(rule.elements.linear @ across), torch.zeros(3).double(), atol=1e-12)
        assert torch.allclose(
            all_turns("rotations", axis).mean(all_turns("rotations", axis).elements.linear),
            torch.zeros(3, 3).double(),
            atol=1e-12,
        )


class TestSets:
    def test_splits_never_overlap_and_are_as_large_as_asked(self):
        for train, tested in ((300, 100), (None, 250)):
            split = cut(4000, 3, train, tested)
            parts = [split.train, split.budget, split.valid, split.test]
            assert len(np.unique(np.concatenate(parts))) == sum(map(len, parts))
            assert len(split.test) == tested
            assert train is None or len(split.train) + len(split.budget) == train
        assert not np.array_equal(cut(4000, 0, 300, 100).test, cut(4000, 1, 300, 100).test)

    def test_files_are_looked_for(self, tmp_path):
        assert located("mp2", [tmp_path]) is None
        (tmp_path / "qm9_rimp2.npz").touch()
        assert located("mp2", [tmp_path]) == [str((tmp_path / "qm9_rimp2.npz").resolve())]
        assert located("xtb9-12", []) == ["xtb9"]
        assert located("drawn", []) == []
        assert located("mnist", [tmp_path]) is None

    def test_dipoles_of_the_worlds_that_ask_for_them(self, tmp_path):
        """Of a file with several vectors, in units of its own, the one that is named; energies are of that method."""
        arrays = archive()
        names, vectors = arrays["target_names"].astype(object), np.repeat(arrays["vector_targets"], 2, axis=1)
        names[list(names).index("atomization_energy")] = "mp2_binding_energy"
        vectors[:, 0] *= 7
        arrays |= {"target_names": names.astype(str), "vector_targets": vectors}
        arrays |= {"vector_target_names": np.array(["hf_dipole", "mp2_relaxed_dipole"])}
        arrays |= {"vector_target_units": np.array(["e*bohr"] * 2), "vector_target_methods": np.array(["RI-MP2"] * 2)}
        np.savez(tmp_path / "qm9_rimp2.npz", **arrays)
        for world in ("dipole", "principal", "field-stored", "field-random"):
            job = Job(world, "none", 0, 5, 60, (tmp_path,), tmp_path)
            data = open_run_data(resolved(runs.molecule_config(job)))
            dipole = data.loaded.columns[-1]
            assert dipole.name == "mp2_relaxed_dipole"
            assert dipole.unit == "debye"
            assert np.allclose(dipole.values, vectors[:, 1] * 2.541746, rtol=1e-5)
            assert data.targets[0].name == (
                "mp2_relaxed_dipole" if world in ("dipole", "principal") else "field_energy"
            )


def test_the_field_is_a_floor(home):
    """Of a network that answers the energy without the field: exactly the label's own term, in theory |F| <mu> / 2."""
    job = Job("small-field", "invariant", 0, 50, 60, (), home)
    do(job)
    trained = Trained.load(job.folder, CONTESTANTS["invariant"])
    data = trained.packed("random")
    rows = np.arange(len(trained.molecules))
    y = data.y[torch.from_numpy(rows)]
    term = scores.in_a_field(trained, y, y, "random", rows)
    assert term["free_mae"] == pytest.approx(term["term_mae"], rel=1e-3)  # an answer with the field is off by it
    assert term["term_mae"] == pytest.approx(term["floor_mae"], rel=0.03)  # 3,397 random orientations
    assert term["term_rmse"] == pytest.approx(term["floor_rmse"], rel=0.03)


@pytest.mark.slow
def test_a_run_is_the_same_again(home, tmp_path):
    found = []
    for place in ("a", "b"):
        job = Job("small-dipole", "learned", 1, 50, 60, (), tmp_path / place)
        found.append(do(job))
        assert json.loads(job.record.read_text()) == json.loads(json.dumps(found[-1]))
    timed = ("cpu_minutes", "train_minutes", "curve", "predict_ms", "predict_mb")
    first, second = ({k: v for k, v in f.items() if k not in timed} for f in found)
    assert first == second
    assert [e["copies"] for e in first["errors"]] == [1, 16, QUADRATURE]
    assert first["error"] == headline_of(first["errors"], CONTESTANTS["learned"])["mae"] == first["errors"][1]["mae"]
    assert first["error_name"] == "MAE per component, debye"
    times = [minutes for minutes, _ in found[0]["curve"]]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] == found[0]["train_minutes"] < found[0]["cpu_minutes"]
    split = load_split(tmp_path / "a" / "data" / "xtb9-12-all-60-1.npz", open_data(str(tmp_path / "a/data/xtb9-12")).id)
    assert first["errors"][0]["n"] == len(split.test) == 60
    assert first["parts"] == {
        "train": len(split.train),
        "law": len(split.budget),
        "valid": len(split.valid),
        "test": 60,
    }
    augmented, card = load_model(tmp_path / "a" / "models" / job.name)
    batch = Trained.load(job.folder, CONTESTANTS["learned"]).packed("random").batch(torch.arange(4))
    assert law_found(augmented, card, batch.x, np.array([0.0, 0.0, 1.0]))["nats"] == pytest.approx(first["law"]["nats"])


def test_settings_are_those_of_train():
    """Equal but for what makes a contestant: one network, or one of its own, and nothing else of the optimiser."""
    for contestant in CONTESTANTS.values():
        if not contestant.told and not contestant.foreign:
            config = TrainConfig(**contestant.molecules)
            assert config.optim == TrainConfig().optim
            assert contestant.averaged == (config.augment in ("fixed", "learned")), contestant.name
            assert contestant.exact == BACKBONES[config.model].symmetry.endswith("motions"), contestant.name
