"""PaiNN: an equivariant network whose atoms carry scalars and vectors."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molaugerino.datasets.targets import MAX_Z, Target
from molaugerino.models.pairs import SOFT, Gaussians, Pairs, pairs_of
from molaugerino.models.readout import Readout
from molaugerino.spaces import as_padded


class Message(nn.Module):
    """s_i += sum_j a_ij,   v_i += sum_j b_ij v_j + c_ij u_ij,   (a, b, c)_ij = MLP(s_j) * W(d_ij) w_ij.

    u_ij is the unit vector from i to j, W linear in radial functions, w_ij the fading weight.
    """

    def __init__(self, width: int, radial: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 3 * width))
        self.filter = nn.Linear(radial, 3 * width)

    def forward(
        self,
        s: Float[Tensor, "b n width"],
        v: Float[Tensor, "b n 3 width"],
        radial: Float[Tensor, "b n n radial"],
        pairs: Pairs,
    ) -> tuple[Float[Tensor, "b n width"], Float[Tensor, "b n 3 width"]]:
        filters = self.filter(radial) * pairs.weight.unsqueeze(-1)  # (b, i, j, 3 width)
        a, b, c = (filters * self.mlp(s).unsqueeze(1)).chunk(3, -1)
        unit = pairs.arrow / pairs.distance.unsqueeze(-1)
        carried = torch.einsum("bijw,bjxw->bixw", b, v) + torch.einsum("bijw,bijx->bixw", c, unit)
        return s + a.sum(2), v + carried


class Update(nn.Module):
    """v_i += a U v_i,   s_i += b <U v_i, V v_i> + c,   (a, b, c) = MLP([s_i, |V v_i|])."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mixed = nn.Linear(width, 2 * width, bias=False)
        self.mlp = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, 3 * width))

    def forward(
        self, s: Float[Tensor, "b n width"], v: Float[Tensor, "b n 3 width"]
    ) -> tuple[Float[Tensor, "b n width"], Float[Tensor, "b n 3 width"]]:
        left, right = self.mixed(v).chunk(2, -1)
        size = (right.square().sum(2) + SOFT).sqrt()
        a, b, c = self.mlp(torch.cat([s, size], -1)).chunk(3, -1)
        return s + b * (left * right).sum(2) + c, v + a.unsqueeze(2) * left


class PaiNN(nn.Module):
    """f(z, r): scalars and vectors on every atom, exchanged within a cutoff.

    Scalars are invariant under rotations, translations and reflections, vectors turn with the
    molecule. A dipole is that of the charges and the dipoles it gives to the atoms. Dense: all
    pairs of a molecule are computed.

    Args:
        targets: what is predicted.
        width: scalars, and vectors, per atom.
        depth: number of exchanges.
        cutoff: distance beyond which atoms do not see each other, angstrom.

    Input: `Molecules`, or a batch of torch_geometric. Output: (molecules, channels), in the
    targets' units.

    Source: Schuett, Unke, Gastegger, Equivariant message passing for the prediction of
    tensorial properties and molecular spectra (ICML 2021), arXiv:2102.03150. Here with
    Gaussians for radial functions, and linear maps of the vectors for the dipoles.
    """

    def __init__(self, targets: list[Target], width: int = 64, depth: int = 4, cutoff: float = 5.0) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.embedding = nn.Embedding(MAX_Z + 1, width, padding_idx=0)
        self.radial = Gaussians(cutoff)
        self.messages = nn.ModuleList(Message(width, self.radial.count) for _ in range(depth))
        self.updates = nn.ModuleList(Update(width) for _ in range(depth))
        self.readout = Readout(width, targets, "equivariant")

    def forward(self, x: Any) -> Float[Tensor, "molecules channels"]:
        x = as_padded(x)
        pairs = pairs_of(x, self.cutoff)
        radial = self.radial(pairs.distance)
        s = self.embedding(x.z)
        v = s.new_zeros(*s.shape[:2], 3, s.shape[-1])
        for message, update in zip(self.messages, self.updates, strict=True):
            s, v = update(*message(s, v, radial, pairs))
        return self.readout(s, x, v)
