"""Bonds from a geometry."""

from __future__ import annotations

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import AllChem, rdDetermineBonds
from rdkit.Geometry import Point3D

from molaugerino.predict.smiles import Unpredictable

REACH = (1.3, 1.2, 1.15, 1.1)  # sums of covalent radii up to which atoms may be bonded
TRIES = 2000  # of bond orders, where a geometry comes without a SMILES


def perceive(numbers: np.ndarray, positions: np.ndarray, smiles: str = "") -> Chem.Mol:
    """The molecule with bonds, hydrogens and the stereochemistry that its positions show, atoms in their order.

    Args:
        numbers: (atoms,) atomic numbers.
        positions: (atoms, 3) angstrom.
        smiles: that says the bond orders, without stereochemistry or with another; '' takes orders that give every
            atom of a neutral molecule its valence.

    Raises:
        Unpredictable: `bad_smiles` where positions and SMILES are different graphs, or no bond orders fit.
    """
    writable = Chem.RWMol()
    conformer = Chem.Conformer(len(numbers))
    for k, (z, place) in enumerate(zip(numbers.tolist(), positions.tolist(), strict=True)):
        atom = Chem.Atom(z)
        atom.SetNoImplicit(True)
        writable.AddAtom(atom)
        conformer.SetAtomPosition(k, Point3D(*place))
    writable.AddConformer(conformer)
    mol = writable.GetMol()
    try:
        with rdBase.BlockLogs():
            if smiles:
                mol = _as_template(mol, Chem.AddHs(Chem.MolFromSmiles(smiles)))
            else:
                rdDetermineBonds.DetermineBonds(mol, charge=0, useVdw=True, covFactor=REACH[0], maxIterations=TRIES)
            Chem.SanitizeMol(mol)
            Chem.AssignStereochemistryFrom3D(mol)
    except (ValueError, RuntimeError, TypeError) as error:
        what = f"the SMILES {smiles!r}" if smiles else "any bond orders"
        raise Unpredictable("bad_smiles", f"the geometry does not fit {what} ({error})") from None
    return mol


def _as_template(mol: Chem.Mol, template: Chem.Mol) -> Chem.Mol:
    """The molecule with the bonds of a template: across a cage atoms come near that are not bonded."""
    for reach in REACH:
        rdDetermineBonds.DetermineConnectivity(mol, useVdw=True, covFactor=reach)
        if mol.GetNumBonds() == template.GetNumBonds():
            return AllChem.AssignBondOrdersFromTemplate(template, mol)
    raise ValueError("another number of bonds")
