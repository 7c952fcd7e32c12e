"""The tables of the report."""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from molaugerino.benchmark.contestants import CONTESTANTS
from molaugerino.benchmark.records import Run, Runs
from molaugerino.benchmark.scores import QUADRATURE, failed
from molaugerino.benchmark.statistics import LEVEL, ranking
from molaugerino.benchmark.worlds import WORLDS

RIGHT = {"rotations": "all rotations", "axis": "turns about the axis", "unknown": "not known"}
WORDS = {
    "split": "a division into molecules to train on, to validate on and to test on, and a seed of all else",
    "stored, random, principal": "frames that molecules are tested in: those of the file, each turned at random, along "
    "the principal axes",
    "pass": "one prediction of the network; of 16 passes, their mean over 16 elements of the contestant's own law",
    "quadrature": "the mean over the 24 rotations of a cube, or over 16 turns about the axis where a world has one",
    "letters": "contestants of a world that share one cannot be told apart, by paired t tests of all pairs together, "
    f"in Holm's order, at the level {LEVEL}, of three splits or more; that is no sign of being equal, since few splits "
    "tell only large differences apart. Splits share molecules, so that for molecules of another set the tests are "
    "somewhat too sure",
    "beside fixed": "error over that of fixed, geometric mean over the splits that both have done, with the 95 % "
    "interval of Student's t of the paired logarithms",
    "share of orientation": "of the error of one pass, what the mean over the 24 rotations takes away, in the frames "
    "that are tested first",
    "nats": "Kullback-Leibler divergence from a law to the uniform one, on all rotations or on all turns about the "
    "axis; 0 where it is uniform",
    "tilt": "mean angle between the axis of the world and where the law moves it; 90 degrees, 1.57 rad, where all "
    "rotations are used",
    "?": "a contestant that lacks splits by which the others are compared, with the mean of its own",
}


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
    places = ranking(errors)
    waiting = [name for name in runs.contestants(world) if name not in places]
    of_images = WORLDS[world].of_images
    every = [e["frames"] for r in runs.runs if r["world"] == world for e in r["errors"]]
    frames = [] if of_images else list(dict.fromkeys(every))
    copies: list[int | str] = [1, 16] if WORLDS[world].symmetry == "unknown" else [1, 16, QUADRATURE]
    cells = [(f, c) for f in frames for c in copies]
    names = [*places, *waiting]
    head = [
        "contestant",
        measured(runs.of(world, names[0])[0]),
        "letters",
        "beside fixed",
        *([] if of_images else ["RMSE"]),
    ]
    head += [f"{f}, {c if c == QUADRATURE else f'{c} pass' + 'es' * (c != 1)}" for f, c in cells]
    head += ["share of orientation", "symmetry found", "splits", "minutes to train"]
    rows = []
    for name in names:
        own = runs.of(world, name)
        beside = runs.ratio(world, name, "fixed") if name != "fixed" else None
        shares = [r["orientation_share"] for r in own if r.get("orientation_share") is not None]
        rows.append(
            [
                name,
                spread(errors.get(name, [r["error"] for r in own])),
                mark(places, name),
                "" if beside is None else str(beside),
                *([] if of_images else [spread([r["rmse"] for r in own if "rmse" in r])]),
                *(cell(own, f, c) for f, c in cells),
                f"{round(statistics.fmean(shares), 3) + 0.0:.1%}" if shares else "",
                verdicts(own),
                str(len(own)),
                spread([r["train_minutes"] for r in own], 2),
            ]
        )
    question = WORLDS[world].question
    return Table(world, f"{question[0].upper()}{question[1:]}. Best first.", head, rows)


def mark(places: Mapping[str, str], name: str) -> str:
    """The letters of a contestant, or what stands for them where it is not compared."""
    return places.get(name, "" if CONTESTANTS[name].change else "?")


def measured(run: Run) -> str:
    """The name of its error, with the unit."""
    name = str(run["error_name"])
    return f"{name.removesuffix(', 1')}, no unit" if name.endswith(", 1") else name


def verdicts(own: Sequence[Run]) -> str:
    """In how many runs the law is what is right, of those that can be judged, and how many cannot."""
    asked = [r for r in own if r["recovered"] is not None]
    judged = [r for r in asked if not r["law"]["verdict"].startswith("undecided")]
    said = [f"{sum(r['recovered'] for r in judged)} of {len(judged)}"] if judged else []
    return ", ".join([*said, *[f"{len(asked) - len(judged)} undecided"] * (len(judged) < len(asked))])


def overview(runs: Runs) -> Table:
    """All worlds and contestants: mean errors with their letters."""
    names = [name for name in CONTESTANTS if any(r["contestant"] == name for r in runs.runs)]
    rows = []
    for world in runs.worlds:
        errors = runs.errors(world)
        places = ranking(errors)
        first = next(r for r in runs.runs if r["world"] == world)
        compared = len(next(iter(errors.values()))) if errors else max(len(runs.of(world, name)) for name in names)
        cells = []
        for name in names:
            own = errors.get(name, [r["error"] for r in runs.of(world, name)])
            cells.append(f"{statistics.fmean(own):.3g} {mark(places, name)}".strip() if own else "")
        rows.append([f"{world}, {measured(first).removeprefix('MAE').lstrip(', ')}", str(compared), *cells])
    several = ", ".join(name for name in names if CONTESTANTS[name].averaged)
    note = (
        "Mean absolute errors, on random frames where there are any; of images, the share named wrongly, half of one "
        "where it is none: means over the splits that are compared, with letters; contestants of a world that share a "
        f"letter cannot be told apart. Of one pass; of {several}, averaged over 16 elements of their own law, which "
        "takes them 16 times as long."
    )
    return Table("All worlds", note, ["world", "splits", *names], rows)


def laws_table(runs: Runs) -> Table:
    rows = []
    for world in runs.worlds:
        for name in runs.contestants(world):
            laws = [r["law"] for r in runs.of(world, name) if r["law"] is not None]
            if not laws:
                continue
            if WORLDS[world].of_images:
                right = f"{laws[0]['right_degree']:.0f} degree"
                values = ["", "", "", spread([w["width_degree"] for w in laws])]
            else:
                right = RIGHT[WORLDS[world].symmetry]
                keys = ("nats", "mean_tilt_rad", "spin_nats")
                used = 1 if WORLDS[world].symmetry == "rotations" else len(keys)  # without an axis, only the nats
                values = [spread([w[key] for w in laws]) if k < used else "" for k, key in enumerate(keys)] + [""]
            rows.append([world, name, right, *values, verdicts(runs.of(world, name))])
    head = ["world", "contestant", "right is", "nats to all rotations", "tilt of the axis, rad", "turns about it, nats"]
    note = (
        "Within 0.2 nats of all rotations, or with the axis tilted by at most 0.15 rad on average and turns about it "
        "within 0.2 nats of all, a law has found what is right; of images, within 5 degrees. Shifts are not judged. "
        "Undecided: the network had not learned enough for a law to be judged, which then stays where it began. Tilt "
        "and turns of a conditional law are those over all molecules together, which may be uniform where each "
        "molecule's are not."
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
    head = ["world", "contestant", "MAE", "MAE, theory", "MAE of the term", "RMSE", "RMSE, theory", "RMSE of the term"]
    note = (
        "What does not see the field is left with the label's own term: over random orientations |F| <mu> / 2 of MAE "
        "and |F| sqrt(<mu^2> / 3) of RMSE, which is the theory; on the test molecules, in their frames, what stands "
        "under `of the term`. With it comes the error that a network has against the label without its field term, in "
        "the last column as MAE. `RMSE if blind` is the root of the sum of both squares: an RMSE near it is of a "
        "network that does not see the field, one far below of a network that does. In the frames of the file, "
        "field-stored, orientations are not random, and theory need not hold. One pass; in the unit of the label."
    )
    return Table("The floor in a field", note, [*head, "RMSE if blind", "MAE without the field"], rows)


def checks_table(runs: Runs) -> Table:
    rows = []
    for r in runs.runs:
        who = [r["world"], r["contestant"], str(r["split"])]
        rows += [[*who, name, f"{r['checks'][name]:.2g}"] for name in failed(r["checks"])]
        if r.get("mean_predictor") is not None and r["error"] > r["mean_predictor"]:
            rows.append([*who, "worse than the mean", f"{r['error'] / r['mean_predictor']:.4g}"])
    done = sum(len(r["checks"]) for r in runs.runs)
    note = (
        f"{done} checks of what must hold whatever was learned: a function that is known to turn along must come out "
        "of the contestant's average as it is (turned_back), and the answer to a turned molecule must be the answer, "
        "turned, where a network respects rotations (exact). And of every run of molecules, whether its error is below "
        "that of the mean label, or of sums over the elements where it grows with the molecule. Broken is so on "
        "purpose, and is to be found here. Those that do not hold:"
    )
    return Table("Checks", note, ["world", "contestant", "split", "check", "relative error, or error over that"], rows)


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
    words = Table("Words", "What tables and pictures call what.", ["word", "what it means"], list(WORDS.items()))
    found = [overview(runs), words, *(world_table(runs, world) for world in runs.worlds)]
    found += [laws_table(runs), cost_table(runs), *filter(None, [field_table(runs)]), checks_table(runs)]
    return [*found, runs_table(runs)]
