"""Attention over distances with vectors on the side: an equivariant transformer."""

from __future__ import annotations

from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

from molaugerino.datasets.targets import MAX_Z, Target
from molaugerino.models.pairs import Gaussians, Pairs, pairs_of
from molaugerino.models.readout import Readout
from molaugerino.spaces import as_padded

FARTHEST = 8.0  # angstrom: beyond it attention does not tell distances apart
RADIAL = 33


class Block(nn.Module):
    """One exchange between all atoms, with e_ij what attention knows of a distance:

        h_i += W sum_j a_ij value_j,                        a_ij = softmax_j (q_i k_j + bias(e_ij)), one per head
        v_i += sum_j w_ij (b_ij u_ij m_j + c_ij v_j),       b_ij, c_ij linear in e_ij, one per head
        h_i += W <L v_i, R v_i>
        h_i += MLP(h_i)

    u_ij is the unit vector from i to j, w_ij the weight that fades out at the cutoff; q, k, value and m are linear in
    the normalised h, L and R linear maps among the channels of v. Each head has the same number of channels of h as
    of v.
    """

    def __init__(self, width: int, heads: int, pair: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 4 * width)  # q, k, value, m
        self.of_pair = nn.Linear(pair, 3 * heads)  # bias, b, c
        self.out = nn.Linear(width, width)
        self.mix = nn.Linear(width, 2 * width, bias=False)  # L, R
        self.lengths = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(
        self,
        h: Float[Tensor, "b n width"],
        v: Float[Tensor, "b heads 3 n channels"] | None,
        e: Float[Tensor, "b n n pair"],
        unit: Float[Tensor, "b 1 3 n n"],
        pairs: Pairs,
        mask: Bool[Tensor, "b n"],
    ) -> tuple[Float[Tensor, "b n width"], Float[Tensor, "b heads 3 n channels"]]:
        b, n, width = h.shape
        q, k, value, m = self.project(self.norm1(h)).reshape(b, n, 4, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias, turned, passed = self.of_pair(e).permute(0, 3, 1, 2).chunk(3, 1)  # (b, heads, n, n) each
        logits = q @ k.mT * q.shape[-1] ** -0.5 + bias
        attention = logits.masked_fill(~mask[:, None, None, :], -1e9).softmax(-1)
        update = self.out((attention @ value).transpose(1, 2).reshape(b, n, width))

        fading = pairs.weight.unsqueeze(1)
        arrows = ((turned * fading).unsqueeze(2) * unit).flatten(2, 3) @ m  # (b, heads, 3 n, channels)
        exchanged = arrows.unflatten(2, (3, n))
        if v is not None:
            exchanged = exchanged + v + (passed * fading).unsqueeze(2) @ v
        left, right = self.mix(channels_last(exchanged)).chunk(2, -1)
        h = h + update + self.lengths((left * right).sum(2))
        return h + self.mlp(self.norm2(h)), exchanged


def channels_last(v: Float[Tensor, "b heads 3 n channels"]) -> Float[Tensor, "b n 3 width"]:
    """The channels of all heads side by side."""
    return v.permute(0, 3, 2, 1, 4).flatten(3)


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
    ) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.embedding = nn.Embedding(MAX_Z + 1, width, padding_idx=0)
        self.radial = Gaussians(FARTHEST, RADIAL)
        self.pairs = nn.Sequential(nn.Linear(RADIAL, 2 * pair), nn.SiLU(), nn.Linear(2 * pair, pair), nn.SiLU())
        self.blocks = nn.ModuleList(Block(width, heads, pair) for _ in range(depth))
        self.readout = Readout(width, targets, "equivariant")

    def forward(self, x: Any) -> Float[Tensor, "molecules channels"]:
        x = as_padded(x)
        pairs = pairs_of(x, self.cutoff)
        e = self.pairs(self.radial(pairs.distance))
        unit = (pairs.arrow / pairs.distance.unsqueeze(-1)).permute(0, 3, 1, 2).unsqueeze(1)
        h, v = self.embedding(x.z), None
        for block in self.blocks:
            h, v = block(h, v, e, unit, pairs, x.mask)
        return self.readout(h, x, None if v is None else channels_last(v))
