"""How much of an error is due to orientation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.errors import UserError


class LossShare(NamedTuple):
    """Means over examples, in the unit of the loss.

    Attributes:
        loss: E l(g^-1 f(g x), y), that of one pass in a random frame.
        loss_of_mean: l(mean, y), that of the average over all elements.
        orientation: loss - loss_of_mean: what a single pass loses to orientation.
        error: standard error of `orientation`.
        share: orientation / loss.
        examples: how many have a label.
    """

    loss: float
    loss_of_mean: float
    orientation: float
    error: float
    share: float
    examples: int


def loss_share(
    each: Float[Tensor, "elements rows *more"],
    y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    weights: Float[Tensor, " elements"] | None = None,
    reduce: Callable[[Tensor], Tensor] | None = None,
) -> LossShare:
    """E_g l(g^-1 f(g x), y) = l(mean, y) + orientation,   mean = E_g g^-1 f(g x).

    For the squared error, orientation is E_g (g^-1 f(g x) - mean)^2, exactly: the spread over frames. For any convex
    loss it is Jensen's gap, never negative.

    Args:
        each: predictions at the elements, each turned back, in the unit of the label.
        y: labels, (rows, ...); rows with one that is not finite are left out.
        loss: (predictions, labels) -> (rows,) or (rows, ...), convex in the predictions.
        weights: of the elements; None weights all alike.
        reduce: what makes the mean of the elements, where it is another.

    Raises:
        UserError: where no row has a label, or weights are given with another mean.

    Source: the decomposition of Shen, Nowara, Maser, Cho (2025), arXiv:2512.02303.
    """
    single, averaged = row_losses(each, y, loss, weights, reduce)
    return shared(single, averaged)


def row_losses(
    each: Float[Tensor, "elements rows *more"],
    y: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    weights: Float[Tensor, " elements"] | None = None,
    reduce: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Float[Tensor, " labelled"], Float[Tensor, " labelled"]]:
    """E_g l(g^-1 f(g x), y) and l(mean, y) of each row that has a label: parts of `loss_share`, for `shared`.

    A loss of several values per row, as of pixels, is averaged over the row; NaN is left out, what an element does not
    see.
    """
    known = torch.isfinite(y).flatten(1).all(1) if y.dim() > 1 else torch.isfinite(y)
    if weights is not None and reduce is not None:
        raise UserError("give one of `weights` and `reduce`")
    each, y = each[:, known].double(), y[known]
    w = torch.ones(len(each)) if weights is None else weights
    w = w.to(each) / w.to(each).sum()  # weights in float32 add up to 1 within their precision only
    mean = torch.tensordot(w, each, 1) if reduce is None else reduce(each)
    found = torch.stack([loss(one, y) for one in each]).to(each)
    single = torch.tensordot(w, found, 1) if weights is not None else found.nanmean(0)
    averaged = loss(mean, y).to(each)
    return _over_rows(single), _over_rows(averaged)


def _over_rows(values: Tensor) -> Tensor:
    return values if values.dim() == 1 else values.flatten(1).nanmean(1)


def shared(single: Float[Tensor, " rows"], averaged: Float[Tensor, " rows"]) -> LossShare:
    """What the losses of rows amount to.

    Raises:
        UserError: for no rows.
    """
    if not len(single):
        raise UserError("no example has a label, so there is no loss to share out; give data with labels")
    gap = single - averaged
    error = float(gap.std()) / len(gap) ** 0.5 if len(gap) > 1 else 0.0
    total, orientation = float(single.mean()), float(gap.mean())
    return LossShare(total, float(averaged.mean()), orientation, error, orientation / total if total else 0.0, len(gap))


def absolute(prediction: Tensor, label: Tensor) -> Tensor:
    """Mean absolute error over the components of each row."""
    return (prediction - label).abs().unsqueeze(-1).flatten(1).mean(1)


def squared(prediction: Tensor, label: Tensor) -> Tensor:
    """Mean squared error over the components of each row."""
    return (prediction - label).square().unsqueeze(-1).flatten(1).mean(1)
