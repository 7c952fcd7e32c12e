"""Settings of the other verbs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg, subcommand

from molaugerino.config.shared import optional
from molaugerino.errors import UserError


@dataclass(frozen=True)
class EvaluateConfig:
    """Test errors of a trained model, on stored and on random frames, with one pass and averaged over its law, and how
    often its intervals hold the label."""

    run: Annotated[Positional[str], arg(metavar="NAME|DIR")]
    """Folder of a trained model, a model that comes with molaugerino, or latest."""
    data: Annotated[tuple[str, ...], arg(help_behavior_hint="(default: the test molecules of the run)")] = ()
    """As for train: all their molecules of known elements, without those that the run has seen."""
    method: Annotated[tuple[str, ...], arg(help_behavior_hint="(default: as the files say)")] = ()
    """As for train: level of theory of the labels of --data."""
    copies: int = 16
    """Elements of the law to average over."""
    format: Literal["table", "json"] = "table"
    """How to print."""


@dataclass(frozen=True)
class DiscoverConfig:
    """Which transformations the label of a trained model allows: kept, broken or undecided, with the evidence.

    Prints a table and writes discovery.json and discovery.png.
    """

    run: Annotated[Positional[Path], arg(metavar="DIR")]
    """Folder of a run with a learned law."""
    data: Annotated[tuple[str, ...], arg(help_behavior_hint="(default: the test molecules of the run)")] = ()
    """As for train: molecules to test on, without those that the run has seen."""
    method: Annotated[tuple[str, ...], arg(help_behavior_hint="(default: as the files say)")] = ()
    """As for train: level of theory of the labels of --data."""
    molecules: int = 1000
    """How many of them to test, at most."""
    out: Annotated[Path | None, optional("DIR", "the folder of the run")] = None
    """Where discovery.json and discovery.png go."""
    format: Literal["table", "json"] = "table"
    """How to print."""


@dataclass(frozen=True)
class MeasureConfig:
    """How much a trained model depends on how its input is turned: by layer, end to end, and what of its error.

    Molecules are rotated, images moved or coloured as their task's law does. Every score stands beside what unrelated
    examples give.
    """

    run: Annotated[Positional[str], arg(metavar="NAME|DIR")]
    """Folder of a trained model, a model that comes with molaugerino, or latest."""
    data: Annotated[tuple[str, ...], arg(help_behavior_hint="(default: the test examples of the run)")] = ()
    """As for train: examples to test on, without those that the run has seen."""
    layers: Annotated[tuple[str, ...], arg(help_behavior_hint="(default: the parts of the network)")] = ()
    """Layers by path, or patterns such as "blocks.*"; "*" measures every module."""
    examples: int = 128
    """How many test examples to look at, at most."""
    format: Literal["table", "json"] = "table"
    """How to print."""
    plot: Annotated[Path | None, optional("FILE", "none")] = None
    """Picture of all of it on one page, .png or .svg."""


@dataclass(frozen=True)
class PredictConfig:
    """Predict properties of molecules, with intervals, and whether the model knows molecules of their kind.

    One row per molecule, whatever happens: status says why a row has no number. Files are streamed; with --out FILE
    --resume a call goes on where an earlier one was broken off, however that ended.
    """

    input: Annotated[Positional[tuple[str, ...]], arg(metavar="INPUT ...", help_behavior_hint="(default: -)")] = ()
    """SMILES, or .smi, .txt, .csv, .sdf, .xyz or .extxyz files, packed (.gz) or not; - or nothing reads SMILES from
    standard input."""
    checkpoint: str = "qm9-mmff"
    """A model that comes with molaugerino (qm9-mmff for SMILES; qm9-dft for DFT geometries; xtb9: gap, homo, lumo,
    atomisation energy and dipole by GFN2-xTB), the folder of a trained one, or latest, the newest finished run
    under ./runs."""
    target: Annotated[tuple[str, ...], arg(help_behavior_hint="(default: all)")] = ()
    """Which of the model's targets to report."""
    geometry: Annotated[
        Literal["given", "mmff", "xtb"] | None, optional("{given,mmff,xtb}", "what the model was trained on")
    ] = None
    """Positions to predict at: those of the file, ETKDGv3 + MMFF94 ones made from the bonds, or the nearest minimum of
    GFN2-xTB (needs the extra [xtb]). Of a SMILES, for a model of given ones, xtb where it is installed, else mmff."""
    isomers: int = 4
    """Of a SMILES that leaves stereochemistry open so many isomers, at most, are predicted and averaged."""
    conformers: int = 1
    """Conformers made of each isomer."""
    weights: Literal["lowest", "boltzmann"] = "lowest"
    """The conformer of lowest energy, or their average at 298.15 K."""
    level: float = 0.9
    """How often the interval should hold the true value."""
    jobs: Annotated[int | None, optional("N", "one per core; none for a few molecules")] = None
    """Processes that make geometries, and outlive molecules that hang or crash them."""
    timeout: int = 30
    """Seconds per conformer; a molecule may take this times --isomers times --conformers."""
    engine: Literal["local", "ray"] = "local"
    """What predicts: processes on this computer, or the workers of a Ray cluster that is running (needs the extra
    [ray]), of which --jobs takes so many, by default all."""
    column: str = "smiles"
    """Column of a .csv file that holds the SMILES (upper or lower case)."""
    format: Annotated[
        Literal["table", "csv", "json", "parquet"] | None,
        optional("{table,csv,json,parquet}", "by the suffix of --out, else a table"),
    ] = None
    """How to print; parquet needs the extra [parquet]."""
    out: Annotated[Path | None, optional("FILE", "print")] = None
    """File to write instead of printing. Until it is finished its rows are kept in FILE.parts."""
    resume: bool = False
    """Go on with the rows in FILE.parts; start where there are none; leave a finished file alone."""
    plot: Annotated[Path | None, optional("FILE", "none")] = None
    """Picture of the molecules with their values, .png or .svg."""
    strict: bool = False
    """Exit with an error where any row has no number."""

    def __post_init__(self) -> None:
        if self.resume and (self.out is None or self.plot is not None):
            raise UserError("--resume goes on with the file of --out, without --plot")


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """Latent vectors of molecules, the last hidden layer of a trained network, to compare, cluster or learn from.

    Averaged over atoms, orientations, conformers and isomers, as predictions are. One row per molecule, whatever
    happens: status says why a row has no vector.
    """

    input: Annotated[Positional[tuple[str, ...]], arg(metavar="INPUT ...", help_behavior_hint="(default: -)")] = ()
    """As for predict: SMILES, files, or - for SMILES from standard input."""
    out: Annotated[Path, arg(metavar="FILE")]
    """File to write: .csv or .parquet (the extra [parquet]) with columns h0, h1, ..., or .npz with one array h."""
    checkpoint: str = "qm9-mmff"
    """As for predict: a model that comes with molaugerino, the folder of a trained one, or latest."""
    geometry: Annotated[
        Literal["given", "mmff", "xtb"] | None, optional("{given,mmff,xtb}", "what the model was trained on")
    ] = None
    """As for predict: positions to embed at."""
    isomers: int = 4
    """As for predict: of a SMILES that leaves stereochemistry open, at most so many are averaged."""
    conformers: int = 1
    """Conformers made of each isomer."""
    weights: Literal["lowest", "boltzmann"] = "lowest"
    """The conformer of lowest energy, or their average at 298.15 K."""
    jobs: Annotated[int | None, optional("N", "one per core; none for a few molecules")] = None
    """As for predict: processes that make geometries."""
    timeout: int = 30
    """Seconds per conformer; a molecule may take this times --isomers times --conformers."""
    column: str = "smiles"
    """Column of a .csv file that holds the SMILES (upper or lower case)."""
    strict: bool = False
    """Exit with an error where any row has no vector."""


@dataclass(frozen=True)
class ExportConfig:
    """Write a trained model of molecules as one file that torch reads without molaugerino: a torch.export program.

    (atomic numbers, positions) of padded molecules -> the averaged predictions in their units. The file is read again
    and compared with the model before it is kept.
    """

    model: Annotated[Positional[str], arg(metavar="NAME|DIR")]
    """Folder of a trained model, a model that comes with molaugerino, or latest."""
    out: Annotated[Path, arg(metavar="FILE.pt2")]
    """File to write."""
    data: Annotated[tuple[str, ...], arg(help_behavior_hint="(default: xtb9)")] = ()
    """As for train: molecules to compare the file and the model on."""


@dataclass(frozen=True)
class DataConfig:
    """Prepare a data set, once: fetch a public one, or make MMFF94 geometries for one of your own.

    fetch qm9: 130,831 molecules of H, C, N, O and F with 19 properties by B3LYP/6-31G(2df,p), 86 MB to fetch; then
    train with --data qm9. An interrupted download goes on where it broke off. Where there is no network, fetch
    dsgdb9nsd.xyz.tar.bz2 and uncharacterized.txt elsewhere, put them side by side, and give --from-file.

    mmff DATA ... --out DIR: geometries as predict makes them, beside those given, so that a model learns from what it
    will be fed. Stereochemistry is that of the given geometry. Molecules that get none are left out. An interrupted
    call goes on where it broke off.
    """

    action: Annotated[Positional[Literal["fetch", "mmff"]], arg(metavar="{fetch,mmff}")]
    """What to do."""
    name: Annotated[Positional[tuple[str, ...]], arg(metavar="qm9 | DATA ...")]
    """fetch: qm9. mmff: data sets or files, as for train."""
    from_file: Annotated[Path | None, optional("FILE", "fetch it")] = None
    """fetch: archive on this computer, with uncharacterized.txt beside it."""
    out: Annotated[Path | None, optional("DIR", "$MOLAUGERINO_DATA/qm9, else ~/.cache/molaugerino/qm9")] = None
    """Folder to prepare; mmff needs it."""
    jobs: int = 1
    """mmff: processes."""

    def __post_init__(self) -> None:
        if self.action == "fetch" and self.name != ("qm9",):
            raise UserError(f"molaugerino data fetch knows qm9, got {' '.join(self.name)}")
        if self.action == "mmff" and (self.out is None or self.from_file is not None or not self.name):
            raise UserError("molaugerino data mmff takes data sets and --out DIR, the folder to prepare")
        if not 1 <= self.jobs <= 1024:
            raise UserError(f"--jobs must lie between 1 and 1024, got {self.jobs}")


@dataclass(frozen=True)
class RecipeConfig:
    """Train by a recipe, test, and show the error beside published ones.

    A recipe is a TOML file of settings of train. The run and result.json, with versions and device, go to a folder.
    """

    recipe: Annotated[str | None, optional("NAME", "list them")] = None
    """Name of a recipe that comes with molaugerino, or a TOML file."""
    data: Annotated[tuple[str, ...], arg(help_behavior_hint="(default: as the recipe says)")] = ()
    """Data sets, as for train."""
    minutes: Annotated[float | None, optional("M", "as the recipe says")] = None
    """Training time instead of the recipe's."""
    steps: Annotated[int | None, optional("S", "as the recipe says")] = None
    """Weight updates instead of the recipe's length."""
    seed: int = 0
    """Seed of weights, order and noise."""
    out: Annotated[Path | None, optional("DIR", "runs/qm9-RECIPE-SEED")] = None
    """Folder of the run and its result."""
    resume: bool = False
    """Go on where the run in that folder was interrupted; start it where there is none."""
    piece: Annotated[float | None, optional("M", "to the end")] = None
    """Stop after this many minutes, to go on with --resume."""

    def __post_init__(self) -> None:
        for name in ("minutes", "steps", "piece"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"--{name} must be positive, got {value}")
        if self.minutes is not None and self.steps is not None:
            raise UserError("give one of --minutes and --steps")


@dataclass(frozen=True)
class EquivarianceConfig:
    """Learned against fixed equivariance: contestants of equal parameters and equal minutes in worlds whose symmetry is
    known, over several splits.

    Writes report.html, report.md and results.json, whole at any time; --resume goes on where a call was broken off.
    """

    suite: Literal["quick", "full"] = "quick"
    """quick: 4 contestants, 3 worlds, 2 splits on the embedded data, 0.5 minutes of training each. full: all of them,
    349 runs of 1.25 minutes (rotmnist: 3.75); give --data for QM9 and MNIST."""
    data: tuple[Path, ...] = ()
    """Folders that hold qm9_b3lyp_gap.npz, qm9_g4mp2_00.npz to _02.npz, qm9_rimp2.npz, mnist_train.npz and
    mnist_test.npz; worlds whose files are missing are left out."""
    only: tuple[str, ...] = ()
    """Worlds, or worlds/contestants such as field/learned, to do; the others stay for another call."""
    out: Annotated[Path | None, optional("DIR", "runs/equivariance-SUITE")] = None
    """Folder of the report."""
    jobs: Annotated[int | None, optional("N", "one per core")] = None
    """Runs at a time, each on one thread."""
    resume: bool = False
    """Go on with the suite in that folder; start it where there is none."""

    def __post_init__(self) -> None:
        if self.jobs is not None and not 1 <= self.jobs <= 1024:
            raise UserError(f"--jobs must lie between 1 and 1024, got {self.jobs}")
        for folder in self.data:
            if not folder.is_dir():
                raise UserError(f"--data takes folders, and {folder} is none")


BenchmarkConfig = (
    Annotated[RecipeConfig, subcommand("qm9", prefix_name=False)]
    | Annotated[EquivarianceConfig, subcommand("equivariance", prefix_name=False)]
)
"""What `benchmark` takes."""
