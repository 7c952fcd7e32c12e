"""As many draws as a tolerance asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from molaugerino.errors import UserError

MOST = 1024  # draws


class Estimate(NamedTuple):
    """An average and how far it may be off.

    Attributes:
        value: (rows, ...) the average.
        error: (rows, ...) in the unit of the value: of draws the standard error, of a deterministic set the difference
            from its coarser one.
        copies: (rows,) how many values each row is the average of.
    """

    value: Float[Tensor, "rows ..."]
    error: Float[Tensor, "rows ..."]
    copies: Int[Tensor, " rows"]


def to_tolerance(draw: Callable[[int], Tensor], tolerance: float, most: int = MOST) -> Estimate:
    """mean of y_1 .. y_n with the smallest n, in whole blocks, for which std(y) / sqrt(n) <= tolerance.

    Each row has an n of its own and stays as it is once it is there, so it does not depend on the rows beside it.
    Stopping where the error looks small, one stops a little early: the true error is some percent larger.

    Args:
        draw: block number 0, 1, ... -> independent values (block, rows, ...), always as many.
        tolerance: for every entry of a row, in the unit of the values.
        most: values per row, at most; an error above the tolerance tells that they did not do.

    Raises:
        UserError: for a tolerance that is not positive, or blocks of fewer than two values.
    """
    if not tolerance > 0:
        raise UserError(f"`tolerance` must be above 0, got {tolerance}")
    values = draw(0)
    size = len(values)
    if size < 2:
        raise UserError(f"a block needs at least 2 values to tell their spread, got {size}")
    around = values.mean(0)  # squares of what is left of it do not cancel
    total, squares = torch.zeros_like(around), torch.zeros_like(around)
    n = torch.zeros(len(around), dtype=torch.long, device=around.device)
    going = torch.ones_like(n, dtype=torch.bool)
    block = 0
    while True:
        left, there = values - around, going.reshape(-1, *[1] * (around.dim() - 1))
        total = total + torch.where(there, left.sum(0), 0)
        squares = squares + torch.where(there, left.square().sum(0), 0)
        n = n + size * going
        count = n.reshape(there.shape)
        error = ((squares / count - (total / count).square()).clamp_min(0) / (count - 1)).sqrt()
        going = going & (error.reshape(len(n), -1).amax(1) > tolerance)
        block += 1
        if (block + 1) * size > most or not bool(going.any()):
            return Estimate(around + total / count, error, n)
        values = draw(block)
