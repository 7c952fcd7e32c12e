"""The pictures of the report."""

from __future__ import annotations

import io
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from molaugerino.benchmark.contestants import CONTESTANTS
from molaugerino.benchmark.records import Run, Runs
from molaugerino.benchmark.worlds import WORLDS

COLUMNS, SIDE = 3, 3.4  # panels in a row, inches
COLOURS = ("#000000", "#d55e00", "#0072b2", "#56b4e9", "#cc79a7", "#009e73", "#e69f00", "#999933", "#882255", "#44aa99")
SIZED = "gap-"
HAAR = math.pi / 2 + 2 / math.pi  # mean angle of uniform rotations


class Picture(NamedTuple):
    """A drawing, and what it shows."""

    svg: str
    caption: str


def pictures(content: Mapping[str, Any]) -> dict[str, Picture]:
    """By the names of their files; those that there are runs for."""
    runs: list[Run] = content["runs"]
    drawn = {
        "minutes": (
            curves,
            "Validation error of one pass, in the frames of training, against processor minutes; means over splits.",
        ),
        "data": (sizes, "Test error against the number of training molecules."),
        "laws": (
            laws,
            "Learned laws against what is right, the star, a point per split: the distance of their turns to uniform "
            "ones, and how far they turn molecules, or tilt the axis of a world that has one.",
        ),
        "cost": (
            costs,
            "Test error against the time that a prediction takes, of 16 passes where it is averaged over a law.",
        ),
    }
    made = {name: (draw(runs), caption) for name, (draw, caption) in drawn.items()}
    return {name: Picture(as_svg(figure), caption) for name, (figure, caption) in made.items() if figure is not None}


def as_svg(figure: Figure) -> str:
    """The same bytes for the same runs."""
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": "molaugerino", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def style(name: str) -> dict[str, Any]:
    """Of a contestant, the same in all pictures, no two alike."""
    again, k = divmod(list(CONTESTANTS).index(name), len(COLOURS))
    return {"color": COLOURS[k], "linestyle": ("-", "--")[again], "marker": ("o", "^")[again]}


def in_decades(axes: Axes, which: str) -> None:
    """Logarithmic scales with their numbers written out, x, y or xy."""
    for name in which:
        axes.set(**{f"{name}scale": "log"})
        axis = axes.xaxis if name == "x" else axes.yaxis
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())


def panels(
    names: Sequence[str],
    draw: Callable[[Axes, str], None],
    label_x: Callable[[str], str],
    label_y: Callable[[str], str],
) -> Figure | None:
    """A panel for each name, one legend for all."""
    if not names:
        return None
    rows = -(-len(names) // COLUMNS)
    columns = min(COLUMNS, len(names))
    figure = Figure(figsize=(SIDE * columns, SIDE * rows + 0.9), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False).ravel())
    shown: dict[str, Any] = {}
    for place, name in zip(axes, names, strict=False):
        draw(place, name)
        place.set(title=name, xlabel=label_x(name), ylabel=label_y(name))
        handles, labels = place.get_legend_handles_labels()
        shown |= dict(zip(labels, handles, strict=True))
    for place in axes[len(names) :]:
        place.set_axis_off()
    order = [name for name in CONTESTANTS if name in shown]
    if order:
        handles, wide = [shown[n] for n in order], 2 * columns
        figure.legend(handles, order, loc="outside lower center", ncols=wide, fontsize=8, frameon=False)
    return figure


def by_contestant(runs: Sequence[Run], world: str) -> dict[str, list[Run]]:
    held = Runs(runs)
    return {name: held.of(world, name) for name in held.contestants(world)}


def curves(runs: Sequence[Run]) -> Figure | None:
    names = [w for w in Runs(runs).worlds if any(len(r["curve"]) > 1 for r in runs if r["world"] == w)]

    def draw(axes: Axes, world: str) -> None:
        for name, own in by_contestant(runs, world).items():
            lines = [np.array(r["curve"]).T for r in own if len(r["curve"]) > 1]
            if lines:
                times = np.linspace(max(t[0] for t, _ in lines), min(t[-1] for t, _ in lines), len(lines[0][0]))
                values = np.mean([np.interp(times, t, v) for t, v in lines], axis=0)
                axes.plot(times, values, label=name, markersize=3, **style(name))
        if not WORLDS[world].of_images:
            in_decades(axes, "y")

    def label(world: str) -> str:
        unit = next(r["unit"] for r in runs if r["world"] == world)
        return "accuracy" if WORLDS[world].of_images else f"MAE, {unit if unit != '1' else 'no unit'}"

    return panels(names, draw, lambda _: "processor minutes", label)


def sizes(runs: Sequence[Run]) -> Figure | None:
    sized = [w for w in Runs(runs).worlds if w.startswith(SIZED)]

    def draw(axes: Axes, _: str) -> None:
        for name in CONTESTANTS:
            points = [(WORLDS[w].train or 0, [r["error"] for r in by_contestant(runs, w).get(name, ())]) for w in sized]
            points = [(n, errors) for n, errors in points if errors]
            if points:
                x, y = [n for n, _ in points], [statistics.fmean(e) for _, e in points]
                bars = [statistics.stdev(e) if len(e) > 1 else 0.0 for _, e in points]
                axes.errorbar(x, y, bars, label=name, **style(name))
        in_decades(axes, "xy")

    return panels(["gap"] if sized else [], draw, lambda _: "training molecules", lambda _: "test MAE, eV")


def laws(runs: Sequence[Run]) -> Figure | None:
    learned = [r for r in runs if r["law"] is not None and not WORLDS[r["world"]].of_images]
    names = [w for w in Runs(learned).worlds if WORLDS[w].symmetry != "unknown"]

    def about(world: str) -> bool:
        return WORLDS[world].symmetry == "axis"

    def draw(axes: Axes, world: str) -> None:
        far, turned = ("spin_nats", "mean_tilt_rad") if about(world) else ("nats", "mean_rotation_rad")
        right, most = 0.0 if about(world) else HAAR, 1.0
        for name, own in by_contestant(learned, world).items():
            x = [r["law"][far] for r in own]
            axes.plot(x, np.degrees([r["law"][turned] for r in own]), label=name, **(style(name) | {"linestyle": ""}))
            most = max(most, *x)
        axes.plot(0, np.degrees(right), marker="*", markersize=16, color="none", markeredgecolor="black")
        axes.set(ylim=(-8, 140), xlim=(-0.08 * most, 1.08 * most))

    def far_from(world: str) -> str:
        return "nats to all turns about the axis" if about(world) else "nats to all rotations"

    return panels(names, draw, far_from, lambda w: f"mean {'tilt of the axis' if about(w) else 'rotation'}, degree")


def costs(runs: Sequence[Run]) -> Figure | None:
    timed = [r for r in runs if r.get("predict_ms")]

    def draw(axes: Axes, world: str) -> None:
        for name, own in by_contestant(timed, world).items():
            used = "16" if CONTESTANTS[name].averaged else "1"
            ms = statistics.median(r["predict_ms"][used] for r in own)
            axes.plot(ms, statistics.fmean(r["error"] for r in own), label=name, **style(name))
        in_decades(axes, "xy")

    def label(world: str) -> str:
        return f"test MAE, {next(r['unit'] for r in timed if r['world'] == world)}"

    return panels(Runs(timed).worlds, draw, lambda _: "ms per molecule", label)
