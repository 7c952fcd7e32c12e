"""The laws of molecules by name: as wide as asked, and the widest where asked."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from molaugerino.distributions import Family, molecular_law
from molaugerino.errors import UserError
from molaugerino.groups import SE3
from molaugerino.spaces import Molecules

FAMILIES = get_args(Family)
WIDEST = {"gaussian": 0.02, "box": math.inf}  # nats that the widest member is away from Haar


def spread(law):
    xi = SE3.log(law.double().sample((20000,), torch.Generator().manual_seed(0))).detach()
    return xi[:, :3].square().sum(1).mean().sqrt().item(), xi[:, 3:].square().sum(1).mean().sqrt().item()


@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in ("box", "swing-twist")])
def test_families_start_alike(family):
    """Root mean squares of angle and shift are those of the balls."""
    turn, shift = spread(molecular_law(family, 0.3, 0.2))
    assert turn == pytest.approx(0.3 * math.sqrt(3 / 5), rel=0.03)
    assert shift == pytest.approx(0.2 * math.sqrt(3 / 5), rel=0.03)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_widest(family):
    law = molecular_law(family, math.pi, 1.5, cap=1.5, mirror=0.5)
    nats = {line.quantity.split()[0]: line.nats for line in law.describe()}
    assert nats["reflection"] == pytest.approx(0, abs=1e-6)
    assert nats["translation"] == pytest.approx(0, abs=1e-5)
    turns = sum(v for k, v in nats.items() if k in ("rotation", "twist", "swing"))
    assert turns <= WIDEST.get(family, 1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_reflections_come_on_top(family):
    law = molecular_law(family, 0.3, 0.2, mirror=0.25)
    flipped = torch.linalg.det(law.sample((4000,), torch.Generator().manual_seed(0)).linear) < 0
    assert flipped.double().mean().item() == pytest.approx(0.25, abs=0.03)
    assert law.branches == 2


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "igso"])
def test_conditional_starts_as_the_plain_law(family):
    x = Molecules(
        torch.tensor([[6, 1, 0], [8, 1, 1]]), torch.rand(2, 3, 3), torch.tensor([[1, 1, 0], [1, 1, 1]]).bool()
    )
    plain, law = molecular_law(family, 0.3, 0.2, mirror=0.25), molecular_law(family, 0.3, 0.2, 1.0, 0.25, True)
    noise = plain.noise((4, 2), torch.Generator().manual_seed(0))
    assert law.conditional
    assert torch.allclose(law.elements(noise, x).linear, plain.elements(noise).linear, atol=1e-6)


@pytest.mark.usefixtures("untyped")
def test_an_unknown_family():
    with pytest.raises(UserError, match="`family` must be one of ball, gaussian, swing-twist, igso, box, got 'cube'"):
        molecular_law("cube", 0.1, 0.1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("rotation", "translation", "message"),
    [
        (-1.0, 0.1, r"`rotation` must lie in \[0, 3.14159\] rad, got -1"),
        (5.0, 0.1, "got 5; no turn is larger"),
        (1.0, 3.0, r"`translation` must lie in \[0, 1\] angstrom, got 3; raise `cap`"),
        (1.0, math.nan, "got nan"),
    ],
)
def test_beyond_the_widest(family, rotation, translation, message):
    with pytest.raises(UserError, match=message):
        molecular_law(family, rotation, translation)
