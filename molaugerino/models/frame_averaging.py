"""Invariance from the principal axes: a network averaged over the four ways to lay a molecule along them."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from molaugerino.datasets.targets import output_action
from molaugerino.groups import Affine
from molaugerino.groups.precision import full_precision
from molaugerino.models.scaling import Scaling
from molaugerino.spaces import Padded, as_padded

FLIPS = ((1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0))  # signs of the first two axes; the third follows
MEETING = 1e-6  # relative gap of two eigenvalues below which the slope of their axes is faded out


class FrameAveraging(nn.Module):
    """h(x) = 1/4 sum_k rho_out(g_k)^-1 f(g_k x),   g_k = (R_k, -R_k c): along the principal axes, c the centroid.

    The rows of R_k are the eigenvectors of sum_a (r_a - c) (r_a - c)^T with the signs that make a
    rotation. Invariant (vectors: equivariant) under rotations and translations, not under
    reflections, whatever f is. Two eigenvalues that are equal leave the axes open, as in a
    linear molecule or a symmetric top (benzene, methane): there h depends on the frame that the
    molecule came in, and close to such shapes h changes fast.

    Args:
        network: f, with a `readout` that knows its targets.

    Source: Puny, Atzmon, Ben-Hamu, Misra, Grover, Smith, Lipman, Frame averaging for invariant
    and equivariant network design (ICLR 2022), arXiv:2110.03336.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def readout(self) -> Scaling:
        return self.network.readout  # type: ignore[return-value]

    def forward(self, x: Any) -> Float[Tensor, "molecules channels"]:
        x = as_padded(x)
        g = principal_frames(x.pos, x.mask).reshape(len(FLIPS) * x.z.shape[0])  # copy-major
        y = self.network(Padded().act(g, Padded().tile(x, len(FLIPS))))
        back = output_action(self.readout.targets).act(g.inverse(), y, None)
        return back.reshape(len(FLIPS), x.z.shape[0], -1).mean(0)


@full_precision
def principal_frames(pos: Float[Tensor, "molecules n 3"], mask: Bool[Tensor, "molecules n"]) -> Affine:
    """(4, molecules) maps that put the centroid at the origin and the principal axes along x, y, z, smallest first."""
    occupied = mask.unsqueeze(-1)
    centre = (pos.double() * occupied).sum(1) / occupied.sum(1).clamp_min(1)
    left = (pos.double() - centre.unsqueeze(1)) * occupied
    axes = eigenvectors(left.mT @ left)
    signs = axes.new_tensor(FLIPS)
    third = signs.prod(1, keepdim=True) * torch.linalg.det(axes.detach()).sign()[:, None, None]  # (molecules, 4, 1)
    flips = torch.cat([signs.expand(pos.shape[0], -1, -1), third], -1).transpose(0, 1)  # (4, molecules, 3)
    rotation = flips.unsqueeze(-1) * axes.mT
    return Affine(rotation, -(rotation @ centre.unsqueeze(-1)).squeeze(-1)).to(pos.dtype)


def eigenvectors(c: Float[Tensor, "molecules 3 3"]) -> Float[Tensor, "molecules 3 3"]:
    """Columns u_k of C u = lambda u, lambda rising; the slope du_j = sum_i u_i (u_i . dC u_j) / (lambda_j - lambda_i).

    The slope is that of first-order perturbation, faded out where two eigenvalues meet and it has no limit.
    """
    values, u = torch.linalg.eigh(c.detach())
    gap = values.unsqueeze(-2) - values.unsqueeze(-1)  # lambda_j - lambda_i
    least = (MEETING * values.sum(-1)).square()[:, None, None] + torch.finfo(c.dtype).tiny
    change = u.mT @ (c - c.detach()) @ u  # zero, with a slope
    return u + u @ (change * gap / (gap.square() + least))
