"""From SMILES to a geometry or a status."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem

from molaugerino.datasets import open_data
from molaugerino.predict.smiles import STATUSES, Unpredictable, embed, parse

ORGANIC = (1, 6, 7, 8, 9)


def status(smiles, **limits):
    try:
        embed(parse(smiles, ORGANIC, **limits))
    except Unpredictable as error:
        return error.status if error.reason else "no reason given"
    return "ok"


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("CCO", "ok"),
        ("  c1ccccc1 ", "ok"),
        ("C[N+](=O)[O-]", "ok"),  # neutral as a whole
        ("[2H]C([2H])[2H]", "ok"),
        ("C[C@H](O)F", "ok"),
        ("O", "ok"),
        ("", "empty"),
        ("   ", "empty"),
        ("not a smiles", "bad_smiles"),
        ("C1CC", "bad_smiles"),
        ("C(C)(C)(C)(C)C", "bad_smiles"),
        ("c1cccc1", "bad_smiles"),
        ("水", "bad_smiles"),
        ("C\ufffd", "bad_smiles"),
        ("Cü", "bad_smiles"),
        ("C\0C", "bad_smiles"),
        ("C[CH2]", "open_shell"),
        ("[CH2]", "open_shell"),
        ("[Na+].[Cl-]", "unsupported_element"),
        ("CS", "unsupported_element"),
        ("[Fe]", "unsupported_element"),
        ("*C", "unsupported_element"),
        ("[NH4+]", "charged"),
        ("CC(=O)[O-]", "charged"),
        ("C.C", "fragments"),
        ("C[NH3+].[O-]C=O", "fragments"),
        ("[H][H]", "no_heavy_atom"),
        ("[H]", "open_shell"),
        ("C1#CC1", "embed_failed"),
    ],
)
def test_status(smiles, expected):
    assert status(smiles) == expected
    assert expected in STATUSES


def test_too_large_is_counted_with_hydrogens():
    assert status("C" * 10, max_atoms=32) == "ok"
    assert status("C" * 10, max_atoms=31) == "too_large"


@pytest.mark.slow
def test_a_stuck_embedding_times_out():
    with pytest.raises(Unpredictable) as caught:
        embed(parse("C" * 300), timeout=1)
    assert caught.value.status == "timeout"


def test_one_molecule_has_one_geometry_however_it_is_written():
    first, second, third = (embed(parse(s)) for s in ("OCC(C)=O", "CC(=O)CO", "[CH3]C(CO)=[O:7]"))
    assert first.smiles == second.smiles == third.smiles
    assert np.array_equal(first.positions, second.positions)
    assert np.array_equal(first.positions, third.positions)
    assert np.abs(first.positions.mean(0)).max() < 1e-12


def test_the_embedded_set_was_made_by_the_same_route():
    """A stored MMFF94 geometry is what predict would feed, up to the rotation it was stored under."""
    data = open_data("xtb9")
    for k in range(100, len(data), len(data) // 12):
        atoms = slice(data.starts[k], data.starts[k] + data.num_atoms[k])
        made = embed(parse(str(data.smiles[k])))
        assert made.atomic_numbers.tolist() == data.atomic_numbers[atoms].tolist()
        stored = data.positions_mmff[atoms]
        difference = [np.linalg.norm(p[:, None] - p[None], axis=-1) for p in (made.positions, stored)]
        assert np.abs(difference[0] - difference[1]).max() < 0.02, data.smiles[k]


def test_isotopes_and_atom_maps_change_nothing():
    plain = Chem.MolToSmiles(parse("C=C"))
    for smiles in ("[2H]/C=C/[2H]", "[2H]C=C", "[CH2:1]=[CH2:2]", "[13CH2]=C"):
        assert Chem.MolToSmiles(parse(smiles)) == plain
    for smiles in ("F/C=C/C=C", "[2H]/C=C/C=C/F", "[2H]/C=C\\C=C\\F"):
        assert Chem.MolToSmiles(parse(smiles)) == Chem.MolToSmiles(parse("C=C/C=C/F")), smiles
    for smiles in ("[H]/N=C/C", "F/C=C\\F"):  # this stereo is real
        assert Chem.MolToSmiles(parse(smiles)) == Chem.CanonSmiles(smiles)
    assert Chem.MolToSmiles(parse("[2H][C@](F)(O)C")) == Chem.MolToSmiles(parse("[H][C@](F)(O)C"))
    assert Chem.MolToSmiles(parse("C[C@H](F)[2H]")) == Chem.MolToSmiles(parse("CCF"))
