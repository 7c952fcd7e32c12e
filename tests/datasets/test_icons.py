"""Drawn icons: sense of rotation, no symmetry; scenes whose labels agree with their images; blobs of known hue."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from molaugerino.datasets.icons import ICONS, KINDS, LABELS, LABELS_BOTH_WAYS, RADII, REACH, draw, hues, scenes
from molaugerino.errors import UserError
from molaugerino.groups import SO2
from molaugerino.groups.colours import colours
from molaugerino.spaces.raster import centres

SIDE = 40
ROUND = np.linspace(0, 2 * math.pi, 72, endpoint=False)  # steps of 5 degrees


def difference(a, b):
    """Root of the mean square, over that of the first."""
    return float(np.sqrt(((a - b) ** 2).mean((-2, -1)) / (a**2).mean()).min())


@pytest.mark.parametrize("icon", ICONS)
class TestDraw:
    @pytest.mark.parametrize("angle", [0.3, 1.9, -2.5])
    def test_positive_is_counter_clockwise(self, icon, angle):
        upright, turned = draw(icon, np.array([0.0, angle]), SIDE)
        # scipy's positive angle takes the second axis, to the right, towards the first reversed, up
        same = ndimage.rotate(upright, math.degrees(angle), reshape=False, order=1)
        other_way = ndimage.rotate(upright, -math.degrees(angle), reshape=False, order=1)
        assert difference(turned, same) < 0.2 < 0.5 < difference(turned, other_way)

    def test_a_quarter_turn_is_exact(self, icon):
        upright, left, over, right = draw(icon, np.arange(4) * math.pi / 2, SIDE)
        for k, picture in enumerate((left, over, right), 1):
            assert np.abs(picture - np.rot90(upright, k)).max() <= 1 / 16 + 1e-6  # one point of 16, on an edge

    def test_coordinates_are_those_of_images_here(self, icon):
        """What moves under SO(2) acting on `centres`: the grey level's centroid."""
        angles = np.array([0.0, 0.8, 4.0])
        weights = torch.as_tensor(draw(icon, angles, SIDE)).double()
        points = centres(SIDE, SIDE, weights)
        means = (weights[..., None] * points).sum((1, 2)) / weights.sum((1, 2))[:, None]
        turned = SO2().exp(torch.as_tensor(angles)[:, None])(means[:1].expand(3, 1, 2))[:, 0]
        assert means[0].norm() > 0.03
        assert torch.allclose(means, turned, atol=2e-3)

    def test_no_rotation_and_no_mirror_image_looks_alike(self, icon):
        pictures = draw(icon, ROUND, SIDE)
        others = [difference(pictures[0], picture) for picture in pictures[3:-2]]  # 15 degrees and more
        assert min(others) > 0.4
        assert difference(pictures[0], pictures[36]) > 0.6  # upside down
        assert difference(pictures[0, :, ::-1], pictures) > 0.3
        assert difference(pictures[0, :, ::-1], pictures[:, :, ::-1]) == 0

    def test_range_and_reach(self, icon):
        pictures = draw(icon, ROUND[::9], 64)
        radius = centres(64, 64, torch.zeros(1)).norm(dim=-1).numpy()
        assert pictures.dtype == np.float32
        assert pictures.min() == 0
        assert 0.99 < pictures.max() <= 1
        assert (pictures[:, radius > REACH + 2 / 64] == 0).all()
        assert pictures[:, radius > 0.6].max() > 0.5

    def test_a_pixel_is_the_mean_over_its_points(self, icon):
        fine, coarse = draw(icon, np.array([0.7]), 64)[0], draw(icon, np.array([0.7]), 16)[0]
        assert np.abs(fine.reshape(16, 4, 16, 4).mean((1, 3)) - coarse).max() < 0.1
        assert np.allclose(16 * 10 * coarse, np.rint(16 * 10 * coarse), atol=1e-3)  # sixteenths of levels in tenths


def test_icons_differ():
    anchor, boot = (draw(icon, ROUND, SIDE) for icon in ("anchor", "boot"))
    assert difference(anchor[0], boot) > 0.4


def pieces(images, labels, number):
    """Cut-outs of the shapes with a label, grey levels on 0."""
    for image, label in zip(images[:, 0], labels, strict=True):
        found, count = ndimage.label(image > 0, np.ones((3, 3)))
        for box, k in zip(ndimage.find_objects(found), range(1, count + 1), strict=True):
            if label[found == k].max() == number:
                yield np.where(found == k, image, 0)[box]


def match(piece, icon, angles):
    """Best correlation, 1 for equal ones, of a piece with drawings of every size and place that may be."""
    best = 0.0
    spectrum = np.fft.fft2(piece, (48, 48))
    for side in range(13, 19):  # twice RADII / REACH of 24 pixels
        for picture in draw(icon, angles, side):
            overlap = np.fft.ifft2(spectrum * np.fft.fft2(picture, (48, 48)).conj()).real.max()
            best = max(best, overlap / np.linalg.norm(piece) / np.linalg.norm(picture))
    return best


@pytest.fixture(scope="module")
def both_ways():
    return scenes(60, 48, 3, 0.3, True)


class TestScenes:
    def test_shapes_and_ranges(self, both_ways):
        images, labels = both_ways
        assert (images.shape, images.dtype) == ((60, 1, 48, 48), np.float32)
        assert (labels.shape, labels.dtype) == ((60, 48, 48), np.int64)
        assert images.min() == 0
        assert 0.99 < images.max() <= 1
        assert set(np.unique(labels)) == set(range(len(LABELS_BOTH_WAYS)))

    def test_seed(self, both_ways):
        again = scenes(7, 48, 3, 0.3, True)
        assert all(np.array_equal(a, b[:7]) for a, b in zip(again, both_ways, strict=True))
        assert not np.array_equal(scenes(7, 48, 4, 0.3, True)[1], again[1])

    def test_two_to_four_shapes_apart_and_of_one_label_each(self, both_ways):
        counts = set()
        for image, label in zip(both_ways[0][:, 0], both_ways[1], strict=True):
            pieces, count = ndimage.label(image > 0, np.ones((3, 3)))
            counts.add(count)
            for k in range(1, count + 1):
                assert len(np.unique(label[(pieces == k) & (label > 0)])) == 1
                rows, columns = np.nonzero(pieces == k)
                assert max(np.ptp(rows), np.ptp(columns)) + 1 <= 2 * RADII[1] * 24 + 2  # whole, within its circle
        assert counts == {2, 3, 4}

    def test_no_turn_takes_a_shape_out_of_view(self, both_ways):
        images, labels = both_ways
        line = np.arange(48) - 23.5
        outside = np.hypot(*np.meshgrid(line, line)) > 24.5
        assert images[:, 0, outside].max() == 0
        assert labels[:, outside].max() == 0

    def test_labels_are_where_shapes_cover_half(self, both_ways):
        """Discs and squares have one grey level, 0.8: its half is where the label begins."""
        images, labels = both_ways[0][:, 0], both_ways[1]
        for image, label in zip(images, labels, strict=True):
            pieces, count = ndimage.label(image > 0, np.ones((3, 3)))
            for k in range(1, count + 1):
                piece = pieces == k
                if label[piece].max() in (3, 4):
                    assert ((image[piece] >= 0.4 - 1e-6) == (label[piece] > 0)).all()
        assert (labels[images == 0] == 0).all()
        assert (labels[images > 0.81] > 0).mean() > 0.9

    @pytest.mark.parametrize(
        ("number", "icon", "over"), [(1, "anchor", 0), (2, "boot", 0), (5, "anchor", 1), (6, "boot", 1)]
    )
    def test_the_right_icon_is_there(self, both_ways, number, icon, over):
        """What is labelled as an icon is that icon at some angle of its range, and nothing else."""
        angles = np.linspace(-0.3, 0.3, 13) + math.pi * over
        other = "boot" if icon == "anchor" else "anchor"
        for piece in list(pieces(*both_ways, number))[:3]:
            right = match(piece, icon, angles)
            assert right > 0.93
            assert right > match(piece, icon, angles + math.pi) + 0.1
            assert right > match(piece, other, angles) + 0.1

    def test_upright_only(self):
        images, labels = scenes(20, 32, 0, 0.0, False)
        assert set(np.unique(labels)) == set(range(len(LABELS)))
        squares = next(pieces(images, labels, 1 + KINDS.index("square")))
        full = squares > 0.79
        assert full[full.any(1)][:, full.any(0)].all()  # not turned: all rows of one length

    def test_every_angle_of_the_range(self):
        """Squares at up to 0.7 radians have corners far out of their bounding box's."""
        images, labels = scenes(20, 32, 0, 0.7, False)
        turned = [piece > 0.79 for piece in pieces(images, labels, 1 + KINDS.index("square"))]
        fill = [full[full.any(1)][:, full.any(0)].mean() for full in turned]
        assert min(fill) < 0.7 < 0.9 < max(fill)


class TestHues:
    @staticmethod
    def angles(images):
        """Hue of the pixel farthest from grey, and how far any clearly coloured one is from it, radians."""
        basis = np.array([[2, -1, -1], [0, 3, -3]]) / np.array([[math.sqrt(6)], [math.sqrt(18)]])
        red, across = np.einsum("kc,nchw->knhw", basis, images.astype(np.float64)).reshape(2, len(images), -1)
        saturation = np.hypot(red, across)
        rows, best = np.arange(len(images)), saturation.argmax(1)
        hue = np.arctan2(across, red)
        apart = np.abs(wrapped(hue - hue[rows, best][:, None]))
        assert (saturation[rows, best] > 0.15).all()
        return hue[rows, best], np.where(saturation > 0.05, apart, 0).max()

    def test_hue_and_label(self):
        images, labels = hues(80, 24, 5, 0.3, 1)
        hue, apart = self.angles(images)
        deviation = wrapped(hue - 2 * math.pi * labels / 5)
        assert apart < 1e-3
        assert np.abs(deviation).max() < 0.3 + 1e-3
        assert deviation.min() < -0.25
        assert deviation.max() > 0.25
        assert set(labels) == set(range(5))

    def test_no_deviation(self):
        images, labels = hues(40, 24, 6, 0.0, 2)
        hue, _ = self.angles(images)
        assert np.abs(wrapped(hue - 2 * math.pi * labels / 6)).max() < 1e-3
        red = images[labels == 0]
        assert (red[:, 0] >= red[:, 1] - 1e-6).all()
        assert np.allclose(red[:, 1], red[:, 2], atol=1e-6)

    def test_turning_the_hue_moves_it_and_stays_in_range(self):
        images, _ = hues(40, 16, 4, 0.2, 3)
        before, _ = self.angles(images)
        for angle in np.linspace(0.4, 6, 8):
            turn = colours().exp(torch.tensor([0, 0, 0, angle], dtype=torch.float64))
            moved = turn(torch.as_tensor(images).double().movedim(1, -1).reshape(-1, 3)).reshape(40, 16, 16, 3)
            moved = moved.movedim(-1, 1).numpy()
            assert moved.min() >= 0.05 - 1e-6
            assert moved.max() <= 0.95 + 1e-6
            assert np.abs(wrapped(self.angles(moved)[0] - before - angle)).max() < 1e-3

    def test_one_blob_on_grey(self):
        images, _ = hues(30, 32, 3, 0.1, 4)
        coloured = np.ptp(images, axis=1) > 0.03
        for image, piece in zip(images, coloured, strict=True):
            assert ndimage.label(piece)[1] == 1
            assert 0.03 < piece.mean() < 0.6
            corners = image[:, [0, 0, -1, -1], [0, -1, 0, -1]]
            assert np.ptp(corners) < 0.03
        soft = np.ptp(images, axis=1) / np.ptp(images, axis=1).max((1, 2), keepdims=True)
        assert ((soft > 0.2) & (soft < 0.8)).any((1, 2)).all()

    def test_form_and_seed(self):
        images, labels = hues(9, 16, 3, 0.1, 5)
        assert (images.dtype, images.shape, labels.dtype) == (np.float32, (9, 3, 16, 16), np.int64)
        assert all(np.array_equal(a[:4], b) for a, b in zip((images, labels), hues(4, 16, 3, 0.1, 5), strict=True))
        assert not np.array_equal(images, hues(9, 16, 3, 0.1, 6)[0])


def wrapped(angle):
    return (angle + math.pi) % (2 * math.pi) - math.pi


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: draw("duck", np.zeros(1), 16), "no icon 'duck'; give anchor or boot"),
        (lambda: draw("boot", np.zeros(1), 7), "`side` must be a whole number from 8 on, got 7"),
        (lambda: draw("boot", np.zeros((1, 1)), 16), r"`angles` must be finite, of shape \(n,\) .* got shape \(1, 1\)"),
        (lambda: draw("boot", np.array([np.nan]), 16), "`angles` must be finite"),
        (lambda: scenes(0, 32, 0, 0.1, True), "`n` must be a whole number from 1 on, got 0"),
        (lambda: scenes(1, 16, 0, 0.1, True), "`side` must be a whole number from 24 on, got 16"),
        (lambda: scenes(1, 32, 0, 4.0, True), r"`spread` must lie in \[0, 3.14159\] radians, got 4"),
        (lambda: scenes(1, 32, -1, 0.1, True), "`seed` must be a whole number from 0 on, got -1"),
        (lambda: hues(0, 16, 3, 0.1, 0), "`n` must be"),
        (lambda: hues(1, 4, 3, 0.1, 0), "`side` must be"),
        (lambda: hues(1, 16, 1, 0.1, 0), "`bands` must be a whole number from 2 on, got 1"),
        (lambda: hues(1, 16, 3, -0.1, 0), "`half_width` must lie in"),
        (lambda: hues(1, 16, 3, 0.1, -1), "`seed` must be"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
