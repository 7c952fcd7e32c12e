"""Which transformations of images a trained model's task allows, judged as for molecules."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor

from molaugerino import symmetry
from molaugerino.augment import Augmented
from molaugerino.discover import COPIES, MOLECULES, Discovery, Finding, Kind, judged
from molaugerino.distributions import GroupDistribution
from molaugerino.errors import UserError
from molaugerino.tasks import Loss, PackedImages, forced_law, image_law
from molaugerino.training.image_models import measures_of
from molaugerino.training.image_scores import BATCH, OpenRun
from molaugerino.training.objective import LossBudget


def discover_images(run: OpenRun, images: int = MOLECULES) -> Discovery:
    """Judge every part of a learned law on test images, by the rules of `discover`.

    Args:
        run: with --augment learned, as `open_run` gives it.
        images: how many test images to use.

    Raises:
        UserError: for a run without a learned law, or too few images.
    """
    augmented, card, found = run.augmented, run.card, run.data
    if card.augment != "learned":
        raise UserError(
            f"{run.folder} was trained with --augment {card.augment}; discover reads a law that was learned"
        )
    if images < 2:
        raise UserError(f"`images` must be at least 2, got {images}")
    rows = np.sort(np.random.default_rng(0).permutation(found.split.test)[:images])
    packed = found.packed
    measures = measures_of(card, packed.y[torch.from_numpy(found.split.train)])
    level = each_loss(augmented, packed, rows, None, measures.cost)[0]
    identity = float(level.mean())
    allowed = max(LossBudget.RISE_OF_IDENTITY * identity, LossBudget.RISE_OF_CONSTANT * measures.constant)
    first = image_law(card.kind, card.start).describe()
    findings = []
    for part, (line, before) in enumerate(zip(augmented.distribution.describe(), first, strict=True)):
        forced, moved = each_loss(augmented, packed, rows, forced_law(card.kind, part), measures.cost)
        rise = forced - level
        error, response = float(rise.std()) / math.sqrt(len(rise)), float(moved.mean())
        evidence = (float(rise.mean()), error, response)
        verdict, reason = judged(line.nats, *evidence, identity, measures.constant, allowed)
        axis = {"tx": (1.0, 0.0), "ty": (0.0, 1.0)}.get(line.axes[0])
        kind = cast(Kind, line.quantity.split()[0])
        numbers = (line.width, line.unit, line.nats, before.nats - line.nats, *evidence)
        findings.append(Finding(kind, axis, *numbers, verdict, reason))
    return Discovery(str(run.folder), [card.task], identity, measures.constant, allowed, len(rows), findings)


@torch.no_grad()
def each_loss(
    augmented: Augmented, packed: PackedImages, rows: np.ndarray, law: GroupDistribution | None, loss: Loss
) -> tuple[Tensor, Tensor]:
    """(images,) losses under a law, the mean of a few draws, and how far predictions move: by how much the loss
    against what the network says at the identity is above its own there.

    Args:
        augmented: network, and its actions.
        packed: images and labels.
        rows: of them.
        law: None is the identity.
        loss: (prediction, label) -> (images,).
    """
    generator = torch.Generator().manual_seed(symmetry.SEED)
    losses, moved = [], []
    for batch in packed.batches(rows, BATCH // COPIES):
        plain = augmented.each(batch.x, augmented.identity())[0]
        each = plain.unsqueeze(0)
        if law is not None:
            each = augmented.each(batch.x, law.sample((COPIES, len(batch.y)), generator))
        said = plain if batch.y.is_floating_point() else plain.argmax(1)
        losses.append(torch.stack([loss(p, batch.y) for p in each]).mean(0))
        moved.append(torch.stack([loss(p, said) for p in each]).mean(0) - loss(plain, said))
    return torch.cat(losses), torch.cat(moved)
