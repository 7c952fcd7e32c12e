"""Which molecules are the same graph, whatever their stereochemistry and conformation."""

from __future__ import annotations

from functools import cache

import numpy as np

from molaugerino.datasets.molecules import MoleculeSet

TOLERANCE = 0.45  # angstrom beyond the sum of covalent radii up to which two atoms are bonded
ROUNDS = 10  # of refinement: more than the longest path in a molecule of nine heavy atoms


def graph_keys(molecules: MoleculeSet) -> np.ndarray:
    """key(molecule) = sum_a mix(c_a), c_a <- mix(c_a + sum_{b bonded to a} mix'(c_b)), c_a = the element at first.

    Weisfeiler-Lehman colours of the atoms, hydrogens included, bonds seen in the geometry: equal for one graph in any
    numbering of its atoms. Different graphs have different keys, but for the few that this refinement cannot tell
    apart and one chance in 2^64.

    Returns:
        (molecules,) uint64.
    """
    bonds = bonded_pairs(molecules)
    there, back = np.concatenate([bonds, bonds[:, ::-1]]).T
    order = np.argsort(there, kind="stable")
    there, back = there[order], back[order]
    atoms, first = np.unique(there, return_index=True)
    colour = _mix(molecules.atomic_numbers.astype(np.uint64))
    for _ in range(ROUNDS if len(atoms) else 0):
        received = np.zeros_like(colour)
        received[atoms] = np.add.reduceat(_mix(colour ^ np.uint64(0x5851F42D4C957F2D))[back], first)
        colour = _mix(colour + received)
    return np.add.reduceat(_mix(colour), molecules.starts)


def bonded_pairs(molecules: MoleculeSet) -> np.ndarray:
    """(bonds, 2) rows of atoms nearer than the sum of their covalent radii and a tolerance."""
    radii = covalent_radii()[molecules.atomic_numbers]
    pairs = molecules.close_pairs(2 * radii.max() + TOLERANCE)
    i, j = pairs.T
    distance = np.linalg.norm(molecules.positions[i] - molecules.positions[j], axis=1)
    return pairs[distance < radii[i] + radii[j] + TOLERANCE]


@cache
def covalent_radii() -> np.ndarray:
    """(119,) by atomic number, in angstrom; 0 for none."""
    from rdkit.Chem import GetPeriodicTable

    table = GetPeriodicTable()
    return np.array([0.0] + [table.GetRcovalent(z) for z in range(1, 119)])


def _mix(x: np.ndarray) -> np.ndarray:
    """A bijection of 64-bit words that scatters them (splitmix64, Steele, Lea and Flood 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
