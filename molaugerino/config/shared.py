"""How a setting that may be left out appears in --help."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any

from tyro.conf import arg

from molaugerino.errors import UserError

DEFAULT_MINUTES = 4.0
LENGTHS = ("minutes", "epochs", "steps")
EVERY, EVERY_OF_LAW = 200, 25
EXAMPLES, EXAMPLES_OF_KERNEL = 1000, 200


def optional(shown: str, default: str) -> Any:
    """The annotation of a setting: its metavar, and in words what is taken where it is left out."""
    return arg(metavar=shown, help_behavior_hint=f"(default: {default})")


@dataclass(frozen=True)
class EvidenceConfig:
    """The objective evidence: prior precisions of all weights, raised by the log marginal likelihood of the training
    data (Laplace's method); they take the place of weight decay. Of layers, by Kronecker factors; of networks of
    molecules, and where a law is learned, by the kernel of a block of examples."""

    burn_in: float = 0.1
    """Share of the run before the first update; 1 leaves the precisions as they are. A law waits for the network."""
    every: Annotated[int, optional("N", "200; 25 of a law")] = 0
    """Steps between two updates."""
    examples: Annotated[int, optional("N", "1,000; 200 of a kernel")] = 0
    """Training examples that the curvature is taken from."""
    trust: float = 1.0
    """Furthest that the logarithm of a precision moves in one update, 2 at most."""
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
        raise UserError("--objective evidence keeps the weights of the largest evidence; leave --optim.patience out")
    if config.devices > 1:
        raise UserError(f"--objective evidence takes one process, got --devices {config.devices}")
    if config.law.strength is not None:
        raise UserError("--objective evidence has no price; leave --law.strength out")
    if config.law.every != type(config.law)().every:
        raise UserError("--objective evidence moves a law every --evidence.every steps; leave --law.every out")


def check_length(config: Any) -> None:
    """Raise unless at most one length of a training is given, and it is positive."""
    given = [name for name in LENGTHS if getattr(config, name) is not None]
    if len(given) > 1:
        raise UserError(f"give one of --minutes, --epochs and --steps, got {' and '.join('--' + g for g in given)}")
    for name in given:
        if not getattr(config, name) > 0:
            raise UserError(f"--{name} must be positive, got {getattr(config, name)}")


def check_seeds(config: Any, *names: str) -> None:
    """Raise unless these seeds are what generators take."""
    for name in names:
        if not 0 <= getattr(config, name) < 2**63:
            raise UserError(f"--{name.replace('_', '-')} must lie in 0..2^63 - 1, got {getattr(config, name)}")
