"""Losses and scores of the three kinds of labels: a class, a class per pixel, a number."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_jaccard_index

from molaugerino.datasets.image_sets import IGNORED

BINS = 15  # of the calibration error
LEAST = 1e-7  # probability, under a logarithm

Loss = Callable[[Tensor, Tensor], Tensor]
Scores = Callable[[Tensor, Tensor], dict[str, float]]
Metrics = Callable[[Tensor, Tensor], dict[str, Tensor]]


@dataclass(frozen=True)
class Measures:
    """How predictions are judged.

    Attributes:
        loss: (prediction, label) -> (examples,), dimensionless: what the weights are trained on.
        cost: the same, of what a law costs; not that of pixels.
        constant: cost of the best constant prediction on training labels.
        metrics: (prediction, label) -> name: (examples,), shown while training.
        scores: (predictions, labels) -> name: value, over a whole test set.
    """

    loss: Loss
    cost: Loss
    constant: float
    metrics: Metrics
    scores: Scores


def of_classes(y: Tensor, classes: int) -> Measures:
    """Cross-entropy of scores (examples, classes); accuracy, its mean (nll) and the calibration error.

    The calibration error is sum_b n_b / n |accuracy_b - confidence_b| over 15 equal bins of the confidence.

    Args:
        y: (n,) training labels.
        classes: how many there are.
    """

    def loss(prediction: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(prediction, label, reduction="none")

    def metrics(prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {"score/accuracy": (prediction.argmax(1) == label).float()}

    def scores(prediction: Tensor, label: Tensor) -> dict[str, float]:
        p = prediction.softmax(1)
        return {
            "accuracy": float((prediction.argmax(1) == label).double().mean()),
            "nll": float(loss(prediction, label).double().mean()),
            "calibration error": float(multiclass_calibration_error(p, label, classes, BINS)),
        }

    return Measures(loss, loss, entropy(y, classes), metrics, scores)


def of_pixels(y: Tensor, classes: int) -> Measures:
    """-log p at the true class, averaged over the pixels of an image that are seen and have a class.

    Predictions are scores (examples, classes, height, width), NaN where no copy sees the pixel. The mean IoU is
    that over the classes of the intersection over the union of all their pixels.

    Maps that are moved, and moved back, are interpolated twice, which blurs edges whatever the symmetry, and most
    pixels are background. So the cost of a law is another: -log of the probability of any class that lies in the 3 x 3
    pixels around, each class weighing the same.

    Args:
        y: (n, height, width) training labels, -100 where a pixel has none.
        classes: how many there are.
    """

    def judged(prediction: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """-log p of the true class, and where it counts, both (examples, height, width)."""
        seen = ~prediction.isnan().any(1)
        counts = (label != IGNORED) & seen
        log_p = torch.where(seen.unsqueeze(1), prediction, 0.0).log_softmax(1)
        return -log_p.gather(1, label.clamp_min(0).unsqueeze(1)).squeeze(1) * counts, counts

    def loss(prediction: Tensor, label: Tensor) -> Tensor:
        values, counts = judged(prediction, label)
        return values.sum((1, 2)) / counts.sum((1, 2)).clamp_min(1)

    def metrics(prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        _, counts = judged(prediction, label)
        right = (prediction.nan_to_num().argmax(1) == label) & counts
        return {"score/pixels right": right.sum((1, 2)) / counts.sum((1, 2)).clamp_min(1)}

    def scores(prediction: Tensor, label: Tensor) -> dict[str, float]:
        values, counts = judged(prediction, label)
        found, truth = prediction.nan_to_num().argmax(1)[counts], label[counts]
        return {
            "mean IoU": float(multiclass_jaccard_index(found, truth, classes)),
            "pixels right": float((found == truth).double().mean()),
            "nll": float(values[counts].double().mean()),
        }

    counts = torch.bincount(y[y != IGNORED], minlength=classes)
    present = counts > 0
    weights = torch.where(present, counts.sum() / (counts.clamp_min(1) * present.sum()), 0.0).float()

    def cost(prediction: Tensor, label: Tensor) -> Tensor:
        _, counts = judged(prediction, label)
        there = functional.one_hot(label.clamp_min(0), classes).permute(0, 3, 1, 2) * (label != IGNORED).unsqueeze(1)
        around = functional.max_pool2d(there.to(prediction), 3, stride=1, padding=1)
        p = (prediction.nan_to_num().softmax(1) * around).sum(1)
        values = -torch.where(counts, p, 1.0).clamp(LEAST, 1.0).log() * weights.to(p)[label.clamp_min(0)]
        return values.sum((1, 2)) / counts.sum((1, 2)).clamp_min(1)

    return Measures(loss, cost, math.log(int(present.sum())), metrics, scores)


def of_numbers(y: Tensor, unit: str) -> Measures:
    """|error| over the labels' standard deviation; root mean square and mean absolute error in the unit.

    Args:
        y: (n, 1) training labels.
        unit: of the labels.
    """
    spread = float(y.std())

    def loss(prediction: Tensor, label: Tensor) -> Tensor:
        return (prediction - label).abs()[:, 0] / spread

    def metrics(prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        return {f"score/error[{unit}]": (prediction - label).abs()[:, 0]}

    def scores(prediction: Tensor, label: Tensor) -> dict[str, float]:
        error = (prediction - label).double()
        return {f"rmse[{unit}]": float(error.square().mean().sqrt()), f"mae[{unit}]": float(error.abs().mean())}

    return Measures(loss, loss, float(loss(y.median(0).values.expand_as(y), y).mean()), metrics, scores)


def entropy(labels: Tensor, classes: int) -> float:
    """-sum_k p_k log p_k of the frequencies: the cross-entropy of the best constant."""
    p = torch.bincount(labels.flatten(), minlength=classes).double()
    p = p / p.sum()
    return float(-(p * p.clamp_min(1e-300).log()).sum())
