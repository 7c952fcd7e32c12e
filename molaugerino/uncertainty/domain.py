"""Whether a molecule is of the kind that a network was trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from molaugerino.datasets import MoleculeSet
from molaugerino.datasets.graphs import bonded_pairs, covalent_radii

DomainState = Literal["inside", "edge", "outside"]
COMMON = 0.99  # share of unseen molecules of the training set's kind that are nearer than "edge"
BEYOND = 1.5  # times the farthest of them is "outside"
BONDED = 1.2  # sums of covalent radii: farther pairs, as across a cage, are no bonds
RARE = 1e-4  # share of the training bonds that may be longer than "longest": some are at the wrong side of that line
SLACK = (0.02, 0.10)  # of a bond's length beyond any in training: "edge", "outside"


@dataclass(frozen=True)
class Domain:
    """Three states: inside, edge (seldom seen in training) and outside (never seen); the worst of what is found.

    Attributes:
        max_atoms: of the largest training molecule.
        common: distance in latent space below which 99 % of the calibration molecules lie.
        farthest: largest distance of a calibration molecule.
        shortest, longest: bonds of training molecules, over the sum of the covalent radii.
        max_heavy: atoms but hydrogen of the largest training molecule; None where a model does not say.
    """

    max_atoms: int
    common: float
    farthest: float
    shortest: float
    longest: float
    max_heavy: int | None = None

    @classmethod
    def of(cls, distances: np.ndarray, trained: MoleculeSet) -> Domain:
        """From distances of calibration molecules in latent space, and the training molecules."""
        ratios = bond_ratios(trained)
        return cls(
            max_atoms=int(trained.num_atoms.max()),
            common=float(np.quantile(distances, COMMON)),
            farthest=float(distances.max()),
            shortest=float(ratios.min()),
            longest=float(np.quantile(ratios, 1 - RARE)),
            max_heavy=int(heavy_atoms(trained).max()),
        )

    def judge(self, molecules: MoleculeSet, distances: np.ndarray) -> list[tuple[DomainState, str]]:
        """State and reason ('' inside) of every molecule.

        Args:
            molecules: at the geometries that are predicted.
            distances: (molecules,) in latent space.
        """
        counts = molecules.num_atoms, heavy_atoms(molecules), lone_atoms(molecules)
        each = zip(*counts, *bond_extremes(molecules), distances, strict=True)
        return [self._judge_one(*map(int, row[:3]), *map(float, row[3:])) for row in each]

    def _judge_one(
        self, atoms: int, heavy: int, lone: int, shortest: float, longest: float, distance: float
    ) -> tuple[DomainState, str]:
        found: list[tuple[DomainState, str]] = []
        if atoms > self.max_atoms:
            found.append(("outside", f"{atoms} atoms; training molecules have at most {self.max_atoms}"))
        if self.max_heavy is not None and heavy > self.max_heavy:
            found.append(("outside", f"{heavy} heavy atoms; training molecules have at most {self.max_heavy}"))
        if lone:
            found.append(("outside", f"{lone} of {atoms} atoms are too far from the others for any bond"))
        found += self._strain(shortest, longest)
        if distance > BEYOND * self.farthest:
            found.append(("outside", f"{distance / self.common:.1f} times as far from the training set as usual"))
        elif distance > self.common:
            found.append(("edge", "farther from the training set than 99 % of molecules like it"))
        if not found:
            return "inside", ""
        worst: DomainState = "outside" if any(state == "outside" for state, _ in found) else "edge"
        return worst, "; ".join(reason for state, reason in found if state == worst)

    def _strain(self, shortest: float, longest: float) -> list[tuple[DomainState, str]]:
        short, long = 1 - shortest / self.shortest, longest / self.longest - 1
        amount, kind = (short, "shorter") if short > long else (long, "longer")
        states: tuple[DomainState, DomainState] = ("edge", "outside")
        state = [s for s, allowed in zip(states, SLACK, strict=True) if amount > allowed][-1:]
        return [(s, f"strained geometry: a bond {amount:.0%} {kind} than any in training") for s in state]

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


def heavy_atoms(molecules: MoleculeSet) -> np.ndarray:
    """(molecules,) atoms but hydrogen."""
    return np.bincount(molecules.owner, molecules.atomic_numbers > 1, len(molecules)).astype(np.int64)


def bond_ratios(molecules: MoleculeSet) -> np.ndarray:
    """(bonds,) lengths over sums of covalent radii, below 1.2."""
    return _bonds(molecules)[0]


def lone_atoms(molecules: MoleculeSet) -> np.ndarray:
    """(molecules,) atoms without a bond, where there are others."""
    lone = np.ones(len(molecules.owner), dtype=bool)
    lone[_bonds(molecules)[1]] = False
    return np.bincount(molecules.owner[lone], minlength=len(molecules)) * (molecules.num_atoms > 1)


def bond_extremes(molecules: MoleculeSet) -> tuple[np.ndarray, np.ndarray]:
    """(molecules,) the shortest and the longest of each molecule's `bond_ratios`; infinite and 0 where it has none."""
    ratios, pairs = _bonds(molecules)
    owner = molecules.owner[pairs[:, 0]]
    shortest, longest = np.full(len(molecules), np.inf), np.zeros(len(molecules))
    np.minimum.at(shortest, owner, ratios)
    np.maximum.at(longest, owner, ratios)
    return shortest, longest


def _bonds(molecules: MoleculeSet) -> tuple[np.ndarray, np.ndarray]:
    """Ratios, and the rows of the two atoms of each."""
    pairs = bonded_pairs(molecules)
    i, j = pairs.T
    radii = covalent_radii()[molecules.atomic_numbers]
    ratios = np.linalg.norm(molecules.positions[i] - molecules.positions[j], axis=1) / (radii[i] + radii[j])
    return ratios[ratios < BONDED], pairs[ratios < BONDED]
