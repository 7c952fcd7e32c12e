"""What networks say: orientation spread, the last hidden layer, the distance in it, and the domain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from molaugerino.augment import Augmented
from molaugerino.datasets import PackedData, Target, open_data
from molaugerino.distributions import molecular_law
from molaugerino.models import BACKBONES, make_network
from molaugerino.spaces import Padded
from molaugerino.uncertainty import Domain, Latent, answers, bond_ratios
from molaugerino.uncertainty.domain import heavy_atoms

SMALL = {"width": 16, "depth": 1, "heads": 2, "pair": 4}
GAP = [Target("gap", "", "eV")]


@pytest.fixture(scope="module")
def data():
    return open_data("xtb9").subset(np.arange(0, 3000, 50))


def wrapped(name, rotation=0.0):
    torch.manual_seed(0)
    law = molecular_law("ball", rotation, 0.0, 1.0, None, False)
    return Augmented(make_network(name, GAP, **SMALL), law, Padded()).eval()


@pytest.mark.parametrize("name", BACKBONES)
def test_hidden_layer_and_values_of_every_network(name, data):
    """Padding, company and order change nothing, and values are those of the network itself."""
    augmented, packed = wrapped(name), PackedData(data, [])
    rows = np.array([7, 3, 11])
    found = answers(augmented, packed, rows, 1, "identity")
    alone = answers(augmented, packed, rows[2:], 1, "identity")
    torch.testing.assert_close(found.hidden[2:], alone.hidden, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.values[2:], alone.values, atol=1e-5, rtol=1e-4)
    assert found.hidden.shape == (3, 16)
    with torch.no_grad():
        direct = augmented.model(packed.batch(torch.from_numpy(rows)).x)
    torch.testing.assert_close(found.values, direct, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("name", "turns"), [("point-transformer", True), ("schnet", False)])
def test_orientation_spread_of_a_single_pass(name, turns, data):
    found = answers(wrapped(name), PackedData(data, []), np.arange(5), 1, "identity", turning=True)
    assert bool((found.orientation_sd[1:] > 1e-5).all()) == turns, "methane, the first, looks the same from everywhere"
    without = answers(wrapped(name), PackedData(data, []), np.arange(5), 1, "identity")
    assert float(without.orientation_sd.abs().max()) == 0
    torch.testing.assert_close(without.values, found.values)


def test_orientation_spread_of_a_law(data):
    augmented, packed = wrapped("point-transformer", rotation=1.0), PackedData(data, [])
    found = answers(augmented, packed, np.arange(5), 4, "own law")
    with torch.no_grad():
        each = augmented.each(packed.batch(torch.arange(5)).x, augmented.evaluation_elements(4))
    torch.testing.assert_close(found.orientation_sd, each.std(0, correction=0), atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(found.values, each.mean(0), atol=1e-5, rtol=1e-4)


class TestLatent:
    def test_distance_is_that_of_mahalanobis(self):
        generator = torch.Generator().manual_seed(0)
        hidden = torch.randn(500, 4, generator=generator) @ torch.randn(4, 4, generator=generator) + 3
        latent = Latent.of(hidden)
        precision = torch.linalg.inv(torch.cov(hidden.double().T, correction=0))
        left = (hidden - hidden.mean(0)).double()
        expected = torch.einsum("ni,ij,nj->n", left, precision, left) / 4
        torch.testing.assert_close(latent.distance(hidden).double(), expected, rtol=2e-2, atol=1e-3)
        assert float(latent.distance(hidden).mean()) == pytest.approx(1, abs=0.01)

    def test_a_direction_never_seen_is_far(self):
        hidden = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
        hidden[:, 3] = 0
        away = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
        assert float(Latent.of(hidden).distance(away)) > 100


class TestDomain:
    DOMAIN = Domain(max_atoms=20, common=2.0, farthest=4.0, shortest=0.8, longest=1.1)

    def one(self, data, row=20, stretch=1.0):
        molecule = data.subset(np.array([row]))
        return replace(molecule, positions=molecule.positions * np.float32(stretch))

    def judged(self, domain, molecule, distance=0.0):
        [found] = domain.judge(molecule, np.array([distance]))
        return found

    def test_several_are_judged_as_each_alone(self, data):
        alone = [data.subset(np.array([k])) for k in range(30)]
        narrow = Domain.of(np.arange(1000.0), data.subset(np.arange(15)))
        distances = np.linspace(0, 2000, 30)
        several = narrow.judge(data.subset(np.arange(30)), distances)
        assert several == [self.judged(narrow, one, d) for one, d in zip(alone, distances, strict=True)]
        assert len({state for state, _ in several}) == 3

    @pytest.mark.parametrize(
        ("distance", "state", "reason"),
        [
            (1.9, "inside", ""),
            (3.0, "edge", "farther from the training set than 99 % of molecules like it"),
            (6.1, "outside", "3.0 times as far from the training set as usual"),
        ],
    )
    def test_distance(self, data, distance, state, reason):
        small = int(np.argmin(data.num_atoms))
        assert self.judged(self.DOMAIN, self.one(data, small), distance) == (state, reason)

    def test_size(self, data):
        large = int(np.argmax(data.num_atoms))
        atoms = int(data.num_atoms[large])
        state, reason = self.judged(replace(self.DOMAIN, max_atoms=atoms - 1), self.one(data, large))
        assert (state, reason) == ("outside", f"{atoms} atoms; training molecules have at most {atoms - 1}")
        assert self.judged(replace(self.DOMAIN, max_atoms=atoms), self.one(data, large))[0] == "inside"

    def test_heavy_atoms(self, data):
        large = int(np.argmax(heavy_atoms(data)))
        heavy = int((self.one(data, large).atomic_numbers > 1).sum())
        wide = replace(self.DOMAIN, max_atoms=100)
        state, reason = self.judged(replace(wide, max_heavy=heavy - 1), self.one(data, large))
        assert (state, reason) == ("outside", f"{heavy} heavy atoms; training molecules have at most {heavy - 1}")
        for told in (heavy, None):
            assert self.judged(replace(wide, max_heavy=told), self.one(data, large))[0] == "inside"

    @pytest.mark.parametrize(("stretch", "state"), [(1.0, "inside"), (0.96, "edge"), (0.85, "outside"), (1.04, "edge")])
    def test_strain(self, data, stretch, state):
        molecule = self.one(data, int(np.argmin(data.num_atoms)))
        ratios = bond_ratios(molecule)
        domain = replace(self.DOMAIN, shortest=float(ratios.min()), longest=float(ratios.max()))
        found, reason = self.judged(domain, self.one(data, int(np.argmin(data.num_atoms)), stretch))
        assert found == state
        assert bool(reason) == (state != "inside")

    def test_bonds_that_are_too_long_for_any(self, data):
        """Lengths in bohr, taken for angstrom: nothing is bonded, so no bond is too long."""
        small = int(np.argmin(data.num_atoms))
        atoms = int(data.num_atoms[small])
        state, reason = self.judged(self.DOMAIN, self.one(data, small, 1.89))
        assert (state, reason) == ("outside", f"{atoms} of {atoms} atoms are too far from the others for any bond")

    def test_of_training_molecules(self, data):
        domain = Domain.of(np.arange(1000.0), data)
        assert domain.max_atoms == data.num_atoms.max()
        assert domain.max_heavy == max(int((self.one(data, k).atomic_numbers > 1).sum()) for k in range(len(data)))
        assert domain.common == pytest.approx(989, abs=1)
        assert domain.farthest == 999
        assert 0.7 < domain.shortest < 0.85
        assert 1.0 < domain.longest < 1.2
