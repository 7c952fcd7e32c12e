"""The evidence of any network from blocks of examples, and laws of transformations chosen by it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from molaugerino.config import EvidenceConfig, ImageLawConfig, LawConfig
from molaugerino.datasets import Batch, Packed
from molaugerino.distributions import GroupDistribution
from molaugerino.errors import UserError
from molaugerino.laplace import Likelihood, Mode, Parameters, Rows, block_rows, evidence_slopes
from molaugerino.training.blocks import Block
from molaugerino.training.evidence import EvidenceSearch
from molaugerino.training.objective import LossBudget, Losses

Law = TypeVar("Law", LawConfig, ImageLawConfig)

TRUST = 0.1  # share of the trust in many examples that one block has: many blocks tell
MEMORY = 0.9  # weight of the past in the running mean of the loss
RATE = 3.0  # over the learning rate of the law under other objectives, which move it more often
MOST = 200_000_000  # numbers of the Jacobians of a block
SEEN = 4.0  # weights of blocks that make a mean


class BlockSearch(EvidenceSearch):
    """The evidence of any network, bounded from below by that of a block: all its parameters have precisions.

    log q >= N/B [sum_k log p(y_k | f_k) - C/2 log det (1 + K)] - 1/2 sum_l delta_l |theta_l|^2 on average, K of one
    output of each example. The smaller the block, the lower the bound, and the larger the precisions that it asks for.
    See `EvidenceSearch` for the rest; the examples are fewer where the Jacobians would take more than 800 MB.

    Args:
        model: the network.
        likelihood: of the labels.
        examples: N, of the training data.
        settings: of the schedule.
        law: whether a law is learned by it, too.

    Source: Immer et al., Stochastic Marginal Likelihood Gradients using Neural Tangent Kernels (ICML 2023),
    arXiv:2306.03968.
    """

    sums: Tensor
    opened: Tensor

    def __init__(
        self, model: nn.Module, likelihood: Likelihood, examples: int, settings: EvidenceConfig, law: bool = False
    ) -> None:
        settings = settings.settled(kernel=True, law=law)
        sizes = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
        fitting = max(settings.block, MOST // sum(sizes.values()))
        settings = replace(settings, examples=min(settings.examples, fitting))
        super().__init__(model, likelihood, examples, settings, sizes)
        self.register_buffer("sums", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("opened", torch.tensor(False))

    @property
    def level(self) -> float:
        """Running mean of the loss."""
        return float(self.sums[1] / self.sums[0])

    def saw(self, loss: float, constant: float) -> None:
        """Open for good once the running mean of the loss is clearly below that of the best constant."""
        self.sums.mul_(MEMORY).add_(torch.tensor([1.0, loss]).to(self.sums))
        learned = self.level < LossBudget.LEARNED * constant and float(self.sums[0]) > SEEN
        self.opened.fill_(bool(self.opened) or learned)

    def _mode(self, model: nn.Module, subject: Block, seed: int) -> Mode:
        return self.mode_of(subject, subject.parameters(), seed)[0]

    def mode_of(self, block: Block, parameters: Parameters, seed: int) -> tuple[Mode, Rows]:
        """What the evidence needs to know at this block, standing for all examples, and the Jacobians."""
        y, generator = block.batch.y, torch.Generator().manual_seed(seed)
        rows = block_rows(block.predict, len(y), parameters, self.likelihood, generator)
        statistics = self.examples / len(y) * self.likelihood.statistics(rows.values, y).double()
        return Mode(statistics, self.priors.squares(block.augmented.model), rows.kernels(self.examples)), rows


def random_blocks(train: np.ndarray, packed: Packed, seed: int, size: int) -> Callable[[int], Batch]:
    """The block of step k: so many of these rows at random."""

    def block(k: int) -> Batch:
        rows = np.random.default_rng((seed, 2, k)).choice(train, min(size, len(train)), replace=False)
        return packed.batch(torch.from_numpy(rows))

    return block


def at_its_pace(law: Law, evidence: EvidenceSearch) -> Law:
    """The settings of a law that moves when the evidence is taken."""
    return replace(law, every=evidence.settings.every, lr=RATE * law.lr)


class LawEvidence:
    """The law that raises the evidence: no penalty, no budget, no molecules kept.

    max over theta of E[log p(y | h(x)) - C/2B log det (1 + K)], h averaged over copies of each example, K the kernel
    of a block of training examples: a narrower law costs nothing in the first term, and in the second a wider one
    gains where averaging makes the network simpler. Each update of the law raises precisions and noise by the same
    block, too. As for the budget, the law waits until the network has learned the label: loss clearly below half of
    the constant's; from then on it stays open.

    Args:
        search: precisions and noise.
        blocks: gives the examples of step k, drawn at random from those to train on.
        cost: (prediction, label) -> (examples,), dimensionless.
        constant_loss: of the best constant prediction.

    Source: Immer, van der Ouderaa, Fortuin, Raetsch, van der Wilk, Invariance Learning in Deep Neural Networks with
    Differentiable Laplace Approximations (2022), arXiv:2202.10638, with the bound of arXiv:2306.03968.
    """

    measures = False
    replaces = True

    def __init__(
        self,
        search: BlockSearch,
        blocks: Callable[[int], Batch],
        cost: Callable[[Tensor, Tensor], Tensor],
        constant_loss: float,
    ) -> None:
        self.search, self.blocks, self.cost, self.constant_loss = search, blocks, cost, constant_loss

    @property
    def open(self) -> bool:
        return bool(self.search.opened)

    def penalty(self, law: GroupDistribution, losses: Losses) -> Tensor:
        """Holds the slope of minus the evidence per example by the law, once the law may move."""
        settings = self.search.settings
        given = losses.block(self.blocks(losses.step), settings.copies)
        with torch.autocast(given.elements.shift.device.type, enabled=False):  # kernels are nothing for half precision
            slopes = self._slopes(given)
        own = (given.elements.linear, given.elements.shift)
        return -torch.stack([(slope * g).sum() for slope, g in zip(slopes, own, strict=True)]).sum()

    def _slopes(self, given: Block) -> list[Tensor]:
        """Of the evidence per example by the elements of a block; none where the law may not move."""
        block, leaves = given.at_leaves()
        search, parameters, y = self.search, block.parameters(), block.batch.y
        still = [torch.zeros_like(leaf) for leaf in leaves]
        try:
            mode, rows = search.mode_of(block, parameters, block.seed)
            search.take(mode, TRUST * search.settings.trust)
        except UserError as error:
            warnings.warn(f"{error}; law and precisions stay as they are", stacklevel=1)
            return still
        search.saw(float(self.cost(rows.values, y).mean()), self.constant_loss)
        if not self.open:
            return still
        precisions = {name: d.detach() for name, d in mode.scaled(search.likelihood, search.priors).items()}
        return evidence_slopes(block.predict, y, parameters, search.likelihood, precisions, rows, leaves)

    def refresh(self, identity: Tensor, law: Tensor) -> None:
        """Nothing to measure."""

    def report(self) -> dict[str, float]:
        return {"loss": self.search.level, "log_evidence": self.search.value}

    @property
    def verdict(self) -> str:
        if not self.open:
            return (
                f"undecided: the network has not learned the label (loss {self.search.level:.3g}, best constant "
                f"{self.constant_loss:.3g}), so averaging cannot hurt it yet"
            )
        return "as wide as raises the evidence of the training data"
