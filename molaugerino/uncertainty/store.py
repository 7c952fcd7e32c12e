"""The calibration of a model as one file beside it: safetensors, with a digest, nothing that executes code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import torch
from safetensors import SafetensorError

from molaugerino.errors import UserError
from molaugerino.files import sha256, write_atomic
from molaugerino.uncertainty.calibrate import SIGNALS, Calibration
from molaugerino.uncertainty.conformal import Interval
from molaugerino.uncertainty.domain import Domain
from molaugerino.uncertainty.latent import Latent

FILE = "calibration.safetensors"
SCHEMA = "1"


def save_calibration(folder: Path, calibration: Calibration, model: str) -> None:
    """Write it beside the model that it belongs to.

    Args:
        folder: of the model.
        calibration: of it.
        model: sha256 of the model's card.
    """
    tensors = {
        "latent.mean": calibration.latent.mean.numpy(),
        "latent.whitening": np.ascontiguousarray(calibration.latent.whitening.numpy()),  # safetensors keeps raw memory
    }
    for r, intervals in enumerate(calibration.routes.values()):
        for channel, interval in enumerate(intervals):
            if interval is not None:
                tensors[f"{r}.{channel}.coefficients"] = interval.coefficients.astype(np.float32)
                tensors[f"{r}.{channel}.scores"] = interval.scores.astype(np.float32)
                tensors[f"{r}.{channel}.fold"] = interval.fold.astype(np.uint8)
    facts = {
        "routes": {route: len(intervals) for route, intervals in calibration.routes.items()},
        "domain": calibration.domain.to_json(),
    }
    about = {"schema": SCHEMA, "model": model, "facts": json.dumps(facts, sort_keys=True)}
    about["digest"] = _digest(tensors, about)
    write_atomic(folder / FILE, safetensors.numpy.save(tensors, about))


def _digest(tensors: dict[str, np.ndarray], about: dict[str, str]) -> str:
    told = [[name, value] for name, value in sorted(about.items()) if name != "digest"]
    held = [[name, a.dtype.str, list(a.shape), sha256(a.tobytes())] for name, a in sorted(tensors.items())]
    return sha256(json.dumps([told, held]).encode())


def load_calibration(folder: Path, model: str, channels: int) -> Calibration | None:
    """The calibration beside a model, None where there is none.

    Args:
        folder: of the model.
        model: sha256 of the model's card.
        channels: of the model.

    Raises:
        UserError: where the file is damaged, changed, of a later version, or belongs to another model.
    """
    path = folder / FILE
    if not os.path.isfile(path):
        return None
    try:
        with safetensors.safe_open(path, "numpy") as file:
            about = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not a readable calibration ({error}); restore it, or remove it") from None
    if about.get("schema") != SCHEMA:
        raise UserError(f"{path} has schema {about.get('schema')!r}, this version reads {SCHEMA!r}; update molaugerino")
    if about.get("digest") != _digest(tensors, about):
        raise UserError(f"{path} was changed or damaged after it was written (digest mismatch); restore or remove it")
    if about.get("model") != model:
        raise UserError(f"{path} belongs to another model than the one beside it; restore it, or remove it")
    try:
        return _calibration(tensors, json.loads(about["facts"]), channels)
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise UserError(f"{path} does not hold a calibration of this model ({error}); restore or remove it") from None


def _calibration(tensors: dict[str, np.ndarray], facts: Any, channels: int) -> Calibration:
    mean, whitening = (_real(tensors[f"latent.{name}"]) for name in ("mean", "whitening"))
    if mean.ndim != 1 or whitening.shape != 2 * mean.shape:
        raise ValueError(f"the latent mean and whitening have shapes {mean.shape} and {whitening.shape}")
    routes = {}
    for r, (route, count) in enumerate(facts["routes"].items()):
        if count != channels:
            raise ValueError(f"{count!r} intervals for {channels} channels")
        routes[route] = tuple(_interval(tensors, f"{r}.{k}") for k in range(channels))
    if not all(type(value) in (int, float) for value in facts["domain"].values()):
        raise ValueError("the domain's limits are no numbers")
    latent = Latent(torch.from_numpy(mean), torch.from_numpy(whitening))
    return Calibration(latent, Domain(**facts["domain"]), routes)


def _interval(tensors: dict[str, np.ndarray], name: str) -> Interval | None:
    if f"{name}.scores" not in tensors:
        return None
    coefficients, scores = (_real(tensors[f"{name}.{part}"]) for part in ("coefficients", "scores"))
    fold = tensors[f"{name}.fold"].astype(np.int64)
    sound = coefficients.ndim == 2 and coefficients.shape[1] == len(SIGNALS) and (coefficients >= 0).all()
    if not sound or scores.ndim != 1 or fold.shape != scores.shape or fold.max(initial=0) >= len(coefficients):
        raise ValueError(f"interval {name} has shapes {coefficients.shape}, {scores.shape} and {fold.shape}")
    return Interval(coefficients.astype(np.float64), scores.astype(np.float64), fold)


def _real(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.float32 or not np.isfinite(array).all():
        raise ValueError(f"an array of {array.dtype} is not finite, or not float32")
    return array
