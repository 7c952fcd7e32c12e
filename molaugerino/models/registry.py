"""Networks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from torch import nn

from molaugerino.config import NetConfig
from molaugerino.datasets.targets import Target
from molaugerino.errors import UserError
from molaugerino.models.canonical import Canonicalised
from molaugerino.models.frame_averaging import FrameAveraging
from molaugerino.models.painn import PaiNN
from molaugerino.models.point_transformer import PointTransformer
from molaugerino.models.relaxed_painn import PATHS, RelaxedPaiNN
from molaugerino.models.schnet import SchNet
from molaugerino.models.vector_transformer import VectorTransformer

Symmetry = Literal["none", "translations", "proper motions", "all motions"]


@dataclass(frozen=True)
class Backbone:
    """A network that can be made by name.

    Attributes:
        name: of the network.
        build: (targets, shape) -> the network.
        symmetry: what it respects exactly, whatever its weights; proper motions are rotations and translations, all
            motions reflections, too.
        description: in one line.
        width: features per atom where nothing else is asked for.
    """

    name: str
    build: Callable[[list[Target], NetConfig], nn.Module]
    symmetry: Symmetry
    description: str
    width: int = 64

    def shape(self, net: NetConfig) -> NetConfig:
        """The shape with nothing left to choose."""
        return net if net.width else replace(net, width=self.width)


def _transformer(targets: list[Target], net: NetConfig) -> PointTransformer:
    return PointTransformer(targets, net.width, net.depth, net.heads, net.pair, net.pairwise)


def _vector_transformer(targets: list[Target], net: NetConfig, absolute: bool = False) -> VectorTransformer:
    return VectorTransformer(targets, net.width, net.depth, net.heads, net.pair, net.cutoff, absolute)


def _graph(targets: list[Target], net: NetConfig, relative: bool = False) -> nn.Module:
    from molaugerino.models.graph import GraphNetwork  # torch_geometric takes as long to import as torch

    return GraphNetwork(targets, net.width, net.depth, net.cutoff, relative)


def _relaxed(targets: list[Target], net: NetConfig, paths: tuple[str, ...] = PATHS) -> RelaxedPaiNN:
    return RelaxedPaiNN(targets, net.width, net.depth, net.cutoff, paths)


_ALL = (
    Backbone("point-transformer", _transformer, "none", "attention over atoms with absolute and relative coordinates"),
    Backbone("graph", _graph, "none", "messages between neighbours, with absolute and relative coordinates"),
    Backbone(
        "graph-relative",
        lambda targets, net: _graph(targets, net, relative=True),
        "translations",
        "messages between neighbours, with relative coordinates",
    ),
    Backbone(
        "schnet",
        lambda targets, net: SchNet(targets, net.width, net.depth, net.cutoff),
        "all motions",
        "convolutions over distances",
    ),
    Backbone(
        "painn",
        lambda targets, net: PaiNN(targets, net.width, net.depth, net.cutoff),
        "all motions",
        "messages of scalars and vectors",
    ),
    Backbone(
        "relaxed-painn",
        _relaxed,
        "none",
        "painn with a second path in every layer that sees absolute coordinates; how much each counts is learned",
    ),
    Backbone(
        "free-painn",
        lambda targets, net: _relaxed(targets, net, ("free",)),
        "none",
        "the second paths of relaxed-painn alone",
    ),
    Backbone(
        "vector-transformer",
        _vector_transformer,
        "all motions",
        "attention over distances, with vectors that are exchanged beside",
        width=96,
    ),
    Backbone(
        "vector-transformer-absolute",
        lambda targets, net: _vector_transformer(targets, net, absolute=True),
        "none",
        "the same, with absolute coordinates",
        width=96,
    ),
    Backbone(
        "frame-averaging",
        lambda targets, net: FrameAveraging(_transformer(targets, net)),
        "proper motions",
        "the point transformer averaged over the four frames of the principal axes",
    ),
    Backbone(
        "canonical",
        lambda targets, net: Canonicalised(_transformer(targets, net), cutoff=net.cutoff),
        "proper motions",
        "the point transformer in one frame that a small network finds",
    ),
)
BACKBONES: Mapping[str, Backbone] = MappingProxyType({backbone.name: backbone for backbone in _ALL})


def make_network(name: str, targets: list[Target], **shape: Any) -> nn.Module:
    """The network of that name, with the fields of `NetConfig` that are given, the others as they are by default.

    Raises:
        UserError: for an unknown name or field.

    Example:
        >>> network = make_network("schnet", [Target("gap", "", "eV")], width=32, depth=2)
    """
    if name not in BACKBONES:
        raise UserError(f"no network is called {name!r}; there are {', '.join(BACKBONES)}")
    unknown = sorted(set(shape) - set(NetConfig.__dataclass_fields__))
    if unknown:
        raise UserError(f"a network has no {', '.join(unknown)}; it has {', '.join(NetConfig.__dataclass_fields__)}")
    backbone = BACKBONES[name]
    return backbone.build(targets, backbone.shape(NetConfig(**shape)))
