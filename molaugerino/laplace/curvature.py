"""Curvatures of the likelihood in the weights, each as what the evidence asks of it: log det (H + P0) - log det P0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.errors import UserError

Precisions = dict[str, Tensor]  # delta_l by the name of the tensor


@runtime_checkable
class Curvature(Protocol):
    """H = sum_n J_n^t L_n J_n, or what stands for it."""

    def log_det(self, precisions: Precisions) -> Tensor:
        """log det (H + P0) - log det P0 >= 0, differentiable in the precisions."""

    def effective(self, precisions: Precisions) -> dict[str, Tensor]:
        """gamma_l = sum of lambda / (lambda + delta_l): how many parameters of each tensor the data determine."""


@dataclass(frozen=True)
class Spectra:
    """Eigenvalues of H, tensor by tensor: of a diagonal, or products of Kronecker factors.

    Attributes:
        values: by the name of the tensor; none negative.
    """

    values: dict[str, Float[Tensor, " eigenvalues"]]

    def log_det(self, precisions: Precisions) -> Tensor:
        return torch.stack([(v / precisions[name]).log1p().sum() for name, v in self.values.items()]).sum()

    def effective(self, precisions: Precisions) -> dict[str, Tensor]:
        return {name: (v / (v + precisions[name])).sum() for name, v in self.values.items()}


@dataclass(frozen=True)
class Full:
    """All of H, for networks of some thousand weights.

    Attributes:
        matrix: (weights, weights), tensors one after the other.
        sizes: of the tensors, by name.
    """

    matrix: Float[Tensor, "weights weights"]
    sizes: dict[str, int]

    def log_det(self, precisions: Precisions) -> Tensor:
        scale = self._spread(precisions).rsqrt()
        whitened = scale.unsqueeze(1) * self.matrix * scale + torch.diag(torch.ones_like(scale))
        return 2 * cholesky(whitened).diagonal().log().sum()

    def effective(self, precisions: Precisions) -> dict[str, Tensor]:
        spread = self._spread(precisions)
        posterior = torch.cholesky_inverse(cholesky(self.matrix + torch.diag(spread)))
        left = 1 - spread * posterior.diagonal()
        parts = torch.split(left, list(self.sizes.values()))
        return {name: part.sum() for name, part in zip(self.sizes, parts, strict=True)}

    def _spread(self, precisions: Precisions) -> Tensor:
        return torch.cat([precisions[name].expand(size) for name, size in self.sizes.items()])


@dataclass(frozen=True)
class Kernels:
    """The same determinant in the space of outputs: log det (1 + sum_l K_l / delta_l), K_l = L^t J_l J_l^t L.

    Times N / B, that of a random block of B examples is an upper bound of that of all N, on average over the blocks;
    the evidence with it is bounded from below.

    Attributes:
        kernels: (outputs, outputs) by the name of the tensor.
        scale: N / B.
    """

    kernels: dict[str, Float[Tensor, "outputs outputs"]]
    scale: float = 1.0

    def log_det(self, precisions: Precisions) -> Tensor:
        return self.scale * 2 * self._root(precisions).diagonal().log().sum()

    def effective(self, precisions: Precisions) -> dict[str, Tensor]:
        """Of the block by itself: no more than all examples determine."""
        inverse = self.inverse(precisions)
        return {name: (inverse * k).sum() / precisions[name] for name, k in self.kernels.items()}

    def inverse(self, precisions: Precisions) -> Tensor:
        """(1 + sum_l K_l / delta_l)^-1."""
        return torch.cholesky_inverse(self._root(precisions))

    def _root(self, precisions: Precisions) -> Tensor:
        kernel = torch.stack([k / precisions[name] for name, k in self.kernels.items()]).sum(0)
        return cholesky(kernel + torch.eye(len(kernel), dtype=kernel.dtype, device=kernel.device))


def cholesky(matrix: Tensor) -> Tensor:
    """The lower factor; where rounding has made the matrix indefinite, of the matrix with more on its diagonal.

    Raises:
        UserError: where the matrix is not finite, or no small multiple of its mean diagonal makes it definite.
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if not bool(failed):
        return factor
    eye = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    for power in range(-10, -2):
        factor, failed = torch.linalg.cholesky_ex(matrix + 10.0**power * matrix.diagonal().mean() * eye)
        if not bool(failed) and bool(torch.isfinite(factor).all()):
            return factor
    raise UserError("the curvature is not positive definite; lower the learning rate, or raise the prior precisions")
