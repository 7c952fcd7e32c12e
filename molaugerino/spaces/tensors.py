"""Outputs that turn with the input."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Shaped
from torch import Tensor

from molaugerino.errors import UserError
from molaugerino.groups import Affine
from molaugerino.groups.precision import full_precision
from molaugerino.spaces.base import Action


class Vector:
    """rho(g) v = A v, with the sign of det A for an axial vector. Translations leave vectors alone.

    The last dimension of the value holds the d components of one vector, or of several one after the other.

    Args:
        per_point: rows of the value are points of ragged examples (forces on the atoms of a
            PyG batch); otherwise rows are examples (a dipole, or padded per-atom vectors).
        axial: pseudovector, such as a magnetic moment: unchanged by the inversion.

    Example:
        >>> half_turn = Affine(torch.diag(torch.tensor([-1., -1., 1.])), torch.zeros(3)).expand(1)
        >>> Vector().act(half_turn, torch.tensor([[1., 2., 3.]]))
        tensor([[-1., -2.,  3.]])
    """

    def __init__(self, per_point: bool = False, axial: bool = False) -> None:
        self.per_point = per_point
        self.axial = axial

    @full_precision
    def act(
        self, g: Affine, value: Shaped[Tensor, "rows *more components"], index: Tensor | None = None
    ) -> Shaped[Tensor, "rows *more components"]:
        if value.shape[-1] % g.dim:
            raise UserError(f"vectors of R^{g.dim} need {g.dim} components each, got shape {tuple(value.shape)}")
        linear = g.linear if index is None else g.linear[index]
        if self.axial:
            linear = linear * torch.linalg.det(linear).sign()[..., None, None]
        flat = value.reshape(value.shape[0], math.prod(value.shape[1:]) // g.dim, g.dim)
        dtype = torch.promote_types(value.dtype, linear.dtype)  # a model under autocast may answer in bfloat16
        return (flat.to(dtype) @ linear.mT.to(dtype)).reshape(value.shape)


class Tensor2:
    """rho(g) T = A T A^T, with the sign of det A for an axial (pseudo) tensor. Translations leave tensors alone.

    The last two dimensions of the value are the d x d components of one tensor, (rows, ..., d, d); or the last one
    holds those of one tensor, or of several one after the other, row by row, (rows, ..., k d^2), as `DirectSum` and
    networks with plain channels have it. The unit is kept. A symmetric tensor stays symmetric; a rotation keeps its
    eigenvalues.

    Args:
        per_point: rows of the value are points of ragged examples (shieldings of the atoms of a PyG batch);
            otherwise rows are examples (a polarisability, or padded per-atom tensors).
        axial: pseudotensor, such as a gyration tensor: changes its sign under the inversion.

    Example:
        >>> quarter = Affine(torch.tensor([[0., -1.], [1., 0.]]), torch.zeros(2)).expand(1)
        >>> Tensor2().act(quarter, torch.tensor([[[1., 0.], [0., 2.]]]))
        tensor([[[2., 0.],
                 [0., 1.]]])
    """

    def __init__(self, per_point: bool = False, axial: bool = False) -> None:
        self.per_point = per_point
        self.axial = axial

    @full_precision
    def act(self, g: Affine, value: Shaped[Tensor, "*rows"], index: Tensor | None = None) -> Shaped[Tensor, "*rows"]:
        """The tensors, turned.

        Args:
            g: one element per example, batch shape (examples,).
            value: (rows, ..., d, d) or (rows, ..., k d^2).
            index: (rows,) the example each row belongs to; None where rows are examples.

        Raises:
            UserError: for another number of components.
        """
        d = g.dim
        square = value.dim() > 2 and value.shape[-2:] == (d, d)
        if not square and (value.dim() < 2 or value.shape[-1] % d**2):
            raise UserError(
                f"`value` must have shape (rows, ..., {d}, {d}) or (rows, ..., {d**2}) for tensors of R^{d}, got "
                f"{tuple(value.shape)}"
            )
        linear = g.linear if index is None else g.linear[index]
        sign = torch.linalg.det(linear).sign()[..., None, None] if self.axial else 1.0
        dtype = torch.promote_types(value.dtype, linear.dtype)  # a model under autocast may answer in bfloat16
        left, right = (sign * linear).unsqueeze(-3).to(dtype), linear.mT.unsqueeze(-3).to(dtype)
        flat = value.reshape(value.shape[0], math.prod(value.shape[1:]) // d**2, d, d).to(dtype)
        return (left @ flat @ right).reshape(value.shape)


class DirectSum:
    """rho = rho_1 + rho_2 + ...: consecutive channels of one (rows, channels) value, each with its own action.

    Args:
        parts: (action, channels) in the order of the channels.

    Example:
        >>> from molaugerino.spaces import Invariant
        >>> gap_and_dipole = DirectSum([(Invariant(), 1), (Vector(), 3)])
    """

    per_point = False

    def __init__(self, parts: Sequence[tuple[Action[Tensor], int]]) -> None:
        self.actions = [action for action, _ in parts]
        self.channels = [channels for _, channels in parts]

    def act(
        self, g: Affine, value: Shaped[Tensor, "rows channels"], index: Tensor | None = None
    ) -> Shaped[Tensor, "rows channels"]:
        if value.shape[-1] != sum(self.channels):
            raise UserError(f"`value` must have shape (rows, {sum(self.channels)}), got {tuple(value.shape)}")
        pieces = torch.split(value, self.channels, -1)
        return torch.cat([a.act(g, piece, index) for a, piece in zip(self.actions, pieces, strict=True)], -1)
