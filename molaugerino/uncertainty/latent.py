"""How far a molecule is from the training molecules in the last hidden layer: the last-layer Laplace variance."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

RIDGE = 1e-4  # of the mean eigenvalue: precision of the prior


@dataclass(frozen=True)
class Latent:
    """d(x) = (phi(x) - m)^T S^-1 (phi(x) - m) / width,   S = cov(phi) + ridge tr cov(phi) / width.

    phi is the last hidden layer averaged over atoms, m and cov its mean and covariance over training molecules. Up to
    a factor per target, d is the variance that a Gaussian posterior of the last linear map (its Laplace approximation)
    gives to a prediction; it is 1 on average over the training molecules.

    Attributes:
        mean: (width,).
        whitening: (width, width) W with W^T W = S^-1 / width, so that d = |W (phi - m)|^2.

    Source: Kristiadi, Hein, Hennig, Being Bayesian, even just a bit, fixes overconfidence in ReLU networks (2020),
    arXiv:2002.10118.
    """

    mean: Float[Tensor, " width"]
    whitening: Float[Tensor, "width width"]

    @classmethod
    def of(cls, hidden: Float[Tensor, "molecules width"]) -> Latent:
        """The distance from these molecules."""
        hidden = hidden.double()
        mean, width = hidden.mean(0), hidden.shape[1]
        left = hidden - mean
        covariance = left.T @ left / len(hidden)
        prior = RIDGE * covariance.trace() / width + torch.finfo(torch.float32).tiny
        factor = torch.linalg.cholesky(covariance + prior * torch.eye(width, dtype=torch.float64))
        whitening = torch.linalg.solve_triangular(factor, torch.eye(width, dtype=torch.float64), upper=False)
        return cls(mean.float(), (whitening / width**0.5).float())

    def distance(self, hidden: Float[Tensor, "molecules width"]) -> Float[Tensor, " molecules"]:
        """d of each molecule, at least 0."""
        return ((hidden - self.mean) @ self.whitening.T).square().sum(1)
