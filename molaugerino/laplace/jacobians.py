"""Curvatures from Jacobians of single examples: exact, its diagonal, and the kernel of a block of examples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from molaugerino.laplace.curvature import Full, Kernels, Spectra
from molaugerino.laplace.likelihoods import Likelihood

Parameters = dict[str, Tensor]


def jacobians(
    model: nn.Module, parameters: Parameters, x: Any
) -> tuple[Float[Tensor, "rows outputs"], dict[str, Float[Tensor, "rows outputs weights"]]]:
    """f(x_n) and df(x_n) / d theta_l of every example: the network is called with one example at a time, vectorised.

    Args:
        model: whose output of an example depends on that example alone; in evaluation mode.
        parameters: theta, by name; those that are left out stay as they are, and have no Jacobian.
        x: a tensor or a tuple of tensors, examples first.
    """

    def single(theta: Parameters, one: Any) -> tuple[Tensor, Tensor]:
        batch = torch.utils._pytree.tree_map(lambda t: t.unsqueeze(0), one)
        value = functional_call(model, theta, (batch,))[0]
        return value, value

    found, values = vmap(jacrev(single, has_aux=True), in_dims=(None, 0))(parameters, x)
    return values, {name: j.flatten(2) for name, j in found.items()}


def whitened(
    model: nn.Module, parameters: Parameters, x: Any, likelihood: Likelihood
) -> dict[str, Float[Tensor, "rows outputs weights"]]:
    """L_n^t J_n of every example: H = sum_n of their Gram matrices."""
    values, each = jacobians(model, parameters, x)
    root = likelihood.root(values)
    return {name: root.mT @ j for name, j in each.items()}


def exact(model: nn.Module, batches: Iterable[Any], likelihood: Likelihood, names: Sequence[str] | None = None) -> Full:
    """H = sum_n J_n^t L_n L_n^t J_n, all of it, of the tensors of these names (default: all that are trained)."""
    parameters = trained(model, names)
    total: Tensor | None = None
    for x in batches:
        rows = torch.cat([j.flatten(0, 1) for j in whitened(model, parameters, x, likelihood).values()], 1).double()
        total = rows.mT @ rows if total is None else total + rows.mT @ rows
    assert total is not None  # there is at least one batch
    return Full(total, {name: p.numel() for name, p in parameters.items()})


def diagonal(
    model: nn.Module, batches: Iterable[Any], likelihood: Likelihood, names: Sequence[str] | None = None
) -> Spectra:
    """The diagonal of H, of the tensors of these names (default: all that are trained)."""
    parameters = trained(model, names)
    total = {name: torch.zeros(p.numel(), dtype=torch.float64, device=p.device) for name, p in parameters.items()}
    for x in batches:
        for name, j in whitened(model, parameters, x, likelihood).items():
            total[name] += j.double().square().sum((0, 1))
    return Spectra(total)


def kernels(
    model: nn.Module,
    x: Any,
    likelihood: Likelihood,
    examples: int,
    names: Sequence[str] | None = None,
    generator: torch.Generator | None = None,
) -> Kernels:
    """K_l = (L^t J_l) (L^t J_l)^t of a block of examples, with which the evidence of all is bounded from below.

    Differentiable in whatever the network's buffers and inputs depend on, such as the elements of a law.

    Args:
        model: see `jacobians`.
        x: the block, B examples.
        likelihood: of the labels.
        examples: N, of the data set.
        names: of the tensors; None takes all that are trained.
        generator: where given, one output of each example is drawn and stands for all C of them: a kernel of B rows,
            scaled by N C / B; the bound is lower.

    Source: Immer et al., Stochastic Marginal Likelihood Gradients using Neural Tangent Kernels (ICML 2023),
    arXiv:2306.03968.
    """
    parameters = trained(model, names)
    each = whitened(model, parameters, x, likelihood)
    rows, outputs = next(iter(each.values())).shape[:2]
    scale = examples / rows
    if generator is not None:
        chosen = torch.randint(outputs, (rows,), generator=generator)
        each = {name: j[torch.arange(rows), chosen].unsqueeze(1) for name, j in each.items()}
        scale *= outputs
    flat = {name: j.flatten(0, 1) for name, j in each.items()}
    return Kernels({name: (j @ j.mT).double() for name, j in flat.items()}, scale)


def trained(model: nn.Module, names: Sequence[str] | None = None) -> Parameters:
    """Parameters that are trained, by name, without their gradients; those of these names only."""
    return {
        name: p.detach() for name, p in model.named_parameters() if p.requires_grad and (names is None or name in names)
    }
