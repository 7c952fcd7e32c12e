"""Pictures and README tables from the committed results.

    python benchmarks/draw.py

Rewrites what stands between `<!-- NAME -->` and `<!-- end NAME -->` in README.md.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from record import RESULTS, read
from tables.bulk import bulk_table
from tables.equivariance import measuring_cost, mnist6_table, owed_table, stored_frames_table, widths_table
from tables.evidence import evidence_laws_table, evidence_memory_table, evidence_paths_table, evidence_tail_table
from tables.images import image_copies_table, image_laws_table
from tables.layerwise import layerwise_cost, layerwise_curvature_table, layerwise_mixed_table, layerwise_toy_table
from tables.molecules import (
    LABELS,
    augerino_table,
    dipoles_table,
    domain_table,
    frames_table,
    geometry_shift_table,
    laws_table,
    multitask_table,
    opening_table,
    power_table,
    profile_table,
    race_table,
    ready_overview,
    ready_table,
    smiles_race_table,
    speed_table,
    worlds_table,
)

from molaugerino.benchmark.findings import answers, claims
from molaugerino.benchmark.records import Runs
from molaugerino.benchmark.report import opening, write_report
from molaugerino.benchmark.tables import overview

PRETRAINED = RESULTS.parent.parent / "data" / "pretrained"
README = RESULTS.parent.parent / "README.md"
SUITE = RESULTS / "suite"


def draw_laws(content: dict[str, Any]) -> None:
    """Widths against steps, one line per seed: the same rule, three labels, three answers."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for label, (title, colour) in LABELS.items():
        for k, run in enumerate(r for r in content["runs"] if r["label"] == label):
            steps, rotation, translation = zip(*run["path"], strict=True)
            left.plot(steps, rotation, color=colour, label=title if k == 0 else None, alpha=0.8)
            right.plot(steps, translation, color=colour, alpha=0.8)
    left.axhline(180, color="grey", linewidth=0.8, linestyle=":")
    end = max(run["path"][-1][0] for run in content["runs"])
    left.text(end, 175, "all rotations (Haar)", color="grey", va="top", ha="right", fontsize=8)
    left.set(xlabel="training step", ylabel="largest rotation, degree", ylim=(0, 190), yticks=range(0, 181, 45))
    right.axhline(1, color="grey", linewidth=0.8, linestyle=":")
    right.text(end, 0.97, "cap", color="grey", va="top", ha="right", fontsize=8)
    right.set(xlabel="training step", ylabel="largest translation, angstrom", ylim=(0, 1.06))
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(RESULTS / "laws.png", dpi=130)
    plt.close(figure)


def suite_block(content: dict[str, Any]) -> str:
    """The benchmark's own report, drawn again, and what the README shows of it."""
    write_report(content, SUITE)
    runs = Runs(content["runs"])
    table = overview(runs)
    said = [
        *opening(content),
        *answers(runs),
        "\n".join(f"- {line}" for line in claims(runs)),
        table.note,
        table.body(),
    ]
    shown = [name for name in ("laws", "data") if (SUITE / f"{name}.svg").exists()]
    return "\n\n".join([*said, *(f"![{name}](benchmarks/results/{SUITE.name}/{name}.svg)" for name in shown)])


def fill(text: str, name: str, content: str) -> str:
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"there is no block {name} to be filled")
    return pattern.sub(lambda m: f"{m[1]}{content}\n{m[2]}", text)


def main() -> None:
    text = Path(README).read_text()
    for name, make in (
        ("laws", laws_table),
        ("frames", frames_table),
        ("worlds", worlds_table),
        ("multitask", multitask_table),
        ("dipoles", dipoles_table),
        ("race", race_table),
        ("race_g4mp2", race_table),
        ("augerino", augerino_table),
        ("profile", profile_table),
        ("opening", opening_table),
        ("geometry_shift", geometry_shift_table),
        ("domain", domain_table),
        ("smiles_race", smiles_race_table),
        ("power", power_table),
        ("speed", speed_table),
        ("bulk", bulk_table),
    ):
        content = read("group_speed") | read("speed") | read("averaging_cost") if name == "speed" else read(name)
        if content:
            text = fill(text, name, make(content))
    if read("images"):
        text = fill(text, "image_laws", image_laws_table(read("images")))
        text = fill(text, "image_copies", image_copies_table(read("images")))
    parts = {
        ("equivariance", "equivariance"): {
            "mnist6": mnist6_table,
            "widths": widths_table,
            "molecules": owed_table,
            "frames": stored_frames_table,
            "cost": measuring_cost,
        },
        ("layerwise_toy", "layerwise"): {
            "toy": layerwise_toy_table,
            "mixed": layerwise_mixed_table,
            "curvature": layerwise_curvature_table,
            "cost": layerwise_cost,
        },
        ("evidence", "evidence"): {
            "paths": evidence_paths_table,
            "laws": evidence_laws_table,
            "tail": evidence_tail_table,
            "memory": evidence_memory_table,
        },
    }
    for (source, block), makers in parts.items():
        content = read(source)
        for part, make in makers.items():
            if any(r["part"] == part for r in content.get("runs", [])):
                text = fill(text, f"{block}_{part}", make(content))
    if (SUITE / "results.json").exists():
        text = fill(text, "suite", suite_block(json.loads((SUITE / "results.json").read_text())))
    tested = {path.parent.name: json.loads(path.read_text()) for path in sorted(PRETRAINED.glob("*/tested.json"))}
    if tested:
        text = fill(text, "ready", ready_overview(tested))
        whole = PRETRAINED / "README.md"
        whole.write_text(fill(whole.read_text(), "ready", ready_table(tested)))
    if read("laws"):
        draw_laws(read("laws"))
    README.write_text(text)


if __name__ == "__main__":
    main()
