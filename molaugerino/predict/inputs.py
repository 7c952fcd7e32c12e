"""Reading molecules from the command line, from files, and from standard input, one at a time."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem, rdBase

from molaugerino.errors import UserError
from molaugerino.predict.entries import Entry, Structure, structure_of

TEXT, SPACE, PACKED = (".smi", ".txt", ".csv"), (".sdf", ".xyz", ".extxyz"), ".gz"
FILES = TEXT + SPACE
LONGEST_LINE = 10_000_000  # characters; what comes after is dropped
LONGEST_RECORD = 10_000  # lines of a record of a .csv, .sdf or .xyz file
MARKS = {  # that files begin with which are not UTF-8
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_NOTHING = Structure(np.zeros(0, int), np.zeros((0, 3)))

codecs.register_error("else-cp1252", lambda error: _as_cp1252(error))


@dataclass(frozen=True)
class Source:
    """Molecules of one file, of a word of the command line, or of standard input, of whose number nothing is known.

    Attributes:
        entries: goes through them, from the first one at every call.
        total: how many there are.
    """

    entries: Callable[[], Iterator[Entry]]
    total: int | None


def open_inputs(inputs: Sequence[str], column: str) -> list[Source]:
    """Molecules from the command line, from files, or from standard input ("-", or no input at all).

    Files are gone through once to count their molecules, so a wrong name or a broken one costs no work.

    Args:
        inputs: SMILES, names of files of the kinds in `FILES`, packed by gzip (.gz) or not, or "-".
        column: of a .csv file, with the SMILES.

    Raises:
        UserError: where a file cannot be read, or is of no kind that is.
    """
    return [_open(text, column) for text in inputs or ("-",)]


def _open(text: str, column: str) -> Source:
    if text == "-":
        return Source(_piped, None)
    line = text.encode(errors="replace").decode()  # bytes of the command line that are no text
    path = Path(text)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = suffixes[-2] if suffixes[-1:] == [PACKED] and len(suffixes) > 1 else "".join(suffixes[-1:])
    if not text.strip() or suffix not in FILES:
        _refuse_files(path, text)
        return Source(lambda: iter([Entry(line, smiles=line)]), 1)

    def records() -> Iterator[Any]:
        with closing(_file(path)) as file:
            try:
                lines = _Lines(file)
                if suffix == ".csv":
                    yield from _csv_records(lines, text, column)
                elif suffix in SPACE:
                    yield from _sdf_records(lines) if suffix == ".sdf" else _xyz_records(lines)
                else:
                    yield from lines
            except (OSError, EOFError, zlib.error) as error:
                raise UserError(f"cannot read {text}: {getattr(error, 'strerror', None) or error}") from None

    def entries() -> Iterator[Entry]:
        name = path.name
        if suffix == ".csv":
            return records()
        if suffix in SPACE:
            read = _of_sdf if suffix == ".sdf" else _of_xyz
            return (read(record, name, k) for k, record in enumerate(records(), 1))
        return map(_of_line, records())

    return Source(entries, sum(1 for _ in records()))


def _piped() -> Iterator[Entry]:
    lines = _Lines(sys.stdin.buffer)
    try:
        yield from map(_of_line, lines)
    finally:
        lines.text.detach()


def _refuse_files(path: Path, text: str) -> None:
    """Raise for the name of a file or folder that is not read; any other text is a SMILES."""
    kinds = f"{', '.join(FILES)} file, as it is or packed ({PACKED}),"
    if text.strip() and _is(path, Path.is_dir):
        raise UserError(f"{text} is a folder; give a {kinds} or a SMILES")
    if text.strip() and _is(path, Path.is_file):
        raise UserError(f"{text} is a file of a kind that is not read; give a {kinds} or SMILES on standard input")


def _file(path: Path) -> Any:
    try:
        return gzip.open(path) if path.suffix.lower() == PACKED else path.open("rb")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


class _Lines:
    """Lines of a file as an editor counts them (str.splitlines would also break at rarer separators).

    UTF-8; UTF-16 and UTF-32 with a mark; a line that is none of them has its odd bytes read as cp1252, as older
    programs write it.
    """

    def __init__(self, file: Any) -> None:
        file = file if hasattr(file, "peek") else io.BufferedReader(file)
        start = file.peek(4)[:4]
        encoding = next((name for mark, name in MARKS.items() if start.startswith(mark)), "utf-8-sig")
        errors = "else-cp1252" if encoding == "utf-8-sig" else "replace"
        self.text = io.TextIOWrapper(file, encoding=encoding, errors=errors, newline=None)
        self.ahead: deque[str] = deque()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.ahead:
            return self.ahead.popleft()
        line = self.text.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        rest = line
        while len(rest) == LONGEST_LINE and not rest.endswith("\n"):
            rest = self.text.readline(LONGEST_LINE)
        return line.rstrip("\n").replace("\0", "\ufffd")

    def put_back(self, lines: Iterable[str]) -> None:
        """These come next."""
        self.ahead.extendleft(reversed([*lines]))


def _as_cp1252(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


def _of_line(line: str) -> Entry:
    """The first word, and the name after it."""
    smiles, _, name = line.strip().replace("\t", " ").partition(" ")
    return Entry(smiles, smiles=smiles, columns={"name": name.strip()} if name.strip() else {})


def _sdf_records(lines: Iterator[str]) -> Iterator[str]:
    """Text up to a line of four dollars; what comes after the last one is a record if it is not blank."""
    block: list[str] = []
    for line in lines:
        if line.rstrip() == "$$$$":
            yield "\n".join(block)
            block = []
        elif len(block) < LONGEST_RECORD:
            block.append(line)
    if "".join(block).strip():
        yield "\n".join(block)


def _of_sdf(block: str, name: str, k: int) -> Entry:
    """A record of an SD file with its data fields; one that cannot be read is an entry all the same."""
    supplier = Chem.SDMolSupplier()
    with rdBase.BlockLogs():
        supplier.SetData(block + "\n$$$$\n", removeHs=False)
        mol = next(iter(supplier), None)
    if mol is None:
        return Entry(f"{name}#{k}", fault=f"RDKit cannot read record {k}")
    title = mol.GetProp("_Name").strip() if mol.HasProp("_Name") else ""
    fields = {str(key): str(value) for key, value in mol.GetPropsAsDict(autoConvertStrings=False).items()}
    return Entry(title or f"{name}#{k}", mol=mol, columns=fields)


def _xyz_records(lines: Iterator[str]) -> Iterator[list[str]]:
    """Lines of each frame, as many as its first one says; where it says nothing, it is the last: nothing tells where
    the next one begins."""
    for line in lines:
        if not line.strip():
            continue
        atoms = _number_of_atoms(line)
        if atoms is None:
            yield [line]
            return
        kept = min(atoms + 1, LONGEST_RECORD)
        yield [line, *islice(lines, kept)]
        deque(islice(lines, atoms + 1 - kept), maxlen=0)


def _number_of_atoms(line: str) -> int | None:
    text = line.strip()
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _of_xyz(block: list[str], name: str, k: int) -> Entry:
    """A frame of an XYZ or extended XYZ file with what stands in its second line."""
    import ase.io

    title, fault = f"{name}#{k}", f"frame {k} is not readable as XYZ"
    if _number_of_atoms(block[0]) is None:
        what = f"{block[0].strip()[:40]!r} is no number of atoms"
        return Entry(title, structure=_NOTHING, fault=f"{fault}: {what}")
    try:
        atoms: Any = ase.io.read(io.StringIO("\n".join(block) + "\n"), format="extxyz")
        structure = structure_of(atoms)
    except Exception as error:  # ase has no exception of its own for files that are none
        return Entry(title, structure=_NOTHING, fault=f"{fault}: {error}")
    comment = block[1].strip()
    if "=" not in comment:  # a plain XYZ file: a name, or words
        return Entry(comment or title, structure=structure)
    fields = {key: str(value) for key, value in atoms.info.items()}
    return Entry(fields.get("name", title), structure=structure, columns=fields)


def _is(path: Path, test: Callable[[Path], bool]) -> bool:
    try:
        return test(path)
    except (OSError, ValueError):  # a SMILES too long or too odd to be a path
        return False


def _csv_records(lines: _Lines, name: str, column: str) -> Iterator[Entry]:
    """The molecules in one cell of every record; where quotes do not pair up, a line is a record of its own, and no
    good one is lost."""
    header = _record(lines)
    if header is None:
        raise UserError(f"{name} is empty; a .csv file needs a header with a column {column!r}")
    names = _distinct([cell.strip() for cell in header])
    matches = [k for k, cell in enumerate(names) if cell.lower() == column.lower()]
    if not matches:
        raise UserError(f"{name} has no column {column!r}; it has {_shown(header)}; name one with --column")
    k = matches[0]
    while (cells := _record(lines, k)) is not None:
        text = cells[k] if k < len(cells) else ""
        more = [f"column {i}" for i in range(len(names) + 1, len(cells) + 1)]  # that the header does not name
        others = {name: cell for i, (name, cell) in enumerate(zip(names + more, cells, strict=False)) if i != k}
        yield Entry(text, smiles=text, columns=others)


def _distinct(names: Sequence[str]) -> list[str]:
    """Names that were there before get a number."""
    found: list[str] = []
    for name in names:
        title, number = name, 2
        while title in found:
            title, number = f"{name} ({number})", number + 1
        found.append(title)
    return found


def _record(lines: _Lines, single: int | None = None) -> list[str] | None:
    """The next record, None at the end; the cell `single` does not go over a line, as no SMILES does."""
    used: list[str] = []

    def taken() -> Iterator[str]:
        for line in lines:
            used.append(line)
            yield line + "\n"
            if len(used) == LONGEST_RECORD:
                raise csv.Error("a quote that nothing closes")

    try:
        cells = next(csv.reader(taken(), strict=True), None)
        if cells is None or single is None or len(used) == 1 or single >= len(cells) or "\n" not in cells[single]:
            return cells
    except csv.Error:  # a stray quote, or an overlong field
        pass
    lines.put_back(used[1:])
    return used[0].split(",")


def _shown(header: list[str], width: int = 200) -> str:
    text = ", ".join(header)
    return text if len(text) <= width else text[: width - 3] + "..."
