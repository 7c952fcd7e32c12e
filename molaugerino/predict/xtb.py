"""Geometries relaxed with GFN2-xTB, by the extra [xtb]."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from molaugerino.errors import UserError
from molaugerino.predict.smiles import Unpredictable

FORCE = 0.05  # eV/angstrom, at convergence
STEPS = 300
METHOD = "GFN2-xTB"


def has_xtb() -> bool:
    """Whether the extra is installed."""
    return importlib.util.find_spec("tblite") is not None


def need_xtb() -> None:
    """Raise where the extra is not installed."""
    if not has_xtb():
        raise UserError("--geometry xtb needs tblite; install it with: pip install 'molaugerino[xtb]'")


def relax(
    numbers: np.ndarray, positions: np.ndarray, force: float = FORCE, steps: int = STEPS
) -> tuple[np.ndarray, float]:
    """The nearest minimum of GFN2-xTB, by BFGS.

    Args:
        numbers: (atoms,) atomic numbers.
        positions: (atoms, 3) angstrom, to start from.
        force: largest one at convergence, eV/angstrom.
        steps: at most.

    Returns:
        Positions (atoms, 3), centred, and the energy in eV.

    Raises:
        Unpredictable: `relax_failed`, where it does not converge.

    Source: Bannwarth, Ehlert, Grimme, J. Chem. Theory Comput. 15, 1652 (2019).
    """
    from ase import Atoms
    from ase.optimize import BFGS
    from tblite.ase import TBLite

    atoms: Any = Atoms(numbers, positions)
    atoms.calc = TBLite(method=METHOD, verbosity=0)
    try:
        search: Any = BFGS(atoms, logfile=None)
        converged = search.run(fmax=force, steps=steps)
        energy = float(atoms.get_potential_energy())
    except Exception as error:  # tblite tells of everything by exceptions of many kinds
        raise Unpredictable("relax_failed", f"{METHOD} failed: {error}") from None
    if not converged or not np.isfinite(atoms.positions).all():
        raise Unpredictable("relax_failed", f"{METHOD} did not relax the geometry within {steps} steps")
    return atoms.positions - atoms.positions.mean(0), energy
