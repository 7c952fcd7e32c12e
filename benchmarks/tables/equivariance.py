"""Tables of measured equivariance."""

from __future__ import annotations

import math
from collections import defaultdict
from statistics import mean
from typing import Any

from tables.cells import spread, table

PUBLISHED = {  # invariance, equivariance at the last convolution and at the end: Bruintjes, Motyka, van Gemert (2023)
    "upright": ((0.08, 0.33), (0.23, 0.49)),
    "turned": ((0.19, 0.44), (0.94, 0.94)),
    "turn is label": ((0.10, 0.46), (0.25, 0.75)),
}


def scores(runs: list[dict[str, Any]], layer: str, name: str) -> str:
    """Of one layer, over the seeds."""
    return spread([next(r[name] for r in run["layers"] if r["layer"] == layer) for run in runs], 2)


def mnist6_table(content: dict[str, Any]) -> str:
    """The last convolution and the end, ours beside the published ones."""
    rows = []
    for variant, published in PUBLISHED.items():
        runs = [r for r in content["runs"] if r["part"] == "mnist6" and r["variant"] == variant]
        cells = []
        for layer, (invariance, equivariance) in zip(("stages.6", "final"), published, strict=True):
            cells += [f"{scores(runs, layer, 'invariance')} ({invariance:.2f})"]
            cells += [f"{scores(runs, layer, 'equivariance')} ({equivariance:.2f})"]
        nulls = f"{scores(runs, 'stages.6', 'null_equivariance')}, {scores(runs, 'final', 'null_equivariance')}"
        accuracy = spread([100 * r["accuracy"] for r in runs], 1)
        rows.append([f"{variant}", *cells, nulls, scores(runs, "final", "matched"), accuracy])
    header = ["digits", "last convolution: I", "E", "end: I", "E", "null of E", "E with held-out match", "accuracy, %"]
    return table(header, rows)


def widths_table(content: dict[str, Any]) -> str:
    """Equivariance under shifts in the middle, in the last block and at the end."""
    rows = []
    groups: dict[tuple[float, bool], list[dict[str, Any]]] = defaultdict(list)
    for r in content["runs"]:
        if r["part"] == "widths":
            groups[r["width"], r["crops"]].append(r)
    for (width, crops), runs in sorted(groups.items(), key=lambda item: (item[0][1], item[0][0])):
        cells = [scores(runs, layer, "equivariance") for layer in ("features.2", "features.4", "features.6", "readout")]
        accuracy = spread([100 * r["accuracy"] for r in runs], 1)
        rows.append([f"{width:g}", "crops" if crops else "none", *cells, accuracy])
    stages = ["stage 1", "stage 2", "stage 3", "end"]
    return table(["width", "augmentation", *(f"E, {stage}" for stage in stages), "accuracy, %"], rows)


def owed_table(content: dict[str, Any]) -> str:
    """What orientation adds to the error of molecules, as measured and by many random rotations."""
    rows = []
    for r in content["runs"]:
        if r["part"] != "molecules":
            continue
        for share in r["loss_share"]:
            if share["kind"] != "absolute error":
                continue
            brute = r["brute_force"]["absolute error"] if share["passes"] == 1 else None
            cells = [f"{1000 * share['loss']:.1f}", f"{1000 * share['orientation']:.2f} +- {1000 * share['error']:.2f}"]
            cells.append("" if brute is None else f"{1000 * brute['orientation']:.2f} +- {1000 * brute['error']:.2f}")
            cells = [cell.replace("-0.00", "0.00") for cell in cells]
            worst = next(c for c in r["worst"] if c["passes"] == share["passes"])
            lie = math.sqrt(mean(r["lie"][axis] ** 2 for axis in ("rx", "ry", "rz"))) if share["passes"] == 1 else None
            cells += [f"{1000 * worst['mean']:.1f}", "" if lie is None else f"{1000 * lie:.2f}"]
            rows.append([f"`{r['model']}`", r["augment"], str(share["passes"]), *cells])
    header = ["network", "augmentation", "passes", "MAE, meV", "due to orientation, meV", "by 1,000 random rotations"]
    return table([*header, "worst rotation, meV", "Lie derivative, meV/rad"], rows)


def stored_frames_table(content: dict[str, Any]) -> str:
    """The test of frames by data set."""
    rows = []
    for r in content["runs"]:
        if r["part"] == "frames":
            told = f"{100 * r['accuracy']:.1f}"
            handed = f"{100 * r['handed']:.1f} % of {r['chiral']:,}" if r["chiral"] else ""
            away = f"{r['centroid_mean']:.2f}"
            rows.append([f"`{r['set']}`", f"{r['molecules']:,}", told, f"{r['p_value']:.0e}", away, handed])
    header = ["set", "molecules", "told apart from turned ones, %", "p-value", "centroid from the origin, A"]
    return table([*header, "positive triple product"], rows)


def measuring_cost(content: dict[str, Any]) -> str:
    """Time and memory of the measurement of layers."""
    rows = [
        [str(r["transforms"]), str(r["layers"]), f"{r['seconds'] / r['passes_seconds']:.2f}", f"{r['peak_mb']:.0f}"]
        for r in content["runs"]
        if r["part"] == "cost"
    ]
    return table(["transformations", "layers", "time / that of the passes alone", "peak memory, MB"], rows)
