"""From atom features to properties in physical units."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molaugerino.datasets.targets import Target
from molaugerino.models.scaling import Scaling, masked_mean, square_radii
from molaugerino.spaces import Molecules

Features = Literal["free", "invariant", "equivariant"]


class Readout(Scaling):
    """y = scale * u + baseline(x), and by the readout of the target

        mean, sum    u = mean_a or sum_a q_a
        extent       u = sum_a phi_a q_a,   phi_a = |r_a - c|^2, c the centre of nuclear charge
        norm         u = |m|,   m = sum_a (q_a - mean q) r_a + v_a, the dipole of charges and atomic dipoles
        a vector     u = m; of a free network, three channels, each a mean or sum

    with q_a = MLP(h_a). The v_a are three channels of the MLP for a free network; linear in the
    vector features for an equivariant one; absent for an invariant one.

    Args:
        width: features per atom.
        targets: what is predicted; three channels for a vector, one for a scalar.
        features: what the network's features do when the molecule turns: anything, nothing, or
            nothing while the vector features turn with it.
    """

    counted: Tensor
    spaced: Tensor

    def __init__(self, width: int, targets: list[Target], features: Features = "free") -> None:
        super().__init__(targets, turning=features != "free")
        self.features = features
        free = features == "free"
        self.moments = [t.readout == "norm" or (t.kind == "vector" and not free) for t in targets]
        sizes = [(4 if free else 1) if moment else t.channels for t, moment in zip(targets, self.moments, strict=True)]
        pools = [t.readout for t, size in zip(targets, sizes, strict=True) for _ in range(size)]
        self.sizes = sizes
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, len(pools)))
        several = features == "equivariant" and any(self.moments)
        self.mix = nn.Linear(width, sum(self.moments), bias=False) if several else None
        self.register_buffer("counted", torch.tensor([pool == "mean" for pool in pools]), persistent=False)
        self.register_buffer("spaced", torch.tensor([pool == "extent" for pool in pools]), persistent=False)

    def forward(
        self,
        h: Float[Tensor, "molecules atoms width"],
        x: Molecules,
        arrows: Float[Tensor, "molecules atoms 3 width"] | None = None,
    ) -> Float[Tensor, "molecules channels"]:
        per_atom = self.mlp(h).to(x.pos.dtype) * x.mask.unsqueeze(-1)  # sums and units are for full precision
        weighted = per_atom
        if self.has_extents:
            weighted = torch.where(self.spaced, square_radii(x).unsqueeze(-1) * per_atom, per_atom)
        count = x.mask.sum(1, keepdim=True).clamp_min(1)
        pooled = weighted.sum(1) / torch.where(self.counted, count, 1.0)
        if any(self.moments):
            pooled = self._with_moments(pooled, per_atom, x, arrows)
        return self.scale * pooled + self.baseline(x)

    def _with_moments(self, pooled: Tensor, per_atom: Tensor, x: Molecules, arrows: Tensor | None) -> Tensor:
        """The pooled values (molecules, channels), with dipoles and their lengths where the targets ask for them."""
        turned = None
        if self.mix is not None and arrows is not None:
            atomic = self.mix(arrows).to(x.pos.dtype) * x.mask[..., None, None]
            turned = iter(atomic.sum(1).unbind(-1))  # (molecules, 3) each
        values = []
        totals, shares = torch.split(pooled, self.sizes, 1), torch.split(per_atom, self.sizes, 2)
        for target, moment, value, atoms in zip(self.targets, self.moments, totals, shares, strict=True):
            if moment:
                dipole = charge_moment(atoms[..., :1], x)
                if turned is not None:
                    dipole = dipole + next(turned)
                elif self.features == "free":
                    dipole = dipole + value[:, 1:]
                value = length(dipole) if target.readout == "norm" else dipole
            values.append(value)
        return torch.cat(values, 1)


def length(v: Float[Tensor, "molecules 3"]) -> Float[Tensor, "molecules 1"]:
    """|v|, with slope 0 at v = 0."""
    return torch.linalg.vector_norm(v, dim=-1, keepdim=True)


def charge_moment(q: Float[Tensor, "b n 1"], x: Molecules) -> Float[Tensor, "b 3"]:
    """sum_a (q_a - mean q) r_a: the same wherever the origin is, since the charges add up to none."""
    neutral = (q - masked_mean(q, x).unsqueeze(1)) * x.mask.unsqueeze(-1)
    return (neutral * x.pos).sum(1)
