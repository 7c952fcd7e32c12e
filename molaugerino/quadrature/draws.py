"""Random sets: draws from a law, plain, in antithetic pairs, and of low discrepancy."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from molaugerino.errors import UserError
from molaugerino.groups import Affine, Group
from molaugerino.quadrature.base import AveragingSet

ALIKE = 1e-3  # nats by which the density of an element and of its inverse may differ, in float32


@runtime_checkable
class Law(Protocol):
    """What is asked of a law: `elements` of uniform noise; every `GroupDistribution` has it.

    Attributes:
        group: the group the elements belong to.
        noise_dim: how many numbers in [0, 1) make one element.
        conditional: the law depends on the input.
    """

    group: Group
    conditional: bool

    @property
    def noise_dim(self) -> int: ...

    def noise(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """Independent uniform numbers in [0, 1), (*shape, noise_dim)."""

    def elements(self, noise: Tensor, context: Any = None) -> Affine:
        """The elements at `noise`, batch shape (*shape)."""

    def log_prob(self, g: Affine, context: Any = None) -> Tensor:
        """Log density against the Haar measure."""


def random(law: Law, n: int, generator: torch.Generator | None = None) -> AveragingSet:
    """g_k = elements(u_k), u_k independent and uniform, weights 1/n: the error falls as 1 / sqrt(n).

    Args:
        law: where to draw from; the elements are differentiable in its parameters.
        n: number of elements, at least 1; an error can be told from 2 on.
        generator: where the numbers come from; on the device of the law.

    Returns:
        n elements, all replicates of their own.

    Raises:
        UserError: for n < 1, or a law that depends on the input.
    """
    _check(law, n, 1)
    return _equal(f"random({n})", law.elements(law.noise((n,), generator)), n)


def antithetic(
    law: Law, n: int, generator: torch.Generator | None = None, pairs: Literal["inverse", "noise"] = "inverse"
) -> AveragingSet:
    """Pairs g, g^-1 (or elements(u), elements(1 - u)) of independent draws, weights 1/n.

    Whatever is odd under inversion, as all that is linear in the coordinates xi of exp(xi), has the mean 0 in each
    pair: there the set is exact; on what is even, it is worth n / 2 draws. The inverse follows the law where
    p(g) = p(g^-1), which is checked on the draws (too strictly on groups whose left and right measures differ);
    mirrored noise 1 - u follows any law, and takes out what is odd in the noise (for a centred box, again what is odd
    in xi).

    Args:
        law: where to draw from.
        n: number of elements, even, at least 2; an error can be told from 4 on.
        generator: where the numbers come from; on the device of the law.
        pairs: what the second of a pair is.

    Returns:
        n elements, the two of a pair next to each other, n / 2 replicates.

    Raises:
        UserError: for an odd n, a law that depends on the input, or with "inverse" a law that is not the same for
            the inverse or has no density to tell.

    Source: Hammersley, Morton, A new Monte Carlo technique: antithetic variates (1956).
    """
    _check(law, n, 2)
    if n % 2:
        raise UserError(f"`n` must be even, got {n}; the elements come in pairs")
    noise = law.noise((n // 2,), generator)
    first = law.elements(noise)
    second = first.inverse() if pairs == "inverse" else law.elements(_below_one(1 - noise))
    if pairs == "inverse":
        _check_symmetric(law, first, second)
    linear, shift = torch.stack([first.linear, second.linear], 1), torch.stack([first.shift, second.shift], 1)
    return _equal(f"antithetic({n})", Affine(linear, shift).reshape(-1), n // 2)


def sobol(law: Law, n: int, seed: int = 0, replicates: int = 4) -> AveragingSet:
    """g_k = elements(u_k), u_k from scrambled Sobol sequences, weights 1/n: the error falls faster than 1 / sqrt(n).

    Each replicate is a sequence of n / replicates points of its own random scrambling. Every one is unbiased, and
    their spread tells the error; one replicate is the most even set, without an error.

    Args:
        law: where to draw from; any that makes its elements of uniform numbers.
        n: number of elements, replicates times a power of two, so that the points fill the cube evenly.
        seed: of the scrambling.
        replicates: number of independent sequences, at least 1.

    Returns:
        n elements, one replicate after the other.

    Raises:
        UserError: for another n, or a law that depends on the input.

    Source: Owen, Scrambled net variance for integrals of smooth functions (1997).
    """
    _check(law, n, 1)
    length, rest = divmod(n, replicates) if replicates > 0 else (0, 0)
    if rest or length < 1 or length & (length - 1):
        raise UserError(f"`n` must be `replicates` times a power of two, got {n} and {replicates}")
    seeds = torch.randint(2**31, (replicates,), generator=torch.Generator().manual_seed(seed)).tolist()
    engines = [torch.quasirandom.SobolEngine(law.noise_dim, scramble=True, seed=s) for s in seeds]  # type: ignore[no-untyped-call]
    noise = torch.cat([engine.draw(length, dtype=torch.float64) for engine in engines])
    return _equal(f"sobol({n})", law.elements(_below_one(noise.to(law.noise((0,))))), replicates)


def _equal(name: str, elements: Affine, replicates: int) -> AveragingSet:
    [n] = elements.batch_shape
    return AveragingSet(name, elements, elements.shift.new_full((n,), 1 / n).detach(), replicates=replicates)


def _below_one(noise: Tensor) -> Tensor:
    """Mirroring 0 and rounding to float32 give 1, which a law does not take."""
    return noise.clamp(max=1 - torch.finfo(noise.dtype).eps)


def _check(law: Law, n: int, least: int) -> None:
    if n < least:
        raise UserError(f"`n` must be at least {least}, got {n}")
    if law.conditional:
        raise UserError("`law` must not depend on the input, which has elements of its own for each; draw from the law")


def _check_symmetric(law: Law, g: Affine, inverse: Affine) -> None:
    remedy = 'take pairs="noise", which follows any law'
    try:
        gap = (law.log_prob(g.detach()) - law.log_prob(inverse.detach())).abs()
    except UserError as error:
        raise UserError(f"`law` has no density to tell whether inverses follow it; {remedy}") from error
    if not bool((gap < ALIKE).all()):
        raise UserError(
            f"`law` must be that of the inverses, got densities that differ by {gap.max():.3g} nats; {remedy}"
        )
