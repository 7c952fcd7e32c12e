"""The parts of a run, made from its settings: data, card, network, loss, objective, schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from molaugerino import paper
from molaugerino.augment import Augmented
from molaugerino.config import DEFAULT_MINUTES, TrainConfig
from molaugerino.datasets import (
    Batch,
    MoleculeSet,
    PaddedData,
    Split,
    Target,
    World,
    channel_slices,
    in_frames,
    load_split,
    open_data,
    random_split,
)
from molaugerino.errors import UserError
from molaugerino.models import Scaling
from molaugerino.training.checkpoint import ModelCard, build
from molaugerino.training.folder import SPLITS
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
from molaugerino.training.schedule import Schedule

DEFAULT_STRENGTH = 0.01  # of the objectives kl and norm
BUDGET_BATCH = 64  # molecules per measurement of the loss budget


@dataclass(frozen=True)
class RunData:
    """What a run trains on.

    Attributes:
        loaded: the set at the training geometry, in the frames of the file.
        targets: what is predicted.
        padded: the set in the training frames.
        split: of the rows.
        undetermined: molecules whose principal frame their shape does not determine.
    """

    loaded: MoleculeSet
    targets: list[Target]
    padded: PaddedData
    split: Split
    undetermined: int


def open_run_data(config: TrainConfig, folder: Path | None = None) -> RunData:
    """Read, check, frame and split the molecules; a split already in the folder is kept."""
    loaded = open_data(config.data)
    loaded = loaded.with_geometry(config.geometry or ("given" if loaded.positions_mmff is None else "mmff"))
    turned, undetermined = in_frames(loaded, config.frames, config.split_seed)
    world = World(config.world, config.world_seed)
    turned = world.place(turned)
    targets = [turned.target(name) for name in dict.fromkeys(config.target or (world.label,))]
    padded = PaddedData(turned, targets)
    incomplete = int((~torch.isfinite(padded.y)).any(1).sum())
    if incomplete:
        wanted = ", ".join(t.name for t in targets)
        raise UserError(f"{incomplete} molecules of {loaded.name} lack a label of {wanted}; remove them")
    kept = folder / SPLITS if folder is not None else None
    split = load_split(kept, len(loaded)) if kept and kept.exists() else random_split(len(loaded), config.split_seed)
    return RunData(loaded, targets, padded, split, int(undetermined.sum()))


def make_card(config: TrainConfig, data: RunData) -> ModelCard:
    """What the model will be, but for the law it has yet to find."""
    train = data.split.train
    seen = np.isin(data.loaded.owner, train)
    return ModelCard(
        targets=data.targets,
        model=config.model,
        net=config.net,
        augment=config.augment,
        law={},
        family=config.law.family,
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
        split_sha256=data.split.checksum,
        world=config.world,
        world_seed=config.world_seed,
        train_mean=data.padded.y[train].double().mean(0).tolist(),
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
    train = data.padded.batch(torch.from_numpy(data.split.train))
    readout_of(augmented).fit_scale(train.x, train.y)
    return augmented


def readout_of(augmented: Augmented) -> Scaling:
    """The part of the network that knows units."""
    return cast(Scaling, augmented.model.readout)


@torch.no_grad()
def unexplained(augmented: Augmented, data: RunData) -> Tensor:
    """Training labels minus what is known before the network is asked, (molecules, channels)."""
    batch = data.padded.batch(torch.from_numpy(data.split.train))
    return batch.y - readout_of(augmented).baseline(batch.x)


def make_loss(spread: Tensor, targets: list[Target]) -> Callable[[Tensor, Tensor], Tensor]:
    """Mean absolute error over the channels' spread, every target with the same weight, (examples,)."""
    share = torch.cat([torch.full((t.channels,), 1 / (t.channels * len(targets))) for t in targets])
    weight = share / spread.clamp_min(1e-8)

    def loss(prediction: Tensor, label: Tensor) -> Tensor:
        return (prediction - label).abs() @ weight.to(label)

    return loss


def make_metrics(targets: list[Target]) -> Callable[[Tensor, Tensor], dict[str, Tensor]]:
    """Absolute errors per target in its unit, (examples,) each."""
    slices = channel_slices(targets)

    def metrics(prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        errors = (prediction - label).abs()
        return {f"mae/{t.name}[{t.unit}]": errors[:, s].mean(1) for t, s in zip(targets, slices, strict=True)}

    return metrics


def make_objective(config: TrainConfig, constant_loss: float) -> Objective | None:
    """What --objective names, None where the law is not learned."""
    if config.augment == "paper":
        return PublishedReward()
    if config.augment != "learned":
        return None
    strength = DEFAULT_STRENGTH if config.law.strength is None else config.law.strength
    makers: dict[str, Callable[[], Objective]] = {
        "budget": lambda: LossBudget(constant_loss),
        "kl": lambda: DivergencePrice(strength),
        "norm": lambda: NormPrice(strength),
        "entropy": lambda: EntropyBand(*config.law.band),
        "hypergradient": HyperGradient,
    }
    return makers[config.objective]()


def make_schedule(config: TrainConfig, steps_per_epoch: int) -> Schedule:
    steps = config.steps if config.epochs is None else config.epochs * steps_per_epoch
    minutes = config.minutes if config.minutes is not None or steps is not None else DEFAULT_MINUTES
    return Schedule(steps, None if minutes is None else 60 * minutes, config.optim.warmup)


def budget_batches(data: RunData, seed: int) -> Callable[[int], list[Batch]]:
    """Measurement k: molecules kept from weight updates, cycled through in a seeded order, small ones and large ones.

    Two batches by size, because padding all to the longest would cost twice as much.
    """
    rows = np.random.default_rng((seed, 0)).permutation(data.split.budget)
    size = min(BUDGET_BATCH, len(rows))

    def batches(k: int) -> list[Batch]:
        taken = torch.from_numpy(np.take(rows, range(k * size, (k + 1) * size), mode="wrap"))
        by_size = taken[data.padded.num_atoms[taken].argsort(stable=True)]
        return [data.padded.batch(half) for half in by_size.chunk(2)]

    return batches


def make_module(config: TrainConfig, card: ModelCard, data: RunData) -> TrainingModule:
    """Everything that is trained, at its start."""
    augmented = make_augmented(config, card, data)
    left = unexplained(augmented, data)
    loss = make_loss(left.std(0), data.targets)
    best_constant = float(loss(left.median(0).values, left).mean())
    objective = make_objective(config, best_constant)
    law = replace(config.law, every=1, lr=paper.LR) if config.augment == "paper" else config.law
    steps_per_epoch = -(-len(data.split.train) // config.optim.batch)
    schedule = make_schedule(config, steps_per_epoch)
    budget = budget_batches(data, config.seed)
    metrics, seed = make_metrics(data.targets), config.seed
    return TrainingModule(
        augmented, objective, loss, metrics, budget, schedule, config.optim, law, seed, config.consistency
    )
