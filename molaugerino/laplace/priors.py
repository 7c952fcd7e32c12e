"""A prior precision for every tensor of a network."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from molaugerino.errors import UserError


class Priors(nn.Module):
    """p(theta_l) = N(0, 1 / delta_l), delta_l = exp(log_precision_l), one for every parameter tensor.

    Args:
        model: whose parameters they are of; those that are not trained have none.
        names: which of them; None takes all.
        precision: of all, at first.

    Raises:
        UserError: for a precision that is not positive, or a network without such parameters.
    """

    def __init__(self, model: nn.Module, names: Iterable[str] | None = None, precision: float = 1.0) -> None:
        super().__init__()
        if not precision > 0:
            raise UserError(f"`precision` must be positive, got {precision}")
        wanted = None if names is None else set(names)
        trained = {name for name, p in model.named_parameters() if p.requires_grad}
        if wanted is not None and wanted - trained:
            raise UserError(f"the network trains no parameter {', '.join(sorted(wanted - trained))}")
        self.names = [name for name, _ in model.named_parameters() if name in (trained if wanted is None else wanted)]
        if not self.names:
            raise UserError("the network has no parameter that is trained, so there is nothing to put a prior on")
        self.log_precision = nn.Parameter(torch.full((len(self.names),), math.log(precision), dtype=torch.float64))

    def precisions(self) -> dict[str, Tensor]:
        """delta_l by the name of the tensor."""
        return dict(zip(self.names, self.log_precision.exp(), strict=True))

    def penalty(self, model: nn.Module) -> Tensor:
        """1/2 sum_l delta_l |theta_l|^2: -log p(theta) without its constant; the precisions get no gradient."""
        own = dict(model.named_parameters())
        squares = torch.stack([own[name].square().sum() for name in self.names])
        return 0.5 * (self.log_precision.detach().exp().to(squares) * squares).sum()

    def squares(self, model: nn.Module) -> dict[str, Tensor]:
        """|theta_l|^2 by the name of the tensor, without gradients."""
        own = dict(model.named_parameters())
        return {name: own[name].detach().double().square().sum() for name in self.names}
