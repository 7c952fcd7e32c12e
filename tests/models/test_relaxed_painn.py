"""The equivariant path beside the free one, and what is left where either is missing."""

from __future__ import annotations

import pytest
import torch

from molaugerino.datasets import Target
from molaugerino.errors import UserError
from molaugerino.models import make_network
from molaugerino.models.relaxed_painn import RelaxedPaiNN
from molaugerino.training.evidence import placed

from .test_backbones import SHAPE, TARGETS, molecules, motion


def strict_and_relaxed(free):
    """PaiNN, and the relaxed network with its weights; those of the free paths' last maps times `free`."""
    torch.manual_seed(0)
    painn = make_network("painn", TARGETS, **SHAPE).double()
    relaxed = make_network("relaxed-painn", TARGETS, **SHAPE).double()
    state = relaxed.state_dict()
    for key, value in painn.state_dict().items():
        part, _, rest = key.partition(".")
        layer, _, rest = rest.partition(".")
        within = {"messages": "message", "updates": "update"}
        state[f"layers.{layer}.paths.strict.{within[part]}.{rest}" if part in within else key] = value
    for key in state:
        if ".free.exchanged." in key or ".free.kept." in key:
            state[key] = free * state[key]
    relaxed.load_state_dict(state)
    return painn, relaxed


def test_without_free_paths_it_is_painn():
    x = molecules()
    painn, relaxed = strict_and_relaxed(free=0.0)
    assert (painn(x) - relaxed(x)).abs().max() < 1e-12
    alone = RelaxedPaiNN(TARGETS, 16, 2, paths=["strict"]).double()
    alone.load_state_dict({key: value for key, value in relaxed.state_dict().items() if ".free." not in key})
    assert (painn(x) - alone(x)).abs().max() < 1e-12


def test_the_limit_of_large_precisions():
    """Weights of size 1 / sqrt(delta): the distance to the equivariant network falls with them."""
    x = molecules()
    distances = []
    for precision in (1e4, 1e8, 1e14):
        painn, relaxed = strict_and_relaxed(free=precision**-0.5)
        distances.append((painn(x) - relaxed(x)).abs().max().item())
    assert distances[0] > 10 * distances[1] > 100 * distances[2]
    assert distances[2] < 1e-6


@pytest.mark.parametrize("kind", ["rotation", "reflection"])
def test_only_the_free_path_breaks_the_symmetry(kind):
    x, scalars = molecules(), slice(0, 2)
    moved = x._replace(pos=motion(kind, 3)(x.pos))
    for free, broken in ((0.0, False), (1.0, True)):
        _, relaxed = strict_and_relaxed(free)
        error = (relaxed(x) - relaxed(moved))[:, scalars].abs().max()
        assert (error > 1e-4) == broken


def test_paths_are_told_apart_by_name():
    network = make_network("relaxed-painn", TARGETS, **SHAPE)
    found = {placed(name) for name, _ in network.named_parameters()}
    assert {("layers.0", "strict"), ("layers.1", "free"), ("embedding", "")} <= found


def test_unknown_paths_are_refused():
    with pytest.raises(UserError, match="some of strict, free, got none"):
        RelaxedPaiNN([Target("gap", "", "eV")], paths=[])
    with pytest.raises(UserError, match="some of strict, free, got strct"):
        RelaxedPaiNN([Target("gap", "", "eV")], paths=["strct"])
