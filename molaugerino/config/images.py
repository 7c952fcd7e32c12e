"""Settings of a training on images."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from molaugerino.config.evidence import EvidenceConfig, check_evidence
from molaugerino.config.shared import check_length, check_seeds, optional
from molaugerino.config.train import OptimConfig
from molaugerino.errors import UserError

TaskName = Literal[
    "rotmnist",
    "upright",
    "two-icons",
    "touching-ranges",
    "angle",
    "translated",
    "scaled",
    "segment",
    "segment-free",
    "hue",
    "quadrant-blind",
    "quadrant-aware",
]
NetworkName = Literal[
    "five-layer",
    "thirteen-layer",
    "residual",
    "unet",
    "p4",
    "p8",
    "fc",
    "conv",
    "fc+conv",
    "f-fc",
    "f-fc+conv",
    "s-fc",
    "s-conv",
    "s-fc+s-conv",
    "f-fc+conv+gconv",
]
LawKind = Literal["rotation", "translation", "scale", "affine", "hue"]


@dataclass(frozen=True)
class ImageLawConfig:
    """The law of transformations of images, and what decides its extent."""

    kind: Annotated[LawKind | None, optional("KIND", "that of the task")] = None
    """rotation, translation, scale: one family of maps of the plane. affine: all six widths at once. hue: turns about
    the greys."""
    start: float = 0.03
    """Widths at the start, as shares of the widest."""
    strength: Annotated[float | None, optional("FLOAT", "0.01")] = None
    """Weight of the objectives norm and kl; budget needs none."""
    lr: float = 0.02
    """Learning rate of the law (radians, or halves of the shorter side, per step, at most); three times it for the
    objective evidence, whose steps are rarer."""
    every: int = 2
    """Steps per update of the law, which needs fewer than the weights."""
    refresh: int = 20
    """Steps between two measurements of the loss budget."""
    eval_copies: int = 16
    """Elements of the law that a prediction is averaged over."""


@dataclass(frozen=True)
class ImageConfig:
    """Train a network of images together with the law of the symmetry that its task has.

    Ends with the law, in degrees or as factors, and test scores from one copy and averaged over the law.
    """

    task: TaskName
    """What to learn. rotmnist: digits turned at random. upright: digits as they stand. two-icons: which of two icons,
    and whether upright within 45 degrees or upside-down. touching-ranges: in which quarter of the circle an icon
    points, where no law is right. angle: that angle as a number. translated, scaled: digits anywhere, of any size.
    segment: scenes of icons, a class per pixel, upside-down icons being other classes; segment-free: the same,
    orientation ignored. hue: bands of hue with gaps between. quadrant-blind, quadrant-aware: digits in a quarter of the
    picture, the label being the digit, or digit and quarter."""
    data: Annotated[str | None, optional("DATA", "digits, or drawn")] = None
    """Digits, or a folder or archive of MNIST, CIFAR-10, CIFAR-100 or STL-10, or .npz with a class per image: for the
    tasks that take pictures of others."""
    model: Annotated[NetworkName | None, optional("NETWORK", "five-layer; unet for a class per pixel")] = None
    """five-layer, thirteen-layer: plain convolutions, as in Augerino's experiments. residual: a small residual network.
    unet: for a class per pixel. p4, p8: convolutions on the group of quarter or eighth turns, whose symmetry is
    fixed. conv, fc and those with a plus: eight layers of one or several paths each, dense (fc), factored (f-fc),
    sparse (s-), convolutions on shifts (conv) and on quarter turns (gconv); how much each path counts is learned with
    --objective evidence."""
    width: float = 0.25
    """Factor on the widths of the network; 1 is the published size, for GPUs."""
    augment: Literal["none", "fixed", "learned", "paper"] = "learned"
    """none: the network alone. fixed: the widest law. learned: found in training. paper: Augerino as published for
    images."""
    objective: Literal["norm", "kl", "budget", "evidence"] = "budget"
    """What decides how wide the law becomes. budget: as wide as costs a twentieth of the loss, nothing to tune. kl,
    norm: a fixed price on nats to the widest law, or on the norm of the widths (Augerino's). evidence: the marginal
    likelihood of the training data; without a law to learn, it chooses how equivariant each layer is."""
    images: Annotated[int | None, optional("N", "6,000; all of other data")] = None
    """Pictures to draw, or to take of the data, at most."""
    minutes: Annotated[float | None, optional("M", "4, unless epochs or steps are given")] = None
    """Training time."""
    epochs: Annotated[int | None, optional("E", "as many as the time allows")] = None
    """Passes over the training images."""
    steps: Annotated[int | None, optional("S", "as many as the time allows")] = None
    """Weight updates."""
    seed: int = 0
    """Seed of weights, order and noise; with steps or epochs it fixes every bit, given the CPU and its threads."""
    split_seed: int = 0
    """Seed of the pictures drawn, of how those of others are turned, and of the split."""
    out: Annotated[Path | None, optional("DIR", "a new one under ./runs")] = None
    """Folder of the run."""
    devices: int = 1
    """Processes that share a step."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """bf16: products of the network in bfloat16. auto: on a GPU that has it."""
    resume: Annotated[Path | None, optional("DIR", "start anew")] = None
    """Go on with an interrupted run in this folder; every other setting comes from there."""
    config: Annotated[Path | None, optional("FILE", "none")] = None
    """TOML file of settings, such as the config.toml of another run; the command line overrides it."""
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(batch=64, method="adamw"))
    law: ImageLawConfig = field(default_factory=ImageLawConfig)
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)

    def __post_init__(self) -> None:
        check_length(self)
        check_seeds(self, "seed", "split_seed")
        positive = {name: getattr(self, name) for name in ("width", "devices")}
        positive |= {
            f"law.{name}": getattr(self.law, name) for name in ("start", "lr", "every", "refresh", "eval_copies")
        }
        if self.images is not None:
            positive["images"] = self.images
        for name, value in positive.items():
            if not value > 0:
                raise UserError(f"--{name} must be positive, got {value}")
        if self.law.start > 1:
            raise UserError(f"--law.start is a share of the widest law, at most 1, got {self.law.start}")
        if self.law.strength is not None and self.objective == "budget" and self.augment != "paper":
            raise UserError("--law.strength is for --objective kl or norm, and --augment paper; budget sets its own")
        check_evidence(self)
        if self.optim.method == "muon":
            raise UserError("--optim.method muon is for networks of molecules; take adamw")
        if self.augment == "paper" and (self.objective, self.law.kind) != ("budget", None):
            raise UserError(
                "--augment paper has a law and an objective of its own; leave out --objective and --law.kind"
            )
