"""Tables of images."""

from __future__ import annotations

import math
from collections import defaultdict
from statistics import mean
from typing import Any

import numpy as np

from tables.cells import spread, table

RESAMPLINGS = 4000


def half_width(run: dict[str, Any]) -> float:
    """Of the first part of a law of images, in radians where it is an angle."""
    part = next(p for name, p in run["law"]["parts"].items() if "rotation" in name or "hue" in name)
    return math.radians(part["width"])


def image_laws_table(content: dict[str, Any]) -> str:
    """Half-widths learned against the right ones: by the loss budget, and at fixed prices."""
    rows = []
    tasks = dict.fromkeys(r["task"] for r in content["runs"] if r["part"] == "laws")
    prices = sorted({r["strength"] for r in content["runs"] if r["part"] == "prices"})
    for task in tasks:
        runs = [r for r in content["runs"] if r["task"] == task]
        own = [r for r in runs if r["part"] == "laws" and r["augment"] == "learned"]
        cells = [spread([half_width(r) for r in own], 3), f"{own[0]['right']:.3f}", score_of(own)]
        for price in prices:
            priced = [r for r in runs if r["part"] == "prices" and r["strength"] == price]
            cells.append(spread([half_width(r) for r in priced], 2))
        rows.append([f"`{task}`", *cells, f"{mean(r['cpu_minutes'] for r in own):.1f}"])
    header = ["task", "half-width, rad", "right", "test score", *(f"at price {price:g}" for price in prices)]
    return table([*header, "minutes of one core"], rows)


def score_of(runs: list[dict[str, Any]], copies: int = -1) -> str:
    """The first score, averaged over the most copies unless a place in the table is given."""
    name = next(iter(runs[0]["results"][copies]["scores"]))
    values = [r["results"][copies]["scores"][name] for r in runs]
    return f"{name} {spread(values, 3)}"


def image_copies_table(content: dict[str, Any]) -> str:
    """Augmentations beside each other, from one copy, four and all."""
    rows = []
    parts = ("digits", "segment", "paper")
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for r in content["runs"]:
        if r["part"] in parts:
            groups[r["task"], r["augment"]].append(r)
    for (task, augment), runs in groups.items():
        width = "" if augment == "none" else spread([half_width(r) for r in runs], 2)
        cells = [score_of(runs, k).rpartition(" +-")[0] or score_of(runs, k) for k in range(len(runs[0]["results"]))]
        flat = f"{mean(r['flatness']['range_of_mean'] for r in runs):.3f}" if "flatness" in runs[0] else ""
        rows.append([f"`{task}`", augment, width, *[*cells, "", ""][:3], flat])
    header = ["task", "augmentation", "half-width, rad", "1 copy", "4", "16", "probability over the circle"]
    compared = [differences(groups, task) for task in dict.fromkeys(task for task, _ in groups)]
    return "\n\n".join(filter(None, [table(header, rows), *compared]))


def differences(groups: dict[tuple[str, str], list[dict[str, Any]]], task: str) -> str:
    """Learned against fixed and none: in pairs of images, by the bootstrap, or of seeds where a score is of all."""
    learned = {r["seed"]: r for r in groups.get((task, "learned"), [])}
    told = []
    for other in ("fixed", "none"):
        pairs = [(learned[r["seed"]], r) for r in groups.get((task, other), []) if r["seed"] in learned]
        if not pairs:
            continue
        name = next(iter(pairs[0][0]["results"][-1]["scores"]))
        gaps = [100 * (ours["results"][-1]["scores"][name] - r["results"][-1]["scores"][name]) for ours, r in pairs]
        if "right_or_wrong" in pairs[0][0]:
            each = np.concatenate(
                [np.array([*a["right_or_wrong"]], int) - np.array([*b["right_or_wrong"]], int) for a, b in pairs]
            )
            rng = np.random.default_rng(0)
            drawn = [100 * float(rng.choice(each, len(each)).mean()) for _ in range(RESAMPLINGS)]
            low, high = np.quantile(drawn, (0.025, 0.975))
            interval = f"95 % interval {low:+.2f} to {high:+.2f}, bootstrap over {len(each):,} pairs"
        else:
            interval = f"{min(gaps):+.1f} to {max(gaps):+.1f} by seed"
        told.append(f"{mean(gaps):+.2f} points against {other} ({interval})")
    return f"`{task}`, {name} of learned: {'; '.join(told)}." if told else ""
