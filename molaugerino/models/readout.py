"""From atom features to properties in physical units."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from molaugerino.datasets.targets import MAX_Z, Target
from molaugerino.spaces import Molecules


class Readout(nn.Module):
    """y = scale * pool_a(MLP(h_a)) + shift + sum_a reference[z_a], pool = sum or mean over the atoms, per channel.

    Scale, shift and per-element references belong to the model, so that it speaks in physical
    units in training and evaluation alike.

    Args:
        width: features per atom.
        targets: what is predicted; three channels for a vector, one for a scalar.
    """

    scale: Tensor
    shift: Tensor
    reference: Tensor
    summed: Tensor

    def __init__(self, width: int, targets: list[Target]) -> None:
        super().__init__()
        summed = [t.readout == "sum" for t in targets for _ in range(t.channels)]
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, len(summed)))
        self.register_buffer("summed", torch.tensor(summed), persistent=False)
        self.register_buffer("scale", torch.ones(len(summed)))
        self.register_buffer("shift", torch.zeros(len(summed)))
        self.register_buffer("reference", torch.zeros(MAX_Z + 1, len(summed)))

    def forward(self, h: Float[Tensor, "molecules atoms width"], x: Molecules) -> Float[Tensor, "molecules channels"]:
        per_atom = self.mlp(h) * x.mask.unsqueeze(-1)
        count = x.mask.sum(1, keepdim=True).clamp_min(1)
        pooled = per_atom.sum(1) / torch.where(self.summed, 1.0, count)
        return self.scale * pooled + self.baseline(x)

    def baseline(self, x: Molecules) -> Float[Tensor, "molecules channels"]:
        """shift + sum_a reference[z_a]: what is known before any geometry is looked at."""
        return self.shift + self.reference[x.z].sum(1)  # reference[0] is 0: the padding adds nothing

    def fit_scale(self, z: Tensor, y: Tensor) -> None:
        """Set references, shift and scale from training labels.

        Args:
            z: (molecules, atoms) atomic numbers, 0 in the padding.
            y: (molecules, channels) labels in physical units.

        Extensive channels get least-squares energies per element, the others their mean; the
        scale is the standard deviation of what is left, for extensive ones per root atom.
        """
        counts = torch.zeros(len(z), MAX_Z + 1, dtype=torch.float64).scatter_add_(1, z, (z > 0).double())
        labels = y.double()
        fitted = torch.from_numpy(np.linalg.lstsq(counts.numpy(), labels.numpy(), rcond=None)[0])
        reference = torch.where(self.summed, fitted, 0.0)
        left = labels - counts @ reference
        shift = torch.where(self.summed, 0.0, left.mean(0))
        atoms = torch.where(self.summed, counts.sum(1, keepdim=True).sqrt(), 1.0)
        scale = ((left - shift) / atoms).std(0).clamp_min(1e-8)
        for buffer, value in ((self.reference, reference), (self.shift, shift), (self.scale, scale)):
            buffer.copy_(value)
