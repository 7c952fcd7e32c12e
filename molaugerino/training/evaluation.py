"""Test errors in physical units: stored and random frames, one pass and averaged over the law."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from molaugerino.augment import Augmented
from molaugerino.datasets import Frames, MoleculeSet, PaddedData, Target, channel_slices, in_frames
from molaugerino.distributions import GroupDistribution

BATCH = 256
TEST_FRAMES_SEED = 20201022


class Result(NamedTuple):
    """One cell of the table; `mae` and `mean_predictor` in `unit`, over components for a vector."""

    target: str
    method: str
    unit: str
    frames: str
    copies: int
    n: int
    mae: float | None
    mean_predictor: float | None


@torch.no_grad()
def predict_rows(augmented: Augmented, data: PaddedData, rows: np.ndarray, copies: int) -> Tensor:
    """Predictions (rows, channels): one pass at the identity for copies = 1, else averaged over the law."""
    elements = augmented.identity() if copies == 1 else augmented.evaluation_elements(copies)
    order = np.argsort(data.num_atoms.numpy()[rows], kind="stable")
    size = max(1, BATCH // copies) if copies > 1 else BATCH
    device = next(augmented.parameters()).device
    parts = [augmented(batch.x.to(device), elements).cpu() for batch in data.batches(rows[order], size)]
    predictions = torch.cat(parts)
    return predictions[torch.from_numpy(np.argsort(order, kind="stable"))]


def evaluate(
    augmented: Augmented,
    molecules: MoleculeSet,
    rows: np.ndarray,
    targets: list[Target],
    train_mean: Sequence[float],
    frames: Frames,
    copies: Sequence[int],
) -> list[Result]:
    """The error table of a model on the given rows.

    Args:
        augmented: network and law.
        molecules: the set as loaded, at the geometry to test on.
        rows: test rows.
        targets: what the model predicts; the set must hold these labels.
        train_mean: mean training label per channel, the prediction of the mean predictor.
        frames: the orientation the model was trained on; random frames are tested beside it.
        copies: numbers of passes to average.

    Returns:
        One result per target, frames and copies; molecules without the label are left out.
    """
    results = []
    tested: tuple[Frames, ...] = ("stored" if frames == "random" else frames, "random")
    for name in tested:
        turned, _ = in_frames(molecules, name, TEST_FRAMES_SEED)
        data = PaddedData(turned, targets)
        y = data.y[torch.from_numpy(rows)]
        mean_errors = (y - torch.tensor(train_mean)).abs()
        for k in copies:
            errors = (predict_rows(augmented, data, rows, k) - y).abs()
            for target, channels in zip(targets, channel_slices(targets), strict=True):
                labelled = torch.isfinite(y[:, channels]).all(1)
                cell = [_mean(e[labelled][:, channels]) for e in (errors, mean_errors)]
                results.append(Result(target.name, target.method, target.unit, name, k, int(labelled.sum()), *cell))
    return results


def _mean(values: Tensor) -> float | None:
    """None, too, where the model gives no finite number: JSON has none."""
    mean = float(values.mean()) if values.numel() else math.nan
    return mean if math.isfinite(mean) else None


def describe_law(distribution: GroupDistribution, augment: str, verdict: str) -> dict[str, Any]:
    """The law as plain numbers: widths and means in degrees and angstrom, nats from the widest law."""
    summary: dict[str, Any] = {"augment": augment}
    for line in distribution.describe():
        name = line.quantity.split()[0]
        summary[f"{name}_width_{line.unit}"] = line.width
        summary[f"{name}_mean_{line.unit}"] = line.mean
        summary[f"{name}_nats"] = line.nats if augment != "none" else None
    return summary | {"verdict": verdict}
