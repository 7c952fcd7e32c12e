"""Labels from a .csv file, geometries from .xyz files."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from molaugerino.datasets.molecules import MoleculeSet
from molaugerino.datasets.readers import Row, assemble, number
from molaugerino.errors import UserError

Digest = Any  # what hashlib.sha256() gives, a class it does not name
FILES = ("file", "xyz")  # names of the column that names coordinate files


def load_csv(path: str | Path) -> MoleculeSet:
    """One molecule per line: `id`, labels such as `gap[eV]`, perhaps `smiles`; an empty entry is a missing
    label; columns of text are passed over.

    Geometries are in the .xyz files that the column `file` or `xyz` names, relative to the table; without one in
    `<stem>.xyz` beside it, many molecules one after the other, in whose comment lines the first word is the id.

    Raises:
        UserError: naming the line that has no geometry, text for a number, or an id that was there before.
    """
    path = Path(path)
    rows = _table(path)
    digest = hashlib.sha256()
    files = [column for column in FILES if column in rows[0][1]]
    geometries = {} if files else _by_id(path.with_suffix(".xyz"), digest)
    seen: dict[str, str] = {}
    found = []
    for line, row in rows:
        place = f"line {line} (id {row['id']})"
        if row["id"] in seen:
            raise UserError(f"{path}: {place} repeats the id of {seen[row['id']]}; give each molecule its own")
        seen[row["id"]] = place
        if files:
            numbers, positions = _one(path, place, row[files[0]], digest)
        elif row["id"] in geometries:
            numbers, positions = geometries[row["id"]]
        else:
            raise UserError(f"{path}: {place} has no geometry in {path.with_suffix('.xyz').name}; add or remove it")
        labels = {name: number(row[name]) for name in row if name not in ("id", "smiles", *FILES) and row[name]}
        found.append(Row(place, row["id"], numbers, positions, labels, row.get("smiles", "")))
    digest.update(path.read_bytes())
    return assemble(found, path, digest.hexdigest())


def _table(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Number and entries by column of each line that is not blank, spaces around names and entries cut off."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            (_, header), *lines = [(reader.line_num, [cell.strip() for cell in line]) for line in reader if line] or [
                (1, [])
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a readable .csv file ({error}); write it as UTF-8 with commas") from None
    if "id" not in header or len(set(header)) < len(header) or not lines:
        raise UserError(f"{path} needs a line of distinct column names with `id` among them, then a line per molecule")
    for number_, line in lines:
        if len(line) != len(header):
            raise UserError(f"{path}: line {number_} has {len(line)} entries, expected {len(header)}; correct it")
    return [(number_, dict(zip(header, line, strict=True))) for number_, line in lines]


def _one(table: Path, place: str, name: str, digest: Digest) -> tuple[np.ndarray, np.ndarray]:
    """The geometry of the one molecule in a file."""
    path = table.parent / name
    if not name or not os.path.isfile(path):
        raise UserError(f"{table}: {place} names the file {name!r}, which is not in {table.parent}; add or remove it")
    frames = list(_frames(path, digest))
    if len(frames) != 1:
        raise UserError(f"{table}: {place} names {name!r}, which holds {len(frames)} molecules, expected one; split it")
    return frames[0][1:]


def _by_id(path: Path, digest: Digest) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    if not os.path.isfile(path):
        raise UserError(
            f"no geometries for {path.with_suffix('.csv')}: name .xyz files in a column `file`, or put them into {path}"
        )
    found = {}
    for id, numbers, positions in _frames(path, digest):
        if id in found:
            raise UserError(f"{path} holds two molecules called {id!r}; give each its own id in the comment line")
        found[id] = numbers, positions
    return found


def _frames(path: Path, digest: Digest) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """First word of the comment, elements and positions of each molecule; further columns are passed over."""
    from ase.data import atomic_numbers

    content = path.read_bytes()
    digest.update(content)
    lines = content.decode("utf-8", "replace").splitlines()
    start = 0
    while lines and not lines[-1].strip():
        lines.pop()
    while start < len(lines):
        try:
            end = start + 2 + int(lines[start])
            atoms = [line.split() for line in lines[start + 2 : end]]
            unknown = [atom[0] for atom in atoms if atom[0] not in atomic_numbers]
            if unknown:
                raise ValueError(f"there is no element {unknown[0]!r}")
            numbers = np.array([atomic_numbers[atom[0]] for atom in atoms])
            positions = np.array([[float(x) for x in atom[1:4]] for atom in atoms]).reshape(-1, 3)
            if len(numbers) != end - start - 2:
                raise ValueError("it is cut short")
        except (ValueError, KeyError, IndexError) as error:
            raise UserError(f"{path}: no molecule begins in line {start + 1} ({error}); correct it") from None
        yield next(iter(lines[start + 1].split()), ""), numbers, positions
        start = end
