"""The Lie derivative end to end, against finite differences and smooth pictures."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from molaugerino.equivariance import ImageView, MoleculeView, lie_derivatives
from molaugerino.errors import UserError
from molaugerino.groups import SE2, SE3, Affine, hues
from molaugerino.spaces import Colour, DirectSum, Invariant, Mask, Padded, Tensor2, Vector
from tests.cases import ByAtom, ByMolecule, padded
from tests.oracles import rendered_dots

STEP = 1e-5


def small_moves(model, x, output):
    """Central differences of rho_out(g)^-1 f(rho_in(g) x) at the identity."""
    slopes = []
    for unit in torch.eye(6, dtype=torch.float64):
        values = []
        for sign in (1, -1):
            g: Affine = SE3.exp(sign * STEP * unit).expand(len(x.z))
            values.append(output.act(g.inverse(), model(Padded().act(g, x)), None))
        slopes.append((values[0] - values[1]) / (2 * STEP))
    return torch.stack(slopes).detach()


@pytest.mark.parametrize(
    ("model", "output"),
    [
        (ByMolecule(2), Invariant()),
        (ByMolecule(3), Vector()),
        (ByMolecule(3), Vector(axial=True)),
        (ByMolecule(9), Tensor2()),
        (ByAtom(3), Vector()),
        (ByMolecule(4), DirectSum([(Invariant(), 1), (Vector(), 3)])),
    ],
)
def test_it_is_the_limit_of_small_moves(model, output):
    x = padded()
    found = lie_derivatives(model, x, MoleculeView(), SE3, output)
    expected = small_moves(model, x, output)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < 1e-7 * max(1, float(expected.abs().max()))
    assert not found.requires_grad


class Moments(nn.Module):
    """sum_a Z_a r_a, exactly equivariant under rotations, not under translations."""

    def forward(self, x):
        return (x.z.unsqueeze(-1) * x.pos).sum(1)


def test_it_vanishes_where_the_network_is_equivariant():
    found = lie_derivatives(Moments(), padded(), MoleculeView(), SE3, Vector())
    assert float(found[:3].abs().max()) < 1e-10
    assert float(found[3:].abs().max()) > 1


class AtPoint(nn.Module):
    """The grey value of one pixel."""

    def forward(self, x):
        return x[:, :, 20, 45]


def test_of_images_it_is_the_slope_of_the_picture():
    picture = rendered_dots(torch.tensor([[0.3, 0.2]]).numpy(), 64, 64, 0.25)
    found = lie_derivatives(AtPoint(), picture, ImageView(), SE2, Invariant())[:, 0, 0]
    x, y = (2 * 45 + 1 - 64) / 64, (64 - 1 - 2 * 20) / 64
    slope = picture[0, 0, 20, 45] * torch.tensor([0.3 - x, 0.2 - y]) / 0.25**2
    expected = torch.stack([-(slope @ v) for v in torch.tensor([[-y, x], [1.0, 0.0], [0.0, 1.0]])])
    assert torch.allclose(found, expected.double(), rtol=0.01)


def test_maps_of_pixels_are_moved_back():
    picture = rendered_dots(torch.tensor([[0.3, 0.2]]).numpy(), 32, 32, 0.25)
    assert float(lie_derivatives(nn.Identity(), picture, ImageView(), SE2, Mask()).abs().max()) < 1e-10
    doubled = lie_derivatives(nn.Identity(), picture, ImageView(), SE2, Invariant())
    assert float(doubled.abs().max()) > 0.1


class Grey(nn.Module):
    def forward(self, x):
        return x.mean((1, 2, 3), keepdim=False).unsqueeze(1)


def test_colours_turn_about_the_greys():
    picture = torch.rand(2, 3, 5, 5, dtype=torch.float64)
    view = ImageView(Colour())
    assert float(lie_derivatives(Grey(), picture, view, hues(), Invariant()).abs().max()) < 1e-10
    assert float(lie_derivatives(nn.Flatten(), picture, view, hues(), Invariant()).abs().max()) > 0.01


class Sampled(nn.Module):
    def forward(self, x):
        grid = torch.zeros(len(x), 2, 2, 2, dtype=x.dtype)
        return nn.functional.grid_sample(x, grid, align_corners=False).flatten(1)


def test_a_network_that_cannot_be_differentiated_is_refused():
    picture = torch.rand(1, 1, 5, 5, dtype=torch.float64)
    with pytest.raises(UserError, match="forward-mode"):
        lie_derivatives(Sampled(), picture, ImageView(), SE2, Invariant())
