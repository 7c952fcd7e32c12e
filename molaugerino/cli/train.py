"""molaugerino train"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from molaugerino.cli.report import print_image_report, print_report
from molaugerino.config import ImageConfig, TrainConfig, read_training
from molaugerino.errors import UserError
from molaugerino.training.folder import SETTINGS
from molaugerino.training.processes import is_first
from molaugerino.training.run import train

INTERRUPTED = 130


def run(config: TrainConfig | ImageConfig) -> int:
    if config.resume is not None:
        config = resumed(config)
    if isinstance(config, ImageConfig):
        return run_images(config)
    finished = train(config)
    if finished is None:
        return INTERRUPTED
    if not is_first():
        return 0
    print_report(finished.law, finished.results, finished.coverage, finished.evidence)
    print(f"saved in {finished.folder}; predict with: molaugerino predict SMILES ... --checkpoint {finished.folder}")
    return 0


def run_images(config: ImageConfig) -> int:
    from molaugerino.training.images import train_images

    finished = train_images(config)
    if finished is None:
        return INTERRUPTED
    if is_first():
        print_image_report(finished.law, finished.results, finished.evidence)
        print(f"saved in {finished.folder}; its law and scores again: molaugerino evaluate {finished.folder}")
    return 0


def resumed(config: TrainConfig | ImageConfig) -> TrainConfig | ImageConfig:
    """The settings of the run to go on with; nothing else may be given beside --resume."""
    folder = Path(config.resume or "")
    if config != TrainConfig(resume=config.resume):
        raise UserError(f"--resume takes every setting from {folder / SETTINGS}; drop the other options")
    if not os.path.isfile(folder / SETTINGS):
        raise UserError(f"no run to resume in {folder}: {SETTINGS} is missing")
    return replace(read_training(folder / SETTINGS), resume=folder)
