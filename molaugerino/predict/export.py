"""A trained model as one file that needs torch alone."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from molaugerino.augment import Augmented
from molaugerino.datasets import MoleculeSet, PackedData
from molaugerino.datasets.targets import MAX_Z
from molaugerino.errors import UserError
from molaugerino.files import check_new_file, write_atomic
from molaugerino.groups import Affine
from molaugerino.models import Readout
from molaugerino.predict.predictor import Predictor
from molaugerino.predict.routes import LARGER
from molaugerino.spaces import Molecules
from molaugerino.training.calibration import is_single
from molaugerino.training.checkpoint import ModelCard
from molaugerino.version import __version__

SUFFIX = ".pt2"
OTHER = f"try another version of torch than {torch.__version__}, or use molaugerino predict"
ABOUT = "molaugerino.json"  # in the `extra_files` of torch.export.load
TOLERANCE = 1e-6  # of max(|value|, SPREADS spreads of its label): some roundings of float32
SPREADS = 10
MEASURE = f"the larger of |value| and {SPREADS} spreads of its label"
COMPARED = 100  # molecules
BATCHES = (1, 2, 5, 16)  # sizes of the first batches that are compared; the last one takes the rest
EXAMPLE = (5, 7)  # molecules and atoms that are traced: sizes that nothing in a network has


class Averaged(nn.Module):
    """y = mean_j rho_out(g_j)^-1 f(g_j (r - c)),   c the centroid: what `predict` says of given geometries.

    The elements are the fixed ones that the model's predictions are averaged over, or the identity alone; labels are in
    their units, with the references of the elements.

    Args:
        augmented: network and law; one that does not depend on the molecule.
        card: what they are.
    """

    linear: Tensor
    shift: Tensor
    known: Tensor

    def __init__(self, augmented: Augmented, card: ModelCard) -> None:
        super().__init__()
        self.augmented = augmented
        self.most = LARGER * card.max_atoms
        g = augmented.identity() if is_single(card) else augmented.evaluation_elements(card.eval_copies)
        self.register_buffer("linear", g.linear.detach().contiguous())
        self.register_buffer("shift", g.shift.detach().contiguous())
        self.register_buffer("known", torch.isin(torch.arange(MAX_Z + 1), torch.tensor([0, *card.elements])))

    def forward(
        self, z: Int[Tensor, "molecules atoms"], pos: Float[Tensor, "molecules atoms 3"]
    ) -> Float[Tensor, "molecules channels"]:
        """The predictions; NaN for a molecule with an element that the model has not seen, too many atoms, or none.

        Args:
            z: atomic numbers, 0 in the padding.
            pos: positions in angstrom, about any origin; those in the padding are not looked at.
        """
        mask = z != 0
        count, inside = mask.sum(1), mask.unsqueeze(-1)
        centre = pos.masked_fill(~inside, 0.0).sum(1) / count.clamp_min(1).unsqueeze(1)
        x = Molecules(z, (pos - centre.unsqueeze(1)).masked_fill(~inside, 0.0), mask)
        y = self.augmented(x, Affine(self.linear, self.shift))
        fits = self.known[z].all(1) & (count > 0) & (count <= self.most)
        return y.masked_fill(~fits.unsqueeze(1), torch.nan)


class Exported(NamedTuple):
    """A file that was written.

    Attributes:
        difference: largest |file - model| / max(|model|, `SPREADS` spreads of the label).
        compared: molecules that it was found on.
    """

    difference: float
    compared: int


def export(predictor: Predictor, path: Path, molecules: MoleculeSet) -> Exported:
    """Write a model as a `torch.export` program (z, pos) -> (molecules, channels), see `Averaged.forward`.

    It takes any number of molecules and of atoms, and can be differentiated by `pos`. Its `extra_files` hold
    `about` as JSON under the name `ABOUT`. What was written is read again and compared with the model, in batches of
    other sizes than it was traced with.

    Args:
        predictor: the model.
        path: of the file, a new one, .pt2.
        molecules: to compare on; those that the model cannot know are left out.

    Raises:
        UserError: for a path that is taken, a model that cannot be exported, molecules of which none fits it, and
            where the file and the model differ by more than `TOLERANCE`; no file is left then.

    Example:
        >>> import torch                                                     # doctest: +SKIP
        >>> model = torch.export.load("gap.pt2").module()                    # doctest: +SKIP
        >>> model(torch.tensor([[8, 1, 1]]), torch.randn(1, 3, 3))           # doctest: +SKIP
    """
    if path.suffix != SUFFIX:
        raise UserError(f"--out writes {SUFFIX}, got {path}; name the file so")
    check_new_file(path)
    check_exportable(predictor)
    rows = comparable(predictor.card, molecules)
    content = io.BytesIO()
    torch.export.save(traced(predictor), content, extra_files={ABOUT: json.dumps(about(predictor), indent=1)})
    write_atomic(path, content.getvalue())
    kept = False
    try:
        difference = largest_difference(predictor, path, molecules, rows)
        kept = difference <= TOLERANCE
    except Exception as error:  # of whatever kind the program raises
        raise UserError(
            f"the exported program does not run ({first_line(error)}): {path} was removed; {OTHER}"
        ) from error
    finally:
        if not kept:
            path.unlink(missing_ok=True)
    if not kept:
        raise UserError(
            f"the exported program differs from the model by {difference:.2g} of {MEASURE}, and {TOLERANCE:g} is "
            f"allowed: {path} was removed; {OTHER}"
        )
    return Exported(difference, len(rows))


def first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def check_exportable(predictor: Predictor) -> None:
    """Raise for a model that is more than a function of numbers and positions, or no network of this library."""
    card = predictor.card
    if card.frames == "principal":
        raise UserError(
            "the model was trained in principal frames, which are found outside of the network; it is not exported: "
            "use molaugerino predict, or train with another --frames"
        )
    if card.augment != "none" and card.conditional:
        raise UserError(
            "the model averages over a law that depends on the molecule, which torch.export does not follow; use "
            "molaugerino predict, or train without --law.conditional"
        )
    if not isinstance(predictor.augmented.model.readout, Readout):
        raise UserError(
            f"{type(predictor.augmented.model).__name__} is no network of this library; give what is inside of it to "
            "torch.export itself"
        )


def traced(predictor: Predictor) -> torch.export.ExportedProgram:
    """The model as a program for any number of molecules and atoms."""
    module = Averaged(predictor.augmented, predictor.card).eval()
    generator = torch.Generator().manual_seed(0)
    z = torch.full(EXAMPLE, predictor.card.elements[0])
    z[1:, -1] = 0
    pos = torch.rand(*EXAMPLE, 3, generator=generator)
    sizes = {0: torch.export.Dim("molecules"), 1: torch.export.Dim("atoms")}
    try:
        return torch.export.export(module, (z, pos), dynamic_shapes=(sizes, sizes), strict=False)
    except Exception as error:  # torch has no one exception for what it cannot trace
        raise UserError(
            f"torch.export cannot follow the network {predictor.card.model} ({first_line(error)}); {OTHER}"
        ) from error


def about(predictor: Predictor) -> dict[str, Any]:
    """What stands beside the program: columns with units, methods, elements, and what the numbers are good for."""
    card = predictor.card
    return {
        "columns": [column.titled() for column in predictor.columns],
        "methods": [column.method for column in predictor.columns],
        "inputs": ["atomic numbers (molecules, atoms), 0 in the padding", "positions (molecules, atoms, 3), angstrom"],
        "elements": card.elements,
        "max_atoms": LARGER * card.max_atoms,
        "geometry": card.geometry,
        "model": card.model,
        "data": card.data,
        "warnings": predictor.warnings,
        "molaugerino": __version__,
        "torch": torch.__version__,
    }


def comparable(card: ModelCard, molecules: MoleculeSet) -> np.ndarray:
    """Rows of at most `COMPARED` molecules that the model knows the elements of, from the smallest to the largest.

    Raises:
        UserError: where there is none.
    """
    strange = molecules.owner[~np.isin(molecules.atomic_numbers, card.elements)]
    fitting = np.setdiff1d(np.flatnonzero(molecules.num_atoms <= LARGER * card.max_atoms), strange)
    if len(fitting) == 0:
        raise UserError(
            f"no molecule of {molecules.name} consists of elements the model has seen, {card.elements}, so that the "
            "file could not be compared with it; name others with --data"
        )
    by_size = fitting[molecules.num_atoms[fitting].argsort(kind="stable")]
    return by_size[np.unique(np.linspace(0, len(by_size) - 1, COMPARED).round().astype(int))]


def largest_difference(predictor: Predictor, path: Path, molecules: MoleculeSet, rows: np.ndarray) -> float:
    """`Exported.difference`, from batches of several sizes in which small molecules and large ones are mixed."""
    program = torch.export.load(path).module()
    rows = np.random.default_rng(0).permutation(rows)
    expected = predictor.answers(molecules, rows).values
    data = PackedData(molecules, [])
    found = []
    with torch.no_grad():
        for part in np.split(rows, np.cumsum(BATCHES)):
            if len(part):
                x = data.batch(torch.from_numpy(part)).x
                found.append(program(x.z, x.pos))
    readout: Any = predictor.augmented.model.readout
    scale = torch.maximum(expected.abs(), SPREADS * readout.scale)
    return float(((torch.cat(found) - expected).abs() / scale).max())
