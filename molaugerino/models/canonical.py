"""Invariance from a learned frame: a small equivariant network turns the molecule before another sees it."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from molaugerino.datasets.targets import MAX_Z, output_action
from molaugerino.groups import Affine
from molaugerino.groups.precision import full_precision
from molaugerino.models.pairs import Gaussians, pairs_of
from molaugerino.models.scaling import Scaling
from molaugerino.models.schnet import Interaction
from molaugerino.spaces import Molecules, Padded, as_padded

SHORTEST = 1e-4  # angstrom: a vector below it points nowhere


class Canonicalised(nn.Module):
    """h(x) = rho_out(g)^-1 f(g x),   g = (R(x), -R(x) c),   R(x Q) = R(x) Q^-1 for every rotation Q, c the centroid.

    Two vectors v_k = sum_a w_ka (r_a - c), with weights w that an invariant network gives the
    atoms, are made orthonormal; with their cross product they are the rows of R. That network is
    trained with f, through f. Invariant (vectors: equivariant) under rotations and translations,
    not under reflections, whatever f is. Where symmetry leaves the vectors no length or one
    direction, as in a linear molecule or in methane, a fixed axis stands in, and h depends on the
    frame that the molecule came in.

    Args:
        network: f, with a `readout` that knows its targets.
        width: features of the network that finds the frame.
        cutoff: of that network, angstrom.

    Source: Kaba, Mondal, Zhang, Bengio, Ravanbakhsh, Equivariance with learned canonicalization
    functions (ICML 2023), arXiv:2211.06489.
    """

    def __init__(self, network: nn.Module, width: int = 32, cutoff: float = 5.0) -> None:
        super().__init__()
        self.network = network
        self.cutoff = cutoff
        self.embedding = nn.Embedding(MAX_Z + 1, width, padding_idx=0)
        self.radial = Gaussians(cutoff)
        self.interaction = Interaction(width, self.radial.count)
        self.weights = nn.Linear(width, 2, bias=False)

    @property
    def readout(self) -> Scaling:
        return self.network.readout  # type: ignore[return-value]

    def forward(self, x: Any) -> Float[Tensor, "molecules channels"]:
        x = as_padded(x)
        g = self.frame(x)
        y = self.network(Padded().act(g, x))
        return output_action(self.readout.targets).act(g.inverse(), y, None)

    def frame(self, x: Molecules) -> Affine:
        """(molecules,) the map that lays each molecule into its own frame."""
        pairs = pairs_of(x, self.cutoff)
        h = self.interaction(self.embedding(x.z), self.radial(pairs.distance), pairs)
        weights = self.weights(h) * x.mask.unsqueeze(-1)
        centre = (x.pos * x.mask.unsqueeze(-1)).sum(1) / x.mask.sum(1, keepdim=True).clamp_min(1)
        left = x.pos - centre.unsqueeze(1)
        vectors = (weights.unsqueeze(-1) * left.unsqueeze(2)).sum(1)  # no matrix product: autocast would round it
        return frame_of(vectors[:, 0], vectors[:, 1], centre)


@full_precision
def frame_of(first: Float[Tensor, "b 3"], second: Float[Tensor, "b 3"], centre: Float[Tensor, "b 3"]) -> Affine:
    """The map onto the frame of Gram and Schmidt: `first` along x, `second` in the half-plane of x and positive y."""
    eye = torch.eye(3, dtype=first.dtype, device=first.device)
    a = unit(first, eye[0].expand_as(first))
    across = second - (second * a).sum(-1, keepdim=True) * a
    spare = eye[a.detach().abs().argmin(-1)]  # the axis that is farthest from a
    b = unit(across, spare - (spare * a).sum(-1, keepdim=True) * a)
    b = unit(b - (b * a).sum(-1, keepdim=True) * a, b)  # again: the first time leaves the rounding of a short vector
    rotation = torch.stack([a, b, torch.linalg.cross(a, b)], -2)
    return Affine(rotation, -(rotation @ centre.unsqueeze(-1)).squeeze(-1))


def unit(v: Float[Tensor, "b 3"], spare: Float[Tensor, "b 3"]) -> Float[Tensor, "b 3"]:
    """v / |v|, or the spare one's direction where v is too short to have one."""
    short = v.detach().square().sum(-1, keepdim=True) < SHORTEST**2
    return F.normalize(torch.where(short, spare, v), dim=-1)
