"""What decides how wide the law becomes."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class Objective(Protocol):
    """Adds strength * divergence to the loss; may set the strength from what the law does to the loss.

    Attributes:
        measures: whether `refresh` wants paired losses.
        open: whether the law may move.
    """

    measures: bool

    @property
    def open(self) -> bool: ...

    def penalty(self, divergence: Tensor) -> Tensor: ...

    def refresh(self, identity: Tensor, law: Tensor) -> None: ...

    def report(self) -> dict[str, float]: ...

    @property
    def verdict(self) -> str: ...


class FixedStrength(nn.Module):
    """loss + strength * divergence, with a strength that somebody chose."""

    measures = False
    open = True
    verdict = "set by a fixed strength"

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def penalty(self, divergence: Tensor) -> Tensor:
        return self.strength * divergence

    def refresh(self, identity: Tensor, law: Tensor) -> None:
        """Nothing to measure."""

    def report(self) -> dict[str, float]:
        return {"strength": self.strength}


class LossBudget(nn.Module):
    """Widen while the law costs little: rise = loss under the law - loss at the identity <= allowed.

        allowed  = max(5 % of the loss at the identity, 0.1 % of the loss of the best constant)
        strength <- strength * exp(0.3 clip((allowed - rise) / allowed, -1, 1))

    Both losses are of one network on the same molecules, which never update weights, so their
    difference is paired and precise. The strength multiplies the divergence in nats. While the
    network at the identity has not clearly beaten the constant, a law that destroys the label
    would cost nothing, so until then the law is held at its start and the verdict is undecided.

    Args:
        constant_loss: training loss of the best constant prediction.
    """

    RISE_OF_IDENTITY = 0.05
    RISE_OF_CONSTANT = 0.001
    LEARNED = 0.8  # of the constant's loss
    GAIN = 0.3
    MEMORY = 0.7  # weight of the past in the running means
    STRENGTH = (1e-5, 1.0)

    measures = True

    def __init__(self, constant_loss: float) -> None:
        super().__init__()
        self.constant_loss = constant_loss
        self.strength = 1e-3
        # weighted sums over the refreshes: weight, identity loss, rise, and weight^2 * variance of the rise
        self.sums = [0.0, 0.0, 0.0, 0.0]

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
        return math.sqrt(self.sums[3]) / self.sums[0] if self.sums[0] else math.nan

    @property
    def allowed(self) -> float:
        return max(self.RISE_OF_IDENTITY * self.identity_loss, self.RISE_OF_CONSTANT * self.constant_loss)

    @property
    def open(self) -> bool:
        """Whether the network at the identity clearly beats the constant."""
        return self.identity_loss < self.LEARNED * self.constant_loss

    def penalty(self, divergence: Tensor) -> Tensor:
        return self.strength * divergence if self.open else 0.0 * divergence

    def refresh(self, identity: Tensor, law: Tensor) -> None:
        """Update the running means, then the strength.

        Args:
            identity: (molecules,) losses at the identity.
            law: (molecules,) losses of the same molecules under the law.
        """
        difference = (law - identity).double()
        new = [1.0, float(identity.mean()), float(difference.mean()), float(difference.var()) / len(difference)]
        decay = [self.MEMORY, self.MEMORY, self.MEMORY, self.MEMORY**2]
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
        if not self.open:
            return (
                f"undecided: the network has not learned the label (loss at the identity {self.identity_loss:.3g}, "
                f"best constant {self.constant_loss:.3g}), so no law can hurt it yet"
            )
        return (
            f"the law costs {self.rise:.2g} +- {self.standard_error:.1g} of training loss, {self.allowed:.2g} allowed "
            f"(loss at the identity {self.identity_loss:.3g}, best constant {self.constant_loss:.3g})"
        )
