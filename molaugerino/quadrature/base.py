"""What an averaging set is to the rest of the library."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from molaugerino.errors import UserError
from molaugerino.groups import Affine
from molaugerino.groups.precision import full_precision

UNIT = 1e-5  # how far from one the weights may add up: float32, some thousands of them


@dataclass(frozen=True)
class AveragingSet:
    """Group elements g_k and weights w_k with E[f(g)] ~ sum_k w_k f(g_k), and how far that may be off.

    Two errors are told apart. A deterministic set is compared with a coarser rule on some of its own elements, so that
    the estimate costs no further values of f; it is in truth the error of the coarser rule, hence on the safe side. A
    random set falls into replicates, equal parts drawn independently, whose spread gives the standard error.

    Attributes:
        name: what it is, for tables.
        elements: g_k, batch shape (n,).
        weights: w_k, shape (n,), none negative (so that averaged probabilities remain probabilities), adding up to 1.
        coarser: a set that is exact on fewer functions, for the estimate of the error; None where there is none.
        nested: where the elements of `coarser` stand among these, shape (coarser,).
        replicates: number of equal parts, in the order of the elements, that are independent draws; 1 for a
            deterministic set, n where all elements are independent, n / 2 for antithetic pairs.

    Raises:
        UserError: for weights that do not fit the elements, are negative or do not add up to 1; for a coarser set
            without its places; for replicates that do not divide n.
    """

    name: str
    elements: Affine
    weights: Float[Tensor, " n"]
    coarser: AveragingSet | None = None
    nested: Int[Tensor, " coarse"] | None = None
    replicates: int = 1

    def __post_init__(self) -> None:
        w = self.weights
        if self.elements.batch_shape != tuple(w.shape) or w.dim() != 1 or not len(w):
            got = self.elements.batch_shape, tuple(w.shape)
            raise UserError(
                f"`elements` and `weights` must have batch shape (n,) and shape (n,), got {got[0]}, {got[1]}"
            )
        if bool((w < 0).any()) or not abs(float(w.sum()) - 1) < UNIT:
            least, total = float(w.min()), float(w.sum())
            raise UserError(
                f"`weights` must be >= 0 and add up to 1, got {total:.6g}, the least {least:.3g}; divide by the sum"
            )
        places = () if self.nested is None else tuple(self.nested.shape)
        if places != (() if self.coarser is None else (len(self.coarser),)):
            raise UserError(
                f"`nested` must name one element for each of `coarser`, got shape {places}; give both or none"
            )
        if self.replicates < 1 or len(self) % self.replicates:
            raise UserError(f"`replicates` must be a divisor of the {len(self)} elements, got {self.replicates}")

    def __len__(self) -> int:
        return len(self.weights)

    def to(self, like: Tensor) -> AveragingSet:
        """The same set with the dtype and on the device of `like`."""
        return replace(
            self,
            elements=self.elements.to(like),
            weights=self.weights.to(like),
            coarser=None if self.coarser is None else self.coarser.to(like),
            nested=None if self.nested is None else self.nested.to(like.device),
        )

    def mean(self, values: Float[Tensor, "n ..."]) -> Tensor:
        """sum_k w_k f(g_k).

        Args:
            values: f(g_k), shape (n, *rows), in any unit.

        Returns:
            (*rows), in the same unit and dtype.

        Raises:
            UserError: for values of another number of elements.
        """
        self._check(values)
        return weighted_mean(values, self.weights)

    @property
    def has_error(self) -> bool:
        """Whether `error` has something to go by."""
        return self.coarser is not None or self.replicates > 1

    def error(self, values: Float[Tensor, "n ..."]) -> Tensor:
        """|mean - coarser mean| of a deterministic set; std of replicates' means / sqrt(replicates) of a random one.

        Where a set is both (a product of a deterministic and a random one), the root of the sum of their squares.

        Args:
            values: f(g_k), shape (n, *rows), in any unit.

        Returns:
            (*rows), in the same unit, none negative.

        Raises:
            UserError: for values of another number of elements, or a set without a coarser one or replicates.
        """
        self._check(values)
        parts = []
        if self.coarser is not None and self.nested is not None:
            parts.append((self.mean(values) - self.coarser.mean(values[self.nested])).abs())
        if self.replicates > 1:
            shares = values * self.weights.to(values).reshape(-1, *[1] * (values.dim() - 1))
            means = self.replicates * shares.reshape(self.replicates, -1, *values.shape[1:]).sum(1)
            parts.append(means.std(0) / math.sqrt(self.replicates))
        if not parts:
            raise UserError(f"the error of {self.name} cannot be told; take more elements, or compare with another set")
        return torch.stack(parts).square().sum(0).sqrt() if len(parts) > 1 else parts[0]

    def _check(self, values: Tensor) -> None:
        if not values.dim() or len(values) != len(self):
            raise UserError(
                f"`values` must have shape ({len(self)}, *rows), one for each element, got {tuple(values.shape)}"
            )


def product(a: AveragingSet, b: AveragingSet) -> AveragingSet:
    """All g_i h_j with weights v_i w_j: E[f(g h)] for independent g and h; h acts first.

    The coarser set is the product of the coarser sets. So that the estimate does not leave out a factor in silence,
    there is none unless each factor has an error of its own or but a single element. One factor may be random: its
    replicates are those of the product.

    Args:
        a: the set of g, n elements.
        b: the set of h on the same space, m elements; brought to the dtype and device of `a`.

    Returns:
        n m elements, those of `a` slowest, or those of a random `b` slowest, so that replicates lie side by side.

    Raises:
        UserError: for sets on different spaces, or two random ones.
    """
    if a.replicates > 1 and b.replicates > 1:
        raise UserError(
            f"`a` and `b` must not both be random, got {a.name} and {b.name}; draw from the product of their laws"
        )
    b = b.to(a.weights)
    whole = _pairs(a, b)
    parts = (a, b)
    if any(s.coarser is not None for s in parts) and all(s.has_error or len(s) == 1 for s in parts):
        (coarse_a, rows), (coarse_b, columns) = map(_coarse, parts)
        place = _order(a, b).argsort().reshape(len(a), len(b))
        grid = place[rows.unsqueeze(1), columns].flatten()
        coarser = _pairs(coarse_a, coarse_b)
        return replace(whole, coarser=coarser, nested=grid[_order(coarse_a, coarse_b)])
    return whole


def _coarse(s: AveragingSet) -> tuple[AveragingSet, Tensor]:
    if s.coarser is None or s.nested is None:
        return s, torch.arange(len(s), device=s.weights.device)
    return s.coarser, s.nested


def _pairs(a: AveragingSet, b: AveragingSet) -> AveragingSet:
    order = _order(a, b)
    elements = (a.elements.unsqueeze(1) @ b.elements.unsqueeze(0)).reshape(-1)[order]
    weights = (a.weights.unsqueeze(1) * b.weights).flatten()[order]
    return AveragingSet(f"{a.name} x {b.name}", elements, weights, replicates=max(a.replicates, b.replicates))


def _order(a: AveragingSet, b: AveragingSet) -> Tensor:
    """Which pair (i, j), counted as i m + j, stands at each place."""
    index = torch.arange(len(a) * len(b), device=a.weights.device).reshape(len(a), len(b))
    return (index.mT if b.replicates > 1 else index).flatten()


@full_precision
def weighted_mean(values: Float[Tensor, "n ..."], weights: Float[Tensor, " n"]) -> Tensor:
    """sum_k w_k f_k in the dtype of the values, under autocast, too, which would take it to half precision."""
    return torch.tensordot(weights.to(values), values, 1)
