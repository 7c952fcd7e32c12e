"""MMFF94 geometries for a whole set: order, stereochemistry, resuming, and the verb."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rdkit import Chem

from molaugerino.cli.main import main
from molaugerino.datasets import open_data
from molaugerino.errors import UserError
from molaugerino.predict.sets import Given, molecules_of, remake, with_mmff
from molaugerino.predict.smiles import embed, parse
from molaugerino.training.run import train


@pytest.fixture(scope="module")
def small(small_npz):
    return open_data(str(small_npz)).subset(np.arange(30))


def distances(positions):
    return np.linalg.norm(positions[:, None] - positions, axis=-1)


def test_atoms_keep_their_order(small):
    """Bonds of the new positions are those of the given ones, and the geometry is the one that predict makes."""
    for given in list(molecules_of(small))[:12]:
        order = np.random.default_rng(0).permutation(len(given.numbers))
        flat = Chem.MolFromSmiles(given.smiles)
        Chem.RemoveStereochemistry(flat)
        made = remake(Given(given.numbers[order], given.positions[order], Chem.MolToSmiles(flat)))
        assert made.reason == ""
        before, after = (distances(p) < 1.75 for p in (given.positions[order], made.positions))
        heavy = np.ix_(given.numbers[order] > 1, given.numbers[order] > 1)
        assert (before[heavy] == after[heavy]).all()
        expected = embed(parse(made.smiles))
        assert np.sort(distances(made.positions), axis=None) == pytest.approx(
            np.sort(distances(expected.positions), axis=None), abs=1e-3
        )


def test_stereochemistry_is_read_from_the_positions():
    for smiles in ("C[C@H](F)O", "C[C@@H](F)O", "C/C=C/F", "C/C=C\\F"):
        conformer = embed(parse(smiles))
        flat = Chem.MolFromSmiles(smiles)
        Chem.RemoveStereochemistry(flat)
        made = remake(Given(conformer.atomic_numbers, conformer.positions, Chem.MolToSmiles(flat)))
        assert made.smiles == Chem.CanonSmiles(smiles)
        np.testing.assert_allclose(made.positions, conformer.positions, atol=1e-4)


def test_a_smiles_of_another_molecule_is_refused():
    conformer = embed(parse("CCO"))
    assert remake(Given(conformer.atomic_numbers, conformer.positions, "CCN")).reason == "bad_smiles"


def test_an_interrupted_call_goes_on(small, tmp_path, monkeypatch):
    monkeypatch.setattr("molaugerino.predict.sets.CHUNK", 10)

    def interrupt(done, total):
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        with_mmff(small, tmp_path / "parts", report=interrupt)
    calls = []
    found, left_out = with_mmff(small, tmp_path / "parts", report=lambda done, total: calls.append(done))
    assert calls == [30]
    whole, _ = with_mmff(small, tmp_path / "again")
    np.testing.assert_array_equal(found.positions_mmff, whole.positions_mmff)
    assert found.smiles.tolist() == whole.smiles.tolist()
    assert len(found) + sum(left_out.values()) == 30
    with pytest.raises(UserError, match="what was made of other molecules"):
        with_mmff(replace(small, checksum="other"), tmp_path / "parts")


def test_the_verb_and_training_on_it(small_npz, tiny_config, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = dict(np.load(small_npz))
    count = int(content["num_atoms"][:60].sum())
    cut = {
        k: v[:count] if k in ("atomic_numbers", "positions") else v[:60]
        for k, v in content.items()
        if "target_" not in k
    }
    names = {k: v for k, v in content.items() if "target_" in k}
    del cut["positions_mmff"]
    np.savez("small.npz", **cut, **names)
    assert main(["data", "mmff", "small.npz", "--out", "made", "--jobs", "2"]) == 0
    assert "of 60 molecules in" in capsys.readouterr().out
    assert main(["data", "mmff", "small.npz", "--out", "made"]) == 0
    assert "already; train on it with: molaugerino train --data made" in capsys.readouterr().out
    cut["positions"] = cut["positions"] + 1
    np.savez("other.npz", **cut, **names)
    assert main(["data", "mmff", "other.npz", "--out", "made"]) == 2
    assert "made holds molecules of other data than other; choose another --out" in capsys.readouterr().err
    assert not (tmp_path / "made.parts").exists()
    run = train(tiny_config(tmp_path / "run", data=("made",), target=("gap",)))
    assert '"geometry": "mmff"' in (run.folder / "config.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fetch", "qm8"], "fetch knows qm9, got qm8"),
        (["mmff", "a.npz"], "takes data sets and --out DIR"),
        (["mmff", "a.npz", "--out", "x", "--jobs", "0"], "--jobs must lie between 1 and 1024, got 0"),
        (["mmff", "none.npz", "--out", "x"], "no data file at none.npz"),
    ],
)
def test_mistakes(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["data", *arguments])
    except SystemExit as end:  # the parser's own
        code = end.code
    assert code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_training_molecules_are_known_again_in_the_original_file(small_npz, tiny_config, tmp_path, monkeypatch):
    """A model of a prepared folder is not tested on what trained it, when it is given the file that it came from."""
    from molaugerino.datasets import save_prepared, trained_ids
    from molaugerino.training.checkpoint import ModelCard, load_card
    from molaugerino.training.folder import molecules_to_test

    save_prepared(open_data(str(small_npz)), tmp_path / "made")
    run = train(tiny_config(tmp_path / "run", data=(str(tmp_path / "made"),)))
    card, _ = load_card(run.folder, ModelCard)
    molecules, rows = molecules_to_test(run.folder, card, [str(small_npz)])
    assert 0 < len(rows) < len(molecules)
    assert not np.isin(molecules.id[rows], trained_ids(run.folder / "splits.npz")).any()
