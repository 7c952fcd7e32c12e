"""Trained models of images: what a card holds, and the network and law that it describes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict
from torch import Tensor

from molaugerino import paper
from molaugerino.augment import Augmented
from molaugerino.config import LawKind, NetworkName, TaskName
from molaugerino.distributions import GroupDistribution
from molaugerino.errors import UserError
from molaugerino.reductions import mean, mean_log_probability, mean_probability, probability_in_view
from molaugerino.tasks import TASKS, Measures, image_law, of_classes, of_numbers, of_pixels
from molaugerino.training.checkpoint import SCHEMA, load_with
from molaugerino.vision import make_network

REDUCE = {"classes": mean_probability, "pixels": probability_in_view, "number": mean}


@dataclass(frozen=True)
class ImageCard:
    """What a saved model of images is, beside its tensors.

    Attributes:
        task: what it has learned.
        model: the network, by its name.
        width: factor on its widths.
        channels: of the images.
        size: height and width of the images it was trained on.
        classes: their names, [] for a number.
        augment: "none", "fixed", "learned" or "paper".
        kind: of its law.
        law: extents and the verdict, for readers; the parameters are tensors.
        start: of the law, as a share of the widest.
        eval_copies: elements a prediction is averaged over.
        data: name of the pictures.
        data_sha256: of their source, and of how they were drawn or turned.
        split_sha256: checksum of the split.
        schema: version of this form.
        versions: packages it was made with.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid")

    task: TaskName
    model: NetworkName
    width: float
    channels: int
    size: tuple[int, int]
    classes: list[str]
    augment: str
    kind: LawKind
    law: dict[str, Any]
    start: float
    eval_copies: int
    data: str
    data_sha256: str
    split_sha256: str
    schema: int = SCHEMA
    versions: dict[str, str] | None = None

    def __post_init__(self) -> None:
        ranges = {
            "width": (self.width, 0, 16),
            "channels": (self.channels, 1, 64),
            "classes": (len(self.classes), 0, 10_000),
            "start": (self.start, 0, 1),
            "eval_copies": (self.eval_copies, 1, 10_000),
        }
        for name, (value, least, most) in ranges.items():
            if not (math.isfinite(value) and least <= value <= most):
                raise UserError(f"{name} must lie in {least}..{most}, got {value}")


def build_images(card: ImageCard, share: float = 0.0) -> Augmented:
    """The untrained network and law that a card describes, the law at a share of its widest."""
    task = TASKS[card.task]
    network = make_network(card.model, card.channels, len(card.classes) or 1, card.width)
    law: GroupDistribution = image_law(card.kind, share)
    reduce = REDUCE[task.kind]
    if card.augment == "paper":
        law, reduce = paper.PaperImageBox(), mean_log_probability if task.kind == "classes" else reduce
    return Augmented(network, law, task.input, task.output, eval_copies=card.eval_copies, reduce=reduce)


def load_image_model(folder: str | Path) -> tuple[Augmented, ImageCard]:
    """A saved model of images, in evaluation mode.

    Raises:
        UserError: where a file is missing, damaged, changed, or does not fit the card.
    """
    return load_with(Path(folder), ImageCard, build_images)


def measures_of(card: ImageCard, labels: Tensor) -> Measures:
    """How predictions of a task are judged, by its training labels."""
    task = TASKS[card.task]
    if task.kind == "number":
        return of_numbers(labels, task.unit)
    return (of_classes if task.kind == "classes" else of_pixels)(labels, len(card.classes))
