"""How a setting that may be left out appears in --help."""

from __future__ import annotations

from typing import Any

from tyro.conf import arg

from molaugerino.errors import UserError

DEFAULT_MINUTES = 4.0
LENGTHS = ("minutes", "epochs", "steps")


def optional(shown: str, default: str) -> Any:
    """The annotation of a setting: its metavar, and in words what is taken where it is left out."""
    return arg(metavar=shown, help_behavior_hint=f"(default: {default})")


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
