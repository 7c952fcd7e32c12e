"""From a SMILES to a force-field geometry, or to a status that says why there is none.

The route is ETKDGv3 (distance geometry with torsion preferences) followed by a
MMFF94 minimisation, seeded by the canonical SMILES, so that one molecule has one
geometry wherever and in whatever company it is prepared.

Sources: S. Wang, J. Witte, G. Landrum, S. Riniker, J. Chem. Inf. Model. 60, 2044
(2020); T. A. Halgren, J. Comput. Chem. 17, 490 (1996).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
from rdkit.Chem.EnumerateStereoisomers import (
    EnumerateStereoisomers,
    GetStereoisomerCount,
    StereoEnumerationOptions,
)

Status = Literal[
    "ok",
    "empty",
    "bad_smiles",
    "unsupported_element",
    "charged",
    "open_shell",
    "fragments",
    "no_heavy_atom",
    "no_geometry",
    "bad_geometry",
    "embed_failed",
    "relax_failed",
    "too_large",
    "timeout",
    "crashed",
]
STATUSES: tuple[str, ...] = get_args(Status)

MMFF_STEPS = 2000
LONGEST = 10_000  # characters of a SMILES
TRIES = 30  # of each way to embed a molecule


class Unpredictable(ValueError):
    """A molecule for which no number may be given: `status` (one of `STATUSES`) and `reason`."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Conformer:
    """One molecule with hydrogens in three dimensions.

    Attributes:
        smiles: canonical isomeric SMILES.
        atomic_numbers: (atoms,) uint8; heavy atoms in the order of `smiles`, then hydrogens.
        positions: (atoms, 3) float64, angstrom, centroid at the origin.
        energy: of MMFF94, kcal/mol; NaN where it was not asked for.
    """

    smiles: str
    atomic_numbers: np.ndarray
    positions: np.ndarray
    energy: float = math.nan


def parse(smiles: str, elements: Collection[int] | None = None, max_atoms: int | None = None) -> Chem.Mol:
    """Read a SMILES and refuse what no closed-shell, neutral, single molecule is.

    Args:
        smiles: one SMILES; surrounding white space is ignored.
        elements: atomic numbers that may occur; None allows all.
        max_atoms: largest number of atoms, hydrogens included; None allows any.

    Returns:
        The molecule rebuilt from its canonical isomeric SMILES (so its atom order does not
        depend on how it was written), without explicit hydrogens.

    Raises:
        Unpredictable: with the status that describes what is wrong.
    """
    text = smiles.strip()
    if not text:
        raise Unpredictable("empty", "nothing on this line")
    if len(text) > LONGEST:
        raise Unpredictable("too_large", f"a SMILES of {len(text):,} characters; at most {LONGEST:,}")
    mol = None
    if text.isascii() and text.isprintable():  # RDKit may skip other characters, or stop at them
        with rdBase.BlockLogs():
            mol = Chem.MolFromSmiles(text)
    if mol is None:
        raise Unpredictable("bad_smiles", f"RDKit cannot read {_shown(text)} as a SMILES")
    if mol.GetNumAtoms() == 0:
        raise Unpredictable("bad_smiles", f"{_shown(text)} holds no atom")
    return accepted(mol, elements, max_atoms)


def accepted(mol: Chem.Mol, elements: Collection[int] | None = None, max_atoms: int | None = None) -> Chem.Mol:
    """What `parse` returns, from a molecule of RDKit."""
    if mol.NeedsUpdatePropertyCache():
        mol.UpdatePropertyCache()
    _refuse(mol, elements, max_atoms)
    return _without_isotopes(mol)


def _without_isotopes(mol: Chem.Mol) -> Chem.Mol:
    """The molecule as its electrons see it: no isotopes, no atom maps, no stereo that only an isotope makes."""
    for atom in mol.GetAtoms():
        atom.SetAtomMapNum(0)
        atom.SetIsotope(0)
    for bond in mol.GetBonds():
        ends = bond.GetBeginAtom(), bond.GetEndAtom()
        alike = [atom for atom in ends if atom.GetTotalNumHs(includeNeighbors=True) > 1]
        if bond.GetStereo() != Chem.BondStereo.STEREONONE and alike:
            bond.SetStereo(Chem.BondStereo.STEREONONE)
            for single in (b for atom in alike for b in atom.GetBonds()):
                single.SetBondDir(Chem.BondDir.NONE)
    return Chem.MolFromSmiles(Chem.MolToSmiles(Chem.RemoveHs(mol)))


def _refuse(mol: Chem.Mol, elements: Collection[int] | None, max_atoms: int | None) -> None:
    table = Chem.GetPeriodicTable()
    numbers = {atom.GetAtomicNum() for atom in mol.GetAtoms()}
    if elements is not None:
        allowed = set(elements)
        strange = sorted(numbers - allowed)
        if strange:
            got = ", ".join(table.GetElementSymbol(z) if z else "*" for z in strange)
            known = ", ".join(table.GetElementSymbol(z) for z in sorted(allowed))
            raise Unpredictable("unsupported_element", f"{got}: the model has seen {known} only")
    elif 0 in numbers:
        raise Unpredictable("unsupported_element", "* stands for no element")
    parts = len(Chem.GetMolFrags(mol))
    if parts > 1:
        raise Unpredictable("fragments", f"{parts} separate molecules; give them on lines of their own")
    charge = Chem.GetFormalCharge(mol)
    if charge:
        raise Unpredictable("charged", f"net charge {charge:+d}; neutral molecules only")
    radical = sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
    if radical:
        raise Unpredictable("open_shell", f"{radical} unpaired electron(s); closed shells only")
    if not any(z > 1 for z in numbers):
        raise Unpredictable("no_heavy_atom", "at least one atom heavier than hydrogen is needed")
    atoms = sum(1 + atom.GetTotalNumHs() for atom in mol.GetAtoms())
    if max_atoms is not None and atoms > max_atoms:
        raise Unpredictable("too_large", f"{atoms} atoms with hydrogens; at most {max_atoms}")


def _shown(text: str, width: int = 60) -> str:
    return repr(text if len(text) <= width else text[: width - 3] + "...")


def conformer_seed(smiles: str, salt: int = 0) -> int:
    """crc32 of the SMILES, as the positive 31-bit integer that RDKit takes for a seed."""
    return zlib.crc32(smiles.encode(), salt) & 0x7FFFFFFF


def isomers(mol: Chem.Mol, most: int) -> list[Chem.Mol]:
    """The stereoisomers that a molecule leaves open, at most so many, in the order of their canonical SMILES.

    Centres and double bonds that are stated stay as they are. Where there are more, a seeded choice.

    Args:
        mol: that `parse` returned.
        most: 1 takes the molecule as it is.
    """
    if most == 1:
        return [mol]
    options = StereoEnumerationOptions(
        onlyUnassigned=True, unique=True, maxIsomers=most, rand=conformer_seed(Chem.MolToSmiles(mol))
    )
    with rdBase.BlockLogs():
        found = {Chem.MolToSmiles(isomer) for isomer in EnumerateStereoisomers(mol, options)}
    return [Chem.MolFromSmiles(smiles) for smiles in sorted(found)] or [mol]


def leaves_open(mol: Chem.Mol) -> bool:
    """Whether a molecule has centres or double bonds whose configuration is not stated."""
    with rdBase.BlockLogs():
        return bool(GetStereoisomerCount(mol, StereoEnumerationOptions(onlyUnassigned=True)) > 1)


def embed(mol: Chem.Mol, timeout: int = 30, number: int = 0, steps: int = MMFF_STEPS) -> Conformer:
    """One ETKDGv3 + MMFF94 conformer of a molecule that `parse` returned.

    Args:
        mol: molecule without explicit hydrogens, in canonical order.
        timeout: seconds allowed to each attempt of the embedding.
        number: of the conformer; each number has a seed of its own.
        steps: of the minimisation, at most; 0 leaves the geometry as ETKDGv3 made it.

    Returns:
        The minimised conformer, centroid at the origin, and its energy. The same molecule always gets the
        same one: the seed is a hash of its canonical SMILES.

    Raises:
        Unpredictable: `embed_failed` (no geometry satisfies the bounds, or MMFF94 has no
            parameters, or the minimisation failed) or `timeout`.
    """
    smiles = Chem.MolToSmiles(mol)
    hydrogenated = Chem.AddHs(mol)
    with rdBase.BlockLogs():
        _embed_coordinates(hydrogenated, conformer_seed(smiles, number), timeout)
        properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(hydrogenated)
        if properties is None:
            raise Unpredictable("embed_failed", "MMFF94 has no parameters for this molecule")
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(hydrogenated, properties)
        field.Initialize()
        outcome = field.Minimize(maxIts=steps) if steps else 0
        energy = field.CalcEnergy()
    positions = hydrogenated.GetConformer().GetPositions()
    if outcome == -1 or not np.isfinite(positions).all():
        raise Unpredictable("embed_failed", "the MMFF94 minimisation failed")
    numbers = np.array([atom.GetAtomicNum() for atom in hydrogenated.GetAtoms()], dtype=np.uint8)
    return Conformer(smiles, numbers, positions - positions.mean(0), energy)


def _embed_coordinates(mol: Chem.Mol, seed: int, timeout: int) -> None:
    """Embed in place, in the first of three ways that works.

    ETKDGv3 as it is; then without holding every step to the configuration, which strained cages do not survive, where
    the result has it all the same; then from random coordinates.
    """
    causes = rdDistGeom.EmbedFailureCauses
    timed_out = False
    for enforced, random_start in ((True, False), (False, False), (True, True)):
        options: Any = rdDistGeom.ETKDGv3()
        options.randomSeed = seed
        options.timeout = timeout
        options.maxIterations = TRIES
        options.enforceChirality = enforced
        options.useRandomCoords = random_start
        options.trackFailures = True
        if rdDistGeom.EmbedMolecule(mol, options) == 0 and (enforced or _has_stereo(mol)):
            return
        timed_out |= options.GetFailureCounts()[causes.EXCEEDED_TIMEOUT] > 0
    if timed_out:
        raise Unpredictable("timeout", f"no geometry within {timeout} s")
    raise Unpredictable("embed_failed", "ETKDGv3 found no geometry for this molecule")


def _has_stereo(mol: Chem.Mol) -> bool:
    """Whether the coordinates show the configuration that the molecule states; what it leaves open may be any."""
    found = Chem.Mol(mol)
    Chem.AssignStereochemistryFrom3D(found)
    return found.HasSubstructMatch(mol, useChirality=True)
