"""One page of pictures of what was measured."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from molaugerino.measure.report import SQUARED, Measurement, shared_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INVARIANCE, EQUIVARIANCE, NULL = "tab:blue", "tab:orange", "black"
STYLES = ("-", "--")


def draw(found: Measurement, suffix: str) -> bytes:
    """Bars per layer with their null, the curve, the loss shares and the rates.

    Args:
        found: by `measure`.
        suffix: .png or .svg.
    """
    from matplotlib.figure import Figure

    count = len(found.layers)
    figure = Figure(figsize=(12, max(6.5, 2.2 + 0.36 * count)), layout="constrained")
    grid = figure.add_gridspec(3, 2, width_ratios=(1.25, 1))
    _layers(figure.add_subplot(grid[:, 0]), found)
    _curve(figure.add_subplot(grid[0, 1]), found)
    _shares(figure.add_subplot(grid[1, 1]), found)
    _rates(figure.add_subplot(grid[2, 1]), found)
    figure.suptitle(f"{found.network}, trained with --augment {found.augment}: {found.examples} test examples")
    page = io.BytesIO()
    figure.savefig(page, dpi=130, format=suffix.removeprefix("."))
    return page.getvalue()


def _layers(axes: Axes, found: Measurement) -> None:
    places = [float(k) for k in range(len(found.layers))]
    kinds = (
        (-0.19, "invariance", INVARIANCE, [(s.invariance, s.invariance_interval) for s in found.layers]),
        (0.19, "equivariance", EQUIVARIANCE, [(s.equivariance, s.equivariance_interval) for s in found.layers]),
    )
    for shift, name, colour, values in kinds:
        at = [place + shift for place in places]
        axes.barh(at, [value for value, _ in values], 0.36, color=colour, label=name)
        for place, (_, interval) in zip(at, values, strict=True):
            if interval is not None:
                axes.plot(interval, (place, place), color="0.25", linewidth=1)
        nulls = [s.null[name] for s in found.layers]
        label = "of unrelated examples" if name == "equivariance" else None
        axes.plot(nulls, at, linestyle="none", marker="|", markersize=7, color=NULL, label=label)
    names = [f"{s.name}\n{shared_out(found.paths[s.name])}" if s.name in found.paths else s.name for s in found.layers]
    axes.set_yticks(places, names, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlim=(min(0.0, axes.get_xlim()[0]), 1.02), xlabel=f"correlation under {found.layer_transformations}")
    axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)


def _curve(axes: Axes, found: Measurement) -> None:
    several = len({curve.unit for curve in found.angle_curve}) > 1
    outputs = list(dict.fromkeys(curve.output for curve in found.angle_curve))
    for curve in found.angle_curve:
        label = f"{curve.output}, {curve.passes} pass{'es' if curve.passes > 1 else ''}"
        colour = f"C{outputs.index(curve.output)}"
        axes.plot(found.sizes, curve.deviation, STYLES[curve.passes > 1], color=colour, label=label)
    unit = "mean deviation" + ("" if several else f"\n[{found.angle_curve[0].unit}]")
    axes.set(xlabel=f"size of the transformation [{found.size_unit}]", ylabel=unit, ylim=(0, None))
    if len(found.angle_curve) <= 8:
        axes.legend(fontsize=7)


def _shares(axes: Axes, found: Measurement) -> None:
    shares = [share for share in found.loss_share if share.kind != SQUARED]
    if not shares:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "\n".join(found.verdict), ha="center", va="center", fontsize=8, wrap=True)
        return
    names = [f"{share.output}\n{share.passes} pass{'es' if share.passes > 1 else ''}" for share in shares]
    parts = [min(max(share.found.share, 0.0), 1.0) for share in shares]
    axes.barh(names, parts, color="tab:red")
    axes.barh(names, [1 - part for part in parts], left=parts, color="0.85")
    for k, share in enumerate(shares):
        text = f"{share.found.orientation:.2g} of {share.found.loss:.3g} {share.unit}"
        axes.text(0.98, k, text, ha="right", va="center", fontsize=7)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=7)
    axes.set(xlim=(0, 1), xlabel="share of the loss owed to the transformation (red)")


def _rates(axes: Axes, found: Measurement) -> None:
    rates = found.lie_derivative
    axes.bar(
        [f"{rate.axis}\n{rate.output}" if len(rates) <= 8 else rate.axis for rate in rates], [r.rms for r in rates]
    )
    axes.tick_params(axis="x", labelsize=7)
    units = list(dict.fromkeys(rate.unit for rate in rates))
    coordinates = " or ".join(filter(None, dict.fromkeys(rate.per for rate in rates)))
    unit = f"\n[{units[0]}{' per ' if coordinates else ''}{coordinates}]" if len(units) == 1 else ""
    axes.set(ylabel=f"Lie derivative, rms{unit}")
