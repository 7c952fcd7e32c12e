"""What is asked of every trained contestant."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from molaugerino import symmetry
from molaugerino.augment import Augmented
from molaugerino.benchmark.contestants import Contestant
from molaugerino.benchmark.worlds import Symmetry, World
from molaugerino.datasets import Frames, MoleculeSet, PackedData, in_frames
from molaugerino.datasets import World as Physics
from molaugerino.datasets.units import factor
from molaugerino.distributions import Conditional
from molaugerino.equivariance import absolute, loss_share
from molaugerino.groups import SO3, Affine
from molaugerino.models.readout import charge_moment, length
from molaugerino.quadrature import AveragingSet, circle, cube, icosahedron
from molaugerino.spaces import Molecules
from molaugerino.training.checkpoint import ModelCard, load_model
from molaugerino.training.evaluation import TEST_FRAMES_SEED
from molaugerino.training.folder import molecules_to_test

PASSES = 128  # at once
COPIES = 16
ABOUT = 16  # turns about an axis
WIDE, NARROW = 0.2, 0.15  # nats from the widest law, radians of tilt: within, a law has found what is right
PROBED, EXACT, TOLD = 64, 1e-3, 1e-4  # molecules of the checks, and what is left of an error by rounding
DRAWS = 4096
PEAK = "/proc/self/clear_refs"

QUADRATURE = "quadrature"


@dataclass(frozen=True)
class Trained:
    """A trained model of molecules with what it is tested on.

    Attributes:
        augmented: network and law.
        card: what they are.
        molecules: the set, in the frames of the file.
        rows: to test on.
    """

    augmented: Augmented
    card: ModelCard
    molecules: MoleculeSet
    rows: np.ndarray

    @classmethod
    def load(cls, folder: Path, contestant: Contestant) -> Trained:
        augmented, card = load_model(folder)
        if contestant.change is not None:
            contestant.change(augmented)
        return cls(augmented, card, *molecules_to_test(folder, card))

    def packed(self, frames: Frames) -> PackedData:
        turned, _ = in_frames(self.molecules, frames, TEST_FRAMES_SEED)
        return PackedData(Physics(self.card.world, self.card.world_seed).place(turned), self.card.targets)


@torch.no_grad()
def passes(trained: Trained, data: PackedData, elements: Callable[[Molecules], Affine], rows: np.ndarray) -> Tensor:
    """Single predictions (elements, rows, channels), each turned back."""
    order = data.by_size(rows)
    count = len(elements(data.batch(torch.from_numpy(rows[:1])).x).linear)
    parts = data.batches(rows[order.numpy()], max(1, PASSES // count))
    found = [trained.augmented.each(batch.x, elements(batch.x)) for batch in parts]
    return torch.cat(found, 1)[:, order.argsort()]


def all_turns(world: Symmetry, axis: np.ndarray) -> AveragingSet:
    """A rule for the turns that a world allows, as far as is known: all, or those about its axis."""
    if world != "axis":
        return cube()
    rule = circle(ABOUT)
    angle = torch.atan2(rule.elements.linear[:, 1, 0], rule.elements.linear[:, 0, 0])
    return AveragingSet("about the axis", SO3.exp(angle[:, None] * torch.from_numpy(axis)), rule.weights)


def score_molecules(folder: Path, contestant: Contestant, world: World) -> dict[str, Any]:
    """Errors, share of orientation, what the law says against what is right, times, checks."""
    trained = Trained.load(folder, contestant)
    augmented, card, rows = trained.augmented, trained.card, trained.rows
    axis = Physics(card.world, card.world_seed).axis
    rule = all_turns(world.symmetry, axis)
    turns = rule.to(next(augmented.parameters()))
    ways: dict[int | str, tuple[Callable[[Molecules], Affine], AveragingSet | None]] = {
        1: (lambda x: augmented.identity(), None)
    }
    if contestant.averaged:
        ways[COPIES] = (lambda x: augmented.evaluation_elements(COPIES, x), None)
    if not contestant.exact and not world.placed:
        ways[QUADRATURE] = (lambda x: turns.elements, turns)
    errors: list[dict[str, Any]] = []
    spent: dict[int | str, float] = {}
    found: dict[str, Any] = {}
    for frames in frames_of(world, card.frames):
        data = trained.packed(frames)
        y = data.y[torch.from_numpy(rows)]
        known = baseline(trained, data)
        for copies, (elements, weighed) in ways.items():
            begun = time.process_time()
            each = passes(trained, data, elements, rows)
            spent.setdefault(copies, 1000 * (time.process_time() - begun) / len(rows))
            averaged = each.mean(0) if weighed is None else weighed.mean(each)
            errors.append({"frames": frames, "copies": copies, "n": len(rows)} | errors_of(averaged, y))
            if copies == QUADRATURE and weighed is not None and world.symmetry == "rotations":
                share = loss_share(each, y, absolute, weighed.weights)
                found.setdefault("orientation_share", share.share)  # of the frames that are tested first
            if copies == 1 and "field" in world.name:
                found["field"] = in_a_field(trained, averaged, y, frames, rows)
    reference = packed_batch(trained, rows[:PROBED])
    [target] = card.targets
    return found | {
        "unit": target.unit,
        "error_name": f"MAE{' per component' if target.kind == 'vector' else ''}, {target.unit}",
        "mean_predictor": float(absolute(known, y).mean()),
        "errors": errors,
        "predict_ms": {str(k): v for k, v in spent.items()},
        "parameters": sum(p.numel() for p in augmented.model.parameters()),
        "law": law_found(augmented, card, reference, axis) if card.augment == "learned" else None,
        "checks": checks(augmented, contestant, reference, y - known),
    }


@torch.no_grad()
def baseline(trained: Trained, data: PackedData) -> Tensor:
    """(rows, channels) of the label that is known before a network is asked: the mean, or sums over the elements."""
    readout: Any = trained.augmented.model.readout
    return torch.cat([readout.baseline(batch.x) for batch in data.batches(trained.rows, PASSES)])


def frames_of(world: World, trained_in: Frames) -> tuple[Frames, ...]:
    if world.placed:
        return ("stored",)
    return ("random",) if trained_in == "random" else (trained_in, "random")


def errors_of(prediction: Tensor, y: Tensor) -> dict[str, float]:
    return {
        "mae": float(absolute(prediction, y).double().mean()),
        "rmse": float((prediction - y).double().square().mean().sqrt()),
    }


def packed_batch(trained: Trained, rows: np.ndarray) -> Molecules:
    return trained.packed(trained.card.frames).batch(torch.from_numpy(rows)).x


def in_a_field(trained: Trained, prediction: Tensor, y: Tensor, frames: Frames, rows: np.ndarray) -> dict[str, float]:
    """What a network that does not see the field is left with, E of the label's own term -mu . F.

        RMSE |F| sqrt(<mu^2> / 3),   MAE |F| <mu> / 2   over random orientations,

    beside that term as it is in these frames, and the errors against the label without it.
    """
    turned, _ = in_frames(trained.molecules, frames, TEST_FRAMES_SEED)
    placed = turned if trained.card.world == "none" else Physics("field", trained.card.world_seed).place(turned)
    dressed, energy = placed.columns[:2]
    [target] = trained.card.targets
    term = (dressed.values - energy.values)[rows] * factor(dressed.unit, target.unit)
    free = y[:, 0].double() - torch.from_numpy(term)
    dipoles = next(c for c in placed.columns if c.kind == "vector").values[rows]
    mu = np.linalg.norm(dipoles, axis=1)
    strength = np.linalg.norm(np.linalg.lstsq(dipoles, term, rcond=None)[0])  # |F| of -mu . F
    error = prediction[:, 0].double() - free
    return {
        "floor_mae": float(strength * mu.mean() / 2),
        "floor_rmse": float(strength * np.sqrt(np.square(mu).mean() / 3)),
        "term_mae": float(np.abs(term).mean()),
        "term_rmse": float(np.sqrt(np.square(term).mean())),
        "free_mae": float(error.abs().mean()),
        "free_rmse": float(error.square().mean().sqrt()),
    }


@torch.no_grad()
def law_found(augmented: Augmented, card: ModelCard, x: Molecules, axis: np.ndarray) -> dict[str, Any]:
    """The law on the group: nats of its rotations to all, its tilt of the world's axis, its turns about that."""
    law = augmented.distribution
    if law.conditional:
        noise = law.noise((DRAWS // PROBED, len(x.z)), torch.Generator().manual_seed(symmetry.SEED), device="cpu")
        drawn = law.elements(noise.to(next(law.parameters())), x)
        g = Affine(drawn.linear.reshape(-1, 3, 3), drawn.shift.reshape(-1, 3)).to(torch.float64)
    else:
        g = symmetry.draws(law)
    along = torch.from_numpy(axis)
    laws = law.laws(x) if isinstance(law, Conditional) else [law]
    return {
        "nats": fmean(sum(line.nats for line in own.describe() if line.unit == "degree") for own in laws),
        "mean_rotation_rad": float(symmetry.rotation_vectors(g).norm(dim=-1).mean()),
        "mean_tilt_rad": float(symmetry.tilt(g, along).mean()),
        "spin_nats": symmetry.nats_to_circle(symmetry.spin(g, along)),
        "verdict": card.law["verdict"],
    }


def recovered(law: dict[str, Any] | None, world: Symmetry) -> bool | None:
    """Whether a learned law is what is right in its world, None where that is not known."""
    if law is None or world == "unknown":
        return None
    if world == "rotations":
        return bool(law["nats"] <= WIDE)
    return bool(law["mean_tilt_rad"] <= NARROW and law["spin_nats"] <= WIDE)


class Probe(nn.Module):
    """m = sum_a (z_a - mean z) r_a, or its length: what is known to turn along, or to stay, under any motion."""

    def __init__(self, vectors: bool) -> None:
        super().__init__()
        self.vectors = vectors

    def forward(self, x: Molecules) -> Tensor:
        moment = charge_moment(x.z.unsqueeze(-1).to(x.pos.dtype), x)
        return moment if self.vectors else length(moment)


@torch.no_grad()
def checks(augmented: Augmented, contestant: Contestant, x: Molecules, left: Tensor) -> dict[str, float]:
    """Errors of what must hold whatever was learned, each relative: 0 but for rounding.

    turned_back: in the place of the network a function that is known to turn along; averaged over the contestant's own
    law it must be itself. exact: a network that respects rotations must answer a turned molecule with its own answer,
    turned; of the molecule in the middle, since symmetric ones have no frame of their own, beside what is left (rows,
    channels) of the labels without the baseline.
    """
    found = {}
    if contestant.averaged:
        probe = Probe(vectors=left.shape[1] == 3)
        alone = probe(x)
        averaged = Augmented(probe, augmented.distribution, augmented.input, augmented.output)
        mean = averaged(x, augmented.evaluation_elements(COPIES, x))
        found["turned_back"] = relative(mean - alone, alone)
    if contestant.exact:
        turns = icosahedron().to(next(augmented.parameters())).elements[-3:]
        each = augmented.each(x, turns)
        error = (each - augmented(x, augmented.identity())).square().mean((0, 2)).sqrt()
        found["exact"] = float(error.median() / left.square().mean().sqrt())
    return found


def relative(error: Tensor, like: Tensor) -> float:
    return float(error.square().mean().sqrt() / like.square().mean().sqrt().clamp_min(1e-12))


def failed(found: dict[str, float]) -> list[str]:
    """The checks that a contestant does not pass."""
    allowed = {"turned_back": TOLD, "exact": EXACT}
    return [name for name, value in found.items() if not value <= allowed[name]]


def memory_to_predict(folder: Path, contestant: str) -> float | None:
    """MB that predicting adds to a new process, by 128 passes at once: of as many molecules, or 16 of each.

    None where the system does not tell.
    """
    if not Path(PEAK).exists():
        return None
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(False)
    process = context.Process(target=_measure_memory, args=(str(folder), contestant, theirs))
    process.start()
    theirs.close()
    try:
        return float(ours.recv())
    except EOFError:
        return None  # where a container forbids it
    finally:
        process.join()


def _measure_memory(folder: str, name: str, answer: Any) -> None:
    from molaugerino.benchmark.contestants import CONTESTANTS

    contestant = CONTESTANTS[name]
    torch.set_num_threads(1)
    trained = Trained.load(Path(folder), contestant)
    data = trained.packed(trained.card.frames)
    augmented = trained.augmented
    copies = COPIES if contestant.averaged else 1
    passes(trained, data, lambda x: augmented.identity(), trained.rows[:2])
    Path(PEAK).write_text("5")  # forget the peak
    before = _kilobytes("VmRSS")
    passes(trained, data, lambda x: augmented.evaluation_elements(copies, x), trained.rows[:PASSES])
    answer.send(max(_kilobytes("VmHWM") - before, 0) / 1024)


def _kilobytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])
