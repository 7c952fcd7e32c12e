"""A data set as a folder of plain arrays, opened in no time at any size: the arrays stay on disk until they are used.

manifest.json           what the set is called and holds, and the size and sha256 of every array
id.npy, num_atoms.npy, atomic_numbers.npy, positions.npy, and smiles.npy and positions_mmff.npy where it has them
label_000.npy, ...      one array per label
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args
from uuid import uuid4

import numpy as np

from molaugerino.datasets.molecules import FORM, Column, Geometry, MoleculeSet
from molaugerino.errors import UserError
from molaugerino.files import sha256, sha256_of

MANIFEST = "manifest.json"
SCHEMA = 1
ARRAYS = ("id", "num_atoms", "atomic_numbers", "positions")
OPTIONAL = ("smiles", "positions_mmff")
FIELDS = {
    "name": str,
    "checksum": str,
    "geometry": str,
    "molecules": int,
    "atoms": int,
    "columns": list,
    "arrays": dict,
}
LABEL = {"name": str, "method": str, "unit": str, "kind": str}
ENTRY = {"dtype": str, "shape": list, "bytes": int, "sha256": str}
WIDTH: dict[str, list[int]] = {"scalar": [], "vector": [3]}  # of a label by its kind


def save_prepared(molecules: MoleculeSet, folder: Path) -> None:
    """Write a set as a prepared folder; the folder appears when it is whole.

    Args:
        molecules: the set, in the frames it is in.
        folder: that does not exist yet, or is empty.

    Raises:
        UserError: where it exists, or cannot be written.
    """
    folder = Path(os.path.abspath(folder))
    draft = folder.with_name(f".{folder.name}.{uuid4().hex[:12]}")
    try:
        check_free(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir()
        try:
            arrays = {name: _save(draft, name, array) for name, array in _arrays(molecules).items()}
            (draft / MANIFEST).write_text(json.dumps(_manifest(molecules, arrays), indent=1) + "\n")
            if folder.exists():
                folder.rmdir()
            draft.rename(folder)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}; choose another place with --out") from None


def check_free(folder: Path) -> None:
    """Raise where a prepared folder would replace something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists already; remove it, or choose another place with --out")


def open_prepared(folder: Path, whole: bool = False) -> MoleculeSet:
    """The set in a prepared folder, its arrays read as they are used.

    Args:
        folder: as `save_prepared` left it.
        whole: read every array and compare its sha256, too.

    Raises:
        UserError: where a file is missing, damaged or contradicts the manifest.
    """
    folder = Path(folder)
    manifest = _read_manifest(folder)
    arrays = {name: _open(folder, name, entry, whole) for name, entry in manifest["arrays"].items()}
    n, atoms = manifest["molecules"], manifest["atoms"]
    count = np.array(arrays["num_atoms"], dtype=np.int64)
    if len(count) != n or n < 1 or count.min() < 1 or count.sum() != atoms:
        raise _damaged(folder, f"num_atoms.npy does not hold {n} molecules of {atoms} atoms")
    labels = [arrays[_label(k)] for k in range(len(manifest["columns"]))]
    return MoleculeSet(
        name=manifest["name"],
        checksum=manifest["checksum"],
        sources=tuple(str(s) for s in manifest.get("sources", ())),
        geometry=manifest["geometry"],
        id=arrays["id"],
        num_atoms=count,
        atomic_numbers=arrays["atomic_numbers"],
        positions=arrays["positions"],
        columns=tuple(
            Column(c["name"], c["method"], c["unit"], v) for c, v in zip(manifest["columns"], labels, strict=True)
        ),
        smiles=arrays.get("smiles"),
        positions_mmff=arrays.get("positions_mmff"),
    )


def is_prepared(folder: Path) -> bool:
    """Whether there is a prepared folder at this place, of which nothing is checked."""
    return os.path.isfile(folder / MANIFEST)


def _label(number: int) -> str:
    return f"label_{number:03d}"


def _arrays(molecules: MoleculeSet) -> dict[str, np.ndarray]:
    """What is stored, elements in a byte and positions in single precision."""
    arrays = {name: getattr(molecules, name) for name in (*ARRAYS, *OPTIONAL)}
    arrays["atomic_numbers"] = molecules.atomic_numbers.astype(np.uint8)
    labels = {_label(k): column.values.astype(np.float64) for k, column in enumerate(molecules.columns)}
    return {name: array for name, array in arrays.items() if array is not None} | labels


def _save(folder: Path, name: str, array: np.ndarray) -> dict[str, Any]:
    """Write one array, flushed to disk; its entry in the manifest."""
    path = folder / f"{name}.npy"
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return {
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
    }


def _manifest(molecules: MoleculeSet, arrays: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Its checksum is that of the arrays and of what the labels mean, wherever the set came from.

    The checksums of the files that it came from are kept, by which molecules are known again.
    """
    columns = [{"name": c.name, "method": c.method, "unit": c.unit, "kind": c.kind} for c in molecules.columns]
    content = json.dumps([columns, {name: entry["sha256"] for name, entry in arrays.items()}])
    return {
        "schema": SCHEMA,
        "name": molecules.name,
        "checksum": sha256(content.encode()),
        "sources": molecules.files,
        "geometry": molecules.geometry,
        "molecules": len(molecules),
        "atoms": len(molecules.atomic_numbers),
        "columns": columns,
        "arrays": arrays,
    }


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, every field of its kind, and the shapes of the arrays those of its counts."""
    if not is_prepared(folder):
        raise UserError(f"{folder} is not a prepared data set: it has no {MANIFEST}; prepare it again")
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"{MANIFEST} is not readable ({error})") from None
    if isinstance(manifest, dict) and manifest.get("schema") != SCHEMA:
        raise UserError(f"{folder} has schema {manifest.get('schema')!r}, expected {SCHEMA}; prepare it again")
    sound = _has(manifest, FIELDS) and manifest["geometry"] in get_args(Geometry)
    if not sound or not all(_has(c, LABEL) and c["kind"] in WIDTH for c in manifest["columns"]):
        raise _damaged(folder, f"{MANIFEST} lacks a field, or has one of another kind")
    shapes = _shapes(manifest)
    for name, shape in shapes.items():
        entry = manifest["arrays"].get(name, {})
        if not _has(entry, ENTRY) or entry["shape"] != shape:
            raise _damaged(folder, f"{MANIFEST} has no array {name} of shape {shape}")
    manifest["arrays"] = {name: manifest["arrays"][name] for name in shapes}
    return manifest


def _has(data: Any, fields: Mapping[str, type]) -> bool:
    return isinstance(data, dict) and all(type(data.get(name)) is kind for name, kind in fields.items())


def _shapes(manifest: dict[str, Any]) -> dict[str, list[int]]:
    """Of the arrays that the manifest must list."""
    n, atoms = manifest["molecules"], manifest["atoms"]
    shapes = {"id": [n], "num_atoms": [n], "atomic_numbers": [atoms], "positions": [atoms, 3]}
    shapes |= {"smiles": [n]} if "smiles" in manifest["arrays"] else {}
    shapes |= {"positions_mmff": [atoms, 3]} if "positions_mmff" in manifest["arrays"] else {}
    return shapes | {_label(k): [n, *WIDTH[column["kind"]]] for k, column in enumerate(manifest["columns"])}


def _open(folder: Path, name: str, entry: dict[str, Any], whole: bool) -> np.ndarray:
    """One array, mapped into memory and not read, unless it is asked to be checked whole."""
    path = folder / f"{name}.npy"
    try:
        if (size := path.stat().st_size) != entry["bytes"]:
            raise _damaged(folder, f"{path.name} has {size} bytes, expected {entry['bytes']}")
        if whole and sha256_of(path) != entry["sha256"]:
            raise _damaged(folder, f"the content of {path.name} is not what was written")
        array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError:
        raise _damaged(folder, f"{path.name} is missing") from None
    except (OSError, EOFError, ValueError) as error:
        raise error if isinstance(error, UserError) else _damaged(folder, f"{path.name}: {error}") from None
    kinds = FORM[name][1] if name in FORM else "f"
    if array.dtype.str != entry["dtype"] or list(array.shape) != entry["shape"] or array.dtype.kind not in kinds:
        raise _damaged(folder, f"{path.name} holds {array.dtype} {list(array.shape)}, not what {MANIFEST} says")
    return array


def _damaged(folder: Path, reason: str) -> UserError:
    return UserError(f"the data set {folder} is damaged: {reason}; remove the folder and prepare it again")
