"""A training run on images: the same step, law and objective as for molecules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
from pydantic import ConfigDict
from rich.console import Console
from torch import Tensor, nn

from molaugerino import paper
from molaugerino.augment import Augmented
from molaugerino.config import ImageConfig, LawKind, NetworkName, TaskName, read_training, to_toml
from molaugerino.datasets import Split, save_split
from molaugerino.distributions import GroupDistribution
from molaugerino.errors import UserError
from molaugerino.files import write_atomic
from molaugerino.groups import Affine
from molaugerino.reductions import in_view, mean, mean_log_probability, mean_probability
from molaugerino.tasks import (
    TASKS,
    Measures,
    PackedImages,
    TaskData,
    image_law,
    of_classes,
    of_numbers,
    of_pixels,
    open_task,
)
from molaugerino.training.callbacks import join_metrics
from molaugerino.training.checkpoint import SCHEMA, load_with, save_model
from molaugerino.training.evaluation import describe_law
from molaugerino.training.folder import SETTINGS, SPLITS
from molaugerino.training.module import TrainingModule
from molaugerino.training.objective import NormPrice
from molaugerino.training.processes import first_alone, is_first
from molaugerino.training.run import begin, fit, new_folder
from molaugerino.training.setup import budget_batches, make_objective, make_schedule
from molaugerino.vision import NETWORKS, make_network

BATCH = 256  # passes at once, in evaluation
REDUCE = {"classes": mean_probability, "pixels": in_view, "number": mean}
COPIES = (1, 4)  # beside --law.eval-copies


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


class ImageResult(NamedTuple):
    """Test scores of predictions from so many copies."""

    copies: int
    n: int
    scores: dict[str, float]


@dataclass(frozen=True)
class ImageRunData:
    """What a run trains on: the pictures of its task, and the rows that update weights."""

    task: TaskData
    train: np.ndarray

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def checksum(self) -> str:
        return self.task.checksum

    @property
    def packed(self) -> PackedImages:
        return self.task.packed

    @property
    def split(self) -> Split:
        return self.task.split

    @property
    def epoch(self) -> np.ndarray:
        return self.train


@dataclass(frozen=True)
class ImageRun:
    """A finished run: its folder, the law it found, its test scores."""

    folder: Path
    law: dict[str, Any]
    results: list[ImageResult]


def open_image_data(config: ImageConfig) -> ImageRunData:
    task = open_task(config.task, config.data, config.images, config.split_seed)
    split = task.split
    learned = config.augment == "learned"
    train = split.train if learned else np.sort(np.concatenate([split.train, split.budget]))
    return ImageRunData(task, train)


def refuse_unfit(config: ImageConfig) -> None:
    """A network that gives what the task asks for, and a law of its pictures; before any are drawn."""
    task, model = TASKS[config.task], network_of(config)
    if (NETWORKS[model].kind == "pixels") != (task.kind == "pixels"):
        wanted = "a class per pixel" if task.kind == "pixels" else "one answer per image"
        raise UserError(f"--task {config.task} asks for {wanted}, which {model} does not give; leave --model out")
    if ((config.law.kind or task.law) == "hue") != (task.law == "hue"):
        raise UserError(f"--task {config.task} cannot learn a law of kind {config.law.kind}; leave --law.kind out")


def network_of(config: ImageConfig) -> NetworkName:
    return config.model or ("unet" if TASKS[config.task].kind == "pixels" else "five-layer")


def make_image_card(config: ImageConfig, data: ImageRunData) -> ImageCard:
    task, x = TASKS[config.task], data.packed.x
    return ImageCard(
        task=config.task,
        model=network_of(config),
        width=config.width,
        channels=x.shape[1],
        size=(x.shape[2], x.shape[3]),
        classes=list(data.task.classes),
        augment=config.augment,
        kind=config.law.kind or task.law,
        law={},
        start=config.law.start,
        eval_copies=config.law.eval_copies,
        data=data.name,
        data_sha256=data.checksum,
        split_sha256=data.split.checksum,
    )


def build_images(card: ImageCard, share: float = 0.0) -> Augmented:
    """The untrained network and law that a card describes, the law at a share of its widest."""
    task = TASKS[card.task]
    network = make_network(card.model, card.channels, len(card.classes) or 1, card.width)
    if task.kind == "pixels":
        network = nn.Sequential(network, nn.Softmax(1))  # copies are averaged as probabilities
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


def make_image_module(config: ImageConfig, card: ImageCard, data: ImageRunData) -> TrainingModule:
    """Everything that is trained, at its start."""
    share = {"none": 0.0, "fixed": 1.0, "learned": card.start, "paper": 0.0}[card.augment]
    augmented = build_images(card, share)
    judged = measures_of(card, data.packed.y[torch.from_numpy(data.train)])
    objective, law = make_objective(config, judged.constant), config.law
    if card.augment == "paper":
        objective = NormPrice(paper.IMAGE_STRENGTH if law.strength is None else law.strength)
        augmented.copies, law = paper.IMAGE_COPIES, replace(law, every=1, lr=config.optim.lr)
    schedule = make_schedule(config, -(-len(data.train) // config.optim.batch))
    budget = budget_batches(data.split, data.packed, config.seed)
    return TrainingModule(
        augmented, objective, judged.loss, judged.metrics, budget, schedule, config.optim, law, config.seed
    )


def train_images(config: ImageConfig, console: Console | None = None, pause: float = math.inf) -> ImageRun | None:
    """Train a network of images with its law; with `config.resume`, go on where that run was interrupted.

    Args:
        config: the settings; of a resumed run, those in its folder.
        console: where progress is shown (default: standard error).
        pause: minutes after which the run is interrupted, to be resumed.

    Returns:
        The finished run, None where it was interrupted (its folder can be resumed).

    Raises:
        UserError: for data, settings or a folder that cannot be used.
    """
    console = begin(config, console)
    refuse_unfit(config)
    data = open_image_data(config)
    torch.manual_seed(config.seed)
    card = make_image_card(config, data)
    module = make_image_module(config, card, data)
    folder = config.resume or Path()
    if is_first() and config.resume is None:
        folder = new_folder(config.out, f"{config.task}-{config.augment}")  # last: a mistake leaves no folder
        save_split(data.split, folder / SPLITS, np.arange(len(data.packed)))
        write_atomic(folder / SETTINGS, to_toml(replace(settled(config), out=None, config=None)))
    if not fit(module, config, data, folder, console, 60 * pause, ()):
        console.print(f"interrupted; go on with: molaugerino train --resume {folder}", soft_wrap=True)
        return None
    return first_alone(lambda: conclude(module, data, card, folder))


def settled(config: ImageConfig) -> ImageConfig:
    """The settings as they hold from any folder."""
    there = config.data is not None and Path(config.data).exists()
    return replace(config, data=str(Path(cast(str, config.data)).resolve())) if there else config


def conclude(module: TrainingModule, data: ImageRunData, card: ImageCard, folder: Path) -> ImageRun:
    """Test the model, then save it: a run killed in between can be resumed."""
    augmented = module.result()
    verdict = "" if module.objective is None else module.objective.verdict
    law = describe_law(augmented.distribution, card.augment, verdict)
    results = evaluate_images(augmented, card, data.task)
    save_model(folder, augmented, replace(card, law=law))
    join_metrics(folder)
    return ImageRun(folder, law, results)


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
    augmented, card = load_image_model(folder)
    found = run_data(folder, card, data)
    return card, evaluate_images(augmented, card, found, None if copies is None else tuple(dict.fromkeys((1, copies))))


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
