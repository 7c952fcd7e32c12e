"""What a network says of molecules: averaged predictions, their spread over orientations, the last hidden layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from molaugerino.augment import Augmented
from molaugerino.datasets import Batch, PackedData
from molaugerino.distributions import HaarBall
from molaugerino.groups import SO3, Affine
from molaugerino.models import Readout
from molaugerino.spaces import Molecules

BATCH = 64  # passes
ELEMENTS_SEED = 20201022
TURNS = 8  # rotations that show what is left of orientation where a prediction is a single pass

Passes = Literal["identity", "own law", "fresh draws"]


class Answers(NamedTuple):
    """Of each molecule.

    Attributes:
        values: (molecules, channels) predictions in physical units.
        orientation_sd: (molecules, channels) standard deviation over the passes that the prediction is the mean of; of
            a single pass, over fixed rotations; 0 for a network that respects them.
        hidden: (molecules, width) the last hidden layer, averaged over atoms and passes.
    """

    values: Tensor
    orientation_sd: Tensor
    hidden: Tensor


@torch.no_grad()
def answers(
    augmented: Augmented,
    data: PackedData,
    rows: np.ndarray,
    copies: int,
    passes: Passes,
    turning: bool = False,
) -> Answers:
    """What the network says of the given rows, in their order.

    Args:
        augmented: network and law.
        data: the molecules.
        rows: of them.
        copies: passes that a prediction is averaged over.
        passes: at which elements they are made: the identity, fixed ones of the law, or fresh ones for each molecule.
        turning: measure the spread of a single pass over fixed rotations, too.
    """
    order = data.by_size(rows)
    device = next(augmented.parameters()).device
    turns = _rotations(augmented) if turning else None
    generator = torch.Generator().manual_seed(ELEMENTS_SEED)

    def elements(batch: Batch) -> Affine:
        if passes == "identity":
            return augmented.identity()
        if passes == "own law":
            return augmented.evaluation_elements(copies, batch.x)
        noise = augmented.distribution.noise((copies, len(batch.y)), generator, device="cpu")
        return augmented.distribution.elements(noise.to(device))

    parts = []
    for batch in data.batches(rows[order.numpy()], max(1, BATCH // copies)):
        moved = batch.to(device)
        with last_hidden(augmented) as seen:
            each = augmented.each(moved.x, elements(moved))
            values = augmented.reduce(each)
            hidden = _pooled(seen, moved.x)
        spread = each if turns is None else augmented.each(moved.x, turns)
        parts.append(Answers(values.cpu(), spread.std(0, correction=0).cpu(), hidden.cpu()))
    back = order.argsort()
    return Answers(*(torch.cat(field)[back] for field in zip(*parts, strict=True)))


@contextmanager
def last_hidden(augmented: Augmented) -> Iterator[list[Tensor]]:
    """What enters the last linear map of the readout while this is open: (passes * molecules, atoms, width) each."""
    seen: list[Tensor] = []
    readout = cast(Readout, augmented.model.readout)
    handle = readout.mlp[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()


def _pooled(seen: list[Tensor], x: Molecules) -> Tensor:
    """(molecules, width) averages over atoms and passes, which come one after the other, all molecules in each."""
    hidden = torch.cat(seen).float()
    hidden = hidden.reshape(-1, *x.mask.shape, hidden.shape[-1]).mean(0)
    return (hidden * x.mask.unsqueeze(-1)).sum(1) / x.mask.sum(1, keepdim=True).clamp_min(1)


def _rotations(augmented: Augmented) -> Affine:
    """Fixed rotations, evenly drawn, as elements of the law's space."""
    law = HaarBall(SO3, math.pi)
    generator = torch.Generator().manual_seed(ELEMENTS_SEED)
    noise = law.noise((TURNS,), generator, dtype=torch.float64, device="cpu")
    return law.elements(noise).to(next(augmented.parameters()).dtype)
