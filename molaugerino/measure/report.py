"""What `measure` found, as plain numbers."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from molaugerino.equivariance import FrameTest, LossShare

SQUARED = "squared error"
NOTHING = 1e-5  # of a loss: what rounding leaves
EXAMPLES = 128  # that are looked at, unless another number is asked for


@dataclass(frozen=True)
class LayerScores:
    """One layer; see `molaugerino.equivariance.Correlation`.

    Attributes:
        name: path of the module; [k] the k-th of several outputs.
        over: "places" of each image, or "examples".
        channels: how many.
        dead: share of them without variance, left out.
        invariance: mean over channels, with its interval.
        invariance_interval: 95 %, None from fewer than two batches.
        equivariance: of the best-matching channel.
        equivariance_interval: as that of the invariance.
        matched: equivariance with the match found on other examples.
        null: invariance and equivariance of unrelated examples.
        lie: relative Lie derivative per unit of each coordinate, by its name.
    """

    name: str
    over: str
    channels: int
    dead: float
    invariance: float
    invariance_interval: tuple[float, float] | None
    equivariance: float
    equivariance_interval: tuple[float, float] | None
    matched: float
    null: dict[str, float]
    lie: dict[str, float]


@dataclass(frozen=True)
class Rate:
    """Root mean square of the Lie derivative of an output along one coordinate, with its standard error.

    Attributes:
        unit: of the output.
        per: unit of the coordinate; "" where it has none.
    """

    output: str
    axis: str
    unit: str
    per: str
    rms: float
    error: float


@dataclass(frozen=True)
class Share:
    """How a loss of some kind is shared out, see `LossShare`; `passes` of the network make a prediction."""

    output: str
    kind: str
    unit: str
    passes: int
    found: LossShare


@dataclass(frozen=True)
class Curve:
    """Mean deviation from the answer to the untransformed input, by the size of the transformation."""

    output: str
    unit: str
    passes: int
    deviation: list[float]
    error: list[float]


@dataclass(frozen=True)
class WorstCase:
    """The largest deviation from the untransformed answer that a search found: its mean over examples, and its largest.

    Attributes:
        where: identifier, or row, of the example with the largest.
        examples: how many were searched.
    """

    output: str
    unit: str
    passes: int
    mean: float
    largest: float
    where: str
    examples: int


@dataclass(frozen=True)
class Measurement:
    """What `measure` found of one model.

    Attributes:
        run: folder of the model.
        network: its name.
        augment: how it was trained.
        examples: test examples that were looked at.
        transformations: in words.
        layers: scores by layer, in the order of the passes.
        layer_transformations: of these, in words.
        paths: of layers with several paths trained with --objective evidence, the share of each path; see `ReadOut`.
        unmeasured: layers whose outputs could not be told examples from channels in.
        lie_derivative: per output and coordinate.
        loss_share: per output, loss and number of passes.
        sizes: of the transformations of `angle_curve`.
        size_unit: of these.
        angle_curve: per output and number of passes.
        worst_angle: per output and number of passes.
        power: of a single pass as a function of the rotation, the share of each degree l = 1, 2, ...; by output.
        frames: the test of the data set's frames.
        verdict: in words, one sentence per output.
    """

    run: str
    network: str
    augment: str
    examples: int
    transformations: str
    layers: list[LayerScores]
    layer_transformations: str
    paths: dict[str, dict[str, float]]
    unmeasured: list[str]
    lie_derivative: list[Rate]
    loss_share: list[Share]
    sizes: list[float]
    size_unit: str
    angle_curve: list[Curve]
    worst_angle: list[WorstCase]
    power: dict[str, list[float]]
    frames: FrameTest | None
    verdict: list[str]

    def to_json(self) -> str:
        """Keys as the attributes; the numbers of each loss share beside its names; what is not known is null."""
        found = asdict(self)
        found["loss_share"] = [
            {k: v for k, v in asdict(s).items() if k != "found"} | s.found._asdict() for s in self.loss_share
        ]
        found["frames"] = None if self.frames is None else self.frames._asdict()
        return json.dumps(_finite(found), indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    """JSON has no number for what is not finite."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def shared_out(paths: dict[str, float]) -> str:
    """The shares of the paths of a layer in words: f-fc 12%, conv 88%."""
    return ", ".join(f"{path} {share:.0%}" if math.isfinite(share) else f"{path} -" for path, share in paths.items())


def verdict(shares: list[Share], output: str, noun: str) -> str:
    """The absolute error or cross-entropy of an output in words, and how much of it is due to the transformations.

    Such as: gap: absolute error 31 meV, of which 2.4 +- 0.1 meV (7.7%) is due to orientation; answers spread by 15 meV;
    averaged over 16 passes 29 meV, of which 0.3 +- 0.05 meV (1.0%); answers spread by 3 meV.
    """
    parts = []
    for share in shares:
        if share.output != output or share.kind == SQUARED:
            continue
        found, unit, scale = share.found, share.unit, 1.0
        if unit == "eV" and found.loss < 1:
            unit, scale = "meV", 1e3
        loss, owed, error = (f"{scale * value:.3g}" for value in (found.loss, found.orientation, found.error))
        unit = f" {unit}" if unit else ""
        first = share.passes == 1
        what = f"{share.kind} " if first else f"averaged over {share.passes} passes "
        nothing = abs(found.orientation) < NOTHING * found.loss
        part = "nothing" if nothing else f"{owed} +- {error}{unit} ({found.share:.1%})"
        parts.append(f"{what}{loss}{unit}, of which {part}" + (f" is due to {noun}" if first else ""))
        parts += [
            f"answers spread by {scale * math.sqrt(max(other.found.orientation, 0.0)):.3g}{unit}"
            for other in shares
            if (other.output, other.kind, other.passes) == (output, SQUARED, share.passes)
        ]
    return f"{output}: " + ("; ".join(parts) or "no label to tell an error by")
