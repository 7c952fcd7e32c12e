"""Tables of layer-wise equivariance."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import mean
from typing import Any

from tables.cells import spread, table

Runs = list[dict[str, Any]]

TASKS = {"quadrant-blind": "digit", "quadrant-aware": "digit x quarter"}
COLUMNS = (("fc", "map"), ("conv", "map"), ("fc", "evidence"), ("conv", "evidence"), ("f-fc+conv", "evidence"))
# test accuracy, %: van der Ouderaa, Immer, van der Wilk (2023), table 1
PUBLISHED = {
    "quadrant-blind": (95.73, 99.38, 97.04, 99.23, 98.86),
    "quadrant-aware": (95.10, 24.68, 95.46, 24.50, 99.00),
}
# the same, table 3: NLL and accuracy in % of MAP and of the learned network; mean shares fc, conv, gconv in %
MIXED = {
    "upright": (0.172, 97.59, 0.023, 99.21, (10, 15, 75)),
    "translated": (0.812, 90.78, 0.053, 98.27, (0, 23, 77)),
    "rotmnist": (0.819, 91.02, 0.136, 95.55, (8, 8, 83)),
}


def of(content: dict[str, Any], **facts: Any) -> Runs:
    return [run for run in content["runs"] if all(run.get(key) == value for key, value in facts.items())]


def over(runs: Runs, number: Callable[[dict[str, Any]], float], digits: int) -> str:
    """Of several seeds."""
    return spread([number(run) for run in runs], digits) if runs else ""


def layerwise_toy_table(content: dict[str, Any]) -> str:
    """Accuracy by task and network, then the share of the convolution in each layer of the learned ones."""
    rows = []
    for task, label in TASKS.items():
        cells = []
        for (model, prior), published in zip(COLUMNS, PUBLISHED[task], strict=True):
            found = over(of(content, task=task, model=model, prior=prior), lambda r: 100 * r["scores"]["accuracy"], 1)
            cells.append(f"{found} ({published:.1f})" if found else "")
        rows.append([label, *cells])
    header = ["label", "FC, MAP", "CONV, MAP", "FC, evidence", "CONV, evidence", "F-FC+CONV, evidence"]
    shares = []
    for task, label in TASKS.items():
        runs = of(content, task=task, part="toy")
        if runs:
            layers = list(runs[0]["shares"])
            own = [over(runs, lambda r, at=layer: 100 * r["shares"][at]["conv"], 0) for layer in layers]
            minutes = mean(run["wall_minutes"] for run in runs)
            shares.append([label, *own, f"{minutes:.0f}"])
    names = ["share of CONV, %, in layer", *map(str, range(1, 9)), "minutes"]
    return table(header, rows) + ("\n\n" + table(names, shares) if shares else "")


def layerwise_mixed_table(content: dict[str, Any]) -> str:
    """NLL and accuracy of MAP and of the learned network, and the shares of the three paths."""
    rows = []
    for task, (nll, accuracy, learned_nll, learned_accuracy, shares) in MIXED.items():
        cells = []
        for prior, published in (("map", (nll, accuracy)), ("evidence", (learned_nll, learned_accuracy))):
            runs = of(content, part="mixed", task=task, prior=prior)
            numbers = (
                over(runs, lambda r: r["scores"]["nll"], 3),
                over(runs, lambda r: 100 * r["scores"]["accuracy"], 1),
            )
            cells += [f"{a} ({b})" if a else "" for a, b in zip(numbers, published, strict=True)]
        runs = of(content, part="mixed", task=task, prior="evidence")
        for path, published_share in zip(("f-fc", "conv", "gconv"), shares, strict=True):
            each = [100 * own[path] for run in runs for own in run["shares"].values() if not math.isnan(own[path])]
            cells.append(f"{mean(each):.0f}, {min(each):.0f} to {max(each):.0f} ({published_share})" if each else "")
        rows.append([f"`{task}`", *cells])
    header = ["digits", "MAP: NLL", "accuracy, %", "evidence: NLL", "accuracy, %", "share of F-FC, %", "CONV", "GCONV"]
    return table(header, rows)


def layerwise_curvature_table(content: dict[str, Any]) -> str:
    """Log determinants: exact, without what is between tensors, and by Kronecker factors."""
    kinds = ("exact", "by_tensor", "kfac")
    rows = [
        [r["paths"], f"{r['parameters']:,}", *(f"{r[kind]:.1f}" for kind in kinds)]
        for r in of(content, part="curvature")
    ]
    return table(["paths", "parameters", "exact", "exact blocks by tensor", "Kronecker factors"], rows)


def layerwise_cost(content: dict[str, Any]) -> str:
    """Time of training with evidence over that of MAP, and memory of factors."""
    [run] = of(content, part="cost")
    own, padded = (sum(each[key] for each in run["factors"]) / 1e6 for key in ("bytes", "padded_bytes"))
    few = f"{run['examples']:,} images every {run['every']} steps"
    rows = [
        [few, f"{run['evidence_over_map']:.2f}"],
        ["all images every fifth epoch", f"{run['literal_over_map']:.2f}"],
    ]
    memory = f"Kronecker factors of the F-FC maps: {own:,.0f} MB by block, {padded:,.0f} MB padded to one matrix each."
    return f"{table(['curvature from', 'time / that of MAP'], rows)}\n\n{memory}"
