"""MMFF94 geometries for the molecules of a set, made as `predict` makes them.

A label belongs to a geometry, and its SMILES often says nothing of stereochemistry: the configuration is read from
the positions given, the isomeric SMILES gets one ETKDGv3 + MMFF94 conformer, and its atoms are put back in the order
of the file.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rdkit import Chem
from scipy.spatial.transform import Rotation

from molaugerino.datasets import MoleculeSet
from molaugerino.errors import UserError
from molaugerino.predict.perceive import perceive
from molaugerino.predict.smiles import Conformer, Unpredictable, embed, parse
from molaugerino.predict.workers import in_processes

CHUNK = 500  # molecules kept together on disk
LIMIT = 120.0  # seconds for one molecule


@dataclass(frozen=True)
class Given:
    """One molecule of a set: atomic numbers (atoms,), positions (atoms, 3) in angstrom, its SMILES or ''."""

    numbers: np.ndarray
    positions: np.ndarray
    smiles: str


@dataclass(frozen=True)
class Made:
    """What became of it: isomeric SMILES and MMFF94 positions in the same order and frame, or the reason for none."""

    smiles: str
    positions: np.ndarray | None
    reason: str


def remake(given: Given) -> Made:
    """One molecule's MMFF94 geometry, laid onto the positions given."""
    try:
        mol = perceive(given.numbers, given.positions, given.smiles)
        parsed = parse(Chem.MolToSmiles(Chem.RemoveHs(mol)))
        conformer = embed(parsed)
        place = Chem.AddHs(parsed).GetSubstructMatch(mol)
        if len(place) != len(given.numbers):
            raise Unpredictable("bad_smiles", f"{conformer.smiles} is another graph than the geometry")
    except Unpredictable as error:
        return Made("", None, error.status)
    return Made(conformer.smiles, _laid(conformer, list(place), given.positions), "")


def _laid(conformer: Conformer, place: list[int], onto: np.ndarray) -> np.ndarray:
    """The conformer's atoms in another order, centred and turned onto other positions of them."""
    positions = conformer.positions[place]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # atoms on a line leave a turn about it open
        turn, _ = Rotation.align_vectors(onto - onto.mean(0), positions)
    return turn.apply(positions).astype(np.float32)


def molecules_of(molecules: MoleculeSet) -> Iterator[Given]:
    """Each molecule of a set by itself."""
    smiles = molecules.smiles
    ends = np.cumsum(molecules.num_atoms)
    for k, (start, end) in enumerate(zip(molecules.starts, ends, strict=True)):
        text = "" if smiles is None else str(smiles[k])
        yield Given(molecules.atomic_numbers[start:end], np.asarray(molecules.positions[start:end], float), text)


def with_mmff(
    molecules: MoleculeSet,
    work: Path,
    jobs: int | None = None,
    report: Callable[[int, int], None] | None = None,
) -> tuple[MoleculeSet, Counter[str]]:
    """The molecules that get an MMFF94 geometry, with it and their isomeric SMILES, and why the others get none.

    Args:
        molecules: a set; its SMILES help where it has them.
        work: folder for what is done so far, from which an interrupted call goes on.
        jobs: processes; None works in this one.
        report: called with molecules done and molecules in all.
    """
    total, made = len(molecules), []
    stamp = work / "of.txt"
    if not stamp.exists():
        work.mkdir(parents=True, exist_ok=True)
        stamp.write_text(molecules.checksum)
    elif stamp.read_text() != molecules.checksum:
        raise UserError(f"{work} holds what was made of other molecules; remove it")
    done = len(list(work.glob("*.npz")))
    for number in range(done):
        made += _read(work / f"{number:05d}.npz")
    waiting = islice(molecules_of(molecules), len(made), None)
    results = in_processes(remake, waiting, jobs, lambda _, end: Made("", None, end), LIMIT)
    while chunk := list(islice(results, CHUNK)):
        _write(work / f"{done:05d}.npz", chunk)
        done += 1
        made += chunk
        if report is not None:
            report(len(made), total)
    kept = np.flatnonzero([m.positions is not None for m in made])
    if len(kept) == 0:
        raise UserError(f"no molecule of {molecules.name} gets an MMFF94 geometry; predict tells why of each SMILES")
    positions = np.concatenate([made[k].positions for k in kept])
    smiles = np.array([made[k].smiles for k in kept])
    found = replace(molecules.subset(kept), positions_mmff=positions, smiles=smiles)
    return found, Counter(m.reason for m in made if m.reason)


def _write(path: Path, made: list[Made]) -> None:
    arrays: dict[str, Any] = {
        "smiles": np.array([m.smiles for m in made]),
        "reason": np.array([m.reason for m in made]),
        "atoms": np.array([0 if m.positions is None else len(m.positions) for m in made]),
        "positions": np.concatenate([np.zeros((0, 3), np.float32), *(m.positions for m in made if m.reason == "")]),
    }
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        np.savez(file, **arrays)
    draft.rename(path)


def _read(path: Path) -> list[Made]:
    with np.load(path, allow_pickle=False) as arrays:
        smiles, reason, atoms, positions = (arrays[key] for key in ("smiles", "reason", "atoms", "positions"))
    parts = np.split(positions, np.cumsum(atoms)[:-1])
    return [Made(str(s), None if why else part, str(why)) for s, why, part in zip(smiles, reason, parts, strict=True)]
