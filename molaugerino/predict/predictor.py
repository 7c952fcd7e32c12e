"""From lines of text to a row each: a status, and numbers where the status is ok."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rdkit import Chem

from molaugerino.augment import Augmented
from molaugerino.datasets import MoleculeSet, PackedData, in_frames, labels_of
from molaugerino.errors import UserError
from molaugerino.predict.smiles import Conformer, Status, Unpredictable, embed, parse
from molaugerino.training.checkpoint import ModelCard, load_model
from molaugerino.training.evaluation import Passes, predict_rows

CHUNK = 256  # molecules embedded before the network sees them


@dataclass(frozen=True)
class Row:
    """What became of one input line.

    Attributes:
        input: the line as given.
        smiles: canonical SMILES, '' where the line was refused.
        status: "ok", or why there is no number.
        reason: the same in words, '' where ok.
        values: one number per column of the predictor, NaN where not ok.
    """

    input: str
    smiles: str
    status: Status
    reason: str
    values: tuple[float, ...]


class Predictor:
    """Properties of molecules given as SMILES, by ETKDGv3 and MMFF94 geometries.

    Example:
        >>> predictor = Predictor.from_pretrained("runs/gap")        # doctest: +SKIP
        >>> [row] = predictor.predict(["CCO"])                       # doctest: +SKIP
        >>> row.status, row.values                                   # doctest: +SKIP
        ('ok', (12.3,))
    """

    def __init__(self, augmented: Augmented, card: ModelCard) -> None:
        self.augmented, self.card = augmented, card

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Predictor:
        """Load a trained model from its folder.

        Raises:
            UserError: where its files are missing, damaged or do not fit together.
        """
        return cls(*load_model(folder))

    @property
    def columns(self) -> list[str]:
        """Names with units of `Row.values`."""
        targets = self.card.targets
        named = [replace(target, name=label) for target, label in zip(targets, labels_of(targets), strict=True)]
        return [column for target in named for column in target.columns]

    @property
    def warnings(self) -> list[str]:
        """What a reader of the numbers should know about the model."""
        notes = []
        if self.card.geometry != "mmff":
            notes.append(
                f"the model was trained on {self.card.geometry} geometries of {self.card.data}, but predict makes "
                "MMFF94 ones: expect errors two or more times those of its test table"
            )
        if self.card.world != "none":
            notes.append(
                f"the label belongs to the world {self.card.world!r}, where orientation matters; "
                "that of a conformer is arbitrary"
            )
        framed = [t.name for t in self.card.targets if t.kind == "vector" or t.name.endswith(("_x", "_y", "_z"))]
        if framed:
            notes.append(
                f"{', '.join(framed)}: in the frame of a conformer made here; across frames compare norms only"
            )
        return notes

    def predict(self, lines: Iterable[str]) -> list[Row]:
        """One row per line, in order."""
        return list(self.stream(lines))

    def stream(self, lines: Iterable[str]) -> Iterator[Row]:
        """The rows as they come, a chunk of molecules at a time."""
        chunk: list[str] = []
        for line in lines:
            chunk.append(line)
            if len(chunk) == CHUNK:
                yield from self._rows(chunk)
                chunk = []
        if chunk:
            yield from self._rows(chunk)

    def _rows(self, lines: Sequence[str]) -> list[Row]:
        blank = (math.nan,) * len(self.columns)
        rows, found = [], []
        for line in lines:
            smiles = ""
            try:
                mol = parse(line, self.card.elements, self.card.max_atoms)
                smiles = Chem.MolToSmiles(mol)
                conformer = embed(mol)
            except Unpredictable as error:
                rows.append(Row(line, smiles, error.status, error.reason, blank))
            else:
                found.append((len(rows), conformer))
                rows.append(Row(line, smiles, "ok", "", blank))
        if found:
            values = self._values([conformer for _, conformer in found])
            for (k, _), numbers in zip(found, values.tolist(), strict=True):
                rows[k] = self._filled(rows[k], numbers)
        return rows

    @staticmethod
    def _filled(row: Row, numbers: list[float]) -> Row:
        if not all(map(math.isfinite, numbers)):
            return Row(
                row.input, row.smiles, "embed_failed", "the model gave no finite number for this geometry", row.values
            )
        return Row(row.input, row.smiles, "ok", "", tuple(numbers))

    def _values(self, conformers: list[Conformer]) -> torch.Tensor:
        """Averaged predictions (molecules, columns) in the orientation that the model was trained on."""
        counts = np.array([len(c.atomic_numbers) for c in conformers])
        molecules = MoleculeSet(
            name="input",
            checksum="",
            geometry="mmff",
            id=np.arange(len(conformers)),
            num_atoms=counts,
            atomic_numbers=np.concatenate([c.atomic_numbers for c in conformers]).astype(np.int64),
            positions=np.concatenate([c.positions for c in conformers]).astype(np.float32),
            columns=(),
        )
        if self.card.frames == "principal":
            molecules, _ = in_frames(molecules, "principal")
        data = PackedData(molecules, [])
        copies = 1 if self.card.augment == "none" else self.card.eval_copies
        passes: Passes = "identity" if copies == 1 else "own law"
        return predict_rows(self.augmented, data, np.arange(len(conformers)), copies, passes)


def latest_run(runs: Path) -> Path:
    """The newest finished run under a folder.

    Raises:
        UserError: where there is none.
    """
    finished = sorted(runs.glob("*/config.json"), key=lambda path: path.stat().st_mtime)
    if not finished:
        raise UserError(
            f"no finished run under ./{runs}; train one with: molaugerino train, or name one with --checkpoint"
        )
    return finished[-1].parent
