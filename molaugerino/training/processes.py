"""A run on several processes: which of them this is, and what only one of them does."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar, cast

import torch

T = TypeVar("T")


def is_first() -> bool:
    """Whether this process is the one that writes files and speaks to the user."""
    if torch.distributed.is_initialized():
        return torch.distributed.get_rank() == 0
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def first_alone(work: Callable[[], T]) -> T:
    """What `work` gives the first process, in each of them."""
    found = [work() if is_first() else None]
    if torch.distributed.is_initialized():
        torch.distributed.broadcast_object_list(found)
    return cast(T, found[0])


def layout(devices: int) -> tuple[int, int]:
    """(processes on each computer, computers): as torchrun has started them, else `devices` on this one."""
    if "LOCAL_WORLD_SIZE" not in os.environ:
        return devices, 1
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    return local, int(os.environ["WORLD_SIZE"]) // local
