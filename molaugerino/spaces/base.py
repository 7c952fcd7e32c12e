"""How group elements act on inputs and outputs: two small protocols."""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

from torch import Tensor

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

    def count(self, x: T) -> int:
        """Number of examples in the batch."""

    def index(self, x: T) -> Tensor | None:
        """(points,) the example each point belongs to; None where the first dimension is the example."""

    def tile(self, x: T, copies: int) -> T:
        """The batch repeated `copies` times, copy-major: all examples, then all again."""
