"""Networks of images by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from torch import nn

from molaugerino.errors import UserError
from molaugerino.vision.convolutions import FiveLayer, ThirteenLayer, widths
from molaugerino.vision.group_convolutions import GroupConvolutions
from molaugerino.vision.layerwise import Layerwise
from molaugerino.vision.residual import SmallResidual
from molaugerino.vision.unet import UNet

SHIFTS = "shifts by 4 pixels, away from the edges"
LAYERWISE_WIDTH = 10


@dataclass(frozen=True)
class Network:
    """A network of images that can be made by name.

    Attributes:
        make: (channels, outputs, width) -> the network.
        symmetry: what it respects, whatever its weights.
        kind: "classes" for one answer per image, "pixels" for one per pixel.
        stride: a shift by so many pixels moves its maps by whole pixels, but for those of layers with larger strides.
    """

    make: Callable[[int, int, float], nn.Module]
    symmetry: str
    kind: Literal["classes", "pixels"]
    stride: int = 4


def _layerwise(name: str, symmetry: str) -> Network:
    """Eight layers of the paths in the name, whose width factor 1 is a = 10."""

    def make(channels: int, outputs: int, width: float) -> nn.Module:
        [a] = widths(width, LAYERWISE_WIDTH)
        return Layerwise(channels, outputs, name.split("+"), a)

    return Network(make, symmetry, "classes", stride=8)


RELAXED = "nothing exactly; circular shifts as far as the free paths are idle"
_ALL = {
    "five-layer": Network(FiveLayer, SHIFTS, "classes"),
    "thirteen-layer": Network(ThirteenLayer, SHIFTS, "classes"),
    "residual": Network(SmallResidual, SHIFTS, "classes"),
    "unet": Network(UNet, SHIFTS, "pixels"),
    "p4": Network(GroupConvolutions, f"quarter turns; {SHIFTS}", "classes"),
    "p8": Network(
        lambda channels, outputs, width: GroupConvolutions(channels, outputs, width, order=8),
        f"quarter turns, and eighth turns nearly; {SHIFTS}",
        "classes",
    ),
    "fc": _layerwise("fc", "nothing"),
    "conv": _layerwise("conv", "circular shifts"),
    "fc+conv": _layerwise("fc+conv", RELAXED),
    "f-fc": _layerwise("f-fc", "nothing"),
    "f-fc+conv": _layerwise("f-fc+conv", RELAXED),
    "s-fc": _layerwise("s-fc", "nothing"),
    "s-conv": _layerwise("s-conv", "circular shifts"),
    "s-fc+s-conv": _layerwise("s-fc+s-conv", RELAXED),
    "f-fc+conv+gconv": _layerwise("f-fc+conv+gconv", f"{RELAXED}; quarter turns, as far as these and the shifts are"),
}
NETWORKS: Mapping[str, Network] = MappingProxyType(_ALL)


def make_network(name: str, channels: int, outputs: int, width: float) -> nn.Module:
    """The network of that name.

    Args:
        name: one of `NETWORKS`.
        channels: of an image, at least 1.
        outputs: numbers per image, or per pixel, at least 1.
        width: factor on the widths of all layers, positive.

    Raises:
        UserError: for an unknown name, or numbers out of these ranges.

    Example:
        >>> network = make_network("p4", channels=3, outputs=10, width=0.25)
    """
    if name not in NETWORKS:
        raise UserError(f"no network of images is called {name!r}; there are {', '.join(NETWORKS)}")
    for argument, value in (("channels", channels), ("outputs", outputs)):
        if value < 1:
            raise UserError(f"`{argument}` must be at least 1, got {value}")
    return NETWORKS[name].make(channels, outputs, width)
