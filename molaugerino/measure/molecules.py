"""Models of molecules, measured under rotations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from molaugerino.augment import Augmented
from molaugerino.datasets import MoleculeSet, PackedData, World, channel_slices, in_frames, labels_of
from molaugerino.distributions import HaarBall
from molaugerino.equivariance import MoleculeView, absolute, drawn, frame_test, squared
from molaugerino.equivariance.frames import LEAST
from molaugerino.errors import UserError
from molaugerino.groups import SE3, SO3, Affine
from molaugerino.measure.report import EXAMPLES, SQUARED, Measurement, Share, verdict
from molaugerino.measure.subject import (
    AT_ONCE,
    SEED,
    Nodes,
    Output,
    Subject,
    batch_size,
    curves,
    layer_scores,
    lie_rates,
    like,
    loss_shares,
    worst_cases,
)
from molaugerino.quadrature import AveragingSet, cube, lebedev, power
from molaugerino.training.checkpoint import ModelCard, load_model
from molaugerino.training.evaluation import TEST_FRAMES_SEED
from molaugerino.training.evidence import load_evidence
from molaugerino.training.folder import molecules_to_test

TURNS = 2  # random rotations of every molecule, for the layers
POINTS = 7  # of the curve
EXACT, SHOWN = 8, 4  # degree of the rule for the powers, largest degree shown
TURNING = ("none", "pseudoscalar")  # worlds whose labels rotations leave alone, as far as it is known
POWERED = 16  # molecules


def measure_molecules(
    folder: Path, data: Sequence[str] = (), examples: int = EXAMPLES, layers: Sequence[str] = ()
) -> Measurement:
    """How much a model of molecules depends on orientation; see `measure`."""
    augmented, card = load_model(folder)
    subject, loaded = subject_of(augmented, card, folder, data, examples)
    scores, left_out = layer_scores(subject, drawn(HaarBall(SO3, math.pi), TURNS), tuple(layers))
    turning = replace(subject, group=SO3())  # sizes of rotations alone
    shares = loss_shares(subject)
    return Measurement(
        run=str(folder),
        network=card.model,
        augment=card.augment,
        examples=len(subject.names),
        transformations="rotations about the origin, all alike",
        layers=scores,
        layer_transformations=f"{TURNS} random rotations of every molecule",
        paths=evidence.shares() if (evidence := load_evidence(folder)) else {},
        unmeasured=left_out,
        lie_derivative=lie_rates(subject),
        loss_share=shares,
        sizes=[math.degrees(size) for size in subject.sizes.tolist()],
        size_unit="degree",
        angle_curve=curves(turning),
        worst_angle=worst_cases(turning),
        power=powers(subject),
        frames=frame_test(loaded) if len(loaded) >= LEAST else None,
        verdict=verdicts(subject, card, shares),
    )


def subject_of(
    augmented: Augmented, card: ModelCard, folder: Path, data: Sequence[str], examples: int
) -> tuple[Subject, MoleculeSet]:
    """The model with random test molecules of elements it knows, and the set that these are of."""
    loaded, rows = molecules_to_test(folder, card, data)
    rows = np.setdiff1d(rows, loaded.owner[~np.isin(loaded.atomic_numbers, card.elements)])
    turned, _ = in_frames(loaded, card.frames, TEST_FRAMES_SEED)
    packed = PackedData(World(card.world, card.world_seed).place(turned), card.targets)
    rows = rows[torch.isfinite(packed.y[torch.from_numpy(rows)]).any(1).numpy()]
    rows = np.random.default_rng(SEED).permutation(rows)[:examples]
    if len(rows) < 2:
        raise UserError(f"{loaded.name} has fewer than two labelled molecules to measure on; give more with --data")
    augmented.at_once = AT_ONCE
    averaged = card.augment in ("fixed", "learned") and card.eval_copies > 1 and not card.conditional
    subject = Subject(
        augmented=augmented,
        own=augmented.evaluation_elements(card.eval_copies) if averaged else None,
        batches=list(packed.batches(rows, batch_size(len(rows)))),
        names=[str(one) for one in loaded.id[rows]],
        outputs=outputs_of(card),
        view=MoleculeView(),
        group=SE3(),
        length="angstrom",
        widest=HaarBall(SO3, math.pi),
        nodes={False: randomised(cube()), True: randomised(tetrahedron())} if card.world in TURNING else None,
        sizes=torch.linspace(0, math.pi, POINTS),
    )
    return subject, loaded


def outputs_of(card: ModelCard) -> list[Output]:
    """One per target; distances of vectors are those of their ends."""

    def output(name: str, unit: str, channels: slice) -> Output:
        def length(difference: Tensor) -> Tensor:
            return torch.linalg.vector_norm(difference, dim=-1)

        return Output(
            name=name,
            unit=unit,
            pick=lambda values: values[..., channels],
            distance=lambda values, reference: length(values - reference),
            losses=[("absolute error", unit, absolute), (SQUARED, f"{unit}^2", squared)],
            rate=lambda _values, rates, _y: length(rates),
        )

    labels = labels_of(card.targets)
    parts = zip(labels, card.targets, channel_slices(card.targets), strict=True)
    return [output(label, target.unit, channels) for label, target, channels in parts]


def tetrahedron() -> AveragingSet:
    """The 12 of the rotations of the cube that keep a tetrahedron: their average leaves nothing of degree 1 and 2."""
    whole = cube()
    kept = whole.elements[torch.linalg.det(whole.elements.linear.abs()) > 0]  # even permutations of the axes
    return AveragingSet("tetrahedron", kept, torch.full(kept.batch_shape, 1 / kept.batch_shape[0]))


def randomised(rule: AveragingSet) -> Nodes:
    """V g_k U, g_k of a rule, U and V random rotations of each example's own.

    The mean over the nodes of whatever depends on orientation is without bias. What it leaves of a spread is that of
    degrees which the rule does not resolve, and of these 1 - 1 / (2 l + 1), since V and U are random.
    """

    def nodes(examples: int, generator: torch.Generator) -> tuple[Affine, Tensor]:
        turns = HaarBall(SO3, math.pi).sample((2, examples), generator).detach()
        elements = rule.to(turns.shift).elements.unsqueeze(1)
        return turns[0].unsqueeze(0) @ elements @ turns[1].unsqueeze(0), rule.weights

    return nodes


def verdicts(subject: Subject, card: ModelCard, shares: list[Share]) -> list[str]:
    """One sentence per output, and what was left out."""
    if subject.nodes is None:
        told = [f"labels of the world {card.world} turn with the molecule: no error is due to orientation alone"]
    else:
        told = [verdict(shares, output.name, "orientation") for output in subject.outputs]
    if card.conditional:
        told.append("the law depends on the molecule, so single passes were measured, not averages over it")
    return told


@torch.no_grad()
def powers(subject: Subject) -> dict[str, list[float]]:
    """P_l / sum_l P_l, l = 1, 2, ..., of one pass as a function of the rotation, over the first molecules."""
    rule = lebedev(EXACT).to(like(subject))
    values: list[Tensor] = []
    for batch in subject.batches:
        if sum(v.shape[1] for v in values) >= POWERED:
            break
        values.append(subject.answers(batch.x, rule.elements.unsqueeze(1), None))
    each = torch.cat(values, 1).double()
    found = {}
    for output in subject.outputs:
        spread = output.pick(each)
        turning = rule.to(spread).mean((spread - rule.to(spread).mean(spread)).square()).sum()
        parts = power(spread, rule.to(spread), SHOWN)[1:].flatten(1).sum(1)
        size = output.pick(each).square().mean()
        found[output.name] = (parts / turning).tolist() if float(turning) > 1e-12 * float(size) else []
    return found
