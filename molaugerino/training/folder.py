"""What lies where in the folder of a run."""

from __future__ import annotations

import tomllib
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from molaugerino.datasets import MoleculeSet, load_split, open_joined, trained_ids
from molaugerino.datasets.joined import SAME_PLACE
from molaugerino.errors import UserError
from molaugerino.training.checkpoint import ModelCard

RUNS = Path("runs")
SETTINGS, SPLITS = "config.toml", "splits.npz"


def molecules_to_test(
    folder: Path, card: ModelCard, sources: Sequence[str] = (), methods: Sequence[str] = ()
) -> tuple[MoleculeSet, np.ndarray]:
    """The molecules to test a saved model on: the test rows of its run, or all of another data set.

    Of data that share a file with the run, or hold molecules of the same ids and geometries, those that it has seen are
    left out. Where only ids tell, and not for certain, a warning says so.

    Args:
        folder: of the run.
        card: its model's.
        sources: other data sets; none takes the run's own, which must be the files they were.
        methods: levels of theory of their labels, as for `open_joined`.
    """
    if sources:
        molecules = open_joined(sources, methods)
        rows = np.arange(len(molecules))
        shared = set(molecules.files) & {*card.data_sha256.split("+"), *card.data_sources}
        if molecules.checksum == card.data_sha256 and (folder / SPLITS).exists():
            rows = _test_rows(folder, card, molecules)
        elif (folder / SPLITS).exists():  # never count training molecules as tests
            rows = np.flatnonzero(~_seen(folder, card, molecules, bool(shared)))
    else:
        molecules = open_joined(*_data_of(folder))
        if molecules.checksum != card.data_sha256:
            raise UserError(f"{molecules.name} is not the data that {folder} was trained on; name it with --data")
        rows = _test_rows(folder, card, molecules)
    return molecules.with_geometry("given" if molecules.positions_mmff is None else card.geometry), rows


def _seen(folder: Path, card: ModelCard, molecules: MoleculeSet, shared: bool) -> np.ndarray:
    """(molecules,) which ones the run has seen; ids alone tell that where a file is shared."""
    known = np.isin(molecules.id, trained_ids(folder / SPLITS))
    if shared or not known.any():
        return known
    try:
        own = open_joined(*_data_of(folder))
    except UserError:
        own = None
    if own is None or own.checksum != card.data_sha256:
        warnings.warn(
            f"{known.sum():,} molecules of {molecules.name} have ids of molecules that {folder} has seen; if they are "
            "the same molecules, these are no test errors",
            stacklevel=2,
        )
        return np.zeros(len(known), dtype=bool)
    place = {id: k for k, id in enumerate(own.id.tolist())}
    for k in np.flatnonzero(known).tolist():
        known[k] = same_molecule(molecules, k, own, place[molecules.id[k].item()])
    return known


def same_molecule(one: MoleculeSet, row: int, other: MoleculeSet, place: int) -> bool:
    """Whether two sets have the same atoms in the same places there."""
    a, b = (slice(s.starts[k], s.starts[k] + s.num_atoms[k]) for s, k in ((one, row), (other, place)))
    if not np.array_equal(one.atomic_numbers[a], other.atomic_numbers[b]):
        return False
    return bool((np.abs(one.positions[a] - other.positions[b]) < SAME_PLACE).all())


def _data_of(folder: Path) -> tuple[list[str], list[str]]:
    """The data sets of a run, and the methods of their labels."""
    path = folder / SETTINGS
    try:
        settings = tomllib.loads(path.read_text())
        return list(settings["data"]), list(settings.get("method", ()))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} does not say what {folder} was trained on ({error}); name the data with --data"
        ) from None


def _test_rows(folder: Path, card: ModelCard, molecules: MoleculeSet) -> np.ndarray:
    split = load_split(folder / SPLITS, molecules.id)
    if split.checksum != card.split_sha256:
        raise UserError(f"{folder / SPLITS} is not the split that the model was trained on; restore it")
    if len(split.test) == 0:
        raise UserError(f"{folder} kept no molecules to test on; name others with --data")
    return split.test
