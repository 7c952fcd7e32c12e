"""Molecules with labels from SDF and extended XYZ files; every number that all molecules have becomes a label.

A label's name may carry its unit, `gap[eV]`; without one the unit is ''. No method is stated by these files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from molaugerino.datasets.molecules import MoleculeSet, from_arrays
from molaugerino.errors import UserError
from molaugerino.files import sha256_of


@dataclass(frozen=True)
class Row:
    """One molecule as a file has it.

    Attributes:
        place: where in the file, for messages: "record 3".
        id: its identifier, '' where there is none.
        numbers: (atoms,) elements.
        positions: (atoms, 3), angstrom.
        labels: numbers, and arrays of three numbers for vectors, by name; None for what is there but no number.
        smiles: '' where there is none.
    """

    place: str
    id: str
    numbers: np.ndarray
    positions: np.ndarray
    labels: Mapping[str, float | np.ndarray | None]
    smiles: str = ""


def load_sdf(path: str | Path) -> MoleculeSet:
    """Records with a 3D geometry and explicit hydrogens; their titles are the ids where all differ.

    Raises:
        UserError: naming the record that is unreadable, flat, without its hydrogens, or has text for a number.
    """
    path = Path(path)
    return assemble(list(_sdf_rows(path)), path, sha256_of(path))


def _sdf_rows(path: Path) -> Iterator[Row]:
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs(), path.open("rb") as file:
        for k, mol in enumerate(Chem.ForwardSDMolSupplier(file, sanitize=False, removeHs=False), 1):
            place = f"record {k}"
            if mol is None:
                raise UserError(f"{path}: {place} is not a readable molecule; correct or remove it")
            if mol.GetNumConformers() == 0 or not mol.GetConformer().Is3D():
                raise UserError(f"{path}: {place} has no 3D geometry; make one first")
            mol.UpdatePropertyCache(strict=False)
            if any(atom.GetAtomicNum() == 6 and atom.GetNumImplicitHs() for atom in mol.GetAtoms()):
                raise UserError(f"{path}: {place} lacks hydrogens on its carbons; write the file with all of them")
            labels = {name: number(mol.GetProp(name)) for name in mol.GetPropNames()}
            numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
            title = mol.GetProp("_Name").strip() if mol.HasProp("_Name") else ""
            yield Row(place, title, numbers, mol.GetConformer().GetPositions(), labels)


def load_extxyz(path: str | Path) -> MoleculeSet:
    """Frames of an extended XYZ file, read by ase: the numbers in the comment lines are labels, by their keys.

    Every array of three numbers is a vector label and turns with its molecule; ase's own results (energy, dipole) are
    labels, too. A key `id` or `name` identifies the molecules where all differ.

    Raises:
        UserError: naming the frame that has something else for a number; where ase is missing, or cannot read the file.
    """
    path = Path(path)
    try:
        from ase.io import iread
    except ImportError:
        raise UserError(f"reading {path} needs ase; install it with: pip install ase") from None
    try:
        frames = list(iread(path, index=":", format="extxyz"))
    except Exception as error:  # ase raises whatever its parsers do
        raise UserError(f"{path} is not an extended XYZ file ({type(error).__name__}: {error}); correct it") from None
    return assemble([_frame(k, atoms) for k, atoms in enumerate(frames, 1)], path, sha256_of(path))


def _frame(k: int, atoms: Any) -> Row:
    info = dict(atoms.info) | (atoms.calc.results if atoms.calc is not None else {})
    labels: dict[str, float | np.ndarray | None] = {}
    for name, value in info.items():
        array = np.asarray(value)
        fits = array.dtype.kind in "iuf" and array.shape in ((), (3,))
        if name != "id":
            labels[name] = None if not fits else array.astype(float) if array.shape else float(array)
    id = next((str(info[key]) for key in ("id", "name") if key in info), "")
    return Row(f"frame {k}", id, atoms.numbers, atoms.positions, labels, str(info.get("smiles", "")))


def number(text: str | None) -> float | None:
    """The number that a text is, if it is one."""
    try:
        return float(text or "")
    except ValueError:
        return None


def assemble(rows: list[Row], path: Path, checksum: str) -> MoleculeSet:
    """The set that the molecules of a file make; a label that only some of them have is NaN elsewhere.

    Raises:
        UserError: naming what is wrong and where.
    """
    if not rows:
        raise UserError(f"{path} holds no molecule")
    shapes: dict[str, tuple[int, ...]] = {}
    for row in rows:
        for name, value in row.labels.items():
            if value is not None:
                shapes.setdefault(name, np.shape(value))
    for row in rows:
        if len(row.numbers) == 0:
            raise UserError(f"{path}: {row.place} has no atoms; remove it")
        for name, shape in shapes.items():
            value = row.labels.get(name, np.full(shape, np.nan))
            if value is None or np.shape(value) != shape or np.isinf(value).any():
                kind = "three numbers" if shape else "a number"
                raise UserError(f"{path}: {row.place} needs {kind} as {name!r}, as others have, or none; correct it")
    arrays: dict[str, np.ndarray] = {
        "id": _ids(rows),
        "num_atoms": np.array([len(row.numbers) for row in rows]),
        "atomic_numbers": np.concatenate([row.numbers for row in rows]),
        "positions": np.concatenate([row.positions for row in rows]).astype(np.float64),
    }
    for prefix, shape in (("", ()), ("vector_", (3,))):
        of = [name for name in shapes if shapes[name] == shape]
        split = [_unit(name) for name in of]
        arrays[f"{prefix}targets"] = np.array(
            [[row.labels.get(name, np.full(shape, np.nan)) for name in of] for row in rows], dtype=float
        ).reshape(len(rows), len(of), *shape)
        arrays[f"{prefix}target_names"] = np.array([name for name, _ in split], dtype=str)
        arrays[f"{prefix}target_units"] = np.array([unit for _, unit in split], dtype=str)
    if any(row.smiles for row in rows):
        arrays["smiles"] = np.array([row.smiles for row in rows])
    return from_arrays(arrays, path.stem, checksum)


def _ids(rows: list[Row]) -> np.ndarray:
    """As given where all differ, as integers where all are; else 1, 2, ..."""
    given = [row.id for row in rows]
    if not all(given) or len(set(given)) < len(given):
        return np.arange(1, len(rows) + 1)
    if all(re.fullmatch(r"0|[1-9]\d{0,17}", id) for id in given):
        return np.array([int(id) for id in given])
    return np.array(given)


def _unit(header: str) -> tuple[str, str]:
    """gap[eV] as name and unit."""
    found = re.fullmatch(r"(.+?)\s*\[(.*)\]", header.strip())
    return (found[1], found[2]) if found else (header.strip(), "")
