"""Recipes: settings of a run that anybody can repeat, and what others have published for the same target."""

from __future__ import annotations

import importlib.resources
import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from molaugerino.datasets.names import property_of
from molaugerino.datasets.units import factor
from molaugerino.errors import UserError
from molaugerino.training.checkpoint import package_versions
from molaugerino.training.evaluation import Result

RECIPES = "molaugerino.recipes"


def recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    folder = Path(str(importlib.resources.files(RECIPES)))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def recipe_file(name: str) -> Path:
    """The file of a recipe.

    Args:
        name: of one that comes with the package, or a path.

    Raises:
        UserError: where there is neither.
    """
    known = recipes()
    path = known.get(name, Path(name))
    if not path.is_file():
        raise UserError(f"no recipe {name!r}; there are {', '.join(known)}, or give a TOML file")
    return path


def published(target: str, unit: str) -> list[dict[str, Any]]:
    """What others report for a target of QM9 at B3LYP, in this unit, best first, each with its source.

    Args:
        target: by any of its names, as `u0` or `U0`.
        unit: to convert to.
    """
    entries = json.loads((importlib.resources.files(RECIPES) / "published.json").read_text())
    found = [
        e | {"mae": factor(e["unit"], unit) * e["mae"], "unit": unit}
        for e in entries
        if property_of(e["target"]) == property_of(target)
    ]
    return sorted(found, key=lambda e: e["mae"])


def result(recipe: str, seed: int, results: Sequence[Result], facts: dict[str, Any]) -> dict[str, Any]:
    """All that a reader needs to trust a number, or to repeat it."""
    cuda = torch.cuda.is_available()
    threads = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    return {
        "recipe": recipe,
        "seed": seed,
        "versions": package_versions() | {"python": platform.python_version()},
        "device": torch.cuda.get_device_name() if cuda else threads,
        **facts,
        "results": [r._asdict() for r in results],
    }
