"""The tables of the report."""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from molaugerino.benchmark.contestants import CONTESTANTS
from molaugerino.benchmark.scores import QUADRATURE, failed
from molaugerino.benchmark.statistics import Ratio, ranking, ratio
from molaugerino.benchmark.worlds import WORLDS

Run = dict[str, Any]
RIGHT = {"rotations": "all rotations", "axis": "turns about the axis", "unknown": "not known"}


@dataclass(frozen=True)
class Table:
    """A heading, what is to be said of it, and rows of text."""

    title: str
    note: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        return f"## {self.title}\n\n{self.note}\n\n{self.body()}"

    def body(self) -> str:
        """The rows as Markdown."""
        cells = [self.head, ["---"] * len(self.head), *self.rows]
        return "\n".join("| " + " | ".join(row) + " |" for row in cells)

    def html(self) -> str:
        def row(cells: Sequence[str], kind: str) -> str:
            return "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"

        head = f"<h2>{html.escape(self.title)}</h2>\n<p>{html.escape(self.note)}</p>\n"
        body = "\n".join(row(cells, "td") for cells in self.rows)
        return f"{head}<table>\n<thead>{row(self.head, 'th')}</thead>\n<tbody>\n{body}\n</tbody></table>"


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
        return {n: [r["error"] for r in self.of(world, n) if r["split"] in common] for n in names}

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


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean +- standard deviation."""
    if not values:
        return ""
    mean = f"{statistics.fmean(values):.{digits}g}"
    return mean if len(values) < 2 else f"{mean} +- {statistics.stdev(values):.1g}"


def cell(runs: Sequence[Run], frames: str, copies: int | str) -> str:
    """The error in these frames, of so many copies."""
    found = [e["mae"] for r in runs for e in r["errors"] if (e["frames"], e["copies"]) == (frames, copies)]
    return spread(found)


def world_table(runs: Runs, world: str) -> Table:
    """Contestants of a world, best first."""
    errors = runs.errors(world)
    places = {p.name: p for p in ranking(errors)}
    waiting = [name for name in runs.contestants(world) if name not in places]
    of_images = WORLDS[world].of_images
    every = [e["frames"] for r in runs.runs if r["world"] == world for e in r["errors"]]
    frames = [] if of_images else list(dict.fromkeys(every))
    copies: list[int | str] = [1, 16] if WORLDS[world].symmetry == "unknown" else [1, 16, QUADRATURE]
    cells = [(f, c) for f in frames for c in copies]
    names = [*places, *waiting]
    first = runs.of(world, names[0])[0]
    head = ["contestant", first["error_name"], "letters", "beside fixed", *([] if of_images else ["RMSE"])]
    head += [f"{f}, {c if c == QUADRATURE else f'{c} pass' + 'es' * (c != 1)}" for f, c in cells]
    head += ["share of orientation", "symmetry found", "splits", "minutes to train"]
    rows = []
    for name in names:
        own = runs.of(world, name)
        beside = runs.ratio(world, name, "fixed") if name != "fixed" else None
        found = [r["recovered"] for r in own if r["recovered"] is not None]
        shares = [r["orientation_share"] for r in own if r.get("orientation_share") is not None]
        rows.append(
            [
                name,
                spread([r["error"] for r in own]),
                places[name].letters if name in places else "",
                "" if beside is None else str(beside),
                *([] if of_images else [spread([r["rmse"] for r in own if "rmse" in r])]),
                *(cell(own, f, c) for f, c in cells),
                f"{statistics.fmean(shares):.1%}" if shares else "",
                f"{sum(found)} of {len(found)}" if found else "",
                str(len(own)),
                spread([r["train_minutes"] for r in own], 2),
            ]
        )
    note = f"{WORLDS[world].question}. Best first; contestants that share a letter cannot be told apart."
    return Table(world, note[0].upper() + note[1:], head, rows)


def overview(runs: Runs) -> Table:
    """All worlds and contestants: mean errors with their letters."""
    names = [name for name in CONTESTANTS if any(r["contestant"] == name for r in runs.runs)]
    rows = []
    for world in runs.worlds:
        places = {p.name: p for p in ranking(runs.errors(world))}
        first = next(r for r in runs.runs if r["world"] == world)
        most = max(len(runs.of(world, name)) for name in names)
        cells = []
        for name in names:
            own = [r["error"] for r in runs.of(world, name)]
            letters = places[name].letters if name in places else "" if CONTESTANTS[name].change else "?"
            cells.append(f"{statistics.fmean(own):.3g} {letters}".strip() if own else "")
        rows.append([f"{world}, {first['unit'] or 'share wrong'}", str(most), *cells])
    note = (
        "Test errors on random frames where there are any, of one pass, or averaged over 16 elements of a contestant's "
        "own law: means over the splits, with letters of Tukey's test; of a world, contestants that share one cannot "
        "be told apart."
    )
    return Table("All worlds", note, ["world", "splits", *names], rows)


def laws_table(runs: Runs) -> Table:
    rows = []
    for world in runs.worlds:
        for name in runs.contestants(world):
            laws = [r["law"] for r in runs.of(world, name) if r["law"] is not None]
            if not laws:
                continue
            found = [r["recovered"] for r in runs.of(world, name) if r["recovered"] is not None]
            if WORLDS[world].of_images:
                right = f"{laws[0]['right_degree']:.0f} degree"
                values = ["", "", "", spread([w["width_degree"] for w in laws])]
            else:
                right = RIGHT[WORLDS[world].symmetry]
                values = [spread([w[key] for w in laws]) for key in ("nats", "mean_tilt_rad", "spin_nats")] + [""]
            verdict = f"{sum(found)} of {len(found)}" if found else ""
            rows.append([world, name, right, *values, verdict])
    head = ["world", "contestant", "right is", "nats to all rotations", "tilt of the axis, rad", "turns about it, nats"]
    note = (
        "Within 0.2 nats of all rotations, or with the axis tilted by at most 0.15 rad on average and turns about it "
        "within 0.2 nats of all, a law has found what is right; of images, within 5 degrees. Shifts are not judged."
    )
    return Table("Symmetry found", note, [*head, "width, degree", "found"], rows)


def cost_table(runs: Runs) -> Table:
    rows = []
    worlds = [world for world in runs.worlds if not WORLDS[world].of_images]
    for name in CONTESTANTS:
        world = next((world for world in worlds if runs.of(world, name)), None)
        if world is None:
            continue
        own = runs.of(world, name)
        ms = {k: [r["predict_ms"][k] for r in own if k in r["predict_ms"]] for k in ("1", "16", QUADRATURE)}
        memory = [r["predict_mb"] for r in own if r.get("predict_mb") is not None]
        rows.append(
            [
                name,
                CONTESTANTS[name].idea,
                world,
                f"{max(r['parameters'] for r in own):,}",
                spread([r["train_minutes"] for r in own], 2),
                *(f"{statistics.median(v):.2f}" if v else "" for v in ms.values()),
                f"{statistics.median(memory):.0f}" if memory else "",
            ]
        )
    head = ["contestant", "what it is", "in", "parameters", "minutes to train", "ms per molecule, 1 pass", "16 passes"]
    note = (
        "Processor minutes and milliseconds of one core, in one world, the first that a contestant is tried in; of "
        "training without validation; memory of 128 passes at once."
    )
    return Table("What it costs", note, [*head, "quadrature", "MB to predict"], rows)


def field_table(runs: Runs) -> Table | None:
    """Errors of what does not see the field, beside theory."""
    rows = []
    for world in runs.worlds:
        for name in runs.contestants(world):
            own = [r for r in runs.of(world, name) if r.get("field")]
            if not own:
                continue
            first = [next(e for e in r["errors"] if e["copies"] == 1) for r in own]
            mae, rmse = [e["mae"] for e in first], [e["rmse"] for e in first]
            theory = {key: statistics.fmean(r["field"][key] for r in own) for key in own[0]["field"]}
            blind = [math.hypot(r["field"]["term_rmse"], r["field"]["free_rmse"]) for r in own]
            rows.append(
                [
                    world,
                    name,
                    spread(mae),
                    f"{theory['floor_mae']:.3g}",
                    f"{theory['term_mae']:.3g}",
                    spread(rmse),
                    f"{theory['floor_rmse']:.3g}",
                    f"{theory['term_rmse']:.3g}",
                    spread(blind),
                    spread([r["field"]["free_mae"] for r in own]),
                ]
            )
    if not rows:
        return None
    head = ["world", "contestant", "MAE", "theory", "of the term", "RMSE", "theory", "of the term", "if blind"]
    note = (
        "What does not see the field is left with the label's own term: over random orientations |F| <mu> / 2 of MAE "
        "and |F| sqrt(<mu^2> / 3) of RMSE, on the test molecules what stands under `of the term`. With it comes the "
        "error that a network has on the label without the field: `if blind` is the root of the sum of both squares, "
        "what RMSE is where the two know nothing of each other. One pass; in the unit of the label."
    )
    return Table("The floor in a field", note, [*head, "MAE without the field"], rows)


def checks_table(runs: Runs) -> Table:
    rows = []
    for r in runs.runs:
        who = [r["world"], r["contestant"], str(r["split"])]
        rows += [[*who, name, f"{r['checks'][name]:.2g}"] for name in failed(r["checks"])]
        if r.get("mean_predictor") is not None and r["error"] > r["mean_predictor"]:
            rows.append([*who, "worse than the mean", f"{r['error'] / r['mean_predictor']:.3g}"])
    done = sum(len(r["checks"]) for r in runs.runs)
    note = (
        f"{done} checks of what must hold whatever was learned: a function that is known to turn along must come out "
        "of the contestant's average as it is; a network that respects rotations must; and an error is to be below "
        "that of the mean label, or of sums over the elements where it grows with the molecule, which is all that a "
        "network of scalars and vectors has to say of a pseudoscalar. "
        "Those that do not hold:"
    )
    return Table("Checks", note, ["world", "contestant", "split", "check", "relative error"], rows)


def runs_table(runs: Runs) -> Table:
    rows = [
        [
            r["world"],
            r["contestant"],
            str(r["split"]),
            f"{r['error']:.4g}",
            str(r["steps"]),
            f"{r['cpu_minutes']:.2f}",
            r["commit"] or r["version"],
            r["machine"],
        ]
        for r in runs.runs
    ]
    head = ["world", "contestant", "split", "error", "steps", "processor minutes", "commit or version", "machine"]
    return Table("Every run", "As in results.json beside this page.", head, rows)


def tables(content: Mapping[str, Any]) -> list[Table]:
    runs = Runs(content["runs"])
    if not runs.runs:
        return []
    found = [overview(runs), *(world_table(runs, world) for world in runs.worlds)]
    found += [laws_table(runs), cost_table(runs), *filter(None, [field_table(runs)]), checks_table(runs)]
    return [*found, runs_table(runs)]
