"""Settings of a training on molecules."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from molaugerino.config.evidence import EvidenceConfig, check_evidence
from molaugerino.config.shared import check_length, check_seeds, optional
from molaugerino.errors import UserError

ModelName = Literal[
    "point-transformer",
    "graph",
    "graph-relative",
    "schnet",
    "painn",
    "relaxed-painn",
    "free-painn",
    "vector-transformer",
    "vector-transformer-absolute",
    "frame-averaging",
    "canonical",
]
Augmentation = Literal["none", "fixed", "learned", "paper"]
ALLOWS_ZERO = ("width", "balance", "weight_decay", "warmup", "ema", "strength", "rotation", "translation", "mirror")
ATTENTIVE = (
    "point-transformer",
    "vector-transformer",
    "vector-transformer-absolute",
    "frame-averaging",
    "canonical",
)


@dataclass(frozen=True)
class NetConfig:
    """The network's shape; each takes what it uses."""

    width: Annotated[int, optional("INT", "64; 96 for both vector-transformers")] = 0
    """Features per atom."""
    depth: int = 4
    """Blocks, or rounds of messages."""
    heads: int = 8
    """Attention heads; must divide the width. Of the transformers."""
    pair: int = 16
    """Features per pair of atoms. Of the transformers."""
    pairwise: bool = True
    """Let attention see distances and displacements; without them only absolute coordinates are left. Of
    point-transformer, frame-averaging, canonical."""
    cutoff: float = 5.0
    """Distance beyond which atoms do not see each other, angstrom. Of graph, schnet, painn; of vector-transformer,
    beyond which they exchange no vectors."""


@dataclass(frozen=True)
class OptimConfig:
    """How the weights are trained."""

    batch: int = 32
    """Molecules per step."""
    method: Literal["auto", "adamw", "muon"] = "auto"
    """muon: steps of the matrices inside the network are made orthogonal; the rest learns by AdamW. auto: muon for
    both vector-transformers, adamw for the others."""
    lr: float = 2e-3
    """Peak learning rate of AdamW; linear warm-up, then a cosine to zero over the run."""
    matrix_lr: float = 0.02
    """That of muon, in units of the operator norm."""
    weight_decay: float = 1e-4
    """Decoupled weight decay on matrices."""
    warmup: float = 0.03
    """Share of the run that the warm-up takes."""
    ema: float = 0.998
    """Decay of the running average of the weights that validation, testing and the saved model use."""
    clip: float = 1.0
    """Largest norm of the weights' gradient."""
    balance: float = 1.0
    """How far scarce labels are brought up: a molecule comes r^balance times per epoch, r how much rarer its rarest
    label is than a complete one. 1: all labels come about equally often; 0: every molecule comes once."""
    patience: Annotated[int | None, optional("N", "never")] = None
    """Stop, and go back to the best weights, after this many validations without improvement."""


@dataclass(frozen=True)
class LawConfig:
    """The law of rotations and translations, and what decides its extent."""

    family: Literal["ball", "gaussian", "swing-twist", "igso", "box"] = "ball"
    """ball, igso: one width for all rotations. gaussian: a full covariance of rotations, and one of shifts, which can
    single out any axis. swing-twist: one axis, a width about it and one away from it. box: a width per coordinate."""
    mirror: Annotated[float | None, optional("P", "no reflections")] = None
    """Learn whether to reflect, too: the probability of the inversion at the start."""
    axis: Annotated[tuple[float, float, float] | None, optional("X Y Z", "all rotations")] = None
    """Of --augment fixed: turns about this axis only, where it is known which are allowed."""
    conditional: bool = False
    """Let the widths depend on the molecule, through a small network of its atoms."""
    strength: Annotated[float | None, optional("FLOAT", "0.01")] = None
    """Weight of the objectives norm and kl; the others need none."""
    band: tuple[float, float] = (0.5, 1.5)
    """Between which nats to the widest law the objective entropy keeps the law."""
    rotation: float = 5.0
    """Largest rotation angle at the start, degrees; of another family than ball, the equal root mean square."""
    translation: float = 0.05
    """Radius of the ball of translations at the start, angstrom."""
    cap: float = 1.0
    """Largest radius of translations, angstrom; nats are counted to it."""
    lr: float = 0.02
    """Learning rate of the law (radians or angstrom per step, at most); thrice for the objective evidence, whose
    steps are rarer."""
    every: int = 4
    """Steps per update of the law, which needs far fewer than the weights."""
    refresh: int = 50
    """Steps between two measurements of the loss budget."""
    eval_copies: int = 16
    """Elements of the law that a prediction is averaged over."""


@dataclass(frozen=True)
class TrainConfig:
    """Train a network together with the law of the symmetry it should have.

    Without arguments: GFN2-xTB gaps of the embedded set xtb9, learned rotations and
    translations, a few minutes on two cores. Ends with the law in degrees and angstrom and
    the test errors in physical units.
    """

    data: tuple[str, ...] = ("xtb9",)
    """xtb9, qm9 (see molaugerino data), a prepared folder, or .npz, .sdf, .extxyz, .xyz, .csv or .pt files. Several are
    joined on the molecules' ids; labels that one of them lacks are missing there."""
    method: Annotated[tuple[str, ...], arg(help_behavior_hint="(default: as the files say)")] = ()
    """Level of theory of the labels: one for every file of --data, or one for all."""
    target: Annotated[tuple[str, ...], arg(help_behavior_hint="(default: gap, or the label of the world)")] = ()
    """What to predict: one or more labels of the data, learned together; dipole is a vector, dipole_x its x component.
    A label by several methods is several targets; gap@METHOD is one of them."""
    readout: Annotated[
        tuple[Literal["mean", "sum", "norm", "extent"], ...],
        arg(help_behavior_hint="(default: by the names of the labels)"),
    ] = ()
    """How atoms add up to a label, one for all targets or one each. sum: it grows with the molecule. mean: it does not.
    norm: the length of a vector. extent: a sum weighted by squared distances from the centre."""
    split: Annotated[str | None, optional("SPLIT", "random; graph where several files are joined")] = None
    """random, graph (molecules of one graph stay together), scaffold, one of the community's splits of QM9 (dimenet,
    torchmd: 110k/10k/rest; cormorant: 100,000/17,748/13,083), or a .npz file, such as splits.npz of another run."""
    model: ModelName | Literal["auto"] = "auto"
    """The network, and what it cannot but respect. auto: vector-transformer, which has the lowest error per minute;
    point-transformer for the embedded data and in worlds; vector-transformer-absolute where a law is to be learned.
    point-transformer, graph, vector-transformer-absolute: nothing. graph-relative: translations. schnet, painn,
    vector-transformer: rotations, translations, reflections; the last two have vectors inside, too. relaxed-painn:
    painn with a free path beside it in every layer, nothing; free-painn: that path alone, nothing. frame-averaging,
    canonical: a transformer in the principal axes, or in a frame that is learned: rotations and translations."""
    augment: Literal["auto", "none", "fixed", "learned", "paper"] = "auto"
    """auto: learned; none where the network respects rotations and translations anyhow. none: the network alone.
    fixed: all rotations and the widest translations. learned: found in training. paper: Augerino as published for
    molecules, faults included, to compare with."""
    objective: Literal["norm", "kl", "entropy", "budget", "hypergradient", "evidence"] = "budget"
    """What decides how wide the law becomes. budget: as wide as costs a twentieth of the loss, nothing to tune.
    kl, norm: a fixed price on nats to the widest law, or on the norm of the widths (Augerino's). entropy: nats kept in
    a band. hypergradient: what lowers the loss of molecules kept from training, one step ahead. evidence: the marginal
    likelihood of the training data, which chooses the law, the weights' priors and the noise of the labels; without a
    law, it says how far the layers of relaxed-painn leave equivariance."""
    consistency: Annotated[float | None, optional("WEIGHT", "none")] = None
    """Weight of a second loss, between predictions for a molecule and for the same molecule turned at random, turned
    back: symmetry by training, with any network. One pass more per step."""
    world: Literal["none", "field", "two-fields", "slab", "pseudoscalar"] = "none"
    """A label whose symmetry is known exactly, made from the data. field: energy in a uniform field. two-fields: in
    two, at 60 degrees. slab: above a surface. pseudoscalar: changes sign under reflection.
    Each needs --frames random."""
    world_seed: int = 0
    """Seed of the field's direction, and of the places above the slab."""
    frames: Literal["stored", "principal", "random"] = "stored"
    """Orientation of each molecule: as in the file, along its principal axes, or one random rotation each."""
    geometry: Annotated[Literal["given", "mmff"] | None, optional("{given,mmff}", "mmff where the file has it")] = None
    """Positions to train on: those given, or the MMFF94 ones, which predict will feed."""
    minutes: Annotated[float | None, optional("M", "4, unless epochs or steps are given")] = None
    """Training time."""
    epochs: Annotated[int | None, optional("E", "as many as the time allows")] = None
    """Passes over the training molecules."""
    steps: Annotated[int | None, optional("S", "as many as the time allows")] = None
    """Weight updates."""
    init: Annotated[str | None, optional("NAME|DIR", "random weights")] = None
    """Start from the weights of a trained model: one that comes with molaugerino, latest, or a folder. Of one that
    predicts other targets, all but the last layers."""
    seed: int = 0
    """Seed of weights, order and noise; with steps or epochs it fixes every bit, given the CPU and its threads."""
    split_seed: int = 0
    """Seed of the split into training, validation and test molecules, and of random frames."""
    out: Annotated[Path | None, optional("DIR", "a new one under ./runs")] = None
    """Folder of the run."""
    devices: int = 1
    """Processes that share a step, each on its own GPU or on the CPU. torchrun sets it, on several computers, too."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """bf16: matrix products of the network in bfloat16, geometry and units in float32. auto: on a GPU that has it."""
    resume: Annotated[Path | None, optional("DIR", "start anew")] = None
    """Go on with an interrupted run in this folder; every other setting comes from there."""
    config: Annotated[Path | None, optional("FILE", "none")] = None
    """TOML file of settings, such as the config.toml of another run; the command line overrides it."""
    net: NetConfig = field(default_factory=NetConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    law: LawConfig = field(default_factory=LawConfig)
    evidence: EvidenceConfig = field(default_factory=EvidenceConfig)

    def _check_axis(self, axis: tuple[float, float, float]) -> None:
        if not (any(axis) and all(map(math.isfinite, axis))):
            raise UserError(f"--law.axis must be three finite numbers, not all 0, got {axis}")
        if self.augment != "fixed" or self.law.mirror is not None or self.law.conditional:
            raise UserError("--law.axis is for --augment fixed, without --law.mirror and --law.conditional")

    def __post_init__(self) -> None:
        for name in ("data", "method", "target"):  # one may be given as it is
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, (getattr(self, name),))
        if not self.data:
            raise UserError("--data needs at least one data set; leave it out to train on xtb9")
        check_length(self)
        if not 1 <= self.devices <= self.optim.batch:
            raise UserError(
                f"--devices must lie between 1 and --optim.batch, {self.optim.batch}, got {self.devices}: each "
                "takes its part of a batch"
            )
        if self.world != "none" and self.frames != "random":
            raise UserError(
                f"--world {self.world} places molecules in space: it needs --frames random, got {self.frames}"
            )
        chosen = self.objective, self.law.family, self.law.mirror, self.law.conditional
        if self.augment == "paper" and chosen != ("budget", "ball", None, False):
            raise UserError("--augment paper has a law and an objective of its own; leave out --objective and --law")
        if self.consistency is not None and not self.consistency > 0:
            raise UserError(f"--consistency must be positive, got {self.consistency}; leave it out for none")
        if self.law.strength is not None and self.objective not in ("kl", "norm"):
            raise UserError(f"--law.strength is for --objective kl or norm; {self.objective} sets its own")
        if self.law.axis is not None:
            self._check_axis(self.law.axis)
        if self.law.mirror is not None and self.law.mirror > 1:
            raise UserError(f"--law.mirror is a probability, got {self.law.mirror}")
        if not 0 <= self.law.band[0] < self.law.band[1]:
            raise UserError(f"--law.band needs two rising numbers of nats, got {self.law.band[0]} {self.law.band[1]}")
        for section in ("net", "optim", "law"):
            for name, value in asdict(self)[section].items():
                allows_zero = name in ALLOWS_ZERO
                if (
                    isinstance(value, (int, float))
                    and not isinstance(value, bool)
                    and (value < 0 or (value == 0 and not allows_zero))
                ):
                    raise UserError(
                        f"--{section}.{name} must be {'at least' if allows_zero else 'above'} 0, got {value}"
                    )
        if self.model in ATTENTIVE and self.net.width and self.net.width % self.net.heads:
            raise UserError(f"--net.heads must divide --net.width, got {self.net.heads} and {self.net.width}")
        if self.optim.balance > 1:
            raise UserError(f"--optim.balance must lie between 0 and 1, got {self.optim.balance}")
        for name in ("ema", "warmup"):
            if not getattr(self.optim, name) < 1:
                raise UserError(f"--optim.{name} must be below 1, got {getattr(self.optim, name)}")
        check_seeds(self, "seed", "split_seed", "world_seed")
        check_evidence(self)
        if self.objective == "evidence" and self.law.mirror is not None:
            raise UserError("--objective evidence learns no probability of reflections; leave --law.mirror out")
        if self.law.rotation > 180 or self.law.translation > self.law.cap:
            raise UserError(
                "the law cannot start beyond its widest: --law.rotation <= 180 and --law.translation <= --law.cap"
            )
