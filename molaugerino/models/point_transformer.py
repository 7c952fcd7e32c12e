"""A plain dense transformer on atoms, deliberately not invariant."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from molaugerino.datasets.targets import MAX_Z, Target
from molaugerino.groups.precision import full_precision
from molaugerino.models.readout import Readout
from molaugerino.spaces import as_padded

LONGEST = 6.0  # angstrom, the centre of the last radial function
RADIAL = 24


class PairFeatures(nn.Module):
    """e_ij = MLP([gaussians of |x_j - x_i|, x_j - x_i]): what attention may know of a pair, exactly as given."""

    centres: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(0.5, LONGEST, RADIAL), persistent=False)
        self.mlp = nn.Sequential(nn.Linear(RADIAL + 6, 2 * width), nn.SiLU(), nn.Linear(2 * width, width), nn.SiLU())

    def forward(self, pos: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n n pair"]:
        arrow = pos.unsqueeze(1) - pos.unsqueeze(2)  # (b, n, n, 3), from i to j
        square = arrow.square().sum(-1, keepdim=True)
        distance = (square + 1e-6).sqrt()  # finite slope on the diagonal
        spacing = (LONGEST - 0.5) / (RADIAL - 1)
        radial = torch.exp(-0.5 * ((distance - self.centres) / spacing).square())
        return self.mlp(torch.cat([radial, arrow / LONGEST, arrow / (distance + 1.0)], -1))


class Block(nn.Module):
    """Attention with a bias from the pairs, whose features also travel with the values; then an MLP."""

    def __init__(self, width: int, heads: int, pair: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.bias = nn.Linear(pair, heads) if pair else None
        self.pair_out = nn.Linear(heads * pair, width, bias=False) if pair else None
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(
        self, h: Float[Tensor, "b n width"], pairs: Float[Tensor, "b n n pair"] | None, mask: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "b n width"]:
        b, n, width = h.shape
        q, k, v = self.qkv(self.norm1(h)).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (b, heads, n, d)
        logits = q @ k.mT * q.shape[-1] ** -0.5
        if pairs is not None:
            logits = logits + self.bias(pairs).permute(0, 3, 1, 2)
        attention = logits.masked_fill(~mask[:, None, None, :], -1e9).softmax(-1)  # (b, heads, n, n)
        update = self.out((attention @ v).transpose(1, 2).reshape(b, n, width))
        if pairs is not None:
            carried = attention.transpose(1, 2) @ pairs  # (b, n, heads, pair)
            update = update + self.pair_out(carried.flatten(2))
        h = h + update
        return h + self.mlp(self.norm2(h))


class PointTransformer(nn.Module):
    """f(z, x): transformer whose tokens see absolute coordinates and whose attention sees distances and displacements.

    Permutation-invariant, but knows nothing of rotations or translations: it gets coordinates
    exactly as they are, and never centres them. `pairwise=False` leaves the absolute
    coordinates alone, which learn far more slowly.

    Args:
        targets: what is predicted.
        width: features per atom.
        depth: number of blocks.
        heads: attention heads; divides the width.
        pair: features per pair of atoms.
        pairwise: whether attention sees distances and displacements.

    Input: `Molecules` (z, pos in angstrom, mask), or a batch of torch_geometric. Output:
    (molecules, channels), in the targets' units.
    """

    def __init__(
        self,
        targets: list[Target],
        width: int = 96,
        depth: int = 4,
        heads: int = 8,
        pair: int = 32,
        pairwise: bool = True,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(MAX_Z + 1, width, padding_idx=0)
        self.coordinates = nn.Sequential(nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width))
        self.pairs = PairFeatures(pair) if pairwise else None
        self.blocks = nn.ModuleList(Block(width, heads, pair if pairwise else 0) for _ in range(depth))
        self.readout = Readout(width, targets)

    def forward(self, x: Any) -> Float[Tensor, "molecules channels"]:
        x = as_padded(x)
        h = self.embedding(x.z) + full_precision(self.coordinates)(x.pos / LONGEST)
        pairs = None if self.pairs is None else self.pairs(x.pos)
        for block in self.blocks:
            h = block(h, pairs, x.mask)
        return self.readout(h, x)
