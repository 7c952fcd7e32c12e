"""Worlds with a known answer: labels made from a set's own labels and geometry, whose symmetry is known exactly.

    field           E - mu . F                            rotations about F are kept, all others broken
    two-fields      E - mu . F1 + (mu . F2)^2             F1 and F2 at 60 degrees: no rotation is kept
    slab            sum_i exp(-z_i / lambda)              turns about z and shifts along the slab are kept
    pseudoscalar    a . (b x c), moments of the atoms     all rotations are kept, reflections are broken

The field and the geometry do not turn with a molecule, so a world's label belongs to the frame that a molecule is
placed in: it is made after the molecules are turned. Every term has the spread of E after element references.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from molaugerino.datasets.molecules import Column, MoleculeSet
from molaugerino.datasets.targets import default_readout
from molaugerino.datasets.units import base_unit
from molaugerino.errors import UserError

WorldName = Literal["none", "field", "two-fields", "slab", "pseudoscalar"]
ANGLE = np.radians(60)  # between the two fields
DECAY = 2.0  # lambda of the slab, angstrom
HEIGHTS = (0.0, 4.0)  # of a molecule's centroid above the slab, angstrom
SOFT = 0.1  # keeps the pseudoscalar smooth where a moment vanishes
SPREAD = 2.0  # half-width of its lateral shifts, angstrom


@dataclass(frozen=True)
class World:
    """A world by name, and the seed of its field axis and of the places of the molecules."""

    name: WorldName
    seed: int = 0

    @property
    def label(self) -> str:
        return LABELS[self.name]

    @property
    def axis(self) -> np.ndarray:
        """(3,) the direction that the world singles out: the (first) field, or the slab's normal."""
        if self.name == "slab":
            return np.array([0.0, 0.0, 1.0])
        return _axes(self.seed)[0]

    def place(self, molecules: MoleculeSet) -> MoleculeSet:
        """The molecules in this world, with its label as the first column.

        Raises:
            UserError: where the set lacks a label that the world is made from.
        """
        return molecules if self.name == "none" else _PLACES[self.name](molecules, self.seed)


LABELS: dict[str, str] = {
    "none": "gap",
    "field": "field_energy",
    "two-fields": "two_field_energy",
    "slab": "slab_energy",
    "pseudoscalar": "pseudoscalar",
}


def _axes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors at 60 degrees, the first uniform on the sphere."""
    first, other = np.random.default_rng(seed).normal(size=(2, 3))
    first /= np.linalg.norm(first)
    across = other - (other @ first) * first
    return first, np.cos(ANGLE) * first + np.sin(ANGLE) * across / np.linalg.norm(across)


def _field(molecules: MoleculeSet, seed: int) -> MoleculeSet:
    energy, dipole = _energy(molecules), _dipole(molecules)
    values = energy.values - _along(energy, dipole, molecules, _axes(seed)[0])
    return _with(molecules, replace(energy, name=LABELS["field"], values=values))


def _two_fields(molecules: MoleculeSet, seed: int) -> MoleculeSet:
    energy, dipole = _energy(molecules), _dipole(molecules)
    first, second = _axes(seed)
    square = (dipole.values @ second) ** 2
    length = np.square(dipole.values).sum(1)
    spread = np.sqrt(np.mean(length**2) / 5 - (np.mean(length) / 3) ** 2)  # of the square over random orientations
    values = energy.values - _along(energy, dipole, molecules, first) + _spread(energy, molecules) * square / spread
    return _with(molecules, replace(energy, name=LABELS["two-fields"], values=values))


def _slab(molecules: MoleculeSet, seed: int) -> MoleculeSet:
    rng = np.random.default_rng(seed)
    n = len(molecules)
    lateral, height = rng.uniform(-SPREAD, SPREAD, (n, 2)), rng.uniform(*HEIGHTS, (n, 1))
    shift = np.concatenate([lateral, height], 1)[molecules.owner].astype(np.float32)
    positions = molecules.positions + shift
    mmff = None if molecules.positions_mmff is None else molecules.positions_mmff + shift
    values = np.add.reduceat(np.exp(-positions[:, 2].astype(np.float64) / DECAY), molecules.starts)
    placed = replace(molecules, positions=positions, positions_mmff=mmff)
    return _with(placed, Column(LABELS["slab"], "", "eV", values))


def _pseudoscalar(molecules: MoleculeSet, seed: int) -> MoleculeSet:
    """a of the hydrogens, b of the hetero-atoms, c of the carbons weighted by their distance, over their lengths."""
    x, z = molecules.positions.astype(np.float64), molecules.atomic_numbers
    weights = (z == 1, z > 6, (z == 6) * np.linalg.norm(x, axis=1))
    a, b, c = (np.add.reduceat(w[:, None] * x, molecules.starts, axis=0) for w in weights)
    lengths = np.prod([np.linalg.norm(v, axis=1) for v in (a, b, c)], axis=0)
    triple = np.einsum("ni,ni->n", a, np.cross(b, c)) / (lengths + SOFT * lengths.mean())
    return _with(molecules, Column(LABELS["pseudoscalar"], "", "1", triple / triple.std()))


_PLACES: dict[str, Callable[[MoleculeSet, int], MoleculeSet]] = {
    "field": _field,
    "two-fields": _two_fields,
    "slab": _slab,
    "pseudoscalar": _pseudoscalar,
}


def _with(molecules: MoleculeSet, column: Column) -> MoleculeSet:
    return replace(molecules, columns=(column, *molecules.columns))


def _energy(molecules: MoleculeSet) -> Column:
    """The first extensive energy of the set."""
    for column in molecules.columns:
        extensive = column.kind == "scalar" and default_readout(column.name) == "sum" and base_unit(column.unit) == "eV"
        if extensive and np.isfinite(column.values).all():
            return column
    raise UserError(f"a world needs a complete total energy, and {molecules.name} has none; use another data set")


def _dipole(molecules: MoleculeSet) -> Column:
    for column in molecules.columns:
        if column.kind == "vector" and np.isfinite(column.values).all():
            return column
    raise UserError(f"a field acts on dipole vectors, and {molecules.name} has none; use another data set")


def _spread(energy: Column, molecules: MoleculeSet) -> float:
    """Standard deviation of the energies after least-squares references per element."""
    elements, place = np.unique(molecules.atomic_numbers, return_inverse=True)
    counts = np.zeros((len(molecules), len(elements)))
    np.add.at(counts, (molecules.owner, place), 1.0)
    return float((energy.values - counts @ np.linalg.lstsq(counts, energy.values, rcond=None)[0]).std())


def _along(energy: Column, dipole: Column, molecules: MoleculeSet, axis: np.ndarray) -> np.ndarray:
    """mu . F with F along the axis, as strong as makes its spread over random orientations that of the energies."""
    rms = np.sqrt(np.square(dipole.values).sum(1).mean() / 3)
    return _spread(energy, molecules) * (dipole.values @ axis) / rms
