"""Training on joined label sets, of which no molecule has all labels."""

from __future__ import annotations

import io
from dataclasses import astuple

import numpy as np
import pytest
import torch
from rich.console import Console

from molaugerino.cli.main import parse
from molaugerino.config import NetConfig, TrainConfig, to_toml
from molaugerino.datasets import Split, load_npz, open_joined, save_split
from molaugerino.datasets.targets import Target
from molaugerino.errors import UserError
from molaugerino.training.checkpoint import ModelCard, load_card
from molaugerino.training.defaults import resolved
from molaugerino.training.folder import molecules_to_test
from molaugerino.training.losses import make_loss
from molaugerino.training.run import train
from molaugerino.training.setup import make_card, make_module, open_run_data, repeats
from tests.conftest import archive

TARGETS = ("gap", "energy", "dipole")
PLENTIFUL, SCARCE = 300, 120
TWO = [Target(name, "", "eV") for name in "ab"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Gaps and energies of 300 molecules; dipoles, and gaps by another method, of 120, most of them among the 300."""
    folder = tmp_path_factory.mktemp("several")
    full = archive()
    starts = np.cumsum(full["num_atoms"]) - full["num_atoms"]

    def part(name, rows, columns, vectors, method):
        atoms = np.concatenate([np.arange(starts[r], starts[r] + full["num_atoms"][r]) for r in rows])
        arrays = {k: full[k][rows] for k in ("id", "num_atoms", "smiles")}
        arrays |= {k: full[k][atoms] for k in ("atomic_numbers", "positions")}
        arrays["targets"] = full["targets"][rows][:, columns] + (method == "two")
        arrays |= {f"target_{k}": full[f"target_{k}"][columns] for k in ("names", "units")}
        arrays["target_methods"] = np.array([method] * len(columns))
        if vectors:
            arrays |= {k: full[k] for k in full if k.startswith("vector_")}
            arrays["vector_targets"] = full["vector_targets"][rows]
        np.savez(folder / f"{name}.npz", **arrays)
        return str(folder / f"{name}.npz")

    names = list(full["target_names"])
    gap, energy = names.index("gap"), names.index("energy")
    return (
        part("plentiful", np.arange(PLENTIFUL), [gap, energy], False, "one"),
        part("scarce", np.arange(250, 250 + SCARCE), [gap], True, "two"),
    )


def settings(files, out, **changes):
    net = NetConfig(width=16, depth=1, heads=2, pair=8)
    return resolved(TrainConfig(**({"data": files, "target": TARGETS, "steps": 12, "out": out, "net": net} | changes)))


def test_every_method_is_a_target(files, tmp_path):
    data = open_run_data(settings(files, tmp_path))
    assert [(t.name, t.method) for t in data.targets][:3] == [("gap", "one"), ("gap", "two"), ("energy", "one")]
    assert len(data.loaded) == 370
    finite = torch.isfinite(data.packed.y).sum(0)
    assert finite.tolist() == [PLENTIFUL, SCARCE, PLENTIFUL, SCARCE, SCARCE, SCARCE]


def test_every_label_is_in_every_part(files, tmp_path):
    data = open_run_data(settings(files, tmp_path))
    for rows in astuple(data.split):
        assert torch.isfinite(data.packed.y[rows]).any(0).all()


def test_a_target_alone_keeps_the_split(files, tmp_path):
    whole = open_run_data(settings(files, tmp_path)).split
    alone = open_run_data(settings(files, tmp_path, target=("dipole",))).split
    assert set(alone.test) < set(whole.test)
    assert set(alone.train) < set(whole.train)


def test_scarce_molecules_come_more_often(files, tmp_path):
    labelled = np.zeros((900, 2), dtype=bool)
    labelled[:, 0] = True
    labelled[:100, 1] = True
    assert repeats(labelled).tolist() == [9] * 100 + [1] * 800
    data = open_run_data(settings(files, tmp_path))
    assert len(data.epoch) > len(data.train)
    assert set(data.epoch) == set(data.train)


class TestLoss:
    def test_missing_labels_cost_nothing_and_have_no_slope(self):
        left = torch.tensor([[0.0, 1.0], [2.0, 3.0], [1.0, torch.nan], [4.0, torch.nan]])
        loss = make_loss(left, TWO, torch.arange(4))
        prediction = torch.zeros(4, 2, requires_grad=True)
        values = loss(prediction, left)
        values.sum().backward()
        assert torch.isfinite(prediction.grad).all()
        assert (prediction.grad[2:, 1] == 0).all()
        assert (prediction.grad[1:3, 0] != 0).all()
        moved = prediction.detach().clone()
        moved[2, 1] += 100
        assert torch.equal(loss(moved, left), values)

    def test_by_hand(self):
        """Spreads 2 and 1; b is labelled half of the time, so it weighs the root of two more."""
        left = torch.tensor([[-2.0, -1.0], [2.0, 1.0], [-2.0, torch.nan], [2.0, torch.nan]]) * (3 / 4) ** 0.5
        left[:2, 1] *= (4 / 3) ** 0.5 * 0.5**0.5
        loss = make_loss(left, TWO, torch.arange(4))
        expected = 0.5 * 6.0 / 2 + 0.5 * 2**0.5 * 5.0 / 1
        assert float(loss(torch.tensor([[6.0, 5.0]]), torch.zeros(1, 2))) == pytest.approx(expected)

    def test_one_label_or_none(self):
        left = torch.tensor([[0.0, 1.0, torch.nan], [2.0, torch.nan, torch.nan], [1.0, torch.nan, torch.nan]])
        loss = make_loss(left, [*TWO, Target("c", "", "eV")], torch.arange(3))
        assert torch.isfinite(loss(torch.ones(3, 3), left)).all()
        assert float(loss(torch.tensor([[0.0, 0.0, 9.0]]), torch.zeros(1, 3))) == 0

    def test_a_prediction_that_is_not_finite_shows(self):
        loss = make_loss(torch.randn(4, 2), TWO, torch.arange(4))
        assert torch.isnan(loss(torch.full((1, 2), torch.nan), torch.zeros(1, 2))).all()


def test_gradients_stay_finite(files, tmp_path):
    config = settings(files, tmp_path)
    data = open_run_data(config)
    module = make_module(config, make_card(config, data), data)
    batch = data.packed.batch(torch.from_numpy(data.split.train[:40]))
    assert torch.isnan(batch.y).any()
    module(batch, *module._identity()).backward()
    assert all(torch.isfinite(p.grad).all() for p in module.augmented.model.parameters() if p.grad is not None)


def test_from_files_to_a_table(files, tmp_path):
    """Trained, saved, tested on the labels that are there, and taken up again by its data and by its split."""
    run = train(settings(files, tmp_path / "run"))
    cells = {(r.target, r.method, r.frames, r.copies): r for r in run.results}
    data = load_npz(files[1])
    assert all(np.isfinite(r.mae) for r in run.results)
    card, _ = load_card(run.folder, ModelCard)
    molecules, rows = molecules_to_test(run.folder, card)
    values = molecules.values(next(t for t in card.targets if t.method == "two"))[rows]
    assert cells["gap", "two", "stored", 1].n == np.isfinite(values).sum() < len(rows)
    assert len(card.train_mean) == 6
    assert np.isfinite(card.train_mean).all()
    again = open_run_data(
        settings((files[1],), tmp_path / "again", target=("dipole",), split=str(run.folder / "splits.npz"))
    )
    assert set(again.loaded.id[again.split.test]) == set(molecules.id[rows][np.isfinite(values)])
    assert len(data) == SCARCE


def test_what_was_trained_on_is_never_tested(files, tmp_path):
    """Whichever of its files, in whichever order, a run is tested on."""
    run = train(settings(files, tmp_path / "run"))
    card, _ = load_card(run.folder, ModelCard)
    with np.load(run.folder / "splits.npz") as archive:
        seen = np.concatenate([archive[f"{part}_id"] for part in ("train", "budget", "valid")])
    for sources in (files, files[::-1], files[:1], files[1:]):
        molecules, rows = molecules_to_test(run.folder, card, sources)
        assert 0 < len(rows) < len(molecules)
        assert not np.isin(molecules.id[rows], seen).any()


def test_molecules_are_known_again_in_a_changed_file(files, tmp_path):
    """By ids and geometries; where others have the ids they are tested; where nothing can be compared, it is said."""
    run = train(settings(files, tmp_path / "run"))
    card, _ = load_card(run.folder, ModelCard)
    with np.load(run.folder / "splits.npz") as archive:
        seen = np.concatenate([archive[f"{part}_id"] for part in ("train", "budget", "valid")])
    content = dict(np.load(files[0], allow_pickle=False))
    content["targets"] = content["targets"] + 1.0
    np.savez(tmp_path / "shifted.npz", **content)
    molecules, rows = molecules_to_test(run.folder, card, [str(tmp_path / "shifted.npz")])
    assert 0 < len(rows) < len(molecules)
    assert not np.isin(molecules.id[rows], seen).any()
    np.savez(tmp_path / "moved.npz", **(content | {"positions": 1.01 * content["positions"]}))
    molecules, rows = molecules_to_test(run.folder, card, [str(tmp_path / "moved.npz")])
    assert len(rows) == len(molecules)
    (run.folder / "config.toml").unlink()
    with pytest.warns(UserWarning, match="have ids of molecules that .* has seen; if they are the same"):
        molecules, rows = molecules_to_test(run.folder, card, [str(tmp_path / "shifted.npz")])
    assert len(rows) == len(molecules)


def test_many_small_groups_of_labels_are_split_as_one(tmp_path):
    arrays = archive()
    holes = np.random.default_rng(0).random(arrays["targets"].shape) < 0.5
    arrays["targets"] = np.where(holes, np.nan, arrays["targets"])
    np.savez(tmp_path / "holes.npz", **arrays)
    data = open_run_data(settings((str(tmp_path / "holes.npz"),), tmp_path, target=("gap",)))
    assert all(len(part) > 5 for part in astuple(data.split))


def test_a_world_gives_a_label_to_data_that_have_none(tmp_path):
    arrays = {key: value for key, value in archive().items() if not key.startswith(("target", "vector"))}
    arrays |= {"targets": np.zeros((len(arrays["id"]), 0))}
    arrays |= {f"target_{part}": np.array([], str) for part in ("names", "units", "methods")}
    np.savez(tmp_path / "bare.npz", **arrays)
    config = settings((str(tmp_path / "bare.npz"),), tmp_path, target=(), world="slab", frames="random")
    assert len(open_run_data(config).split.test) == 40


def test_methods_given(files, tmp_path):
    with pytest.raises(UserError, match=r"gap \(same\) of id"):
        open_joined(files, ("same",))
    config = settings(files, tmp_path, method=("three", "four"))
    assert [t.method for t in open_run_data(config).targets][:2] == ["three", "four"]
    with pytest.raises(UserError, match="one method for all data sets or one each, got 3 for 2"):
        open_run_data(settings(files, tmp_path, method=("a", "b", "c")))


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("diagonal", "--split must be one of random, graph, scaffold, dimenet"),
        ("cormorant", "one of QM9's 130,831 molecules by rising id, got 370"),
        ("none.npz", "not a readable split"),
    ],
)
def test_bad_splits(files, tmp_path, split, message):
    with pytest.raises(UserError, match=message):
        open_run_data(settings(files, tmp_path, split=split))


def test_molecules_outside_of_the_split_are_counted(files, tmp_path):
    part = {f"idx_{name}": np.arange(start, start + 20) for name, start in (("train", 0), ("val", 20), ("test", 40))}
    np.savez(tmp_path / "few.npz", **part)
    assert open_run_data(settings(files, tmp_path)).unused == 0
    config = settings(files[:1], tmp_path / "run", target=("gap",), split=str(tmp_path / "few.npz"))
    console = Console(file=io.StringIO())
    train(config, console)
    assert f"240 of 300 molecules are in no part of the split {config.split}" in console.file.getvalue()
    assert "--augment none has no law" not in console.file.getvalue()


def test_a_law_that_is_asked_for_without_augmentation_is_said_to_be_unused(files, tmp_path):
    console = Console(file=io.StringIO())
    train(settings(files[:1], tmp_path / "run", target=("gap",), augment="none", objective="kl"), console)
    assert "--augment none has no law; --objective and --law are not used" in console.file.getvalue()


def test_parts_that_may_be_missing(files, tmp_path):
    """No test part needs no test labels; no budget is right where no law is judged by it; the others must be there."""
    ids = open_joined(files).id
    parts = dict(zip(("train", "budget", "valid", "test"), np.split(np.arange(370), [300, 320, 370]), strict=True))

    def opened(without, **changes):
        part = {name: rows[:0] if name in without else rows for name, rows in parts.items()}
        save_split(Split(**part), tmp_path / "s.npz", ids)
        return open_run_data(settings(files, tmp_path, target=("dipole",), split=str(tmp_path / "s.npz"), **changes))

    assert len(opened(("test",), augment="learned", model="graph").split.test) == 0
    assert len(opened(("test", "budget"), augment="none").train) == 50, "those with a label"
    with pytest.raises(UserError, match="no molecule of the budget part"):
        opened(("test", "budget"), augment="learned", model="graph")
    with pytest.raises(UserError, match="no molecule of the valid part"):
        opened(("test", "valid"))
    parts["budget"] = parts["budget"][-1:]
    with pytest.raises(UserError, match="one molecule in the budget part of the split tells no spread"):
        opened((), augment="learned", model="graph")
    assert len(opened((), augment="none").split.budget) == 1


@pytest.mark.parametrize(
    ("readout", "expected"),
    [
        ((), ["mean", "sum", "mean"]),
        (("sum",), ["sum", "sum", "sum"]),
        (("sum", "mean", "mean"), ["sum", "mean", "mean"]),
    ],
)
def test_readouts(files, tmp_path, readout, expected):
    settings_of = settings(files, tmp_path, target=("gap@one", "energy", "dipole"), readout=readout)
    assert [t.readout for t in open_run_data(settings_of).targets] == expected


def test_other_numbers_of_readouts(files, tmp_path):
    with pytest.raises(
        UserError, match="one --readout for all targets or one each, got 2 for gap@one, gap@two, energy, dipole"
    ):
        open_run_data(settings(files, tmp_path, readout=("sum", "mean")))
    config = parse("train", ["--data", *files, "--readout", "sum", "mean"])
    assert config.readout == ("sum", "mean")
    (tmp_path / "c.toml").write_text(to_toml(config))
    assert parse("train", ["--config", str(tmp_path / "c.toml")]).readout == ("sum", "mean")


@pytest.mark.parametrize("split", ["random", "graph", "scaffold"])
def test_splits_by_name(files, tmp_path, split):
    data = open_run_data(settings(files, tmp_path, split=split))
    assert sum(len(part) for part in astuple(data.split)) == 370


def test_other_data_drop_the_methods_of_a_file_of_settings(files, tmp_path):
    (tmp_path / "c.toml").write_text('data = ["a.npz", "b.npz"]\nmethod = ["one", "two"]\nseed = 3\n')
    config = parse("train", ["--config", str(tmp_path / "c.toml"), "--data", "xtb9"])
    assert (config.data, config.method, config.seed) == (("xtb9",), (), 3)
    assert parse("train", ["--config", str(tmp_path / "c.toml")]).method == ("one", "two")
