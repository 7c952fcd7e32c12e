"""What is asked for: one molecule as a SMILES, as an RDKit molecule, or as a structure in space."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from molaugerino.errors import UserError


@dataclass(frozen=True)
class Structure:
    """Atoms in space.

    Attributes:
        numbers: (atoms,) atomic numbers.
        positions: (atoms, 3) angstrom.
        charge: net, in elementary charges.
    """

    numbers: np.ndarray
    positions: np.ndarray
    charge: int = 0


@dataclass(frozen=True)
class Entry:
    """One molecule asked for.

    Attributes:
        text: as given: the SMILES, or what the file calls the molecule.
        smiles: to read, '' where the molecule comes otherwise.
        mol: an RDKit molecule, with a conformer or without.
        structure: atoms in space without bonds.
        columns: of the file it came from, kept in the output.
        fault: why it could not be read, '' where it could.
    """

    text: str
    smiles: str = ""
    mol: Any = None
    structure: Structure | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""


def entries_of(molecules: Any) -> Iterator[Entry]:
    """Entries from Python objects: SMILES, RDKit molecules, ASE atoms, Data or Batch of torch_geometric; one or many.

    Raises:
        UserError: for anything else.
    """
    if isinstance(molecules, str) or _is_single(molecules):
        molecules = [molecules]
    if _is_batch(molecules):
        molecules = molecules.to_data_list()
    if not isinstance(molecules, Iterable):
        raise UserError(f"cannot predict a {type(molecules).__name__}; give {ACCEPTED}, or a list of them")
    for k, molecule in enumerate(molecules):
        yield _entry(molecule, k)


def beside(name: str, own: Collection[str]) -> str:
    """What a column of the input is called in a table that has columns of its own."""
    return f"{name} (given)" if name in own else name


ACCEPTED = "SMILES, RDKit molecules, ASE atoms, or Data or a Batch of torch_geometric"


def _entry(molecule: Any, k: int) -> Entry:
    if isinstance(molecule, Entry):
        return molecule
    if isinstance(molecule, str):
        return Entry(molecule, smiles=molecule)
    if hasattr(molecule, "GetNumConformers"):
        name = molecule.GetProp("_Name") if molecule.HasProp("_Name") else ""
        return Entry(name or str(k), mol=molecule)
    if hasattr(molecule, "get_atomic_numbers"):
        name = str(molecule.info.get("name", "") or molecule.get_chemical_formula())
        return Entry(name, structure=structure_of(molecule))
    if hasattr(molecule, "z") and hasattr(molecule, "pos"):
        numbers, positions = (t.detach().cpu().numpy() for t in (molecule.z, molecule.pos))
        charge = round(float(getattr(molecule, "charge", None) or 0))
        return Entry(str(getattr(molecule, "name", k)), structure=Structure(numbers, positions.astype(float), charge))
    raise UserError(f"molecule {k} is a {type(molecule).__name__}; give {ACCEPTED}")


def structure_of(atoms: Any) -> Structure:
    """Of ASE atoms; the net charge is `info["charge"]`, or the sum of the initial charges."""
    charge = atoms.info.get("charge", float(atoms.get_initial_charges().sum()))
    return Structure(atoms.get_atomic_numbers(), np.asarray(atoms.get_positions(), float), round(float(charge)))


def _is_single(molecules: Any) -> bool:
    one = hasattr(molecules, "GetNumConformers") or hasattr(molecules, "get_atomic_numbers")
    return one or isinstance(molecules, Entry) or (hasattr(molecules, "pos") and not _is_batch(molecules))


def _is_batch(molecules: Any) -> bool:
    return hasattr(molecules, "to_data_list")
