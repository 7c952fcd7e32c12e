"""Test scores of models of images, on the pictures of their run or on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from molaugerino.augment import Augmented
from molaugerino.config import ImageConfig, read_training
from molaugerino.errors import UserError
from molaugerino.groups import Affine
from molaugerino.tasks import PackedImages, TaskData, open_task
from molaugerino.training.folder import SETTINGS
from molaugerino.training.image_models import ImageCard, load_image_model, measures_of

BATCH = 256  # passes at once
COPIES = (1, 4)  # beside --law.eval-copies


class ImageResult(NamedTuple):
    """Test scores of predictions from so many copies."""

    copies: int
    n: int
    scores: dict[str, float]


@torch.no_grad()
def predictions(augmented: Augmented, packed: PackedImages, rows: np.ndarray, elements: Affine) -> Tensor:
    """(images, ...) averaged over these elements, in the order of the rows."""
    [copies] = elements.batch_shape
    device = next(augmented.parameters()).device
    parts = packed.batches(rows, max(1, BATCH // copies))
    return torch.cat([augmented.reduce(augmented.each(part.x.to(device), elements)).cpu() for part in parts])


def evaluation_copies(augmented: Augmented, copies: int, published: bool = False) -> Affine:
    """The law at the first points of the Sobol sequence: the identity, which sees the whole image, is one of them.

    Angles are evenly spaced where the copies are a power of two, so that an average over all turns is the same for
    every turned image up to its harmonics of that order. A single copy is the identity. As published, draws of the
    law.
    """
    if published:
        return augmented.evaluation_elements(copies)
    if copies == 1:
        return augmented.identity()
    law = augmented.distribution
    points = torch.quasirandom.SobolEngine(law.noise_dim).draw(copies)  # type: ignore[no-untyped-call]
    return law.elements(points.to(next(augmented.parameters()))).detach()


def evaluate_images(
    augmented: Augmented, card: ImageCard, data: TaskData, copies: Sequence[int] | None = None
) -> list[ImageResult]:
    """Test scores from one copy, the identity, and from several, the identity and draws of the law.

    With --augment paper draws of the law alone, as published.

    Args:
        augmented: network and law.
        card: what they are.
        data: whose test rows are used.
        copies: numbers of copies; by default 1, 4 and those of the card.
    """
    rows = data.split.test
    y = data.packed.y[torch.from_numpy(rows)]
    judged = measures_of(card, data.packed.y[torch.from_numpy(data.split.train)])
    wanted = copies or ((1,) if card.augment == "none" else tuple(dict.fromkeys((*COPIES, card.eval_copies))))
    results = []
    for k in wanted:
        elements = evaluation_copies(augmented, k, published=card.augment == "paper")
        found = predictions(augmented, data.packed, rows, elements)
        results.append(ImageResult(k, len(rows), judged.scores(found, y)))
    return results


def evaluate_run(
    folder: Path, data: Sequence[str] = (), copies: int | None = None
) -> tuple[ImageCard, list[ImageResult]]:
    """Test scores of a saved run, on its own test images or on those of other data for its task.

    Raises:
        UserError: where the pictures are not those of the run, or the model does not fit others.
    """
    run = open_run(folder, data)
    wanted = None if copies is None else tuple(dict.fromkeys((1, copies)))
    return run.card, evaluate_images(run.augmented, run.card, run.data, wanted)


@dataclass(frozen=True)
class OpenRun:
    """A saved run of images: its folder, the model in evaluation mode, its card, and the pictures to test on."""

    folder: Path
    augmented: Augmented
    card: ImageCard
    data: TaskData


def open_run(run: str | Path, data: Sequence[str] = ()) -> OpenRun:
    """A saved run, with its own pictures or others for its task.

    Raises:
        UserError: as `load_image_model` and `run_data`.
    """
    folder = Path(run)
    augmented, card = load_image_model(folder)
    return OpenRun(folder, augmented, card, run_data(folder, card, data))


def run_data(folder: Path, card: ImageCard, data: Sequence[str] = ()) -> TaskData:
    """The pictures that a saved run was trained and tested on, or others for its task.

    Raises:
        UserError: where they have changed, or others do not fit the model.
    """
    config = cast(ImageConfig, read_training(folder / SETTINGS))
    if len(data) > 1:
        raise UserError(f"--data takes one set of images, got {len(data)}")
    found = open_task(config.task, data[0] if data else config.data, config.images, config.split_seed)
    if not data and found.checksum != card.data_sha256:
        raise UserError(f"{card.data} changed since {folder} was trained; restore it, or give other --data")
    if found.packed.x.shape[1] != card.channels or list(found.classes) != card.classes:
        raise UserError(
            f"{found.name} has {found.packed.x.shape[1]} channels and {len(found.classes)} classes, the model was "
            f"trained on {card.channels} and {len(card.classes)}; give other --data"
        )
    return found
