"""How far answers move under finite transformations, and at the worst of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.distributions import GroupDistribution
from molaugerino.errors import UserError
from molaugerino.groups import Affine, Group

SEED = 20230405
REACH = 0.2  # of the noise of a law, at first
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
    law: GroupDistribution,
    rows: int,
    starts: int = 24,
    rounds: int = 6,
    tries: int = 4,
    seed: int = SEED,
) -> Worst:
    """max_g |rho_out(g)^-1 f(g x) - f(x)| over the elements that a law can give, by local search.

    From the worst of some draws for each example, each round tries the law at noise u + reach z, z normal, cut off at
    0 and 1; what is better is kept, and the reach, 0.2 at first, is halved whenever a round helps fewer than half of
    the examples. It needs no derivatives, and never leaves the law. A lower bound of the largest deviation: more
    starts, rounds and tries only raise it.

    Args:
        deviation: d of elements (candidates, rows).
        law: whose elements are searched, such as the widest.
        rows: examples.
        starts: draws for each example.
        rounds: of the search.
        tries: candidates per round.
        seed: of draws and candidates.

    Raises:
        UserError: for no candidates.
    """
    if starts < 1 or tries < 1:
        raise UserError(f"the search needs candidates, got {starts} to start from and {tries} tries")
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(starts, rows, law.noise_dim, generator=generator, dtype=torch.float64)
    columns, reach = torch.arange(rows), REACH
    value, which = deviation(law.elements(noise)).max(0)
    best = noise[which.cpu(), columns]
    for _ in range(rounds):
        near = best + reach * torch.randn(tries, rows, law.noise_dim, generator=generator, dtype=torch.float64)
        near = near.clamp(0, 1 - torch.finfo(torch.float64).eps)
        found, which = deviation(law.elements(near)).max(0)
        better = found > value
        best = torch.where(better.cpu().unsqueeze(1), near[which.cpu(), columns], best)
        value = torch.where(better, found, value)
        if float(better.double().mean()) < 0.5:
            reach /= 2
    return Worst(value, law.elements(best))
