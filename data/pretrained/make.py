"""Make a model that comes with the package: split, train by its recipe, calibrate, test, and write it beside this file.

NAME.toml is the recipe; where there is a NAME.more.toml, training goes on by that.

    python data/pretrained/make.py NAME --data DATA ... [--split splits.npz] [--runs runs/pretrained] [--steps N]

NAME is qm9-mmff, qm9-dft or xtb9. A call that was interrupted goes on. qm9-mmff takes a folder that `molaugerino data
mmff` made of the label files; qm9-dft takes the label files themselves, with the split of qm9-mmff, so that no test
molecule of the one has trained the other.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rdkit import Chem
from torch import Tensor

from molaugerino.cli.main import parse
from molaugerino.datasets import MoleculeSet, Split, graph_keys, load_split, open_joined, random_split, save_split
from molaugerino.datasets.batches import PackedData
from molaugerino.files import write_atomic
from molaugerino.predict.entries import Entry
from molaugerino.predict.perceive import perceive
from molaugerino.predict.predictor import Predictor, packed
from molaugerino.predict.routes import Prepared, Settings, prepare
from molaugerino.predict.smiles import Unpredictable
from molaugerino.predict.workers import in_processes
from molaugerino.training.calibration import LEVEL
from molaugerino.training.checkpoint import CONFIG, WEIGHTS, card_digest
from molaugerino.training.folder import SETTINGS, SPLITS
from molaugerino.training.ready import TESTED
from molaugerino.training.run import train
from molaugerino.training.setup import label_strata
from molaugerino.uncertainty import Answers, Coverage, Spread, coverage, save_calibration
from molaugerino.uncertainty.store import FILE as CALIBRATION

HERE = Path(__file__).parent
BUDGET = 20  # one training molecule in so many is named budget, and trains all the same where no law is learned
ROUTES = {"qm9-mmff": ("mmff", "mmff-open"), "qm9-dft": ("given", "xtb"), "xtb9": ("mmff", "mmff-open")}
MADE = 500  # calibration and test molecules, each, of a route whose geometries have to be made


def calibration_split(molecules: MoleculeSet) -> Split:
    """Test and calibration molecules, each a tenth and at most 2,000 of those that have the same labels.

    The calibration molecules are the split's validation part, which chooses nothing here: training ends by its steps.
    """
    first = random_split(len(molecules), 0, graph_keys(molecules), label_strata(molecules))
    train = np.random.default_rng(0).permutation(first.train)
    budget, train = np.split(train, [len(train) // BUDGET])
    return Split(np.sort(train), np.sort(budget), np.sort(np.concatenate([first.valid, first.budget])), first.test)


def scarce_first(data: PackedData, rows: np.ndarray, most: int) -> np.ndarray:
    """So many of the rows, those with the most labels first, that scarce labels are not lost."""
    labels = torch.isfinite(data.y[torch.from_numpy(rows)]).sum(1).numpy()
    order = np.random.default_rng(0).permutation(len(rows))
    return rows[order[np.argsort(-labels[order], kind="stable")][:most]]


def by_route(
    predictor: Predictor, molecules: MoleculeSet, data: PackedData, rows: np.ndarray, route: str, jobs: int
) -> tuple[Answers, Spread, Tensor]:
    """What the model says of molecules by SMILES, at geometries as `predict` makes them, and their labels.

    The SMILES are isomeric, by the positions given; of an open route without stereochemistry, and only those that this
    leaves open.
    """
    base, _, stripped = route.partition("-")
    settings = Settings(base, 4, 1, "lowest", tuple(predictor.card.elements), predictor.card.max_atoms)
    subset = molecules.subset(rows)
    ends = np.cumsum(subset.num_atoms)
    jobs_of, known = [], []
    for k, (start, end) in enumerate(zip(subset.starts, ends, strict=True)):
        text = "" if subset.smiles is None else str(subset.smiles[k])
        try:
            mol = perceive(subset.atomic_numbers[start:end], np.asarray(subset.positions[start:end], float), text)
        except Unpredictable:
            continue
        mol = Chem.RemoveHs(mol)
        if stripped:
            Chem.RemoveStereochemistry(mol)
        known.append(k)
        jobs_of.append((Entry("", smiles=Chem.MolToSmiles(mol)), settings))
    made: list[Prepared] = list(in_processes(prepare, jobs_of, jobs))
    kept = [k for k, p in enumerate(made) if p.status == "ok" and p.route == route]
    parts = [made[k].geometries for k in kept]
    answered, spread = predictor.averaged(packed([g for part in parts for g in part]), parts)
    return answered, spread, data.y[torch.from_numpy(rows[[known[k] for k in kept]])]


def trained(
    recipe: Path, folder: Path, sources: list[str], split: Path, steps: int | None, init: Path | None = None
) -> None:
    """Train by a recipe, or go on with it; nothing where that is done."""
    if (folder / CONFIG).exists():
        return
    settings = replace(
        parse("train", ["--config", str(recipe)]), config=None, data=tuple(sources), split=str(split), out=folder
    )
    settings = replace(settings, steps=steps or settings.steps, init=settings.init if init is None else str(init))
    if (folder / SETTINGS).exists():
        settings = replace(parse("train", ["--config", str(folder / SETTINGS)]), config=None, resume=folder)
    if train(settings) is None:
        raise SystemExit(130)


def run(
    name: str, sources: list[str], split: Path | None, runs: Path, steps: int | None, jobs: int, home: Path = HERE
) -> None:
    runs.mkdir(parents=True, exist_ok=True)
    folder, molecules = runs / name, open_joined(sources)
    if split is None:
        split = runs / f"{name}-splits.npz"
        if not split.exists():
            save_split(calibration_split(molecules), split, molecules.id)
    begun = time.monotonic()
    more, start = HERE / f"{name}.more.toml", folder
    if more.exists():
        start = runs / f"{name}-begun"
    trained(HERE / f"{name}.toml", start, sources, split, steps)
    if more.exists():
        trained(more, folder, sources, split, steps, init=start)
    print(f"trained for {(time.monotonic() - begun) / 60:.0f} minutes in this call")
    predictor = Predictor.from_pretrained(folder)
    card, calibration = predictor.card, predictor.calibration
    if calibration is None:
        raise SystemExit(f"{folder} has no calibration; train it again")
    if card.geometry == "mmff":
        molecules = molecules.with_geometry("mmff")
    data, parts = PackedData(molecules, card.targets), load_split(folder / SPLITS, molecules.id)
    tested: dict[str, list[dict[str, object]]] = {}
    for route in ROUTES[name]:
        if route == card.geometry:
            answered = predictor.answers(molecules, parts.test)
            spread, labels = None, data.y[torch.from_numpy(parts.test)]
        else:
            known = [scarce_first(data, part, MADE) for part in (parts.valid, parts.test)]
            found = [by_route(predictor, molecules, data, rows, route, jobs) for rows in known]
            calibration = calibration.with_route(route, found[0][0], found[0][2], found[0][1])
            answered, spread, labels = found[1]
        tested[route] = table(
            predictor, answered, labels, coverage(calibration, route, answered, labels, LEVEL, spread)
        )
        print(route, json.dumps(tested[route], indent=1), flush=True)
    save_calibration(folder, calibration, card_digest(folder))
    split_sha = card.split_sha256[:12]
    note = f"trained on {card.data}, {len(parts.train) + len(parts.budget):,} molecules, split {split_sha}"
    out = home / name
    out.mkdir(parents=True, exist_ok=True)
    for file in (WEIGHTS, CONFIG, CALIBRATION):
        shutil.copy(folder / file, out / file)
    shutil.copy(folder / SPLITS, out / SPLITS)
    write_atomic(out / TESTED, json.dumps({"note": note, "level": LEVEL, "routes": tested}, indent=1) + "\n")


def table(
    predictor: Predictor, answered: Answers, labels: Tensor, held: list[Coverage | None]
) -> list[dict[str, object]]:
    """Error and coverage of each channel."""
    errors = (answered.values - labels).abs().double().nanmean(0).tolist()
    rows = zip(predictor.columns, errors, held, strict=True)
    return [{"column": c.titled(), "method": c.method, "mae": e, **h._asdict()} for c, e, h in rows if h is not None]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(ROUTES))
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--split", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/pretrained"))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    run(given.name, given.data, given.split, given.runs, given.steps, given.jobs)
