"""From molecules to a table: geometries, predictions, intervals, domain."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from molaugerino.augment import Augmented
from molaugerino.datasets import MoleculeSet, PackedData, channel_slices, in_frames, labels_of
from molaugerino.errors import UserError
from molaugerino.predict.embed import Embedded, Embeddings, gathered, rows_of
from molaugerino.predict.entries import Entry, entries_of
from molaugerino.predict.options import Options, Preparing
from molaugerino.predict.routes import OPEN, Geometry, Prepared, Route, Settings
from molaugerino.predict.table import Column, DomainColumn, Layout, Row, Table, digits_of
from molaugerino.predict.xtb import has_xtb
from molaugerino.training.calibration import calibration_of, model_answers
from molaugerino.training.checkpoint import ModelCard, load_model
from molaugerino.training.folder import RUNS
from molaugerino.training.ready import DEFAULT, find_model
from molaugerino.uncertainty import Answers, Calibration, Spread

if TYPE_CHECKING:
    from molaugerino.predict.calculator import ModelCalculator

CHUNK = 256  # molecules whose geometries are made before the network sees them


class Predictor:
    """y = mean over isomers of sum_c w_c h(r_c),   r_c the conformers of an isomer,   with an interval for y.

    Example:
        >>> predictor = Predictor.from_pretrained("qm9-mmff")        # doctest: +SKIP
        >>> table = predictor.predict(["CCO", "c1ccccc1"])           # doctest: +SKIP
        >>> table.to_pandas()["gap[eV]"]                             # doctest: +SKIP
    """

    def __init__(
        self, augmented: Augmented, card: ModelCard, calibration: Calibration | None = None, name: str = ""
    ) -> None:
        self.augmented, self.card, self.calibration, self.name = augmented, card, calibration, name
        labels = [replace(t, name=label) for t, label in zip(card.targets, labels_of(card.targets), strict=True)]
        titles = [title for target in labels for title in target.columns]
        methods = [target.method for target in labels for _ in range(target.channels)]
        units = [target.unit for target in labels for _ in range(target.channels)]
        names = [title.removesuffix(f"[{unit}]") for title, unit in zip(titles, units, strict=True)]
        readout: Any = augmented.model.readout
        digits = map(digits_of, readout.scale.tolist())
        each = zip(names, units, methods, range(len(names)), digits, strict=True)
        self.columns = tuple(Column(*of) for of in each)

    @classmethod
    def from_pretrained(cls, name: str | Path = DEFAULT) -> Predictor:
        """A trained model.

        Args:
            name: of one that comes with the package, `latest` for the newest run under ./runs, or a folder.

        Raises:
            UserError: where there is none, or its files are damaged or do not fit together.
        """
        folder = find_model(str(name), RUNS, of_molecules=True)
        augmented, card = load_model(folder)
        shown = str(folder) if str(name) == "latest" else str(name)
        return cls(augmented, card, calibration_of(folder, card), shown)

    def chosen(self, names: Sequence[str]) -> tuple[Column, ...]:
        """The columns of these targets, all of them for none.

        Raises:
            UserError: for a target that the model does not predict.
        """
        names = [names] if isinstance(names, str) else names
        known = dict(zip(labels_of(self.card.targets), self._slices, strict=True))
        unknown = [name for name in names if name not in known]
        if unknown:
            raise UserError(f"the model does not predict {', '.join(unknown)}; it predicts {', '.join(known)}")
        return tuple(c for name in names for c in self.columns[known[name]]) if names else self.columns

    def calculator(self, energy: str | None = None, dipole: str | None = None) -> ModelCalculator:
        """The model as a calculator of ASE: `atoms.calc = predictor.calculator("u0")`.

        E in eV, F = - dE / dr in eV/angstrom, dipole in e*angstrom. The models that come with the package know energies
        of equilibrium geometries alone: forces away from a minimum are not validated. They know the length of a dipole,
        not the vector.

        Args:
            energy: of the model's targets, None for no energy and no forces.
            dipole: of the model's targets, a dipole vector; None takes the only one, if there is one.

        Raises:
            UserError: for a target that the model does not predict, or that is no energy or no dipole vector; where
                neither is asked for or found; and for a model of principal frames, whose axes turn with the atoms.
        """
        from molaugerino.predict.calculator import make_calculator

        return make_calculator(self.augmented, self.card, self.chosen, energy, dipole)

    @property
    def _slices(self) -> list[slice]:
        return channel_slices(self.card.targets)

    @property
    def _least(self) -> np.ndarray:
        """(channels,) below which no value can be: a length and an extent are not negative."""
        return np.array(
            [
                0.0 if t.readout in ("norm", "extent") else -math.inf
                for t in self.card.targets
                for _ in range(t.channels)
            ]
        )

    @property
    def warnings(self) -> list[str]:
        """What a reader of the numbers should know about the model."""
        notes = []
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

    def route(self, entry: Entry, asked: Route | None) -> Route:
        """Where a molecule's geometry comes from.

        What is asked for; else what the model was trained on, MMFF94 geometries or given ones. A SMILES, which has
        none to give, is relaxed with GFN2-xTB for a model of given geometries where the extra [xtb] is there.
        """
        if asked is not None:
            return asked
        if self.card.geometry == "mmff":
            return "mmff"
        in_space = entry.structure is not None or (entry.mol is not None and entry.mol.GetNumConformers() > 0)
        return "given" if in_space else "xtb" if has_xtb() else "mmff"

    def mismatch(self, route: str) -> str:
        """What it costs to predict at geometries of another kind than the model was trained on, '' at the same."""
        base = route.removesuffix(f"-{OPEN}")
        if base == self.card.geometry:
            return ""
        trained = {"given": f"those of {self.card.data}", "mmff": "MMFF94 ones"}[self.card.geometry]
        here = {"given": "those given", "mmff": "MMFF94 ones", "xtb": "GFN2-xTB ones"}[base]
        known = self.calibration is not None and base in self.calibration.routes
        cost = "the intervals are those of this route" if known else "no interval is known, errors may be far larger"
        return f"the model was trained on other geometries ({trained}) than these ({here}): {cost}"

    def predict(
        self, molecules: Any, options: Options | None = None, targets: Sequence[str] = (), **changes: Any
    ) -> Table:
        """A table with one row per molecule, in order.

        Args:
            molecules: SMILES, RDKit molecules, ASE atoms, Data or a Batch of torch_geometric; one, or many.
            options: how to predict.
            targets: which of the model's to report; none takes all.
            changes: single fields of `Options`, such as `geometry="xtb"`.

        Raises:
            UserError: for objects of other kinds, unknown targets, or options out of range.
        """
        options = replace(options or Options(), **changes)
        rows = tuple(self.stream(entries_of(molecules), options))
        return Table(rows, self.layout(options, targets))

    def annotate(self, graphs: Any, options: Options | None = None, targets: Sequence[str] = (), **changes: Any) -> Any:
        """Graphs of torch_geometric with their predictions on them, at the positions that they have.

        Args:
            graphs: Data with `z` and `pos` in angstrom, a Batch of them, or several.
            options: how to predict; the geometry is the given one.
            targets: the model's targets to put there, all of them for none.
            changes: single options by name.

        Returns:
            The same kind, of copies that share their tensors, everything kept and these added, channels those of
            `chosen(targets)`: `y_hat` (1, channels) predictions in the targets' units, `y_lo` and `y_hi` the ends of
            the intervals, all NaN where there is no number; `status`, `reason` and `domain`, as of a `Row`. In a Batch
            tensors are (graphs, channels), texts lists.

        Raises:
            UserError: for anything else, unknown targets, or options out of range.
        """
        from molaugerino.predict.graphs import annotated, data_of

        singles = data_of(graphs)
        return annotated(graphs, singles, self.predict(singles, options, targets, **(changes | {"geometry": "given"})))

    def embed(self, molecules: Any, options: Options | None = None, **changes: Any) -> Embeddings:
        """The last hidden layer of the network for each molecule: vectors to compare, cluster or learn from.

        Averaged over the atoms, over the orientations that the values are averaged over, and over the conformers and
        isomers of a molecule.

        Args:
            molecules: as for `predict`.
            options: how geometries are made; the level is not used.
            changes: single options by name.

        Raises:
            UserError: for objects of other kinds, or options out of range.
        """
        return gathered(self.embedded(entries_of(molecules), replace(options or Options(), **changes)), self.width)

    @property
    def width(self) -> int:
        """Of a latent vector."""
        readout: Any = self.augmented.model.readout
        return int(readout.mlp[-1].in_features)

    def layout(self, options: Options, targets: Sequence[str] = ()) -> Layout:
        """The columns of a table."""
        spreads = ["_isomer_sd"] if options.isomers > 1 else []
        spreads += ["_conformer_sd"] if options.conformers > 1 else []
        return Layout(self.chosen(targets), options.level, tuple(spreads))

    def stream(self, entries: Iterable[Entry], options: Options) -> Generator[Row]:
        """The rows as they come, a chunk of molecules at a time; memory does not grow with their number."""
        with options.preparing() as prepared:
            yield from self.rows(entries, options, prepared)

    def rows(self, entries: Iterable[Entry], options: Options, prepared: Preparing) -> Iterator[Row]:
        """As `stream`, with geometries made by something that is there."""
        for chunk in self._chunks(entries, options, prepared):
            yield from self._rows([entry for entry, _ in chunk], [made for _, made in chunk], options)

    def embedded(self, entries: Iterable[Entry], options: Options) -> Generator[Embedded]:
        """The latent vectors as they come."""
        with options.preparing() as prepared:
            for chunk in self._chunks(entries, options, prepared):
                yield from rows_of(chunk, self._hidden([p.geometries for _, p in chunk if p.status == "ok"]))

    def _chunks(
        self, entries: Iterable[Entry], options: Options, prepared: Preparing
    ) -> Iterator[list[tuple[Entry, Prepared]]]:
        waiting, kept = tee(entries)
        pairs = zip(kept, prepared((entry, self._settings(entry, options)) for entry in waiting), strict=True)
        while chunk := list(islice(pairs, CHUNK)):
            yield chunk

    def _hidden(self, parts: Sequence[Sequence[Geometry]]) -> np.ndarray:
        """(molecules, width), NaN where the model gives no finite value."""
        if not parts:
            return np.empty((0, self.width), np.float32)
        answered, _ = self.averaged(packed([g for geometries in parts for g in geometries]), parts)
        known = torch.isfinite(answered.values).all(1, keepdim=True)
        return torch.where(known, answered.hidden, torch.nan).numpy()

    def _settings(self, entry: Entry, options: Options) -> Settings:
        return Settings(
            route=self.route(entry, options.geometry),
            isomers=options.isomers,
            conformers=options.conformers,
            weights=options.weights,
            elements=tuple(self.card.elements),
            max_atoms=self.card.max_atoms,
            timeout=options.timeout,
        )

    def _rows(self, entries: Sequence[Entry], prepared: Sequence[Prepared], options: Options) -> list[Row]:
        blank = (math.nan,) * len(self.columns)
        rows = [
            Row(e.text, p.smiles, p.status, p.reason, "", blank, blank, blank, blank, blank, blank, columns=e.columns)
            for e, p in zip(entries, prepared, strict=True)
        ]
        found = [k for k, p in enumerate(prepared) if p.status == "ok"]
        for route in dict.fromkeys(prepared[k].route for k in found):
            group = [k for k in found if prepared[k].route == route]
            filled = self._filled([rows[k] for k in group], [prepared[k] for k in group], route, options)
            for k, row in zip(group, filled, strict=True):
                rows[k] = row
        return rows

    def _filled(self, rows: list[Row], prepared: list[Prepared], route: str, options: Options) -> list[Row]:
        """The rows of molecules that came by one route, with their numbers."""
        geometries = [g for p in prepared for g in p.geometries]
        molecules = packed(geometries)
        answered, spread = self.averaged(molecules, [p.geometries for p in prepared])
        half = self._half_widths(route, answered, spread, options.level)
        first = np.cumsum([0] + [len(p.geometries) for p in prepared])  # geometry of each molecule
        domains = self._domains(molecules.subset(first[:-1]), answered.hidden)
        done = []
        for k, (row, p) in enumerate(zip(rows, prepared, strict=True)):
            values = answered.values[k].double().numpy()
            if not np.isfinite(values).all():
                why = "the model gave no finite number for this geometry"
                done.append(replace(row, status="bad_geometry", reason=why))
                continue
            state, why = domains[k]
            done.append(
                replace(
                    row,
                    reason="; ".join(filter(None, (p.note, why))),
                    domain=state,
                    values=tuple(values.tolist()),
                    lo=tuple(np.maximum(values - half[k], self._least).tolist()),
                    hi=tuple((values + half[k]).tolist()),
                    orientation_sd=tuple(answered.orientation_sd[k].tolist()),
                    isomer_sd=tuple(spread.isomer_sd[k].tolist()),
                    conformer_sd=tuple(spread.conformer_sd[k].tolist()),
                    isomers=len({g.isomer for g in p.geometries}),
                )
            )
        return done

    def _domains(self, molecules: MoleculeSet, hidden: torch.Tensor) -> Sequence[tuple[DomainColumn, str]]:
        if self.calibration is None:
            return [("", "")] * len(molecules)
        return self.calibration.domain.judge(molecules, self.calibration.latent.distance(hidden).numpy())

    def answers(self, molecules: MoleculeSet, rows: np.ndarray | None = None) -> Answers:
        """What the model says of each geometry of a set, or of some of its rows."""
        if self.card.frames == "principal":
            molecules, _ = in_frames(molecules, "principal")
        rows = np.arange(len(molecules)) if rows is None else rows
        return model_answers(self.augmented, self.card, PackedData(molecules, []), rows)

    def averaged(self, molecules: MoleculeSet, parts: Sequence[Sequence[Geometry]]) -> tuple[Answers, Spread]:
        """Predictions averaged over the geometries of each molecule.

        Args:
            molecules: all geometries, one after the other.
            parts: which of them belong to which molecule.
        """
        each = self.answers(molecules)
        sizes = np.array([len(geometries) for geometries in parts])
        first = np.cumsum(sizes) - sizes
        means = Answers(*(field[torch.from_numpy(first)] for field in each))  # of a single geometry, its own
        isomer_sd, conformer_sd = np.zeros(means.values.shape), np.zeros(means.values.shape)
        for k in np.flatnonzero(sizes > 1).tolist():
            geometries, own = parts[k], Answers(*(field[first[k] : first[k] + sizes[k]] for field in each))
            isomer = np.array([g.isomer for g in geometries])
            weight = torch.tensor([g.weight for g in geometries], dtype=own.values.dtype)
            members = [torch.from_numpy(isomer == i) for i in np.unique(isomer)]
            by_isomer = [torch.stack([(weight[m, None] * field[m]).sum(0) for m in members]) for field in own]
            for mean, several in zip(means, by_isomer, strict=True):
                mean[k] = several.mean(0)
            isomer_sd[k] = by_isomer[0].std(0, correction=0).numpy()
            within = torch.stack([own.values[m].var(0, correction=0) for m in members])
            conformer_sd[k] = within.mean(0).sqrt().numpy()
        return means, Spread(isomer_sd, conformer_sd)

    def _half_widths(self, route: str, answered: Answers, spread: Spread, level: float) -> np.ndarray:
        """Of the route; where open configurations have no intervals of their own, wider by what isomers differ."""
        if self.calibration is None:
            return np.full(answered.values.shape, np.nan)
        base = route.removesuffix(f"-{OPEN}")
        if route in self.calibration.routes:
            return self.calibration.half_widths(route, answered, spread, level)
        return self.calibration.half_widths(base, answered, None, level) + 2 * spread.isomer_sd


def packed(geometries: Sequence[Geometry]) -> MoleculeSet:
    """Geometries as a set without labels."""
    return MoleculeSet(
        name="input",
        checksum="",
        geometry="given",
        id=np.arange(len(geometries)),
        num_atoms=np.array([len(g.numbers) for g in geometries]),
        atomic_numbers=np.concatenate([g.numbers for g in geometries]).astype(np.int64),
        positions=np.concatenate([g.positions for g in geometries]).astype(np.float32),
        columns=(),
    )
