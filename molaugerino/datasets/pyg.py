"""QM9 as torch_geometric keeps it once processed (data_v3.pt), read without running what is in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molaugerino.datasets.molecules import MoleculeSet, from_arrays
from molaugerino.datasets.names import B3LYP, TARGETS, UNITS
from molaugerino.errors import UserError
from molaugerino.files import sha256_of


class _Data:
    """Stands where the file names the class of its molecules, whose code is not needed."""


ALLOWED: list[Any] = [(_Data, "torch_geometric.data.data.Data")]  # beside tensors and plain containers


def load_pt(path: str | Path) -> MoleculeSet:
    """The molecules of a processed QM9 file: elements `z`, positions `pos`, the 19 targets `y` in eV, and `name`.

    The labels are as the file has them, in single precision: total energies to about a milli-eV.

    Raises:
        UserError: where the file is damaged, holds code, or is not that of QM9.
    """
    path = Path(path)
    data, slices = _load(path)
    wanted = {"z": 1, "pos": 2, "y": 2}
    for key, dimensions in wanted.items():
        if not all(isinstance(part.get(key), Tensor) for part in (data, slices)) or data[key].dim() != dimensions:
            raise UserError(f"{path} has no {dimensions}-dimensional `{key}` for each molecule; {REMEDY}")
    z, pos, y = (data[key].numpy() for key in wanted)
    ends, others = slices["z"].numpy(), (slices["pos"].numpy(), slices["y"].numpy())
    n = len(y)
    if not np.array_equal(ends, others[0]) or not np.array_equal(others[1], np.arange(n + 1)) or ends[0] != 0:
        raise UserError(f"{path}: `z`, `pos` and `y` are not sliced into the same {n} molecules; {REMEDY}")
    if y.shape[1] != len(TARGETS):
        raise UserError(f"{path}: `y` has {y.shape[1]} targets, expected the {len(TARGETS)} of QM9; {REMEDY}")
    arrays = {
        "id": _ids(data.get("name"), n),
        "num_atoms": np.diff(ends),
        "atomic_numbers": z,
        "positions": pos,
        "targets": y.astype(np.float64),
        "target_names": np.array(TARGETS),
        "target_units": np.array([UNITS[name] for name in TARGETS]),
        "target_methods": np.array([B3LYP] * len(TARGETS)),
    }
    if _texts(smiles := data.get("smiles"), n):
        arrays["smiles"] = np.array(smiles)
    return from_arrays(arrays, path.stem, sha256_of(path))


REMEDY = "give the data_v3.pt that torch_geometric (2.3 or newer) makes of QM9"


def _load(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two dictionaries of the file, its arrays left on disk until they are used."""
    try:
        with torch.serialization.safe_globals(ALLOWED):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a file made to do harm may fail in any way
        raise UserError(f"{path} was not read ({str(error).splitlines()[0]}); {REMEDY}") from None
    if isinstance(content, tuple) and len(content) in (2, 3) and all(isinstance(part, dict) for part in content[:2]):
        return content[0], content[1]
    raise UserError(f"{path} holds a {type(content).__name__}, expected (data, slices) as dictionaries; {REMEDY}")


def _ids(names: Any, n: int) -> np.ndarray:
    """The numbers in "gdb_1", ... where all names are like it, else 1, 2, ..."""
    if _texts(names, n) and all(re.fullmatch(r"gdb_\d{1,9}", name) for name in names):
        return np.array([int(name[4:]) for name in names])
    return np.arange(1, n + 1)


def _texts(values: Any, n: int) -> bool:
    return isinstance(values, list) and len(values) == n and all(isinstance(value, str) for value in values)
