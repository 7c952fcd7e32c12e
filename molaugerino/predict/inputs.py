"""Reading molecules from the command line, from files, and from standard input."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem, rdBase

from molaugerino.errors import UserError
from molaugerino.predict.entries import Entry, Structure

TEXT, SPACE = (".smi", ".txt", ".csv"), (".sdf", ".xyz", ".extxyz")
FILES = TEXT + SPACE
_NOTHING = Structure(np.zeros(0, int), np.zeros((0, 3)))


def read_inputs(inputs: Sequence[str], column: str) -> Iterator[Entry]:
    """Molecules from the command line, from files, or from standard input ("-", or no input at all).

    Files are checked before the first line is given out, so a wrong name costs no work.
    """
    sources = [_open(text, column) for text in inputs or ("-",)]
    for source in sources:
        yield from source


def _open(text: str, column: str) -> Iterator[Entry]:
    if text == "-":
        return _smi(sys.stdin.buffer.read())
    line = text.encode(errors="replace").decode()  # bytes of the command line that are no text
    if not text.strip():
        return iter([_smiles(line)])
    path = Path(text)
    if path.suffix.lower() not in FILES:
        if _is(path, Path.is_dir):
            raise UserError(f"{text} is a folder; give a {', '.join(FILES)} file or a SMILES")
        if _is(path, Path.is_file):
            raise UserError(
                f"{text} is a file of a kind that is not read; give {', '.join(FILES)}, or SMILES on standard input"
            )
        return iter([_smiles(line)])
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {text}: {error.strerror}") from None
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _csv(content, text, column)
    if suffix == ".sdf":
        return _sdf(content, path.name)
    return _xyz(content, path.name) if suffix in SPACE else _smi(content)


def _smiles(text: str) -> Entry:
    return Entry(text, smiles=text)


def _sdf(content: bytes, name: str) -> Iterator[Entry]:
    """The records of an SD file with their data fields; one that cannot be read is an entry all the same."""
    blocks = "\n".join(_lines(content)).split("$$$$\n")
    for k, block in enumerate(blocks, 1):
        if k == len(blocks) and not block.replace("$$$$", "").strip():
            return
        supplier = Chem.SDMolSupplier()
        with rdBase.BlockLogs():
            supplier.SetData(block + "\n$$$$\n", removeHs=False)
            mol = next(iter(supplier), None)
        if mol is None:
            yield Entry(f"{name}#{k}", fault=f"RDKit cannot read record {k}")
            continue
        title = mol.GetProp("_Name").strip() if mol.HasProp("_Name") else ""
        fields = {str(key): str(value) for key, value in mol.GetPropsAsDict(autoConvertStrings=False).items()}
        yield Entry(title or f"{name}#{k}", mol=mol, columns=fields)


def _xyz(content: bytes, name: str) -> Iterator[Entry]:
    """The frames of an XYZ or extended XYZ file with what stands in their second lines; each is read by itself."""
    lines, first, k = _lines(content), 0, 0
    while first < len(lines):
        if not lines[first].strip():
            first += 1
            continue
        k += 1
        text, fault = lines[first].strip(), f"frame {k} is not readable as XYZ"
        if not text.isdecimal():
            yield Entry(f"{name}#{k}", structure=_NOTHING, fault=f"{fault}: {text[:40]!r} is no number of atoms")
            return  # nothing tells where the next one begins
        block = lines[first : first + int(text) + 2]
        first += int(text) + 2
        yield _frame(block, f"{name}#{k}", fault)


def _frame(block: list[str], title: str, fault: str) -> Entry:
    import ase.io

    try:
        atoms: Any = ase.io.read(io.StringIO("\n".join(block) + "\n"), format="extxyz")
        charge = round(float(atoms.info.get("charge", 0)))
    except Exception as error:  # ase has no exception of its own for files that are none
        return Entry(title, structure=_NOTHING, fault=f"{fault}: {error}")
    fields = {key: str(value) for key, value in atoms.info.items()}
    return Entry(fields.get("name", title), structure=Structure(atoms.numbers, atoms.positions, charge), columns=fields)


def _is(path: Path, test: Callable[[Path], bool]) -> bool:
    try:
        return test(path)
    except (OSError, ValueError):  # a SMILES too long or too odd to be a path
        return False


def _smi(content: bytes) -> Iterator[Entry]:
    """The first word of every line, and the name after it."""
    for line in _lines(content):
        smiles, _, name = line.strip().replace("\t", " ").partition(" ")
        yield Entry(smiles, smiles=smiles, columns={"name": name.strip()} if name.strip() else {})


def _lines(content: bytes) -> list[str]:
    """Lines as an editor counts them (str.splitlines would also break at rarer separators)."""
    text = content.decode("utf-8-sig", errors="replace").replace("\0", "\ufffd")
    return [line.rstrip("\n") for line in io.StringIO(text, newline=None)]


def _csv(content: bytes, name: str, column: str) -> Iterator[Entry]:
    lines = _lines(content)
    if not lines:
        raise UserError(f"{name} is empty; a .csv file needs a header with a column {column!r}")
    header, used = _record(lines, 0)
    matches = [k for k, cell in enumerate(header) if cell.strip().lower() == column.lower()]
    if not matches:
        raise UserError(f"{name} has no column {column!r}; it has {_shown(header)}; name one with --column")
    return _cells(lines, used, matches[0], [cell.strip() for cell in header])


def _cells(lines: list[str], first: int, k: int, header: list[str]) -> Iterator[Entry]:
    """The molecules in cell k of every record; where quotes do not pair up, a line is a record of its own, and no good
    one is lost."""
    while first < len(lines):
        cells, used = _record(lines, first)
        if used > 1 and k < len(cells) and "\n" in cells[k]:  # no SMILES goes over a line
            cells, used = lines[first].split(","), 1
        text = cells[k] if k < len(cells) else ""
        others = {name: cell for i, (name, cell) in enumerate(zip(header, cells, strict=False)) if i != k}
        yield Entry(text, smiles=text, columns=others)
        first += used


def _record(lines: list[str], first: int) -> tuple[list[str], int]:
    """The record that starts on a line, and how many lines it takes."""
    reader = csv.reader((lines[i] + "\n" for i in range(first, len(lines))), strict=True)
    try:
        return next(reader), reader.line_num
    except csv.Error:  # a stray quote, or an overlong field
        return lines[first].split(","), 1


def _shown(header: list[str], width: int = 200) -> str:
    text = ", ".join(header)
    return text if len(text) <= width else text[: width - 3] + "..."
