"""Physical units of a network: scale, shift and per-element references, fitted to the training labels."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from molaugerino.datasets.targets import MAX_Z, Target, channel_slices
from molaugerino.errors import UserError
from molaugerino.spaces import Molecules


def masked_mean(values: Float[Tensor, "b n c"], x: Molecules) -> Float[Tensor, "b c"]:
    """Average over the atoms of each molecule."""
    return (values * x.mask.unsqueeze(-1)).sum(1) / x.mask.sum(1, keepdim=True).clamp_min(1)


def square_radii(x: Molecules) -> Float[Tensor, "b n"]:
    """phi_a = |r_a - c|^2 in angstrom^2, c = sum_a z_a r_a / sum_a z_a, the centre of nuclear charge; 0 in the padding.

    The same centre as that of the spatial extent <r^2> of QM9.
    """
    charge = x.z.unsqueeze(-1).to(x.pos.dtype)
    centre = (charge * x.pos).sum(1, keepdim=True) / charge.sum(1, keepdim=True).clamp_min(1)
    return (x.pos - centre).square().sum(-1) * x.mask


ROUNDING = 1e-8  # of labels, relative


class Scaling(nn.Module):
    """y = scale * u + baseline(x),   baseline(x) = shift + sum_a phi_a reference[z_a], per channel.

    phi_a is 1, for an extent the square distance from the centre of nuclear charge. Scale, shift
    and references belong to the model, so that it speaks in physical units in training and
    evaluation alike. Before `fit_scale`, y = u.

    Args:
        targets: what is predicted; three channels for a vector, one for a scalar.
        turning: vectors turn with the molecule: no shift, and one scale for their three channels.
    """

    scale: Tensor
    shift: Tensor
    reference: Tensor
    extents: Tensor

    def __init__(self, targets: list[Target], turning: bool = False) -> None:
        super().__init__()
        self.targets, self.turning = targets, turning
        channels = sum(t.channels for t in targets)
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("shift", torch.zeros(channels))
        self.register_buffer("reference", torch.zeros(MAX_Z + 1, channels))
        extents = [t.readout == "extent" for t in targets for _ in range(t.channels)]
        self.has_extents = any(extents)
        self.register_buffer("extents", torch.tensor(extents), persistent=False)

    def forward(self, u: Float[Tensor, "molecules channels"], x: Molecules) -> Float[Tensor, "molecules channels"]:
        return self.scale * u + self.baseline(x)

    def baseline(self, x: Molecules) -> Float[Tensor, "molecules channels"]:
        """shift + sum_a phi_a reference[z_a]: what is known before the network is asked; 0 for a norm."""
        reference = self.reference[x.z]  # reference[0] is 0: the padding adds nothing
        if self.has_extents:
            reference = torch.where(self.extents, square_radii(x).unsqueeze(-1) * reference, reference)
        return self.shift + reference.sum(1)

    @torch.no_grad()
    def fit_scale(self, x: Molecules, y: Float[Tensor, "molecules channels"]) -> None:
        """Set references, shift and scale from training labels.

        Sums and extents get least-squares references of the elements they have seen, means their
        mean. The scale is the standard deviation of what is left, for sums per root atom, for
        extents over the root mean square of |phi| (a single atom has none). A norm, and a vector
        that turns with the molecule, get the root mean square of one component.

        Args:
            x: the training molecules, padded.
            y: labels in physical units; rows that are not finite in a target are left out of its fit.

        Raises:
            UserError: where a target has no label at all.
        """
        for target, channels in zip(self.targets, channel_slices(self.targets), strict=True):
            rows = torch.isfinite(y[:, channels]).all(1)
            if not bool(rows.any()):
                raise UserError(f"no training molecule has a label of {target.name}; leave it out of the targets")
            labels = y[rows][:, channels].double()
            labelled = Molecules(*(field[rows] for field in x))
            reference, shift, scale = self._fit(target, labelled, labels)
            self.reference[:, channels], self.shift[channels], self.scale[channels] = reference, shift, scale

    def _fit(self, target: Target, x: Molecules, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reference (MAX_Z + 1, channels), shift and scale (channels,) of one target."""
        reference = labels.new_zeros(MAX_Z + 1, labels.shape[1])
        none = labels.new_zeros(labels.shape[1])
        if target.readout == "norm" and bool((labels < 0).any()):
            raise UserError(
                f"{target.name} is read out as the length of a vector, and a training molecule has {labels.min():.4g} "
                f"{target.unit}; give --readout mean, or sum"
            )
        if target.readout == "norm" or (target.kind == "vector" and self.turning):
            component = labels.square().sum(1).mean().div(3).sqrt()
            return reference, none, torch.where(component > 0, component, 1.0).expand_as(none)
        if target.readout == "mean":
            return reference, labels.mean(0), spread(labels - labels.mean(0), labels)
        weights = square_radii(x).double() if target.readout == "extent" else x.mask.double()
        features = weights.new_zeros(len(weights), MAX_Z + 1).scatter_add_(1, x.z, weights)
        seen = features.any(0).nonzero()[:, 0]
        solution = np.linalg.lstsq(features[:, seen].cpu().numpy(), labels.cpu().numpy(), rcond=None)[0]
        reference[seen] = torch.from_numpy(solution).to(labels)
        size = weights.square().sum(1, keepdim=True)
        if target.readout == "extent":
            size = size.mean().clamp_min(1e-8)
        return reference, none, spread((labels - features @ reference) / size.sqrt(), labels)


def spread(
    left: Float[Tensor, "molecules channels"], labels: Float[Tensor, "molecules channels"]
) -> Float[Tensor, " channels"]:
    """Standard deviation of what is left of labels, above that of rounding; 1 where there is one molecule."""
    if len(left) < 2:
        return torch.ones_like(left[0])
    largest = labels.abs().amax(0)
    return left.std(0).maximum(ROUNDING * torch.where(largest > 0, largest, 1.0))
