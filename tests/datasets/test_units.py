"""Conversion between units of one dimension."""

from __future__ import annotations

import pytest

from molaugerino.datasets.units import DIMENSIONS, base_unit, factor
from molaugerino.errors import UserError


@pytest.mark.parametrize(
    ("given", "wanted", "value"),
    [
        ("hartree", "eV", 27.211386246),
        ("eV", "kcal/mol", 23.060548),
        ("hartree", "kcal/mol", 627.509474),
        ("kJ/mol", "kcal/mol", 1 / 4.184),
        ("e*bohr", "debye", 2.5417464),
        ("e*angstrom", "debye", 4.8032047),
        ("bohr^3", "angstrom^3", 0.14818471),
        ("J/(mol K)", "cal/(mol K)", 1 / 4.184),
        ("cm^-1", "meV", 0.12398420),
        ("furlong", "furlong", 1.0),
    ],
)
def test_known_factors(given, wanted, value):
    assert factor(given, wanted) == pytest.approx(value, rel=1e-7)
    assert factor(wanted, given) == pytest.approx(1 / value, rel=1e-7)


def test_base_units_are_those_of_pyg():
    assert [base_unit(u) for u in ("hartree", "e*bohr", "bohr", "parrots")] == ["eV", "debye", "angstrom", "parrots"]
    assert all(units[base_unit(unit)] == 1.0 for units in DIMENSIONS.values() for unit in units)


@pytest.mark.parametrize(
    ("given", "message"),
    [("debye", "cannot convert 'debye', a unit of dipole, to 'eV'"), ("parrots", "'parrots' is not known; use eV, ")],
)
def test_what_cannot_be_converted(given, message):
    with pytest.raises(UserError, match=message):
        factor(given, "eV")
