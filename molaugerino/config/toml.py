"""Settings as TOML files, and back."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w
import tyro

from molaugerino.config.images import ImageConfig
from molaugerino.config.train import TrainConfig
from molaugerino.errors import UserError


def to_toml(config: TrainConfig | ImageConfig) -> str:
    """The settings as TOML, None left out (TOML has no null)."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if v is not None}
        return str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value

    return tomli_w.dumps(plain(asdict(config)))


def toml_arguments(path: Path, leave_out: Sequence[str] = ()) -> list[str]:
    """A TOML file as command-line arguments, so that one parser checks both."""
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a TOML file: {error}") from None
    return _arguments({key: value for key, value in table.items() if f"--{key}" not in leave_out}, "--")


def read_training(path: Path) -> TrainConfig | ImageConfig:
    """The settings of a training, of images where they name a task."""
    arguments = toml_arguments(path)
    if "--task" in arguments:
        return tyro.cli(ImageConfig, args=arguments)
    return tyro.cli(TrainConfig, args=arguments)


def _arguments(table: Mapping[str, Any], prefix: str) -> list[str]:
    arguments: list[str] = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            arguments += _arguments(value, f"{prefix}{key}.")
        elif isinstance(value, bool):
            head, _, name = f"{prefix}{key}"[2:].rpartition(".")
            dotted = f"{head}." if head else ""
            arguments.append(f"--{dotted}{'' if value else 'no-'}{name}")
        else:
            values = value if isinstance(value, list) else [value]
            arguments += [f"{prefix}{key}", *map(str, values)]
    return arguments
