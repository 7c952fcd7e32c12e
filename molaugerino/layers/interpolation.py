"""Values at a few anchors, spread over all places of a square."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.errors import UserError

LENGTH, NOISE = 1.0, 0.01  # of the kernel between places, pixels; of what is interpolated


def interpolation(side: int, share: float, seed: int) -> Float[Tensor, "anchors places"]:
    """Psi = (K_zz + s^2 I)^-1 K_zx: values at anchors z, spread over all places x; k(a, b) = exp(-|a - b|^2 / 2 l^2).

    The mean of a Gaussian process, l = 1 pixel, s = 0.01. Anchors lie at random, uniform over the square.

    Args:
        side: of the square.
        share: of the places, (0, 1]: how many anchors there are, at least one.
        seed: of where they lie.

    Raises:
        UserError: for another share.
    """
    if not 0 < share <= 1:
        raise UserError(f"`share` must lie in (0, 1], got {share}")
    count = max(1, round(share * side**2))
    generator = torch.Generator().manual_seed(seed)
    z = (side - 1) * torch.rand(count, 2, generator=generator, dtype=torch.float64)
    line = torch.arange(side, dtype=torch.float64)
    x = torch.cartesian_prod(line, line).reshape(-1, 2)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-torch.cdist(a, b).square() / (2 * LENGTH**2))

    gram = kernel(z, z) + NOISE**2 * torch.eye(count, dtype=torch.float64)
    return torch.linalg.solve(gram, kernel(z, x)).to(torch.get_default_dtype())


def fitted(
    dense: Float[Tensor, "*more places"], psi: Float[Tensor, "anchors places"]
) -> Float[Tensor, "*more anchors"]:
    """Values at the anchors whose interpolation is nearest to the dense ones, times what makes it as large as they are.

    Without that, what varies from place to place is lost, and with it most of initial weights drawn at random.
    """
    values = dense @ torch.linalg.pinv(psi)
    return values * (dense.square().mean() / (values @ psi).square().mean()).sqrt()
