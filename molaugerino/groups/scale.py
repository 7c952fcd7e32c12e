"""Changes of size and shape, in closed form."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.checks import check_last_dims
from molaugerino.errors import UserError
from molaugerino.groups.affine import Affine, check_space
from molaugerino.groups.so import homogeneous


class _Commuting:
    """One-parameter groups side by side: adjoint and volume element are trivial."""

    dim: int
    space_dim: int
    log_volume = 0.0

    def __init__(self, space_dim: int) -> None:
        if space_dim < 1:
            raise UserError(f"`space_dim` must be at least 1, got {space_dim}")
        self.space_dim = space_dim

    def _linear(self, linear: Tensor) -> Affine:
        return Affine(linear, torch.zeros_like(linear[..., 0]))

    def adjoint(self, g: Affine) -> Float[Tensor, "*batch k k"]:
        check_space(g, self.space_dim)
        eye = torch.eye(self.dim, dtype=g.linear.dtype, device=g.linear.device)
        return eye.expand(*g.batch_shape, self.dim, self.dim)

    def log_jacobian(self, xi: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch"]:
        return torch.zeros_like(xi[..., 0])


class Scale(_Commuting):
    """Isotropic scale: exp(s) = e^s I. Coordinate s, the logarithm of the factor."""

    dim = 1
    axes: tuple[str, ...] = ("scale",)

    def __init__(self, space_dim: int) -> None:
        super().__init__(space_dim)
        self.name = f"Scale({space_dim})"

    def hat(self, xi: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch h h"]:
        check_last_dims("xi", xi, 1)
        linear = torch.diag_embed(xi.expand(*xi.shape[:-1], self.space_dim))
        return homogeneous(linear, torch.zeros_like(linear[..., 0]))

    def exp(self, xi: Float[Tensor, "*batch 1"]) -> Affine:
        check_last_dims("xi", xi, 1)
        return self._linear(torch.diag_embed(xi.exp().expand(*xi.shape[:-1], self.space_dim)))

    def log(self, g: Affine) -> Float[Tensor, "*batch 1"]:
        check_space(g, self.space_dim)
        return g.linear.diagonal(dim1=-2, dim2=-1).log().mean(-1, keepdim=True)


class AnisotropicScale(_Commuting):
    """A scale per axis: exp(s) = diag(e^s_1, ..., e^s_d). Coordinates: logarithms of the factors."""

    def __init__(self, space_dim: int) -> None:
        super().__init__(space_dim)
        self.dim = space_dim
        self.name = f"AnisotropicScale({space_dim})"
        self.axes = tuple(f"scale_{axis}" for axis in "xyzw"[:space_dim])

    def hat(self, xi: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch h h"]:
        check_last_dims("xi", xi, self.dim)
        return homogeneous(torch.diag_embed(xi), torch.zeros_like(xi))

    def exp(self, xi: Float[Tensor, "*batch d"]) -> Affine:
        check_last_dims("xi", xi, self.dim)
        return self._linear(torch.diag_embed(xi.exp()))

    def log(self, g: Affine) -> Float[Tensor, "*batch d"]:
        check_space(g, self.space_dim)
        return g.linear.diagonal(dim1=-2, dim2=-1).log()


class Shear(_Commuting):
    """Symmetric shear of the plane: exp(a) = [[cosh a, sinh a], [sinh a, cosh a]], of determinant 1."""

    name = "Shear(2)"
    dim = 1
    axes: tuple[str, ...] = ("shear",)

    def __init__(self) -> None:
        super().__init__(2)

    def hat(self, xi: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch 3 3"]:
        check_last_dims("xi", xi, 1)
        linear = torch.stack([torch.zeros_like(xi), xi], -1)
        linear = torch.cat([linear, linear.flip(-1)], -2)
        return homogeneous(linear, torch.zeros_like(linear[..., 0]))

    def exp(self, xi: Float[Tensor, "*batch 1"]) -> Affine:
        check_last_dims("xi", xi, 1)
        row = torch.stack([xi.cosh(), xi.sinh()], -1)
        return self._linear(torch.cat([row, row.flip(-1)], -2))

    def log(self, g: Affine) -> Float[Tensor, "*batch 1"]:
        """artanh of the ratio, symmetrised."""
        check_space(g, self.space_dim)
        return torch.atanh((g.linear[..., 0, 1] + g.linear[..., 1, 0]) / g.linear.diagonal(dim1=-2, dim2=-1).sum(-1))[
            ..., None
        ]
