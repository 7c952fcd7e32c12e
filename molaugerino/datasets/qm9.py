"""QM9 as its authors published it, under the names, order and units in which it is trained on.

133,885 molecules of up to nine C, N, O and F atoms, geometry and properties at B3LYP/6-31G(2df,p), one extended xyz
file each; 3,054 of them fell apart or changed their graph when their geometry was relaxed, and are left out.

Source: Ramakrishnan, Dral, Rupp, von Lilienfeld, Quantum chemistry structures and properties of 134 kilo molecules,
Scientific Data 1, 140022 (2014), doi:10.1038/sdata.2014.22.
"""

from __future__ import annotations

import bz2
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from molaugerino.datasets.download import Progress, RemoteFile, md5, silent
from molaugerino.datasets.molecules import MoleculeSet, from_arrays
from molaugerino.datasets.names import B3LYP, TARGETS, UNITS
from molaugerino.datasets.prepared import save_prepared
from molaugerino.datasets.units import HARTREE
from molaugerino.errors import UserError

COUNT, KEPT = 133_885, 130_831  # molecules of the archive, and without the uncharacterised ones
HEADING = 9  # lines before the table of the uncharacterised molecules; one line closes it
FIGSHARE = (
    "https://ndownloader.figshare.com/files/{0}",
    "https://springernature.figshare.com/ndownloader/files/{0}",
    "https://api.figshare.com/v2/file/download/{0}",
)


def _figshare(name: str, number: int, size: int, digest: str) -> RemoteFile:
    return RemoteFile(name, size, digest, tuple(url.format(number) for url in FIGSHARE))


ARCHIVE = _figshare("dsgdb9nsd.xyz.tar.bz2", 3195389, 86_144_227, "ad1ebd51ee7f5b3a6e32e974e5d54012")
UNCHARACTERIZED = _figshare("uncharacterized.txt", 3195404, 486_752, "a361887bacb427b8a0ce7903d92a53b4")


@dataclass(frozen=True)
class Published:
    """By which the authors' archive is known: its md5; and what is in it: molecules, and how many of them are kept."""

    md5: str
    count: int
    kept: int


PUBLISHED = Published(ARCHIVE.md5, COUNT, KEPT)

NUMBERS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
RAW = ("A", "B", "C", "mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "U0", "U", "H", "G", "Cv")
ENERGIES = ("U0", "U", "H", "G")
ATOMS = {  # of the free atoms in hartree, in the order of ENERGIES, from the authors' atomref.txt
    1: (-0.500273, -0.498857, -0.497912, -0.510927),
    6: (-37.846772, -37.845355, -37.844411, -37.861317),
    7: (-54.583861, -54.582445, -54.581501, -54.598897),
    8: (-75.064579, -75.063163, -75.062219, -75.079532),
    9: (-99.718730, -99.717314, -99.716370, -99.733544),
}


class Record(NamedTuple):
    """One molecule: id, elements (atoms,), positions (atoms, 3) in angstrom, labels in the order of RAW, SMILES."""

    id: int
    numbers: np.ndarray
    positions: np.ndarray
    labels: np.ndarray
    smiles: str


def parse_xyz(text: str) -> Record:
    """One file of the archive.

    na; "gdb", id and 15 properties; na lines of element, x, y, z, Mulliken charge; frequencies; SMILES as enumerated
    and as relaxed; InChI. Some numbers are written 1.2*^-6.

    Raises:
        ValueError: where the text has another form.
    """
    lines = text.replace("*^", "e").splitlines()
    count = int(lines[0])
    tag, number, *labels = lines[1].split()
    if tag != "gdb" or len(labels) != len(RAW) or len(lines) < count + 5:
        raise ValueError(f"not a QM9 file: {lines[1][:60]!r}")
    atoms = [line.split() for line in lines[2 : count + 2]]
    numbers = np.array([NUMBERS[atom[0]] for atom in atoms], dtype=np.uint8)
    positions = np.array([atom[1:4] for atom in atoms], dtype=np.float64)
    values = np.array(labels, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"a label is not finite: {lines[1]!r}")
    return Record(int(number), numbers, positions, values, lines[count + 3].split()[-1])


def read_archive(path: Path, progress: Progress = silent) -> Iterator[Record]:
    """The molecules of a .tar.bz2 archive, in its order, unpacked nowhere.

    Raises:
        UserError: where there is none, it is damaged or cut short, or holds an .xyz file of another form.
    """
    if not os.path.isfile(path):
        raise UserError(f"no archive at {path}; give the path of {ARCHIVE.name}")
    try:  # of the two readers, bz2's tells a cut from the end wherever it falls
        with bz2.open(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for done, member in enumerate(archive, 1):
                content = archive.extractfile(member) if member.name.endswith(".xyz") else None
                if content is not None:
                    try:
                        yield parse_xyz(content.read().decode("ascii"))
                    except (ValueError, IndexError, KeyError) as error:
                        raise UserError(f"{path}: {member.name} is not a file of QM9 ({error})") from None
                progress(path.name, done, COUNT)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{path} is not a whole .tar.bz2 archive ({error}); remove it and fetch it again") from None


def uncharacterized(text: str) -> set[int]:
    """Ids of the molecules to leave out: of the published table between heading and end, else of lines led by a number.

    >>> sorted(uncharacterized("id  SMILES\\n 7  CC#N\\n21\\n"))
    [7, 21]
    """
    lines = text.splitlines()
    if len(lines) == HEADING + COUNT - KEPT + 1:
        lines = lines[HEADING:-1]
    return {int(found[1]) for line in lines if (found := re.match(r"\s*(\d+)(\s|$)", line))}


def prepare(
    archive: Path, uncharacterized_text: str, out: Path, progress: Progress = silent, expect: Published = PUBLISHED
) -> tuple[int, int]:
    """Make the prepared folder `out` of an archive: ids, SMILES, geometry, and the 19 targets of each molecule kept.

    Args:
        archive: .tar.bz2 of .xyz files of QM9's form.
        uncharacterized_text: content of uncharacterized.txt; '' leaves none out.
        out: folder that does not exist yet; also the name of the set.
        progress: called with a name, the files so far and the files in all.
        expect: what an archive of its md5 must hold.

    Returns:
        How many molecules are kept and how many left out.

    Raises:
        UserError: where the archive is damaged, or is the published one and does not hold what it should.
    """
    left_out = uncharacterized(uncharacterized_text)
    count, records = 0, []
    for record in read_archive(archive, progress):
        count += 1
        if record.id not in left_out:
            records.append(record)
    got = Published(md5(archive), count, len(records))
    if got.md5 == expect.md5 and got != expect:
        raise UserError(
            f"{archive.name} gave {count} molecules, {len(records)} of them characterised, expected {expect.count} and "
            f"{expect.kept}; put the published {UNCHARACTERIZED.name} beside it, from {UNCHARACTERIZED.urls[0]}"
        )
    if not records:
        raise UserError(f"{archive} holds no molecule to keep; expected .xyz files as in {ARCHIVE.name}")
    save_prepared(molecules(records, out.name), out)
    return len(records), count - len(records)


def molecules(records: list[Record], name: str) -> MoleculeSet:
    """The records as a set with its 19 labels."""
    numbers = [record.numbers for record in records]
    atoms = np.array([[np.count_nonzero(of == z) for z in NUMBERS.values()] for of in numbers])
    arrays = {
        "id": np.array([record.id for record in records], dtype=np.int32),
        "num_atoms": atoms.sum(1),
        "atomic_numbers": np.concatenate(numbers),
        "positions": np.concatenate([record.positions for record in records]),
        "smiles": np.array([record.smiles for record in records]),
        "targets": labels(np.stack([record.labels for record in records]), atoms),
        "target_names": np.array(TARGETS),
        "target_units": np.array([UNITS[target] for target in TARGETS]),
        "target_methods": np.array([B3LYP] * len(TARGETS)),
    }
    return from_arrays(arrays, name)


def labels(raw: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """The targets (n, 19) in the order and units of UNITS.

    Args:
        raw: (n, 15) in the order and units of the files.
        atoms: (n, 5) how many H, C, N, O, F.
    """
    raw_of = dict(zip(RAW, raw.T, strict=True))
    free = atoms @ np.array([ATOMS[z] for z in NUMBERS.values()])
    bound = {f"{name}_atom": raw_of[name] - free[:, k] for k, name in enumerate(ENERGIES)}
    values = raw_of | bound
    return np.stack([values[name] * (HARTREE if unit == "eV" else 1.0) for name, unit in UNITS.items()], 1)
