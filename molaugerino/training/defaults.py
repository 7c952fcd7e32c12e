"""What `auto` stands for: the network, augmentation and optimiser that suit the data and each other."""

from __future__ import annotations

from dataclasses import replace

from molaugerino.config import LawConfig, TrainConfig
from molaugerino.errors import UserError
from molaugerino.models import BACKBONES

EMBEDDED = ("xtb9",)
TECHNICAL = ("lr", "every", "refresh", "eval_copies")  # settings of a law that do not ask for one
COMPONENTS = ("_x", "_y", "_z")  # what a target ends with that changes when the molecule is turned


def about_a_law(config: TrainConfig) -> bool:
    """Whether the settings say what the law is to be."""
    technical = {name: getattr(config.law, name) for name in TECHNICAL}
    return config.objective != "budget" or config.law != LawConfig(**technical)


def resolved(config: TrainConfig) -> TrainConfig:
    """The settings with nothing left to choose.

    For components of vectors, and where something is said about a law, the network knows nothing of symmetry, so that
    there is something to find; so too on the embedded data and in the worlds. Else it is the one with the lowest error
    per minute; the runners are timed by benchmarks/race.py.

    Raises:
        UserError: where a law is to be learned of motions that the network respects anyhow.
    """
    optim, model, augment = config.optim, config.model, config.augment
    if model == "auto":
        component = any(name.partition("@")[0].endswith(COMPONENTS) for name in config.target)
        asked = augment not in ("auto", "none") or (augment == "auto" and about_a_law(config))
        if config.data == EMBEDDED or config.world != "none":
            model = "point-transformer"
        else:
            free = component or asked or config.consistency is not None
            model = "vector-transformer-absolute" if free else "vector-transformer"
    if optim.method == "auto":
        optim = replace(optim, method="muon" if model.startswith("vector-transformer") else "adamw")
    knows = BACKBONES[model].symmetry.endswith("motions")
    if augment == "auto":
        augment = "learned" if about_a_law(config) or not knows else "none"
    if augment in ("learned", "paper") and knows and (config.law.mirror is None or "all" in BACKBONES[model].symmetry):
        raise UserError(
            f"{model} respects rotations and translations whatever its weights: there is nothing for --augment "
            f"{augment} to learn; leave it, --objective and --law out, or take a network that knows nothing, such as "
            f"--model vector-transformer-absolute"
        )
    return replace(config, model=model, net=BACKBONES[model].shape(config.net), augment=augment, optim=optim)
