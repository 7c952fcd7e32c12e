"""The one element type, and the conventions of the whole library.

    g: x -> A x + b          A = linear (d x d), b = shift (d)

Points are columns, maps are active (they move the point, not the axes), and
composition reads from the right: (g @ h)(x) = g(h(x)). A rotation by a positive
angle about z takes the x axis towards the y axis. Lengths are in angstrom where
the points are atoms, angles in radians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.errors import UserError
from molaugerino.groups.precision import full_precision


@dataclass(frozen=True)
class Affine:
    """A batch of affine maps x -> A x + b.

    Attributes:
        linear: A, shape (*batch, d, d).
        shift: b, shape (*batch, d), in the unit of the points.

    Example:
        >>> quarter = Affine(torch.tensor([[0., -1.], [1., 0.]]), torch.zeros(2))
        >>> quarter(torch.tensor([[1., 0.]]))
        tensor([[0., 1.]])
    """

    linear: Float[Tensor, "*batch d d"]
    shift: Float[Tensor, "*batch d"]

    def __post_init__(self) -> None:
        d = self.shift.shape[-1]
        if self.linear.shape != (*self.shift.shape, d):
            got = tuple(self.linear.shape), tuple(self.shift.shape)
            raise UserError(
                f"`linear` and `shift` must have shapes (*batch, d, d) and (*batch, d), got {got[0]} and {got[1]}"
            )

    @classmethod
    def identity(cls, dim: int, batch_shape: tuple[int, ...] = (), like: Tensor | None = None) -> Affine:
        """The map x -> x, `batch_shape` times, with the dtype and device of `like`."""
        reference = torch.empty(0) if like is None else like
        eye = torch.eye(dim, dtype=reference.dtype, device=reference.device)
        return cls(eye.expand(*batch_shape, dim, dim), eye.new_zeros(*batch_shape, dim))

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.shift.shape[:-1])

    @property
    def device(self) -> torch.device:
        return self.shift.device

    @property
    def dim(self) -> int:
        return self.shift.shape[-1]

    def __matmul__(self, other: Affine) -> Affine:
        return self.compose(other)

    @full_precision
    def compose(self, other: Affine) -> Affine:
        """self @ other, by a name that torch.compile follows: first `other`, then `self`; batch shapes broadcast."""
        check_space(other, self.dim)
        self._check("elements to compose with", other.batch_shape, other.device)
        return Affine(self.linear @ other.linear, (self.linear @ other.shift.unsqueeze(-1)).squeeze(-1) + self.shift)

    @full_precision
    def inverse(self) -> Affine:
        """x -> A^-1 (x - b)."""
        linear = torch.linalg.inv_ex(self.linear).inverse  # inv would wait for the device to report singular ones
        return Affine(linear, -(linear @ self.shift.unsqueeze(-1)).squeeze(-1))

    @full_precision
    def __call__(self, points: Float[Tensor, "*batch points d"]) -> Float[Tensor, "*batch points d"]:
        """Move a set of points per element: rows are points, so x A^T + b."""
        self._check_points(points)
        if points.dim() == 3 and points.shape[:1] == self.batch_shape:  # one kernel instead of two
            return torch.baddbmm(self.shift.unsqueeze(-2), points, self.linear.mT)
        return points @ self.linear.mT + self.shift.unsqueeze(-2)

    def _check_points(self, points: Tensor) -> None:
        if points.dim() < 2 or points.shape[-1] != self.dim:
            raise UserError(f"`points` must have shape (*batch, points, {self.dim}), got {tuple(points.shape)}")
        self._check("`points`", points.shape[:-2], points.device)

    def _check(self, what: str, batch_shape: Sequence[int], device: torch.device) -> None:
        if any(a != b and a != 1 and b != 1 for a, b in zip(batch_shape[::-1], self.batch_shape[::-1], strict=False)):
            raise UserError(
                f"{what} have batch shape {tuple(batch_shape)}, these elements {self.batch_shape}, and the two must "
                "broadcast; give one per element, or unsqueeze one of them"
            )
        if device != self.device:
            raise UserError(f"{what} are on {device}, these elements on {self.device}; move one with .to")

    def __getitem__(self, index: Tensor | slice | int) -> Affine:
        """Select along the first batch dimension."""
        return Affine(self.linear[index], self.shift[index])

    def expand(self, *batch_shape: int) -> Affine:
        return Affine(self.linear.expand(*batch_shape, self.dim, self.dim), self.shift.expand(*batch_shape, self.dim))

    def reshape(self, *batch_shape: int) -> Affine:
        return Affine(self.linear.reshape(*batch_shape, self.dim, self.dim), self.shift.reshape(*batch_shape, self.dim))

    def unsqueeze(self, dim: int) -> Affine:
        """Add a batch dimension of size one in front of batch dimension `dim` >= 0."""
        return Affine(self.linear.unsqueeze(dim), self.shift.unsqueeze(dim))

    def detach(self) -> Affine:
        return Affine(self.linear.detach(), self.shift.detach())

    def to(self, target: torch.dtype | torch.device | Tensor) -> Affine:
        return Affine(self.linear.to(target), self.shift.to(target))


def check_space(g: Affine, dim: int) -> None:
    """Raise unless the elements act on R^dim."""
    if g.dim != dim:
        raise UserError(f"`g` must hold maps of R^{dim}, got maps of R^{g.dim}; use the group it was made with")


@dataclass(frozen=True)
class Shift(Affine):
    """Maps x -> x + b, known to be that: no matrix is multiplied by the identity."""

    def compose(self, other: Affine) -> Affine:
        check_space(other, self.dim)
        self._check("elements to compose with", other.batch_shape, other.device)
        shift = self.shift + other.shift
        return replace(other, linear=other.linear.expand(*shift.shape, self.dim), shift=shift)

    def inverse(self) -> Affine:
        return replace(self, shift=-self.shift)

    def __call__(self, points: Float[Tensor, "*batch points d"]) -> Float[Tensor, "*batch points d"]:
        self._check_points(points)
        return points + self.shift.unsqueeze(-2)
