"""Where data comes from: a set by its name, a prepared folder, or a file by its suffix."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from molaugerino.datasets.molecules import MoleculeSet, load_npz
from molaugerino.datasets.prepared import is_prepared, open_prepared
from molaugerino.datasets.pyg import load_pt
from molaugerino.datasets.readers import load_extxyz, load_sdf
from molaugerino.datasets.tabular import load_csv
from molaugerino.errors import UserError

EMBEDDED = ("xtb9",)  # come with the package
PUBLIC = ("qm9",)  # are fetched and prepared once
NAMES = EMBEDDED + PUBLIC
HOME = "MOLAUGERINO_DATA"  # environment variable that names the folder of the prepared sets
READERS: dict[str, Callable[[Path], MoleculeSet]] = {
    ".npz": load_npz,
    ".sdf": load_sdf,
    ".extxyz": load_extxyz,
    ".xyz": load_extxyz,
    ".csv": load_csv,
    ".pt": load_pt,
}
ACCEPTED = f"{', '.join(NAMES)}, a prepared folder, or a file that ends in {', '.join(READERS)}"


def data_path(name: str) -> Path:
    """Where an embedded data set lies on disk."""
    return Path(str(resources.files("molaugerino.data"))) / name / f"{name}.npz"


def prepared_path(name: str) -> Path:
    """Where a public data set is prepared: in $MOLAUGERINO_DATA, else in ~/.cache/molaugerino."""
    home = os.environ.get(HOME, "")
    return (Path(home) if home else Path.home() / ".cache" / "molaugerino") / name


def open_data(source: str) -> MoleculeSet:
    """A data set by its name, else by the path of a prepared folder or of a file; its suffix says of which kind.

    Raises:
        UserError: where there is none, or it cannot be read.
    """
    if source in EMBEDDED:
        return load_npz(data_path(source))
    if source in PUBLIC:
        folder = prepared_path(source)
        if not is_prepared(folder):
            raise UserError(f"{source} is not in {folder} yet; get it once with: molaugerino data fetch {source}")
        return open_prepared(folder)
    path = Path(source)
    if os.path.isdir(path):
        return open_prepared(path)
    reader = READERS.get(path.suffix.lower())
    if reader is not None:
        if not os.path.isfile(path):
            raise UserError(f"no data file at {path}; give {ACCEPTED}")
        return reader(path)
    if os.path.exists(path):
        raise UserError(f"{path} is of no kind that is read here; give {ACCEPTED}")
    raise UserError(f"no data set {source!r}; give {ACCEPTED}")
