"""What every network of images promises, and what those with a symmetry do."""

from __future__ import annotations

import math

import pytest
import torch

from molaugerino.errors import UserError
from molaugerino.groups import Affine
from molaugerino.spaces import Image
from molaugerino.vision import (
    NETWORKS,
    FiveLayer,
    GroupConvolutions,
    Layerwise,
    ThirteenLayer,
    UNet,
    group_convolutions,
    make_network,
)

NARROW = 0.05
QUARTERS = (1, 2, 3)
PLANE = (-2, -1)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(params=list(NETWORKS))
def name(request):
    return request.param


def images(count=4, channels=1, height=12, width=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, height, width or height, generator=generator, dtype=torch.float64)


def blobs(count=12, side=20, seed=0):
    """Sums of bumps that are 0 near the edges, and so much the same after a turn by any angle."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, side, dtype=torch.float64)] * 2, indexing="ij")
    place, size, height = (
        torch.rand(shape, generator=generator) for shape in ((count, 6, 2, 1, 1), (count, 6), (count, 6))
    )
    away = (x - 0.8 * (place[:, :, 0] - 0.5)).square() + (y - 0.8 * (place[:, :, 1] - 0.5)).square()
    size, height = (0.12 + 0.12 * size)[..., None, None], height[..., None, None]
    return (height * torch.exp(-away / (2 * size**2))).sum(1, keepdim=True).clamp(0, 1)


def lived_in(network, x):
    """In float64, with statistics of normalisation that are those of the images, then for evaluation."""
    network.double().train()
    with torch.no_grad():
        for _ in range(10):
            network(x)
    return network.eval()


def turned(x, degrees):
    a = math.radians(degrees)
    rotation = torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]], dtype=x.dtype)
    return Image("bicubic").act(Affine(rotation, torch.zeros(2, dtype=x.dtype)).expand(len(x)), x)


def change(network, before, after):
    """Root mean square of what the outputs change by, relative to how much they differ between images."""
    with torch.no_grad():
        y = network(before)
        return float((network(after) - y).square().mean().sqrt() / y.std(0).square().mean().sqrt())


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 8, 8), (3, 13, 13), (2, 9, 14), (1, 28, 28)])
def test_shape(name, channels, height, width):
    x = images(2, channels, height, width).float()
    y = make_network(name, channels, 5, NARROW)(x)
    assert y.shape == ((2, 5) if NETWORKS[name].kind == "classes" else (2, 5, height, width))
    assert y.isfinite().all()


def test_gradients_reach_all_parameters(name):
    network = make_network(name, 3, 4, NARROW).double()
    network(images(4, 3)).square().sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key


def test_gradients_reach_the_image(name):
    x = images(2, 2).requires_grad_()
    make_network(name, 2, 3, NARROW).double()(x).square().sum().backward()
    assert (x.grad.abs().sum((0, 1)) > 0).all()


def test_evaluation_looks_at_one_image_at_a_time(name):
    network = lived_in(make_network(name, 1, 3, NARROW), images(8))
    x = images(3, seed=1)
    assert torch.equal(network(x), network(x))
    torch.testing.assert_close(torch.cat([network(each) for each in x.split(1)]), network(x))


def test_the_same_seed_gives_the_same_network(name):
    first, second = [(torch.manual_seed(3), make_network(name, 1, 3, NARROW))[1].state_dict() for _ in range(2)]
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("network", [FiveLayer, ThirteenLayer])
def test_dropout_is_for_training(network):
    x, narrow = images(2), network(1, 3, NARROW, dropout=0.5).double()
    assert not torch.equal(narrow(x), narrow(x))
    assert torch.equal(narrow.eval()(x), narrow(x))
    still = network(1, 3, NARROW, dropout=0.0).double()
    assert torch.equal(still(x), still(x))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("five-layer", 1.6e6, 1.65e6),
        ("thirteen-layer", 3.5e6, 3.6e6),
        ("residual", 0.17e6, 0.18e6),
        ("unet", 0.45e6, 0.5e6),
        ("p4", 0.4e6, 0.42e6),
        ("p8", 0.45e6, 0.5e6),
    ],
)
def test_number_of_parameters(name, low, high):
    assert low < sum(parameter.numel() for parameter in make_network(name, 1, 10, 1.0).parameters()) < high


def test_layers_of_five():
    """3x3 convolutions of widths 128, 128, 256, 256, 256 on sides 28, 28, 14, 14, 7."""
    seen = []
    network = FiveLayer(1, 10)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda module, _, y: seen.append((module.kernel_size[0], *y.shape[1:3])))
    network(images(2, height=28).float())
    assert seen == [(3, 128, 28), (3, 128, 28), (3, 256, 14), (3, 256, 14), (3, 256, 7)]


def of_definition(f, psi):
    """sum_h f(h) psi(g^-1 h) over shifts and quarter turns, by loops: one channel, zeros outside."""
    side, half = f.shape[-1], psi.shape[-1] // 2
    result = torch.zeros(4, side, side, dtype=f.dtype)
    rotation = torch.tensor([[0, -1], [1, 0]])
    for r in range(4):
        back = torch.linalg.matrix_power(rotation, (4 - r) % 4)
        for row, column, s, u, v in torch.cartesian_prod(*[torch.arange(n) for n in (side, side, len(f), side, side)]):
            x, y = back @ torch.stack([v - column, row - u])  # x to the right, y up
            if max(abs(x), abs(y)) <= half:
                result[r, row, column] += f[s, u, v] * psi[(s - r) % len(f), half - y, half + x]
    return result


@pytest.mark.parametrize("orientations", [1, 4])
def test_group_convolution_is_the_sum_over_the_group(orientations):
    convolution = group_convolutions.GroupConvolution(1, 1, 4, 3, orientations).double()
    f = images(1, orientations, 4).unsqueeze(1)
    psi = convolution.weight[0, 0].detach().reshape(orientations, 3, 3)
    torch.testing.assert_close(convolution(f)[0, 0], of_definition(f[0, 0], psi), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("order", [4, 8])
def test_maps_are_permuted_by_quarter_turns(order, side):
    """In the plane by the turn, orientations by as many as it has steps; a filter is not so by chance."""
    network = GroupConvolutions(1, 3, NARROW, order).double().eval().features
    x = images(2, height=side).unsqueeze(2)
    wanted = torch.rot90(network(x), 1, PLANE).roll(order // 4, 2)
    torch.testing.assert_close(network(torch.rot90(x, 1, PLANE)), wanted, rtol=0, atol=1e-10)
    assert (wanted.roll(1, 2) - wanted).abs().max() > 1e-3


def worst_quarter(network, x):
    with torch.no_grad():
        y = network(x)
        assert y.std(0).min() > 1e-5  # images are told apart
        return max(float((network(torch.rot90(x, k, PLANE)) - y).abs().max()) for k in QUARTERS)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 9), (14, 14), (15, 15), (28, 28), (9, 12)])
@pytest.mark.parametrize("name", ["p4", "p8"])
def test_quarter_turns_change_nothing(name, height, width):
    network = lived_in(make_network(name, 2, 3, NARROW), images(8, 2, height, width))
    assert worst_quarter(network, images(4, 2, height, width, seed=1)) < 1e-10


@pytest.mark.parametrize("name", ["p4", "p8"])
def test_one_filter_that_is_not_turned_is_found_out(name, monkeypatch):
    turn = group_convolutions.turn
    monkeypatch.setattr(group_convolutions, "turn", lambda filters, r: turn(filters, 0 if r == 1 else r))
    network = lived_in(make_network(name, 2, 3, NARROW), images(8, 2))
    assert worst_quarter(network, images(4, 2, seed=1)) > 1e-4


def test_eighth_turns_change_little():
    """Geometric mean over six draws of the weights."""
    x, seen = blobs(), blobs(seed=1)
    eighth, changes = turned(x, 45), {}
    for label in ("five-layer", "p4", "p8"):
        networks = [lived_in(make_network(label, 1, 32, 0.125), seen) for _ in range(6)]
        changes[label] = math.prod(change(network, x, eighth) for network in networks) ** (1 / 6)
    assert changes["p8"] < 0.15
    assert changes["p8"] < changes["p4"] / 2
    assert changes["p8"] < changes["five-layer"] / 4


@pytest.mark.parametrize("name", ["five-layer", "thirteen-layer", "residual", "p4", "p8"])
def test_shifts_by_four_pixels_change_nothing(name):
    """Of something small on a dark ground, so far from the edges that no layer sees it and them together."""
    network = lived_in(make_network(name, 1, 3, NARROW), images(8))
    x = torch.zeros(1, 1, 120, 120, dtype=torch.float64)
    x[..., 58:62, 58:62] = images(1, height=4)
    with torch.no_grad():
        y, moved, between = (network(x.roll(shift, PLANE)) for shift in ((0, 0), (4, -4), (1, 0)))
    torch.testing.assert_close(moved, y, rtol=0, atol=1e-12)
    assert (between - y).abs().max() > 1e-9


@pytest.mark.parametrize("side", [56, 57])
def test_unet_moves_with_the_image(side):
    """By 4 pixels, down and to the left, more than 24 pixels away from the edges."""
    network = lived_in(UNet(1, 2, NARROW), images(2, height=side))
    x = images(1, height=side, seed=1)
    moved = network(x.roll((4, -4), PLANE))
    inside = (..., slice(28, side - 24), slice(24, side - 28))
    torch.testing.assert_close(moved[inside], network(x).roll((4, -4), PLANE)[inside], rtol=0, atol=1e-12)
    assert (network(x)[inside] - moved[inside]).abs().max() > 1e-3


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 7), (9, 16), (30, 31)])
def test_unet_keeps_the_size(height, width):
    assert UNet(1, 3, NARROW).eval()(images(2, 1, height, width).float()).shape == (2, 3, height, width)


def test_unet_cuts_off_what_it_adds():
    """An image that is padded by hand has the same answers on its own pixels."""
    network = lived_in(UNet(1, 2, NARROW), images(4, height=12))
    x = images(1, height=9, width=10, seed=1)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 2), "replicate")
    torch.testing.assert_close(network(x), network(padded)[..., 1:10, 1:11])


@pytest.mark.parametrize("factor", [0.0, -1.0, math.nan, math.inf])
def test_a_width_that_is_none(name, factor):
    with pytest.raises(UserError, match=f"`width` must be positive and finite, got {factor:g}"):
        make_network(name, 1, 10, factor)


def test_a_width_below_four_channels(name):
    """No layer is narrower, however small the factor."""
    network = make_network(name, 1, 10, 1e-6)
    if isinstance(network, Layerwise):
        assert network.hidden.weight.shape == (64 * 4, 16 * 4)
        return
    assert min(p.shape[0] for key, p in network.named_parameters() if p.dim() > 1 and "readout" not in key) == 4


def test_unknown_network():
    with pytest.raises(UserError, match=r"no network of images is called 'p6'; there are five-layer, .*p8"):
        make_network("p6", 1, 10, 1.0)


@pytest.mark.parametrize(
    ("channels", "outputs", "match"), [(0, 10, "`channels` must be at least 1"), (1, 0, "`outputs`")]
)
def test_nothing_in_or_out(channels, outputs, match):
    with pytest.raises(UserError, match=match):
        make_network("residual", channels, outputs, 1.0)


@pytest.mark.parametrize("order", [0, 2, 6, -4])
def test_an_order_without_quarter_turns(order):
    with pytest.raises(UserError, match=f"`order` must be a multiple of 4, got {order}"):
        GroupConvolutions(1, 10, order=order)
