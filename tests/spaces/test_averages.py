"""Averages over images through the one formula, and deliberate faults that the checks must catch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from molaugerino import Augmented
from molaugerino.distributions import AlgebraUniform, Finite
from molaugerino.groups import SE2, T2, Affine, aff2
from molaugerino.reductions import in_view, mean_probability
from molaugerino.spaces import Image, Mask, image, mask, raster
from tests.oracles import centres_of_mass, pixels, rendered_dots, square_symmetries, table_of

D4 = square_symmetries()
FLAT = torch.tensor([k for k in range(8) if D4.linear[k, 0, 1] == 0])  # half turn and mirrors
RIGID = SE2.exp(torch.tensor([[0.4, 0.2, -0.1], [-0.7, 0.0, 0.3]], dtype=torch.float64))


def pictures(*shape):
    return torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def segmenting():
    """Scores of four classes for every pixel, by a network that knows left from right and up from down."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Tanh(), nn.Conv2d(5, 4, 3, padding=1)).double()


def classifying():
    """Logits of four classes."""
    torch.manual_seed(0)
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(45, 4))
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Tanh(), pooled).double()


def wrapped(net, output=None, law=None, **options):
    law = Finite(aff2(), D4, name="symmetries of the square") if law is None else law
    return Augmented(net, law.double(), Image(), output, **options)


def segmenter(**options):
    return wrapped(segmenting(), Mask(), reduce=in_view, **options)


def every(group, x):
    """Each element with each picture, as one batch."""
    [n] = group.batch_shape
    return group.unsqueeze(1).expand(n, len(x)).reshape(n * len(x)), x.repeat(n, 1, 1, 1)


# What is checked; each can be run on a library with a fault.


def left_action():
    first, second = torch.tensor(table_of(D4)).unbind(-1)
    g, h = D4[first], D4[second]
    x, labels = pictures(5, 5)[:1].expand(64, -1, -1, -1), torch.arange(25).reshape(1, 5, 5).expand(64, -1, -1)
    for act, value in ((Image().act, x), (Mask().act, x), (Mask().labels, labels)):
        assert (act(g @ h, value) - act(g, act(h, value))).abs().max() < 1e-10


def dots_move():
    points = np.array([[0.3, 0.1], [-0.2, -0.3]])
    for shape in ((24, 24), (24, 35), (33, 22)):
        dots = rendered_dots(points, *shape)
        for g in (RIGID[:1], RIGID[1:], SE2.exp(torch.zeros(1, 3, dtype=torch.float64))):
            expected = g(torch.tensor(points)[None])[0].numpy()
            for act in (Image().act, Mask(0.0).act):
                assert np.abs(centres_of_mass(act(g, dots)) - expected).max() < 5e-3


def labels_move():
    """Discs of radius 0.3, whose middle is known to a fraction of a pixel."""
    disc = torch.tensor(np.linalg.norm(pixels(60, 85) - [0.3, 0.1], axis=-1) < 0.3)[None].long()
    for k in (0, 1):
        moved = Mask().labels(RIGID[k : k + 1], disc, ignore_index=0)[:, None].double()
        expected = RIGID[k : k + 1](torch.tensor([[[0.3, 0.1]]], dtype=torch.float64))[0].numpy()
        assert np.abs(centres_of_mass(moved) - expected).max() < 5e-3


def view_ends_at_the_edge():
    shape = (5, 8)
    for k in (0, 1):
        g = RIGID[k : k + 1]
        back = (pixels(*shape) - g.shift[0].numpy()) @ g.linear[0].numpy()  # the transpose undoes a rotation
        inside = (np.abs(back) <= np.array([8 / 5, 1.0])).all(-1)
        moved = Mask().act(g, torch.ones(1, 1, *shape, dtype=torch.float64))
        assert np.array_equal(~moved[0, 0].isnan().numpy(), inside)


def segmentation_is_equivariant():
    for group, shape in ((D4, (6, 6)), (D4, (7, 7)), (D4[FLAT], (5, 8))):
        h = segmenter()
        g, x = every(group, pictures(*shape))
        assert (h(Image().act(g, x), group) - Mask().act(g, h(x, group))).abs().max() < 1e-10


def classes_are_invariant():
    h = wrapped(classifying(), reduce=mean_probability)
    g, x = every(D4, pictures(6, 6))
    assert (h(Image().act(g, x), D4).exp() - h(x, D4).exp()).abs().max() < 1e-10


def formula_by_hand():
    """mean_j rho_out(g_j)^-1 f(rho_in(g_j) x), one picture and one copy at a time, other elements for each."""
    h, x = segmenter(), pictures(7, 7)
    elements = Affine(torch.stack([D4.linear, D4.linear.flip(0)], 1), torch.stack([D4.shift, D4.shift], 1))
    for k in range(2):
        copies = []
        for j in range(8):
            turned = arrays(D4.linear[j if k == 0 else 7 - j], x[k])
            copies.append(arrays(D4.linear[j if k == 0 else 7 - j].T, h.model(turned[None])[0]))
        assert (h(x, elements)[k] - torch.stack(copies).mean(0)).abs().max() < 1e-10


def arrays(matrix, x):
    """A symmetry of the square by turns and flips of the array (channels, height, width)."""
    if matrix[0, 0] == 0:  # a quarter turn, counter-clockwise, after what is left
        quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
        return torch.rot90(arrays(quarter.T @ matrix, x), 1, (1, 2))
    return x.flip([d for d, sign in ((2, matrix[0, 0]), (1, matrix[1, 1])) if sign < 0])


CHECKS = [
    left_action,
    dots_move,
    labels_move,
    view_ends_at_the_edge,
    segmentation_is_equivariant,
    classes_are_invariant,
    formula_by_hand,
]


@pytest.mark.parametrize("check", CHECKS)
def test_without_faults(check):
    check()


# Deliberate faults.


def replaced_everywhere(patch, name, function):
    for module in (raster, image, mask):
        if hasattr(module, name):
            patch.setattr(module, name, function)


def inverse_dropped(patch):
    right = raster.preimages
    replaced_everywhere(patch, "preimages", lambda g, h, w: right(g.inverse(), h, w))


def matrix_transposed(patch):
    right = raster.preimages
    replaced_everywhere(patch, "preimages", lambda g, h, w: right(Affine(g.linear.mT, g.shift), h, w))


def shift_forgotten(patch):
    right = raster.preimages
    replaced_everywhere(patch, "preimages", lambda g, h, w: right(Affine(g.linear, 0 * g.shift), h, w))


def first_element_for_all(patch):
    right = raster.preimages
    replaced_everywhere(patch, "preimages", lambda g, h, w: right(g[:1].expand(*g.batch_shape), h, w))


def width_and_height_swapped(patch):
    right = raster.places
    replaced_everywhere(patch, "places", lambda points, h, w: right(points, w, h))


def scale_of_its_own_for_each_axis(patch):
    where, back = raster.centres, raster.places

    def sides(h, w, like):
        return like.new_tensor([w / min(h, w), h / min(h, w)])

    replaced_everywhere(patch, "centres", lambda h, w, like: where(h, w, like) / sides(h, w, like))
    replaced_everywhere(patch, "places", lambda points, h, w: back(points * sides(h, w, points), h, w))
    replaced_everywhere(patch, "in_frame", lambda points, h, w: (points.abs() <= 1 + 1e-12).all(-1))


def y_points_down(patch):
    where, back = raster.centres, raster.places
    down = torch.tensor([1.0, -1.0], dtype=torch.float64)
    replaced_everywhere(patch, "centres", lambda h, w, like: where(h, w, like) * down)
    replaced_everywhere(patch, "places", lambda points, h, w: back(points * down, h, w))


def corners_aligned(patch):
    right = nn.functional.grid_sample
    patch.setattr(raster.functional, "grid_sample", lambda *args, align_corners: right(*args, align_corners=True))


def answer_pushed_instead_of_pulled_back(patch):
    right = Mask.act
    patch.setattr(Mask, "act", lambda self, g, value, index=None: right(self, g.inverse(), value))


def answer_left_where_it_is(patch):
    patch.setattr(Mask, "act", lambda self, g, value, index=None: value)


def copies_in_another_order(patch):
    patch.setattr(Image, "tile", lambda self, x, copies: x.repeat_interleave(copies, 0))


def view_from_a_warped_mask_of_ones(patch):
    def act(self, g, value, index=None):
        points = raster.preimages(g, *value.shape[-2:])
        ones = raster.sample(torch.ones_like(value), points, "bilinear", "zeros")
        return torch.where(ones > 0.999, raster.sample(value, points, "bilinear", "border"), self.outside)

    patch.setattr(Mask, "act", act)


def labels_cut_off_instead_of_rounded(patch):
    right = raster.places
    patch.setattr(mask, "places", lambda points, h, w: right(points, h, w) - 0.499)


FAULTS = [
    inverse_dropped,
    matrix_transposed,
    shift_forgotten,
    first_element_for_all,
    width_and_height_swapped,
    scale_of_its_own_for_each_axis,
    y_points_down,
    corners_aligned,
    answer_pushed_instead_of_pulled_back,
    answer_left_where_it_is,
    copies_in_another_order,
    view_from_a_warped_mask_of_ones,
    labels_cut_off_instead_of_rounded,
]


def failing(checks):
    """Those that fail, one at a time as they are asked for."""
    for check in checks:
        try:
            check()
        except AssertionError:
            yield check


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_caught(fault, monkeypatch):
    fault(monkeypatch)
    assert next(failing(CHECKS), None)


@pytest.mark.parametrize("fault", [inverse_dropped, matrix_transposed])
def test_equivariance_alone_would_not_find_it(fault, monkeypatch):
    """Averages over a group come out equivariant under the wrong action, too: hence the other checks."""
    fault(monkeypatch)
    assert not list(failing([segmentation_is_equivariant, classes_are_invariant]))
    assert list(failing([left_action, dots_move])) == [left_action, dots_move]


# What else the averages do.


def test_the_networks_alone_have_no_symmetry():
    x, g = pictures(6, 6), D4[5].expand(2)
    moved = Image().act(g, x)
    for h, output in ((segmenter(), Mask().act), (wrapped(classifying()), lambda _, y: y)):
        assert (h(moved, h.identity()) - output(g, h(x, h.identity()))).abs().max() > 1e-2


def test_training_draws_from_the_group():
    h, x = segmenter(), pictures(5, 5)
    each = torch.stack([h(x, D4[k : k + 1]) for k in range(8)])
    for k, drawn in enumerate(h(x)):
        assert (each[:, k] - drawn).abs().amax((1, 2, 3)).min() < 1e-10


def test_copies_that_do_not_see_a_pixel_are_left_out():
    """A network that always answers 1: 1 everywhere, where a mean over zeros outside would be dimmed."""

    class Constant(nn.Module):
        def forward(self, x):
            return torch.ones_like(x[:, :1])

    shifts = T2.exp(torch.tensor([[0.0, 0.0], [1.2, 0.0], [0.0, -0.7]], dtype=torch.float64))
    x = pictures(6, 9)
    assert (wrapped(Constant(), Mask(), reduce=in_view)(x, shifts) - 1).abs().max() < 1e-12
    assert wrapped(Constant(), Mask())(x, shifts).isnan().any()
    assert wrapped(Constant(), Mask(0.0))(x, shifts).min() < 0.5
    unseen = wrapped(Constant(), Mask(), reduce=in_view)(x, shifts[1:2])
    assert unseen.isnan().any()
    assert (unseen.nan_to_num(1.0) - 1).abs().max() < 1e-12


def test_the_loss_of_seen_pixels_reaches_weights_and_widths():
    h, x = segmenter(law=AlgebraUniform(SE2, 0.3)), pictures(6, 6)
    torch.manual_seed(1)
    y = h(x)
    unseen = y.isnan().any(1)
    target = torch.zeros(2, 6, 6, dtype=torch.long).masked_fill(unseen, -100)
    assert unseen.any()
    loss = nn.functional.cross_entropy(y.masked_fill(unseen.unsqueeze(1), 0.0), target)
    loss.backward()
    assert math.isfinite(loss.item())
    for parameter in h.parameters():
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().sum() > 0
