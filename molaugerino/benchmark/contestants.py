"""Who takes part in the benchmark of equivariance: settings of train, at matched parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from molaugerino.augment import Augmented
from molaugerino.config import LawConfig, NetConfig
from molaugerino.spaces import Invariant

FREE = {"model": "point-transformer"}  # 185,000 parameters, to which the other networks' widths are matched
COPIES = 4  # of validation; tests take their own
LAW, WIDEST = LawConfig(family="gaussian", eval_copies=COPIES), LawConfig(eval_copies=COPIES)


@dataclass(frozen=True)
class Contestant:
    """A way to deal with symmetry.

    Attributes:
        name: in tables and on the command line.
        idea: in a few words.
        molecules: settings of train for molecules.
        images: for images, None where there is no such way.
        widen: factor to the width of networks of images, for as many parameters.
        averaged: whether its predictions are averages over a law.
        exact: whether it respects rotations whatever its weights.
        told: whether it is told the axis about which the world may be turned.
        foreign: whether it is of another library, trained by benchmarks/rivals.py as that library would.
        change: what is done to the model before it is trained, and before it is tested.
    """

    name: str
    idea: str
    molecules: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, Any] | None = None
    widen: float = 1.0
    averaged: bool = False
    exact: bool = False
    told: bool = False
    foreign: bool = False
    change: Callable[[Augmented], None] | None = None

    @property
    def compared(self) -> bool:
        """Whether it is of the comparison at matched parameters, and not broken."""
        return self.change is None and not self.foreign

    @property
    def blind(self) -> bool:
        """Whether it cannot see how a molecule lies: it respects all rotations, or averages over them."""
        return self.exact or (self.molecules.get("augment") == "fixed" and not self.told)


def drop_the_inverse(augmented: Augmented) -> None:
    """A fault: predictions are averaged without being turned back."""
    augmented.output = Invariant()


_ALL = (
    Contestant("none", "the network alone", FREE | {"augment": "none"}, {"augment": "none"}),
    Contestant(
        "fixed",
        "all rotations, and shifts, always",
        FREE | {"augment": "fixed", "law": WIDEST},
        {"augment": "fixed"},
        averaged=True,
    ),
    Contestant(
        "learned",
        "a law within a loss budget",
        FREE | {"augment": "learned", "law": LAW},
        {"augment": "learned"},
        averaged=True,
    ),
    Contestant(
        "evidence",
        "a law of largest evidence",
        FREE | {"augment": "learned", "law": LAW, "objective": "evidence"},
        {"augment": "learned", "objective": "evidence"},
        averaged=True,
    ),
    Contestant(
        "conditional",
        "a law per molecule, within the budget",
        FREE | {"augment": "learned", "law": replace(LAW, conditional=True)},
        averaged=True,
    ),
    Contestant(
        "relaxed",
        "an equivariant and a free path per layer, weighed by the evidence",
        {"model": "relaxed-painn", "net": NetConfig(width=44), "augment": "none", "objective": "evidence"},
    ),
    Contestant(
        "frame-averaging",
        "the mean over the frames of the principal axes",
        {"model": "frame-averaging", "augment": "none"},
        exact=True,
    ),
    Contestant("canonical", "one frame that is learned", {"model": "canonical", "augment": "none"}, exact=True),
    Contestant("consistency", "a second loss for turned copies", FREE | {"augment": "none", "consistency": 0.1}),
    Contestant(
        "invariant",
        "a network of distances",
        {"model": "schnet", "net": NetConfig(width=97), "augment": "none"},
        exact=True,
    ),
    Contestant(
        "equivariant",
        "a network of scalars and vectors; of images, convolutions on eighth turns",
        {"model": "painn", "net": NetConfig(width=59), "augment": "none"},
        {"model": "p8", "augment": "none"},
        widen=1.9,
        exact=True,
    ),
    Contestant(
        "told",
        "all turns about the true axis, and shifts, always",
        FREE | {"augment": "fixed"},
        averaged=True,
        told=True,
    ),
    Contestant(
        "broken",
        "fixed, with the inverse dropped: a fault for the checks to find",
        FREE | {"augment": "fixed", "law": WIDEST},
        averaged=True,
        change=drop_the_inverse,
    ),
    Contestant("schnetpack-schnet", "SchNetPack's SchNet, 128 x 6", exact=True, foreign=True),
    Contestant("schnetpack-painn", "SchNetPack's PaiNN, 128 x 3", exact=True, foreign=True),
    Contestant("pyg-schnet", "torch_geometric's SchNet through FromGraph", exact=True, foreign=True),
)
CONTESTANTS: Mapping[str, Contestant] = MappingProxyType({one.name: one for one in _ALL})
