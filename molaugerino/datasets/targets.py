"""What is predicted: name, method, unit, and how atoms add up to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from molaugerino.datasets.names import property_of, without_level
from molaugerino.errors import UserError
from molaugerino.spaces import Action, DirectSum, Invariant, Vector

Pooling = Literal["mean", "sum", "norm", "extent"]
Kind = Literal["scalar", "vector"]

# Labels that grow with the molecule, in lower case; what is not named here (orbital energies, constants) is a mean.
EXTENSIVE = ("u0", "u", "h", "g", "enthalpy", "zpve", "alpha", "cv")
INTENSIVE = ("homo", "lumo", "gap", "orbital", "excitation", "ionization", "fermi", "per_atom")  # energies, too
COMPONENTS = ("x", "y", "z")
MAX_Z = 118


@dataclass(frozen=True)
class Target:
    """One predicted property.

    Attributes:
        name: bare name, such as gap; a property is known by (name, method).
        method: level of theory of the label, '' where the file states none.
        unit: physical unit of label and prediction.
        readout: how atoms add up: "sum" for extensive properties, "norm" for the length of a dipole, "extent" for
            a spatial extent, a sum over atoms weighted by squared distances; "mean" for the others.
        kind: "scalar" (one channel, invariant) or "vector" (three channels, turns with the molecule).

    Raises:
        UserError: for a vector that is to be a norm or an extent.
    """

    name: str
    method: str
    unit: str
    readout: Pooling = "mean"
    kind: Kind = "scalar"

    def __post_init__(self) -> None:
        if self.kind == "vector" and self.readout in ("norm", "extent"):
            raise UserError(f"target {self.name} is a vector, and {self.readout} makes scalars; use mean or sum")

    @property
    def channels(self) -> int:
        return 3 if self.kind == "vector" else 1

    @property
    def action(self) -> Action[Tensor]:
        return Vector() if self.kind == "vector" else Invariant()

    @property
    def columns(self) -> list[str]:
        """Names with units, one per channel: gap[eV], or dipole_x[debye] and so on."""
        names = [f"{self.name}_{c}" for c in COMPONENTS] if self.kind == "vector" else [self.name]
        return [f"{name}[{self.unit}]" for name in names]


def default_readout(name: str, kind: Kind = "scalar") -> Pooling:
    """How a label of this name adds up over atoms, whatever its case: by the names of QM9 and its descendants."""
    lower = property_of(without_level(name)).lower()
    if kind == "scalar" and (lower == "mu" or lower.endswith("dipole_norm")):
        return "norm"
    if kind == "scalar" and lower == "r2":
        return "extent"
    if any(word in lower for word in INTENSIVE):
        return "mean"
    return "sum" if lower in EXTENSIVE or lower.endswith(("energy", "_atom")) else "mean"


def output_action(targets: list[Target]) -> Action[Tensor]:
    """rho_out of predictions whose channels are those of the targets in order."""
    return DirectSum([(target.action, target.channels) for target in targets])


def labels_of(targets: list[Target]) -> list[str]:
    """What to call the targets: by name, and by method, too, where one name stands for several."""
    names = [t.name for t in targets]
    return [t.name if names.count(t.name) == 1 else f"{t.name}@{t.method}" for t in targets]


def channel_slices(targets: list[Target]) -> list[slice]:
    """Where each target's channels lie in a (rows, channels) tensor."""
    ends = [sum(t.channels for t in targets[: k + 1]) for k in range(len(targets))]
    return [slice(end - target.channels, end) for target, end in zip(targets, ends, strict=True)]
