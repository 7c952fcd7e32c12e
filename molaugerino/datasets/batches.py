"""Tensors of a data set, and the endless, reproducible stream of batches drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from molaugerino.datasets.molecules import MoleculeSet
from molaugerino.datasets.targets import Target
from molaugerino.spaces import Molecules

BUCKET = 16  # batches sorted by size among each other, so that little is padded


class Batch(NamedTuple):
    """Examples and their labels: molecules with (molecules, channels) in physical units, or images with theirs.

    Where several processes share a step, `total` is the number of examples of all of them; this batch holds every
    n-th of them, n the number of processes, from its own rank on.
    """

    x: Any
    y: Tensor
    total: int

    def to(self, device: torch.device | str) -> Batch:
        return Batch(self.x.to(device), self.y.to(device), self.total)


@runtime_checkable
class Packed(Protocol):
    """A data set that gives batches of any of its rows."""

    def batch(self, rows: Tensor, total: int | None = None) -> Batch: ...

    def by_size(self, rows: np.ndarray | Tensor) -> Tensor:
        """Places in `rows`, in the order in which batches are the cheapest."""


class PackedData:
    """Molecules of a set as tensors, atoms packed: z (atoms,), pos (atoms, 3), y (n, channels), NaN without a label.

    Nothing is padded before a batch is asked for, so 130,000 molecules open at once and stay small.
    """

    def __init__(self, molecules: MoleculeSet, targets: list[Target]) -> None:
        n = len(molecules)
        labels = [molecules.values(target).reshape(n, -1) for target in targets]
        y = np.concatenate(labels, axis=1) if labels else np.zeros((n, 0))
        self.num_atoms = torch.from_numpy(np.array(molecules.num_atoms, dtype=np.int64))
        self.starts = self.num_atoms.cumsum(0) - self.num_atoms
        self.z = torch.from_numpy(np.array(molecules.atomic_numbers, dtype=np.uint8))
        self.pos = torch.from_numpy(np.array(molecules.positions, dtype=np.float32))
        self.y = torch.from_numpy(y).float()

    def __len__(self) -> int:
        return len(self.num_atoms)

    def to(self, device: torch.device | str) -> PackedData:
        """These molecules in the memory of a device, where the batches are then made; sizes stay at hand."""
        moved = copy(self)
        moved.z, moved.pos, moved.y = self.z.to(device), self.pos.to(device), self.y.to(device)
        return moved

    def batch(self, rows: Tensor, total: int | None = None) -> Batch:
        """The molecules of these rows, padded to the longest of them; `total` as in `Batch`, by default all."""
        device = self.pos.device
        count = self.num_atoms[rows, None]
        slot = torch.arange(int(count.max()))
        mask = slot < count  # (molecules, atoms)
        atoms = (self.starts[rows, None] + torch.where(mask, slot, 0)).to(device, non_blocking=True)
        rows, mask = rows.to(device, non_blocking=True), mask.to(device, non_blocking=True)
        z = torch.where(mask, self.z[atoms].long(), 0)
        pos = torch.where(mask.unsqueeze(-1), self.pos[atoms], 0.0)
        return Batch(Molecules(z, pos, mask), self.y[rows], len(rows) if total is None else total)

    def by_size(self, rows: np.ndarray | Tensor) -> Tensor:
        """Places in `rows` of the smallest molecule, the next, and so on: batches in this order are hardly padded."""
        return self.num_atoms[rows].argsort(stable=True)

    def batches(self, rows: np.ndarray, size: int) -> BatchPass:
        """All rows in order, none dropped."""
        return BatchPass(self, torch.split(torch.from_numpy(np.asarray(rows)), size))


class BatchPass:
    """One pass over given rows, as often as it is iterated."""

    def __init__(self, data: Packed, chunks: Sequence[Tensor]) -> None:
        self.data, self.chunks = data, chunks

    def __len__(self) -> int:
        return len(self.chunks)

    def __iter__(self) -> Iterator[Batch]:
        return map(self.data.batch, self.chunks)


class BatchStream:
    """Batches number start(), start() + 1, ... of an endless training run.

    Batch s is a function of (seed, s) alone: epoch s // steps_per_epoch is one seeded
    permutation of the rows, so a run resumed at step s sees what an unbroken one sees.

    Args:
        data: the examples.
        rows: the training rows; one that is there twice comes twice per epoch.
        size: examples per batch; the last batch of an epoch may be smaller, none is dropped.
        seed: of the permutations.
        start: called when iteration begins, gives the first step.
        rank: of this process, which takes rows rank, rank + processes, ... of each batch.
        processes: that share a batch.
    """

    def __init__(
        self,
        data: Packed,
        rows: np.ndarray,
        size: int,
        seed: int,
        start: Callable[[], int],
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.data, self.rows, self.size, self.seed, self.start = data, torch.from_numpy(rows), size, seed, start
        self.rank, self.processes = rank, processes
        self.steps_per_epoch = -(-len(rows) // size)

    def epoch(self, number: int) -> list[Tensor]:
        """The batches of one epoch as row numbers: shuffled, sorted by size within buckets, shuffled again."""
        rng = np.random.default_rng((self.seed, number))
        order = self.rows[torch.from_numpy(rng.permutation(len(self.rows)))]
        batches: list[Tensor] = []
        for bucket in torch.split(order, self.size * BUCKET):
            by_size = bucket[self.data.by_size(bucket)]
            batches += torch.split(by_size, self.size)
        return [batches[k] for k in rng.permutation(len(batches))]

    def __iter__(self) -> Iterator[Batch]:
        number, first = divmod(self.start(), self.steps_per_epoch)
        while True:
            for rows in self.epoch(number)[first:]:
                own = rows[self.rank :: self.processes]
                yield self.data.batch(own if len(own) else rows[:1], len(rows))  # one that counts for nothing
            number, first = number + 1, 0
