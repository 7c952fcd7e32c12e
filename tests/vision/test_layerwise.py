"""The network of relaxed layers: sizes as published, symmetries of its strict forms, one image at a time."""

from __future__ import annotations

import pytest
import torch

from molaugerino.errors import UserError
from molaugerino.layers import Factored, GroupConvolution, last_map
from molaugerino.vision import PATHS, Layerwise


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def images(count=2, channels=1, side=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, side, side, generator=generator, dtype=torch.float64)


# millions for colour pictures of 10 classes, grey ones of 10 and of 40; how many tensors. From instances of the
# published code.
COUNTS = {
    ("conv",): (0.339, 0.339, 0.358, 20),
    ("f-fc",): (1.543, 1.502, 1.521, 36),
    ("f-fc", "conv"): (1.772, 1.731, 1.750, 52),
    ("s-fc",): (0.832, 0.811, 0.831, 28),
    ("s-conv",): (0.288, 0.288, 0.307, 20),
    ("s-fc", "s-conv"): (0.934, 0.913, 0.933, 44),
}


@pytest.mark.parametrize("paths", COUNTS)
def test_numbers_of_parameters_are_those_published(paths):
    *millions, tensors = COUNTS[paths]
    for (channels, classes), expected in zip(((3, 10), (1, 10), (1, 40)), millions, strict=True):
        network = Layerwise(channels, classes, paths)
        assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(expected, abs=0.0006)
        assert len(list(network.parameters())) == tensors


def test_the_dense_networks_have_the_numbers_published():
    """112.7 M is too much to make here: the layers' sizes, a = 10."""
    with torch.device("meta"):
        dense, both = Layerwise(1, 10, ["fc"]), Layerwise(1, 40, ["fc", "conv"])
    assert sum(p.numel() for p in dense.parameters()) / 1e6 == pytest.approx(112.66, abs=0.006)
    assert sum(p.numel() for p in both.parameters()) / 1e6 == pytest.approx(112.91, abs=0.006)


def test_the_mixed_network_has_the_number_published():
    network = Layerwise(3, 10, ["gconv", "conv", "f-fc"], a=2, mixing=False)
    assert sum(p.numel() for p in network.parameters()) == 1_237_527


@pytest.mark.parametrize("path", ["conv", "s-conv"])
@pytest.mark.parametrize("shift", [(1, 0), (0, -1), (5, 11), (16, 3)])
def test_strict_networks_do_not_see_circular_shifts(path, shift):
    network = Layerwise(1, 3, [path], a=4).double()
    x = images()
    with torch.no_grad():
        torch.testing.assert_close(network(x.roll(shift, (2, 3))), network(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("paths", [["conv", "gconv"], ["f-fc", "conv", "gconv"], ["s-fc", "s-conv"]])
def test_strict_paths_together_do_not_see_them_either_while_free_ones_are_idle(paths):
    """They are subsampled together: each by itself would choose another way."""
    network = Layerwise(1, 3, paths, a=2, size=16).double()
    with torch.no_grad():
        for layer in network.layers:
            for name in set(paths) & {"f-fc", "s-fc"}:
                for parameter in layer.paths[name].parameters():
                    parameter.zero_()
        x = images(side=16)
        for shift in ((1, 0), (5, 3)):
            torch.testing.assert_close(network(x.roll(shift, (2, 3))), network(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("path", ["fc", "f-fc", "s-fc"])
def test_free_networks_do(path):
    network = Layerwise(1, 3, [path], a=4, size=16).double()
    x = images(side=16)
    with torch.no_grad():
        assert (network(x.roll(1, 2)) - network(x)).abs().max() > 1e-3


@pytest.mark.parametrize("mixing", [True, False])
def test_group_convolutions_do_not_see_quarter_turns(mixing):
    network = Layerwise(1, 3, ["gconv"], a=2, size=16, mixing=mixing).double()
    x = images(side=16)
    with torch.no_grad():
        torch.testing.assert_close(network(x.rot90(1, (2, 3))), network(x), rtol=0, atol=1e-12)
        torch.testing.assert_close(network(x.roll(3, 2)), network(x), rtol=0, atol=1e-12)
    mixed = Layerwise(1, 3, ["gconv", "f-fc"], a=2, size=16, mixing=mixing).double()
    with torch.no_grad():
        assert (mixed(x.rot90(1, (2, 3))) - mixed(x)).abs().max() > 1e-3


@pytest.mark.parametrize("path", PATHS)
def test_features_keep_their_size_from_layer_to_layer(path):
    """Initial weights are as large as their inputs are many: nothing vanishes or explodes in eight layers."""
    network = Layerwise(1, 3, [path], a=8).double()
    h = network.layers[0](images(8) if path != "gconv" else images(8).repeat(1, 4, 1, 1)).relu()
    first = float(h.detach().square().mean())
    for layer in network.layers[1:]:
        h = layer(h).relu()
    assert 0.02 < float(h.detach().square().mean()) / first < 50


def test_pictures_of_other_sizes_are_resized():
    network = Layerwise(1, 3, ["conv"], a=4).double()
    assert network(images(2, side=28)).shape == (2, 3)
    assert network(images(2, side=57)).shape == (2, 3)


def test_the_mean_of_the_paths():
    network = Layerwise(1, 3, ["f-fc", "conv"], a=4).double()
    layer, x = network.layers[0], images()
    factored, convolution = layer.paths["f-fc"], layer.paths["conv"]
    assert isinstance(factored, Factored)
    torch.testing.assert_close(layer(x), (factored(x) + convolution(x)) / 2)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"paths": []}, r"`paths` are some of fc, conv, .* got none"),
        ({"paths": ["conv", "conv"]}, "each once, got conv, conv"),
        ({"paths": ["dense"]}, "got dense"),
        ({"size": 24}, "`size` must be a power of two, got 24"),
        ({"a": 0}, "`a` must be at least 1, got 0"),
    ],
)
def test_bad_arguments(options, match):
    with pytest.raises(UserError, match=match):
        Layerwise(1, 3, **options)


def test_last_map_of_a_path():
    path = GroupConvolution(1, 2)
    assert last_map(path) is path
    factored = Factored(1, 2, 4)
    assert last_map(factored) is factored.spread
