"""A set of molecules with labels, packed, and the one npz form it is read from."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.spatial import cKDTree

from molaugerino.datasets.names import method_of, property_of
from molaugerino.datasets.targets import COMPONENTS, MAX_Z, Target, default_readout
from molaugerino.datasets.units import factor
from molaugerino.errors import UserError
from molaugerino.files import sha256

Geometry = Literal["given", "mmff"]
OVERLAP = 0.4  # angstrom: no two nuclei of a molecule are nearer
KINDS = {"i": "integers", "u": "non-negative integers", "f": "real numbers", "U": "text"}
FORM = {  # dimensions and kinds of the arrays of an archive
    "id": (1, "iuU"),
    "num_atoms": (1, "iu"),
    "atomic_numbers": (1, "iu"),
    "positions": (2, "f"),
    "positions_mmff": (2, "f"),
    "smiles": (1, "U"),
    "targets": (2, "fiu"),
    "vector_targets": (3, "fiu"),
} | {f"{vector}target_{part}": (1, "U") for vector in ("", "vector_") for part in ("names", "units", "methods")}


@dataclass(frozen=True)
class Column:
    """One label of every molecule: values (n,), or (n, 3) in the frame of the positions for a vector."""

    name: str
    method: str
    unit: str
    values: np.ndarray

    @property
    def kind(self) -> Literal["scalar", "vector"]:
        return "vector" if self.values.ndim == 2 else "scalar"


@dataclass(frozen=True)
class MoleculeSet:
    """n molecules, their atoms packed one after the other; molecule k owns the rows from starts[k] on.

    Attributes:
        name: stem of the file.
        checksum: sha256 of the file; of joined files theirs, with + between them.
        geometry: which positions are in use, "given" or "mmff".
        id: (n,) identifiers, unique.
        num_atoms: (n,) atoms per molecule.
        atomic_numbers: (atoms,).
        positions: (atoms, 3) float32, angstrom, the centroid of each molecule at the origin.
        columns: the labels.
        smiles: (n,) or None.
        positions_mmff: (atoms, 3) force-field positions in the same frame, or None.
        sources: checksums of the files that a prepared folder was made from.
    """

    name: str
    checksum: str
    geometry: Geometry
    id: np.ndarray
    num_atoms: np.ndarray
    atomic_numbers: np.ndarray
    positions: np.ndarray
    columns: tuple[Column, ...]
    smiles: np.ndarray | None = None
    positions_mmff: np.ndarray | None = None
    sources: tuple[str, ...] = ()

    @property
    def files(self) -> list[str]:
        """Checksums of all files that molecules here come from, by which they are known again in other sets."""
        return [*filter(None, self.checksum.split("+")), *self.sources]

    def __len__(self) -> int:
        return len(self.id)

    @property
    def starts(self) -> np.ndarray:
        return np.cumsum(self.num_atoms) - self.num_atoms

    @property
    def owner(self) -> np.ndarray:
        """(atoms,) the molecule each atom belongs to."""
        return np.repeat(np.arange(len(self)), self.num_atoms)

    def with_geometry(self, geometry: Geometry) -> MoleculeSet:
        """The same molecules at the force-field positions that the file holds."""
        if geometry == self.geometry:
            return self
        if geometry != "mmff" or self.positions_mmff is None:
            raise UserError(f"{self.name} holds no {geometry} positions; use the geometry {self.geometry!r}")
        return replace(self, geometry="mmff", positions=self.positions_mmff)

    def close_pairs(self, reach: float) -> np.ndarray:
        """(pairs, 2) rows of atoms of one molecule at most `reach` angstrom apart, each pair once."""
        apart = self.positions.astype(np.float64)
        apart[:, 0] += self.owner * (np.ptp(apart) + 2 * reach)  # the molecules in a row, out of each other's reach
        return cKDTree(apart, balanced_tree=False).query_pairs(reach, output_type="ndarray")

    def subset(self, rows: np.ndarray) -> MoleculeSet:
        """These molecules, in this order, with their labels."""
        count = self.num_atoms[rows]
        atoms = np.arange(count.sum()) + np.repeat(self.starts[rows] - (np.cumsum(count) - count), count)
        return replace(
            self,
            id=self.id[rows],
            num_atoms=count,
            atomic_numbers=self.atomic_numbers[atoms],
            positions=self.positions[atoms],
            columns=tuple(replace(c, values=c.values[rows]) for c in self.columns),
            smiles=None if self.smiles is None else self.smiles[rows],
            positions_mmff=None if self.positions_mmff is None else self.positions_mmff[atoms],
        )

    def with_method(self, method: str) -> MoleculeSet:
        """The same labels, said to be computed by `method`."""
        return replace(self, columns=tuple(replace(c, method=method) for c in self.columns))

    def targets(self, name: str) -> list[Target]:
        """The targets that a name stands for: one per method where labels of several methods carry it.

        Args:
            name: of a label, here or under another library's name; `<vector>_x`, `_y`, `_z` are the components of a
                vector label; `name@method` takes the label by one method.

        Raises:
            UserError: where there is no such label.
        """
        bare, at, method = name.partition("@")
        stem, _, component = bare.rpartition("_")
        found = [self._target(c) for c in self.columns if c.name == bare] or [
            Target(f"{c.name}_{component}", c.method, c.unit)
            for c in self.columns
            if c.kind == "vector" and c.name == stem and component in COMPONENTS
        ]
        wanted = property_of(bare)  # which other methods and libraries may call otherwise
        found += [self._target(c) for c in self.columns if property_of(c.name, c.method) == wanted and c.name != bare]
        if at:
            found = [target for target in found if target.method == method]
        if found:
            return found
        known = [f"{t.name}@{t.method}" for t in self.targets(bare)] if at else [c.name for c in self.columns]
        known += [f"{c.name}_x" for c in self.columns if c.kind == "vector" and not at]
        raise UserError(f"{self.name} has no label {name!r}; it has {', '.join(known)}")

    @staticmethod
    def _target(column: Column) -> Target:
        return Target(column.name, column.method, column.unit, default_readout(column.name, column.kind), column.kind)

    def target(self, name: str) -> Target:
        """The first of `targets(name)`."""
        return self.targets(name)[0]

    def values(self, target: Target) -> np.ndarray:
        """Labels for a target in its unit, (n,) or (n, 3), in the current frame.

        A label under another library's name is the same; one of another stated method is not.

        Raises:
            UserError: where there is no such label, or its unit cannot be converted.
        """
        candidates = [c for c in self.targets(target.name) if c.kind == target.kind]
        if not candidates:
            kind = self.target(target.name).kind
            raise UserError(f"{target.name} of {self.name} is a {kind}, expected a {target.kind}; give other data")
        stated = [c.method for c in candidates if c.method and target.method]
        if len(stated) == len(candidates) and target.method not in stated:
            raise UserError(
                f"{target.name} of {self.name} is by {', '.join(stated)}, the model's by {target.method}: another "
                "target"
            )
        exact = [c for c in candidates if c.method == target.method]
        found = exact[0] if exact else next(c for c in candidates if not (c.method and target.method))
        scale = factor(found.unit, target.unit)
        for column in self.columns:
            if column.method == found.method and column.name == found.name:
                return column.values * scale if scale != 1.0 else column.values
        stem, _, component = found.name.rpartition("_")
        [column] = [c for c in self.columns if c.method == found.method and c.name == stem]
        return column.values[:, COMPONENTS.index(component)] * scale

    def rotated(self, rotations: np.ndarray) -> MoleculeSet:
        """Every molecule turned about its centroid, x -> R x, with its vector labels; rotations (n, 3, 3)."""
        per_atom = rotations[self.owner]

        def turn(points: np.ndarray) -> np.ndarray:
            return np.einsum("aij,aj->ai", per_atom, points).astype(np.float32)

        columns = tuple(
            replace(c, values=np.einsum("nij,nj->ni", rotations, c.values)) if c.kind == "vector" else c
            for c in self.columns
        )
        mmff = None if self.positions_mmff is None else turn(self.positions_mmff)
        return replace(self, positions=turn(self.positions), positions_mmff=mmff, columns=columns)


def load_npz(path: str | Path) -> MoleculeSet:
    """Read one archive of molecules: `id, num_atoms, atomic_numbers, positions, targets, target_names, target_units`.

    Optional: `smiles`, `positions_mmff`, `target_methods`, and `vector_targets` (n, kinds, 3)
    with `vector_target_names`, `_units`, `_methods`. Positions are centred on the centroid.
    Nothing is unpickled.

    Raises:
        UserError: where the file is missing, damaged, incomplete or contradicts itself.
    """
    path = Path(path)
    if not os.path.isfile(path):  # Path.is_file raises where a folder on the way is closed to us
        raise UserError(f"no data file at {path}; give a .npz file, or xtb9 for the set that comes with the package")
    try:
        content = path.read_bytes()
        if not content.startswith(b"PK"):
            raise zipfile.BadZipFile("no zip file")
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        arrays = {key: value for key, value in arrays.items() if isinstance(value, np.ndarray)}  # not a stray text
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, KeyError, RuntimeError) as error:
        raise UserError(
            f"{path} is not a readable .npz archive of plain arrays ({error}); it may be truncated"
        ) from None
    return from_arrays(arrays, path.stem, sha256(content))


def from_arrays(arrays: Mapping[str, np.ndarray], name: str, checksum: str = "") -> MoleculeSet:
    """A `MoleculeSet` from the arrays of the npz form, checked."""
    needed = ("id", "num_atoms", "atomic_numbers", "positions", "targets", "target_names", "target_units")
    missing = [key for key in needed if key not in arrays]
    if missing:
        raise UserError(f"{name} lacks {', '.join(missing)}; a molecule archive needs {', '.join(needed)}")
    _check_form(arrays, name)
    count = arrays["num_atoms"].astype(np.int64)
    n, atoms = len(count), int(count.sum())
    shapes: dict[str, tuple[Any, ...]] = {
        "id": (n,),
        "num_atoms": (n,),
        "atomic_numbers": (atoms,),
        "positions": (atoms, 3),
        "positions_mmff": (atoms, 3),
        "smiles": (n,),
        "targets": (n, len(arrays["target_names"])),
        "target_units": (len(arrays["target_names"]),),
    }
    for key, shape in shapes.items():
        if key in arrays and arrays[key].shape != shape:
            raise UserError(
                f"{name}: `{key}` has shape {arrays[key].shape}, expected {shape} for {n} molecules of {atoms} atoms"
            )
    if n == 0 or (count < 1).any():
        raise UserError(f"{name}: every molecule needs at least one atom, and there must be one molecule")
    z = arrays["atomic_numbers"].astype(np.int64)
    if ((z < 1) | (z > MAX_Z)).any():
        raise UserError(f"{name}: `atomic_numbers` must lie in 1..{MAX_Z}, got {z.min()} to {z.max()}")
    for key in ("positions", "positions_mmff"):
        if key in arrays and not np.isfinite(arrays[key]).all():
            bad = int(np.repeat(np.arange(n), count)[~np.isfinite(arrays[key]).all(1)][0])
            raise UserError(f"{name}: `{key}` of the molecule with id {arrays['id'][bad]} is not finite; remove it")
    if len(np.unique(arrays["id"])) != n:
        raise UserError(f"{name}: `id` holds duplicates; every molecule needs its own")
    molecules = MoleculeSet(
        name=name,
        checksum=checksum,
        geometry="given",
        id=arrays["id"],
        num_atoms=count,
        atomic_numbers=z,
        positions=_centred(arrays["positions"], count),
        columns=tuple(_columns(arrays, name, "", n) + _columns(arrays, name, "vector_", n)),
        smiles=arrays.get("smiles"),
        positions_mmff=_centred(arrays["positions_mmff"], count) if "positions_mmff" in arrays else None,
    )
    overlapping = molecules.close_pairs(OVERLAP)
    if len(overlapping):
        rows = np.unique(molecules.owner[overlapping[:, 0]])
        raise UserError(
            f"{name}: {len(rows)} molecules, first id {molecules.id[rows[0]]}, have atoms nearer than {OVERLAP} A; "
            "correct their positions, which must be in angstrom, or remove them"
        )
    return molecules


def _check_form(arrays: Mapping[str, np.ndarray], name: str) -> None:
    for key, (dimensions, kinds) in FORM.items():
        if key in arrays and (arrays[key].ndim != dimensions or arrays[key].dtype.kind not in kinds):
            wanted = " or ".join(KINDS[kind] for kind in kinds)
            got = f"{arrays[key].ndim} of {arrays[key].dtype}"
            raise UserError(f"{name}: `{key}` must have {dimensions} dimension(s) of {wanted}, got {got}")


def _columns(arrays: Mapping[str, np.ndarray], name: str, prefix: str, n: int) -> list[Column]:
    values = arrays.get(f"{prefix}targets")
    if values is None:
        return []
    names = [str(v) for v in arrays.get(f"{prefix}target_names", [])]
    units = [str(v) for v in arrays.get(f"{prefix}target_units", [])]
    methods = [str(v) for v in arrays.get(f"{prefix}target_methods", [method_of(name, label) for label in names])]
    expected = (n, len(names), 3) if prefix else (n, len(names))
    if values.shape != expected or len(units) != len(names) or len(methods) != len(names):
        raise UserError(
            f"{name}: `{prefix}targets` has shape {values.shape}, expected {expected}, a unit and a method each"
        )
    if values.dtype.kind == "f" and np.isinf(values).any():
        row, k = np.argwhere(np.isinf(values))[0][:2]
        raise UserError(f"{name}: {names[k]} of id {arrays['id'][row]} is infinite; correct it, NaN is a missing label")
    return [
        Column(label, method, unit, values[:, k].astype(np.float64))
        for k, (label, unit, method) in enumerate(zip(names, units, methods, strict=True))
    ]


def _centred(positions: np.ndarray, num_atoms: np.ndarray) -> np.ndarray:
    starts = np.cumsum(num_atoms) - num_atoms
    centroids = np.add.reduceat(positions.astype(np.float64), starts, axis=0) / num_atoms[:, None]
    return (positions - np.repeat(centroids, num_atoms, axis=0)).astype(np.float32)
