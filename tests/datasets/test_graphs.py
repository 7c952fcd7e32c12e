"""Equal keys for equal graphs, and only for those."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from molaugerino.datasets.graphs import bonded_pairs, graph_keys
from molaugerino.datasets.molecules import MoleculeSet, from_arrays


def built(smiles: list[str], seed: int = 1, shuffled: bool = False) -> MoleculeSet:
    numbers, positions = [], []
    for k, text in enumerate(smiles):
        mol = Chem.AddHs(Chem.MolFromSmiles(text))
        assert AllChem.EmbedMolecule(mol, randomSeed=seed) == 0
        order = np.random.default_rng(k).permutation(mol.GetNumAtoms()) if shuffled else np.arange(mol.GetNumAtoms())
        numbers.append(np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])[order])
        positions.append(mol.GetConformer().GetPositions()[order])
    arrays = {
        "id": np.arange(len(smiles)),
        "num_atoms": np.array([len(z) for z in numbers]),
        "atomic_numbers": np.concatenate(numbers),
        "positions": np.concatenate(positions).astype(np.float32),
        "targets": np.zeros((len(smiles), 0)),
        "target_names": np.array([], dtype=str),
        "target_units": np.array([], dtype=str),
    }
    return from_arrays(arrays, "built")


SMILES = [
    "C",
    "CCO",
    "COC",
    "C=C",
    "CC",
    "c1ccccc1",
    "C1CCCCC1",
    "CC(N)=O",
    "NCC=O",
    "C#N",
    "OC1CC1",
    "CC1CO1",
    "[H][H]",
]


def test_keys_depend_on_the_graph_alone():
    keys = graph_keys(built(SMILES))
    assert len(np.unique(keys)) == len(SMILES)
    assert np.array_equal(keys, graph_keys(built(SMILES, seed=7, shuffled=True)))
    assert np.array_equal(keys[::-1], graph_keys(built(SMILES[::-1])))


def test_stereoisomers_share_a_key():
    a, b, c = graph_keys(built(["C[C@H](O)F", "C[C@@H](O)F", "CC(O)F"]))
    assert a == b == c
    cis, trans = graph_keys(built(["F/C=C/F", "F/C=C\\F"]))
    assert cis == trans


@pytest.mark.parametrize("text", SMILES)
def test_bonds_are_those_of_the_molecule(text):
    mol = Chem.AddHs(Chem.MolFromSmiles(text))
    expected = {frozenset((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in mol.GetBonds()}
    assert {frozenset(map(int, pair)) for pair in bonded_pairs(built([text]))} == expected


def test_single_atoms_have_keys():
    arrays = built(["C", "CC"])
    keys = graph_keys(arrays.subset(np.array([0, 1, 0])))
    assert keys[0] == keys[2] != keys[1]
