"""Models by name: those that come with the package, the newest run, or a folder."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from molaugerino.errors import UserError
from molaugerino.training.checkpoint import CONFIG, WEIGHTS, is_of_images
from molaugerino.uncertainty.store import FILE as CALIBRATION

DEFAULT = "qm9-mmff"
TESTED = "tested.json"  # errors and coverage of a ready model on its test molecules, per route
PACKAGE = "molaugerino.data"


def ready_models() -> dict[str, Path]:
    """Folders of the models that come with the package, by name."""
    home = Path(str(resources.files(PACKAGE))) / "pretrained"
    return {path.parent.name: path.parent for path in sorted(home.glob(f"*/{CONFIG}"))}


def model_files(folder: Path) -> list[Path]:
    """What a model answers by: card, weights and, where it has one, the calibration; a run folder holds much else."""
    return [path for name in (CONFIG, WEIGHTS, CALIBRATION) if (path := folder / name).is_file()]


def find_model(name: str, runs: Path, of_molecules: bool = False) -> Path:
    """The folder of a model.

    Args:
        name: of one that comes with the package; `latest` for the newest finished run; or a folder.
        runs: where runs lie.
        of_molecules: the newest run on molecules is meant, whatever images have been trained on since.

    Raises:
        UserError: where there is no such model.
    """
    known = ready_models()
    if name in known:
        return known[name]
    if name == "latest":
        return latest_run(runs, of_molecules)
    folder = Path(name)
    if not name or "\0" in name or not os.path.isdir(folder):
        raise UserError(f"no model {name!r}; give {', '.join(known)}, latest, or the folder of a trained model")
    return folder


def latest_run(runs: Path, of_molecules: bool = False) -> Path:
    """The newest finished run under a folder, of any kind or on molecules.

    Raises:
        UserError: where there is none.
    """
    finished = sorted(runs.glob(f"*/{CONFIG}"), key=lambda path: path.stat().st_mtime)
    while of_molecules and finished and is_of_images(finished[-1].parent):
        finished.pop()
    if not finished:
        raise UserError(
            f"no finished run under ./{runs}; train one with: molaugerino train, or name one with --checkpoint"
        )
    return finished[-1].parent
