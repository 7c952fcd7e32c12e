"""The image tasks: what is drawn or turned, which law is learned, which extent is right."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from molaugerino.config import LawKind, TaskName
from molaugerino.datasets.icons import draw, hues, scenes
from molaugerino.datasets.image_sets import ImageSet
from molaugerino.datasets.images import open_images
from molaugerino.errors import UserError
from molaugerino.groups import SO2, T2, Affine, Scale
from molaugerino.spaces import Action, Colour, Image, InputSpace, Invariant, Mask
from molaugerino.tasks.data import PackedImages, TaskData, image_split

Kind = Literal["classes", "pixels", "number"]
MOVED = 512  # pictures at once
DRAWN = 6000  # pictures, unless another number is asked for
SIDE, SCENE = 24, 48  # pixels of pictures that are drawn
ENLARGED = 2  # factor on pictures smaller than this side
SMALL = 14
QUARTERED = 32  # pixels of a picture with a digit in one of its quarters
MARGIN = 0.25  # of the side, on each side of a digit that is shifted
ICONS = ("anchor", "boot")
SPREAD = math.pi / 4
BANDS, BAND = 3, 0.4  # of hue, and their half-width in radians


@dataclass(frozen=True)
class Pictures:
    """x (n, channels, height, width) float in [0, 1], their labels, names of classes, rows that are for training."""

    x: Tensor
    y: Tensor
    classes: tuple[str, ...] = ()
    trained: int | None = None


@dataclass(frozen=True)
class ImageTask:
    """One task.

    Attributes:
        kind: of its labels.
        law: what is learned of.
        make: (pictures to take or draw, seed) -> pictures; those of others come as their set.
        takes: whether it takes pictures of others, or draws its own.
        right: the half-width of the law that is right, radians or 0, where it is known and not the widest.
        unit: of a number.
    """

    kind: Kind
    law: LawKind
    make: Callable[..., Pictures]
    takes: bool = False
    right: float | None = None
    unit: str = ""

    @property
    def input(self) -> InputSpace[Tensor]:
        """rho_in."""
        return Colour() if self.law == "hue" else Image()

    @property
    def output(self) -> Action[Tensor]:
        """rho_out: a map of the pixels moves with the image, everything else stays."""
        return Mask() if self.kind == "pixels" else Invariant()


def as_pictures(source: ImageSet) -> Pictures:
    """The pictures of a set in [0, 1]; small ones are enlarged."""
    if source.labels.ndim > 1:
        raise UserError(f"{source.name} has a class per pixel, and this task needs one per image; give other --data")
    x = torch.from_numpy(source.images).float() / 255
    if min(x.shape[-2:]) < SMALL:
        x = functional.interpolate(x, scale_factor=ENLARGED, mode="bicubic").clamp(0, 1)
        x = functional.pad(x, [ENLARGED] * 4)
    return Pictures(x, torch.from_numpy(source.labels), source.classes, source.trained)


def moved(pictures: Pictures, elements: Affine) -> Pictures:
    """Each picture under its own map."""
    parts = (slice(k, k + MOVED) for k in range(0, len(pictures.x), MOVED))
    x = torch.cat([Image("bicubic").act(elements[part], pictures.x[part], None) for part in parts])
    return Pictures(x.clamp(0, 1), pictures.y, pictures.classes, pictures.trained)


def uniform(n: int, dim: int, half_width: float, seed: int) -> Tensor:
    """(n, dim) numbers in [-half_width, half_width]."""
    generator = torch.Generator().manual_seed(seed)
    return half_width * (2 * torch.rand(n, dim, generator=generator) - 1)


def _rotated(source: ImageSet, seed: int) -> Pictures:
    pictures = as_pictures(source)
    return moved(pictures, SO2.exp(uniform(len(pictures.x), 1, math.pi, seed)))


def _translated(source: ImageSet, seed: int) -> Pictures:
    pictures = as_pictures(source)
    margin = round(MARGIN * pictures.x.shape[-1])
    wide = Pictures(functional.pad(pictures.x, [margin] * 4), pictures.y, pictures.classes, pictures.trained)
    reach = 2 * margin / min(wide.x.shape[-2:])
    return moved(wide, T2.exp(uniform(len(wide.x), 2, reach, seed)))


def _scaled(source: ImageSet, seed: int) -> Pictures:
    pictures = as_pictures(source)
    return moved(pictures, Scale(2).exp(uniform(len(pictures.x), 1, 0.25, seed) - 0.25))


def _quartered(source: ImageSet, seed: int, aware: bool) -> Pictures:
    """Each picture in a random quarter of a canvas of twice its size, which is then brought to 32 x 32."""
    pictures = as_pictures(source)
    height, width = pictures.x.shape[-2:]
    quarters = torch.from_numpy(np.random.default_rng(seed).integers(4, size=len(pictures.x)))
    parts = []
    for x, quarter in zip(torch.split(pictures.x, MOVED), torch.split(quarters, MOVED), strict=True):
        canvas = x.new_zeros(len(x), x.shape[1], 2, height, 2, width)
        canvas[torch.arange(len(x)), :, quarter // 2, :, quarter % 2] = x
        whole = canvas.reshape(len(x), x.shape[1], 2 * height, 2 * width)
        parts.append(functional.interpolate(whole, (QUARTERED, QUARTERED), mode="bilinear", antialias=True))
    x = torch.cat(parts)
    if not aware:
        return Pictures(x, pictures.y, pictures.classes, pictures.trained)
    places = ("top left", "top right", "bottom left", "bottom right")
    names = tuple(f"{name} {place}" for name in pictures.classes for place in places)
    return Pictures(x, 4 * pictures.y + quarters, names, pictures.trained)


def icons(angles: np.ndarray, which: np.ndarray) -> Tensor:
    """(n, 1, side, side) each of the two icons at its angle."""
    x = np.zeros((len(angles), SIDE, SIDE), np.float32)
    for k, name in enumerate(ICONS):
        x[which == k] = draw(name, angles[which == k], SIDE)
    return torch.from_numpy(x).unsqueeze(1)


def _two_icons(n: int, seed: int) -> Pictures:
    rng = np.random.default_rng(seed)
    which, down = rng.integers(2, size=(2, n))
    x = icons(rng.uniform(-SPREAD, SPREAD, n) + math.pi * down, which)
    names = tuple(f"{icon} {place}" for place in ("upright", "upside-down") for icon in ICONS)
    return Pictures(x, torch.from_numpy(2 * down + which), names)


def _touching_ranges(n: int, seed: int) -> Pictures:
    rng = np.random.default_rng(seed)
    angles = rng.uniform(0, 2 * math.pi, n)
    x = icons(angles, rng.integers(2, size=n))
    return Pictures(x, torch.from_numpy((angles // (math.pi / 2)).astype(np.int64)), ("right", "up", "left", "down"))


def _angle(n: int, seed: int) -> Pictures:
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-math.pi / 2, math.pi / 2, n)
    return Pictures(icons(angles, rng.integers(2, size=n)), torch.from_numpy(angles).float().unsqueeze(1))


def _segment(n: int, seed: int, upside_down: bool) -> Pictures:
    x, y = scenes(n, SCENE, seed, SPREAD, True)
    labels = torch.from_numpy(y)
    names = ("background", *ICONS, "disc", "square", *(f"{icon} upside-down" for icon in ICONS))
    if not upside_down:  # the same pictures, orientation ignored
        labels, names = torch.where(labels > 4, labels - 4, labels), names[:5]
    return Pictures(torch.from_numpy(x), labels, names)


def _hue(n: int, seed: int) -> Pictures:
    x, y = hues(n, SIDE, BANDS, BAND, seed)
    return Pictures(torch.from_numpy(x), torch.from_numpy(y), tuple(f"band {k}" for k in range(BANDS)))


TASKS: dict[TaskName, ImageTask] = {
    "rotmnist": ImageTask("classes", "rotation", _rotated, takes=True),
    "upright": ImageTask("classes", "rotation", lambda source, seed: as_pictures(source), takes=True),
    "two-icons": ImageTask("classes", "rotation", _two_icons, right=math.pi / 2 - SPREAD),
    "touching-ranges": ImageTask("classes", "rotation", _touching_ranges, right=0.0),
    "angle": ImageTask("number", "rotation", _angle, right=0.0, unit="rad"),
    "translated": ImageTask("classes", "translation", _translated, takes=True),
    "scaled": ImageTask("classes", "scale", _scaled, takes=True),
    "segment": ImageTask("pixels", "rotation", lambda n, seed: _segment(n, seed, True), right=math.pi / 2 - SPREAD),
    "segment-free": ImageTask("pixels", "rotation", lambda n, seed: _segment(n, seed, False)),
    "quadrant-blind": ImageTask(
        "classes", "translation", lambda source, seed: _quartered(source, seed, False), takes=True
    ),
    "quadrant-aware": ImageTask(
        "classes", "translation", lambda source, seed: _quartered(source, seed, True), takes=True, right=0.0
    ),
    "hue": ImageTask("classes", "hue", _hue, right=math.pi / BANDS - BAND),
}


def open_task(name: TaskName, data: str | None = None, images: int | None = None, seed: int = 0) -> TaskData:
    """The pictures of a task, with their labels, split.

    Args:
        name: of the task.
        data: pictures of others, as `open_images` takes them, for the tasks that take some; None takes digits.
        images: how many to draw, or to take at most.
        seed: of what is drawn, of how pictures of others are moved, and of the split.

    Raises:
        UserError: for data that a task cannot use.
    """
    task = TASKS[name]
    facts: dict[str, Any] = {"task": name, "seed": seed, "images": images}
    if task.takes:
        source = open_images(data or "digits")
        if images is not None and images < len(source):
            source = source.subset(np.sort(np.random.default_rng(seed).permutation(len(source))[:images]))
        pictures, title = task.make(source, seed), source.name
        facts["source"] = source.checksum
    else:
        if data is not None:
            raise UserError(f"--task {name} draws its own pictures, got --data {data}; leave it out")
        pictures, title = task.make(images or DRAWN, seed), f"{name}, drawn"
    checksum = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    split = image_split(len(pictures.x), pictures.trained, seed)
    return TaskData(title, checksum, PackedImages(pictures.x, pictures.y), split, pictures.classes)
