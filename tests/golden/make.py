"""Make the golden files of this version: small trained models, and what they predict.

    python -m tests.golden.make

Run once per version, into a folder named after it; files of earlier versions stay as they are and must load for ever.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from shutil import copy

import numpy as np

from molaugerino.config import LawConfig, NetConfig, OptimConfig, TrainConfig
from molaugerino.datasets import PackedData, load_split, open_joined
from molaugerino.predict import Predictor
from molaugerino.training.calibration import calibrate
from molaugerino.training.checkpoint import CONFIG, WEIGHTS, card_digest
from molaugerino.training.defaults import resolved
from molaugerino.training.folder import SPLITS
from molaugerino.training.run import train
from molaugerino.uncertainty import save_calibration
from molaugerino.uncertainty.store import FILE as CALIBRATION
from molaugerino.version import __version__
from tests.conftest import archive

HERE = Path(__file__).parent
SMILES = ["CCO", "c1ccccc1", "CC(F)O", "C#N", "CCl", "[NH4+]"]
NET = NetConfig(width=8, depth=1, heads=2, pair=4)
MODELS = {  # what a file has to hold that differs from kind to kind
    "law": {"model": "point-transformer", "target": ("gap", "dipole")},
    "conditional": {"model": "graph", "law": LawConfig(eval_copies=4, conditional=True)},
    "invariant": {"model": "vector-transformer", "target": ("atomization_energy", "mu"), "augment": "none"},
    "mirror": {"model": "vector-transformer-absolute", "law": LawConfig(eval_copies=4, family="gaussian", mirror=0.1)},
}


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        data = Path(work) / "small.npz"
        np.savez(data, **archive())
        for name, changes in MODELS.items():
            settings = {"target": ("gap",), "law": LawConfig(eval_copies=4), "net": NET, "steps": 60} | changes
            config = TrainConfig(data=(str(data),), optim=OptimConfig(batch=16), out=Path(work) / name, **settings)
            run = train(resolved(config))
            assert run is not None
            keep(run.folder, HERE / ".".join(__version__.split(".")[:2]) / name)


def keep(folder: Path, out: Path) -> None:
    """The files of a model, calibrated on all that did not train it, and its predictions."""
    predictor = Predictor.from_pretrained(folder)
    data = open_joined([str(folder.parent / "small.npz")]).with_geometry("mmff")
    split = load_split(folder / SPLITS, data.id)
    held = np.concatenate([split.budget, split.valid, split.test])
    packed = PackedData(data, predictor.card.targets)
    found = calibrate(predictor.augmented, predictor.card, packed, data, split.train, held)
    save_calibration(folder, found, card_digest(folder))
    out.mkdir(parents=True, exist_ok=True)
    for file in (CONFIG, WEIGHTS, CALIBRATION):
        copy(folder / file, out / file)
    table = Predictor.from_pretrained(out).predict(SMILES)
    (out / "predictions.json").write_text(json.dumps(table.records(), indent=1) + "\n")


if __name__ == "__main__":
    main()
