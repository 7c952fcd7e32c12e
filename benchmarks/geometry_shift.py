"""What it costs to predict at other geometries than a model was trained on: {MMFF94, DFT} x {ETKDG, MMFF94, xTB, DFT}.

    python benchmarks/geometry_shift.py DATA ... [--molecules 1000] [--workers 2]

DATA are the label files that the ready models qm9-mmff and qm9-dft were trained on. Takes test molecules that neither
has seen, those with most labels first, makes every geometry from their isomeric SMILES, as predict does, and writes the
errors of both models at each, of all targets; only molecules that get all geometries count. Needs the extra [xtb].
"""

from __future__ import annotations

import argparse
import os

import numpy as np
import torch
from rdkit import Chem
from record import provenance, write

from molaugerino.datasets import PackedData, load_split, open_joined
from molaugerino.predict import Predictor
from molaugerino.predict.perceive import perceive
from molaugerino.predict.predictor import packed
from molaugerino.predict.routes import Geometry
from molaugerino.predict.sets import Given, molecules_of
from molaugerino.predict.smiles import Unpredictable, embed, parse
from molaugerino.predict.workers import in_processes
from molaugerino.predict.xtb import relax
from molaugerino.training.folder import SPLITS
from molaugerino.training.ready import ready_models

MODELS = ("qm9-mmff", "qm9-dft")
SEED = 0


def geometries(given: Given) -> dict[str, Geometry] | None:
    """The molecule at each kind of geometry, None where it does not get them all."""
    try:
        mol = parse(Chem.MolToSmiles(Chem.RemoveHs(perceive(given.numbers, given.positions, given.smiles))))
        rough, smooth = embed(mol, steps=0), embed(mol)
        z = smooth.atomic_numbers.astype(np.int64)
        relaxed, _ = relax(z, smooth.positions)
    except Unpredictable:
        return None
    made = {"ETKDG": (z, rough.positions), "MMFF94": (z, smooth.positions), "xTB": (z, relaxed)}
    made["DFT"] = given.numbers, given.positions
    return {name: Geometry(*of, 0, 1.0) for name, of in made.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--molecules", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    data = open_joined(options.data)
    predictors = {name: Predictor.from_pretrained(name) for name in MODELS}
    tests = [load_split(ready_models()[name] / SPLITS, data.id, by_id=True).test for name in MODELS]
    both = np.intersect1d(*tests)
    targets = predictors[MODELS[0]].card.targets
    labels = PackedData(data, targets).y.numpy()
    order = both[np.random.default_rng(SEED).permutation(len(both))]
    order = order[np.argsort(-np.isfinite(labels[order]).sum(1), kind="stable")]
    order = order[: options.molecules]
    made = list(in_processes(geometries, molecules_of(data.subset(order)), options.workers))
    kept = [k for k, of in enumerate(made) if of is not None]
    wanted = torch.from_numpy(labels[order[kept]])
    rows = []
    for name, predictor in predictors.items():
        for kind in ("ETKDG", "MMFF94", "xTB", "DFT"):
            answered = predictor.answers(packed([of[kind] for of in made if of is not None]))
            errors = (answered.values - wanted).abs().nanmean(0).tolist()
            maes = dict(zip([t.name for t in targets], errors, strict=True))
            rows.append({"model": name, "geometry": kind, "mae": maes})
            print(rows[-1], flush=True)
    n = {t.name: int(k) for t, k in zip(targets, wanted.isfinite().sum(0), strict=True)}
    units = {t.name: t.unit for t in targets}
    write("geometry_shift", provenance(SEED) | {"molecules": len(kept), "tested": n, "units": units, "rows": rows})


if __name__ == "__main__":
    main()
