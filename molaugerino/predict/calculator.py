"""A model as a calculator of ASE, to relax and to follow molecules by its energy."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes

from molaugerino.augment import Augmented
from molaugerino.datasets.units import factor
from molaugerino.errors import UserError
from molaugerino.forces import energy_and_forces
from molaugerino.spaces import Molecules
from molaugerino.training.checkpoint import ModelCard


class ModelCalculator(Calculator):
    """E = h(z, r) in eV,   F = - dE / dr in eV/angstrom.

    Made by `Predictor.calculator`. The energies of the training labels belong to equilibrium geometries: forces away
    from a minimum are not validated.

    Args:
        augmented: network and law.
        card: what they are.
        channel: of the output, the energy.
        unit: of that channel.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, augmented: Augmented, card: ModelCard, channel: int, unit: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.augmented, self.card, self.channel = augmented, card, channel
        self.to_ev = factor(unit, "eV")

    def calculate(
        self, atoms: Any = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        here: Any = self.atoms
        unknown = sorted(set(here.numbers.tolist()) - set(self.card.elements))
        if unknown:
            raise UserError(f"the model was not trained on the elements of atomic number {unknown}; it gives no energy")
        if here.pbc.any():
            raise UserError("the atoms are periodic, the model knows molecules only; set atoms.pbc = False")
        like = next(self.augmented.parameters())
        z = torch.from_numpy(here.numbers.astype(np.int64)).to(like.device)
        pos = torch.from_numpy(here.positions).to(like)
        with torch.no_grad():
            found = energy_and_forces(self.augmented, Molecules(z[None], pos[None], z[None] > 0), self.channel)
        self.results["energy"] = self.to_ev * float(found.energy)
        self.results["forces"] = self.to_ev * found.forces[0].double().cpu().numpy()
