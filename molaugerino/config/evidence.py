"""Settings of the objective evidence, of molecules and of images."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

from molaugerino.config.shared import optional
from molaugerino.errors import UserError

EVERY, EVERY_OF_LAW = 200, 25
EXAMPLES, EXAMPLES_OF_KERNEL = 1000, 200


@dataclass(frozen=True)
class EvidenceConfig:
    """The objective evidence: prior precisions of all weights, raised by the log marginal likelihood of the training
    data (Laplace's method); they take the place of weight decay. Of layers, by Kronecker factors; of networks of
    molecules, and where a law is learned, by the kernel of a block of examples."""

    burn_in: float = 0.1
    """Share of the run before the first update; 1 leaves the precisions as they are."""
    every: Annotated[int, optional("N", "200; 25 of a law")] = 0
    """Steps between two updates."""
    examples: Annotated[int, optional("N", "1,000; 200 of a kernel")] = 0
    """Training examples that the curvature is taken from."""
    trust: float = 1.0
    """Furthest that the logarithm of a precision moves in one update, at most 2; a tenth of it by a block of a law."""
    precision: float = 1.0
    """Of all weights, at first."""
    block: int = 16
    """Training examples of one update of a law."""
    copies: int = 8
    """Elements that each of these is averaged over."""

    def settled(self, kernel: bool, law: bool) -> EvidenceConfig:
        """With nothing left to choose."""
        every = self.every or (EVERY_OF_LAW if law else EVERY)
        return replace(self, every=every, examples=self.examples or (EXAMPLES_OF_KERNEL if kernel else EXAMPLES))


def check_evidence(config: Any) -> None:
    """Raise unless the settings of the objective evidence can be used, and are asked for."""
    settings, evidence = config.evidence, config.objective == "evidence"
    for name, value in asdict(settings).items():
        if value < 0 or (value == 0 and name not in ("burn_in", "every", "examples")):
            raise UserError(f"--evidence.{name} must be positive, got {value}")
    if not 0 <= settings.burn_in <= 1:
        raise UserError(f"--evidence.burn-in is a share of the run, 0 to 1, got {settings.burn_in}")
    if not evidence and settings != EvidenceConfig():
        raise UserError(f"--evidence settings are for --objective evidence, got --objective {config.objective}")
    if not evidence:
        return
    if config.optim.patience is not None:
        raise UserError("--objective evidence says itself which weights are kept; leave --optim.patience out")
    if config.devices > 1:
        raise UserError(f"--objective evidence takes one process, got --devices {config.devices}")
    if config.law.strength is not None:
        raise UserError("--objective evidence has no price; leave --law.strength out")
    if config.augment == "learned" and settings.burn_in == 1:
        raise UserError("--evidence.burn-in 1 leaves no update for the law to move in; give less, or --augment none")
    if config.law.every != type(config.law)().every:
        raise UserError("--objective evidence moves a law every --evidence.every steps; leave --law.every out")
