"""A model as a calculator of ASE, to relax and to follow molecules by its energy, and for their dipoles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes

from molaugerino.augment import Augmented
from molaugerino.datasets import labels_of
from molaugerino.datasets.units import base_unit, factor
from molaugerino.errors import UserError
from molaugerino.forces import energy_and_forces
from molaugerino.predict.entries import structure_of
from molaugerino.predict.routes import LARGER, refuse
from molaugerino.predict.smiles import Unpredictable
from molaugerino.predict.table import Column
from molaugerino.spaces import Molecules
from molaugerino.training.calibration import is_single
from molaugerino.training.checkpoint import ModelCard


class ModelCalculator(Calculator):
    """E = h(z, r - c) in eV,   F = - dE / dr in eV/angstrom,   mu = h(z, r - c) in e*angstrom,   c the centroid.

    Made by `Predictor.calculator`; energy and dipole are what `predict` gives at the same geometry. The energies of the
    training labels belong to equilibrium geometries: forces away from a minimum are not validated. The dipole is
    computed when it is asked for, in a pass of its own.

    Args:
        augmented: network and law.
        card: what they are.
        energy: column of the energy, None for none; without it there are no forces.
        dipole: the three columns of the dipole, or none.
    """

    def __init__(self, augmented: Augmented, card: ModelCard, energy: Column | None, dipole: Sequence[Column]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.augmented, self.card, self.energy, self.dipole = augmented, card, energy, tuple(dipole)
        self.elements = augmented.identity() if is_single(card) else None
        self.implemented_properties = ["energy", "forces"] * (energy is not None) + ["dipole"] * bool(dipole)

    def calculate(
        self, atoms: Any = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        if system_changes:
            self.results = {}
        x = self._molecule()
        wanted = self.implemented_properties if properties is None else properties
        with torch.no_grad():
            if self.energy is not None and not {"energy", "forces"}.isdisjoint(wanted):
                found = energy_and_forces(self.augmented, x, self.energy.channel, self.elements)
                forces, to_ev = found.forces[0].double().cpu().numpy(), factor(self.energy.unit, "eV")
                self.results["energy"] = to_ev * float(found.energy)
                self.results["forces"] = to_ev * (forces - forces.mean(0))  # the centroid moves with the atoms
            if self.dipole and "dipole" in wanted:
                values = self.augmented(x, self.elements)[0, [column.channel for column in self.dipole]]
                self.results["dipole"] = factor(self.dipole[0].unit, "e*angstrom") * values.double().cpu().numpy()

    def _molecule(self) -> Molecules:
        """The atoms about their centroid, as a batch of one."""
        here: Any = self.atoms
        try:
            refuse(structure_of(here), self.card.elements, LARGER * self.card.max_atoms)
        except Unpredictable as error:
            raise UserError(f"the model gives no number for these atoms, {error}") from None
        if here.pbc.any():
            raise UserError("the atoms are periodic, the model knows molecules only; set atoms.pbc = False")
        like = next(self.augmented.parameters())
        z = torch.from_numpy(here.numbers.astype(np.int64)).to(like.device)[None]
        pos = torch.from_numpy(here.positions - here.positions.mean(0)).to(like)[None]
        return Molecules(z, pos, z > 0)


def make_calculator(
    augmented: Augmented,
    card: ModelCard,
    chosen: Callable[[Sequence[str]], Sequence[Column]],
    energy: str | None,
    dipole: str | None,
) -> ModelCalculator:
    """As `Predictor.calculator`, whose method `chosen` gives the columns of a target."""
    labels = labels_of(card.targets)
    vectors = [
        label
        for label, target in zip(labels, card.targets, strict=True)
        if target.kind == "vector" and base_unit(target.unit) == "debye"
    ]
    if dipole is None and len(vectors) == 1:
        [dipole] = vectors
    if energy is None and dipole is None:
        raise UserError(
            'name an energy, as in calculator("u0"), or a dipole vector: the model predicts '
            f"{len(vectors) or 'no'} dipole vectors, and in all {', '.join(labels)}"
        )
    scalar = chosen([energy]) if energy is not None else ()
    vector = chosen([dipole]) if dipole is not None else ()
    if energy is not None and (len(scalar) > 1 or base_unit(scalar[0].unit) != "eV"):
        raise UserError(f"{energy} is in {scalar[0].unit}; forces belong to an energy, such as u0")
    if dipole is not None and dipole not in vectors:
        raise UserError(f"{dipole} is no dipole vector; of these the model predicts {', '.join(vectors) or 'none'}")
    if card.frames == "principal":
        raise UserError(
            "the model was trained in principal frames, which turn with the atoms; it gives no forces and no vectors"
        )
    return ModelCalculator(augmented, card, scalar[0] if scalar else None, vector)
