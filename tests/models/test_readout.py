"""Units, references and moments: closed forms, and labels that are missing."""

from __future__ import annotations

import pytest
import torch

from molaugerino.datasets import Target
from molaugerino.datasets.targets import default_readout
from molaugerino.errors import UserError
from molaugerino.models import Canonicalised, Readout, Scaling
from molaugerino.models.frame_averaging import principal_frames
from molaugerino.models.pairs import pairs_of
from molaugerino.models.readout import charge_moment, length
from molaugerino.models.scaling import square_radii
from molaugerino.spaces import Molecules
from tests.models.test_backbones import TARGETS, labels, molecules


class TestTargets:
    @pytest.mark.parametrize(
        ("readout", "names"),
        [
            ("norm", "mu dipole_moment dipole_norm b3lyp_dipole_norm"),
            ("extent", "r2 R2 electronic_spatial_extent"),
            ("sum", "U0 U H G Cv u0 u298 h298 g298 zpve alpha U0_atom U_atom H_atom G_atom isotropic_polarizability"),
            ("sum", "energy total_energy kinetic_energy nuclear_repulsion_energy atomization_energy"),
            ("sum", "g4mp2_atomization_energy free_energy enthalpy_h energy_U0 heat_capacity G4MP2_0K_energy"),
            ("mean", "gap homo lumo A B C homo_energy g4mp2_gap dipole_x energy_per_atom excitation_energy"),
        ],
    )
    def test_readout_by_name(self, readout, names):
        assert {name: default_readout(name) for name in names.split()} == dict.fromkeys(names.split(), readout)

    def test_vectors_are_neither_norms_nor_extents(self):
        assert default_readout("mu", "vector") == "mean"
        with pytest.raises(UserError, match="target mu is a vector, and norm makes scalars"):
            Target("mu", "", "debye", "norm", "vector")


class TestMoments:
    def test_radii_are_from_the_centre_of_nuclear_charge(self):
        x = molecules((2,))
        z, pos = x.z[0].double(), x.pos[0]
        apart = (pos[1] - pos[0]).square().sum()
        shares = z.flip(0) / z.sum()  # each atom lies at the other's share of the charge
        assert torch.allclose(square_radii(x)[0], shares.square() * apart)

    def test_two_charges(self):
        x = molecules((2,))
        q = torch.tensor([[[0.7], [0.1]]], dtype=torch.float64)
        assert torch.allclose(charge_moment(q, x), 0.3 * (x.pos[:, 0] - x.pos[:, 1]))

    def test_length_has_slope_zero_at_zero(self):
        v = torch.zeros(1, 3, requires_grad=True)
        length(v).sum().backward()
        assert not v.grad.any()

    def test_an_atom_has_no_extent_and_invariant_networks_give_it_no_dipole(self):
        readout = Readout(8, TARGETS, "invariant").double()
        x = molecules((1,))
        y = readout(torch.randn(1, 1, 8, dtype=torch.float64), x)
        assert y[0, 2:].tolist() == pytest.approx([0.0] * 5, abs=1e-12)
        assert y[0, :2].abs().min() > 0


class TestScale:
    def test_references_of_an_extent_are_its_slopes_by_square_radius(self):
        x = molecules(tuple(range(2, 9)) * 10)
        slopes = torch.linspace(1, 3, 10, dtype=torch.float64)
        y = (square_radii(x) * slopes[x.z]).sum(1, keepdim=True)
        readout = Scaling([TARGETS[3]])
        readout.fit_scale(x, y)
        assert readout.reference[1:10, 0].tolist() == pytest.approx(slopes[1:].tolist(), rel=1e-5)
        assert not readout.reference[10:].any()
        assert not readout.reference[0].any()
        assert torch.allclose(readout.double().baseline(x), y, rtol=1e-5)

    def test_norms_and_turning_vectors_have_no_shift_and_one_scale(self):
        x, generator = molecules((4,) * 2000), torch.Generator().manual_seed(0)
        vectors = 1.5 * torch.randn(2000, 3, generator=generator, dtype=torch.float64)
        y = torch.cat([vectors.norm(dim=1, keepdim=True), vectors + 0.1], 1)
        readout = Scaling([TARGETS[2], TARGETS[4]], turning=True)
        readout.fit_scale(x, y)
        assert readout.scale.tolist() == pytest.approx([1.5] * 4, rel=0.05)
        assert readout.scale[1:].unique().numel() == 1
        assert not readout.baseline(x._replace(pos=x.pos.float())).any()
        free = Scaling([TARGETS[4]])
        free.fit_scale(x, y[:, 1:])
        assert free.shift.tolist() == pytest.approx([0.1] * 3, abs=0.1)

    @pytest.mark.parametrize("unit", [1e-19, 1e-9, 1e6])
    @pytest.mark.parametrize("turning", [True, False])
    def test_of_labels_in_any_unit(self, turning, unit):
        x = molecules(tuple(range(1, 9)) * 5)
        usual, other = Scaling(TARGETS, turning), Scaling(TARGETS, turning)
        usual.fit_scale(x, labels(x))
        other.fit_scale(x, unit * labels(x))
        for name in ("scale", "shift", "reference"):
            assert torch.allclose(getattr(other, name) / unit, getattr(usual, name), rtol=1e-5, atol=1e-6)

    def test_a_label_below_zero_is_no_length(self):
        x = molecules((4,) * 10)
        with pytest.raises(UserError, match=r"mu is read out as the length of a vector.* has -4 .*--readout mean"):
            Scaling([TARGETS[2]]).fit_scale(x, torch.full((10, 1), -4.0, dtype=torch.float64))

    @pytest.mark.parametrize("turning", [True, False])
    def test_missing_labels_are_left_out_target_by_target(self, turning):
        x = molecules(tuple(range(1, 9)) * 5)
        y = labels(x)
        y[::3, 0], y[1::4, 1], y[5:9, 2], y[:, 3][x.mask.sum(1) < 3], y[2, 5] = (torch.nan,) * 5
        together = Scaling(TARGETS, turning)
        together.fit_scale(x, y)
        for k, target in enumerate(TARGETS):
            part = slice(k, k + 1) if k < 4 else slice(4, 7)
            rows = torch.isfinite(y[:, part]).all(1)
            alone = Scaling([target], turning)
            alone.fit_scale(type(x)(*(field[rows] for field in x)), y[rows, part])
            for name in ("reference", "shift", "scale"):
                assert torch.equal(getattr(alone, name), getattr(together, name)[..., part])
                assert torch.isfinite(getattr(alone, name)).all()

    def test_no_label_at_all(self):
        x = molecules()
        y = labels(x)
        y[:, 1] = torch.nan
        with pytest.raises(UserError, match="no training molecule has a label of energy; leave it out"):
            Scaling(TARGETS).fit_scale(x, y)

    def test_one_molecule(self):
        x = molecules((3,))
        readout = Scaling(TARGETS)
        readout.fit_scale(x, labels(x))
        assert torch.isfinite(readout.double().baseline(x)).all()
        assert bool((readout.scale > 0).all())


def test_pairs_fade_out_at_the_cutoff_and_leave_out_the_padding_and_the_atom_itself():
    at = torch.tensor([0.0, 2.0, 3.999, 4.001])
    pos = torch.stack([at, torch.zeros(4), torch.zeros(4)], -1).unsqueeze(0)
    mask = torch.tensor([[True] * 4])
    pairs = pairs_of(Molecules(mask.long(), pos, mask), 4.0)
    assert pairs.weight[0, 0].tolist() == pytest.approx([0.0, 0.5, 0.0, 0.0], abs=1e-6)
    assert pairs.arrow[0, 0, 1].tolist() == [2.0, 0.0, 0.0]
    assert not pairs.weight.diagonal(dim1=1, dim2=2).any()
    mask = torch.tensor([[True, False, True, True]])
    assert not pairs_of(Molecules(mask.long(), pos, mask), 4.0).weight[0, 1].any()


def test_frames_are_rotations():
    x = molecules((4, 6, 5))
    torch.manual_seed(0)
    for g in (principal_frames(x.pos, x.mask), Canonicalised(torch.nn.Identity()).double().frame(x)):
        assert (g.linear.mT @ g.linear - torch.eye(3)).abs().max() < 1e-12
        assert (torch.linalg.det(g.linear) - 1).abs().max() < 1e-12
