"""From what is asked for to geometries: given ones, ETKDGv3 + MMFF94 ones, or those relaxed with GFN2-xTB."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from rdkit import Chem

from molaugerino.datasets.molecules import OVERLAP
from molaugerino.predict.entries import Entry, Structure
from molaugerino.predict.perceive import perceive
from molaugerino.predict.smiles import Conformer, Status, Unpredictable, accepted, embed, isomers, leaves_open, parse
from molaugerino.predict.workers import End
from molaugerino.predict.xtb import relax

Route = Literal["given", "mmff", "xtb"]
KCAL_TO_EV = 0.0433641153
KT = 0.0256925791  # eV, at 298.15 K
TIMEOUT = 30  # seconds
LARGER = 2  # times the atoms of the largest training molecule, beyond which there is no number
OPEN = "open"  # added to the name of a route where stereochemistry was left open
REPLACED = "its geometry is from MMFF94; the one given told bonds and stereochemistry only"


@dataclass(frozen=True)
class Settings:
    """How geometries are made.

    Attributes:
        route: where they come from.
        isomers: stereoisomers made of a molecule that leaves its configuration open, at most.
        conformers: made of each.
        weights: "lowest" takes the conformer of lowest energy, "boltzmann" averages them at 298.15 K.
        elements: atomic numbers that the model has seen; None takes any.
        max_atoms: of its training molecules; None takes any number.
        timeout: seconds for each attempt to make a conformer.
    """

    route: Route
    isomers: int
    conformers: int
    weights: Literal["lowest", "boltzmann"]
    elements: tuple[int, ...] | None
    max_atoms: int | None
    timeout: int = TIMEOUT


@dataclass(frozen=True)
class Geometry:
    """Atomic numbers (atoms,) and positions (atoms, 3) in angstrom, of which isomer, and its weight in the mean.

    The weights of one isomer's conformers add up to 1.
    """

    numbers: np.ndarray
    positions: np.ndarray
    isomer: int
    weight: float


@dataclass(frozen=True)
class Prepared:
    """One molecule ready for the network, or the status and reason why it is not.

    Attributes:
        smiles: canonical, '' where nothing is known of bonds.
        geometries: none where `status` is not ok.
        route: as intervals are named: the route, with "-open" where several isomers stand for the molecule.
        note: what to know about a molecule that is ok.
    """

    smiles: str
    status: Status = "ok"
    reason: str = ""
    geometries: tuple[Geometry, ...] = ()
    route: str = ""
    note: str = ""


def prepare(job: tuple[Entry, Settings]) -> Prepared:
    """The geometries of one entry."""
    entry, settings = job
    smiles = ""
    try:
        if entry.fault:
            raise Unpredictable("bad_geometry" if entry.structure is not None else "bad_smiles", entry.fault)
        if entry.structure is None and not _in_space(entry.mol):
            flat = parse(entry.smiles, *_allowed(settings)) if entry.mol is None else _from_rdkit(entry.mol, settings)
            smiles = Chem.MolToSmiles(flat)
            return _from_graph(flat, smiles, settings)
        structure = _structure(entry)
        refuse(structure, *_allowed(settings))
        mol, note = _graph_of(entry, structure)
        if mol is not None:
            parsed = accepted(mol, *_allowed(settings))
            smiles = Chem.MolToSmiles(parsed)
            if settings.route == "mmff":
                return replace(_from_graph(parsed, smiles, settings), note=REPLACED)
        elif settings.route == "mmff":
            raise Unpredictable("bad_geometry", f"{note}, and MMFF94 needs bonds; use --geometry given or xtb")
        positions = structure.positions
        if settings.route == "xtb":
            positions, _ = relax(structure.numbers, positions)
        geometry = Geometry(structure.numbers, positions - positions.mean(0), 0, 1.0)
        return Prepared(smiles, geometries=(geometry,), route=settings.route, note=note)
    except Unpredictable as error:
        return Prepared(smiles, error.status, error.reason)
    except Exception as error:  # of RDKit, on a molecule nobody thought of: it costs its own row
        return Prepared(smiles, "crashed", f"{type(error).__name__}: {error}")


def given_up(job: tuple[Entry, Settings], end: End) -> Prepared:
    """What becomes of an entry whose geometries took too long, or whose process died over them."""
    if end == "timeout":
        return Prepared("", "timeout", "its geometries took longer than --timeout allows")
    return Prepared("", "crashed", "the process that made its geometries died")


def _allowed(settings: Settings) -> tuple[tuple[int, ...] | None, int | None]:
    return settings.elements, None if settings.max_atoms is None else LARGER * settings.max_atoms


def _in_space(mol: Chem.Mol | None) -> bool:
    return mol is not None and mol.GetNumConformers() > 0 and mol.GetConformer().Is3D()


def _from_rdkit(mol: Chem.Mol, settings: Settings) -> Chem.Mol:
    if mol.GetNumAtoms() == 0:
        raise Unpredictable("bad_smiles", "the molecule holds no atom")
    return accepted(Chem.Mol(mol), *_allowed(settings))


def _structure(entry: Entry) -> Structure:
    """Atoms in space of an entry that has them; hydrogens that an RDKit molecule leaves out are placed."""
    if entry.structure is not None:
        return entry.structure
    mol = Chem.AddHs(entry.mol, addCoords=True)
    numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    return Structure(numbers, mol.GetConformer().GetPositions(), Chem.GetFormalCharge(mol))


def refuse(structure: Structure, elements: Collection[int] | None, most: int | None) -> None:
    """Raise Unpredictable for atoms in space of which no number is given.

    Args:
        structure: the atoms.
        elements: atomic numbers that the model has seen; None takes any.
        most: atoms; None takes any number.
    """
    numbers, positions = structure.numbers, structure.positions
    if len(numbers) == 0 or positions.shape != (len(numbers), 3) or not np.isfinite(positions).all():
        raise Unpredictable("bad_geometry", f"{len(numbers)} atoms need as many finite positions in angstrom")
    table = Chem.GetPeriodicTable()
    if elements is not None and (strange := sorted(set(numbers.tolist()) - set(elements))):
        got = ", ".join(table.GetElementSymbol(int(z)) if 0 < z < 119 else str(z) for z in strange)
        known = ", ".join(table.GetElementSymbol(z) for z in sorted(elements))
        raise Unpredictable("unsupported_element", f"{got}: the model has seen {known} only")
    if structure.charge:
        raise Unpredictable("charged", f"net charge {structure.charge:+d}; neutral molecules only")
    if numbers.sum() % 2:
        raise Unpredictable("open_shell", f"{numbers.sum()} electrons, an odd number; closed shells only")
    if not (numbers > 1).any():
        raise Unpredictable("no_heavy_atom", "at least one atom heavier than hydrogen is needed")
    if most is not None and len(numbers) > most:
        raise Unpredictable("too_large", f"{len(numbers)} atoms; at most {most}")
    apart = np.linalg.norm(positions[:, None] - positions, axis=-1) + 10.0 * np.eye(len(numbers))
    if apart.min() < OVERLAP:
        raise Unpredictable("bad_geometry", f"two atoms are {apart.min():.2f} angstrom apart; is the unit angstrom?")


def _graph_of(entry: Entry, structure: Structure) -> tuple[Chem.Mol | None, str]:
    """The molecule with its bonds and the stereochemistry that the geometry shows, and what to know of it; None and
    why, where no bonds fit."""
    if entry.mol is not None:
        mol = Chem.Mol(entry.mol)
        Chem.AssignStereochemistryFrom3D(mol)
        placed = len(structure.numbers) - mol.GetNumAtoms()
        return mol, f"{placed} hydrogens without coordinates were placed by their bonds" if placed else ""
    try:
        return perceive(structure.numbers, structure.positions), ""
    except Unpredictable:
        return None, "no bonds fit this geometry"


def _from_graph(mol: Chem.Mol, smiles: str, settings: Settings) -> Prepared:
    """Isomers and conformers made from bonds alone."""
    if settings.route == "given":
        raise Unpredictable("no_geometry", "a SMILES has no geometry: use --geometry mmff or xtb, or a file of one")
    made: list[Geometry] = []
    failed: Unpredictable | None = None
    found = isomers(mol, settings.isomers)
    for isomer in found:
        try:
            made += _conformers(isomer, settings, made[-1].isomer + 1 if made else 0)
        except Unpredictable as error:  # some isomers of a cage cannot be
            failed = error
    if failed is not None and not made:
        raise failed
    is_open = len(found) > 1 or (settings.isomers == 1 and leaves_open(mol))
    route = f"{settings.route}-{OPEN}" if is_open else settings.route
    return Prepared(smiles, geometries=tuple(made), route=route)


def _conformers(mol: Chem.Mol, settings: Settings, isomer: int) -> list[Geometry]:
    conformers: list[Conformer] = []
    energies: list[float] = []
    for number in range(settings.conformers):
        try:
            conformer = embed(mol, settings.timeout, number)
            energy, positions = conformer.energy * KCAL_TO_EV, conformer.positions
            if settings.route == "xtb":
                positions, energy = relax(conformer.atomic_numbers, positions)
        except Unpredictable:
            if number == settings.conformers - 1 and not conformers:
                raise
            continue
        conformers.append(Conformer(conformer.smiles, conformer.atomic_numbers, positions, energy))
        energies.append(energy)
    weights = _weights(energies, settings)
    return [
        Geometry(c.atomic_numbers.astype(np.int64), c.positions, isomer, w)
        for c, w in zip(conformers, weights, strict=True)
    ]


def _weights(energies: Sequence[float], settings: Settings) -> list[float]:
    """Of conformers with these energies in eV: 1 for the lowest, or Boltzmann's at 298.15 K."""
    lowest = min(energies)
    if settings.weights == "lowest":
        first = energies.index(lowest)
        return [float(k == first) for k in range(len(energies))]
    weights = [math.exp(-(energy - lowest) / KT) for energy in energies]
    return [w / sum(weights) for w in weights]
