"""Pictures of what a model of images has learned: its law, its answers as images turn, maps when averaged."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molaugerino.augment import Augmented
from molaugerino.groups import SO2, Affine
from molaugerino.tasks import TASKS, TaskData
from molaugerino.training.image_models import ImageCard
from molaugerino.training.image_scores import evaluation_copies

AROUND = 12  # copies on the ring
STEPS = 73  # angles of the curve
SHOWN = 4  # images whose curves or maps are drawn
COLOURS = "tab10"


def draw_law(augmented: Augmented, card: ImageCard, data: TaskData, path: str | Path) -> None:
    """One page: an image under the law, and what the model says as images are turned, single pass beside average.

    Args:
        augmented: network and law.
        card: what they are.
        data: its test images are shown.
        path: of a .png, .svg or .pdf file.
    """
    from matplotlib.figure import Figure

    rows = data.split.test[:SHOWN]
    x, y = data.packed.x[rows], data.packed.y[rows]
    figure = Figure(figsize=(11, 4.2 if card.kind != "rotation" or TASKS[card.task].kind != "pixels" else 6.4))
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.5))
    ring(left, augmented, card, x[0])
    kind = TASKS[card.task].kind
    if kind == "pixels":
        maps(right, augmented, card, x, y)
    elif card.kind == "rotation":
        curves(right, augmented, card, x, y)
    figure.savefig(path, dpi=130)


def ring(figure: Any, augmented: Augmented, card: ImageCard, image: Tensor) -> None:
    """The image under elements spread evenly over the law, in their order; rotations with their angles in degrees."""
    law = augmented.distribution
    noise = torch.full((AROUND, law.noise_dim), 0.5)
    noise[:, noise_of(card)] = (torch.arange(AROUND) + 0.5) / AROUND
    with torch.no_grad():
        g = law.elements(noise)
        moved = augmented.input.act(g, image.expand(AROUND, *image.shape), None)
    line = next(iter(law.describe()))
    figure.suptitle(f"{card.task}: {line.name} up to {line.width:.3g} {line.unit}")
    order = SO2.log(g)[:, 0].argsort() if card.kind == "rotation" else torch.arange(AROUND)
    for place, k in enumerate(order.tolist()):
        angle = math.pi * (2 * (place + 0.5) / AROUND - 1)  # the least transformed on top
        middle = 0.5 + 0.38 * math.sin(-angle), 0.43 + 0.36 * math.cos(angle)
        axes = figure.add_axes((middle[0] - 0.075, middle[1] - 0.085, 0.15, 0.17))
        show(axes, moved[k])
        if card.kind == "rotation":
            axes.set_title(f"{math.degrees(float(SO2.log(g[k])[0])):.0f}", fontsize=7, pad=1)
    show(figure.add_axes((0.38, 0.29, 0.24, 0.28)), image)


def noise_of(card: ImageCard) -> int:
    """The coordinate of the law's noise that is shown: the rotation of all affine maps, else the first."""
    return 2 if card.kind == "affine" else 0


def curves(figure: Any, augmented: Augmented, card: ImageCard, x: Tensor, y: Tensor) -> None:
    """The probability of the true class, or the number, against the angle by which the image is turned."""
    axes = figure.subplots()
    angles = torch.linspace(-math.pi, math.pi, STEPS)
    for k in range(len(x)):
        colour = f"C{k}"
        for elements, style in ((augmented.identity(), ":"), (evaluation_copies(augmented, card.eval_copies), "-")):
            values = answers_when_turned(augmented, card, x[k], y[k], angles, elements)
            label = f"{card.classes[int(y[k])] if card.classes else f'{float(y[k]):.2f} rad'}" if style == "-" else None
            axes.plot(torch.rad2deg(angles), values, style, color=colour, label=label)
    axes.set(xlabel="turned by, degree (dotted: one pass, line: averaged over the law)", xticks=range(-180, 181, 45))
    axes.set_ylabel("probability of the class" if card.classes else "predicted, rad")
    axes.legend(frameon=False, fontsize=8)
    figure.subplots_adjust(left=0.12, bottom=0.16, right=0.97, top=0.92)


@torch.no_grad()
def answers_when_turned(
    augmented: Augmented, card: ImageCard, image: Tensor, label: Tensor, angles: Tensor, elements: Affine
) -> Tensor:
    """(angles,) the probability of the image's class, or the number, averaged over the elements."""
    turned = augmented.input.act(SO2.exp(angles.unsqueeze(1)), image.expand(len(angles), *image.shape), None)
    said = augmented.reduce(augmented.each(turned, elements))
    return said.softmax(1)[:, int(label)] if card.classes else said[:, 0]


@torch.no_grad()
def maps(figure: Any, augmented: Augmented, card: ImageCard, x: Tensor, y: Tensor) -> None:
    """Images as they stand, true classes, one pass, and the average over the law."""
    from matplotlib import colormaps

    palette = colormaps[COLOURS]
    single = augmented.reduce(augmented.each(x, augmented.identity())).argmax(1)
    averaged = augmented.reduce(augmented.each(x, evaluation_copies(augmented, card.eval_copies))).argmax(1)
    columns = ("image", "classes", "one pass", "averaged")
    axes = figure.subplots(len(x), len(columns))
    for k in range(len(x)):
        show(axes[k][0], x[k])
        for place, labels in zip(axes[k][1:], (y[k], single[k], averaged[k]), strict=True):
            place.imshow(np.asarray(palette(labels.clamp_min(0).numpy())))
            place.set_axis_off()
    for place, title in zip(axes[0], columns, strict=True):
        place.set_title(title, fontsize=9)


def show(axes: Any, image: Tensor) -> None:
    """An image (channels, height, width), grey or in colour."""
    values = image.clamp(0, 1).permute(1, 2, 0).numpy()
    axes.imshow(values if values.shape[2] == 3 else values[..., 0], cmap="gray", vmin=0, vmax=1)
    axes.set_axis_off()
