"""Test errors in physical units: stored and random frames, one pass and averaged over the law."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from molaugerino import paper
from molaugerino.augment import Augmented
from molaugerino.datasets import Batch, Frames, MoleculeSet, PaddedData, Target, World, channel_slices, in_frames
from molaugerino.distributions import GroupDistribution
from molaugerino.groups import Affine

BATCH = 256
TEST_FRAMES_SEED = 20201022
NOWHERE = World("none")


Passes = Literal["identity", "own law", "fresh draws"]


class Result(NamedTuple):
    """One cell of the table; `mae` and `mean_predictor` in `unit`, over components for a vector.

    `passes` says at which elements the `copies` passes were made: the identity, fixed ones of the law, or fresh ones.
    """

    target: str
    method: str
    unit: str
    frames: str
    copies: int
    passes: Passes
    n: int
    mae: float | None
    mean_predictor: float | None


@torch.no_grad()
def predict_rows(augmented: Augmented, data: PaddedData, rows: np.ndarray, copies: int, passes: Passes) -> Tensor:
    """Predictions (rows, channels), averaged over the elements that `passes` names."""
    generator = torch.Generator().manual_seed(TEST_FRAMES_SEED)

    def elements(batch: Batch) -> Affine:
        if passes == "identity":
            return augmented.identity()
        if passes == "own law":
            return augmented.evaluation_elements(copies, batch.x)
        noise = augmented.distribution.noise((copies, len(batch.y)), generator, device="cpu")
        return augmented.distribution.elements(noise.to(device))

    order = np.argsort(data.num_atoms.numpy()[rows], kind="stable")
    size = max(1, BATCH // copies) if copies > 1 else BATCH
    device = next(augmented.parameters()).device
    moved = (Batch(batch.x.to(device), batch.y) for batch in data.batches(rows[order], size))
    parts = {}
    for line in distribution.describe():
        parts[line.name] = line._asdict() | ({"nats": None} if augment == "none" else {})
    return {"augment": augment, "parts": parts, "verdict": verdict}
