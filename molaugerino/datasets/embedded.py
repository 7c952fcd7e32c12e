"""The data sets that come with the package."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from molaugerino.datasets.molecules import MoleculeSet, load_npz
from molaugerino.errors import UserError

EMBEDDED = ("xtb9",)


def data_path(name: str) -> Path:
    """Where an embedded data set lies on disk."""
    return Path(str(resources.files("molaugerino.data"))) / name / f"{name}.npz"


def open_data(source: str) -> MoleculeSet:
    """An embedded data set by its name, or a .npz file by its path."""
    if source in EMBEDDED:
        return load_npz(data_path(source))
    if not os.path.exists(source) and not source.endswith(".npz"):
        raise UserError(f"no data set {source!r}; give {', '.join(EMBEDDED)} or the path of a .npz file")
    return load_npz(source)
