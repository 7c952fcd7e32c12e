"""molaugerino benchmark"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from molaugerino.benchmark import published, recipe_file, recipes, result
from molaugerino.cli.main import parse
from molaugerino.cli.train import INTERRUPTED, resumed
from molaugerino.config import BenchmarkConfig, TrainConfig
from molaugerino.files import write_atomic
from molaugerino.training.defaults import resolved
from molaugerino.training.folder import RUNS, SETTINGS
from molaugerino.training.processes import is_first
from molaugerino.training.run import train

RESULT = "result.json"
B3LYP = "B3LYP"


def run(config: BenchmarkConfig) -> int:
    if config.recipe is None:
        for name, path in recipes().items():
            print(f"{name:12} {path.read_text().splitlines()[0].removeprefix('# ')}")
        return 0
    path = recipe_file(config.recipe)
    folder = config.out or RUNS / f"{config.suite}-{path.stem}-{config.seed}"
    if config.resume and (folder / RESULT).is_file():
        show(json.loads((folder / RESULT).read_text()))
        return 0
    if config.resume and (folder / SETTINGS).is_file():
        settings = resumed(TrainConfig(resume=folder))
    else:
        settings = replace(from_recipe(path, config), out=folder)
    settings = resolved(settings)
    finished = train(settings, pause=math.inf if config.piece is None else config.piece)
    if not is_first():
        return 0
    if finished is None:
        again = f"molaugerino benchmark {config.suite} --recipe {config.recipe} --seed {config.seed}"
        print(f"go on with: {again} --out {folder} --resume")
        return INTERRUPTED
    facts = {"settings": json.loads(json.dumps(asdict(settings), default=str)), "law": finished.law}
    found = result(path.stem, config.seed, finished.results, facts)
    write_atomic(folder / RESULT, json.dumps(found, indent=1) + "\n")
    show(found)
    return 0


def from_recipe(path: Path, config: BenchmarkConfig) -> TrainConfig:
    options = ["--config", str(path), "--seed", str(config.seed)]
    if config.data:
        options += ["--data", *config.data]
    for name in ("minutes", "steps"):
        if getattr(config, name) is not None:
            options += [f"--{name}", str(getattr(config, name))]
    return replace(parse("train", options), config=None)


def show(found: dict[str, Any]) -> None:
    """Our error beside published ones, a table per target."""
    settings, console = found["settings"], Console()
    cost = f"{settings['minutes']:g} min" if settings["minutes"] else f"{settings['steps'] or settings['epochs']} steps"
    cells = [r for r in found["results"] if r["frames"] != "random"] or found["results"]
    copies = max(r["copies"] for r in cells)
    for r in (r for r in cells if r["copies"] == copies):
        title = f"{r['target']}, {r['method']}, test MAE in {r['unit']}"
        table = Table(box=box.SIMPLE, title=escape(title), title_justify="left")
        table.add_column("MAE", justify="right", no_wrap=True)
        for name in ("model", "split", "cost", "source"):
            table.add_column(name, overflow="fold")
        ours = f"molaugerino, {settings['model']}" + (f", {copies} passes" if copies > 1 else "")
        split = f"{settings['split'] or 'random'}, {r['n']:,} tested"
        table.add_row(f"{r['mae']:.4g}", ours, split, f"{cost}, {found['device']}", "this run", style="bold")
        for e in published(r["target"], r["unit"]) if B3LYP in r["method"] else []:
            note = f"; {e['note']}" if "note" in e else ""
            table.add_row(f"{e['mae']:.4g}", escape(e["model"]), e["split"], e["cost"], escape(e["source"] + note))
        console.print(table)
