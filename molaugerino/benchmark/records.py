"""What the runs of a suite have recorded, by world and contestant, and compared with each other."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import replace
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
        contestants with the most splits. Without what was broken on purpose, and networks of other libraries, of
        other sizes, which are to weigh on no comparison."""
        names = [name for name in self.contestants(world) if CONTESTANTS[name].compared]
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

        own = {name: self.of(world, name) for name in (contestant, other)}
        found = ({r["split"]: error(r) for r in runs} for runs in own.values())
        a, b = ({split: e for split, e in errors.items() if e is not None} for errors in found)
        both = sorted(a.keys() & b.keys())
        if not both:
            return None
        bound = all(map(unerring, own[contestant])) and not any(map(unerring, own[other]))
        return replace(ratio([a[s] for s in both], [b[s] for s in both]), bound=bound)

    def verdicts(self, world: str, contestant: str) -> str:
        """In how many runs its law is what is right, of those that can be judged, and how many cannot."""
        asked = [r for r in self.of(world, contestant) if r["recovered"] is not None]
        judged = [r for r in asked if not r["law"]["verdict"].startswith("undecided")]
        said = [f"{sum(r['recovered'] for r in judged)} of {len(judged)}"] if judged else []
        return ", ".join([*said, *[f"{len(asked) - len(judged)} undecided"] * (len(judged) < len(asked))])

    def field_seen(self, world: str) -> dict[str, float]:
        """Contestants of a world that has a field -> the mean share of its term that they tell."""
        shares = {
            name: [share_seen(r) for r in self.of(world, name) if r.get("field")] for name in self.contestants(world)
        }
        return {name: statistics.fmean(own) for name, own in shares.items() if own}


def share_seen(run: Run) -> float:
    """How much of its field's term a run tells, by one pass.

        share = (free^2 + term^2 - rmse^2) / (2 term^2),   RMSE without the field, of the term, and with it

    the coefficient of the term in its predictions without the rest of the label: 0 where it does not see the field, 1
    where it tells all of the term.
    """
    field, rmse = run["field"], one_pass(run)["rmse"]
    return float((field["free_rmse"] ** 2 + field["term_rmse"] ** 2 - rmse**2) / (2 * field["term_rmse"] ** 2))


def one_pass(run: Run) -> dict[str, Any]:
    """Its errors of one pass, in the frames that are tested first."""
    return next(e for e in run["errors"] if e["copies"] == 1)


def unerring(run: Run) -> bool:
    """Whether it named no image wrongly: its error is then half of one."""
    return WORLDS[run["world"]].of_images and run["errors"][-1]["accuracy"] == 1
