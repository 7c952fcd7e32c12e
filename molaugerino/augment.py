"""The one formula: a network averaged over a law of transformations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from molaugerino.distributions.base import GroupDistribution
from molaugerino.errors import UserError
from molaugerino.groups import Affine
from molaugerino.quadrature import AveragingSet, Estimate, to_tolerance
from molaugerino.quadrature.base import weighted_mean
from molaugerino.reductions import mean
from molaugerino.spaces.base import Action, InputSpace
from molaugerino.spaces.trivial import Invariant

EVALUATION_SEED = 0
BLOCK = 16  # copies between two looks at the error, where a tolerance is asked for


class Augmented(nn.Module):
    """h(x) = mean_j rho_out(g_j)^-1 f(rho_in(g_j) x),   g_j = exp(xi_j),   xi_j ~ p_theta(xi).

    Invariance is the case of a trivial rho_out; nothing here depends on the task. Output
    kind and unit are those of f, in training and in evaluation alike.

    While training, every example draws its own `copies` elements. In evaluation the same
    `eval_copies` elements, fixed numbers pushed through the law, serve every example: a
    prediction is reproducible and never depends on who shares the batch. A law that depends on the
    input makes other elements of the same numbers for each example.

    Args:
        model: f, any Module that takes what `input` acts on and returns one tensor whose rows
            are examples (or points, where `output.per_point`).
        distribution: the law p_theta; its parameters are trained with those of f.
        input: rho_in and the layout of a batch.
        output: rho_out.
        copies: elements per example while training.
        eval_copies: elements in evaluation: how many fixed draws; an `AveragingSet`; or "auto", as many draws as
            bring the standard error of every entry of a row down to `tolerance` (at most 1,024).
        reduce: what to do with the copies, (copies, rows, ...) -> (rows, ...); see `molaugerino.reductions`. Sets with
            unequal weights and "auto" take the mean only.
        tolerance: of "auto", in the unit of the output.
        at_once: passes that are made together in evaluation, at most; None makes all. With it, memory does not grow
            with the number of copies, nor, since the passes are made again for them, that of gradients.

    Raises:
        UserError: for fewer than one copy, a set on another space, "auto" without a tolerance, or another reduction
            than these can take.

    Source: Benton, Finzi, Izmailov, Wilson, Learning Invariances in Neural Networks
    (2020), arXiv:2010.11882.
    """

    def __init__(
        self,
        model: nn.Module,
        distribution: GroupDistribution,
        input: InputSpace[Any],
        output: Action[Tensor] | None = None,
        copies: int = 1,
        eval_copies: int | AveragingSet | Literal["auto"] = 16,
        reduce: Callable[[Tensor], Tensor] = mean,
        tolerance: float | None = None,
        at_once: int | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("copies", copies), ("eval_copies", eval_copies), ("at_once", at_once)):
            if isinstance(value, int) and value < 1:
                raise UserError(f"`{name}` must be at least 1, got {value}")
        if (eval_copies == "auto") != (tolerance is not None and tolerance > 0):
            raise UserError(f'`tolerance` goes with eval_copies="auto" and must be above 0, got {tolerance}')
        if isinstance(eval_copies, AveragingSet):
            check_set(eval_copies, distribution.group.space_dim, reduce)
            eval_copies = replace(eval_copies, elements=eval_copies.elements.detach())
        if eval_copies == "auto" and reduce is not mean:
            raise UserError('eval_copies="auto" takes the mean of the copies, got another reduction; say how many')
        self.model = model
        self.distribution = distribution
        self.input = input
        self.output = Invariant() if output is None else output
        self.copies = copies
        self.eval_copies = eval_copies
        self.reduce = reduce
        self.tolerance = tolerance
        self.at_once = at_once

    def forward(self, x: Any, elements: Affine | None = None) -> Tensor:
        """The averaged prediction.

        Args:
            x: a batch in the layout of `input`.
            elements: the g_j to use instead of drawing them: batch shape (copies,), shared
                by all examples, or (copies, examples).

        Returns:
            What f returns for x, averaged over the copies.
        """
        if elements is None and not self.training and self.eval_copies == "auto":
            return self.estimate(x).value
        if self.reduce is not mean:
            return self.reduce(self.each(x, elements))
        weights = None
        if elements is None and not self.training and isinstance(self.eval_copies, AveragingSet):
            weights = self.eval_copies.weights
        if self.training or self.at_once is None:
            values = self.each(x, elements)
            return mean(values) if weights is None else weighted_mean(values, weights)
        g = self._elements(x, elements)
        shares = (
            torch.full(g.batch_shape[:1], 1 / g.batch_shape[0], dtype=torch.float64) if weights is None else weights
        )
        total: Tensor | None = None
        for values, part in self._parts(x, g):
            share = weighted_mean(values, shares[part])
            total = share if total is None else total + share
        assert total is not None  # there is at least one copy
        return total

    def each(self, x: Any, elements: Affine | None = None) -> Tensor:
        """The predictions of the single copies, (copies, rows, ...), before `reduce`."""
        return torch.cat([values for values, _ in self._parts(x, self._elements(x, elements))])

    def estimate(self, x: Any) -> Estimate:
        """The average of evaluation, and how far it may be off.

        Raises:
            UserError: for another reduction than the mean, a single element, or a set that cannot tell its error.
        """
        if self.reduce is not mean:
            raise UserError("the error is that of a mean, and `reduce` is another reduction")
        over = self.eval_copies
        if over == "auto":
            return to_tolerance(lambda k: self.each(x, self.evaluation_elements(BLOCK, x, k)), self.tolerance or 0.0)
        if over == 1:
            raise UserError("a single element does not tell how far the average is off; take more as `eval_copies`")
        values = self.each(x, self.evaluation_elements(over, x) if isinstance(over, int) else self._of_set(over))
        copies = torch.full(values.shape[1:2], len(values))
        if isinstance(over, int):
            return Estimate(values.mean(0), values.std(0) / over**0.5, copies)
        return Estimate(over.mean(values), over.error(values), copies)

    def _elements(self, x: Any, elements: Affine | None) -> Affine:
        """Of all copies, batch shape (copies, 1 or examples), checked."""
        self.input.check(x, self.distribution.group.space_dim, next(self.distribution.parameters()).device)
        examples = self.input.count(x)
        g = self.draw(examples, context=x) if elements is None else elements
        if len(g.batch_shape) == 1:
            g = g.unsqueeze(1)
        if len(g.batch_shape) != 2 or g.batch_shape[1] not in (1, examples):
            raise UserError(f"`elements` must have batch shape (copies,) or (copies, {examples}), got {g.batch_shape}")
        return g

    def _parts(self, x: Any, g: Affine) -> Iterator[tuple[Tensor, slice]]:
        """Predictions of some copies after others, (some, rows, ...), and which copies these are."""
        copies, examples = g.batch_shape[0], self.input.count(x)
        some = copies if self.training or self.at_once is None else max(1, self.at_once // max(1, examples))
        for start in range(0, copies, some):
            part = slice(start, min(start + some, copies))
            yield self._passes_in_flat_memory(x, g[part], examples), part

    def _passes_in_flat_memory(self, x: Any, g: Affine, examples: int) -> Tensor:
        """The passes; where `at_once` bounds memory and a gradient will be asked for, made again for it."""
        if self.training or self.at_once is None or not torch.is_grad_enabled():
            return self._passes(x, g, examples)
        return checkpoint(self._passes, x, g, examples, use_reentrant=False)

    def _passes(self, x: Any, g: Affine, examples: int) -> Tensor:
        copies = g.batch_shape[0]
        g = g.expand(copies, examples).reshape(copies * examples)
        tiled = self.input.tile(x, copies)
        index = self.input.index(tiled)
        y = self.model(self.input.act(g, tiled, index))
        back = self.output.act(g.inverse(), y, index if self.output.per_point else None)
        return back.reshape(copies, -1, *back.shape[1:])

    def draw(self, examples: int, generator: torch.Generator | None = None, context: Any = None) -> Affine:
        """The elements of one pass: (copies, examples) in training, as `evaluation_elements` in evaluation.

        A law that depends on the input needs `context`, the batch.
        """
        if self.training:
            return self.distribution.sample((self.copies, examples), generator, context)
        if isinstance(self.eval_copies, AveragingSet):
            return self._of_set(self.eval_copies)
        return self.evaluation_elements(BLOCK if self.eval_copies == "auto" else self.eval_copies, context)

    def _of_set(self, over: AveragingSet) -> Affine:
        return over.elements.to(next(self.distribution.parameters()))

    def evaluation_elements(self, copies: int, context: Any = None, block: int = 0) -> Affine:
        """The law at fixed noise, the same in every call and on every device: batch shape (copies,).

        Another `block` is other noise.

        A law that depends on the input gets the same noise for every example of `context`, the batch:
        (copies, examples).
        """
        generator = torch.Generator().manual_seed(EVALUATION_SEED + block)
        parameter = next(self.distribution.parameters())
        noise = self.distribution.noise((copies,), generator, dtype=torch.float64, device="cpu")
        if self.distribution.conditional and context is not None:
            noise = noise.unsqueeze(1).expand(copies, self.input.count(context), -1)
        return self.distribution.elements(noise.to(parameter), context)

    def identity(self) -> Affine:
        """One copy, untransformed: `h(x, h.identity())` is f(x)."""
        return Affine.identity(self.distribution.group.space_dim, (1,), like=next(self.distribution.parameters()))


def check_set(over: AveragingSet, space_dim: int, reduce: Callable[[Tensor], Tensor]) -> None:
    """Raise unless a set can be averaged over."""
    if over.elements.dim != space_dim:
        raise UserError(f"`eval_copies` acts on R^{over.elements.dim}, the law on R^{space_dim}; give a set on that")
    if reduce is not mean and not torch.allclose(over.weights, over.weights.mean()):
        raise UserError(f"the elements of {over.name} have unequal weights, which only the mean takes; use another set")
