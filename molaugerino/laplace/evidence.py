"""The log marginal likelihood by Laplace's method, and the step that raises it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from molaugerino.errors import UserError
from molaugerino.laplace.curvature import Curvature
from molaugerino.laplace.likelihoods import Likelihood
from molaugerino.laplace.priors import Priors

STEPS, RATE = 20, 0.1  # of Adam, on log precisions and log noise
TRUST = 1.0  # furthest that any of them moves in one go
LARGEST = 30.0  # of a log precision: beyond, a tensor has no freedom left that could be measured
IDLE = 1e-6  # determined parameters of a tensor: as good as none
SLACK = 1e-6  # of the evidence, relative: what rounding may lose


@dataclass(frozen=True)
class Mode:
    """What the evidence needs to know of a network at its weights theta; the hyper-parameters are free.

    Attributes:
        statistics: of the likelihood, of all examples.
        squares: |theta_l|^2 by the name of the tensor.
        curvature: of the log-likelihood of all examples, at tau = 1.
    """

    statistics: Tensor
    squares: dict[str, Tensor]
    curvature: Curvature

    def scaled(self, likelihood: Likelihood, priors: Priors) -> dict[str, Tensor]:
        """delta_l / tau: the precisions that go with a curvature at tau = 1."""
        return {name: value / likelihood.precision for name, value in priors.precisions().items()}

    def effective(self, likelihood: Likelihood, priors: Priors) -> dict[str, float]:
        """How many parameters of each tensor the data determine."""
        with torch.no_grad():
            found = self.curvature.effective(self.scaled(likelihood, priors))
        return {name: float(value) for name, value in found.items()}


def log_evidence(mode: Mode, likelihood: Likelihood, priors: Priors) -> Tensor:
    """log q(D | delta) = log p(D | theta) - 1/2 sum_l delta_l |theta_l|^2 - 1/2 (log det (tau H + P0) - log det P0).

    Of a network at the mode theta; exact for a linear model with Gaussian noise. Differentiable in the precisions, in
    the likelihood's parameter, and in whatever statistics and curvature depend on, such as the law of an augmentation.

    Args:
        mode: of the network.
        likelihood: of the labels.
        priors: delta.

    Source: MacKay, Bayesian Interpolation (1992); Immer et al., Scalable Marginal Likelihood Estimation for Model
    Selection in Deep Learning (2021), arXiv:2104.04975.
    """
    precisions = priors.precisions()
    prior = torch.stack([precisions[name] * square for name, square in mode.squares.items()]).sum()
    occam = mode.curvature.log_det(mode.scaled(likelihood, priors))
    return likelihood.log_prob(mode.statistics) - 0.5 * prior - 0.5 * occam


def raise_evidence(
    mode: Mode, likelihood: Likelihood, priors: Priors, trust: float = TRUST, steps: int = STEPS, rate: float = RATE
) -> float:
    """Adam on the log precisions, and on the likelihood's parameter, with theta and H held; the evidence after it.

    No logarithm moves further than `trust` from where it was, nor beyond +-30: the curvature is that of weights which
    have not seen the new precisions yet. Tensors without curvature keep theirs: nothing is known of them, and the
    evidence would drive it to zero. Where the steps lower the evidence, all is as before.

    Args:
        mode: of the network.
        likelihood: changed in place, where it has a parameter.
        priors: changed in place.
        trust: see above; 0 moves nothing. At most `steps * rate` is reached.
        steps: of Adam.
        rate: its learning rate.

    Raises:
        UserError: where the evidence is not finite to begin with.
    """
    learned = [priors.log_precision, *(likelihood.parameters() if isinstance(likelihood, nn.Module) else ())]
    start = [p.detach().clone() for p in learned]
    before = float(log_evidence(mode, likelihood, priors).detach())
    if not math.isfinite(before):
        raise UserError(f"the evidence is {before}: the network or its curvature has overflowed; lower --optim.lr")
    if trust == 0:
        return before
    effective = mode.effective(likelihood, priors)
    known = torch.tensor([effective[name] > IDLE for name in priors.names], device=start[0].device)
    optimiser = torch.optim.Adam(learned, rate)
    for _ in range(steps):
        optimiser.zero_grad()
        slopes = torch.autograd.grad(-log_evidence(mode, likelihood, priors), learned)
        for p, slope in zip(learned, slopes, strict=True):
            p.grad = slope.nan_to_num(0.0, 0.0, 0.0)
        optimiser.step()
        with torch.no_grad():
            for p, at in zip(learned, start, strict=True):
                p.copy_(torch.minimum(torch.maximum(p, at - trust), at + trust).clamp(-LARGEST, LARGEST))
            learned[0].copy_(torch.where(known, learned[0], start[0]))
    optimiser.zero_grad()
    after = float(log_evidence(mode, likelihood, priors).detach())
    if not after >= before - SLACK * abs(before):  # also where it is not a number
        with torch.no_grad():
            for p, at in zip(learned, start, strict=True):
                p.copy_(at)
        return before
    return after
