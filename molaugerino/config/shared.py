"""How a setting that may be left out appears in --help."""

from __future__ import annotations

from typing import Any

from tyro.conf import arg

DEFAULT_MINUTES = 4.0


def optional(shown: str, default: str) -> Any:
    """The annotation of a setting: its metavar, and in words what is taken where it is left out."""
    return arg(metavar=shown, help_behavior_hint=f"(default: {default})")
