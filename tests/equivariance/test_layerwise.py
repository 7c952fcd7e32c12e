"""Layers of whole networks: exact where the network is, in double precision."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch_geometric.nn.models import SchNet

from molaugerino.datasets import Target
from molaugerino.distributions import HaarBall
from molaugerino.equivariance import (
    ImageView,
    MoleculeView,
    drawn,
    fixed,
    layer_correlations,
    layer_lie_derivatives,
    layer_names,
)
from molaugerino.errors import UserError
from molaugerino.groups import SE3, SO2, SO3, T2, Affine
from molaugerino.models import BACKBONES, FromGraph, make_network
from molaugerino.models.from_graph import AllPairs
from molaugerino.spaces import Molecules
from molaugerino.vision import make_network as make_image_network

GAP = [Target("gap", "", "eV")]
SHAPE = {"width": 16, "depth": 2, "heads": 4, "pair": 8}
TURNS = drawn(HaarBall(SO3, math.pi), 2)
QUARTERS = fixed(SO2.exp(torch.tensor([[0.5], [1.0], [1.5]], dtype=torch.float64) * math.pi))
EXACT = 1e-10


def molecules(count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(3, 8, (count,), generator=generator)
    mask = torch.arange(int(sizes.max())) < sizes.unsqueeze(1)
    z = torch.randint(1, 10, mask.shape, generator=generator) * mask
    pos = 1.2 * torch.randn(*mask.shape, 3, generator=generator, dtype=torch.float64) * mask.unsqueeze(-1)
    return Molecules(z, pos, mask)


BATCHES = [molecules(3, seed) for seed in range(4)]


def images(count=4, seed=0, side=12, channels=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, side, side, generator=generator, dtype=torch.float64)


def scores(metrics):
    return {name: {k: float(v) for k, v in metric.compute().items()} for name, metric in metrics.items()}


@pytest.mark.parametrize("name", [n for n, b in BACKBONES.items() if b.symmetry in ("proper motions", "all motions")])
def test_exactly_invariant_networks_score_one_in_every_layer(name):
    torch.manual_seed(0)
    network = make_network(name, GAP, **SHAPE).double()
    metrics, left_out = layer_correlations(network, BATCHES, MoleculeView(), TURNS)
    assert metrics
    assert not left_out
    told = scores(metrics)
    if name in ("frame-averaging", "canonical"):  # their inner network sees frames, in an order that is arbitrary
        told = {layer: told[layer] for layer in told if layer != "network"}
        told |= scores(layer_correlations(nn.Sequential(network), BATCHES, MoleculeView(), TURNS)[0])
        assert "0" in told
    for layer, found in told.items():
        assert abs(found["invariance"] - 1) < EXACT, layer
        assert abs(found["equivariance"] - 1) < EXACT, layer


def test_vectors_are_turned_back():
    """Without turning, PaiNN's vectors would follow nothing; channels of vectors are told by their shape."""
    torch.manual_seed(0)
    network = make_network("painn", GAP, **SHAPE).double()
    found, _ = layer_correlations(network, BATCHES, MoleculeView(), TURNS, ["updates.1"])
    assert list(found) == ["updates.1[0]", "updates.1[1]"]
    assert found["updates.1[1]"].channels == 16
    view = MoleculeView()
    kinds = view.features(network, BATCHES[0], ["updates.1"])
    assert kinds["updates.1[1]"].vector == 2
    assert kinds["updates.1[0]"].vector is None


def test_a_network_that_sees_frames_scores_less():
    torch.manual_seed(0)
    network = make_network("point-transformer", GAP, **SHAPE).double()
    found = scores(layer_correlations(network, BATCHES, MoleculeView(), TURNS)[0])
    assert abs(found["embedding"]["invariance"] - 1) < EXACT
    assert found["coordinates.2"]["invariance"] < 0.9


def test_a_network_of_torch_geometric():
    torch.manual_seed(0)
    inner = SchNet(hidden_channels=16, num_filters=16, num_interactions=2, interaction_graph=AllPairs(10.0))
    network = FromGraph(inner.double(), GAP)
    names = ["model.embedding", "model.interactions.*", "model.lin2"]
    metrics, left_out = layer_correlations(network, BATCHES, MoleculeView(), TURNS, names)
    assert not left_out
    assert "model.interactions.0" in metrics
    for layer, found in scores(metrics).items():
        assert abs(found["invariance"] - 1) < EXACT, layer
    lie = layer_lie_derivatives(network, BATCHES, MoleculeView(), SE3, names)
    assert max(max(each.relative) for each in lie.values()) < EXACT


@pytest.mark.parametrize("name", ["schnet", "painn", "vector-transformer"])
def test_the_lie_derivative_of_layers_vanishes_where_they_follow(name):
    torch.manual_seed(0)
    network = make_network(name, GAP, **SHAPE).double()
    found = layer_lie_derivatives(network, BATCHES, MoleculeView(), SE3)
    assert max(max(each.relative) for each in found.values()) < EXACT


def test_the_lie_derivative_of_layers_is_that_of_small_turns():
    torch.manual_seed(0)
    network = make_network("point-transformer", GAP, **SHAPE).double().eval()
    uneven = [*BATCHES, Molecules(*(part[:1] for part in BATCHES[0]))]
    uneven[-1] = uneven[-1]._replace(pos=3 * uneven[-1].pos)
    found = layer_lie_derivatives(network, uneven, MoleculeView(), SO3, ["coordinates"])["coordinates"]
    squares, features = [[], [], []], []
    step = 1e-5
    with torch.no_grad():
        for x in uneven:
            h = network.coordinates(x.pos / 6.0)[x.mask]
            features.append(h)
            for k in range(3):
                g = SO3.exp(step * torch.eye(3, dtype=torch.float64)[k])
                moved = network.coordinates(g(x.pos) / 6.0)[x.mask]
                squares[k].append(((moved - h) / step).square().sum(1))
    mean = torch.stack([torch.cat(each).mean() for each in squares])  # whatever batches the atoms were in
    expected = (mean / torch.cat(features).var(0, correction=0).sum()).sqrt()
    assert found.relative == pytest.approx(expected.tolist(), rel=1e-4)
    assert all(e > 0 for e in found.error)


class Quarters(nn.Module):
    """The mean of a network over the four quarter turns: invariant under these and nothing else."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return torch.stack([self.network(x.rot90(k, (2, 3))) for k in range(4)]).mean(0)


def test_an_average_over_a_finite_subgroup_is_exact_on_it_and_nowhere_else():
    torch.manual_seed(0)
    network = nn.Sequential(Quarters(make_image_network("five-layer", 1, 3, 0.05)))
    network.double()
    batches = [images(seed=k) for k in range(4)]
    exact = scores(layer_correlations(network, batches, ImageView(), QUARTERS)[0])["0"]
    assert abs(exact["invariance"] - 1) < EXACT
    eighth = fixed(SO2.exp(torch.full((1, 1), math.pi / 4, dtype=torch.float64)))
    assert scores(layer_correlations(network, batches, ImageView(), eighth)[0])["0"]["invariance"] < 1 - 1e-4


def test_group_convolutions_permute_channels_and_plain_ones_do_not():
    """p4: a quarter turn moves what a channel sees to the next orientation, so E = 1 and I < 1."""
    torch.manual_seed(0)
    batches = [images(seed=k) for k in range(4)]
    found = scores(layer_correlations(make_image_network("p4", 1, 3, 0.1).double(), batches, ImageView(), QUARTERS)[0])
    maps = [found[name] for name in found if name.startswith("features")]
    assert maps
    for layer in maps:
        assert layer["equivariance"] == pytest.approx(1, abs=1e-6)
        assert layer["matched"] == pytest.approx(1, abs=1e-6)
    assert min(layer["invariance"] for layer in maps) < 0.9
    plain = scores(
        layer_correlations(make_image_network("five-layer", 1, 3, 0.1).double(), batches, ImageView(), QUARTERS)[0]
    )
    assert plain["features.0"]["equivariance"] < 0.99


def test_convolutions_follow_shifts_by_whole_pixels():
    torch.manual_seed(0)
    network = make_image_network("unet", 1, 3, 0.1).double()
    x = nn.functional.pad(images(side=24), [36] * 4)  # 96 pixels, dark where the edge can be seen
    shift = fixed(T2.exp(torch.tensor([[2 / 96 * 8, -2 / 96 * 4]], dtype=torch.float64)))
    found = scores(layer_correlations(network, [x], ImageView(border=0.5), shift)[0])
    assert {"down.0", "merge.1", "readout"} <= set(found)
    for layer, score in found.items():
        assert score["invariance"] == pytest.approx(1, abs=1e-9), layer


def test_layers_are_named_and_chosen_by_path():
    network = make_image_network("five-layer", 1, 3, 0.1)
    assert layer_names(network) == [*(f"features.{k}" for k in range(9)), "readout"]
    assert layer_names(network, ["readout", "features.*.1"]) == [
        *(f"features.{k}.1" for k in (0, 1, 4, 5, 8)),
        "readout",
    ]
    with pytest.raises(UserError, match=r"no layer is called head; there are features, "):
        layer_names(network, ["head"])


def test_one_pass_per_transformation_and_the_mode_is_restored():
    network = make_image_network("five-layer", 1, 3, 0.1).double().train()
    network.readout.eval()
    calls = []
    network.register_forward_hook(lambda *_: calls.append(network.training))
    layer_correlations(network, [images(seed=k) for k in range(3)], ImageView(), QUARTERS)
    assert calls == [False] * (1 + 3 * (1 + len(QUARTERS)))  # one to see what the layers give
    assert network.training
    assert network.features.training
    assert not network.readout.training


def test_what_a_layer_gave_is_kept_from_what_works_in_place():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()).double()
    hasty = nn.Sequential(plain[0], nn.ReLU(inplace=True))
    found = [
        scores(layer_correlations(net, [images()], ImageView(), QUARTERS, ["0"])[0])["0"] for net in (plain, hasty)
    ]
    assert found[0] == pytest.approx(found[1], nan_ok=True)


def test_padded_atoms_of_several_copies_are_not_taken_for_atoms():
    network = make_network("frame-averaging", GAP, **SHAPE).double()
    _, left_out = layer_correlations(network, BATCHES, MoleculeView(), TURNS, ["network.blocks.0", "network"])
    assert left_out == ["network.blocks.0"]


class Tokens(nn.Module):
    def forward(self, x):
        return x.flatten(2)


def test_what_cannot_be_told_is_said():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), Tokens()).double()
    metrics, left_out = layer_correlations(network, [images()], ImageView(), QUARTERS)
    assert list(metrics) == ["0"]
    assert left_out == ["1"]
    with pytest.raises(UserError, match="nothing to measure"):
        layer_correlations(network, [], ImageView(), QUARTERS)


def test_maps_that_a_shift_takes_out_of_view_are_left_out():
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.AvgPool2d(6)).double()  # 12 x 12, then 2 x 2
    far = T2.exp(torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64))
    metrics, left_out = layer_correlations(
        network, [images(seed=k) for k in range(3)], ImageView(border=0.0), fixed(far)
    )
    assert list(metrics) == ["0"]
    assert left_out == ["1"]
    some = T2.exp(torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.float64))
    metrics, left_out = layer_correlations(
        network, [images(seed=k) for k in range(3)], ImageView(border=0.0), fixed(some)
    )
    assert not left_out
    assert float(metrics["1"].compute()["invariance"]) == pytest.approx(1)  # of the one that stays


def test_fixed_transformations_are_those_given():
    elements = SO2.exp(torch.tensor([[0.1], [0.2]]))
    first, second = fixed(elements)
    assert isinstance(first(3, torch.Generator()), Affine)
    assert torch.equal(second(3, torch.Generator()).linear[2], elements.linear[1])
