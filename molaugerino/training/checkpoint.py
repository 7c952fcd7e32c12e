"""Trained models on disk: digests on everything, nothing that executes code.

A model is two files: `model.safetensors` and `config.json`, which holds everything needed to
rebuild it and the sha256 of the tensors and of itself.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import safetensors.torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError

from molaugerino.augment import Augmented
from molaugerino.config import Augmentation, ModelName, NetConfig
from molaugerino.datasets import Frames, Geometry, Target, WorldName, output_action
from molaugerino.datasets.targets import MAX_Z
from molaugerino.distributions import Family, GroupDistribution, molecular_law
from molaugerino.errors import UserError
from molaugerino.files import sha256, write_atomic
from molaugerino.models import make_network
from molaugerino.paper import PaperBox
from molaugerino.spaces import Padded

SCHEMA = 3
WEIGHTS, CONFIG = "model.safetensors", "config.json"
LARGEST = 2048  # of any number of the network's shape: a file from outside cannot ask for all memory
PACKAGES = ("torch", "numpy", "rdkit", "lightning", "safetensors")


@dataclass(frozen=True)
class ModelCard:
    """What a saved model is, beside its tensors.

    Attributes:
        targets: what it predicts, with units and methods.
        model: the network, by its name in the registry.
        net: its shape.
        augment: "none", "fixed", "learned" or "paper".
        law: extents in physical units and the verdict, for readers; the parameters are tensors.
        family: of the law.
        mirror: whether the law reflects, too.
        conditional: whether its widths depend on the molecule.
        start: the widths that a learned law started from: radians, angstrom, probability of a reflection.
        translation_cap: radius to which translations are counted, angstrom.
        eval_copies: elements a prediction is averaged over.
        geometry: positions it was trained on, "given" or "mmff".
        frames: orientation it was trained on.
        elements: atomic numbers it has seen.
        references: per element (its number as text) what an atom adds to each channel before any
            geometry is looked at, in physical units, 0 for channels that are means; the model's tensors hold the same.
        max_atoms: atoms of the largest training molecule.
        centre: what the origin of every molecule is.
        data: name of the training set.
        world: the world its label was made in, "none" for a label of the set itself.
        world_seed: of that world.
        data_sha256: checksum of its file.
        data_sources: those of the files that it was prepared from.
        split_sha256: checksum of the split.
        train_mean: mean training label per channel.
        schema: version of this form.
        versions: packages it was made with.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid")

    targets: list[Target]
    model: ModelName
    net: NetConfig
    augment: Augmentation
    law: dict[str, Any]
    family: Family
    mirror: bool
    conditional: bool
    start: tuple[float, float, float]
    translation_cap: float
    eval_copies: int
    geometry: Geometry
    frames: Frames
    elements: list[int]
    references: dict[str, list[float]]
    max_atoms: int
    data: str
    data_sha256: str
    split_sha256: str
    train_mean: list[float]
    world: WorldName
    world_seed: int
    data_sources: list[str] = field(default_factory=list)
    centre: str = "centroid"
    schema: int = SCHEMA
    versions: dict[str, str] | None = None

    def __post_init__(self) -> None:
        channels = sum(target.channels for target in self.targets)
        ranges = {
            "targets": (len(self.targets), 1, 1000),
            "eval_copies": (self.eval_copies, 1, 10_000),
            "max_atoms": (self.max_atoms, 1, 10_000),
            "translation_cap": (self.translation_cap, 0, 1e6),
            "train_mean": (len(self.train_mean), channels, channels),
            "elements": (len(self.elements), 1, MAX_Z),
        }
        ranges |= {f"elements: {z}": (z, 1, MAX_Z) for z in self.elements}
        ranges |= {f"net.{name}": (value, 0, LARGEST) for name, value in asdict(self.net).items()}
        ranges |= {f"start[{k}]": (value, 0, 1e6) for k, value in enumerate(self.start)}
        for name, (value, least, most) in ranges.items():
            if not (math.isfinite(value) and least <= value <= most):
                raise UserError(f"{name} must lie in {least}..{most}, got {value}")


def build(card: ModelCard, rotation: float = 0.0, translation: float = 0.0, mirror: float = 0.0) -> Augmented:
    """The untrained network and law that a card describes (angle in radians, radius in angstrom, probability)."""
    network = make_network(card.model, card.targets, **asdict(card.net))
    law: GroupDistribution = PaperBox()
    if card.augment != "paper":
        reflects = mirror if card.mirror else None
        law = molecular_law(card.family, rotation, translation, card.translation_cap, reflects, card.conditional)
    return Augmented(network, law, Padded(), output_action(card.targets), eval_copies=card.eval_copies)


def package_versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("molaugerino", *PACKAGES)}


def save_model(folder: Path, augmented: Augmented, card: Any) -> str:
    """Write the tensors, then the card that vouches for them; returns the card's digest."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in augmented.state_dict().items()}
    weights = safetensors.torch.save(tensors)
    content = asdict(card) | {"versions": package_versions(), "weights_sha256": sha256(weights)}
    content["config_sha256"] = _digest(content)
    write_atomic(folder / WEIGHTS, weights)
    write_atomic(folder / CONFIG, json.dumps(content, indent=1) + "\n")
    return str(content["config_sha256"])


def _digest(content: dict[str, Any]) -> str:
    rest = {key: value for key, value in content.items() if key != "config_sha256"}
    return sha256(json.dumps(rest, sort_keys=True).encode())


Card = TypeVar("Card")


def load_card(folder: Path, kind: type[Card]) -> tuple[Card, str]:
    """The card of a saved model and the sha256 that its tensors must have.

    Args:
        folder: of the model.
        kind: of card.

    Raises:
        UserError: where the file is missing, damaged, changed, of a later version, or holds what no such card can.
    """
    content = _read_card(folder)
    path = folder / CONFIG
    if ("task" in content) == (kind is ModelCard):
        is_, wanted = ("images", "molecules") if "task" in content else ("molecules", "images")
        raise UserError(f"{folder} is a model of {is_}, and a model of {wanted} is needed here; give one")
    weights_sha256 = content.pop("weights_sha256", None)
    del content["config_sha256"]
    try:
        card = TypeAdapter(kind).validate_json(json.dumps(content))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "content"
        raise UserError(f"{path} is not a molaugerino model ({place}: {first['msg']}); train again") from None
    except UserError as error:
        raise UserError(f"{path} is not a molaugerino model ({error}); train again") from None
    if not isinstance(weights_sha256, str):
        raise UserError(f"{path} does not vouch for {WEIGHTS}: weights_sha256 is missing; train again")
    return card, weights_sha256


def is_of_images(folder: Path) -> bool:
    """Whether a saved model is one of images."""
    return "task" in _read_card(folder)


def card_digest(folder: Path) -> str:
    """The sha256 of a saved model's card, and by it of all its tensors."""
    return str(_read_card(folder)["config_sha256"])


def _read_card(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not os.path.isfile(path):
        raise UserError(
            f"no trained model in {folder}: {CONFIG} is missing; train one, or finish it with --resume {folder}"
        )
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path} is not a molaugerino model ({error}); restore it or train again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a molaugerino model (no JSON object); restore it or train again")
    if content.get("schema") != SCHEMA:
        raise UserError(f"{path} has schema {content.get('schema')!r}, this version reads {SCHEMA}; update molaugerino")
    if content.get("config_sha256") != _digest(content):
        raise UserError(
            f"{path} was changed or damaged after it was written (digest mismatch); restore it or train again"
        )
    return content


def load_model(folder: str | Path) -> tuple[Augmented, ModelCard]:
    """A saved model of molecules, in evaluation mode.

    Raises:
        UserError: where a file is missing, damaged, changed, or does not fit the card.
    """
    return load_with(Path(folder), ModelCard, build)


def load_with(folder: Path, kind: type[Card], make: Callable[[Card], Augmented]) -> tuple[Augmented, Card]:
    """A saved model with its card, by what makes it anew from such a card."""
    card, expected = load_card(folder, kind)
    path = folder / WEIGHTS
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; restore it or train again") from None
    if sha256(data) != expected:
        raise UserError(
            f"{path} was changed or damaged after it was written (digest mismatch); restore it or train again"
        )
    try:
        augmented = make(card)
        augmented.load_state_dict(safetensors.torch.load(data))
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} does not hold the tensors that {CONFIG} describes: {error}") from None
    return augmented.eval(), card
