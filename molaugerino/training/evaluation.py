"""Test errors in physical units: stored and random frames, one pass and averaged over the law."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from molaugerino import paper
from molaugerino.augment import Augmented
from molaugerino.datasets import Frames, MoleculeSet, PackedData, Target, World, channel_slices, in_frames
from molaugerino.distributions import GroupDistribution
from molaugerino.training.checkpoint import ModelCard
from molaugerino.uncertainty import Passes, answers

TEST_FRAMES_SEED = 20201022
NOWHERE = World("none")


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


def predict_rows(augmented: Augmented, data: PackedData, rows: np.ndarray, copies: int, passes: Passes) -> Tensor:
    """Predictions (rows, channels), averaged over the elements that `passes` names."""
    return answers(augmented, data, rows, copies, passes).values


def evaluate(
    augmented: Augmented,
    molecules: MoleculeSet,
    rows: np.ndarray,
    targets: list[Target],
    train_mean: Sequence[float],
    frames: Frames,
    copies: Sequence[int],
    world: World = NOWHERE,
    published: bool = False,
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
        world: the world that the labels are made in.
        published: test as Augerino did: fresh draws of the law per molecule, the last partial batch left out.

    Returns:
        One result per target, frames and copies; molecules without the label are left out.
    """
    results = []
    if published:
        rows = rows[: max(len(rows) // paper.BATCH, 1) * paper.BATCH]
    tested: tuple[Frames, ...] = ("stored" if frames == "random" else frames, "random")
    if world.name != "none":
        tested = ("random",)  # its labels belong to where the molecules are placed
    for name in tested:
        turned, _ = in_frames(molecules, name, TEST_FRAMES_SEED)
        data = PackedData(world.place(turned), targets)
        y = data.y[torch.from_numpy(rows)]
        mean_errors = (y - torch.tensor(train_mean)).abs()
        for k in copies:
            passes: Passes = "fresh draws" if published else "identity" if k == 1 else "own law"
            errors = (predict_rows(augmented, data, rows, k, passes) - y).abs()
            for target, channels in zip(targets, channel_slices(targets), strict=True):
                labelled = torch.isfinite(y[:, channels]).all(1)
                cell = [_mean(e[labelled][:, channels]) for e in (errors, mean_errors)]
                results.append(
                    Result(target.name, target.method, target.unit, name, k, passes, int(labelled.sum()), *cell)
                )
    return results


def evaluate_model(
    augmented: Augmented, card: ModelCard, molecules: MoleculeSet, rows: np.ndarray, copies: int
) -> list[Result]:
    """The error table of a model that was trained as its card says: one pass, and averaged over `copies` of its law."""
    published = card.augment == "paper"
    passes = (1,) if published or card.augment == "none" else tuple(dict.fromkeys((1, copies)))
    world = World(card.world, card.world_seed)
    return evaluate(augmented, molecules, rows, card.targets, card.train_mean, card.frames, passes, world, published)


def _mean(values: Tensor) -> float | None:
    """None, too, where the model gives no finite number: JSON has none."""
    mean = float(values.mean()) if values.numel() else math.nan
    return mean if math.isfinite(mean) else None


def describe_law(distribution: GroupDistribution, augment: str, verdict: str) -> dict[str, Any]:
    """The law as plain numbers: per part, by its name, the width and mean in its unit, and nats from the widest law."""
    parts = {}
    for line in distribution.describe():
        parts[line.name] = line._asdict() | ({"nats": None} if augment == "none" else {})
    return {"augment": augment, "parts": parts, "verdict": verdict}
