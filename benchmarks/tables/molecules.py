"""Tables of molecules."""

from __future__ import annotations

import math
from collections import defaultdict
from statistics import mean, median
from typing import Any

from molaugerino.datasets.units import base_unit, factor
from tables.cells import spread, table

LABELS = {
    "gap": ("gap, a scalar", "tab:blue"),
    "dipole": ("dipole, a vector that turns back", "tab:green"),
    "dipole_x": ("dipole_x, one component", "tab:red"),
}


def laws_table(content: dict[str, Any]) -> str:
    rows = []
    for label in LABELS:
        runs = [r for r in content["runs"] if r["label"] == label]
        laws = [r["law"] for r in runs]
        cells = defaultdict(list)
        for run in runs:
            for r in run["results"]:
                cells[r["frames"], r["copies"]].append(r["mae"])
            cells["mean"].append(run["results"][0]["mean_predictor"])
            unit = run["results"][0]["unit"]
        rows.append(
            [
                f"`{label}`",
                spread([law["parts"]["rotation angle"]["width"] for law in laws], 1),
                spread([math.degrees(r["mean_rotation_rad"]) for r in runs], 1),
                spread([law["parts"]["rotation angle"]["nats"] for law in laws], 3),
                spread([law["parts"]["translation"]["width"] for law in laws], 2),
                f"{spread(cells['random', 1], 3)} {unit}",
                f"{spread(cells['random', 16], 3)} {unit}",
                f"{mean(cells['mean']):.3f} {unit}",
            ]
        )
    header = ["label", "largest rotation, degree", "mean rotation, degree", "nats from Haar", "largest translation, A"]
    return table([*header, "test MAE, one pass", "16 passes", "mean predictor"], rows)


def frames_table(content: dict[str, Any]) -> str:
    rows = []
    for kind in ("none", "learned", "fixed"):
        cells = defaultdict(list)
        for run in content["runs"]:
            if run["augment"] == kind:
                for r in run["results"]:
                    cells[r["frames"], r["copies"]].append(1000 * r["mae"])
        rows.append([kind] + [spread(cells[key], 0) if cells[key] else "" for key in
                              (("principal", 1), ("principal", 16), ("random", 1), ("random", 16))])  # fmt: skip
    return table(["augmentation", "principal frames", "16 passes", "random frames", "16 passes"], rows)


WORLD_COLUMNS: dict[str, tuple[str, str]] = {
    "mean_tilt_rad": ("tilt of the axis, rad", ".3f"),
    "spin_nats": ("spin about it, nats", ".2f"),
    "axis_off_degree": ("axis off, degree", ".1f"),
    "mean_rotation_rad": ("mean rotation, rad", ".3f"),
    "lateral_nats": ("lateral shift, nats", ".2f"),
    "height_per_decay": ("height / lambda", ".3f"),
    "reflection": ("reflection", ".3f"),
}
ASKED = {  # what the question is in each world
    "field": ("mean_tilt_rad", "spin_nats", "axis_off_degree"),
    "two-fields": ("mean_rotation_rad",),
    "slab": ("mean_tilt_rad", "spin_nats", "lateral_nats", "height_per_decay"),
    "pseudoscalar": ("mean_rotation_rad", "reflection"),
    "none": ("mean_rotation_rad",),
}


def worlds_table(content: dict[str, Any]) -> str:
    """Median over the seeds and the worst; only what each world asks for."""
    rows = []
    for world, asked in ASKED.items():
        for law in ("found", "box", "paper"):
            runs = [r for r in content["runs"] if (r["world"], r["law"]) == (world, law)]
            if not runs:
                continue
            cells = []
            for key, (_, form) in WORLD_COLUMNS.items():
                values = [r["judged"][key] for r in runs]
                shown = f"{median(values):{form}} ({max(values):{form}})" if len(runs) > 1 else f"{values[0]:{form}}"
                cells.append(shown if key in asked else "")
            able = "" if world == "none" else f"{sum(r['decidable'] for r in runs)} of {len(runs)}"
            name = "gap, no world" if world == "none" else world
            rows.append([name, law, str(len(runs)), able, verdicts_of(runs), *cells])
    titles = [title for title, _ in WORLD_COLUMNS.values()]
    return table(["world", "law", "seeds", "can tell", "verdicts right / wrong / undecided", *titles], rows)


def verdicts_of(runs: list[dict[str, Any]]) -> str:
    """How many generators were judged rightly, wrongly and not at all."""
    findings = [f for r in runs for f in r["findings"]]
    if not findings:
        return ""
    decided = [f for f in findings if f["verdict"] != "undecided"]
    right = sum((f["verdict"] == "kept") == f["holds"] for f in decided)
    return f"{right} / {len(decided) - right} / {len(findings) - len(decided)}"


def speed_table(content: dict[str, Any]) -> str:
    rows = [
        [name, f"{value['ratio']:.2f}", f"{value['low']:.2f} to {value['high']:.2f}"]
        for name, value in content.items()
        if isinstance(value, dict) and "ratio" in value
    ]
    return table(["ratio of medians", "value", "95 % interval"], rows)


def multitask_table(content: dict[str, Any]) -> str:
    """Test MAE per target, mean over the seeds: from all label sets, from its own, and of the mean."""
    cells: dict[tuple[str, str], dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for run in content["runs"]:
        rivals = [r for r in content["runs"] if (r["arm"], r["seed"]) == (run["arm"], run["seed"])]
        if run["valid_loss"] > min(r["valid_loss"] for r in rivals):
            continue  # the other length was better on validation molecules
        averaged = max(r["copies"] for r in run["results"])
        for r in run["results"]:
            if (r["frames"], r["copies"]) == ("stored", averaged):
                unit = base_unit(r["unit"])
                values = cells[r["target"], unit]
                values[run["arm"]][run["seed"]] = factor(r["unit"], unit) * r["mae"]
                values["mean"][run["seed"]] = factor(r["unit"], unit) * r["mean_predictor"]
    rows = []
    for (name, unit), arms in cells.items():
        seeds = arms["all"].keys() & arms["alone"].keys()
        if seeds:
            wins = sum(arms["all"][seed] < arms["alone"][seed] for seed in seeds)
            shown = [f"{mean(arms[arm][seed] for seed in seeds):.3g}" for arm in ("all", "alone", "mean")]
            rows.append([f"`{name}`, {unit}", *shown, f"{wins} of {len(seeds)}"])
    return table(["target", "all label sets", "its own alone", "mean predictor", "seeds in which all is better"], rows)


def opening_table(content: dict[str, Any]) -> str:
    """The slowest of the runs."""
    worst = {key: max(run[key] for run in content["runs"]) for key in content["runs"][0]}
    forms = {"molecules": ",", "open_s": ".3f", "first_batch_s": ".2f", "megabytes": ".0f"}
    header = ["molecules, one label", "opened after, s", "first batch after, s", "memory, MB"]
    return table(header, [[format(worst[key], form) for key, form in forms.items()]])


def dipoles_table(content: dict[str, Any]) -> str:
    """Test MAE of dipole vectors in random frames after equal minutes."""
    rows = []
    for model in dict.fromkeys(r["model"] for r in content["runs"]):
        runs = [r for r in content["runs"] if r["model"] == model]
        copies = sorted({c["copies"] for r in runs for c in r["results"]})
        random = {k: [c["mae"] for r in runs for c in r["results"] if (c["frames"], c["copies"]) == ("random", k)]
                  for k in copies}  # fmt: skip
        angle = runs[0]["law"]["parts"]["rotation angle"]["width"] if runs[0]["augment"] == "learned" else None
        learned = "" if angle is None else f"{angle:.0f}"
        averaged = spread(random[copies[-1]], 3) if len(copies) > 1 else ""
        steps = f"{mean([r['steps'] for r in runs]):.0f}"
        rows.append([f"`{model}`", runs[0]["symmetry"], learned, steps, spread(random[1], 3), averaged])
    unit = content["runs"][0]["results"][0]["unit"]
    header = ["network", "knows", "largest rotation learned, degree", "steps", f"test MAE, {unit}", "16 passes"]
    return table(header, rows)


def race_table(content: dict[str, Any]) -> str:
    """Test errors after equal minutes; beside it what turning the molecules does to the networks."""
    rows = []
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for r in content["runs"]:
        groups[r["minutes"], r["molecules"] or math.inf, r["name"]].append(r)
    for (minutes, molecules, name), runs in sorted(groups.items(), key=by_error):
        unit = factor(runs[0]["unit"], "eV") * 1000
        shown = f"`{runs[0]['model']}`, {name}" if name in ("default", "learned") else runs[0]["model"]
        turned = [r["orientation"] for r in runs if "orientation" in r]
        share, fresh = "", ""
        if turned and any(t["spread"] > 1e-3 * t["outputs"] for t in turned):
            parts = [(t["spread"] ** 2, t["rmse_of_mean"] ** 2) for t in turned]
            share = f"{100 * mean(turn / (turn + rest) for turn, rest in parts):.1f} %"
            untrained = [r["untrained_orientation"] for r in runs]
            fresh = f"{100 * mean(u['spread'] / u['outputs'] for u in untrained):.0f} %"
        rows.append(
            [
                shown,
                f"{minutes:g}",
                "all" if molecules == math.inf else f"{molecules:,}",
                str(len(runs)),
                f"{mean(r['epochs'] for r in runs):.1f}",
                spread([unit * r["test_mae"] for r in runs], 1),
                share,
                fresh,
            ]
        )
    header = ["network", "minutes", "trained on", "seeds", "epochs", "test MAE, meV"]
    header += ["orientation's share of the squared error", "its spread untrained / of outputs"]
    shown_columns = len(header) if any(row[-1] for row in rows) else len(header) - 2
    return table(header[:shown_columns], [row[:shown_columns] for row in rows])


def by_error(group: tuple[tuple[Any, ...], list[dict[str, Any]]]) -> tuple[Any, ...]:
    """Equal terms together, the best first."""
    (minutes, molecules, _), runs = group
    return minutes, -molecules, mean(r["test_mae"] for r in runs)


def augerino_table(content: dict[str, Any]) -> str:
    """Test MAE in meV, and how far the learned law is from the fixed one, paired by seed."""
    rows = []
    longest = max(r["steps"] for r in content["runs"])
    all_runs = [r for r in content["runs"] if r["steps"] == longest]
    for model in dict.fromkeys(r["model"] for r in all_runs):
        for augment in ("none", "paper", "learned", "fixed"):
            runs = [r for r in all_runs if (r["model"], r["augment"]) == (model, augment)]
            if not runs:
                continue
            found = [
                spread([1000 * error_of(r, frames, copies) for r in runs], 0) if has(runs[0], frames, copies) else ""
                for frames in ("stored", "random")
                for copies in (1, 16)
            ]
            parts = [r["law"]["parts"] for r in runs] if augment != "none" else []
            angles = [part["rotation angle"]["width"] for part in parts if "rotation angle" in part]  # not of paper's
            angle = spread(angles, 0) if angles else ""
            rows.append([f"`{model}`", augment, angle, *found, against_fixed(all_runs, runs)])
    header = ["network", "augmentation", "largest rotation, degree", "stored frames", "16 passes", "random frames"]
    return table([*header, "16 passes", "against fixed, random frames, 16 passes"], rows)


def error_of(run: dict[str, Any], frames: str, copies: int) -> float:
    return next(r["mae"] for r in run["results"] if (r["frames"], r["copies"]) == (frames, copies))


def has(run: dict[str, Any], frames: str, copies: int) -> bool:
    return any((r["frames"], r["copies"]) == (frames, copies) for r in run["results"])


def against_fixed(all_runs: list[dict[str, Any]], runs: list[dict[str, Any]]) -> str:
    """Mean of the relative differences, one per seed, from the same network under the fixed law."""
    fixed = {r["seed"]: r for r in all_runs if (r["model"], r["augment"]) == (runs[0]["model"], "fixed")}
    pairs = [(run, fixed[run["seed"]]) for run in runs if run["seed"] in fixed]
    if runs[0]["augment"] == "fixed" or not pairs or not has(runs[0], "random", 16):
        return ""
    ratios = [error_of(a, "random", 16) / error_of(b, "random", 16) - 1 for a, b in pairs]
    return spread([100 * r for r in ratios], 1) + " %"


def profile_table(content: dict[str, Any]) -> str:
    rows = []
    for run in content["runs"]:
        shares = [f"{100 * run['share'][part]:.1f} %" for part in ("network", "optimiser", "data", "rest")]
        rate, memory = f"{run['molecules_per_s']:.0f}", f"{run['peak_megabytes']:.0f}"
        rows.append([run["name"], f"{sum(run['ms'].values()):.0f}", *shares, rate, memory])
    header = ["run", "step, ms", "network", "optimiser", "data", "rest", "molecules/s", "peak memory, MB"]
    return table(header, rows)


def ready_table(tested: dict[str, dict[str, Any]]) -> str:
    """Errors and coverage of the models that come with the package, a row per model, route and target."""
    rows = []
    for name, content in tested.items():
        for route, results in content["routes"].items():
            for r in results:
                held = f"{100 * r['found']:.1f} +- {100 * r['standard_error']:.1f} %"
                column = r["column"].replace("[", "`, ").removesuffix("]")
                numbers = [f"{r['mae']:.3g}", str(r["tested"]), held, f"{r['width']:.3g}", str(r["calibrated"])]
                rows.append([f"`{name}`", f"`{route}`", f"`{column}", *numbers])
    header = ["model", "route", "target", "test MAE", "tested", "intervals hold", "their mean width", "calibrated on"]
    return table(header, rows)


def ready_overview(tested: dict[str, dict[str, Any]]) -> str:
    """The same, errors and coverage alone, a row per target."""
    cells: dict[str, dict[tuple[str, str], str]] = {}
    for name, content in tested.items():
        for route, results in content["routes"].items():
            for r in results:
                cells.setdefault(r["column"], {})[name, route] = f"{r['mae']:.3g}, {100 * r['found']:.0f} %"
    ways = list(dict.fromkeys(way for row in cells.values() for way in row))
    rows = [
        ["`" + column.replace("[", "`, ").removesuffix("]"), *(row.get(way, "") for way in ways)]
        for column, row in cells.items()
    ]
    return table(["target", *(f"`{name}`, `{route}`" for name, route in ways)], rows)


def geometry_shift_table(content: dict[str, Any]) -> str:
    """Errors of two models at four geometries, and their ratios to the model's own."""
    shown = ("gap", "g4mp2_atomization_energy", "mu", "homo")
    own = {"qm9-mmff": "MMFF94", "qm9-dft": "DFT"}
    base = {r["model"]: r["mae"] for r in content["rows"] if r["geometry"] == own[r["model"]]}
    rows = []
    for r in content["rows"]:
        cells = [f"{r['mae'][name]:.3g} ({r['mae'][name] / base[r['model']][name]:.2f})" for name in shown]
        rows.append([f"`{r['model']}`", r["geometry"], *cells])
    units = [f"`{name}`, {content['units'][name]}, of {content['tested'][name]}" for name in shown]
    return table(["model", "geometry", *units], rows)


def power_table(content: dict[str, Any]) -> str:
    """What a network's dependence on orientation consists of, and how far averages over few rotations are off."""
    rows = []
    for r in content["runs"]:
        unit = 1000 * factor(r["unit"], "eV")
        shares = [f"{100 * share:.1f}" for share in r["share_of_degree"]]
        errors = [f"{unit * r['rms_error'][name]:.2f}" for name in ("random, 60", "icosahedron, 60", "cube, 24")]
        ratio = f"{r['icosahedron / random']:.3f}"
        rows.append([f"`{r['network']}`, {r['data']}", f"{unit * r['turning_rms']:.1f}", *shares, *errors, ratio])
    degrees = [f"l = {k}, %" for k in range(1, 1 + len(content["runs"][0]["share_of_degree"]))]
    header = ["network", "one pass, meV", *degrees, "60 draws", "icosahedral 60", "cubic 24", "60 / 60"]
    return table(header, rows)


def smiles_race_table(content: dict[str, Any]) -> str:
    """Both sides on both splits."""
    rows = []
    for r in content["runs"]:
        length = f"{r['length']:,} {r['of']}"
        made = f"{r['geometry_cpu_minutes']:.1f}" if r["geometry_cpu_minutes"] else ""
        tested = f"{r['tested']:,}"
        rows.append([r["name"], r["split"], f"{r['minutes']:g}", length, made, f"{1000 * r['mae']:.1f}", tested])
    header = ["gap from SMILES", "split", "minutes of one core", "trained for", "making geometries, minutes"]
    return table([*header, "test MAE, meV", "tested"], rows)


def domain_table(content: dict[str, Any]) -> str:
    """Molecules of 10 to 12 heavy atoms beside ordinary ones, and by the state of the domain."""
    rows = [
        [name, str(g["molecules"]), f"{g['mae']:.3f}", f"{100 * g['covered']:.0f} %"]
        for name, g in content["groups"].items()
        if g["molecules"]
    ]
    found = table(["molecules", "number", "MAE of the gap, eV", "90 % interval holds"], rows)
    areas = f"{content['auroc']:.2f} by state, then width of the interval; {content['auroc_width']:.2f} by width alone"
    return f"{found}\n\nArea under the ROC curve, the worst tenth of all errors against the rest: {areas}."
