"""Images with labels as tensors, split for training."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from molaugerino.datasets import Batch, BatchPass, Split
from molaugerino.errors import UserError

SMALLEST = 40  # images
TEST = 0.2  # share for testing
KEPT, MOST = 0.1, 1000  # share of the rest for validation, and for the law; no more images than so many


class PackedImages:
    """x (n, channels, height, width) in [0, 1], y (n,) classes, (n, height, width) of pixels or (n, 1) numbers."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device | str) -> PackedImages:
        """These images in the memory of a device."""
        moved = copy(self)
        moved.x, moved.y = self.x.to(device), self.y.to(device)
        return moved

    def batch(self, rows: Tensor, total: int | None = None) -> Batch:
        rows = rows.to(self.x.device)
        return Batch(self.x[rows], self.y[rows], len(rows) if total is None else total)

    def by_size(self, rows: np.ndarray | Tensor) -> Tensor:
        """All images are of one size: as they come."""
        return torch.arange(len(rows))

    def batches(self, rows: np.ndarray, size: int) -> BatchPass:
        """All rows in order, none dropped."""
        return BatchPass(self, torch.split(torch.from_numpy(np.asarray(rows)), size))


@dataclass(frozen=True)
class TaskData:
    """What a task trains and tests on.

    Attributes:
        name: of the pictures.
        checksum: of their source, and of how they were drawn or turned.
        packed: all images and labels.
        split: of the rows.
        classes: names, () for numbers.
    """

    name: str
    checksum: str
    packed: PackedImages
    split: Split
    classes: tuple[str, ...]


def image_split(n: int, trained: int | None, seed: int) -> Split:
    """A tenth of the training part, at most 1,000, for the law and as many for validation.

    Args:
        n: images.
        trained: rows before this are for training, the rest for testing, as the source says; None takes a random fifth
            for testing.
        seed: of the order.

    Raises:
        UserError: for too few images.
    """
    rng = np.random.default_rng(seed)
    if trained is None:
        order = rng.permutation(n)
        test, rest = np.split(order, [math.ceil(TEST * n)])
    else:
        rest, test = rng.permutation(trained), np.arange(trained, n)
    if len(rest) < SMALLEST or not len(test):
        raise UserError(
            f"a task needs at least {SMALLEST} images to train on and one to test, got {len(rest)}, {len(test)}"
        )
    kept = min(MOST, int(KEPT * len(rest)))
    valid, budget, train = np.split(rest, [kept, 2 * kept])
    return Split(*(np.sort(part) for part in (train, budget, valid, test)))
