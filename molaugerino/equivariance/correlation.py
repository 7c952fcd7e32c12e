"""The correlation measure: how far the channels of a layer follow a transformation of the input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric

from molaugerino.errors import UserError

BLOCKS = 16  # of examples: resampled for the intervals, and by turns one half finds a match and the other scores it
DEAD = 1e-12  # of the largest mean square of the layer: a channel of less variance says nothing
DRAWS, AT_ONCE = 200, 25  # of the bootstrap, and how many are computed together
UNKNOWN = -2.0  # below any correlation


class Correlation(Metric, ABC):
    """Invariance, equivariance and their null of one layer, each the mean over its channels.

        I_c = rho_cc          invariance: the same channel sees the same, moved
        E_c = max_c' rho_cc'  equivariance: some channel does, so that a transformation may permute channels

    rho_cc' is Pearson's correlation of T'[f_c(x)] with f_c'(T x). The cosine would be inflated by activations that are
    never negative. A correlation is blind to scale: f and 2 f + 1 score 1.

    `compute` gives a dictionary of scalar tensors, as `log_dict` takes it:

    - invariance, equivariance;
    - matched: E with c'(c) found on one half of the examples and scored on the other, both ways: without the upward
      bias of a maximum over many channels;
    - null_invariance, null_equivariance: the same of unrelated examples, what features score that follow nothing;
    - dead: share of the channels without variance, which are left out.

    Updates belong to a block of examples, by turns unless told; the blocks are what `intervals` resamples, so an
    example should stay in one block under all transformations. Each transformation has its own correlations and its
    own matches, since a quarter turn and a half turn permute channels in different ways; the scores are means over
    the transformations.

    Args:
        channels: of the layer.
        transforms: how many transformations are told apart.

    Source: Bruintjes, Motyka, van Gemert, What Affects Learned Equivariance in Deep Image Recognition Models? (2023),
    arXiv:2304.02628. The null, the held-out match and the treatment of dead channels are choices made here.
    """

    full_state_update = False
    updates: Tensor

    def __init__(self, channels: int, transforms: int = 1, **options: Any) -> None:
        super().__init__(**options)
        self.channels, self.transforms, self._turn = channels, transforms, 0
        self.add_state("updates", torch.zeros(BLOCKS, dtype=torch.long), dist_reduce_fx="sum")

    def _add(self, *shapes: tuple[str, int]) -> None:
        """Sums over the examples of each block, by transformation, of so many channel indices."""
        for name, indices in shapes:
            size = (BLOCKS, self.transforms, *[self.channels] * indices)
            self.add_state(name, torch.zeros(size, dtype=torch.float64), dist_reduce_fx="sum")

    def _place(self, block: int | None, transform: int) -> tuple[int, int]:
        """Where in the sums these examples belong."""
        if not 0 <= transform < self.transforms:
            raise UserError(f"transform must be in 0 to {self.transforms - 1}, got {transform}")
        place = (self._turn if block is None else block) % BLOCKS
        self._turn += 1  # no state: `forward` resets that before every update
        self.updates[place] += 1
        return place, transform

    @abstractmethod
    def scores_of(self, transform: int, weights: Float[Tensor, "draws blocks"]) -> dict[str, Float[Tensor, " draws"]]:
        """The scores under one transformation, where each block counts so many times; for several weights at once."""

    def scores(self, weights: Float[Tensor, "draws blocks"]) -> dict[str, Float[Tensor, " draws"]]:
        """What `compute` gives, where each block counts so many times; for several such weights at once."""
        parts = [self.scores_of(t, weights) for t in range(self.transforms)]
        return {name: torch.stack([part[name] for part in parts]).nanmean(0) for name in parts[0]}

    def compute(self) -> dict[str, Tensor]:
        weights = torch.ones(1, BLOCKS, dtype=torch.float64, device=self.updates.device)
        return {name: value[0] for name, value in self.scores(weights).items()}

    def intervals(self, level: float = 0.95, seed: int = 0) -> dict[str, tuple[float, float]]:
        """Each score with the spread of 200 resamplings of the blocks about their mean; NaN from a single block.

        Of scores that are a maximum over channels, resampling raises the mean, by noise that it adds; their percentiles
        themselves need not hold the score.
        """
        filled = (self.updates > 0).nonzero()[:, 0].cpu()
        if len(filled) < 2:
            return dict.fromkeys(self.compute(), (float("nan"), float("nan")))
        generator = torch.Generator().manual_seed(seed)
        drawn = filled[torch.randint(len(filled), (DRAWS, len(filled)), generator=generator)]
        weights = torch.zeros(DRAWS, BLOCKS, dtype=torch.float64)
        weights.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))
        parts = [self.scores(part) for part in torch.split(weights.to(self.updates.device), AT_ONCE)]
        edges = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64, device=self.updates.device)
        found = {}
        for name, score in self.compute().items():
            every = torch.cat([part[name] for part in parts])
            low, high = (score + every.nanquantile(edges) - every.nanmean()).tolist()
            found[name] = low, high
        return found


class SpatialCorrelation(Correlation):
    """rho over the places of one example, averaged over examples: for feature maps.

    The best match of E is chosen for each example anew. Unrelated examples are neighbours in a batch.
    """

    same: Tensor
    alive: Tensor
    best: Tensor
    null: Tensor
    null_best: Tensor
    null_alive: Tensor
    cross: Tensor
    pairs: Tensor
    seen_channels: Tensor

    def __init__(self, channels: int, transforms: int = 1, **options: Any) -> None:
        super().__init__(channels, transforms, **options)
        self._add(("same", 1), ("alive", 1), ("best", 1), ("null", 1), ("null_best", 1), ("null_alive", 1))
        self._add(("cross", 2), ("pairs", 2), ("seen_channels", 0))

    def update(
        self,
        expected: Float[Tensor, "examples channels *places"],
        found: Float[Tensor, "examples channels *places"],
        seen: Bool[Tensor, "*places"] | None = None,
        block: int | None = None,
        transform: int = 0,
    ) -> None:
        """Add examples.

        Args:
            expected: T'[f(x)], the features of the input, moved.
            found: f(T x), at the same places.
            seen: places that count; None takes all.
            block: which examples these are of.
            transform: the number of T.

        Raises:
            UserError: for other shapes or numbers, or fewer than two places.
        """
        a, b = (v.flatten(2) for v in (expected.double(), found.double()))
        if a.shape != b.shape or a.shape[1] != self.channels:
            raise UserError(
                f"features must both have shape (examples, {self.channels}, *places), got {tuple(expected.shape)} and "
                f"{tuple(found.shape)}"
            )
        if seen is not None:
            a, b = a[..., seen.flatten()], b[..., seen.flatten()]
        if a.shape[2] < 2:
            raise UserError(f"a correlation needs at least two places, got {a.shape[2]}; measure over examples instead")
        k = self._place(block, transform)
        (a, alive), (b, alive_b) = normalised(a), normalised(b)
        other, alive_other = b.roll(1, 0), alive_b.roll(1, 0)
        self.seen_channels[k] += alive.numel()
        self.same[k] += (a * b).sum((0, 2))
        self.alive[k] += (alive & alive_b).sum(0)
        rho, there = self._matrix(a, b, alive, alive_b)
        self.cross[k] += rho.clamp_min(-1).where(there, rho.new_zeros(())).sum(0)
        self.pairs[k] += there.sum(0)
        self.best[k] += best(rho, alive & alive_b)
        if len(a) > 1:
            self.null[k] += (a * other).sum((0, 2))
            self.null_alive[k] += (alive & alive_other).sum(0)
            self.null_best[k] += best(self._matrix(a, other, alive, alive_other)[0], alive & alive_other)

    def _matrix(self, a: Tensor, b: Tensor, alive: Tensor, alive_b: Tensor) -> tuple[Tensor, Tensor]:
        """(examples, channels, channels) correlations, UNKNOWN where either is dead, and where they are known."""
        there = alive.unsqueeze(2) & alive_b.unsqueeze(1)
        return (a @ b.mT).masked_fill(~there, UNKNOWN), there

    def scores_of(self, transform: int, weights: Float[Tensor, "draws blocks"]) -> dict[str, Float[Tensor, " draws"]]:
        def over(total: Tensor, count: Tensor) -> Tensor:
            total, count = weights @ total[:, transform], weights @ count[:, transform]
            return mean_where(total / count.clamp_min(1), count > 0)

        def rho(half: int) -> Tensor:
            w = halved(weights, half)
            count = torch.tensordot(w, self.pairs[:, transform], 1)
            total = torch.tensordot(w, self.cross[:, transform], 1)
            return torch.where(count > 0, total / count.clamp_min(1), UNKNOWN)

        return {
            "invariance": over(self.same, self.alive),
            "equivariance": over(self.best, self.alive),
            "matched": matched(rho(0), rho(1)),
            "null_invariance": over(self.null, self.null_alive),
            "null_equivariance": over(self.null_best, self.null_alive),
            "dead": 1 - (weights @ self.alive[:, transform]).sum(1) / (weights @ self.seen_channels[:, transform]),
        }


class SampleCorrelation(Correlation):
    """rho over examples: for pooled vectors, and for features of atoms, each of which keeps its identity.

    The paper does not say over what it correlates pooled vectors; over examples is the choice made here. Of vector
    features, components count as examples of their own. The best match is one for all examples. Unrelated examples
    are those half a batch apart.
    """

    n: Tensor
    sum_a: Tensor
    sum_b: Tensor
    square_a: Tensor
    square_b: Tensor
    cross: Tensor
    null_n: Tensor
    null_cross: Tensor

    def __init__(self, channels: int, transforms: int = 1, **options: Any) -> None:
        super().__init__(channels, transforms, **options)
        self._add(("n", 0), ("sum_a", 1), ("sum_b", 1), ("square_a", 1), ("square_b", 1), ("cross", 2))
        self._add(("null_n", 0), ("null_cross", 2))

    def update(
        self,
        expected: Float[Tensor, "examples channels"],
        found: Float[Tensor, "examples channels"],
        block: int | None = None,
        transform: int = 0,
    ) -> None:
        """Add examples.

        Args:
            expected: T'[f(x)], the features of the input, turned where they are vectors.
            found: f(T x), the same examples.
            block: which examples these are of.
            transform: the number of T.

        Raises:
            UserError: for other shapes or numbers.
        """
        a, b = expected.double(), found.double()
        if a.shape != b.shape or a.dim() != 2 or a.shape[1] != self.channels:
            raise UserError(
                f"features must both have shape (examples, {self.channels}), got {tuple(expected.shape)} and "
                f"{tuple(found.shape)}"
            )
        k = self._place(block, transform)
        self.n[k] += len(a)
        for total, value in ((self.sum_a, a), (self.sum_b, b), (self.square_a, a * a), (self.square_b, b * b)):
            total[k] += value.sum(0)
        self.cross[k] += a.mT @ b
        if len(a) > 1:
            self.null_n[k] += len(a)
            self.null_cross[k] += a.mT @ b.roll(len(b) // 2, 0)

    def scores_of(self, transform: int, weights: Float[Tensor, "draws blocks"]) -> dict[str, Float[Tensor, " draws"]]:
        cross, count = self.cross[:, transform], self.n[:, transform]
        rho = self._rho(transform, weights, cross, count)
        null = self._rho(transform, weights, self.null_cross[:, transform], self.null_n[:, transform])
        same = rho.diagonal(dim1=1, dim2=2)
        known = same > UNKNOWN
        halves = (self._rho(transform, halved(weights, half), cross, count) for half in (0, 1))
        return {
            "invariance": mean_where(same, known),
            "equivariance": mean_where(rho.amax(2), known),
            "matched": matched(*halves),
            "null_invariance": mean_where(null.diagonal(dim1=1, dim2=2), null.diagonal(dim1=1, dim2=2) > UNKNOWN),
            "null_equivariance": mean_where(null.amax(2), null.amax(2) > UNKNOWN),
            "dead": 1 - known.double().mean(1),
        }

    def _rho(
        self, transform: int, weights: Tensor, cross: Tensor, count: Tensor
    ) -> Float[Tensor, "draws channels channels"]:
        """UNKNOWN where a channel is dead, or no example counts; `count` of the sums in `cross`, by block."""
        n = (weights @ self.n[:, transform]).unsqueeze(1).clamp_min(1)
        sums = (self.sum_a, self.sum_b, self.square_a, self.square_b)
        mean_a, mean_b, square_a, square_b = (weights @ total[:, transform] / n for total in sums)
        var_a, var_b = square_a - mean_a.square(), square_b - mean_b.square()
        least = DEAD * torch.maximum(square_a, square_b).amax(1, keepdim=True)
        there = (var_a > least).unsqueeze(2) & (var_b > least).unsqueeze(1)
        size = torch.where(there, var_a.clamp_min(0).unsqueeze(2) * var_b.clamp_min(0).unsqueeze(1), 1.0).sqrt()
        summed = (weights @ count)[:, None, None]
        products = torch.tensordot(weights, cross, 1) / summed.clamp_min(1)
        covariance = products - mean_a.unsqueeze(2) * mean_b.unsqueeze(1)
        return torch.where(there & (summed > 0), covariance / size, UNKNOWN)


def normalised(x: Float[Tensor, "examples channels places"]) -> tuple[Tensor, Tensor]:
    """Centred and of length one over the places, zero where dead; and which channels are alive."""
    left = x - x.mean(2, keepdim=True)
    square = left.square().sum(2)
    alive = square > DEAD * x.square().sum(2).amax()
    return torch.where(alive.unsqueeze(2), left / square.where(alive, 1.0).sqrt().unsqueeze(2), 0.0), alive


def best(rho: Float[Tensor, "examples channels channels"], known: Bool[Tensor, "examples channels"]) -> Tensor:
    """(channels,) sums over the examples of max_c' rho_cc'."""
    return torch.where(known, rho.amax(2), 0.0).sum(0)


def mean_where(values: Float[Tensor, "draws channels"], known: Bool[Tensor, "draws channels"]) -> Tensor:
    """(draws,) means over the channels that are known, NaN where none is."""
    return torch.where(known, values, 0.0).sum(1) / known.sum(1)


def matched(
    first: Float[Tensor, "draws channels channels"], second: Float[Tensor, "draws channels channels"]
) -> Tensor:
    """(draws,) mean_c rho_{c, c'(c)} on one half of the examples, c'(c) the best match on the other; both ways."""
    scored = []
    for find, score in ((first, second), (second, first)):
        top, match = find.max(2, keepdim=True)
        found = score.gather(2, match)
        scored.append(torch.where(top > UNKNOWN, found, UNKNOWN)[..., 0])
    every = torch.cat(scored, 1)
    return mean_where(every, every > UNKNOWN)


def halved(weights: Float[Tensor, "draws blocks"], half: int) -> Tensor:
    """Every other block."""
    return weights * (torch.arange(weights.shape[1], device=weights.device) % 2 == half)
