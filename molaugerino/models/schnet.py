"""SchNet: an invariant network that sees distances alone."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molaugerino.datasets.targets import MAX_Z, Target
from molaugerino.models.pairs import Gaussians, Pairs, pairs_of
from molaugerino.models.readout import Readout
from molaugerino.spaces import as_padded


class Interaction(nn.Module):
    """h_i <- h_i + MLP(sum_j w_ij W(d_ij) * V h_j), the filter W a network of the distance, w_ij the fading weight."""

    def __init__(self, width: int, radial: int) -> None:
        super().__init__()
        self.filter = nn.Sequential(nn.Linear(radial, width), nn.SiLU(), nn.Linear(width, width))
        self.value = nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(
        self, h: Float[Tensor, "b n width"], radial: Float[Tensor, "b n n radial"], pairs: Pairs
    ) -> Float[Tensor, "b n width"]:
        filters = self.filter(radial) * pairs.weight.unsqueeze(-1)  # (b, i, j, width)
        return h + self.mlp(torch.einsum("bijw,bjw->biw", filters, self.value(h)))


class SchNet(nn.Module):
    """f(z, d): continuous-filter convolutions over the distances within a cutoff.

    Invariant under rotations, translations and reflections: it does not see more. A dipole is
    that of the charges it gives to the atoms. Dense: all pairs of a molecule are computed,
    which is fast for some tens of atoms.

    Args:
        targets: what is predicted.
        width: features per atom.
        depth: number of interactions.
        cutoff: distance beyond which atoms do not see each other, angstrom.

    Input: `Molecules`, or a batch of torch_geometric. Output: (molecules, channels), in the
    targets' units.

    Source: Schuett, Sauceda, Kindermans, Tkatchenko, Mueller, SchNet - a deep learning
    architecture for molecules and materials, J. Chem. Phys. 148, 241722 (2018),
    arXiv:1712.06113. Here with SiLU for the shifted softplus.
    """

    def __init__(self, targets: list[Target], width: int = 64, depth: int = 4, cutoff: float = 5.0) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.embedding = nn.Embedding(MAX_Z + 1, width, padding_idx=0)
        self.radial = Gaussians(cutoff)
        self.interactions = nn.ModuleList(Interaction(width, self.radial.count) for _ in range(depth))
        self.readout = Readout(width, targets, "invariant")

    def forward(self, x: Any) -> Float[Tensor, "molecules channels"]:
        x = as_padded(x)
        pairs = pairs_of(x, self.cutoff)
        radial = self.radial(pairs.distance)
        h = self.embedding(x.z)
        for interaction in self.interactions:
            h = interaction(h, radial, pairs)
        return self.readout(h, x)
