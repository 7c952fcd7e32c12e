"""How far answers move under finite transformations, and at the worst of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.errors import UserError
from molaugerino.groups import Affine, Group

SEED = 20230405
Deviation = Callable[[Affine], Tensor]  # elements (candidates, rows) -> how far each answer is off, (candidates, rows)


class Worst(NamedTuple):
    """Per example.

    Attributes:
        deviation: (rows,) the largest that was found.
        elements: where, batch shape (rows,).
    """

    deviation: Tensor
    elements: Affine


@torch.no_grad()
def curve(
    deviation: Deviation, group: Group, sizes: Float[Tensor, " sizes"], rows: int, seed: int = SEED
) -> Float[Tensor, "sizes rows"]:
    """d(t) = |rho_out(g)^-1 f(g x) - f(x)| at g = exp(t u), for each t, u a random unit direction per example.

    Args:
        deviation: d.
        group: of g; its coordinates are those of t u.
        sizes: t, radians for rotations.
        rows: examples.
        seed: of the directions.
    """
    u = torch.randn(rows, group.dim, generator=torch.Generator().manual_seed(seed), dtype=sizes.dtype)
    u = (u / u.norm(dim=1, keepdim=True)).to(sizes.device)
    return torch.cat([deviation(group.exp(t * u).unsqueeze(0)) for t in sizes])


@torch.no_grad()
def worst(
    deviation: Deviation,
    group: Group,
    start: Affine,
    rows: int,
    reach: float = 0.5,
    rounds: int = 8,
    tries: int = 8,
    seed: int = SEED,
) -> Worst:
    """max_g |rho_out(g)^-1 f(g x) - f(x)|, by local search from the worst of `start`.

    Each round tries exp(xi) g, xi normal of a width that begins at `reach` and halves whenever a round helps fewer
    than half of the examples; what is better is kept. It needs no derivatives. A lower bound of the largest deviation:
    more starts and rounds only raise it.

    Args:
        deviation: d of elements (candidates, rows).
        group: where to search, in its coordinates.
        start: first candidates, batch shape (n,), for all examples, or (n, rows).
        rows: examples.
        reach: first width, radians for rotations.
        rounds: of the search.
        tries: candidates per round.
        seed: of the candidates.

    Raises:
        UserError: for no candidates.
    """
    if not start.batch_shape or not start.batch_shape[0] or tries < 1:
        raise UserError(f"the search needs candidates, got {start.batch_shape} to start from and {tries} tries")
    start = (start if len(start.batch_shape) == 2 else start.unsqueeze(1)).expand(len(start.shift), rows)
    value, which = deviation(start).max(0)
    columns = torch.arange(rows, device=which.device)
    best = start[which, columns]
    generator = torch.Generator().manual_seed(seed)
    for _ in range(rounds):
        xi = reach * torch.randn(tries, rows, group.dim, generator=generator, dtype=torch.float64).to(best.shift)
        near = group.exp(xi) @ best.unsqueeze(0)
        found, which = deviation(near).max(0)
        better = found > value
        chosen = near[which, columns]
        best = Affine(
            torch.where(better[:, None, None], chosen.linear, best.linear),
            torch.where(better[:, None], chosen.shift, best.shift),
        )
        value = torch.where(better, found, value)
        if float(better.double().mean()) < 0.5:
            reach /= 2
    return Worst(value, best)
