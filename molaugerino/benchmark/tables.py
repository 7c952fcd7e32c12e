"""The tables of the report."""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from molaugerino.benchmark.contestants import CONTESTANTS
from molaugerino.benchmark.records import Run, Runs, one_pass
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
    "per component": "mean over x, y and z; its absolute value depends on how the axes lie, so that a network which "
    "turns along exactly has two of them, too, with one RMSE",
    "letters": "contestants of a world that share one cannot be told apart, by paired t tests of all pairs together, "
    f"in Holm's order, at the level {LEVEL}, of three splits or more; that is no sign of being equal, since few splits "
    "tell only large differences apart. Splits share molecules, so that for molecules of another set the tests are "
    "somewhat too sure. What is broken on purpose, and networks of other libraries, of other sizes, take no part",
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


def figures(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, zeros at its end, too."""
    return f"{Decimal(f'{value:.{digits - 1}e}'):f}"


def percent(share: float, digits: int = 0) -> str:
    return f"{round(share, digits + 2) + 0.0:.{digits}%}"  # never -0


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Mean +- standard deviation."""
    if not values:
        return ""
    mean = figures(statistics.fmean(values), digits)
    return mean if len(values) < 2 else f"{mean} +- {figures(statistics.stdev(values), 1)}"


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
                percent(statistics.fmean(shares), 1) if shares else "",
                runs.verdicts(world, name),
                str(len(own)),
                spread([r["train_minutes"] for r in own], 2),
            ]
        )
    question = WORLDS[world].question
    note = f"{question[0].upper()}{question[1:]}. {sizes(runs.of(world, names[0])[0])}Best first."
    return Table(world, note, head, rows)


def sizes(run: Run) -> str:
    """How many molecules or images there are for what, where a run has recorded it."""
    if "parts" not in run:
        return ""
    n = run["parts"]
    return (
        f"{n['train'] + n['law']:,} {'images' if WORLDS[run['world']].of_images else 'molecules'} to train on, "
        f"{n['law']:,} of them to judge a law by where one is learned within the budget, {n['valid']:,} to validate "
        f"on, {n['test']:,} to test on. "
    )


def mark(places: Mapping[str, str], name: str) -> str:
    """The letters of a contestant, or what stands for them where it is not compared."""
    return places.get(name, "?" if CONTESTANTS[name].compared else "")


def measured(run: Run) -> str:
    """The name of its error, with the unit."""
    name = str(run["error_name"])
    return f"{name.removesuffix(', 1')}, no unit" if name.endswith(", 1") else name


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
            cells.append(f"{figures(statistics.fmean(own))} {mark(places, name)}".strip() if own else "")
        rows.append([f"{world}, {measured(first).removeprefix('MAE').lstrip(', ')}", str(compared), *cells])
    several = ", ".join(name for name in names if CONTESTANTS[name].averaged)
    note = (
        "Mean absolute errors, on random frames where there are any; of images, the share named wrongly, half of one "
        "where it is none: means over the splits that are compared, with letters; contestants of a world that share a "
        "letter cannot be told apart (paired t tests of all pairs of a world, in Holm's order). Of one pass; of "
        f"{several}, averaged over 16 elements of their own law, which takes them 16 times as long."
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
            rows.append([world, name, right, *values, runs.verdicts(world, name)])
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
        for name, share in runs.field_seen(world).items():
            own = [r for r in runs.of(world, name) if r.get("field")]
            first = [one_pass(r) for r in own]
            theory = {key: figures(statistics.fmean(r["field"][key] for r in own)) for key in own[0]["field"]}
            rmse = [math.hypot(r["field"]["term_rmse"], r["field"]["free_rmse"]) for r in own]
            apart = CONTESTANTS[name].blind and not WORLDS[world].placed  # of the term, which then is noise to it
            rows.append(
                [
                    world,
                    name,
                    spread([e["mae"] for e in first]),
                    theory["floor_mae"],
                    theory["term_mae"],
                    spread([r["field"]["free_mae"] for r in own]) if apart else "",
                    spread([e["rmse"] for e in first]),
                    theory["floor_rmse"],
                    theory["term_rmse"],
                    spread([r["field"]["free_rmse"] for r in own]) if apart else "",
                    spread(rmse) if apart else "",
                    percent(share),
                ]
            )
    if not rows:
        return None
    of_mae = ["MAE", "MAE, theory", "MAE of the term", "MAE without the field"]
    of_rmse = ["RMSE", "RMSE, theory", "RMSE of the term", "RMSE without the field", "RMSE if blind"]
    note = (
        "What does not see the field is left with the label's own term: over random orientations |F| <mu> / 2 of MAE "
        "and |F| sqrt(<mu^2> / 3) of RMSE, which is the theory; on the test molecules, in their frames, what stands "
        "under `of the term`. With it comes the error that it has against the label without that term, `without the "
        "field`; `if blind` is the root of the sum of both squares, which its RMSE should be. These are of networks "
        "that respect all rotations, or average over them, in random frames. `Seen` is the share of the term that a "
        "network tells, the coefficient of it in its predictions: none without sight of the field. In the frames of "
        "the file, field-stored, orientations are not random, and what respects all rotations may guess at the term. "
        "One pass; in the unit of the label."
    )
    return Table("The floor in a field", note, ["world", "contestant", *of_mae, *of_rmse, "seen"], rows)


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
        "purpose, and is to be found here. Evidence and relaxed minimise squared errors: where nothing is learned, "
        "their absolute error may lie a little above. Those that do not hold:"
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
