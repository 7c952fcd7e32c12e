"""Images and masks: exact on the symmetries of the square, dots that move where the points move."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from molaugerino.errors import UserError
from molaugerino.groups import SE2, SO2, SO3, T2, Affine, aff2
from molaugerino.spaces import Image, InputSpace, Mask
from molaugerino.spaces.image import Mode, Padding
from tests.oracles import central_differences, centres_of_mass, pixels, rendered_dots, square_symmetries, table_of

D4 = square_symmetries()
FLAT = [k for k in range(8) if D4.linear[k, 0, 1] == 0]  # half turn and mirrors, which any rectangle has
SHAPES = {"square": (32, 32), "odd": (33, 33), "wide": (32, 47), "tall": (45, 30)}
MAPS = {
    "turn": SE2.exp(torch.tensor([[0.7, 0.0, 0.0]], dtype=torch.float64)),
    "quarter turn": SO2.exp(torch.tensor([[math.pi / 2]], dtype=torch.float64)),
    "shift": T2.exp(torch.tensor([[0.2, -0.3]], dtype=torch.float64)),
    "turn and shift": SE2.exp(torch.tensor([[-0.5, 0.2, 0.3]], dtype=torch.float64)),
    "scale": aff2().exp(torch.tensor([[0, 0, 0, 0.2, 0, 0]], dtype=torch.float64)),
    "squeeze": aff2().exp(torch.tensor([[0, 0, 0, 0, 0.2, 0]], dtype=torch.float64)),
    "shear": aff2().exp(torch.tensor([[0, 0, 0, 0, 0, 0.3]], dtype=torch.float64)),
    "slant": Affine(torch.tensor([[[1.0, 0.4], [0, 1]]], dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)),
    "mirror x": Affine(torch.diag(torch.tensor([-1.0, 1])).double()[None], torch.zeros(1, 2, dtype=torch.float64)),
    "mirror y": Affine(torch.diag(torch.tensor([1.0, -1])).double()[None], torch.zeros(1, 2, dtype=torch.float64)),
}
POINTS = np.array([[0.3, 0.1], [-0.2, 0.35], [0.0, -0.3]])


def noise(height, width, channels=3, seed=0):
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestLeftAction:
    """rho(g h) = rho(g) rho(h) on every pair, to rounding."""

    @pytest.mark.parametrize("padding", Padding.__args__)
    @pytest.mark.parametrize("mode", Mode.__args__)
    @pytest.mark.parametrize("side", [4, 7])
    def test_images(self, side, mode, padding):
        self.check(Image(mode, padding).act, noise(side, side), range(8))

    @pytest.mark.parametrize("mode", Mode.__args__)
    @pytest.mark.parametrize("shape", [(5, 8), (6, 3)])
    def test_images_that_are_not_square(self, shape, mode):
        self.check(Image(mode).act, noise(*shape), FLAT)

    @pytest.mark.parametrize("side", [4, 7])
    def test_masks(self, side):
        self.check(Mask().act, noise(side, side), range(8))

    @pytest.mark.parametrize("side", [4, 7])
    def test_labels(self, side):
        labels = torch.randint(-1, 9, (2, side, side), generator=torch.Generator().manual_seed(0))
        self.check(Mask().labels, labels, range(8))

    def check(self, act, x, group):
        members = D4[torch.tensor(list(group))]
        first, second = torch.tensor(table_of(members)).unbind(-1)
        g, h = members[first], members[second]
        for picture in x:
            batch = picture.expand(len(first), *picture.shape)
            assert (act(g @ h, batch) - act(g, act(h, batch))).abs().max() < 1e-10

    @pytest.mark.parametrize("act", [Image().act, Mask().act])
    def test_against_turns_and_flips_of_arrays(self, act):
        x = noise(5, 5)
        by_hand = {
            (0.0, -1.0, 1.0, 0.0): torch.rot90(x, 1, (2, 3)),  # numpy and torch turn counter-clockwise, too
            (-1.0, 0.0, 0.0, 1.0): x.flip(3),
            (1.0, 0.0, 0.0, -1.0): x.flip(2),
            (0.0, 1.0, 1.0, 0.0): x.flip(2).mT.flip(2),  # the diagonal from bottom left to top right
        }
        for entries, expected in by_hand.items():
            g = Affine(torch.tensor(entries, dtype=torch.float64).reshape(1, 2, 2), torch.zeros(1, 2).double())
            assert (act(g.expand(2), x) - expected).abs().max() < 1e-12

    @pytest.mark.parametrize("shape", [(5, 5), (4, 9)])
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_identity(self, shape, dtype):
        x = noise(*shape).to(dtype)
        one = Affine.identity(2, (2,), like=x)
        for act in (Image().act, Image("bicubic").act, Image("nearest").act, Mask().act):
            assert (act(one, x) - x).abs().max() < 100 * torch.finfo(dtype).eps


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", MAPS)
class TestADotMovesWhereThePointMoves:
    def test_images_and_masks(self, name, shape):
        dots = rendered_dots(POINTS, *SHAPES[shape])
        expected = MAPS[name](torch.tensor(POINTS)[None])[0].numpy()
        # torch's cubic (a = -0.75) does not carry straight lines over exactly
        for act, slack in ((Image().act, 1e-3), (Image("bicubic").act, 4e-3), (Mask(0.0).act, 1e-3)):
            assert np.abs(centres_of_mass(act(MAPS[name], dots)) - expected).max() < slack
        nearest = Image("nearest").act(MAPS[name], dots)
        assert np.abs(centres_of_mass(nearest) - expected).max() < 1 / min(SHAPES[shape])  # half a pixel

    def test_labels(self, name, shape):
        where = pixels(*SHAPES[shape])
        discs = (np.linalg.norm(where - POINTS[:, None, None], axis=-1) < 0.2).any(0)
        owner = np.linalg.norm(where - POINTS[:, None, None], axis=-1).argmin(0) + 1
        moved = Mask().labels(MAPS[name], torch.tensor(discs * owner)[None], ignore_index=0)
        parts = torch.stack([moved[0] == k + 1 for k in range(len(POINTS))]).double()[None]
        expected = MAPS[name](torch.tensor(POINTS)[None])[0].numpy()
        assert np.abs(centres_of_mass(parts) - expected).max() < 0.04


@pytest.mark.parametrize("shape", [(32, 47), (45, 30), (32, 32)])
def test_a_small_rotation_is_an_isometry(shape):
    """The distance of two dots, counted in pixels, stays."""
    dots = rendered_dots(np.array([[0.5, 0.0], [-0.3, 0.4]]), *shape)
    for angle in (0.1, 0.3):
        moved = Image().act(SO2.exp(torch.tensor([[angle]], dtype=torch.float64)), dots)
        apart = [np.linalg.norm(np.diff(centres_of_mass(images), axis=0)) for images in (dots, moved)]
        assert apart[1] == pytest.approx(apart[0], abs=2e-3)


def test_a_positive_angle_takes_the_right_to_the_top():
    x = torch.zeros(1, 1, 3, 5, dtype=torch.float64)
    x[0, 0, 1, 3] = 1.0  # one pixel to the right of the middle
    quarter = SO2.exp(torch.tensor([[math.pi / 2]], dtype=torch.float64))
    assert Image().act(quarter, x)[0, 0, 0, 2] == pytest.approx(1.0, abs=1e-12)  # the first row is the upper one


def test_one_element_per_image():
    x = noise(6, 6)
    both = Image().act(D4[torch.tensor([3, 5])], x)
    for k, member in enumerate((3, 5)):
        assert torch.equal(both[k], Image().act(D4[member].expand(1), x[k : k + 1])[0])


class TestOutsideOfTheView:
    def test_marked_by_coordinates(self):
        """A shift up by one pixel of four: the last row comes from outside, and nothing else."""
        up = T2.exp(torch.tensor([[0.0, 0.5]], dtype=torch.float64)).expand(2)
        x = noise(4, 6)
        moved = Mask().act(up, x)
        assert moved[:, :, 3].isnan().all()
        assert (moved[:, :, :3] - x[:, :, 1:]).abs().max() < 1e-12
        assert (Mask(outside=-7.0).act(up, x)[:, :, 3] == -7).all()
        labels = torch.arange(48).reshape(2, 4, 6)
        assert (Mask().labels(up, labels)[:, 3] == -100).all()
        assert (Mask().labels(up, labels, ignore_index=255)[:, 3] == 255).all()
        assert torch.equal(Mask().labels(up, labels)[:, :3], labels[:, 1:])

    @pytest.mark.parametrize("shape", [(6, 6), (5, 8)])
    @pytest.mark.parametrize("name", ["turn", "scale", "turn and shift", "slant"])
    def test_against_the_rectangle(self, name, shape):
        g = MAPS[name]
        back = (pixels(*shape) - g.shift[0].numpy()) @ np.linalg.inv(g.linear[0].numpy()).T
        inside = (np.abs(back) <= np.array([shape[1], shape[0]]) / min(shape)).all(-1)
        moved = Mask().act(g, torch.ones(1, 1, *shape, dtype=torch.float64))
        assert np.array_equal(~moved[0, 0].isnan().numpy(), inside)
        # within half a pixel of the edge the outermost pixel goes on: not dimmed by what is outside
        assert (moved[0, 0][torch.tensor(inside)] - 1).abs().max() < 1e-12

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    def test_rounding_loses_no_pixel_on_the_edge(self, dtype):
        """A shift by half a pixel puts the preimages of one row on the edge itself, where they still count."""
        for side in range(3, 40):
            g = SE2.exp(torch.tensor([[0.0, 1 / side, -1 / side]], dtype=dtype))
            assert not Mask().act(g, torch.ones(1, 1, side, side, dtype=dtype)).isnan().any()

    def test_gradients_of_the_seen(self):
        x = noise(5, 5, 1).requires_grad_()
        moved = Mask().act(MAPS["turn and shift"].expand(2), x)
        moved[~moved.isnan()].sum().backward()
        assert torch.isfinite(x.grad).all()
        assert x.grad.abs().sum() > 0


class TestGradients:
    def test_of_the_angle(self):
        """Away from kinks, where no preimage crosses a line between pixel centres."""
        x, weights = noise(9, 12), noise(9, 12, seed=1)
        xi = torch.tensor([[0.31, 0.05, -0.07], [-0.8, 0.11, 0.02]], dtype=torch.float64, requires_grad=True)

        def value(act):
            return (act(SE2.exp(xi), x) * weights).nansum()

        for act in (Image().act, Image("bicubic", "border").act, Mask(0.0).act):
            (slope,) = torch.autograd.grad(value(act), xi)
            [oracle] = central_differences(lambda act=act: value(act), [xi], 1e-7)
            assert slope.abs().min() > 0.1
            assert torch.allclose(slope, oracle, rtol=1e-5, atol=1e-6)

    def test_of_the_image_is_the_transpose(self):
        """The action is linear in the image: <w, rho x> = <rho^T w, x>."""
        x, w = noise(5, 7).requires_grad_(), noise(5, 7, seed=1)
        value = (Image().act(MAPS["turn and shift"].expand(2), x) * w).sum()
        (transposed,) = torch.autograd.grad(value, x)
        assert (transposed * x).sum().item() == pytest.approx(value.item(), rel=1e-12)


def test_low_precision_images_are_placed_in_float32():
    x = rendered_dots(POINTS, 32, 47)
    g = MAPS["turn and shift"]
    exact = Image().act(g, x)
    for dtype in (torch.float32, torch.bfloat16):
        moved = Image().act(g.to(torch.float32), x.to(dtype))
        assert moved.dtype == dtype
        assert (moved.double() - exact).abs().max() < 4 * torch.finfo(dtype).eps + 1e-5
    with torch.autocast("cpu", torch.bfloat16):
        assert (Image().act(g.to(torch.float32), x.float()).double() - exact).abs().max() < 1e-5


def test_layout():
    x = torch.arange(24.0).reshape(2, 1, 3, 4)
    assert isinstance(Image(), InputSpace)
    assert Image().count(x) == 2
    assert Image().index(x) is None
    assert torch.equal(Image().tile(x, 3), torch.cat([x, x, x]))
    assert Image().tile(x, 1) is x
    assert not Image.per_point
    assert not Mask.per_point


@pytest.mark.usefixtures("untyped")
class TestBadInput:
    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (torch.zeros(3, 4, 4), r"`x` must have shape \(images, channels, height, width\).* got \(3, 4, 4\)"),
            (torch.zeros(3, 1, 0, 4), r"none of them zero, got \(3, 1, 0, 4\)"),
            (
                torch.zeros(3, 1, 4, 4, dtype=torch.uint8),
                r"floating point numbers, got torch.uint8; .*x.float\(\) / 255",
            ),
            (torch.full((3, 1, 4, 4), math.nan), "must be finite, and in 3 images, first 0, it is not"),
            (torch.zeros(3, 1, 4, 4, device="meta"), "`x` is on meta, the law on cpu; move one"),
            ([1.0], r"must be a tensor of shape \(images, channels, height, width\), got list"),
        ],
    )
    def test_batches(self, x, message):
        with pytest.raises(UserError, match=message):
            Image().check(x, 2, torch.device("cpu"))

    def test_laws_of_space(self):
        x = torch.zeros(2, 1, 4, 4)
        with pytest.raises(UserError, match=r"maps of the plane, and the law is one of maps of R\^3; use SE2"):
            Image().check(x, 3, torch.device("cpu"))
        for act in (Image().act, Mask().act):
            with pytest.raises(UserError, match=r"maps of R\^2, got maps of R\^3"):
                act(SO3.exp(torch.zeros(2, 3)), x)

    def test_another_number_of_elements(self):
        for act, x in (
            (Image().act, torch.zeros(2, 1, 4, 4)),
            (Mask().act, torch.zeros(2, 1, 4, 4)),
            (Mask().labels, torch.zeros(2, 4, 4, dtype=torch.long)),
        ):
            with pytest.raises(UserError, match=r"one element per image, batch shape \(2,\), got \(3,\)"):
                act(SO2.exp(torch.zeros(3, 1)), x)

    def test_settings(self):
        with pytest.raises(UserError, match="`mode` must be one of bilinear, bicubic, nearest, got 'linear'"):
            Image("linear")
        with pytest.raises(UserError, match="`padding` must be one of zeros, border, reflection, got 'wrap'"):
            Image(padding="wrap")
