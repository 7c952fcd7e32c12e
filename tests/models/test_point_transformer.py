"""What the network promises: permutation-invariant, mask-correct, blind to its company, and not invariant otherwise."""

from __future__ import annotations

import pytest
import torch

from molaugerino.datasets import Target
from molaugerino.groups import SE3
from molaugerino.models import PointTransformer
from molaugerino.spaces import Molecules, Padded

TARGETS = [Target("gap", "", "eV"), Target("energy", "", "eV", "sum"), Target("dipole", "", "debye", "mean", "vector")]


@pytest.fixture(params=[True, False], ids=["pairwise", "absolute"])
def net(request):
    torch.manual_seed(0)
    return PointTransformer(TARGETS, width=24, depth=2, heads=4, pair=8, pairwise=request.param).double()


def molecules(sizes=(6, 3, 1), longest=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(longest) < torch.tensor(sizes).unsqueeze(1)
    z = torch.randint(1, 10, mask.shape, generator=generator) * mask
    return Molecules(z, torch.randn(*mask.shape, 3, generator=generator, dtype=torch.float64), mask)


def pick(x, rows, atoms):
    return Molecules(x.z[rows][:, atoms], x.pos[rows][:, atoms], x.mask[rows][:, atoms])


def test_one_channel_per_scalar_three_per_vector(net):
    assert net(molecules()).shape == (3, 5)


def test_the_order_of_atoms_does_not_matter(net):
    x = molecules()
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    assert (net(x)[:1] - net(pick(x, slice(0, 1), order))).abs().max() < 1e-12


def test_a_prediction_does_not_depend_on_company_or_padding(net):
    x = molecules()
    together = net(x)
    alone = net(pick(x, slice(1, 2), slice(0, 3)))
    assert (together[1:2] - alone).abs().max() < 1e-12


def test_what_lies_in_the_padding_does_not_matter(net):
    x = molecules()
    littered = x._replace(pos=torch.where(x.mask.unsqueeze(-1), x.pos, 1e3))
    assert torch.equal(net(x), net(littered))


def test_deliberately_not_invariant(net):
    x = molecules()
    g = SE3.exp(torch.randn(3, 6, dtype=torch.float64))
    assert (net(x) - net(Padded().act(g, x))).abs().max() > 1e-3


def test_gradients_are_finite_for_coincident_and_single_atoms(net):
    x = molecules()
    pos = x.pos.clone()
    pos[0, 1] = pos[0, 0]
    pos.requires_grad_()
    net(x._replace(pos=pos)).sum().backward()
    assert torch.isfinite(pos.grad).all()


def test_sums_grow_with_the_molecule_and_means_do_not():
    """Far-away copies of one molecule: a sum doubles, a mean stays, where nothing is seen of the pairs."""
    torch.manual_seed(0)
    net = PointTransformer(TARGETS, width=24, depth=0, heads=4, pairwise=False).double()
    x = molecules((4,), 4)
    twice = Molecules(x.z.repeat(1, 2), x.pos.repeat(1, 2, 1), x.mask.repeat(1, 2))
    once, double = net(x), net(twice)
    assert torch.allclose(double[:, 1], 2 * once[:, 1])
    assert torch.allclose(double[:, [0, 2, 3, 4]], once[:, [0, 2, 3, 4]])


class TestReadoutScale:
    def test_references_are_the_least_squares_energies_per_element(self):
        generator = torch.Generator().manual_seed(0)
        z = torch.randint(0, 3, (500, 8), generator=generator)
        z = torch.tensor([0, 1, 6])[z]
        exact = torch.tensor([0.0, -13.6, -1030.0])
        energy = torch.tensor([{0: 0.0, 1: -13.6, 6: -1030.0}[int(v)] for v in z.flatten()]).reshape(z.shape).sum(1)
        noise = 0.1 * torch.randn(500, generator=generator)
        gap = 5 + 2 * torch.randn(500, generator=generator)
        targets = [Target("energy", "", "eV", "sum"), Target("gap", "", "eV")]
        net = PointTransformer(targets, width=8, depth=1, heads=2)
        x = Molecules(z, torch.zeros(*z.shape, 3), z > 0)
        net.readout.fit_scale(x, torch.stack([energy + noise, gap], 1))
        assert net.readout.reference[[0, 1, 6], 0].tolist() == pytest.approx(exact.tolist(), rel=1e-3, abs=0.05)
        assert net.readout.shift.tolist() == pytest.approx([0.0, 5.0], abs=0.3)
        assert net.readout.scale[1].item() == pytest.approx(2.0, rel=0.1)
        assert net.readout.reference[:, 1].abs().max() == 0

    def test_predictions_are_in_physical_units_in_both_modes(self):
        net = PointTransformer(TARGETS, width=24, depth=1, heads=4)
        net.readout.shift.fill_(100.0)
        x = molecules()
        x = x._replace(pos=x.pos.float())
        assert net.train()(x)[0, 0].item() == net.eval()(x)[0, 0].item() == pytest.approx(100, abs=5)


@pytest.mark.slow
def test_overfits_a_handful():
    torch.manual_seed(0)
    x = molecules(tuple(range(2, 10)) * 4, 9, seed=4)
    x = x._replace(pos=x.pos.float())
    y = torch.randn(32, 5)
    net = PointTransformer(TARGETS, width=32, depth=2, heads=4, pair=16)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(400):
        optimizer.zero_grad()
        loss = (net(x) - y).abs().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
