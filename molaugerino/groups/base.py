"""What a group is to the rest of the library."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from molaugerino.groups.affine import Affine


@runtime_checkable
class Group(Protocol):
    """A Lie group of affine maps of R^d, seen through its algebra coordinates xi.

    Attributes:
        name: standard name.
        dim: number of algebra coordinates.
        space_dim: d, the dimension of the space acted on.
        axes: names of the coordinates: rx, ry, rz in radians, tx, ty, tz in the unit of the points.
        log_volume: log of the Haar volume of the compact part (the rotations) in these coordinates.
    """

    name: str
    dim: int
    space_dim: int
    axes: tuple[str, ...]
    log_volume: float

    def hat(self, xi: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch h h"]:
        """The generator sum_i xi_i G_i as a homogeneous matrix, h = space_dim + 1."""

    def exp(self, xi: Float[Tensor, "*batch dim"]) -> Affine:
        """The group element at algebra coordinates xi."""

    def log(self, g: Affine) -> Float[Tensor, "*batch dim"]:
        """The shortest xi with exp(xi) = g."""

    def adjoint(self, g: Affine) -> Float[Tensor, "*batch dim dim"]:
        """The matrix Ad_g with exp(Ad_g xi) = g exp(xi) g^-1."""

    def log_jacobian(self, xi: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """log of the Haar measure's density against d xi at exp(xi), 0 at the identity."""


def as_group(group: Group | type[Group]) -> Group:
    """The group itself where its class was given."""
    return group() if isinstance(group, type) else group
