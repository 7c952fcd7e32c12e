"""How predictions of molecules are judged: the loss in spreads of the labels, errors in their units."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from molaugerino.datasets import Target, channel_slices, labels_of


def make_loss(left: Tensor, targets: list[Target], epoch: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """sum_c w_c |error_c| / spread_c over the labelled channels, (examples,).

    w_c = 1 / (channels of its target * targets) * sqrt(molecules / molecules labelled): with every molecule labelled
    all targets have the same weight, and scarce ones gain on plentiful ones otherwise.

    Args:
        left: (training molecules, channels) what has to be learned, NaN without a label.
        targets: whose channels these are.
        epoch: rows of `left` in one pass.
    """
    share = torch.cat([torch.full((t.channels,), 1 / (t.channels * len(targets))) for t in targets])
    labelled = torch.isfinite(left)[epoch].float().mean(0)
    weight = share * torch.where(labelled > 0, labelled.clamp_min(1e-8).rsqrt(), 0.0) / spreads_of(left)

    def loss(prediction: Tensor, label: Tensor) -> Tensor:
        wanted = torch.where(torch.isnan(label), prediction.detach(), label)  # here, so that no slope is NaN
        return (prediction - wanted).abs() @ weight.to(label)

    return loss


def spreads_of(left: Tensor) -> Tensor:
    """(channels,) standard deviations of what has to be learned; 1 where there is none."""
    known = [column[torch.isfinite(column)] for column in left.T]
    found = torch.stack([labels.std() if len(labels) > 1 else torch.tensor(1.0) for labels in known])
    return torch.where(found > 0, found, 1.0)


def make_metrics(targets: list[Target]) -> Callable[[Tensor, Tensor], dict[str, Tensor]]:
    """Absolute errors per target in its unit, (examples,) each, NaN without a label."""
    slices, names = channel_slices(targets), labels_of(targets)

    def metrics(prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        errors = (prediction - label).abs()
        parts = zip(names, targets, slices, strict=True)
        return {f"mae/{name}[{t.unit}]": errors[:, s].mean(1) for name, t, s in parts}

    return metrics
