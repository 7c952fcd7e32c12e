"""Pictures that are drawn at any angle, without interpolation, whose traces would tell a network that one was turned.

Shapes are given in the coordinates of molaugerino/spaces/raster.py: y up, the unit half of the shorter side, positive
angles counter-clockwise to the eye. A pixel is the mean over SAMPLES x SAMPLES points spread evenly on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from molaugerino.checks import check_range
from molaugerino.errors import UserError

SAMPLES = 4  # along each side of a pixel
REACH = 0.9  # no shape goes farther from the centre
SMALLEST = 8  # side in pixels
SMALLEST_SCENE = 24  # where the thinnest part of an icon is still a pixel wide
RADII = (0.26, 0.31)  # of shapes in a scene, so that one is between a quarter and a third of the side wide
TRIALS = 256  # arrangements of a scene that are drawn at once
MARGIN = 0.05  # what the channels of a coloured image keep from 0 and 1


@dataclass(frozen=True)
class Disc:
    """|u - (x, y)| <= radius."""

    x: float
    y: float
    radius: float

    def holds(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x - self.x) ** 2 + (y - self.y) ** 2 <= self.radius**2


@dataclass(frozen=True)
class Polygon:
    """The convex polygon with these corners (x, y), counter-clockwise: the points to the left of every edge."""

    corners: tuple[tuple[float, float], ...]

    def holds(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        inside = np.ones(np.broadcast(x, y).shape, bool)
        for (ax, ay), (bx, by) in zip(self.corners, self.corners[1:] + self.corners[:1], strict=True):
            inside &= (bx - ax) * (y - ay) >= (by - ay) * (x - ax)
        return inside


def _box(left: float, bottom: float, right: float, top: float) -> Polygon:
    return Polygon(((left, bottom), (right, bottom), (right, top), (left, top)))


Picture = tuple[tuple[Disc | Polygon, float], ...]  # shapes and their grey levels in (0, 1], later ones on top
ICONS: dict[str, Picture] = {
    "anchor": (  # a ring at the top, a stock that is longer on the left, one fluke with a barb and one without
        (_box(-0.12, -0.6, 0.12, 0.6), 0.6),
        (_box(-0.52, 0.2, 0.3, 0.42), 0.8),
        (Disc(0.0, 0.66, 0.22), 1.0),
        (Polygon(((-0.66, -0.3), (0.0, -0.84), (0.12, -0.6), (-0.48, -0.16))), 0.6),
        (Polygon(((0.0, -0.84), (0.56, -0.5), (0.42, -0.28), (-0.12, -0.6))), 0.6),
        (Polygon(((-0.74, -0.42), (-0.36, -0.12), (-0.68, 0.16))), 1.0),
    ),
    "boot": (  # the toe to the right, a bright cuff that falls to the back, a dark sole with a heel
        (_box(-0.44, -0.5, 0.06, 0.6), 0.7),
        (Polygon(((0.0, -0.56), (0.6, -0.56), (0.6, -0.24), (0.0, 0.04))), 0.7),
        (Disc(0.58, -0.38, 0.2), 0.7),
        (Polygon(((-0.54, 0.4), (0.14, 0.5), (0.14, 0.74), (-0.54, 0.64))), 1.0),
        (_box(-0.44, -0.66, 0.58, -0.5), 0.4),
        (_box(-0.44, -0.78, -0.16, -0.6), 0.4),
    ),
}
PLAIN: dict[str, Picture] = {
    "disc": ((Disc(0.0, 0.0, 0.8), 0.8),),
    "square": ((_box(-0.62, -0.62, 0.62, 0.62), 0.8),),
}
SHAPES = ICONS | PLAIN
KINDS = tuple(SHAPES)  # the labels of scenes are 1, 2, ... in this order, 0 the background
LABELS = ("background", *KINDS)
LABELS_BOTH_WAYS = (*LABELS, *(f"{icon} upside down" for icon in ICONS))  # those of scenes with `upside_down`


def draw(icon: str, angles: np.ndarray, side: int) -> np.ndarray:
    """(n, side, side) float32: the value at u is that of the upright icon at R(-angle) u.

    Args:
        icon: "anchor" or "boot", neither with any symmetry.
        angles: (n,) radians, counter-clockwise from upright.
        side: pixels.

    Returns:
        Grey levels in [0, 1] on a background of 0.

    Raises:
        UserError: for another icon, angles that are no finite list, or a side below 8.
    """
    if icon not in ICONS:
        raise UserError(f"no icon {icon!r}; give {' or '.join(ICONS)}")
    _check_whole("side", side, SMALLEST)
    if angles.ndim != 1 or not np.isfinite(angles).all():
        raise UserError(
            f"`angles` must be finite, of shape (n,) in radians, got shape {angles.shape}; give one a picture"
        )
    x, y = _points(side)
    images = np.empty((len(angles), side, side), np.float32)
    for image, angle in zip(images, angles.tolist(), strict=True):
        image[:] = _pixels(_painted(SHAPES[icon], *_turned(x, y, -angle)))
    return images


def scenes(n: int, side: int, seed: int, spread: float, upside_down: bool) -> tuple[np.ndarray, np.ndarray]:
    """Two to four icons, discs and squares apart from each other, each between a quarter and a third of the side wide.

    All lie in the circle that touches the edges, so that no turn of a scene takes a part of one out of view. Each is
    turned by its own angle, uniform in [-spread, spread] about upright or, every second time where asked for, about
    upside down. Kinds and places are uniform, too. Scene k does not depend on n.

    Args:
        n: scenes.
        side: pixels, 24 at least.
        seed: of numpy's default generator.
        spread: radians, 0 to pi.
        upside_down: whether half of them are about upside down, which gives such icons labels of their own.

    Returns:
        Images (n, 1, side, side) float32 in [0, 1], and labels (n, side, side) int64 as in `LABELS`, or in
        `LABELS_BOTH_WAYS` if `upside_down`: 0 background, 1 anchor, 2 boot, 3 disc, 4 square, 5 anchor and 6 boot
        upside down. A pixel is of the shape that covers at least half of it.

    Raises:
        UserError: for numbers outside of these ranges.
    """
    _check_whole("n", n, 1)
    _check_whole("side", side, SMALLEST_SCENE)
    _check_whole("seed", seed, 0)
    check_range("spread", spread, 0.0, math.pi, "radians", "pi is any angle")
    rng = np.random.default_rng(seed)
    images = np.zeros((n, 1, side, side), np.float32)
    labels = np.zeros((n, side, side), np.int64)
    for image, label in zip(images[:, 0], labels, strict=True):
        kinds = rng.integers(len(KINDS), size=rng.integers(2, 5))
        radii = rng.uniform(*RADII, size=len(kinds))
        places = _apart(rng, radii, 2 / side)
        angles = rng.uniform(-spread, spread, size=len(kinds))
        turned = rng.random(len(kinds)) < 0.5 if upside_down else np.zeros(len(kinds), bool)
        for kind, radius, place, angle, over in zip(kinds, radii, places, angles, turned, strict=True):
            number = 1 + int(kind) + (len(KINDS) if over and kind < len(ICONS) else 0)
            _place(image, label, KINDS[kind], number, place, radius / REACH, angle + math.pi * over)
    return images, labels


def hues(n: int, side: int, bands: int, half_width: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """c(u) = (1 - w(u)) g (1, 1, 1) + w(u) (g' (1, 1, 1) + s d(h)).

    One soft random blob w on grey g, of one hue h = 2 pi band / bands + U(-half_width, half_width): d(h) is the unit
    vector orthogonal to (1, 1, 1) at the angle h from that of red, towards green, as in molaugerino/groups/colours.py.
    The greys g, g' and the saturation s are random and keep every channel in [0.05, 0.95] whatever the hue, so turning
    it takes no image out of the range.

    Args:
        n: images.
        side: pixels, 8 at least.
        bands: equal steps on the circle of hues, 2 at least; band 0 is red.
        half_width: of the deviation, radians, 0 to pi; beyond pi / bands two bands overlap.
        seed: of numpy's default generator; image k does not depend on n.

    Returns:
        Images (n, 3, side, side) float32, and labels (n,) int64, the bands, each equally likely.

    Raises:
        UserError: for numbers outside of these ranges.
    """
    _check_whole("n", n, 1)
    _check_whole("side", side, SMALLEST)
    _check_whole("bands", bands, 2)
    _check_whole("seed", seed, 0)
    check_range("half_width", half_width, 0.0, math.pi, "radians", "pi is any hue")
    draws = np.random.default_rng(seed).random((n, 15))
    labels = np.floor(draws[:, 0] * bands).astype(np.int64)
    angles = 2 * math.pi * labels / bands + half_width * (2 * draws[:, 1] - 1)
    red, across = np.array([2, -1, -1]) / math.sqrt(6), np.array([0, 1, -1]) / math.sqrt(2)
    directions = np.cos(angles)[:, None] * red + np.sin(angles)[:, None] * across
    saturation = 0.2 + 0.15 * draws[:, 2]
    room = saturation * math.sqrt(2 / 3) + MARGIN  # between a grey and 0 or 1: no channel of d(h) is beyond sqrt(2/3)
    greys = MARGIN + (1 - 2 * MARGIN) * draws[:, 3]
    colours = (room + (1 - 2 * room) * draws[:, 4])[:, None] + saturation[:, None] * directions
    images = np.empty((n, 3, side, side), np.float32)
    for image, grey, colour, shape in zip(images, greys, colours, draws[:, 5:], strict=True):
        weight = _blob(shape, side)
        image[:] = grey + weight * (colour - grey)[:, None, None]
    return images, labels


def _check_whole(name: str, value: int, least: int) -> None:
    if value < least:
        raise UserError(f"`{name}` must be a whole number from {least} on, got {value}; raise it")


def _points(side: int) -> tuple[np.ndarray, np.ndarray]:
    """x (1, points) and y (points, 1) of the SAMPLES points per pixel along each side; y falls with the row."""
    line = (2 * np.arange(SAMPLES * side) + 1) / (SAMPLES * side) - 1
    return line[None, :], -line[:, None]


def _turned(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * x - sin * y, sin * x + cos * y


def _painted(picture: Picture, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The level at each point, 0 outside of all shapes."""
    levels = np.zeros(np.broadcast(x, y).shape)
    for shape, level in picture:
        levels[shape.holds(x, y)] = level
    return levels


def _pixels(points: np.ndarray) -> np.ndarray:
    height, width = points.shape
    return points.reshape(height // SAMPLES, SAMPLES, width // SAMPLES, SAMPLES).mean((1, 3))


def _apart(rng: np.random.Generator, radii: np.ndarray, gap: float) -> np.ndarray:
    """(shapes, 2) places, uniform among those where circles of these radii are `gap` apart, and inside the unit one."""
    first, second = np.triu_indices(len(radii), 1)
    while True:
        places = rng.uniform(-1, 1, (TRIALS, len(radii), 2)) * (1 - radii)[:, None]
        distance = np.linalg.norm(places[:, first] - places[:, second], axis=-1)
        good = (distance >= radii[first] + radii[second] + gap).all(1)
        good &= (np.linalg.norm(places, axis=-1) <= 1 - radii).all(1)
        if good.any():
            return places[good.argmax()]


def _place(
    image: np.ndarray, label: np.ndarray, kind: str, number: int, place: np.ndarray, scale: float, angle: float
) -> None:
    """Draw one shape into an image and its labels; only the pixels near it are looked at."""
    side = len(image)
    column, row = (side - 1) / 2 + side / 2 * place * (1, -1)
    reach = REACH * scale * side / 2 + 1
    columns, rows = (slice(max(0, math.floor(c - reach)), min(side, math.ceil(c + reach) + 1)) for c in (column, row))
    x, y = _points(side)
    x = x[:, columns.start * SAMPLES : columns.stop * SAMPLES] - place[0]
    y = y[rows.start * SAMPLES : rows.stop * SAMPLES] - place[1]
    levels = _painted(SHAPES[kind], *_turned(x / scale, y / scale, -angle))
    image[rows, columns] += _pixels(levels)
    label[rows, columns][_pixels(levels > 0) >= 0.5] = number


def _blob(draws: np.ndarray, side: int) -> np.ndarray:
    """(side, side) in [0, 1]: half at the distance r (1 + sum_k a_k cos(k t + p_k)), k = 2, 3, 4, at the angle t.

    Args:
        draws: (10,) uniform in [0, 1): radius, softness, place (2), amplitudes (3), phases (3).
        side: pixels.
    """
    radius, softness = 0.3 + 0.2 * draws[0], 0.02 + 0.05 * draws[1]
    line = (2 * np.arange(side) + 1) / side - 1
    x, y = line[None, :] - 0.6 * (draws[2] - 0.5), -line[:, None] - 0.6 * (draws[3] - 0.5)
    turn = np.arctan2(y, x)
    waves = sum(
        0.12 * amplitude * np.cos(k * turn + 2 * math.pi * phase)
        for k, amplitude, phase in zip((2, 3, 4), draws[4:7], draws[7:10], strict=True)
    )
    return 1 / (1 + np.exp((np.hypot(x, y) - radius * (1 + waves)) / softness))
