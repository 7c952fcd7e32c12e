"""What becomes of the copies: (copies, rows, ...) -> (rows, ...), for the argument `reduce` of Augmented."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.errors import UserError


def mean(values: Float[Tensor, " copies *rows"]) -> Float[Tensor, "*rows"]:
    """1/n sum_j y_j, in the unit of y: what regression under a squared loss asks for."""
    return values.mean(0)


def median(values: Float[Tensor, " copies *rows"]) -> Float[Tensor, "*rows"]:
    """argmin_z sum_j |y_j - z|, entry by entry, in the unit of y; the middle of the two middle values of an even n.

    For scalars under an absolute loss. The median of the components of a vector does not turn with the vector.
    NaN where a copy is NaN.
    """
    n = len(values)
    ordered = values.sort(0).values
    return torch.where(values.isnan().any(0), math.nan, (ordered[(n - 1) // 2] + ordered[n // 2]) / 2)


def mean_probability(values: Float[Tensor, "copies rows classes *more"]) -> Float[Tensor, "rows classes *more"]:
    """log(1/n sum_j softmax(y_j)) = logsumexp_j log_softmax(y_j) - log n.

    The classifier that draws a copy at random and answers with its probabilities. Classes are the dimension after the
    rows, as in torch's losses.

    Args:
        values: logits; those of a segmentation may go on with (height, width).

    Returns:
        Logarithms of probabilities: logits for any loss, whose exponentials add up to 1.

    Raises:
        UserError: for fewer than two classes, where a softmax says nothing.
    """
    return _log_softmax(values).logsumexp(0) - math.log(len(values))


def mean_log_probability(values: Float[Tensor, "copies rows classes *more"]) -> Float[Tensor, "rows classes *more"]:
    """1/n sum_j log_softmax(y_j).

    The geometric mean of the probabilities, not normalised again; its cross-entropy is the mean of those of the copies.
    Arguments, returned value and errors as for `mean_probability`, but the exponentials add up to at most 1.

    Source: the classification rule of Benton, Finzi, Izmailov, Wilson, Learning Invariances in Neural Networks (2020),
    arXiv:2010.11882.
    """
    return _log_softmax(values).mean(0)


def in_view(values: Float[Tensor, " copies *rows"]) -> Float[Tensor, "*rows"]:
    """sum_j s_j y_j / sum_j s_j, s_j = 0 where y_j is NaN, else 1; NaN where all are, in the unit of y.

    The mean over the copies that see the pixel, for values that `Mask` has marked. A loss must leave out pixels that no
    copy sees; one copy that leaves the image whole (the identity) sees all. Gradients are finite everywhere. NaN of a
    network's own making are left out as well, and so hidden. For scores of classes see `probability_in_view`.
    """
    seen = ~values.isnan()
    count = seen.sum(0)
    total = torch.where(seen, values, 0.0).sum(0)
    return torch.where(count > 0, total / count.clamp_min(1), math.nan)


def probability_in_view(values: Float[Tensor, "copies rows classes *more"]) -> Float[Tensor, "rows classes *more"]:
    """log(sum_j s_j softmax(y_j) / sum_j s_j), s_j = 0 where y_j is NaN, else 1; NaN where all are.

    `mean_probability` over the copies that see the pixel, for scores that `Mask` has marked. Scores are moved, not
    probabilities: between two pixels of different classes those would be blurred, while the edge between scores stays
    as sharp as it is.
    """
    log_p = _log_softmax(values.nan_to_num(0.0))
    seen = ~values.isnan().any(2, keepdim=True)
    count = seen.sum(0).to(values.dtype)
    total = torch.where(seen | (count == 0), log_p, -math.inf).logsumexp(0)
    return torch.where(count > 0, total - count.clamp_min(1).log(), math.nan)


def _log_softmax(values: Tensor) -> Tensor:
    if values.dim() < 3 or values.shape[2] < 2:
        raise UserError(
            "`values` must have shape (copies, rows, classes, ...) with two classes or more, got "
            f"{tuple(values.shape)}; give the second class the score 0"
        )
    return values.log_softmax(2)
