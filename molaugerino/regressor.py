"""A regressor of scikit-learn whose samples are SMILES; needs the extra [sklearn]."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, TypeVar, overload

import numpy as np
import torch
from pydantic import Field, TypeAdapter, ValidationError
from rich.console import Console

from molaugerino.config import TrainConfig
from molaugerino.errors import UserError
from molaugerino.files import make_folder, write_atomic
from molaugerino.predict.entries import Entry
from molaugerino.predict.labelled import calibrating_split, lowest, save_labelled
from molaugerino.predict.predictor import Predictor, packed
from molaugerino.predict.routes import Prepared, Settings, prepare
from molaugerino.training.calibration import calibration_of
from molaugerino.training.checkpoint import CONFIG, load_model, save_model
from molaugerino.training.defaults import resolved
from molaugerino.training.run import train
from molaugerino.training.setup import keeps_for_law
from molaugerino.uncertainty import save_calibration
from molaugerino.uncertainty.conformal import FEWEST

try:
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.utils import Tags, check_array, check_random_state, check_X_y
    from sklearn.utils.parallel import Parallel, delayed
    from sklearn.utils.validation import check_is_fitted
except ImportError as missing:
    raise ImportError(
        f"SmilesRegressor needs scikit-learn 1.6 or later ({missing}); install it with: "
        "pip install 'molaugerino[sklearn]'"
    ) from missing

FILE = "regressor.json"  # beside a saved model: the parameters
ANY = {"dtype": None, "ensure_2d": False, "ensure_all_finite": False}  # of X, which `_entries` looks at
DATA, SPLIT = "molecules.npz", "split.npz"  # of a fit, while it lasts
SHOWN = 3  # molecules that a warning names

C = TypeVar("C")


@dataclass(frozen=True)
class Own:
    """Parameters of the regressor that are no settings of a training."""

    conformers: Annotated[int, Field(ge=1, le=100)]
    on_bad: Literal["skip", "raise"]
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] | None


class SmilesRegressor(RegressorMixin, BaseEstimator):
    """y = h(r(x)),   r(x) the MMFF94 geometry of the SMILES x, h a network trained on the molecules of `fit`.

    X is one column of SMILES: a list, an array, a Series, or an array or DataFrame of one column. With `steps` or
    `epochs` a `random_state` fixes every bit, given the CPU and its threads; with `minutes` the clock has its say.
    A SMILES that leaves its configuration open gets that of one isomer, the same wherever it is met.

    Rows that cannot be used (a SMILES that is none, a salt, an ion, a radical, no geometry; for `predict` also an
    element that was not in the fit, or more than twice the atoms of any molecule in it) are left out of the fit and
    predicted as NaN, with a warning that names the first and why. Scorers of scikit-learn refuse NaN, and
    `cross_val_score` gives NaN for such a split: leave out beforehand what `predict` gives NaN for.

    Args:
        model: the network, see `molaugerino train --help`; "auto" is the one with the lowest error per minute.
        augment: "learned" finds which rotations and shifts the label allows, "fixed" takes all, "none" none; "auto"
            learns for a network that does not respect them anyhow.
        readout: how atoms add up: "sum" for a label that grows with the molecule, "mean" for one that does not; one
            for all outputs or a list.
        width: features per atom; None takes the network's own.
        depth: blocks of the network.
        batch: molecules per step.
        lr: peak learning rate of AdamW.
        init: a trained model to start from: "qm9-mmff", or the folder of a run.
        minutes, epochs, steps: length of the training, one of them at most; 4 minutes where none is given.
        validation_fraction: share of the distinct molecules that train nothing and calibrate the standard deviations;
            None takes a tenth, and up to a quarter where a tenth is fewer than the 40 that this needs.
        conformers: geometries made of a molecule, of which the one of the lowest energy is taken.
        on_bad: "skip" does as said above, "raise" makes rows that cannot be used an error.
        random_state: seed, generator or None, as everywhere in scikit-learn.
        n_jobs: processes that make geometries, as everywhere in scikit-learn.
        verbose: show the progress of the training.

    Attributes:
        predictor_: the trained model.
        n_features_in_: 1, the column of SMILES.
        flat_: whether y had one dimension.

    Example:
        >>> regressor = SmilesRegressor(steps=2000).fit(smiles, y)                 # doctest: +SKIP
        >>> mean, std = regressor.predict(["CCO", "c1ccccc1"], return_std=True)    # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        model: str = "auto",
        augment: str = "auto",
        readout: str | Sequence[str] = "mean",
        width: int | None = None,
        depth: int = 4,
        batch: int = 32,
        lr: float = 2e-3,
        init: str | Path | None = None,
        minutes: float | None = None,
        epochs: int | None = None,
        steps: int | None = None,
        validation_fraction: float | None = None,
        conformers: int = 1,
        on_bad: Literal["skip", "raise"] = "skip",
        random_state: int | np.random.RandomState | None = 0,
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.augment = augment
        self.readout = readout
        self.width = width
        self.depth = depth
        self.batch = batch
        self.lr = lr
        self.init = init
        self.minutes = minutes
        self.epochs = epochs
        self.steps = steps
        self.validation_fraction = validation_fraction
        self.conformers = conformers
        self.on_bad = on_bad
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> SmilesRegressor:
        """Make geometries, train, calibrate.

        Args:
            X: (n,) or (n, 1) SMILES; one that comes several times is one molecule with several labels.
            y: (n,) or (n, outputs) finite labels.

        Raises:
            UserError: for parameters out of range, too few molecules that can be used, and, with on_bad="raise", any
                that cannot.
            ValueError: for arrays of another shape or kind.
            KeyboardInterrupt: where the training was interrupted.
        """
        X, y = check_X_y(X, y, **ANY, multi_output=True, y_numeric=True, ensure_min_samples=2, estimator=self)
        labels = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        with TemporaryDirectory(prefix="molaugerino-") as work, torch.random.fork_rng(devices=[]):
            config = self._config(Path(work), labels.shape[1])
            config = replace(config, seed=int(check_random_state(self.random_state).randint(2**31 - 1)))
            made = self._prepared(self._entries(X))
            rows = self._usable(made, "left out of the fit")
            usable = [made[k] for k in rows]
            split = calibrating_split(usable, self.validation_fraction, keeps_for_law(config), config.seed)
            save_labelled(usable, labels[rows], config.target, split, Path(work) / DATA, Path(work) / SPLIT)
            run = train(config, Console(stderr=True, quiet=not self.verbose))
            if run is None:
                raise KeyboardInterrupt
            augmented, card = load_model(run.folder)
            self.predictor_ = Predictor(augmented, card, calibration_of(run.folder, card))
        self.n_features_in_, self.flat_ = 1, y.ndim == 1
        return self

    @overload
    def predict(self, X: Any, return_std: Literal[False] = False) -> np.ndarray: ...

    @overload
    def predict(self, X: Any, return_std: Literal[True]) -> tuple[np.ndarray, np.ndarray]: ...

    def predict(self, X: Any, return_std: bool = False) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Labels in the shape that y had in the fit, NaN in rows that cannot be used.

        Args:
            X: (n,) or (n, 1) SMILES.
            return_std: give standard deviations of label minus prediction, too. They are the root mean square of the
                errors on the molecules that trained nothing, each carried over to the molecule at hand by what tells
                how far a prediction may be off: the distance from the training molecules in the last hidden layer and
                the spread over orientations, as for the intervals of `Predictor`. Noise of the labels is in them, and
                no form of the errors is assumed. They hold for molecules drawn like those of the fit.

        Raises:
            NotFittedError: before `fit`.
            UserError: where a standard deviation is asked for and fewer than 40 molecules were kept to calibrate it;
                with on_bad="raise", for rows that cannot be used.
            ValueError: for an array of another shape or kind.
        """
        check_is_fitted(self)
        card, calibration = self.predictor_.card, self.predictor_.calibration
        X = check_array(X, **ANY, estimator=self, input_name="X")
        if return_std and (calibration is None or None in calibration.routes[card.geometry]):
            raise UserError(
                f"standard deviations need {FEWEST} molecules that trained nothing, and there were fewer: fit more "
                "molecules, or with a larger validation_fraction"
            )
        made = self._prepared(self._entries(X), tuple(card.elements), card.max_atoms)
        rows = self._usable(made, "predicted as NaN")
        values, deviations = np.full((2, len(made), len(card.targets)), np.nan)
        if len(rows):
            answered = self.predictor_.answers(packed([lowest(made[k]) for k in rows]))
            values[rows] = answered.values.numpy()
            if return_std and calibration is not None:
                deviations[rows] = calibration.deviations(card.geometry, answered)
        if self.flat_:
            values, deviations = values[:, 0], deviations[:, 0]
        return (values, deviations) if return_std else values

    def save(self, folder: str | Path) -> None:
        """Write model and parameters, nothing pickled; `Predictor.from_pretrained` reads such a folder, too.

        Args:
            folder: that holds no model yet. Of random_state only a number is kept.

        Raises:
            NotFittedError: before `fit`.
            UserError: where it holds one, or cannot be written.
        """
        check_is_fitted(self)
        folder, predictor = Path(folder), self.predictor_
        if any(os.path.exists(folder / name) for name in (CONFIG, FILE)):
            raise UserError(f"{folder} already holds a model; choose another folder")
        make_folder(folder)
        content = {"parameters": self._given(), "flat": self.flat_}
        write_atomic(folder / FILE, json.dumps(content, indent=1, default=_as_text) + "\n")
        digest = save_model(folder, predictor.augmented, predictor.card)
        if predictor.calibration is not None:
            save_calibration(folder, predictor.calibration, digest)

    @classmethod
    def load(cls, folder: str | Path) -> SmilesRegressor:
        """The regressor that `save` wrote.

        Raises:
            UserError: where a file is missing, damaged, or of something else.
        """
        path = Path(os.path.abspath(folder)) / FILE
        predictor = Predictor.from_pretrained(path.parent)
        try:
            content = json.loads(path.read_bytes())
            regressor = cls(**content["parameters"])
            regressor._config(path.parent, len(predictor.card.targets))
            regressor.flat_ = content["flat"] is True
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} does not hold the parameters of a {cls.__name__} ({error}); restore it") from None
        regressor.predictor_, regressor.n_features_in_ = predictor, 1
        return regressor

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = tags.input_tags.string = True
        tags.target_tags.multi_output = True
        tags.non_deterministic = self.steps is None and self.epochs is None
        return tags

    def _given(self) -> dict[str, Any]:
        """The parameters, those of numpy as Python's."""
        given = self.get_params(deep=False).items()
        return {name: v.tolist() if isinstance(v, (np.generic, np.ndarray)) else v for name, v in given}

    def _config(self, work: Path, outputs: int) -> TrainConfig:
        """The training in a folder of its own, at the seed 0.

        Raises:
            UserError: for a parameter that is out of range.
        """
        given = self._given()
        checked(Own, {name: given[name] for name in Own.__dataclass_fields__})
        settings = {name: given[name] for name in ("model", "augment", "minutes", "epochs", "steps")} | {
            "data": (str(work / DATA),),
            "split": str(work / SPLIT),
            "out": work / "run",
            "target": ("y",) if outputs == 1 else tuple(f"y{k}" for k in range(outputs)),
            "readout": (self.readout,) if isinstance(self.readout, str) else self.readout,
            "init": None if self.init is None else str(self.init),
            "net": {"width": given["width"] or 0, "depth": given["depth"]},
            "optim": {"batch": given["batch"], "lr": given["lr"]},
        }
        return resolved(checked(TrainConfig, settings))

    def _entries(self, X: np.ndarray) -> list[Entry]:
        """The rows of X as molecules to be made."""
        if X.shape[1:] not in ((), (1,)):
            raise ValueError(f"X has {X.shape[1]} features, but {type(self).__name__} is expecting 1: the SMILES")
        if X.dtype.kind not in "OUT":
            raise ValueError(f"X must hold SMILES, got an array of {X.dtype}")
        return [entry_of(value) for value in X.ravel()]

    def _prepared(
        self, entries: Sequence[Entry], elements: tuple[int, ...] | None = None, max_atoms: int | None = None
    ) -> list[Prepared]:
        """What becomes of each, in the fit as in predictions; what comes several times is made once."""
        settings = Settings("mmff", 1, self.conformers, "lowest", elements, max_atoms)
        distinct = {(entry.text, entry.fault): entry for entry in entries}
        made = Parallel(self.n_jobs)(delayed(prepare)((entry, settings)) for entry in distinct.values())
        found = dict(zip(distinct, made, strict=True))
        return [found[entry.text, entry.fault] for entry in entries]

    def _usable(self, made: Sequence[Prepared], what: str) -> np.ndarray:
        """The rows with a geometry; a warning, or an error, says which have none."""
        bad = [f"row {k}: {p.status}, {p.reason}" for k, p in enumerate(made) if p.status != "ok"]
        if bad:
            named = "; ".join(bad[:SHOWN]) + ("; ..." if len(bad) > SHOWN else "")
            if self.on_bad == "raise":
                raise UserError(f"{len(bad)} of {len(made)} molecules cannot be used ({named})")
            warnings.warn(f"{len(bad)} of {len(made)} molecules are {what} ({named})", UserWarning, stacklevel=3)
        return np.flatnonzero([p.status == "ok" for p in made])


def checked(kind: type[C], settings: dict[str, Any]) -> C:
    """A dataclass from values that may be anything.

    Raises:
        UserError: for the first that is of the wrong type or out of range.
    """
    try:
        return TypeAdapter(kind).validate_python(settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if isinstance(told := first.get("ctx", {}).get("error"), UserError):
            raise told from None
        name = [part for part in first["loc"] if part in SmilesRegressor._get_param_names()][-1]
        raise UserError(f"`{name}`: {first['msg']}, got {first['input']!r}") from None


def entry_of(value: Any) -> Entry:
    """What stands in one row; where nothing does (None, NaN), an empty SMILES."""
    if isinstance(value, str):
        return Entry(value, smiles=value)
    if value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and value != value):
        return Entry("")
    return Entry(repr(value), fault=f"a {type(value).__name__} is no SMILES")


def _as_text(value: Any) -> str | None:
    return str(value) if isinstance(value, Path) else None
