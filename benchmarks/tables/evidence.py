"""Tables of symmetry by evidence."""

from __future__ import annotations

import math
from statistics import mean
from typing import Any

from tables.cells import spread, table
from tables.layerwise import of, over

LABELS = {"gap": "gap", "field": "energy in a field"}
NETWORKS = {"painn": "equivariant", "relaxed-painn": "both", "free-painn": "free"}
MILLI = {"eV": "meV"}
LAWS = ("gap", "dipole_x", "field", "two-fields", "two-icons", "angle")
NATS, TILT, AXIS, TURNED = 0.1, 0.12, 3.0, 0.15  # nats to uniform; rad, degree off an axis; rad where none is right
SHARE, STILL = 0.15, 0.1  # of the width that is right; rad where none is
TAIL = ("none", "norm", "budget", "evidence")


def evidence_paths_table(content: dict[str, Any]) -> str:
    """Test error on random frames, evidence, and the share of the free path in each layer."""
    rows, shares = [], []
    for label, title in LABELS.items():
        for model, paths in NETWORKS.items():
            runs = of(content, part="paths", label=label, model=model)
            if not runs:
                continue
            error = over(runs, lambda r: 1000 * r["mae"], 0)
            rows.append([title, paths, error, over(runs, lambda r: r["log_evidence"], 2)])
            if model == "relaxed-painn":
                layers = list(runs[0]["shares"])
                own = [over(runs, lambda r, at=layer: 100 * r["shares"][at]["free"], 0) for layer in layers]
                shares.append([title, *own])
    unit = MILLI.get(of(content, part="paths")[0]["unit"], "thousandths")
    header = ["label", "paths", f"test error, {unit}", "log evidence, nats per molecule"]
    named = ["share of the free path, %, in layer", *(str(k + 1) for k in range(len(shares[0]) - 1))] if shares else []
    return table(header, rows) + (f"\n\n{table(named, shares)}" if shares else "")


def evidence_laws_table(content: dict[str, Any]) -> str:
    """What each objective finds, what is right, in how many runs the two agree, the error, and the cost."""
    rows = []
    for label in LAWS:
        minutes = {}
        for objective in ("evidence", "budget"):
            runs = of(content, part="laws", label=label, objective=objective)
            if not runs:
                continue
            minutes[objective] = mean(r["cpu_minutes"] for r in runs)
            agree = f"{sum(map(_agrees, runs))} of {len(runs)}"
            rows.append([f"`{label}`", objective, *_found(runs), agree, _error(runs), f"{minutes[objective]:.1f}"])
            if objective == "budget" and "evidence" in minutes:
                rows[-2][-1] += f" ({minutes['evidence'] / minutes['budget']:.1f} times)"
    return table(["label", "objective", "found", "right", "inside", "test error", "minutes of one core"], rows)


def _agrees(run: dict[str, Any]) -> bool:
    """Whether a law is within the tolerances that the loss budget was tried by."""
    if "judged" not in run:
        [part] = run["parts"].values()
        width, right = math.radians(part["width"]), run["right"]
        return abs(width - right) <= SHARE * right if right else width <= STILL
    judged = run["judged"]
    if run["label"] == "gap":
        return run["parts"]["rotation angle"]["nats"] <= NATS
    if run["label"] == "two-fields":
        return judged["mean_rotation_rad"] <= TURNED
    return judged["mean_tilt_rad"] <= TILT and judged["spin_nats"] <= NATS and judged["axis_off_degree"] <= AXIS


def _error(runs: list[dict[str, Any]]) -> str:
    """Of averaged predictions."""
    last = [run["results"][-1] for run in runs]
    if "scores" not in last[0]:
        return f"{over(last, lambda r: r['mae'], 3)} {last[0]['unit']}"
    if "accuracy" in last[0]["scores"]:
        return f"{over(last, lambda r: 100 * (1 - r['scores']['accuracy']), 1)} %"
    return f"RMSE {over(last, lambda r: r['scores']['rmse[rad]'], 3)} rad"


def _found(runs: list[dict[str, Any]]) -> tuple[str, str]:
    """The numbers that judge a law, and what is right."""
    label = runs[0]["label"]
    if "judged" not in runs[0]:
        [name] = runs[0]["parts"]
        half = spread([math.radians(r["parts"][name]["width"]) for r in runs], 3)
        right = runs[0]["right"]
        return f"half-width {half} rad", "0" if not right else f"{right:.3f}"
    rotation = over(runs, lambda r: r["judged"]["mean_rotation_rad"], 2)
    if label == "gap":
        return f"mean rotation {rotation} rad", "all rotations"
    if label == "two-fields":
        return f"mean rotation {rotation} rad", "0"
    tilt, spin = (over(runs, lambda r, key=key: r["judged"][key], 2) for key in ("mean_tilt_rad", "spin_nats"))
    return f"tilt {tilt} rad, spin {spin} nats", "0; 0 (uniform)"


def evidence_tail_table(content: dict[str, Any]) -> str:
    """Accuracy over classes that are all as common in the test."""
    rows = []
    for objective in TAIL:
        runs = of(content, part="tail", objective=objective)
        if runs:
            [name] = runs[0]["parts"]
            width = "" if objective == "none" else over(runs, lambda r, n=name: r["parts"][n]["width"], 0)
            scores = (over(runs, lambda r: 100 * r["results"][-1]["scores"]["accuracy"], 1),)
            rows.append([objective, width, *scores, over(runs, lambda r: r["results"][-1]["scores"]["nll"], 3)])
    return table(["objective", "half-width, degree", "accuracy, %", "NLL"], rows)


def evidence_memory_table(content: dict[str, Any]) -> str:
    """The largest memory of a process before the law is updated for the first time, and what that adds."""
    runs = of(content, part="memory")
    rows = [[f"{r['train']:,}", f"{r['before_mb']:.0f}", f"{r['added_mb']:.0f}"] for r in runs]
    return table(["training images", "largest memory of the process, MB", "an update of the law adds, MB"], rows)
