"""Where the pixels of an image lie, and how one is read between them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn import functional

from molaugerino.errors import UserError
from molaugerino.groups import Affine
from molaugerino.groups.affine import check_space

EDGE = 16  # in units of the coordinates' precision: by how much a point on the edge may be rounded outwards


class ImageBatch:
    """The layout (images, channels, height, width): rows are examples, and copies come one batch after the other."""

    per_point = False

    def count(self, x: Tensor) -> int:
        return len(x)

    def index(self, x: Tensor) -> None:
        return None

    def tile(self, x: Tensor, copies: int) -> Tensor:
        return x.repeat(copies, 1, 1, 1) if copies > 1 else x


def centres(height: int, width: int, like: Tensor) -> Float[Tensor, "height width 2"]:
    """Pixel (r, c) lies at u = ((2 c + 1 - W) / m, (H - 1 - 2 r) / m),   m = min(H, W).

    The origin is the centre of the image, x points right and y UP, against the rows, so that a positive angle turns x
    towards y as everywhere in the library: counter-clockwise to the eye. The unit is half of the shorter side along
    both axes, so a rotation keeps all distances on images that are not square, too. The shorter side spans [-1, 1].

    Args:
        height: H, rows.
        width: W, columns.
        like: gives dtype and device.
    """
    m = min(height, width)
    x = (2 * torch.arange(width, dtype=like.dtype, device=like.device) + (1 - width)) / m
    y = ((height - 1) - 2 * torch.arange(height, dtype=like.dtype, device=like.device)) / m
    return torch.stack([x.expand(height, width), y.unsqueeze(-1).expand(height, width)], -1)


def preimages(g: Affine, height: int, width: int) -> Float[Tensor, "images height width 2"]:
    """g^-1 u at every pixel centre u: where the value that g carries to u comes from.

    Args:
        g: maps of the plane, batch shape (images,).
        height: H, rows.
        width: W, columns.
    """
    points = centres(height, width, g.shift).flatten(0, 1)
    return g.inverse()(points.expand(len(g.shift), -1, -1)).reshape(-1, height, width, 2)


def places(points: Float[Tensor, "*more 2"], height: int, width: int) -> Float[Tensor, "*more 2"]:
    """(column, row) of points, in pixels; integers at pixel centres. Inverse of `centres`."""
    m = min(height, width)
    x, y = points.unbind(-1)
    return torch.stack([(x * m + (width - 1)) / 2, ((height - 1) - y * m) / 2], -1)


def in_frame(points: Float[Tensor, "*more 2"], height: int, width: int) -> Bool[Tensor, "*more"]:
    """|x| <= W / m and |y| <= H / m: on the area that the pixels cover, edges included."""
    m = min(height, width)
    x, y = points.unbind(-1)
    slack = 1 + EDGE * torch.finfo(points.dtype).eps
    return (x.abs() <= slack * width / m) & (y.abs() <= slack * height / m)


def sample(
    images: Float[Tensor, "images channels height width"],
    points: Float[Tensor, "images height width 2"],
    mode: str,
    padding: str,
) -> Float[Tensor, "images channels height width"]:
    """Images read at the points, by interpolation (torch.nn.functional.grid_sample).

    Args:
        images: values at pixel centres.
        points: in the coordinates of `centres`.
        mode: "bilinear", "bicubic" or "nearest".
        padding: what lies outside: "zeros", "border" or "reflection".
    """
    height, width = images.shape[-2:]
    # grid_sample counts from edge to edge (align_corners=False): -1 and 1 are the outer edges of the outer pixels
    column, row = places(points, height, width).unbind(-1)
    grid = torch.stack([(2 * column + 1) / width - 1, (2 * row + 1) / height - 1], -1)
    return functional.grid_sample(images, grid.to(images), mode, padding, align_corners=False)


def precise(value: Tensor) -> Tensor:
    """The value in float32 at least: 8 bits of mantissa cannot tell the columns of an image apart."""
    return value if value.dtype in (torch.float32, torch.float64) else value.float()


def check_elements(g: Affine, value: Shaped[Tensor, "*images"], dim: int) -> None:
    """Raise unless there is one map of R^dim per image."""
    check_space(g, dim)
    if g.batch_shape != (len(value),):
        raise UserError(
            f"`g` must hold one element per image, batch shape ({len(value)},), got {g.batch_shape}; expand it"
        )


def check_images(x: Tensor, channels: int | None, device: torch.device) -> None:
    """Raise unless x is a batch of finite floating point images on this device.

    Args:
        x: the batch.
        channels: how many there must be; None where any number will do.
        device: where the elements are that will act on them.

    Raises:
        UserError: for anything else. Values are looked at on the CPU only, outside of torch.compile.
    """
    wanted = f"(images, {'channels' if channels is None else channels}, height, width)"
    if not isinstance(x, Tensor):
        raise UserError(f"`x` must be a tensor of shape {wanted}, got {type(x).__name__}")
    if x.dim() != 4 or 0 in x.shape[1:] or channels not in (None, x.shape[1]):
        raise UserError(f"`x` must have shape {wanted}, none of them zero, got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise UserError(f"`x` must hold floating point numbers, got {x.dtype}; convert it, as by x.float() / 255")
    if x.device != device:
        raise UserError(f"`x` is on {x.device}, the law on {device}; move one of them with .to")
    if looked_at(x) and not bool(torch.isfinite(x).all()):
        wrong = (~torch.isfinite(x)).flatten(1).any(1).nonzero()
        raise UserError(
            f"`x` must be finite, and in {len(wrong)} images, first {int(wrong[0])}, it is not; remove them"
        )


def looked_at(x: Tensor) -> bool:
    """Whether values can be checked without waiting for a device or breaking a compiled graph."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()
