"""molaugerino benchmark"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from molaugerino.benchmark.recipes import published, recipe_file, recipes, result
from molaugerino.benchmark.report import PAGE
from molaugerino.benchmark.suite import RESULTS, Progress, run_suite
from molaugerino.cli.main import parse
from molaugerino.cli.streams import processes
from molaugerino.cli.train import INTERRUPTED, resumed
from molaugerino.config import DEFAULT_MINUTES, EquivarianceConfig, RecipeConfig, TrainConfig
from molaugerino.datasets.names import B3LYP
from molaugerino.errors import UserError
from molaugerino.files import write_atomic
from molaugerino.training.calibration import calibration_of, coverage_rows, covered
from molaugerino.training.checkpoint import CONFIG, load_model
from molaugerino.training.defaults import resolved
from molaugerino.training.evaluation import evaluate_model
from molaugerino.training.folder import RUNS, SETTINGS, molecules_to_test
from molaugerino.training.processes import is_first
from molaugerino.training.run import Run, absolute, train

RESULT = "result.json"


def run(config: RecipeConfig | EquivarianceConfig) -> int:
    return run_equivariance(config) if isinstance(config, EquivarianceConfig) else run_recipe(config)


def run_equivariance(config: EquivarianceConfig) -> int:
    out = config.out or RUNS / f"equivariance-{config.suite}"
    if (out / RESULTS).is_file() and not config.resume:
        raise UserError(f"{out} already holds a suite; add --resume to go on with it, or choose another --out")
    console = Console(stderr=True)

    def say(line: str, progress: Progress) -> None:
        left = "" if progress.minutes_left is None else f", {progress.minutes_left:.0f} minutes left"
        console.print(f"{progress.done} of {progress.total}{left}: {line}", soft_wrap=True, highlight=False)

    try:
        end = run_suite(config.suite, out, config.data, processes(config.jobs, None) or 1, config.only, say)
    except KeyboardInterrupt:
        console.print(f"interrupted; go on with the same call and --resume; so far: {out / PAGE}", soft_wrap=True)
        return INTERRUPTED
    print(f"{end.done} runs are done, {end.failed} failed; the report is {out / PAGE}")
    return 1 if end.failed else 0


def run_recipe(config: RecipeConfig) -> int:
    if config.recipe is None:
        for name, path in recipes().items():
            print(f"{name:12} {path.read_text().splitlines()[0].removeprefix('# ')}")
        return 0
    path = recipe_file(config.recipe)
    folder = config.out or RUNS / f"qm9-{path.stem}-{config.seed}"
    begun = (folder / SETTINGS).is_file()
    if begun and not config.resume:
        raise UserError(f"{folder} already holds a run; add --resume to go on with it, or choose another --out")
    if begun:
        settings = cast(TrainConfig, resumed(TrainConfig(resume=folder)))
        refuse_another(settings, from_recipe(path, config), config)
    else:
        settings = replace(from_recipe(path, config), out=folder)
    if not (folder / RESULT).is_file():
        settings = resolved(settings)
        finished = finish(settings, folder, math.inf if config.piece is None else config.piece)
        if not is_first():
            return 0
        if finished is None:
            again = f"molaugerino benchmark qm9 --recipe {config.recipe} --seed {config.seed}"
            print(f"go on with: {again} --out {folder} --resume")
            return INTERRUPTED
        facts = {"settings": json.loads(json.dumps(asdict(settings), default=str)), "law": finished.law}
        found = result(path.stem, settings.seed, finished.results, facts)
        write_atomic(folder / RESULT, json.dumps(found, indent=1) + "\n")
    if is_first():
        show(json.loads((folder / RESULT).read_text()))
    return 0


def refuse_another(begun: TrainConfig, recipe: TrainConfig, config: RecipeConfig) -> None:
    """The run that was begun must be what is asked for: nothing given is left aside."""
    asked = {"target": recipe.target, "seed": config.seed, "minutes": config.minutes, "steps": config.steps}
    asked["data"] = absolute(config.data)
    for name, new in asked.items():
        old = getattr(begun, name)
        if new not in ((), None, old):
            raise UserError(
                f"the run in {begun.resume} has {name} {old}, not {new}; ask for that, or choose another --out"
            )


def finish(settings: TrainConfig, folder: Path, pause: float) -> Run | None:
    """Train to the end of this piece; a model that was trained but not tested is tested."""
    if not (folder / CONFIG).is_file():
        return train(settings, pause=pause)
    augmented, card = load_model(folder)
    tested = molecules_to_test(folder, card)
    calibration = calibration_of(folder, card)
    held = [] if calibration is None else coverage_rows(card, covered(augmented, card, calibration, *tested))
    return Run(folder, card.law, evaluate_model(augmented, card, *tested, card.eval_copies), held)


def from_recipe(path: Path, config: RecipeConfig) -> TrainConfig:
    settings = replace(parse("train", ["--config", str(path)]), config=None, seed=config.seed)
    if config.data:
        settings = replace(settings, data=config.data)
    if config.minutes is not None or config.steps is not None:
        settings = replace(settings, minutes=config.minutes, steps=config.steps, epochs=None)
    return settings


def show(found: dict[str, Any]) -> None:
    """Our error beside published ones, a table per target."""
    settings, console = found["settings"], Console()
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
        table.add_row(
            f"{r['mae']:.4g}", ours, split, f"{length(settings)}, {found['device']}", "this run", style="bold"
        )
        for e in published(r["target"], r["unit"]) if r["method"] == B3LYP else []:
            note = f"; {e['note']}" if "note" in e else ""
            table.add_row(f"{e['mae']:.4g}", escape(e["model"]), e["split"], e["cost"], escape(e["source"] + note))
        console.print(table)


def length(settings: dict[str, Any]) -> str:
    """How long was trained."""
    for name in ("steps", "epochs"):
        if settings[name]:
            return f"{settings[name]} {name}"
    return f"{settings['minutes'] or DEFAULT_MINUTES:g} min"
