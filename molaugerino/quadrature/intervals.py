"""Sets for the average over intervals and boxes of algebra coordinates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.errors import UserError
from molaugerino.groups import Group
from molaugerino.groups.base import as_group
from molaugerino.quadrature.base import AveragingSet

LEAST = 3  # nodes, below which there is no even polynomial to compare with


def gauss_legendre(low: float, high: float, n: int) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Nodes x_k and weights w_k with int_low^high f(x) dx = sum_k w_k f(x_k) for polynomials of degree <= 2n - 1.

    Args:
        low, high: ends of the interval, finite, low <= high, in any unit.
        n: number of nodes, at least 1.

    Returns:
        Nodes (n,), increasing, in the unit of the ends, and weights (n,), which add up to high - low; float64.

    Raises:
        UserError: for ends that are not in order, or n < 1.
    """
    if not (math.isfinite(high - low) and low <= high):
        raise UserError(f"`low` and `high` must be finite and in order, got {low} and {high}")
    _check_nodes(n)
    x, w = np.polynomial.legendre.leggauss(n)
    half = (high - low) / 2
    return torch.from_numpy(low + half * (x + 1)), torch.from_numpy(half * w)


def box(
    group: Group | type[Group], widths: float | Sequence[float] | Tensor, nodes: int | Sequence[int]
) -> AveragingSet:
    """g = exp(xi), xi_i = w_i x_k, x_k and weights of Gauss and Legendre: the mean over xi uniform in |xi_i| <= w_i.

    The box is centred, as that of the law `AlgebraUniform`. Exact for polynomials in the xi_i of degree <= 2 nodes - 1
    in each. Gauss rules are not nested; what the set is compared with are other weights on the same nodes,
    prod_i v_i (1 - P_m(x_i)), v the Gauss weights and P_m the Legendre polynomial of the highest even degree m < nodes.
    The difference is the coefficient of f along P_m, the finest detail that the nodes resolve: far above the error
    where f is smooth, and a warning where it is not. An axis with one or two nodes has no such comparison, and the set
    then no error.

    Args:
        group: a group or its class.
        widths: half-widths w, one or one for each axis, >= 0, in radians, the unit of the points, or log-scale. An axis
            of width 0 takes one node. Given as a tensor, they set dtype and device, and the elements are
            differentiable in them.
        nodes: number of nodes, one or one for each axis, at least 1.

    Returns:
        prod_i nodes_i elements, the last axis fastest; float64 unless `widths` is a tensor.

    Raises:
        UserError: for widths or nodes of another number of axes, negative or infinite widths, or no nodes.

    Source: Berntsen, Espelid, Error estimation in automatic quadrature routines (1991), for the comparison.
    """
    group = as_group(group)
    w = widths if isinstance(widths, Tensor) else torch.tensor(widths, dtype=torch.float64)
    counts = [nodes] * group.dim if isinstance(nodes, int) else list(nodes)
    if w.dim() > 1 or (w.dim() == 1 and len(w) != group.dim) or len(counts) != group.dim:
        raise UserError(
            f"`widths` and `nodes` must be one number or {group.dim}, one for each axis of {group.name}, "
            f"got {tuple(w.shape)} and {len(counts)}"
        )
    if not bool((torch.isfinite(w) & (w >= 0)).all()):
        raise UserError(f"`widths` must be finite and >= 0, got {w.tolist()}")
    w = w.expand(group.dim)
    rules = [_rule(n, float(half)) for n, half in zip(counts, w.detach(), strict=True)]
    points, weights, coarse = (torch.from_numpy(_grid(parts)).to(w) for parts in zip(*rules, strict=True))
    elements, weights = group.exp(w * points), weights.prod(-1)
    name = f"box({group.name}, {' x '.join(str(len(x)) for x, _, _ in rules)})"
    if not bool(torch.isfinite(coarse).all()) or len(weights) == 1:
        return AveragingSet(name, elements, weights)
    coarser = AveragingSet(f"{name}, coarser", elements, coarse.prod(-1))
    return AveragingSet(name, elements, weights, coarser, torch.arange(len(weights), device=w.device))


def _rule(n: int, width: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes in [-1, 1], weights of the mean, and the coarser weights, nan where there are none."""
    _check_nodes(n)
    if width == 0:
        return np.zeros(1), np.ones(1), np.ones(1)
    x, w = np.polynomial.legendre.leggauss(n)
    degree = (n - 1) // 2 * 2  # odd polynomials have no mean that could be wrong
    polynomial = np.polynomial.legendre.Legendre.basis(degree)(x)
    return x, w / 2, w / 2 * (1 - polynomial) if n >= LEAST else np.full(n, np.nan)


def _grid(axes: Sequence[np.ndarray]) -> np.ndarray:
    """All combinations (points, axes), the last axis fastest."""
    return np.array(list(itertools.product(*axes)))


def _check_nodes(n: int) -> None:
    if n < 1:
        raise UserError(f"the number of nodes must be at least 1, got {n}")
