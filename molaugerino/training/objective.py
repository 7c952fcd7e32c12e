"""What decides how wide the law becomes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from molaugerino import paper
from molaugerino.datasets import Batch
from molaugerino.distributions import GroupDistribution
from molaugerino.training.blocks import Block

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Losses:
    """What an objective may ask about this step, as functions of the network's weights (by name).

    Attributes:
        training: loss of this step's batch under the law, at this step's noise, differentiable in the law.
        held_out: loss at the identity of molecules that never update weights.
        weights: the current ones.
        rate: their learning rate.
        block: of given examples, with so many copies of each, under the law.
        step: which one this is.
        context: this step's inputs, for a law that depends on them.
    """

    training: Callable[[Weights], Tensor]
    held_out: Callable[[Weights], Tensor]
    weights: Weights
    rate: float
    block: Callable[[Batch, int], Block]
    step: int = 0
    context: Any = None


@runtime_checkable
class Objective(Protocol):
    """The term of the training loss that keeps the law from shrinking to the identity.

    Attributes:
        measures: whether `refresh` wants paired losses.
        replaces: whether `penalty` holds the law's whole gradient, so that the training loss gives it none.
        open: whether the law may move.
    """

    measures: bool
    replaces: bool

    @property
    def open(self) -> bool: ...

    def penalty(self, law: GroupDistribution, losses: Losses) -> Tensor:
        """Added to the training loss at every update of the law."""

    def refresh(self, identity: Tensor, law: Tensor) -> None: ...

    def report(self) -> dict[str, float]:
        """What is logged."""

    @property
    def verdict(self) -> str:
        """In words, for the report."""


class Unmeasured(nn.Module):
    """An objective that needs no paired losses and is always open."""

    measures = False
    replaces = False
    open = True

    def refresh(self, identity: Tensor, law: Tensor) -> None:
        """Nothing to measure."""

    def report(self) -> dict[str, float]:
        return {}


class DivergencePrice(Unmeasured):
    """loss + strength * KL: every nat to the widest law costs the same."""

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def penalty(self, law: GroupDistribution, losses: Losses) -> Tensor:
        return self.strength * law.divergence(losses.context)

    @property
    def verdict(self) -> str:
        return f"a fixed price of {self.strength:g} per nat"


class NormPrice(Unmeasured):
    """loss - strength * |widths|, the Euclidean norm: the penalty of Benton et al.

    It mixes radians and angstrom in one norm, and says nothing about which strength is right.
    """

    FLOOR = 1e-12  # under the root, whose slope at zero is infinite

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def penalty(self, law: GroupDistribution, losses: Losses) -> Tensor:
        return -self.strength * (law.widths().square().sum() + self.FLOOR).sqrt()

    @property
    def verdict(self) -> str:
        return f"a fixed reward of {self.strength:g} per unit of the widths' norm"


class PublishedReward(Unmeasured):
    """loss - 0.001 sum theta^2, of the law of `molaugerino.paper`."""

    verdict = "as wide as the published reward drives it"

    def penalty(self, law: GroupDistribution, losses: Losses) -> Tensor:
        return paper.penalty(cast(paper.PaperBox, law))


class EntropyBand(Unmeasured):
    """loss + ((KL - high)_+^2 + (low - KL)_+^2) / 2: nats to the widest law between two bounds, and free in between.

    A hundredth of a nat outside pulls as hard as a price of 0.01 per nat. Nothing here asks what the law costs.

    Source: after the entropy bounds of Miao et al., On Learning Invariances via Instance-Specific Augmentation
    (ICML 2023), arXiv:2206.00051, counted on the group.
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def penalty(self, law: GroupDistribution, losses: Losses) -> Tensor:
        nats = law.divergence(losses.context)
        return ((nats - self.high).relu().square() + (self.low - nats).relu().square()) / 2

    @property
    def verdict(self) -> str:
        return f"kept between {self.low:g} and {self.high:g} nats from the widest law"


class HyperGradient(Unmeasured):
    """d/dtheta of the held-out loss after one step of the weights w on the training loss (Liu et al., DARTS).

        -rate d^2 L_train / (dtheta dw) . v,   v = dL_held / dw at w' = w - rate dL_train / dw,

    the mixed derivative by a central difference along v: (dL_train/dtheta at w + e v - at w - e v) / 2e,
    e = 0.01 / |v|. The held-out loss is that of molecules as they stand, at the identity: the law is as wide as helps
    there, and no wider.

    Source: Liu, Simonyan, Yang, DARTS (ICLR 2019), arXiv:1806.09055, equations 6 to 8.
    """

    replaces = True
    REACH = 0.01

    def __init__(self) -> None:
        super().__init__()
        self.size = 0.0

    def penalty(self, law: GroupDistribution, losses: Losses) -> Tensor:
        parameters = list(law.parameters())
        names, start = list(losses.weights), [w.detach() for w in losses.weights.values()]

        def at(values: list[Tensor]) -> Weights:
            return dict(zip(names, values, strict=True))

        def slope(function: Callable[[Weights], Tensor], values: list[Tensor]) -> list[Tensor]:
            leaves = [value.requires_grad_() for value in values]
            return list(torch.autograd.grad(function(at(leaves)), leaves, materialize_grads=True, allow_unused=True))

        def by_law(values: list[Tensor]) -> list[Tensor]:
            loss = losses.training(at(values))
            grad = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True, allow_unused=True)
            return list(grad)

        ahead = torch._foreach_add(start, slope(losses.training, [w.clone() for w in start]), alpha=-losses.rate)
        v = slope(losses.held_out, list(ahead))
        e = self.REACH / torch.linalg.vector_norm(torch.stack(torch._foreach_norm(v))).clamp_min(1e-12)
        moved = torch._foreach_mul(v, e)
        up, down = by_law(list(torch._foreach_add(start, moved))), by_law(list(torch._foreach_sub(start, moved)))
        gradients = [-losses.rate * (a - b) / (2 * e) for a, b in zip(up, down, strict=True)]
        self.size = float(torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients])))
        return torch.stack([(g * p).sum() for g, p in zip(gradients, parameters, strict=True)]).sum()

    def report(self) -> dict[str, float]:
        return {"hypergradient": self.size}

    @property
    def verdict(self) -> str:
        return "as wide as lowers the loss on molecules kept from training, one step ahead"


class LossBudget(nn.Module):
    """Widen while the law costs little: rise = loss under the law - loss at the identity <= allowed.

        allowed  = max(5 % of the loss at the identity, 0.1 % of the loss of the best constant)
        strength <- strength * exp(0.3 clip((allowed - rise) / allowed, -1, 1))

    Both losses are of one network on the same molecules, which never update weights, so their
    difference is paired and precise. The strength multiplies the divergence in nats. What the network has
    not learned yet, no law can hurt; and once the law hides it, it will never be learned. So the law is held
    at its start, and the verdict is undecided, until the loss at the identity is clearly below half of the constant's.

    Args:
        constant_loss: training loss of the best constant prediction.
    """

    RISE_OF_IDENTITY = 0.05
    RISE_OF_CONSTANT = 0.001
    LEARNED = 0.5  # of the constant's loss
    GAIN = 0.3
    MEMORY = 0.7  # weight of the past in the running means
    STRENGTH = (1e-4, 1.0)

    measures = True
    replaces = False

    def __init__(self, constant_loss: float) -> None:
        super().__init__()
        self.constant_loss = constant_loss
        self.strength = 1e-3
        # weighted sums over the refreshes: weight, identity loss, rise, and weight^2 * variance of either
        self.sums = [0.0, 0.0, 0.0, 0.0, 0.0]

    def get_extra_state(self) -> Tensor:
        return torch.tensor([self.constant_loss, self.strength, *self.sums], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        self.constant_loss, self.strength, *self.sums = state.tolist()

    @property
    def identity_loss(self) -> float:
        return self.sums[1] / self.sums[0] if self.sums[0] else math.nan

    @property
    def rise(self) -> float:
        return self.sums[2] / self.sums[0] if self.sums[0] else math.nan

    @property
    def standard_error(self) -> float:
        return math.sqrt(self.sums[4]) / self.sums[0] if self.sums[0] else math.nan

    @property
    def allowed(self) -> float:
        return max(self.RISE_OF_IDENTITY * self.identity_loss, self.RISE_OF_CONSTANT * self.constant_loss)

    @property
    def open(self) -> bool:
        """Whether the network at the identity clearly beats the constant, by two standard errors."""
        error = math.sqrt(self.sums[3]) / self.sums[0] if self.sums[0] else math.nan
        return self.identity_loss + 2 * error < self.LEARNED * self.constant_loss

    def penalty(self, law: GroupDistribution, losses: Losses) -> Tensor:
        return (self.strength if self.open else 0.0) * law.divergence(losses.context)

    def refresh(self, identity: Tensor, law: Tensor) -> None:
        """Update the running means, then the strength.

        Args:
            identity: (molecules,) losses at the identity.
            law: (molecules,) losses of the same molecules under the law.
        """
        difference = (law - identity).double()
        variances = (identity.double().var() / len(identity), difference.var() / len(difference))
        new = [1.0, float(identity.mean()), float(difference.mean()), *map(float, variances)]
        decay = [self.MEMORY, self.MEMORY, self.MEMORY, self.MEMORY**2, self.MEMORY**2]
        self.sums = [d * old + value for d, old, value in zip(decay, self.sums, new, strict=True)]
        if self.open:
            room = min(max((self.allowed - self.rise) / self.allowed, -1.0), 1.0)
            low, high = self.STRENGTH
            self.strength = min(max(self.strength * math.exp(self.GAIN * room), low), high)

    def report(self) -> dict[str, float]:
        return {
            "strength": self.strength,
            "identity_loss": self.identity_loss,
            "rise": self.rise,
            "rise_se": self.standard_error,
            "allowed": self.allowed,
        }

    @property
    def verdict(self) -> str:
        """In words, for the report."""
        if not self.sums[0]:
            return "undecided: the run ended before the first measurement of what the law costs; train longer"
        if not self.open:
            return (
                f"undecided: the network has not learned the label (loss at the identity {self.identity_loss:.3g}, "
                f"best constant {self.constant_loss:.3g}), so no law can hurt it yet"
            )
        return (
            f"the law costs {self.rise:.2g} +- {self.standard_error:.1g} of training loss, {self.allowed:.2g} allowed "
            f"(loss at the identity {self.identity_loss:.3g}, best constant {self.constant_loss:.3g})"
        )
