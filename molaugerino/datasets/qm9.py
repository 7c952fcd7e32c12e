"""QM9 as its authors published it, under the names, order and units in which it is trained on.

133,885 molecules of up to nine C, N, O and F atoms, geometry and properties at B3LYP/6-31G(2df,p), one extended xyz
file each; 3,054 of them fell apart or changed their graph when their geometry was relaxed, and are left out.

Source: Ramakrishnan, Dral, Rupp, von Lilienfeld, Quantum chemistry structures and properties of 134 kilo molecules,
Scientific Data 1, 140022 (2014), doi:10.1038/sdata.2014.22.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from molaugerino.datasets.download import Progress, RemoteFile
from molaugerino.errors import UserError

METHOD = "B3LYP/6-31G(2df,p)"
COUNT, KEPT = 133_885, 130_831  # molecules of the archive, and without the uncharacterised ones
HARTREE = 27.211386246  # eV
FIGSHARE = ("https://ndownloader.figshare.com/files/{0}", "https://springernature.figshare.com/ndownloader/files/{0}")


def _figshare(name: str, number: int, size: int, md5: str) -> RemoteFile:
    return RemoteFile(name, size, md5, tuple(url.format(number) for url in FIGSHARE))


ARCHIVE = _figshare("dsgdb9nsd.xyz.tar.bz2", 3195389, 86_144_227, "ad1ebd51ee7f5b3a6e32e974e5d54012")
UNCHARACTERIZED = _figshare("uncharacterized.txt", 3195404, 486_752, "a361887bacb427b8a0ce7903d92a53b4")

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
UNITS = {  # of the targets, in their order
    **{"mu": "debye", "alpha": "bohr^3", "homo": "eV", "lumo": "eV", "gap": "eV", "r2": "bohr^2", "zpve": "eV"},
    **dict.fromkeys(ENERGIES, "eV"),
    "Cv": "cal/(mol K)",
    **{f"{name}_atom": "eV" for name in ENERGIES},
    **dict.fromkeys(("A", "B", "C"), "GHz"),
}
TARGETS = tuple(UNITS)
ALIASES = {  # of other libraries, in lower case
    **{"u298": "U", "h298": "H", "g298": "G", "u298_atom": "U_atom", "h298_atom": "H_atom", "g298_atom": "G_atom"},
    **{"dipole_moment": "mu", "isotropic_polarizability": "alpha", "electronic_spatial_extent": "r2"},
    **{"energy_u0": "U0", "energy_u": "U", "enthalpy_h": "H", "free_energy": "G", "heat_capacity": "Cv"},
    **{f"rotational_constant_{name.lower()}": name for name in ("A", "B", "C")},
    **{name.lower(): name for name in TARGETS if name not in ("A", "B", "C")},
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
    return Record(int(number), numbers, positions, np.array(labels, dtype=np.float64), lines[count + 3].split()[-1])


def read_archive(path: Path, progress: Progress = lambda name, done, size: None) -> Iterator[Record]:
    """The molecules of a .tar.bz2 archive, in its order, unpacked nowhere.

    Raises:
        UserError: for a damaged archive, or a file of another form.
    """
    try:
        with tarfile.open(path, "r|bz2") as archive:
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
    """Ids of the molecules to leave out: the lines that begin with a number, of a table with a heading."""
    return {int(found[1]) for line in text.splitlines() if (found := re.match(r"\s*(\d+)\s+\S", line))}


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
