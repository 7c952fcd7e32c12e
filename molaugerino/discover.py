"""Which transformations a trained model's label allows: kept, broken or undecided, each with its evidence."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from molaugerino import symmetry
from molaugerino.augment import Augmented
from molaugerino.datasets import Batch, PackedData, World, in_frames, labels_of
from molaugerino.distributions import GroupDistribution, HaarBall, TranslationBall, reflection
from molaugerino.errors import UserError
from molaugerino.groups import SO3, T3, Affine
from molaugerino.training.checkpoint import ModelCard, build, load_model
from molaugerino.training.evaluation import TEST_FRAMES_SEED
from molaugerino.training.folder import molecules_to_test
from molaugerino.training.losses import make_loss
from molaugerino.training.objective import LossBudget
from molaugerino.training.setup import readout_of

Verdict = Literal["kept", "broken", "undecided"]
Kind = Literal["rotation", "translation", "reflection", "scale", "squeeze", "shear", "hue"]
MOLECULES = 1000
BATCH = 128
COPIES = 4  # forced transformations per molecule
WIDE = 0.2  # nats to the widest law below which a generator counts as free
ALIKE = 1.2  # ratio of the largest to the smallest extent below which the axes cannot be told apart
LEARNED = 0.3  # of the constant's loss: above, what is not learned yet may well break what seems kept
NOTICED = 0.5  # of the response to a transformation: above, the network does not know what it breaks
UNITS = {"rotation": "degree", "translation": "angstrom", "reflection": "probability"}


@dataclass(frozen=True)
class Finding:
    """One generator, or all of a kind where the law treats them alike.

    Attributes:
        kind: rotation, translation or reflection; of images also scale, squeeze, shear and hue.
        axis: unit vector of a single generator, None for all of the kind.
        extent: root mean square along it in `unit` (the probability of a reflection).
        nats: of this generator's law to its widest.
        gained: nats won since the start of the training.
        rise: change of the loss when the transformation is forced to its widest, and its standard error.
        response: how far the prediction itself moves then, in the same unit of loss.
        verdict: kept, broken or undecided.
        reason: in words.
    """

    kind: Kind
    axis: tuple[float, ...] | None
    extent: float
    unit: str
    nats: float
    gained: float
    rise: float
    rise_error: float
    response: float
    verdict: Verdict
    reason: str

    @property
    def name(self) -> str:
        if self.kind == "reflection":
            return "reflection"
        if self.axis is not None and len(self.axis) == 2:
            return f"{self.kind} along {'xy'[self.axis.index(1.0)]}"
        if self.axis is None:
            return f"all {self.kind}s"
        preposition = "about" if self.kind == "rotation" else "along"
        return f"{self.kind} {preposition} ({', '.join(f'{v:.2f}' for v in self.axis)})"


@dataclass(frozen=True)
class Discovery:
    """What `discover` found.

    Attributes:
        run: folder of the model.
        targets: what it predicts.
        identity_loss: mean absolute error over the labels' spread, untransformed, on test molecules.
        constant_loss: that of the best constant.
        allowed: rise of the loss that the budget allows.
        molecules: how many were tested; of a model of images, so many images.
        findings: one per generator.
    """

    run: str
    targets: list[str]
    identity_loss: float
    constant_loss: float
    allowed: float
    molecules: int
    findings: list[Finding]

    def to_json(self) -> str:
        findings = [{"name": f.name, **asdict(f)} for f in self.findings]
        return json.dumps(asdict(self) | {"findings": findings}, indent=1, allow_nan=False)

    def picture(self, path: str | Path) -> None:
        """Two bars per generator: how far the law reaches, and what forcing it costs."""
        from matplotlib.figure import Figure

        colours = {"kept": "tab:green", "broken": "tab:red", "undecided": "tab:grey"}
        names = [f.name for f in self.findings]
        shades = [colours[f.verdict] for f in self.findings]
        figure = Figure(figsize=(10, 1.4 + 0.42 * len(names)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        left.barh(names, [math.exp(-f.nats) for f in self.findings], color=shades)
        left.set(xlim=(0, 1.05), xlabel="share of the widest law, exp(-nats)")
        left.invert_yaxis()
        rises = [max(f.rise, 1e-4) for f in self.findings]
        right.barh(names, rises, xerr=[f.rise_error for f in self.findings], color=shades)
        right.axvline(self.allowed, color="black", linewidth=0.8, linestyle=":")
        right.set(xscale="log", xlim=(1e-4, 10), xlabel="rise of the loss when forced (dotted: allowed)")
        for k, finding in enumerate(self.findings):
            left.text(1.04, k, finding.verdict, ha="right", va="center", fontsize=9)
        figure.suptitle(f"{', '.join(self.targets)}: loss {self.identity_loss:.3g}, constant {self.constant_loss:.3g}")
        figure.savefig(path, dpi=130)


def discover(
    run: str | Path, data: Sequence[str] = (), molecules: int = MOLECULES, method: Sequence[str] = ()
) -> Discovery:
    """Judge every generator of a learned law on test molecules.

    A generator is *kept* where the law is within 0.2 nat of its widest, forcing it costs no more than the loss budget
    allows, and the network has learned the label: loss at the identity below 0.3 of the constant's. It is *broken*
    where the law stays narrow, forcing it costs more, and the network's own response to it is more than twice the loss
    at the identity, so the network knows the dependence and the law has met it. Otherwise the data do not tell.

    Args:
        run: folder of a run with --augment learned.
        data: other data sets to test on, joined; none takes the test molecules of the run.
        molecules: how many test molecules to use.
        method: levels of theory of the labels of `data`.

    Raises:
        UserError: for a run without a learned law of rigid motions.
    """
    folder = Path(run)
    augmented, card = load_model(folder)
    if card.augment != "learned":
        raise UserError(
            f"{folder} was trained with --augment {card.augment}, and discover reads a law of rigid motions that was "
            "learned; train with --augment learned --law.family gaussian"
        )
    if card.conditional:
        raise UserError(
            f"the law of {folder} depends on the molecule, so no axis is its own; train without --law.conditional"
        )
    if molecules < 2:
        raise UserError(f"`molecules` must be at least 2, got {molecules}")
    loaded, rows = molecules_to_test(folder, card, data, method)
    known = np.isin(loaded.atomic_numbers, card.elements)
    rows = np.setdiff1d(rows, loaded.owner[~known])
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:molecules])
    turned, _ = in_frames(loaded, card.frames, TEST_FRAMES_SEED)
    packed = PackedData(World(card.world, card.world_seed).place(turned), card.targets)
    rows = rows[torch.isfinite(packed.y[rows]).any(1).numpy()]
    if len(rows) < 2:
        raise UserError(f"{loaded.name} has fewer than two labelled molecules to test on")
    return _Trial(augmented, card, packed, rows).run(str(folder))


class _Trial:
    """Paired losses of one model on the same molecules, as they stand and transformed."""

    def __init__(self, augmented: Augmented, card: ModelCard, data: PackedData, rows: np.ndarray) -> None:
        self.augmented, self.card = augmented, card
        self.batches: list[Batch] = list(data.batches(rows[data.by_size(rows).numpy()], BATCH))
        self.count = len(rows)
        readout = readout_of(augmented)
        with torch.no_grad():
            left = torch.cat([b.y - readout.baseline(b.x) for b in self.batches])
            self.loss = make_loss(left, card.targets, torch.arange(len(left)))
            self.constant = float(self.loss(left.nanmedian(0).values, left).mean())
            self.plain = [augmented(b.x, augmented.identity()) for b in self.batches]
            self.identity = torch.cat([self.loss(p, b.y) for p, b in zip(self.plain, self.batches, strict=True)])

    def run(self, name: str) -> Discovery:
        level = float(self.identity.mean())
        allowed = max(LossBudget.RISE_OF_IDENTITY * level, LossBudget.RISE_OF_CONSTANT * self.constant)
        start = self.card.start
        law, first = self.augmented.distribution, build(self.card, *start).distribution
        widest = build(self.card, math.pi, self.card.translation_cap, 0.5).distribution
        findings = []
        kinds: tuple[Kind, ...] = ("rotation", "translation", "reflection")
        for kind in kinds if self.card.mirror else kinds[:2]:
            for axis, extent in _generators(law, kind):
                nats, before = _nats(law, widest, kind, axis), _nats(first, widest, kind, axis)
                rise, error, response = self.force(kind, axis)
                verdict, reason = judged(nats, rise, error, response, level, self.constant, allowed)
                shown = None if axis is None else tuple(axis.tolist())
                evidence = (nats, before - nats, rise, error, response, verdict, reason)
                findings.append(Finding(kind, shown, extent, UNITS[kind], *evidence))
        targets = labels_of(self.card.targets)
        return Discovery(name, targets, level, self.constant, allowed, self.count, findings)

    @torch.no_grad()
    def force(self, kind: Kind, axis: Tensor | None) -> tuple[float, float, float]:
        """Rise of the loss under a generator's widest law, its error over molecules, how far the prediction moves."""
        generator = torch.Generator().manual_seed(symmetry.SEED)
        rises, moves, place = [], [], 0
        for batch, plain in zip(self.batches, self.plain, strict=True):
            n = len(batch.y)
            g = _forced(kind, axis, self.card.translation_cap, (COPIES, n), generator)
            each = self.augmented.each(batch.x, g)
            identity = self.identity[place : place + n]
            rises.append(torch.stack([self.loss(p, batch.y) for p in each]).mean(0) - identity)
            moves.append(torch.stack([self.loss(p, plain) for p in each]).mean(0))
            place += n
        rise = torch.cat(rises)
        return float(rise.mean()), float(rise.std()) / math.sqrt(len(rise)), float(torch.cat(moves).mean())


def judged(
    nats: float, rise: float, error: float, response: float, level: float, constant: float, allowed: float
) -> tuple[Verdict, str]:
    """The verdict on a generator, and the reason.

    Args:
        nats: of its law to the widest.
        rise: of the loss when it is forced to its widest, with its standard error.
        error: see `rise`.
        response: how far the prediction moves then.
        level: loss at the identity.
        constant: loss of the best constant.
        allowed: rise that the loss budget allows.
    """
    if not all(map(math.isfinite, (nats, rise, error, response, level))):
        return "undecided", "too few labelled molecules to test on; give more with --data"
    costs = f"forcing it costs {rise:.2g} +- {error:.1g}, {allowed:.2g} allowed"
    if nats <= WIDE:
        if level > LEARNED * constant:
            return "undecided", "the law is free here, but the network has not learned the label well enough to tell"
        if rise - 2 * error > allowed:
            return "undecided", f"the law is free here, yet {costs}"
        return "kept", f"the law is {nats:.2g} nats from its widest, and {costs}"
    if rise - 2 * error <= allowed:
        return "undecided", f"the law stayed narrow ({nats:.2g} nats), yet {costs}: train longer"
    if level > NOTICED * response:
        return "undecided", f"{costs}, but the network's loss {level:.2g} is not below half its response {response:.2g}"
    return "broken", f"the law stayed {nats:.2g} nats from its widest, and {costs}"


def _vectors(law: GroupDistribution, kind: Kind) -> Tensor:
    g = symmetry.draws(law)
    return symmetry.rotation_vectors(g) if kind == "rotation" else g.shift


def _generators(law: GroupDistribution, kind: Kind) -> list[tuple[Tensor | None, float]]:
    """Principal axes with their extents, widest first; None where the axes cannot be told apart."""
    if kind == "reflection":
        flipped = torch.linalg.det(symmetry.draws(law).linear) < 0
        return [(None, float(flipped.double().mean()))]
    unit = 180 / math.pi if kind == "rotation" else 1.0
    spreads, axes = symmetry.principal_axes(_vectors(law, kind))
    if float(spreads[0]) <= ALIKE * float(spreads[-1]):
        return [(None, unit * float(spreads.square().sum().sqrt()))]
    pointed = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()  # largest component positive
    return [(axis, unit * float(spread)) for axis, spread in zip(pointed, spreads, strict=True)]


def _nats(law: GroupDistribution, widest: GroupDistribution, kind: Kind, axis: Tensor | None) -> float:
    """Of a generator's law to its widest."""
    if kind == "reflection" or axis is None:
        parts = {"rotation": ("rotation", "twist", "swing")}.get(kind, (kind,))
        return sum(line.nats for line in law.describe() if line.quantity.split()[0] in parts)
    if kind == "rotation":
        return symmetry.nats_to_circle(symmetry.spin(symmetry.draws(law), axis))
    ratio = (_vectors(law, kind) @ axis).square().mean() / (_vectors(widest, kind) @ axis).square().mean()
    return max(-0.5 * math.log(max(float(ratio), 1e-12)), 0.0)


def _forced(kind: Kind, axis: Tensor | None, cap: float, shape: tuple[int, ...], generator: torch.Generator) -> Affine:
    """Draws of the widest law of a generator: any angle, any shift up to the cap, or always the inversion."""
    if kind == "reflection":
        return reflection(1.0).sample(shape, generator)
    if axis is None:
        law = HaarBall(SO3, math.pi) if kind == "rotation" else TranslationBall(cap, cap)
        return law.sample(shape, generator).detach()
    along = (2 * torch.rand(*shape, 1, generator=generator) - 1) * axis.float()
    return SO3.exp(math.pi * along) if kind == "rotation" else T3.exp(cap * along)
