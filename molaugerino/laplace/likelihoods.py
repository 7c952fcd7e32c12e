"""What a prediction says of a label: log-likelihoods, and the curvature of each in the outputs."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


@runtime_checkable
class Likelihood(Protocol):
    """log p(y | f), a Module where it has a parameter of its own.

    The curvature in the outputs is tau L L^t, of which the network gives L and the likelihood's own parameter tau, so
    that a curvature of the weights holds for every tau.
    """

    @property
    def precision(self) -> Tensor:
        """tau, differentiable."""

    def losses(self, f: Float[Tensor, "rows outputs"], y: Tensor) -> Float[Tensor, " rows"]:
        """-log p(y | f) without its constant: what the weights are trained on."""

    def statistics(self, f: Float[Tensor, "rows outputs"], y: Tensor) -> Float[Tensor, " numbers"]:
        """Sums over the rows from which `log_prob` follows: those of parts of the data add up."""

    def log_prob(self, statistics: Float[Tensor, " numbers"]) -> Tensor:
        """sum_n log p(y_n | f_n), differentiable in the likelihood's parameter."""

    def root(self, f: Float[Tensor, "rows outputs"]) -> Float[Tensor, "rows outputs outputs"]:
        """L."""


class Gaussian(nn.Module):
    """log p = -1/2 |y - f|^2 / s^2 - n/2 log 2 pi s^2, in units; L = 1 / unit, tau = 1 / s^2. s is learned.

    Args:
        noise: s at first, in the unit of the label.
        unit: (outputs,) what y and f are counted in, each output by itself; s and the density are those of the
            numbers that are left. None takes 1.
    """

    unit: Tensor

    def __init__(self, noise: float = 1.0, unit: Float[Tensor, " outputs"] | None = None) -> None:
        super().__init__()
        self.register_buffer("unit", torch.ones(1) if unit is None else unit)
        self.log_noise = nn.Parameter(torch.tensor(math.log(noise), dtype=torch.float64))

    @property
    def precision(self) -> Tensor:
        return torch.exp(-2 * self.log_noise)

    def losses(self, f: Float[Tensor, "rows outputs"], y: Float[Tensor, "rows outputs"]) -> Float[Tensor, " rows"]:
        return 0.5 * self.precision.detach().to(f) * ((y - f) / self.unit.to(f)).square().sum(1)

    def statistics(self, f: Float[Tensor, "rows outputs"], y: Float[Tensor, "rows outputs"]) -> Float[Tensor, " 2"]:
        return torch.stack([((y - f) / self.unit.to(f)).square().sum(), f.new_tensor(f.numel())])

    def log_prob(self, statistics: Float[Tensor, " 2"]) -> Tensor:
        squares, count = statistics
        return -0.5 * (squares * self.precision + count * (math.log(2 * math.pi) + 2 * self.log_noise))

    def root(self, f: Float[Tensor, "rows outputs"]) -> Float[Tensor, "rows outputs outputs"]:
        return torch.diag(1 / self.unit.to(f).expand(f.shape[1])).expand(len(f), -1, -1)


class Categorical(nn.Module):
    """log p = log softmax(f)_y; L L^t = diag(p) - p p^t with L = diag(sqrt p) - p sqrt(p)^t, tau = 1."""

    precision: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("precision", torch.ones((), dtype=torch.float64), persistent=False)

    def losses(self, f: Float[Tensor, "rows classes"], y: Tensor) -> Float[Tensor, " rows"]:
        return functional.cross_entropy(f, y, reduction="none")

    def statistics(self, f: Float[Tensor, "rows classes"], y: Tensor) -> Float[Tensor, " 1"]:
        return -functional.cross_entropy(f, y, reduction="sum").unsqueeze(0)

    def log_prob(self, statistics: Float[Tensor, " 1"]) -> Tensor:
        return statistics[0]

    def root(self, f: Float[Tensor, "rows classes"]) -> Float[Tensor, "rows classes classes"]:
        log_p = f.log_softmax(1)
        root = (0.5 * log_p).exp()  # the square root of what is 0 to rounding would have no slope
        return torch.diag_embed(root) - log_p.exp().unsqueeze(2) * root.unsqueeze(1)
