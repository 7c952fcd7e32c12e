"""Values with their rate of change, x + t dx/dt, for forward-mode differentiation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad


def dual(value: Tensor, rate: Tensor) -> Tensor:
    """value + t rate, within `torch.autograd.forward_ad.dual_level`."""
    return forward_ad.make_dual(value, rate)  # type: ignore[no-untyped-call]


def unpacked(y: Tensor) -> tuple[Tensor, Tensor]:
    """Value and rate, zeros where it has none."""
    value, rate = forward_ad.unpack_dual(y)  # type: ignore[no-untyped-call]
    return value, torch.zeros_like(value) if rate is None else rate
