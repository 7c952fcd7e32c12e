"""Images whose colours change while their pixels stay."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.errors import UserError
from molaugerino.groups import Affine
from molaugerino.groups.precision import full_precision
from molaugerino.spaces.raster import ImageBatch, check_elements, check_images, looked_at, precise


class Colour(ImageBatch):
    """(rho(g) x)(u) = A x(u) + b, clamped to [0, 1] if `bounded`: an affine map of R^3 at every pixel.

    Colours are columns (red, green, blue) in [0, 1]; `groups.colours()` gives the usual changes of them. The gradient
    passes a clamped value as if it had not been clamped (straight through), so that widths keep learning from pixels
    at the ends of the scale.

    Args:
        bounded: clamp the results to [0, 1]. Then rho(g h) = rho(g) rho(h) as long as rho(h) x stays inside the cube:
            what is clamped is lost. Without, the law holds for all g and h, and results may leave the cube.

    Source: the straight-through estimator is that of Bengio, Leonard, Courville (2013), arXiv:1308.3432.

    Example:
        >>> double = Affine(2 * torch.eye(3), torch.zeros(3)).expand(1)
        >>> Colour().act(double, torch.tensor([0.1, 0.3, 0.7]).reshape(1, 3, 1, 1)).flatten()
        tensor([0.2000, 0.6000, 1.0000])
    """

    def __init__(self, bounded: bool = True) -> None:
        self.bounded = bounded

    @full_precision
    def act(
        self, g: Affine, value: Float[Tensor, "images 3 height width"], index: Tensor | None = None
    ) -> Float[Tensor, "images 3 height width"]:
        """The images in their new colours.

        Args:
            g: one map of R^3 per image, batch shape (images,).
            value: (images, 3, height, width) in [0, 1].
            index: None; rows are images.

        Raises:
            UserError: for maps of another space, or another number of them.
        """
        check_elements(g, value, 3)
        exact = precise(value)
        own = g.to(exact.dtype)
        colours = torch.baddbmm(own.shift.unsqueeze(-1), own.linear, exact.flatten(2)).reshape(value.shape)
        if self.bounded:  # the value is exactly the clamped one, the gradient exactly that of `colours`
            colours = colours.detach().clamp(0, 1) + (colours - colours.detach())
        return colours.to(value.dtype)

    def check(self, x: Tensor, dim: int, device: torch.device) -> None:
        """Raise unless maps of R^dim, on this device, can change the colours of the batch.

        Raises:
            UserError: for a law on another space than that of colours; for another shape than (images, 3, height,
                width), integers, another device, values that are not finite or, if `bounded`, outside of [0, 1].
        """
        if dim != 3:
            raise UserError(f"colours need maps of R^3, and the law is one of maps of R^{dim}; use groups.colours()")
        check_images(x, 3, device)
        if self.bounded and looked_at(x) and x.numel() and not bool(((x >= 0) & (x <= 1)).all()):
            raise UserError(
                f"`x` must lie in [0, 1], got {float(x.min()):.6g} to {float(x.max()):.6g}; standardise inside the "
                "network, or use Colour(bounded=False)"
            )
