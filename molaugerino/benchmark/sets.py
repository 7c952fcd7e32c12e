"""The molecules and splits that the runs of the benchmark share, prepared once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from molaugerino.benchmark.worlds import SOURCES, World
from molaugerino.datasets import NAMES, MoleculeSet, Split, open_joined, random_split, save_prepared, save_split
from molaugerino.datasets import World as Physics
from molaugerino.datasets.molecules import Column
from molaugerino.datasets.prepared import is_prepared, open_prepared
from molaugerino.datasets.units import base_unit, factor

KEPT_FOR_LAW = 0.1  # of the training molecules, at most, and of those MOST
MOST, VALID = 1000, 500
MNIST = ("mnist_train.npz", "mnist_test.npz")


def located(name: str, folders: Sequence[Path]) -> list[str] | None:
    """The sets that a source of molecules is joined from, None where a file is in none of the folders.

    Of "mnist" the folder, of "drawn" nothing.
    """
    if name == "drawn":
        return []
    if name == "mnist":
        found = [folder for folder in folders if all((folder / file).is_file() for file in MNIST)]
        return [str(found[0].resolve())] if found else None
    paths = []
    for file in SOURCES[name].files:
        places = [file] if file in NAMES else [str((f / file).resolve()) for f in folders if (f / file).is_file()]
        if not places:
            return None
        paths.append(places[0])
    return paths


def prepare(world: World, split: int, tested: int, folders: Sequence[Path], home: Path) -> tuple[Path, Path]:
    """The prepared molecules of a world, and its split: (folder, file), made where they are not there yet.

    Molecules are at the given geometry. Splits differ in all their parts; what trains, what a law is judged by and
    what is tested never overlap.

    Args:
        world: of molecules.
        split: which one.
        tested: molecules to test on, at most.
        folders: where files are looked for.
        home: where all is kept.
    """
    folder = home / (f"{world.source}-{world.name}-{split}" if world.placed else world.source)
    if not is_prepared(folder):
        molecules = chosen(world.source, folders)
        if world.placed:
            molecules = Physics("field", split).place(molecules)
        save_prepared(molecules, folder)
    molecules = open_prepared(folder)
    path = home / f"{world.source}-{world.train or 'all'}-{tested}-{split}.npz"
    if not path.is_file():
        save_split(cut(len(molecules), split, world.train, tested), path, molecules.id)
    return folder, path


def chosen(source: str, folders: Sequence[Path]) -> MoleculeSet:
    """The molecules of a source, at the geometry of its labels."""
    molecules = replace(open_joined(located(source, folders) or ()), positions_mmff=None)
    largest, labels = SOURCES[source].largest, SOURCES[source].labels
    if labels:
        kept = [in_base_unit(c) for name in labels for c in molecules.columns if c.name == name]
        molecules = replace(molecules, columns=tuple(kept))
    return molecules if largest is None else molecules.subset(np.flatnonzero(molecules.num_atoms <= largest))


def in_base_unit(column: Column) -> Column:
    unit = base_unit(column.unit)
    return replace(column, unit=unit, values=column.values * factor(column.unit, unit))


def cut(n: int, seed: int, train: int | None, tested: int) -> Split:
    """A random split with so many molecules to train on, those for the law included, and at most so many to test."""
    whole = random_split(n, seed)
    rng = np.random.default_rng((seed, 1))
    pool = rng.permutation(np.concatenate([whole.train, whole.budget]))[:train]
    law = min(MOST, round(KEPT_FOR_LAW * len(pool)))
    test, valid = rng.permutation(whole.test)[:tested], rng.permutation(whole.valid)[:VALID]
    return Split(*(np.sort(part) for part in (pool[law:], pool[:law], valid, test)))
