"""Models of images, measured under what their task's law does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from molaugerino.augment import Augmented
from molaugerino.config import LawKind
from molaugerino.datasets.image_sets import IGNORED
from molaugerino.distributions import GroupDistribution
from molaugerino.equivariance import ImageView, fixed
from molaugerino.equivariance.layerwise import Draw
from molaugerino.groups import SO2, T2, Affine
from molaugerino.measure.report import EXAMPLES, Measurement, verdict
from molaugerino.measure.subject import (
    AT_ONCE,
    SEED,
    Nodes,
    Output,
    Subject,
    batch_size,
    curves,
    layer_scores,
    lie_rates,
    loss_shares,
    worst_cases,
)
from molaugerino.tasks import TASKS, Measures, TaskData, image_law
from molaugerino.tasks.laws import STRAIN, WIDEST
from molaugerino.training.evidence import load_evidence
from molaugerino.training.image_models import ImageCard, measures_of
from molaugerino.training.image_scores import evaluation_copies, open_run
from molaugerino.vision import NETWORKS

ELEMENTS = {False: 32, True: 16}  # of the loss share: for one pass, for averaged ones
POINTS = 7  # of the curve
NO_SHARE = "its labels change with whatever its law does, so none of its error is due to that alone"
NOUNS = {"rotation": "orientation", "translation": "position", "scale": "size", "affine": "pose", "hue": "hue"}


def measure_images(
    folder: Path, data: Sequence[str] = (), examples: int = EXAMPLES, layers: Sequence[str] = ()
) -> Measurement:
    """How much a model of images depends on what its task's law does; see `measure`."""
    run = open_run(folder, data)
    augmented, card, found = run.augmented, run.card, run.data
    measures = measures_of(card, found.packed.y[torch.from_numpy(found.split.train)])
    subject = subject_of(augmented, card, found, measures, examples)
    transforms, told = layer_transforms(card.kind, min(found.packed.x.shape[-2:]), NETWORKS[card.model].stride)
    scores, left_out = layer_scores(subject, transforms, tuple(layers))
    shares = loss_shares(subject)
    angles = extent(card.kind) == math.pi
    return Measurement(
        run=str(folder),
        network=card.model,
        augment=card.augment,
        examples=len(subject.names),
        transformations=f"the widest law of {card.kind}" + ("" if reach(card) == 1 else " that keeps the labels"),
        layers=scores,
        layer_transformations=told,
        paths=evidence.shares() if (evidence := load_evidence(folder)) else {},
        unmeasured=left_out,
        lie_derivative=lie_rates(subject),
        loss_share=shares,
        sizes=[math.degrees(size) if angles else size for size in subject.sizes.tolist()],
        size_unit="degree" if angles else "coordinate",
        angle_curve=curves(subject),
        worst_angle=worst_cases(subject),
        power={},
        frames=None,
        verdict=[verdict(shares, card.task, NOUNS[card.kind]) if shares else f"{card.task}: {NO_SHARE}"],
    )


def subject_of(augmented: Augmented, card: ImageCard, found: TaskData, measures: Measures, examples: int) -> Subject:
    """The model and random test images."""
    rows = np.random.default_rng(SEED).permutation(found.split.test)[:examples]
    augmented.at_once = AT_ONCE
    law, published = image_law(card.kind, reach(card) or 1.0), card.augment == "paper"
    averaged = card.augment != "none" and card.eval_copies > 1
    return Subject(
        augmented=augmented,
        own=evaluation_copies(augmented, card.eval_copies, published) if averaged else None,
        batches=list(found.packed.batches(rows, batch_size(len(rows)))),
        names=[str(row) for row in rows],
        outputs=[output_of(card, measures)],
        view=ImageView(TASKS[card.task].input),
        group=law.group,
        length="half side",
        widest=law,
        nodes={several: nodes_of(law, count) for several, count in ELEMENTS.items()} if reach(card) else None,
        sizes=torch.linspace(0, extent(card.kind), POINTS),
    )


def reach(card: ImageCard) -> float:
    """Share of the widest law that leaves the labels of a task alone; where nothing is known against it, all of it."""
    right = TASKS[card.task].right
    return 1.0 if right is None or card.kind != TASKS[card.task].law else right / extent(card.kind)


def extent(kind: LawKind) -> float:
    """The widest that the first coordinate of a kind of law can become: radians, halves of the side, or a logarithm."""
    return WIDEST.get(image_law(kind, 1.0).group.axes[0][0], STRAIN)


def nodes_of(law: GroupDistribution, count: int) -> Nodes:
    """The law at random noise for each example; of a single number, one in each of so many equal parts."""

    def nodes(examples: int, generator: torch.Generator) -> tuple[Affine, Tensor]:
        noise = torch.rand(count, examples, law.noise_dim, generator=generator)
        if law.noise_dim == 1:
            noise = (torch.arange(count).reshape(-1, 1, 1) + noise) / count
        return law.elements(noise.clamp_max(1 - torch.finfo(noise.dtype).eps)).detach(), torch.ones(count) / count

    return nodes


def layer_transforms(kind: LawKind, side: int, stride: int) -> tuple[list[Draw], str]:
    """For the layers: quarter turns, shifts by the stride; of others, draws, the same for all images."""
    if kind == "rotation":
        return fixed(SO2.exp(math.pi / 2 * torch.tensor([[1.0], [2.0], [3.0]]))), "the three quarter turns"
    if kind == "translation":
        step = 2 * stride / side
        ways = step * torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]])
        return fixed(T2.exp(ways)), f"three shifts by {stride} pixels"
    generator = torch.Generator().manual_seed(SEED)
    return fixed(image_law(kind, 0.5).sample((2,), generator).detach()), "two draws of a law half as wide as the widest"


def output_of(card: ImageCard, measures: Measures) -> Output:
    """The one answer of a task."""
    task = TASKS[card.task]
    losses = [("absolute error" if task.kind == "number" else "cross-entropy", "", measures.loss)]
    if task.kind == "number":
        losses = [("absolute error", task.unit, lambda p, y: (p - y).abs()[:, 0])]
        return Output(
            card.task, task.unit, same, difference, losses, lambda _p, rates, _y: rates.flatten(2).norm(dim=2)
        )
    if task.kind == "pixels":
        return Output(
            card.task, "of the probability", same, of_maps, [("cross-entropy", "", pixel_losses)], rate_of_maps
        )
    return Output(card.task, "of the probability", same, of_logits, losses, rate_of_logits)


def pixel_losses(values: Tensor, y: Tensor) -> Tensor:
    """-log p of the true class of each pixel, NaN where it has none or is not seen."""
    log_p = values.log_softmax(1).gather(1, y.clamp_min(0).unsqueeze(1)).squeeze(1)
    return torch.where(y == IGNORED, math.nan, -log_p)


def same(values: Tensor) -> Tensor:
    return values


def difference(values: Tensor, reference: Tensor) -> Tensor:
    return (values - reference).abs()[:, 0]


def of_logits(values: Tensor, reference: Tensor) -> Tensor:
    """Total variation 1/2 sum_c |p_c - q_c|."""
    return (values.softmax(1) - reference.softmax(1)).abs().sum(1) / 2


def of_maps(values: Tensor, reference: Tensor) -> Tensor:
    """Total variation, in the mean over the pixels that both see."""
    each = (values.softmax(1) - reference.softmax(1)).abs().sum(1) / 2
    return each.flatten(1).nanmean(1)


def rate_of_logits(values: Tensor, rates: Tensor, y: Tensor) -> Tensor:
    """Rate of the probability of the true class."""
    p = values.softmax(1)
    change = p * (rates - (p * rates).sum(2, keepdim=True))
    return change.gather(2, y.expand(len(rates), -1).unsqueeze(2))[..., 0]


def rate_of_maps(values: Tensor, rates: Tensor, y: Tensor) -> Tensor:
    """Root mean square rate of the probabilities over pixels and classes."""
    p = values.softmax(1)
    change = p * (rates - (p * rates).sum(2, keepdim=True))
    return change.flatten(2).square().mean(2).sqrt()
