"""Message passing on a neighbour graph, deliberately not invariant."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from molaugerino.datasets.targets import MAX_Z, Target
from molaugerino.models.pairs import LENGTH, Gaussians, pairs_of
from molaugerino.models.readout import Readout
from molaugerino.spaces import Molecules, as_padded


def neighbours(x: Molecules, cutoff: float) -> tuple[Int[Tensor, "2 edges"], Float[Tensor, " edges"]]:
    """Edges j -> i (2, edges) between atoms numbered as `as_points` lists them, and their fading weights.

    Built from all pairs of each molecule: for some tens of atoms that beats a search.
    """
    weight = pairs_of(x, cutoff).weight
    molecule, i, j = (weight > 0).nonzero().unbind(1)
    number = torch.cumsum(x.mask.flatten(), 0).reshape(x.mask.shape) - 1
    return torch.stack([number[molecule, j], number[molecule, i]]), weight[molecule, i, j]


class Passing(MessagePassing):
    """h_i <- h_i + MLP(sum_j w_ij MLP([h_i, h_j, e_ij])): e_ij what an edge may know, w_ij its weight."""

    def __init__(self, width: int, edge: int) -> None:
        super().__init__(aggr="add")
        self.norm = nn.LayerNorm(width)
        self.pair = nn.Sequential(nn.Linear(2 * width + edge, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, h: Tensor, edge_index: Tensor, edges: Tensor, weight: Tensor) -> Tensor:
        return h + self.mlp(self.propagate(edge_index, h=self.norm(h), edges=edges, weight=weight))

    def message(self, h_i: Tensor, h_j: Tensor, edges: Tensor, weight: Tensor) -> Tensor:
        return weight.unsqueeze(-1) * self.pair(torch.cat([h_i, h_j, edges], -1))


class GraphNetwork(nn.Module):
    """f(z, x): messages between neighbours that see displacements, distances, and where both ends are.

    Permutation-invariant, but knows nothing of rotations or translations. With `relative`
    messages do not see where their ends are: invariant under translations, not under
    rotations. The neighbour graph is made from the positions that come in, after any
    augmentation.

    Args:
        targets: what is predicted.
        width: features per atom.
        depth: number of rounds of messages.
        cutoff: distance beyond which atoms do not see each other, angstrom.
        relative: displacements only.

    Input: `Molecules`, or a batch of torch_geometric, whose `edge_index` is not used. Output:
    (molecules, channels), in the targets' units.
    """

    def __init__(
        self,
        targets: list[Target],
        width: int = 64,
        depth: int = 4,
        cutoff: float = 5.0,
        relative: bool = False,
    ) -> None:
        super().__init__()
        self.cutoff, self.relative = cutoff, relative
        self.embedding = nn.Embedding(MAX_Z + 1, width, padding_idx=0)
        self.radial = Gaussians(cutoff)
        edge = self.radial.count + (3 if relative else 9)
        self.rounds = nn.ModuleList(Passing(width, edge) for _ in range(depth))
        self.readout = Readout(width, targets)

    def forward(self, x: Any) -> Float[Tensor, "molecules channels"]:
        x = as_padded(x)
        edge_index, weight = neighbours(x, self.cutoff)
        edges = self.edges(x.pos[x.mask], edge_index)
        h = self.embedding(x.z[x.mask])  # (atoms, width)
        for passing in self.rounds:
            h = passing(h, edge_index, edges, weight)
        padded = h.new_zeros(*x.mask.shape, h.shape[-1])
        return self.readout(padded.masked_scatter(x.mask.unsqueeze(-1), h), x)

    def edges(
        self, pos: Float[Tensor, "atoms 3"], edge_index: Int[Tensor, "2 edges"]
    ) -> Float[Tensor, "edges features"]:
        """Displacement and radial functions of the distance; unless relative, the positions of both ends."""
        start, end = pos[edge_index[0]], pos[edge_index[1]]
        arrow = start - end
        seen = [self.radial((arrow.square().sum(-1) + 1e-6).sqrt()), arrow / LENGTH]
        return torch.cat(seen if self.relative else [*seen, start / LENGTH, end / LENGTH], -1)
