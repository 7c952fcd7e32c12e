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
ALIASES = {  # names of QM9's labels in other libraries, in lower case
    **{"u298": "U", "h298": "H", "g298": "G", "u298_atom": "U_atom", "h298_atom": "H_atom", "g298_atom": "G_atom"},
    **{"dipole_moment": "mu", "isotropic_polarizability": "alpha", "electronic_spatial_extent": "r2"},
    **{"energy_u0": "U0", "energy_u": "U", "enthalpy_h": "H", "free_energy": "G", "heat_capacity": "Cv"},
    **{f"rotational_constant_{name.lower()}": name for name in ("A", "B", "C")},
    **{name.lower(): name for name in ("U0", "U", "H", "G", "Cv", "U0_atom", "U_atom", "H_atom", "G_atom")},
}
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
