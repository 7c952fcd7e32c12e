"""Physical units of labels, and conversion between those of one dimension."""

from __future__ import annotations

from scipy import constants

from molaugerino.errors import UserError

HARTREE = constants.value("Hartree energy in eV")
BOHR = constants.value("Bohr radius") / constants.angstrom  # angstrom
MOLE = constants.Avogadro * constants.eV  # joule per mole in one eV per molecule
DEBYE = 1e-21 / constants.c  # coulomb metre
CHARGE = constants.e * constants.angstrom / DEBYE  # debye in one e*angstrom

# Units by dimension, each in units of the first, which is that of torch_geometric's QM9.
DIMENSIONS: dict[str, dict[str, float]] = {
    "energy": {"eV": 1.0, "meV": 1e-3, "hartree": HARTREE, "kcal/mol": constants.calorie * 1e3 / MOLE}
    | {"kJ/mol": 1e3 / MOLE, "Ha": HARTREE, "cm^-1": constants.h * constants.c * 100 / constants.eV},
    "dipole": {"debye": 1.0, "D": 1.0, "e*angstrom": CHARGE, "e*bohr": CHARGE * BOHR},
    "polarizability": {"bohr^3": 1.0, "angstrom^3": BOHR**-3},
    "area": {"bohr^2": 1.0, "angstrom^2": BOHR**-2},
    "heat capacity": {"cal/(mol K)": 1.0, "J/(mol K)": 1 / constants.calorie},
    "frequency": {"GHz": 1.0, "MHz": 1e-3},
    "length": {"angstrom": 1.0, "bohr": BOHR, "nm": 10.0},
}
_DIMENSION = {unit: dimension for dimension, units in DIMENSIONS.items() for unit in units}


def base_unit(unit: str) -> str:
    """The unit of torch_geometric's QM9 for the dimension of `unit`; an unknown unit is its own."""
    return next(iter(DIMENSIONS[_DIMENSION[unit]])) if unit in _DIMENSION else unit


def factor(given: str, wanted: str) -> float:
    """value in `wanted` = factor * value in `given`.

    Raises:
        UserError: for units of two dimensions, or unknown ones that are not the same.

    Example:
        >>> round(factor("hartree", "eV"), 6), round(factor("e*bohr", "debye"), 6)
        (27.211386, 2.541746)
    """
    if given == wanted:
        return 1.0
    unknown = [unit for unit in (given, wanted) if unit not in _DIMENSION]
    if unknown:
        raise UserError(
            f"cannot convert {given!r} to {wanted!r}: {unknown[0]!r} is not known; use {', '.join(_DIMENSION)}"
        )
    if _DIMENSION[given] != _DIMENSION[wanted]:
        raise UserError(f"cannot convert {given!r}, a unit of {_DIMENSION[given]}, to {wanted!r}: correct the unit")
    units = DIMENSIONS[_DIMENSION[given]]
    return units[given] / units[wanted]
