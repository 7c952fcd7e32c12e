"""Several sets of labels of the same molecules as one set, joined on the molecules' ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from molaugerino.datasets.molecules import Column, MoleculeSet
from molaugerino.datasets.names import property_of
from molaugerino.datasets.sources import open_data
from molaugerino.datasets.units import base_unit, factor
from molaugerino.errors import UserError

SAME_PLACE = 1e-3  # angstrom: files round their coordinates
SAME_VALUE = 1e-5  # of one label in two files, in the joined unit; relative to the largest one where that is below 1
MOLE_SHARE, MOLE_VALUE = 2e-6, 1e-4  # relative, and at most: programs differ in the constants behind kcal/mol

Key = tuple[str, str]  # property and method


def open_joined(sources: Sequence[str], methods: Sequence[str] = ()) -> MoleculeSet:
    """Data sets by name or path, joined.

    Args:
        sources: what `open_data` takes.
        methods: levels of theory of their labels: none, one for all, or one each; '' leaves a file's own.
    """
    if len(methods) not in (0, 1, len(sources)):
        raise UserError(f"give one method for all data sets or one each, got {len(methods)} for {len(sources)}")
    stated = methods if len(methods) == len(sources) else [*methods, ""][:1] * len(sources)
    sets = [open_data(source) for source in sources]
    return join([s.with_method(method) if method else s for s, method in zip(sets, stated, strict=True)])


def join(sets: Sequence[MoleculeSet]) -> MoleculeSet:
    """All molecules of all sets, each once, with every label that any set has for it, NaN where none has.

    Labels are one where property (aliases count), method and kind agree, in the units of torch_geometric's QM9 (eV,
    debye, bohr^3, ...) where they can be converted. A molecule's geometry is that of the first set it is in, and every
    other set must have the same atoms in the same places.

    Args:
        sets: at least one; ids are those of one numbering.

    Raises:
        UserError: where two sets contradict each other in atoms, places or values, or in kinds of ids.
    """
    first = sets[0]
    if len(sets) == 1:
        return first
    kinds = {s.id.dtype.kind in "iu" for s in sets}
    if len(kinds) > 1:
        raise UserError(f"{_names(sets)} cannot be joined: some have numbers as ids, some have text; use one kind")
    offsets = np.cumsum([0, *map(len, sets)])
    ids = np.concatenate([s.id for s in sets])
    _, rows, back = np.unique(ids, return_index=True, return_inverse=True)
    keep = np.sort(rows)  # of the stacked sets, the first appearance of each molecule
    place = np.searchsorted(keep, rows)[back]  # of every stacked row among the kept ones
    stacked = _stack(sets)
    joined = stacked.subset(keep)
    for k, s in enumerate(sets):
        _check_same_molecules(joined, s, place[offsets[k] : offsets[k + 1]])
    columns = _join_columns(sets, [place[a:b] for a, b in pairwise(offsets)], joined.id)
    smiles = _join_smiles(sets, place, len(keep))
    checksum = "+".join(s.checksum for s in sets)
    sources = tuple(source for s in sets for source in s.sources)
    return replace(joined, name=_names(sets), checksum=checksum, columns=columns, smiles=smiles, sources=sources)


def _names(sets: Sequence[MoleculeSet]) -> str:
    return "+".join(s.name for s in sets)


def _stack(sets: Sequence[MoleculeSet]) -> MoleculeSet:
    """The molecules of all sets one after the other, without labels."""
    mmff = [s.positions_mmff for s in sets]
    return MoleculeSet(
        name="",
        checksum="",
        geometry="given",
        id=np.concatenate([s.id for s in sets]),
        num_atoms=np.concatenate([s.num_atoms for s in sets]),
        atomic_numbers=np.concatenate([s.atomic_numbers for s in sets]),
        positions=np.concatenate([s.positions for s in sets]),
        columns=(),
        positions_mmff=None if any(m is None for m in mmff) else np.concatenate([m for m in mmff if m is not None]),
    )


def _check_same_molecules(joined: MoleculeSet, other: MoleculeSet, place: np.ndarray) -> None:
    """Raise unless row k of `other` is row place[k] of `joined`: same atoms, same places."""
    wrong = joined.num_atoms[place] != other.num_atoms
    if not wrong.any():
        atoms = np.arange(len(other.atomic_numbers)) - np.repeat(other.starts - joined.starts[place], other.num_atoms)
        bad = joined.atomic_numbers[atoms] != other.atomic_numbers
        bad |= (np.abs(joined.positions[atoms] - other.positions) > SAME_PLACE).any(1)
        wrong = np.logical_or.reduceat(bad, other.starts)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"{int(wrong.sum())} molecules of {other.name}, first id {other.id[row]}, have other atoms or places than "
            f"under the same id in an earlier file: ids must be those of one numbering, geometries the same"
        )


def _join_columns(sets: Sequence[MoleculeSet], places: list[np.ndarray], ids: np.ndarray) -> tuple[Column, ...]:
    found: dict[Key, list[tuple[int, Column]]] = {}
    for k, s in enumerate(sets):
        for column in s.columns:
            parts = found.setdefault((property_of(column.name, column.method), column.method), [])
            if parts and parts[-1][0] == k:  # two labels of one file are two
                parts = found.setdefault((column.name, column.method), [])
            if parts and parts[0][1].kind != column.kind:
                other, kinds = sets[parts[0][0]].name, f"a {parts[0][1].kind} in"
                raise UserError(f"{column.name} is {kinds} {other}, a {column.kind} in {s.name}; rename one of them")
            parts.append((k, column))
    columns = []
    for parts in found.values():
        first = parts[0][1]
        unit = base_unit(first.unit)
        values = np.full((len(ids), *first.values.shape[1:]), np.nan)
        for k, column in parts:
            try:
                new = column.values * factor(column.unit, unit)
            except UserError as error:
                raise UserError(f"{column.name} of {sets[k].name}: {error}") from None
            label = f"{column.name} ({column.method or 'method not stated'})"
            molar = any("/mol" in c.unit for _, c in parts)
            _check_same_values(values[places[k]], new, molar, label, sets[k])
            values[places[k]] = np.where(np.isnan(values[places[k]]), new, values[places[k]])  # the first has the word
        columns.append(Column(first.name, first.method, unit, values))
    return tuple(columns)


def _check_same_values(old: np.ndarray, new: np.ndarray, molar: bool, label: str, other: MoleculeSet) -> None:
    """Raise unless the labels that both have are the same."""
    largest = float(np.nan_to_num(np.abs(old)).max(initial=0.0))
    allowed = np.clip(MOLE_SHARE * np.abs(old), SAME_VALUE, MOLE_VALUE) if molar else SAME_VALUE * min(1.0, largest)
    differ = np.abs(new - old) > allowed  # False where either is NaN
    if differ.any():
        row = int(np.flatnonzero(differ.reshape(len(new), -1).any(1))[0])
        raise UserError(
            f"{label} of id {other.id[row]} is {new[row]} in {other.name}, but {old[row]} in an earlier file: "
            "leave one of the files out, or correct its units, or say with --method that the methods differ"
        )


def _join_smiles(sets: Sequence[MoleculeSet], place: np.ndarray, n: int) -> np.ndarray | None:
    texts = [np.full(len(s), "") if s.smiles is None else s.smiles for s in sets]
    stacked = np.concatenate(texts)
    given = np.flatnonzero(stacked != "")
    if not len(given):
        return None
    smiles = np.full(n, "", dtype=stacked.dtype)
    smiles[place[given][::-1]] = stacked[given][::-1]  # the first file that has one wins
    return smiles
