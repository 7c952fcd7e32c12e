"""What the contestants of the benchmark of equivariance are tried in, and the two suites of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Symmetry = Literal["rotations", "axis", "unknown"]


@dataclass(frozen=True)
class Source:
    """Where molecules come from: a set that comes with the package, or files that are looked for in --data.

    Attributes:
        files: by name, to be joined.
        describe: in words.
        largest: atoms of the largest molecule that is taken.
        labels: those that are kept, none for all.
    """

    files: tuple[str, ...]
    describe: str
    largest: int | None = None
    labels: tuple[str, ...] = ()


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "xtb9-12": Source(("xtb9",), "xtb9, molecules of at most 12 atoms", largest=12),
        "xtb9-15": Source(("xtb9",), "xtb9, molecules of at most 15 atoms", largest=15),
        "b3lyp-gap": Source(("qm9_b3lyp_gap.npz",), "QM9, gaps by B3LYP/6-31G(2df,p)"),
        "g4mp2": Source(tuple(f"qm9_g4mp2_0{k}.npz" for k in range(3)), "QM9, atomisation energies by G4MP2"),
        "mp2": Source(
            ("qm9_rimp2.npz",),
            "QM9, binding energies and relaxed dipole vectors by RI-MP2/def2-TZVP",
            labels=("mp2_binding_energy", "mp2_relaxed_dipole"),
        ),
    }
)


@dataclass(frozen=True)
class World:
    """Data, a label and frames; what is right there is known.

    Attributes:
        name: in tables and on the command line.
        question: what it asks.
        source: of molecules, a key of SOURCES; of images, "mnist" or "drawn".
        settings: of train.
        symmetry: turns that leave the label alone, or take it along where it is a vector: all, those about the axis of
            the world, or not known.
        train: molecules to train on, None for all.
        placed: the label is made in the frames of the file, and no other frame can be tested.
        effort: times the minutes of the suite that a training takes.
    """

    name: str
    question: str
    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    symmetry: Symmetry = "rotations"
    train: int | None = None
    placed: bool = False
    effort: float = 1.0

    @property
    def of_images(self) -> bool:
        return "task" in self.settings


def _in(world: str) -> dict[str, Any]:
    return {"world": world, "frames": "random"}


_STORED = "trained in the frames of the file, tested in random ones, too"
_AXIS = "turns about one axis leave it alone, which is not said"
_ALL = (
    World("gap", f"all rotations leave the label alone; {_STORED}", "b3lyp-gap", {"target": ("gap",)}),
    World(
        "energy", f"all rotations leave the label alone; {_STORED}", "g4mp2", {"target": ("g4mp2_atomization_energy",)}
    ),
    World("dipole", f"the label turns along; {_STORED}", "mp2", {"target": ("mp2_relaxed_dipole",)}),
    World("field", f"energies of GFN2-xTB in a uniform field: {_AXIS}", "xtb9-15", _in("field"), "axis"),
    World(
        "slab",
        f"a label made up of heights of atoms above a surface: {_AXIS}; who respects shifts misses the height, too",
        "xtb9-15",
        _in("slab"),
        "axis",
    ),
    World(
        "pseudoscalar",
        "rotations leave the label alone, reflections do not; what respects both has nothing to say of it",
        "xtb9-15",
        _in("pseudoscalar"),
    ),
    World(
        "principal",
        "the label turns along; trained in principal axes, tested in random frames",
        "mp2",
        {"target": ("mp2_relaxed_dipole",), "frames": "principal"},
    ),
    *(
        World(f"gap-{n}", f"as gap, with {n:,} molecules to train on", "b3lyp-gap", {"target": ("gap",)}, train=n)
        for n in (300, 1000, 3000, 10_000)
    ),
    World("field-stored", "a field in QM9's own frames, which may give it away", "mp2", {}, "unknown", placed=True),
    World("field-random", "the same field and molecules in random frames", "mp2", _in("field"), "axis"),
    World("rotmnist", "digits turned at random", "mnist", {"task": "rotmnist", "images": 6000}, effort=3.0),
    World("two-icons", "icons may be turned by 45 degrees", "drawn", {"task": "two-icons", "width": 0.125}, "unknown"),
    World("small-gap", "all rotations leave the label alone", "xtb9-12", {"target": ("gap",), "frames": "random"}),
    World("small-dipole", "the label turns along", "xtb9-12", {"target": ("dipole",), "frames": "random"}),
    World("small-field", "turns about one axis leave the label alone", "xtb9-12", _in("field"), "axis"),
)
WORLDS: Mapping[str, World] = MappingProxyType({one.name: one for one in _ALL})


@dataclass(frozen=True)
class Suite:
    """Which contestants are tried in which worlds.

    Attributes:
        minutes: of one processor core that a training takes where the numbers of steps were calibrated.
        tested: molecules that errors are taken of, at most.
        plan: world -> (contestants, number of splits).
    """

    minutes: float
    tested: int
    plan: Mapping[str, tuple[tuple[str, ...], int]]

    def runs(self) -> Iterator[tuple[str, str, int]]:
        """(world, contestant, split): the first split of everything, then the second, and so on."""
        for split in range(max(splits for _, splits in self.plan.values())):
            for world, (contestants, splits) in self.plan.items():
                yield from ((world, contestant, split) for contestant in contestants if split < splits)


_EVERY = (
    "none",
    "fixed",
    "learned",
    "evidence",
    "conditional",
    "relaxed",
    "frame-averaging",
    "canonical",
    "consistency",
    "invariant",
    "equivariant",
)
_FEW = ("none", "fixed", "learned", "equivariant")
_IMAGES = ("none", "fixed", "learned", "evidence", "equivariant")
SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        "quick": Suite(0.5, 300, dict.fromkeys(("small-gap", "small-dipole", "small-field"), (_FEW, 2))),
        "full": Suite(
            1.25,
            1000,
            {
                "gap": (_EVERY, 5),
                "dipole": ((*_EVERY, "broken"), 5),
                "field": ((*_EVERY, "told"), 5),
                "energy": ((*_FEW, "invariant"), 3),
                "slab": ((*_FEW, "relaxed"), 3),
                "pseudoscalar": ((*_FEW, "relaxed", "frame-averaging", "canonical"), 3),
                "principal": ((*_FEW, "frame-averaging"), 3),
                **{f"gap-{n}": (_FEW, 3) for n in (300, 1000, 3000, 10_000)},
                "field-stored": ((*_FEW, "invariant"), 3),
                "field-random": ((*_FEW, "invariant"), 3),
                "rotmnist": (_IMAGES, 3),
                "two-icons": (_IMAGES, 3),
            },
        ),
    }
)
