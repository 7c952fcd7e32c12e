"""Checks of tensors that are given to public functions."""

from __future__ import annotations

import torch
from torch import Tensor

from molaugerino.errors import UserError


def check_last_dims(name: str, tensor: Tensor, *expected: int) -> None:
    """Raise unless the last dimensions of `tensor` have the expected sizes.

    >>> check_last_dims("xi", torch.zeros(5, 2), 3)
    Traceback (most recent call last):
    ...
    molaugerino.errors.UserError: `xi` must have shape (..., 3), got (5, 2)
    """
    if tuple(tensor.shape[-len(expected) :]) != expected:
        wanted = ", ".join(map(str, expected))
        raise UserError(f"`{name}` must have shape (..., {wanted}), got {tuple(tensor.shape)}")


def check_range(name: str, value: Tensor | float, low: float, high: float | Tensor, unit: str, remedy: str) -> None:
    """Raise unless every entry of `value` is finite and in [low, high]."""
    value = torch.as_tensor(value)
    inside = torch.isfinite(value) & (value >= low) & (value <= high)
    if not bool(inside.all()):
        high = torch.as_tensor(high)
        raise UserError(f"`{name}` must lie in [{low:g}, {_shown(high)}] {unit}, got {_shown(value)}; {remedy}")


def _shown(value: Tensor) -> str:
    return (
        f"{float(value):.6g}"
        if value.dim() == 0
        else "(" + ", ".join(f"{v:.6g}" for v in value.flatten().tolist()) + ")"
    )
