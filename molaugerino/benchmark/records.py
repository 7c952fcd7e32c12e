"""What the runs of a suite have recorded, by world and contestant, and compared with each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from molaugerino.benchmark.contestants import CONTESTANTS
from molaugerino.benchmark.statistics import Ratio, ratio
from molaugerino.benchmark.worlds import WORLDS

Run = dict[str, Any]


class Runs:
    """The runs of a suite, by world and contestant."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self.runs = list(runs)

    def of(self, world: str, contestant: str) -> list[Run]:
        found = [r for r in self.runs if (r["world"], r["contestant"]) == (world, contestant)]
        return sorted(found, key=lambda r: int(r["split"]))

    def contestants(self, world: str) -> list[str]:
        present = {r["contestant"] for r in self.runs if r["world"] == world}
        return [name for name in CONTESTANTS if name in present]

    @property
    def worlds(self) -> list[str]:
        present = {r["world"] for r in self.runs}
        return [name for name in WORLDS if name in present]

    def errors(self, world: str) -> dict[str, list[float]]:
        """Errors of the splits that all contestants of a world have done; where these are less than two, of the
        contestants with the most splits. Without what was broken on purpose, which is to weigh on no comparison."""
        names = [name for name in self.contestants(world) if CONTESTANTS[name].change is None]
        if not names:
            return {}
        splits = {name: {int(r["split"]) for r in self.of(world, name)} for name in names}
        common = set.intersection(*splits.values())
        if len(common) < 2:
            most = max(map(len, splits.values()))
            names = [name for name in names if len(splits[name]) == most]
            common = set.intersection(*(splits[name] for name in names))
        return {} if not common else {n: [r["error"] for r in self.of(world, n) if r["split"] in common] for n in names}

    def ratio(self, world: str, contestant: str, other: str, copies: str | None = None) -> Ratio | None:
        """Of two contestants' errors, over the splits that both have done: those that they are ranked by, or of the
        same frames, averaged in another way; None where there are none."""

        def error(run: Run) -> float | None:
            wanted = (run["errors"][-1]["frames"], copies)
            found = (float(e["mae"]) for e in run["errors"] if (e["frames"], e["copies"]) == wanted)
            return float(run["error"]) if copies is None else next(found, None)

        found = ({r["split"]: error(r) for r in self.of(world, name)} for name in (contestant, other))
        a, b = ({split: e for split, e in errors.items() if e is not None} for errors in found)
        both = sorted(a.keys() & b.keys())
        return ratio([a[s] for s in both], [b[s] for s in both]) if both else None
