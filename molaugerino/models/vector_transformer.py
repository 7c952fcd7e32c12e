"""Attention over distances with vectors on the side: an equivariant transformer."""

from __future__ import annotations

from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from molaugerino.datasets.targets import MAX_Z, Target
from molaugerino.groups.precision import full_precision
from molaugerino.models.pairs import Gaussians, pairs_of
from molaugerino.models.readout import Readout
from molaugerino.spaces import as_padded

FARTHEST = 8.0  # angstrom: beyond it attention does not tell distances apart
RADIAL = 33


class Block(nn.Module):
    """One exchange between all atoms, per head:

        h_i += W sum_j a_ij value_j,                        a_ij = softmax_j (q_i k_j + bias_ij)
        v_i += sum_j turned_ij u_ij m_j + passed_ij v_j
        h_i += W <L v_i, R v_i>
        h_i += MLP(h_i)

    bias, turned and passed are what heads see of a distance, u_ij is the unit vector from i to j; q, k, value and m are
    linear in the normalised h, L and R linear maps among the channels of v.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 4 * width)  # q, k, value, m
        self.out = nn.Linear(width, width)
        self.mix = nn.Linear(width, 2 * width, bias=False)  # L, R
        self.products = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(
        self,
        h: Float[Tensor, "b n width"],
        v: Float[Tensor, "b heads n 3 channels"] | None,
        seen: tuple[Tensor, Tensor, Tensor],
        unit: Float[Tensor, "b 1 n 3 n"],
        mask: Bool[Tensor, "b n"],
    ) -> tuple[Float[Tensor, "b n width"], Float[Tensor, "b heads n 3 channels"]]:
        b, n, width = h.shape
        bias, turned, passed = seen  # (b, heads, n, n) each
        q, k, value, m = self.project(self.norm1(h)).reshape(b, n, 4, self.heads, -1).permute(2, 0, 3, 1, 4)
        logits = q @ k.mT * q.shape[-1] ** -0.5 + bias
        attention = logits.masked_fill(~mask[:, None, None, :], -1e9).softmax(-1)
        update = self.out((attention @ value).transpose(1, 2).reshape(b, n, width))
        arrows = ((turned.unsqueeze(3) * unit).flatten(2, 3) @ m).reshape(b, self.heads, n, 3, -1)
        v = arrows if v is None else v + arrows + (passed @ v.flatten(3)).reshape(arrows.shape)
        left, right = self.mix(channels_last(v)).chunk(2, -1)
        h = h + update + self.products((left * right).sum(2))
        return h + self.mlp(self.norm2(h)), v


def channels_last(v: Float[Tensor, "b heads n 3 channels"]) -> Float[Tensor, "b n 3 width"]:
    """The channels of all heads side by side."""
    return v.permute(0, 2, 3, 1, 4).flatten(3)


class VectorTransformer(nn.Module):
    """f(z, r): a transformer over atoms whose attention sees distances, with vectors that are exchanged beside.

    Scalars are invariant under rotations, translations and reflections, vectors turn with the
    molecule; inner products of vectors tell the scalars about angles. Attention reaches all
    atoms of a molecule, vectors those within the cutoff. Dense, and made of products of small
    matrices, so that a step takes hardly longer than that of a plain transformer.

    Args:
        targets: what is predicted.
        width: scalars, and vectors, per atom.
        depth: number of exchanges.
        heads: of attention, and kinds of messages between vectors; divides the width.
        pair: features per pair of atoms.
        cutoff: distance beyond which atoms exchange no vectors, angstrom.
        absolute: atoms see their coordinates, too, and nothing is respected any more: it is left to a law.

    Input: `Molecules`, or a batch of torch_geometric. Output: (molecules, channels), in the
    targets' units.

    Source: after Thoelke and De Fabritiis, TorchMD-NET: equivariant transformers for neural network
    based molecular potentials (ICLR 2022), arXiv:2202.02541, and PaiNN, arXiv:2102.03150; there the
    messages have filters per channel, here per head.
    """

    def __init__(
        self,
        targets: list[Target],
        width: int = 64,
        depth: int = 4,
        heads: int = 8,
        pair: int = 32,
        cutoff: float = 5.0,
        absolute: bool = False,
    ) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.embedding = nn.Embedding(MAX_Z + 1, width, padding_idx=0)
        self.coordinates = nn.Sequential(nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width)) if absolute else None
        self.radial = Gaussians(FARTHEST, RADIAL)
        self.seen = (3, depth, heads)
        self.pairs = nn.Sequential(
            nn.Linear(RADIAL, 2 * pair),
            nn.SiLU(),
            nn.Linear(2 * pair, pair),
            nn.SiLU(),
            nn.Linear(pair, 3 * depth * heads),
        )
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.readout = Readout(width, targets, "equivariant")

    def forward(self, x: Any) -> Float[Tensor, "molecules channels"]:
        x = as_padded(x)
        pairs = pairs_of(x, self.cutoff)
        unit = (pairs.arrow / pairs.distance.unsqueeze(-1)).mT.unsqueeze(1)  # (b, 1, n, 3, n)
        seen = self.pairs(self.radial(pairs.distance)).permute(0, 3, 1, 2)
        seen = seen.reshape(seen.shape[0], *self.seen, *seen.shape[-2:])
        bias, turned, passed = seen.unbind(1)  # (b, depth, heads, n, n) each
        fading = pairs.weight[:, None, None]
        layers = zip(*(each.unbind(1) for each in (bias, turned * fading, passed * fading)), strict=True)
        h, v = self.embedding(x.z), None
        if self.coordinates is not None:
            h = h + full_precision(self.coordinates)(x.pos)
        for block, seen_here in zip(self.blocks, layers, strict=True):
            h, v = block(h, v, seen_here, unit, x.mask)
        return self.readout(h, x, None if v is None else channels_last(v))
