"""The evidence of a block of examples, one after the other: for any network, and for what moves its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.laplace.curvature import Kernels, Precisions
from molaugerino.laplace.jacobians import Parameters
from molaugerino.laplace.likelihoods import Likelihood

Predict = Callable[[int, Parameters], Float[Tensor, "1 outputs"]]


@dataclass(frozen=True)
class Rows:
    """f(x_k) and one row of L_k^t J_k of every example of a block, J the Jacobian of f in theta.

    Attributes:
        values: (examples, outputs).
        parts: (examples, weights) by the name of the tensor.
        chosen: which of the columns of L it was, of each example.
    """

    values: Float[Tensor, "examples outputs"]
    parts: dict[str, Float[Tensor, "examples weights"]]
    chosen: list[int]

    def kernels(self, examples: int) -> Kernels:
        """The bound of `molaugerino.laplace.kernels` from one output of each example.

        Args:
            examples: N, of the data set.
        """
        count, outputs = self.values.shape
        return Kernels({name: (j @ j.mT).double() for name, j in self.parts.items()}, examples * outputs / count)


def block_rows(
    predict: Predict, count: int, parameters: Parameters, likelihood: Likelihood, generator: torch.Generator
) -> Rows:
    """Rows of a block, one pass and one slope for each example.

    Args:
        predict: f of example k, with these parameters.
        count: B, examples of the block.
        parameters: theta by name, leaves that want slopes.
        likelihood: of the labels.
        generator: draws one output of each example.
    """
    values, chosen = [], []
    parts = {name: torch.empty(count, p.numel(), dtype=p.dtype, device=p.device) for name, p in parameters.items()}
    for k in range(count):
        f = predict(k, parameters)
        chosen.append(int(torch.randint(f.shape[1], (), generator=generator)))
        values.append(f.detach())
        for name, row in whitened_row(f, likelihood, chosen[-1], parameters).items():
            parts[name][k] = row.flatten()
    return Rows(torch.cat(values), parts, chosen)


def evidence_slopes(
    predict: Predict,
    y: Tensor,
    parameters: Parameters,
    likelihood: Likelihood,
    precisions: Precisions,
    rows: Rows,
    inputs: Sequence[Tensor],
) -> list[Tensor]:
    """d/dg of 1/B sum_k log p(y_k | f_k) - C/2B log det (1 + K), K = sum_l J_l J_l^t / delta_l, J whitened.

    The second term has the slope -C/B sum_k <W_k, dJ_k/dg>, W = (1 + K)^-1 J / delta, so that each example is a second
    derivative of its own; of a block there are the rows of J and W in memory, whatever the number of copies and of all
    examples.

    Args:
        predict: f of example k; depends on `inputs`.
        y: labels of the block.
        parameters: theta by name, leaves that want slopes.
        likelihood: of the labels.
        precisions: delta_l over the precision of the likelihood.
        rows: of the block, at these inputs.
        inputs: g, leaves that want slopes, such as the elements of a law.

    Source: the slope of Immer, van der Ouderaa, Fortuin, Raetsch, van der Wilk (2022), arXiv:2202.10638, with the
    kernel of Immer et al. (2023), arXiv:2306.03968.
    """
    count, outputs = rows.values.shape
    inverse = rows.kernels(count).inverse(precisions)
    weights = {name: (inverse.to(j) @ j) / precisions[name].to(j) for name, j in rows.parts.items()}
    found = [torch.zeros_like(g) for g in inputs]
    for k in range(count):
        f = predict(k, parameters)
        fit = likelihood.log_prob(likelihood.statistics(f, y[k : k + 1]))
        own = whitened_row(f, likelihood, rows.chosen[k], parameters, keep=True)
        change = torch.stack([(own[name].flatten() * w[k]).sum() for name, w in weights.items()]).sum()
        value = (fit - outputs * change) / count
        parts = torch.autograd.grad(value, inputs, allow_unused=True, materialize_grads=True)
        found = [total + part for total, part in zip(found, parts, strict=True)]
    return found


def whitened_row(
    f: Float[Tensor, "1 outputs"], likelihood: Likelihood, column: int, parameters: Parameters, keep: bool = False
) -> dict[str, Tensor]:
    """Column c of L, times J: L depends on f, but not on theta where J is taken."""
    weights = likelihood.root(f)[:, :, column]
    names, leaves = list(parameters), list(parameters.values())
    found = torch.autograd.grad(f, leaves, weights, create_graph=keep, allow_unused=True, materialize_grads=True)
    return dict(zip(names, found, strict=True))
