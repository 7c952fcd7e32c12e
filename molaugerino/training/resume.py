"""Interrupted runs on disk: a digest, then torch's own format, read with the weights-only loader."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO

from molaugerino.errors import UserError
from molaugerino.files import sha256, write_atomic

CHECKPOINT = "last.ckpt"
MAGIC = b"molaugerino checkpoint 1\n"


class SafeCheckpointIO(CheckpointIO):
    """Lightning's door to the disk: atomic writes with a digest, weights-only reads."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        payload = buffer.getvalue()
        write_atomic(Path(path), MAGIC + sha256(payload).encode() + b"\n" + payload)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """An interrupted run's state.

    Raises:
        UserError: where it is missing, damaged, or not one of ours.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; there is nothing to resume") from None
    head = len(MAGIC) + 65
    payload = data[head:]
    if not data.startswith(MAGIC) or data[len(MAGIC) : head - 1].decode(errors="replace") != sha256(payload):
        raise UserError(f"{path} is damaged or not a molaugerino checkpoint; start the run again in a new folder")
    try:
        return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise UserError(f"{path} holds more than tensors and numbers and is not loaded: {error}") from None
