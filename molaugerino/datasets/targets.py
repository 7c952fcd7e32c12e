"""What is predicted: name, method, unit, and how atoms add up to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from molaugerino.errors import UserError
from molaugerino.spaces import Action, DirectSum, Invariant, Vector

# Labels that grow with the molecule; everything else (orbital energies, norms, constants) is a mean over atoms.
ENERGIES = ("u0", "u", "u298", "h", "h298", "g", "g298")
EXTENSIVE = frozenset({"zpve", "alpha", "cv", "r2", *ENERGIES, *(f"{name}_atom" for name in ENERGIES)})
COMPONENTS = ("x", "y", "z")
MAX_Z = 118


@dataclass(frozen=True)
class Target:
    """One predicted property.

    Attributes:
        name: bare name, such as gap; a property is known by (name, method).
        method: level of theory of the label, '' where the file states none.
        unit: physical unit of label and prediction.
        readout: "sum" over atoms for extensive properties, "mean" for the others.
        kind: "scalar" (one channel, invariant) or "vector" (three channels, turns with the molecule).
    """

    name: str
    method: str
    unit: str
    readout: Literal["mean", "sum"] = "mean"
    kind: Literal["scalar", "vector"] = "scalar"

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


def default_readout(name: str) -> Literal["mean", "sum"]:
    return "sum" if name.lower() in EXTENSIVE or name.lower().endswith("energy") else "mean"


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


def parse_target(data: Any) -> Target:
    """A target from JSON, with a message that names the field that is wrong."""
    allowed = {"readout": ("mean", "sum"), "kind": ("scalar", "vector")}
    if not isinstance(data, dict) or set(data) != {"name", "method", "unit", "readout", "kind"}:
        raise UserError(f"a target needs exactly name, method, unit, readout and kind, got {data!r}")
    for key, value in data.items():
        if not isinstance(value, str) or value not in allowed.get(key, (value,)):
            raise UserError(
                f"target field {key!r} is {value!r}, expected {' or '.join(allowed.get(key, ('a string',)))}"
            )
    return Target(**data)
