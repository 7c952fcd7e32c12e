"""How maps move, and the rate at which they do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from molaugerino.equivariance.features import MapFeatures, SampleFeatures, flow
from molaugerino.groups import SE2, SO2, SO3, Affine
from molaugerino.spaces import Molecules
from tests.oracles import pixels


def test_a_quarter_turn_of_maps_is_a_quarter_turn():
    h = torch.rand(2, 3, 7, 7, dtype=torch.float64)
    g = SO2.exp(torch.full((2, 1), math.pi / 2, dtype=torch.float64))
    moved = MapFeatures().act(g, h, None)
    assert torch.allclose(moved, h.rot90(1, (2, 3)), atol=1e-12)
    groups = h.unsqueeze(2)  # channels of a group convolution
    assert torch.equal(MapFeatures().act(g, groups, None), moved.unsqueeze(2))


def test_places_that_count_lie_and_come_from_within_the_border():
    like = torch.zeros(1, dtype=torch.float64)
    inner = MapFeatures(border=0.3).seen(10, 10, like)
    assert torch.equal(inner, torch.from_numpy((np.abs(pixels(10, 10)) <= 0.7).all(-1)))
    up = Affine(torch.eye(2, dtype=torch.float64), torch.tensor([0.0, 0.4], dtype=torch.float64)).expand(1)
    seen = MapFeatures(border=0.3).seen(10, 10, like, up)
    y = pixels(10, 10)[..., 1]
    assert torch.equal(seen, inner & torch.from_numpy(y - 0.4 >= -0.7 - 1e-9))
    assert bool(MapFeatures(border=0.0).seen(10, 10, like).all())
    places = int(MapFeatures().seen(10, 10, like).sum())
    assert MapFeatures().flat(torch.zeros(2, 3, 10, 10), None).shape == (2, 3, places)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_flow_of_a_smooth_picture_is_analytic(axis):
    side, centre, size = 64, np.array([0.2, -0.1]), 0.3
    u = pixels(side, side) - centre
    picture = np.exp(-(u**2).sum(-1) / (2 * size**2))
    matrix = SE2.hat(torch.eye(3, dtype=torch.float64)[axis])
    velocity = pixels(side, side) @ matrix[:2, :2].numpy().T + matrix[:2, 2].numpy()
    expected = (u * velocity).sum(-1) / size**2 * picture
    found = flow(matrix, torch.from_numpy(picture)[None, None])[0, 0].numpy()
    assert np.abs(found - expected)[1:-1, 1:-1].max() < 0.01 * np.abs(expected).max()


def test_vectors_turn_in_every_layout():
    mask = torch.tensor([[True, True, False], [True, False, False]])
    x = Molecules(mask.long(), torch.zeros(2, 3, 3), mask)
    g = SO3.exp(torch.tensor([[0.3, -0.2, 0.5], [1.0, 0.1, -0.4]], dtype=torch.float64))
    v = torch.randn(2, 4, 3, 3, 5, dtype=torch.float64)  # molecules, heads, atoms, components, channels
    kind = SampleFeatures(rows=(0, 2), padded=(2,), vector=3)
    turned = kind.act(g, v, x)
    assert torch.allclose(turned, torch.einsum("bij,bhnjc->bhnic", g.linear, v), atol=1e-12)
    flat = kind.flat(v, x)
    assert flat.shape == (3 * 3, 4 * 5)  # three atoms, three components
    assert torch.equal(flat[:3].reshape(3, 4, 5), v[0, :, 0].transpose(0, 1))
    assert torch.equal(flat[6:].reshape(3, 4, 5), v[1, :, 0].transpose(0, 1))
    atoms = v[:, 0][mask]  # packed
    packed = SampleFeatures(rows=(0,), packed=True, vector=1)
    assert torch.allclose(packed.act(g, atoms, x), torch.einsum("aij,ajc->aic", g.linear[[0, 0, 1]], atoms), atol=1e-12)
    pairs = torch.arange(2 * 3 * 3).double().reshape(2, 3, 3, 1)
    assert SampleFeatures(rows=(0, 1, 2), padded=(1, 2)).flat(pairs, x)[:, 0].tolist() == [0, 1, 3, 4, 9]


def test_the_rate_of_vectors_is_that_of_small_turns():
    x = Molecules(torch.ones(2, 1).long(), torch.zeros(2, 1, 3), torch.ones(2, 1).bool())
    v = torch.randn(2, 1, 3, 5, dtype=torch.float64)
    kind = SampleFeatures(rows=(0, 1), padded=(1,), vector=2)
    step, w = 1e-6, torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)
    ahead, behind = (kind.act(SO3.exp(sign * step * w).expand(2), v, x) for sign in (1, -1))
    assert torch.allclose(kind.rate(SO3.hat(w), v, x), (ahead - behind) / (2 * step), atol=1e-8)
