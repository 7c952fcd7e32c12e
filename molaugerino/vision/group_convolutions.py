"""Convolutions over the turns and shifts of the plane."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from molaugerino.errors import UserError
from molaugerino.vision.convolutions import widths

BUMP = 0.6  # pixels: s of `turned_basis`
Maps = Float[Tensor, "images channels orientations height width"]
Results = Float[Tensor, "images outputs turns height width"]
Smaller = Float[Tensor, "images channels orientations lower narrower"]


def turned_basis(kernel: int, steps: int) -> Float[Tensor, "steps points kernel kernel"]:
    """b_p(r^-1 u) at all pixels u, r the turn by 90 j / steps degrees, counter-clockwise, j = 0 ... steps - 1.

    A filter is psi(u) = sum_p w_p b_p(u), p pixels. With one step, every pixel has a b_p, 1 there and 0 elsewhere.
    With more, psi is a function that can be turned, cut to a disc, because corners would leave the square:

        b_p(u) = exp(-|u - p|^2 / 2 s^2)  for |u| <= kernel / 2,  s = 0.6 pixels,  p in the same disc.

    Under eighth turns of smooth images, untrained networks with order 8 change less than half as much as with filters
    whose pixels are interpolated bicubically.

    Args:
        kernel: side, pixels, odd.
        steps: per quarter turn.
    """
    column, row = torch.meshgrid(*[torch.arange(kernel) - kernel // 2] * 2, indexing="xy")
    if steps == 1:
        return torch.eye(kernel**2).reshape(1, -1, kernel, kernel)
    u = torch.stack([column, -row], -1).to(torch.float64)  # x to the right, y up
    disc = u.square().sum(-1) <= kernel**2 / 4
    each = []
    for angle in (math.pi / 2 * step / steps for step in range(steps)):
        r = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=u.dtype)
        away = (u @ r - u[disc][:, None, None]).square().sum(-1)  # (points, kernel, kernel); u @ r is r^-1 u
        each.append(torch.exp(-away / (2 * BUMP**2)) * disc)
    return torch.stack(each).to(torch.get_default_dtype())


def turn(
    filters: Float[Tensor, "steps outputs channels orientations kernel kernel"], r: int
) -> Float[Tensor, "outputs channels orientations kernel kernel"]:
    """psi(r^-1 u, s - r): the filters as orientation r has them, from psi at the angles of the first quarter."""
    quarters, step = divmod(r, len(filters))
    return torch.rot90(filters[step], quarters, (-2, -1)).roll(r, 2)


class GroupConvolution(nn.Module):
    """(f * psi)(g) = sum_h f(h) psi(g^-1 h) over the group of shifts by whole pixels and n turns.

    With g = (x, r), h = (y, s), places x and y, and orientations r and s counted in steps of 360 / n degrees,

        (f * psi)(x, r) = sum_{y, s} f(y, s) psi(r^-1 (y - x), s - r):

    an ordinary convolution whose filter for orientation r is turned by r in the plane, its orientations moved on by
    r. A function of the plane alone has one orientation, and the sum over s falls away: that lifts an image.

    Turning f, (t f)(h) = f(t^-1 h), turns the result: sum_h f(t^-1 h) psi(g^-1 h) = sum_h f(h) psi((t^-1 g)^-1 h).
    So a turn by t turns the maps in the plane and moves orientation r to r + t. It does so exactly for quarter turns
    of the image about its centre, zeros being outside, whatever its sides; in between, for n > 4, as well as functions
    can be turned on a grid of pixels.

    Args:
        channels: of f.
        outputs: channels of the result.
        order: n, orientations of the result; a multiple of 4.
        kernel: side of psi, pixels, odd.
        orientations: of f: 1 or n.

    Source: Cohen and Welling, Group Equivariant Convolutional Networks (2016), arXiv:1602.07576. For angles finer
    than 90 degrees, Weiler, Hamprecht, Storath, Learning Steerable Filters for Rotation Equivariant CNNs (2018),
    arXiv:1711.07289; there filters are sums of harmonics, here of bumps (`turned_basis`).
    """

    basis: Tensor

    def __init__(self, channels: int, outputs: int, order: int, kernel: int, orientations: int) -> None:
        super().__init__()
        self.order = order
        self.register_buffer("basis", turned_basis(kernel, order // 4), persistent=False)
        self.weight = nn.Parameter(torch.empty(outputs, channels, orientations, self.basis.shape[1]))
        nn.init.kaiming_normal_(self.weight)

    def forward(self, f: Maps) -> Results:
        filters = torch.einsum("ocsp,jpvu->jocsvu", self.weight, self.basis)
        turned = [turn(filters, r) for r in range(self.order)]
        each = torch.stack(turned, 1).flatten(0, 1).flatten(1, 2)  # (outputs n, channels orientations, kernel, kernel)
        maps = functional.conv2d(f.flatten(1, 2), each, padding=self.basis.shape[-1] // 2)
        return maps.reshape(len(f), len(self.weight), self.order, *maps.shape[-2:])


class Halved(nn.Module):
    """Means of 2x2 pixels, or of 3x3 about every second one where a side is odd: n becomes ceil(n / 2).

    The places are the same from either end of a side, so that halving commutes with quarter turns and mirrors.
    """

    def forward(self, f: Maps) -> Smaller:
        odd = (f.shape[-2] % 2, f.shape[-1] % 2)
        kernel = (2 + odd[0], 2 + odd[1])
        means = functional.avg_pool2d(f.flatten(1, 2), kernel, 2, padding=odd, count_include_pad=False)
        return means.reshape(*f.shape[:3], *means.shape[-2:])


class GroupConvolutions(nn.Module):
    """W mean_{u, r} h(u, r) + b: five group convolutions h, halved after the second and the fourth, a linear map.

    The output is the same for an image and its quarter turns, and nearly so, with order 8, for eighth turns. Widths
    128, 128, 256, 256, 256 times the factor, divided by the order: as many maps as `FiveLayer` has channels. Batch
    normalisation, the same for all orientations, and ReLU after every convolution. Filters are 3x3 for order 4, 5x5
    without their corners for more. Values outside of an image are 0, so that it should be dark at its edges.

    Args:
        channels: of an image.
        outputs: numbers per image, such as one logit per class.
        width: factor on all widths; no layer has fewer than 4 channels per orientation.
        order: number of orientations; a multiple of 4.

    Input: (images, channels, height, width), values in [0, 1]. Output: (images, outputs).

    Raises:
        UserError: for an order that is not 4, 8, 12, ..., or a width that is not positive.

    Source: after Cohen and Welling (2016), arXiv:1602.07576; `GroupConvolution` has the definitions.

    Example:
        >>> network, x = GroupConvolutions(1, 10, width=0.1).eval(), torch.rand(2, 1, 9, 9)
        >>> torch.allclose(network(x), network(torch.rot90(x, 1, (-2, -1))), atol=1e-5)
        True
    """

    def __init__(self, channels: int, outputs: int, width: float = 1.0, order: int = 4) -> None:
        super().__init__()
        if order < 4 or order % 4:
            raise UserError(f"`order` must be a multiple of 4, got {order}; quarter turns are among all the turns")
        kernel = 3 if order == 4 else 5
        sizes = widths(width, *(each // order for each in (128, 128, 256, 256, 256)))
        layers: list[nn.Module] = []
        for layer, (before, after) in enumerate(pairwise([channels, *sizes]), 1):
            convolution = GroupConvolution(before, after, order, kernel, 1 if layer == 1 else order)
            layers += [convolution, nn.BatchNorm3d(after), nn.ReLU()]
            if layer in (2, 4):
                layers.append(Halved())
        self.features = nn.Sequential(*layers)
        self.readout = nn.Linear(sizes[-1], outputs)

    def forward(self, x: Float[Tensor, "images channels height width"]) -> Float[Tensor, "images outputs"]:
        return self.readout(self.features(x.unsqueeze(2)).mean((-3, -2, -1)))
