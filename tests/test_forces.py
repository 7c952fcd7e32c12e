"""Forces of an averaged energy: slopes of it, turned with the molecule, and what ASE does with them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from molaugerino import Augmented, energy_and_forces
from molaugerino.distributions import AtomFeatures, Conditional, HaarBall
from molaugerino.errors import UserError
from molaugerino.groups import SO3
from molaugerino.quadrature import cube, lebedev
from molaugerino.spaces import Molecules, Padded, Points, Vector
from tests.cases import CASES
from tests.oracles import cube_rotations

LAYOUTS = ["energy, padded", "energy, ragged"]


def averaged(name: str, law=None, **options) -> Augmented:
    case = CASES[name]
    torch.manual_seed(0)
    law = HaarBall(SO3, width=2.0).double() if law is None else law
    return Augmented(case.net(), law, case.input, case.output, **options).eval()


def at(x, pos):
    return x._replace(pos=pos) if isinstance(x, Molecules) else type(x)(**(vars(x) | {"pos": pos}))


def slopes(h: nn.Module, x) -> Tensor:
    """-dE/dr by central differences, coordinate by coordinate."""
    step, flat = 1e-5, x.pos.flatten()
    found = []
    for k in range(len(flat)):
        ends = []
        for sign in (1, -1):
            moved = flat.clone()
            moved[k] += sign * step
            ends.append(h(at(x, moved.reshape(x.pos.shape))).sum())
        found.append((ends[1] - ends[0]) / (2 * step))
    return torch.stack(found).reshape(x.pos.shape).detach()


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("copies", [5, lebedev(3)], ids=["draws", "lebedev"])
def test_they_are_slopes_of_the_averaged_energy(name, copies):
    h, x = averaged(name, eval_copies=copies), CASES[name].batch()
    found = energy_and_forces(h, x)
    assert (found.energy - h(x)[:, 0]).abs().max() < 1e-12
    assert (found.forces - slopes(h, x)).abs().max() < 1e-7
    assert found.forces.abs().max() > 1e-2


def test_they_are_slopes_under_a_law_that_depends_on_the_molecule():
    """The elements move with the atoms, and the forces know of it."""
    torch.manual_seed(0)
    law = Conditional(HaarBall(SO3, width=1.0), AtomFeatures()).double()
    nn.init.normal_(law.readout.weight, std=3.0)
    h, x = averaged(LAYOUTS[0], law, eval_copies=4), CASES[LAYOUTS[0]].batch()
    found = energy_and_forces(h, x)
    assert (found.forces - slopes(h, x)).abs().max() < 1e-7
    fixed = energy_and_forces(lambda_at(h, h.evaluation_elements(4, x).detach()), x).forces
    assert (found.forces - fixed).abs().max() > 1e-3


def lambda_at(h: Augmented, elements) -> nn.Module:
    class At(nn.Module):
        def forward(self, x):
            return h(x, elements)

    return At()


@pytest.mark.parametrize("name", LAYOUTS)
def test_they_are_the_mean_of_forces_turned_back(name):
    """F = sum_j w_j R_j^-1 F^f(g_j x), the same set for energy and forces."""
    rule, case = lebedev(3), CASES[name]
    h, x = averaged(name, eval_copies=rule), case.batch()
    index = case.input.index(x)
    back = Vector(per_point=isinstance(case.input, Points))
    total = torch.zeros_like(x.pos)
    for k, weight in enumerate(rule.weights):
        g = rule.elements[k].expand(3)
        single = energy_and_forces(h.model, case.input.act(g, x, index)).forces
        total += weight * back.act(g.inverse(), single.detach(), index)
    assert (energy_and_forces(h, x).forces - total).abs().max() < 1e-12


@pytest.mark.parametrize("name", LAYOUTS)
def test_they_turn_with_the_molecule(name):
    case = CASES[name]
    h, x = averaged(name, eval_copies=cube()), case.batch()
    index = case.input.index(x)
    back = Vector(per_point=isinstance(case.input, Points))
    energy, forces = energy_and_forces(h, x)
    for k in (1, 7, 13):
        g = cube_rotations()[k].expand(3)
        turned = energy_and_forces(h, case.input.act(g, x, index))
        assert (turned.energy - energy).abs().max() < 1e-10
        assert (turned.forces - back.act(g, forces, index)).abs().max() < 1e-10
    single = energy_and_forces(h.model, x).forces
    alone = energy_and_forces(h.model, case.input.act(g, x, index)).forces
    assert (alone - back.act(g, single, index)).abs().max() > 1e-2  # not so without the average


class TestUse:
    def test_padding_feels_nothing(self):
        x = CASES[LAYOUTS[0]].batch()
        forces = energy_and_forces(averaged(LAYOUTS[0], eval_copies=3), x).forces
        assert (forces[~x.mask] == 0).all()

    def test_without_gradients_nothing_is_kept(self):
        h, x = averaged(LAYOUTS[0], eval_copies=3), CASES[LAYOUTS[0]].batch()
        expected = energy_and_forces(h, x)
        with torch.no_grad():
            found = energy_and_forces(h, x)
        assert not found.energy.requires_grad
        assert not found.forces.requires_grad
        assert torch.equal(found.forces, expected.forces.detach())
        assert not x.pos.requires_grad

    def test_they_can_be_trained_on(self):
        h, x = averaged(LAYOUTS[0], eval_copies=3), CASES[LAYOUTS[0]].batch()
        energy_and_forces(h, x).forces.square().sum().backward()
        first = next(h.model.parameters())
        assert first.grad is not None
        assert first.grad.abs().max() > 1e-3

    def test_copies_in_parts_give_the_same_in_flat_memory(self):
        x = CASES[LAYOUTS[0]].batch()
        whole, parts = (averaged(LAYOUTS[0], eval_copies=80, at_once=k) for k in (None, 12))
        assert (energy_and_forces(whole, x).forces - energy_and_forces(parts, x).forces).abs().max() < 1e-12
        assert kept(whole, x) > 10 * kept(parts, x)

    @pytest.mark.parametrize("channel", [-1, 1])
    def test_a_channel_that_is_not_there(self, channel):
        h, x = averaged(LAYOUTS[0], eval_copies=2), CASES[LAYOUTS[0]].batch()
        with pytest.raises(UserError, match=rf"`channel` must be one of .*\(3, 1\), got {channel}"):
            energy_and_forces(h, x, channel)

    def test_auto_has_no_forces(self):
        h = averaged(LAYOUTS[0], eval_copies="auto", tolerance=0.1)
        with pytest.raises(UserError, match="gives energies that jump"):
            energy_and_forces(h, CASES[LAYOUTS[0]].batch())

    def test_an_output_that_does_not_see_the_atoms(self):
        class Count(nn.Module):
            def forward(self, x):
                return x.mask.double().sum(1, keepdim=True)

        h = Augmented(Count(), HaarBall(SO3, width=1.0).double(), Padded(), eval_copies=2).eval()
        with pytest.raises(UserError, match="does not depend on the positions"):
            energy_and_forces(h, CASES[LAYOUTS[0]].batch())


def kept(h: nn.Module, x) -> int:
    """Numbers that a pass keeps for the way back."""
    numbers: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        numbers.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        h(at(x, x.pos.clone().requires_grad_()))
    return sum(numbers)
