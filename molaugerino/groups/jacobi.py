"""Singular values of small matrices without waiting for a device."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

SWEEPS = 5  # convergence is quadratic; four reached float64 for a million matrices of every kind


def one_sided_jacobi(
    a: Float[Tensor, "*batch 3 3"],
) -> tuple[Float[Tensor, "*batch 3 3"], Float[Tensor, "*batch 3"], Float[Tensor, "*batch 3 3"]]:
    """(A V, singular values, V) with V orthogonal and the columns of A V orthogonal, in no order, in float64.

    The count of sweeps is fixed, where torch.linalg.svd would let the host ask whether it converged.

    Source: M. R. Hestenes, J. Soc. Indust. Appl. Math. 6, 51 (1958).
    """
    start = a.double()
    eye = torch.eye(3, dtype=start.dtype, device=start.device).expand_as(start)
    columns = list(torch.cat([start, eye], -2).unbind(-1))  # of [A; I], turned together into [A V; V]
    for _ in range(SWEEPS):
        for i, j in ((0, 1), (0, 2), (1, 2)):
            p, q = columns[i], columns[j]
            twice = 2 * (p * q)[..., :3].sum(-1, keepdim=True)
            gap = (q * q - p * p)[..., :3].sum(-1, keepdim=True)
            angle = torch.atan2(torch.where(gap < 0, -twice, twice), gap.abs()) / 2  # the smaller of the two
            c, s = angle.cos(), angle.sin()
            columns[i], columns[j] = c * p - s * q, s * p + c * q
    turned = torch.stack(columns, -1)
    av = turned[..., :3, :]
    return av, av.square().sum(-2).sqrt(), turned[..., 3:, :]
