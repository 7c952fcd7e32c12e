"""How to predict, and who makes the geometries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from molaugerino.errors import UserError
from molaugerino.predict.entries import Entry
from molaugerino.predict.routes import TIMEOUT, Prepared, Route, Settings, given_up, prepare
from molaugerino.predict.workers import Workers
from molaugerino.predict.xtb import need_xtb
from molaugerino.training.calibration import LEVEL

MOST_ISOMERS, MOST_CONFORMERS = 64, 100

Weights = Literal["lowest", "boltzmann"]
Preparing = Callable[[Iterable[tuple[Entry, Settings]]], Iterator[Prepared]]  # `prepare`, mapped


@dataclass(frozen=True)
class Options:
    """How to predict.

    Attributes:
        geometry: where geometries come from; None takes what suits the model and the molecule.
        isomers: of a molecule that leaves its configuration open, at most.
        conformers: of each isomer.
        weights: of the conformers.
        level: of the intervals.
        jobs: processes that make geometries, and outlive molecules that hang or crash them; None makes them in this
            one. A script that asks for processes runs under `if __name__ == "__main__":`.
        timeout: seconds for each conformer asked for, after which a process gives up a molecule.
    """

    geometry: Route | None = None
    isomers: int = 4
    conformers: int = 1
    weights: Weights = "lowest"
    level: float = LEVEL
    jobs: int | None = None
    timeout: int = TIMEOUT

    def __post_init__(self) -> None:
        most = {"isomers": MOST_ISOMERS, "conformers": MOST_CONFORMERS, "jobs": 1024, "timeout": 86_400}
        for name, limit in most.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= limit:
                raise UserError(f"--{name} must lie between 1 and {limit}, got {value}")
        if not 0 < self.level < 1:
            raise UserError(f"--level must lie between 0 and 1, as 0.9, got {self.level}")
        for name, known in (("geometry", (None, *get_args(Route))), ("weights", get_args(Weights))):
            if getattr(self, name) not in known:
                choices = ", ".join(filter(None, known))
                raise UserError(f"--{name} must be one of {choices}, got {getattr(self, name)!r}")
        if self.geometry == "xtb":
            need_xtb()

    @property
    def limit(self) -> float:
        """Seconds that a molecule may take."""
        return float(self.timeout * self.isomers * self.conformers)

    @contextmanager
    def preparing(self) -> Iterator[Preparing]:
        """What makes geometries: processes, or this one."""
        if self.jobs is None:
            yield partial(map, prepare)
            return
        with Workers(self.jobs, self.limit, chunk=1 if self.geometry == "xtb" else 10) as workers:
            yield partial(workers.map, prepare, given_up=given_up)
