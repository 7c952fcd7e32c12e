"""molaugerino: molecular properties from networks that learn their symmetry."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from molaugerino.version import __version__ as __version__

if TYPE_CHECKING:
    from molaugerino import distributions as distributions
    from molaugerino import groups as groups
    from molaugerino import quadrature as quadrature
    from molaugerino import reductions as reductions
    from molaugerino import spaces as spaces
    from molaugerino.augment import Augmented as Augmented
    from molaugerino.forces import energy_and_forces as energy_and_forces

_MODULES = ("distributions", "groups", "quadrature", "reductions", "spaces")
_NAMES = {"Augmented": "molaugerino.augment", "energy_and_forces": "molaugerino.forces"}


def __getattr__(name: str) -> Any:
    """What is asked for is imported then: torch takes seconds, and `molaugerino --help` does not need it."""
    if name in _MODULES:
        return import_module(f"molaugerino.{name}")
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_NAMES})
