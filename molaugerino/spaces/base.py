"""How group elements act on inputs and outputs: two small protocols."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from molaugerino.errors import UserError
from molaugerino.groups import Affine

T = TypeVar("T")


@runtime_checkable
class Action(Protocol[T]):
    """A left action rho: rho(g h) = rho(g) rho(h), rho(identity) = identity. Stateless and pure.

    Attributes:
        per_point: rows of the value are the points of ragged examples rather than examples.
    """

    per_point: bool

    def act(self, g: Affine, value: T, index: Tensor | None) -> T:
        """rho(g) value.

        Args:
            g: one element per example, batch shape (examples,).
            value: rows are examples, or points of examples.
            index: (rows,) the example each row belongs to; None where rows are examples.
        """


@runtime_checkable
class InputSpace(Action[T], Protocol[T]):
    """An action that also knows how a batch is laid out."""

    def check(self, x: T, dim: int, device: torch.device) -> None:
        """Raise unless elements on R^dim, on this device, can act on the batch.

        Values are looked at where nothing has to wait for them: on the CPU, outside of torch.compile.

        Raises:
            UserError: for another layout, shape or device, examples without points, coordinates that are not finite.
        """

    def count(self, x: T) -> int:
        """Number of examples in the batch."""

    def index(self, x: T) -> Tensor | None:
        """(points,) the example each point belongs to; None where the first dimension is the example."""

    def tile(self, x: T, copies: int) -> T:
        """The batch repeated `copies` times, copy-major: all examples, then all again."""


def tensors_of(x: Any, names: tuple[str, ...], what: str) -> list[Tensor]:
    """These attributes of a batch, all tensors."""
    found = [getattr(x, name, None) for name in names]
    values = [value for value in found if isinstance(value, Tensor)]
    if len(values) < len(names):
        raise UserError(f"`x` must be {what} with tensors {', '.join(names)}, got {type(x).__name__}")
    return values


def check_points(points: Tensor, occupied: Tensor, device: torch.device) -> None:
    """Raise unless points (rows, ..., d) are finite, on the device, and all examples are occupied.

    Args:
        points: coordinates.
        occupied: (examples,) whether each example has a point.
        device: where the elements are that will act on them.
    """
    if points.device != device:
        raise UserError(f"`pos` is on {points.device}, the law on {device}; move one of them with .to")
    if points.device.type != "cpu" or torch.compiler.is_compiling():
        return
    if not bool(occupied.all()):
        empty = int((~occupied).nonzero()[0])
        raise UserError(f"every example needs at least one atom, and example {empty} has none; remove it")
    if not bool(torch.isfinite(points).all()):
        wrong = (~torch.isfinite(points)).flatten(1).any(1).nonzero()
        raise UserError(
            f"`pos` must be finite, and in {len(wrong)} rows, first {int(wrong[0])}, it is not; remove them"
        )
