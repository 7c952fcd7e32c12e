"""Outputs that no transformation changes."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

from molaugerino.groups import Affine

T = TypeVar("T")


class Invariant:
    """rho(g) y = y: energies, class scores, any scalar."""

    per_point = False

    def act(self, g: Affine, value: T, index: Tensor | None = None) -> T:
        return value
