"""What is measured: a model with its examples, and the measurements that images and molecules share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.augment import Augmented
from molaugerino.datasets import Batch
from molaugerino.distributions import GroupDistribution
from molaugerino.equivariance import (
    SpatialCorrelation,
    curve,
    layer_correlations,
    layer_lie_derivatives,
    lie_derivatives,
    row_losses,
    shared,
    worst,
)
from molaugerino.equivariance.correlation import BLOCKS
from molaugerino.equivariance.layerwise import Draw
from molaugerino.equivariance.views import View
from molaugerino.groups import Affine, Group
from molaugerino.measure.report import Curve, LayerScores, Rate, Share, WorstCase
from molaugerino.tasks import Loss

SEED = 20230406
AT_ONCE = 256  # passes
SEARCHED = 16  # examples that are searched for their worst

Found = TypeVar("Found", Share, Curve)
Nodes = Callable[[int, torch.Generator], tuple[Affine, Tensor]]  # examples -> elements (n, examples), weights (n,)


@dataclass(frozen=True)
class Output:
    """One of the answers of a model.

    Attributes:
        name: of the target or task.
        unit: of `distance`.
        pick: (..., rows, channels) answers -> those of this output.
        distance: (answers, reference) -> (rows,) how far they are apart.
        losses: name, unit and loss of each that is shared out.
        rate: (answers (rows, ...), Lie derivatives (generators, rows, ...), labels) -> (generators, rows) sizes.
    """

    name: str
    unit: str
    pick: Callable[[Tensor], Tensor]
    distance: Callable[[Tensor, Tensor], Tensor]
    losses: list[tuple[str, str, Loss]]
    rate: Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Subject:
    """A model and what it is measured on.

    Attributes:
        augmented: network, actions and law.
        own: elements that predictions are averaged over beside single passes; None where they are not.
        batches: the examples, each batch a block of the intervals.
        names: of the examples, in the order of the batches.
        outputs: what is looked at.
        view: of the layers.
        group: in whose coordinates transformations are sized.
        length: unit of its translations.
        widest: law of the transformations that are looked at, whose worst is searched.
        nodes: of the loss share, for single passes and for averaged ones; None where no transformation leaves the
            labels alone.
        sizes: of the curve, in the coordinates.
    """

    augmented: Augmented
    own: Affine | None
    batches: list[Batch]
    names: list[str]
    outputs: list[Output]
    view: View
    group: Group
    length: str
    widest: GroupDistribution
    nodes: dict[bool, Nodes] | None
    sizes: Float[Tensor, " sizes"]

    @property
    def variants(self) -> list[Affine | None]:
        return [None] if self.own is None else [None, self.own]

    def answers(self, x: Any, g: Affine, own: Affine | None) -> Tensor:
        """(n, rows, ...) rho_out(g)^-1 h(rho_in(g) x) at g (n, 1 or examples), h one pass or the average over `own`."""
        if own is None:
            return self.augmented.each(x, g)
        [copies] = own.batch_shape
        n, examples = g.batch_shape
        every = own.reshape(copies, 1, 1) @ g.unsqueeze(0)
        values = self.augmented.each(x, every.reshape(copies * n, examples))
        rows = values.reshape(copies, -1, *values.shape[2:])
        return self.augmented.reduce(rows).reshape(n, -1, *values.shape[2:])

    def plain(self, x: Any, own: Affine | None) -> Tensor:
        """(rows, ...) h(x), untransformed."""
        return self.answers(x, self.augmented.identity().unsqueeze(1), own)[0]


def batch_size(examples: int) -> int:
    """As many batches as the intervals have blocks, of four examples at least: one needs others that are unrelated."""
    return max(-(-examples // BLOCKS), 4)


def passes(own: Affine | None) -> int:
    return 1 if own is None else own.batch_shape[0]


@torch.no_grad()
def loss_shares(subject: Subject) -> list[Share]:
    """Of every output and loss, from one pass and averaged."""
    if subject.nodes is None:
        return []
    found: list[Share] = []
    for own in subject.variants:
        generator = torch.Generator().manual_seed(SEED)
        rows: dict[tuple[str, str, str], list[tuple[Tensor, Tensor]]] = {}
        for batch in subject.batches:
            g, weights = subject.nodes[own is not None](subject.augmented.input.count(batch.x), generator)
            each = subject.answers(batch.x, g.to(like(subject)), own)
            reduce = subject.augmented.reduce if bool((weights == weights[0]).all()) else None
            w = None if reduce is not None else weights
            for output in subject.outputs:
                y = output.pick(batch.y)
                for name, unit, loss in output.losses:
                    parts = row_losses(output.pick(each), y, loss, w, reduce)
                    rows.setdefault((output.name, name, unit), []).append(parts)
        for (name, loss_name, unit), every in rows.items():
            single, averaged = (torch.cat(side) for side in zip(*every, strict=True))
            if not len(single):
                continue  # a target that none of these examples has
            found.append(Share(name, loss_name, unit, passes(own), shared(single, averaged)))
    return in_order(subject, found)


@torch.no_grad()
def curves(subject: Subject) -> list[Curve]:
    """Mean distance from the answer to the untransformed input, by size."""
    found = []
    for own in subject.variants:
        parts = []
        for k, batch in enumerate(subject.batches):
            away = distances(subject, subject.outputs, batch, own, subject.plain(batch.x, own))
            rows = subject.augmented.input.count(batch.x)
            every = curve(away, subject.group, subject.sizes, rows, SEED + k)
            parts.append(every.reshape(len(every), len(subject.outputs), rows))
        for output, every in zip(subject.outputs, torch.cat(parts, 2).unbind(1), strict=True):
            error = every.std(1) / every.shape[1] ** 0.5
            found.append(Curve(output.name, output.unit, passes(own), every.mean(1).tolist(), error.tolist()))
    return in_order(subject, found)


def distances(
    subject: Subject, outputs: Sequence[Output], batch: Batch, own: Affine | None, reference: Tensor
) -> Callable[[Affine], Tensor]:
    """Elements (n, examples) -> (n, outputs * examples) distances of the answers from the reference."""

    def away(g: Affine) -> Tensor:
        each = subject.answers(batch.x, g.to(like(subject)), own)
        found = [[o.distance(o.pick(one), o.pick(reference)) for o in outputs] for one in each]
        return torch.stack([torch.cat(one) for one in found]).double()

    return away


def in_order(subject: Subject, found: list[Found]) -> list[Found]:
    """By output, as the model has them."""
    order = [output.name for output in subject.outputs]
    return sorted(found, key=lambda each: order.index(each.output))


@torch.no_grad()
def worst_cases(subject: Subject) -> list[WorstCase]:
    """Of the first examples, by local search; the distance is that from the answer to the untransformed input."""
    found = []
    for output in subject.outputs:
        for own in subject.variants:
            values: list[Tensor] = []
            for k, batch in enumerate(subject.batches):
                if sum(map(len, values)) >= SEARCHED:
                    break
                rows = subject.augmented.input.count(batch.x)
                away = distances(subject, [output], batch, own, subject.plain(batch.x, own))
                values.append(worst(away, subject.widest, rows, seed=SEED + k).deviation)
            every = torch.cat(values)
            top = int(every.argmax())
            numbers = (float(every.mean()), float(every[top]), subject.names[top], len(every))
            found.append(WorstCase(output.name, output.unit, passes(own), *numbers))
    return found


def lie_rates(subject: Subject) -> list[Rate]:
    """Of a single pass, per output and coordinate."""
    squares: dict[str, list[Tensor]] = {}
    augmented = subject.augmented
    for batch in subject.batches:
        found = lie_derivatives(augmented.model, batch.x, subject.view, subject.group, augmented.output)
        with torch.no_grad():
            plain = augmented.each(batch.x, augmented.identity())[0]
        for output in subject.outputs:
            size = output.rate(output.pick(plain), output.pick(found), output.pick(batch.y))
            squares.setdefault(output.name, []).append(size.double().square())
    rates = []
    for output in subject.outputs:
        every = torch.cat(squares[output.name], 1)
        for axis, square in zip(subject.group.axes, every, strict=True):
            rms = float(square.mean().sqrt())
            error = float(square.std()) / len(square) ** 0.5 / (2 * rms) if rms > 0 else 0.0
            rates.append(Rate(output.name, axis, output.unit, coordinate_unit(axis, subject.length), rms, error))
    return rates


def coordinate_unit(axis: str, length: str) -> str:
    """Of an algebra coordinate, by the first letter of its name."""
    return {"r": "rad", "h": "rad", "t": length}.get(axis[0], "")


def layer_scores(
    subject: Subject, transforms: list[Draw], layers: tuple[str, ...], lie: bool = True
) -> tuple[list[LayerScores], list[str]]:
    """Correlation scores and Lie derivatives of a single pass, by layer; and the layers left out."""
    model, inputs = subject.augmented.model, [batch.x for batch in subject.batches]
    metrics, left_out = layer_correlations(model, inputs, subject.view, transforms, layers)
    rates = layer_lie_derivatives(model, inputs, subject.view, subject.group, layers) if lie else {}
    found = []
    for name, metric in metrics.items():
        scores = {key: float(value) for key, value in metric.compute().items()}
        intervals = metric.intervals()
        known = len(inputs) > 1
        found.append(
            LayerScores(
                name=name,
                over="places" if isinstance(metric, SpatialCorrelation) else "examples",
                channels=metric.channels,
                dead=scores["dead"],
                invariance=scores["invariance"],
                invariance_interval=intervals["invariance"] if known else None,
                equivariance=scores["equivariance"],
                equivariance_interval=intervals["equivariance"] if known else None,
                matched=scores["matched"],
                null={"invariance": scores["null_invariance"], "equivariance": scores["null_equivariance"]},
                lie=dict(zip(subject.group.axes, rates[name].relative, strict=True)) if name in rates else {},
            )
        )
    return found, left_out


def like(subject: Subject) -> Tensor:
    """A tensor of the dtype and on the device of the model."""
    return next(subject.augmented.parameters())
