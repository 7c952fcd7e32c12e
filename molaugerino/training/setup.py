"""The parts of a run, made from its settings: data, card, network, loss, objective, schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from molaugerino import paper
from molaugerino.augment import Augmented
from molaugerino.config import DEFAULT_MINUTES, Augmentation, ImageConfig, LawConfig, ModelName, TrainConfig
from molaugerino.datasets import (
    COMMUNITY,
    Batch,
    MoleculeSet,
    Packed,
    PackedData,
    Split,
    Target,
    World,
    channel_slices,
    community_split,
    graph_keys,
    in_frames,
    labels_of,
    load_split,
    open_joined,
    random_split,
    scaffolds,
)
from molaugerino.datasets.targets import Pooling
from molaugerino.distributions import about_axis
from molaugerino.errors import UserError
from molaugerino.laplace import Gaussian
from molaugerino.models import Scaling
from molaugerino.training.checkpoint import ModelCard, build, load_model
from molaugerino.training.folder import RUNS, SPLITS
from molaugerino.training.law_evidence import BlockSearch, LawEvidence, at_its_pace, random_blocks
from molaugerino.training.losses import make_loss, make_metrics, spreads_of
from molaugerino.training.module import TrainingModule
from molaugerino.training.objective import (
    DivergencePrice,
    EntropyBand,
    HyperGradient,
    LossBudget,
    NormPrice,
    Objective,
    PublishedReward,
)
from molaugerino.training.ready import find_model
from molaugerino.training.schedule import Schedule

DEFAULT_STRENGTH = 0.01  # of the objectives kl and norm
STRATUM = 400  # molecules of the same labels that are enough to be split among each other
BUDGET_BATCH = 64  # molecules per measurement of the loss budget


@dataclass(frozen=True)
class RunData:
    """What a run trains on.

    Attributes:
        loaded: the set at the training geometry, in the frames of the file.
        targets: what is predicted.
        packed: the set in the training frames.
        split: of the rows, those with a label.
        train: the rows that update weights: those kept for the law, too, where no law is learned.
        epoch: the rows of one pass over these, some of them more than once.
        undetermined: molecules whose principal frame their shape does not determine.
    """

    loaded: MoleculeSet
    targets: list[Target]
    packed: PackedData
    split: Split
    train: np.ndarray
    epoch: np.ndarray
    undetermined: int

    @property
    def name(self) -> str:
        return self.loaded.name

    @property
    def checksum(self) -> str:
        return self.loaded.checksum

    @property
    def unused(self) -> int:
        """Molecules with a label that are in no part of the split."""
        labelled = int(torch.isfinite(self.packed.y).any(1).sum())
        return labelled - sum(len(rows) for rows in asdict(self.split).values())


def open_run_data(config: TrainConfig, folder: Path | None = None) -> RunData:
    """Read, check, frame and split the molecules; a split already in the folder is kept."""
    loaded = open_joined(config.data, config.method)
    loaded = loaded.with_geometry(config.geometry or ("given" if loaded.positions_mmff is None else "mmff"))
    turned, undetermined = in_frames(loaded, config.frames, config.split_seed)
    world = World(config.world, config.world_seed)
    turned = world.place(turned)
    targets = list(dict.fromkeys(t for name in config.target or (world.label,) for t in turned.targets(name)))
    targets = with_readouts(targets, config.readout)
    packed = PackedData(turned, targets)
    labelled: np.ndarray = torch.isfinite(packed.y).numpy()
    kept = folder / SPLITS if folder is not None else None
    split = load_split(kept, loaded.id) if kept and kept.exists() else make_split(config, loaded)
    may_lack = ("test",) if keeps_for_law(config) else ("budget", "test")
    needed = [part for part, rows in asdict(split).items() if len(rows) or part not in may_lack]
    split = split.restricted(np.asarray(labelled.any(1)))
    check_labelled(split, needed, labelled, targets, loaded.name)
    if keeps_for_law(config) and len(split.budget) == 1:
        raise UserError("one molecule in the budget part of the split tells no spread to judge a law by; give it more")
    train = split.train if keeps_for_law(config) else np.sort(np.concatenate([split.train, split.budget]))
    epoch = np.repeat(train, repeats(labelled[train], config.optim.balance))
    return RunData(loaded, targets, packed, split, train, epoch, int(undetermined.sum()))


def with_readouts(targets: list[Target], readouts: tuple[Pooling, ...]) -> list[Target]:
    """The targets, read out as --readout says: not given, by their names; given once, all alike.

    Raises:
        UserError: for another number of them than there are targets.
    """
    if len(readouts) not in (0, 1, len(targets)):
        names = ", ".join(labels_of(targets))
        raise UserError(f"give one --readout for all targets or one each, got {len(readouts)} for {names}")
    each = readouts * len(targets) if len(readouts) == 1 else readouts or [t.readout for t in targets]
    return [replace(t, readout=readout) for t, readout in zip(targets, each, strict=True)]


def keeps_for_law(config: TrainConfig | ImageConfig) -> bool:
    """Whether examples are kept from the updates of the weights, to judge a law by."""
    return config.augment == "learned" and config.objective != "evidence"


def make_split(config: TrainConfig, molecules: MoleculeSet) -> Split:
    """The split that --split names; molecules of the same labels are split among each other, where they are many.

    Raises:
        UserError: for an unknown name, or one that the molecules are too few for or lack SMILES for.
    """
    n, name = len(molecules), config.split or ("graph" if len(config.data) > 1 else "random")
    if name in COMMUNITY:
        return community_split(name, molecules.id)
    if name.endswith(".npz"):
        return load_split(Path(name), molecules.id, by_id=True)
    groups: dict[str, Callable[[], np.ndarray | None]] = {
        "random": lambda: None,
        "graph": lambda: graph_keys(molecules),
        "scaffold": lambda: scaffolds(molecules.smiles, molecules.name),
    }
    if name not in groups:
        known = ", ".join([*groups, *COMMUNITY])
        raise UserError(f"--split must be one of {known}, or a .npz file of a split, got {name!r}")
    return random_split(n, config.split_seed, groups[name](), label_strata(molecules))


def label_strata(molecules: MoleculeSet) -> np.ndarray:
    """(n,) equal for molecules that have the same labels, -1 for those of combinations that few have."""
    n = len(molecules)
    absent = [np.isnan(c.values).reshape(n, -1).any(1) for c in molecules.columns]
    missing = np.stack([*absent, np.zeros(n, dtype=bool)], 1)  # a set may have no label, as in a world that makes one
    _, stratum, size = np.unique(missing, axis=0, return_inverse=True, return_counts=True)
    return np.where(size[stratum.ravel()] < STRATUM, -1, stratum.ravel())


def check_labelled(split: Split, needed: Sequence[str], labelled: np.ndarray, targets: list[Target], name: str) -> None:
    """Raise unless every target has labels in every part of the split that is needed.

    Args:
        split: of the rows.
        needed: names of its parts.
        labelled: (n, channels) where there are labels.
        targets: whose channels these are.
        name: of the data.
    """
    for part in needed:
        rows = getattr(split, part)
        for target, channels in zip(targets, channel_slices(targets), strict=True):
            if not labelled[rows][:, channels].any():
                raise UserError(
                    f"no molecule of the {part} part of {name} has a label {target.name}; give more data, another "
                    "--split, or leave the target out"
                )


def repeats(labelled: np.ndarray, balance: float = 1.0) -> np.ndarray:
    """(molecules,) r^balance, how often a molecule comes in an epoch: r is how much rarer its rarest label is than a
    complete one.

    With 1 the labelled molecules of every target come about as often as those of any other, with 0 every molecule once.

    Args:
        labelled: (molecules, channels) where there are labels.
        balance: from 0 to 1.
    """
    scarcity = len(labelled) / labelled.sum(0).clip(1)
    return (np.where(labelled, scarcity, 1.0).max(1) ** balance).round().astype(np.int64)


def make_card(config: TrainConfig, data: RunData) -> ModelCard:
    """What the model will be, but for the law it has yet to find."""
    train = data.train
    seen = np.isin(data.loaded.owner, train)
    return ModelCard(
        targets=data.targets,
        model=cast(ModelName, config.model),
        net=config.net,
        augment=cast(Augmentation, config.augment),
        law={},
        family=config.law.family if config.law.axis is None else "swing-twist",
        mirror=config.law.mirror is not None,
        conditional=config.law.conditional,
        start=law_start(config),
        translation_cap=config.law.cap,
        eval_copies=config.law.eval_copies,
        geometry=data.loaded.geometry,
        frames=config.frames,
        elements=sorted({int(z) for z in data.loaded.atomic_numbers[seen]}),
        references={},
        max_atoms=int(data.loaded.num_atoms[train].max()),
        data=data.loaded.name,
        data_sha256=data.loaded.checksum,
        data_sources=list(data.loaded.sources),
        split_sha256=data.split.checksum,
        world=config.world,
        world_seed=config.world_seed,
        train_mean=data.packed.y[train].double().nanmean(0).tolist(),
    )


def references(augmented: Augmented, elements: list[int]) -> dict[str, list[float]]:
    """What an atom of each element adds to each channel before any geometry is looked at, in physical units."""
    return {str(z): readout_of(augmented).reference[z].tolist() for z in elements}


def law_start(config: TrainConfig) -> tuple[float, float, float]:
    """Widths that a learned law starts from: radians, angstrom, probability of a reflection."""
    return math.radians(config.law.rotation), config.law.translation, config.law.mirror or 0.0


def make_augmented(config: TrainConfig, card: ModelCard, data: RunData) -> Augmented:
    """The network, scaled to the training labels, under the law that the run starts from."""
    start = {
        "none": (0.0, 0.0, 0.0),
        "fixed": (math.pi, config.law.cap, 0.5),
        "paper": (0.0, 0.0, 0.0),  # it has a start of its own
        "learned": law_start(config),
    }
    augmented = build(card, *start[config.augment])
    if config.law.axis is not None:
        augmented.distribution = about_axis(config.law.axis, config.law.cap, config.law.cap)
    train = data.packed.batch(torch.from_numpy(data.train))
    readout_of(augmented).fit_scale(train.x, train.y)
    return augmented


def readout_of(augmented: Augmented) -> Scaling:
    """The part of the network that knows units."""
    return cast(Scaling, augmented.model.readout)


@torch.no_grad()
def unexplained(augmented: Augmented, data: RunData) -> Tensor:
    """Training labels minus what is known before the network is asked, (molecules, channels), NaN without a label."""
    batch = data.packed.batch(torch.from_numpy(data.train))
    return batch.y - readout_of(augmented).baseline(batch.x)


def make_objective(config: TrainConfig | ImageConfig, constant_loss: float) -> Objective | None:
    """What --objective names, None where the law is not learned; not that of the evidence."""
    if config.augment == "paper":
        return PublishedReward()
    if config.augment != "learned" or config.objective == "evidence":
        return None
    strength = DEFAULT_STRENGTH if config.law.strength is None else config.law.strength
    makers: dict[str, Callable[[], Objective]] = {
        "budget": lambda: LossBudget(constant_loss),
        "kl": lambda: DivergencePrice(strength),
        "norm": lambda: NormPrice(strength),
        "entropy": lambda: EntropyBand(*cast(LawConfig, config.law).band),
        "hypergradient": HyperGradient,
    }
    return makers[config.objective]()


def make_schedule(config: TrainConfig | ImageConfig, steps_per_epoch: int) -> Schedule:
    steps = config.steps if config.epochs is None else config.epochs * steps_per_epoch
    minutes = config.minutes if config.minutes is not None or steps is not None else DEFAULT_MINUTES
    return Schedule(steps, None if minutes is None else 60 * minutes, config.optim.warmup)


def budget_batches(split: Split, packed: Packed, seed: int) -> Callable[[int], list[Batch]]:
    """Measurement k: examples kept from weight updates, cycled through in a seeded order, small ones and large ones.

    Two batches by size, because padding all to the longest would cost twice as much.
    """
    rows = np.random.default_rng((seed, 0)).permutation(split.budget)
    size = min(BUDGET_BATCH, len(rows))

    def batches(k: int) -> list[Batch]:
        taken = torch.from_numpy(np.take(rows, range(k * size, (k + 1) * size), mode="wrap"))
        by_size = taken[packed.by_size(taken)]
        return [packed.batch(half) for half in by_size.chunk(2)]

    return batches


def start_from(augmented: Augmented, card: ModelCard, name: str) -> None:
    """Take the weights of a trained network of the same shape; where its targets are others, not those of the readout.

    Args:
        augmented: to be trained.
        card: of it.
        name: as `find_model` takes it.

    Raises:
        UserError: for another network, or one of another shape.
    """
    trained, other = load_model(find_model(name, RUNS))
    if (other.model, other.net) != (card.model, card.net):
        shapes = [", ".join(f"{k} {v}" for k, v in asdict(c.net).items()) for c in (other, card)]
        raise UserError(
            f"--init {name} is a {other.model} ({shapes[0]}), this run trains a {card.model} ({shapes[1]}); give the "
            "same --model and --net"
        )
    state = trained.model.state_dict()
    if other.targets != card.targets:
        state = {key: value for key, value in state.items() if "readout." not in key}
    augmented.model.load_state_dict(state, strict=other.targets == card.targets)


def make_module(config: TrainConfig, card: ModelCard, data: RunData) -> TrainingModule:
    """Everything that is trained, at its start."""
    augmented = make_augmented(config, card, data)
    if config.init is not None and config.resume is None:
        start_from(augmented, card, config.init)
    left = unexplained(augmented, data)
    train, epoch = (torch.from_numpy(rows) for rows in (data.train, data.epoch))
    loss = make_loss(left, data.targets, torch.searchsorted(train, epoch))
    best_constant = float(loss(left.nanmedian(0).values, left).mean())
    law = replace(config.law, every=1, lr=paper.LR) if config.augment == "paper" else config.law
    cost, evidence = loss, None  # what a law is judged by stays in spreads, whatever the noise
    witnesses: tuple[Batch, ...] = ()
    if config.objective == "evidence":
        if not torch.isfinite(left).all():
            raise UserError(
                "--objective evidence needs all labels of all molecules, and some are missing; give --data with all of "
                "them, or one --target"
            )
        likelihood = Gaussian(unit=spreads_of(left))
        learned = config.augment == "learned"
        evidence = BlockSearch(augmented.model, likelihood, len(data.train), config.evidence, learned)
        loss = likelihood.losses
        witnesses = (data.packed.batch(torch.from_numpy(evidence.rows(data.train, config.seed))),)
    objective = make_objective(config, best_constant)
    if evidence is not None and config.augment == "learned":
        blocks = random_blocks(data.train, data.packed, config.seed, config.evidence.block)
        objective, law = LawEvidence(evidence, blocks, cost, best_constant), at_its_pace(law, evidence)
    steps_per_epoch = -(-len(data.epoch) // config.optim.batch)
    schedule = make_schedule(config, steps_per_epoch)
    budget = budget_batches(data.split, data.packed, config.seed)
    metrics, seed = make_metrics(data.targets), config.seed
    return TrainingModule(
        augmented,
        objective,
        loss,
        metrics,
        budget,
        schedule,
        config.optim,
        law,
        seed,
        config.consistency,
        cost=cost,
        evidence=evidence,
        witnesses=witnesses,
    )
