"""The calibration of a run: the latent space of its training molecules, intervals from its validation molecules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from molaugerino.augment import Augmented
from molaugerino.datasets import MoleculeSet, PackedData, World, in_frames
from molaugerino.models import BACKBONES
from molaugerino.training.checkpoint import ModelCard, card_digest
from molaugerino.training.evaluation import TEST_FRAMES_SEED
from molaugerino.uncertainty import (
    Answers,
    Calibration,
    Coverage,
    Domain,
    Latent,
    Passes,
    answers,
    coverage,
    load_calibration,
)

LEVEL = 0.9
LATENT = 2000  # training molecules that span the latent space


def is_single(card: ModelCard) -> bool:
    """Whether a saved model answers by one pass at the identity, rather than by the average over its law."""
    return card.augment == "none" or card.eval_copies == 1


def model_answers(augmented: Augmented, card: ModelCard, data: PackedData, rows: np.ndarray) -> Answers:
    """What a saved model says of molecules in the frames that it was trained on: averaged over its own law."""
    single = is_single(card)
    passes: Passes = "identity" if single else "own law"
    turns = single and card.frames != "principal" and not BACKBONES[card.model].symmetry.endswith("motions")
    return answers(augmented, data, rows, 1 if single else card.eval_copies, passes, turns)


def calibrate(
    augmented: Augmented, card: ModelCard, data: PackedData, loaded: MoleculeSet, train: np.ndarray, held: np.ndarray
) -> Calibration:
    """Latent space, domain, and intervals of the route that the model was trained on.

    Args:
        augmented: network and law, trained.
        card: what they are.
        data: the molecules in the training frames, with labels.
        loaded: the same in the frames of the file.
        train: rows that trained.
        held: rows that trained nothing.
    """
    some = np.sort(np.random.default_rng(0).permutation(train)[:LATENT])
    latent = Latent.of(model_answers(augmented, card, data, some).hidden)
    found = model_answers(augmented, card, data, held)
    domain = Domain.of(latent.distance(found.hidden).numpy(), loaded.subset(train))
    labels = data.y[torch.from_numpy(held)]
    return Calibration(latent, domain, {}).with_route(card.geometry, found, labels)


def covered(
    augmented: Augmented,
    card: ModelCard,
    calibration: Calibration,
    molecules: MoleculeSet,
    rows: np.ndarray,
    level: float = LEVEL,
) -> list[Coverage | None]:
    """How often the intervals hold the labels of a set, per channel, for molecules in the frames of training."""
    turned, _ = in_frames(molecules, card.frames, TEST_FRAMES_SEED)
    data = PackedData(World(card.world, card.world_seed).place(turned), card.targets)
    found = model_answers(augmented, card, data, rows)
    return coverage(calibration, molecules.geometry, found, data.y[torch.from_numpy(rows)], level)


def calibration_of(folder: Path, card: ModelCard) -> Calibration | None:
    """The calibration beside a saved model, None where it has none."""
    return load_calibration(folder, card_digest(folder), len(card.train_mean))


def coverage_rows(card: ModelCard, found: Sequence[Coverage | None]) -> list[dict[str, object]]:
    """For a report: of each channel that has an interval and labels, by its column."""
    names = [column for target in card.targets for column in target.columns]
    return [{"column": name, **c._asdict()} for name, c in zip(names, found, strict=True) if c is not None]
