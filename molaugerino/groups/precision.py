"""Group algebra keeps the precision of its arguments, whatever torch.autocast does around it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def _device(arguments: Iterable[object]) -> str:
    for value in arguments:
        if isinstance(device := getattr(value, "device", None), torch.device):
            return device.type
    raise TypeError("none of the arguments has a device")


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """The function with autocast off on the device of its first argument that has one (a tensor, a group element).

    Autocast would take matrix products, and nothing else of the algebra, to bfloat16, where a
    rotation is one to two digits. Every function here that multiplies matrices carries this guard.
    """

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        device = _device(args)
        if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return function(*args, **kwargs)

    return guarded
