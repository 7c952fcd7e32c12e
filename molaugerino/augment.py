"""The one formula: a network averaged over a law of transformations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from molaugerino.distributions.base import GroupDistribution
from molaugerino.errors import UserError
from molaugerino.groups import Affine
from molaugerino.reductions import mean
from molaugerino.spaces.base import Action, InputSpace
from molaugerino.spaces.trivial import Invariant

EVALUATION_SEED = 0


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
        eval_copies: elements in evaluation.
        reduce: what to do with the copies, (copies, rows, ...) -> (rows, ...); see `molaugerino.reductions`.

    Raises:
        UserError: for fewer than one copy.

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
        eval_copies: int = 16,
        reduce: Callable[[Tensor], Tensor] = mean,
    ) -> None:
        super().__init__()
        for name, value in (("copies", copies), ("eval_copies", eval_copies)):
            if value < 1:
                raise UserError(f"`{name}` must be at least 1, got {value}")
        self.model = model
        self.distribution = distribution
        self.input = input
        self.output = Invariant() if output is None else output
        self.copies = copies
        self.eval_copies = eval_copies
        self.reduce = reduce

    def forward(self, x: Any, elements: Affine | None = None) -> Tensor:
        """The averaged prediction.

        Args:
            x: a batch in the layout of `input`.
            elements: the g_j to use instead of drawing them: batch shape (copies,), shared
                by all examples, or (copies, examples).

        Returns:
            What f returns for x, averaged over the copies.
        """
        return self.reduce(self.each(x, elements))

    def each(self, x: Any, elements: Affine | None = None) -> Tensor:
        """The predictions of the single copies, (copies, rows, ...), before `reduce`."""
        self.input.check(x, self.distribution.group.space_dim, next(self.distribution.parameters()).device)
        examples = self.input.count(x)
        g = self.draw(examples, context=x) if elements is None else elements
        if len(g.batch_shape) == 1:
            g = g.unsqueeze(1)
        if len(g.batch_shape) != 2 or g.batch_shape[1] not in (1, examples):
            raise UserError(f"`elements` must have batch shape (copies,) or (copies, {examples}), got {g.batch_shape}")
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
        return self.evaluation_elements(self.eval_copies, context)

    def evaluation_elements(self, copies: int, context: Any = None) -> Affine:
        """The law at fixed noise, the same in every call and on every device: batch shape (copies,).

        A law that depends on the input gets the same noise for every example of `context`, the batch:
        (copies, examples).
        """
        generator = torch.Generator().manual_seed(EVALUATION_SEED)
        parameter = next(self.distribution.parameters())
        noise = self.distribution.noise((copies,), generator, dtype=torch.float64, device="cpu")
        if self.distribution.conditional and context is not None:
            noise = noise.unsqueeze(1).expand(copies, self.input.count(context), -1)
        return self.distribution.elements(noise.to(parameter), context)

    def identity(self) -> Affine:
        """One copy, untransformed: `h(x, h.identity())` is f(x)."""
        return Affine.identity(self.distribution.group.space_dim, (1,), like=next(self.distribution.parameters()))
