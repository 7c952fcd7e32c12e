"""The command line: one verb per file, settings from dataclasses, mistakes told in one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from molaugerino.config import (
    BenchmarkConfig,
    DataConfig,
    DiscoverConfig,
    EmbedConfig,
    EvaluateConfig,
    ExportConfig,
    ImageConfig,
    MeasureConfig,
    PredictConfig,
    TrainConfig,
    toml_arguments,
)
from molaugerino.errors import UserError
from molaugerino.version import __version__

VERBS: dict[str, Any] = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "discover": DiscoverConfig,
    "measure": MeasureConfig,
    "predict": PredictConfig,
    "embed": EmbedConfig,
    "export": ExportConfig,
    "data": DataConfig,
    "benchmark": BenchmarkConfig,
}
LENGTHS = ("--minutes", "--epochs", "--steps")  # one on the command line replaces whichever the file has
DESCRIPTION = """Molecular properties from networks that learn their symmetry from training data.

  molaugerino predict CCO c1ccccc1       predict with the model that comes with molaugerino
  molaugerino embed CCO --out h.npz      latent vectors of molecules
  molaugerino export NAME --out M.pt2    a trained model as a file that torch reads without molaugerino
  molaugerino train                      train on the embedded data set, a few minutes on two cores
  molaugerino train --task rotmnist      train on images; train --task rotmnist --help lists the tasks
  molaugerino evaluate runs/NAME         its law and test errors
  molaugerino discover runs/NAME         which symmetries its label has
  molaugerino measure runs/NAME          how much it depends on orientation, layer by layer
  molaugerino data fetch qm9             get QM9, once, to train on with --data qm9
  molaugerino data mmff FILE --out DIR   force-field geometries for a data set, as predict makes them
  molaugerino benchmark qm9              train by a recipe, and compare with published errors
  molaugerino benchmark equivariance     learned against fixed equivariance, in a report
  molaugerino VERB --help                all settings of a verb
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0, 1 for --strict, 2 for a mistake in the input, 130 for an interrupt."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(DESCRIPTION)
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        print(__version__)
        return 0
    verb, rest = arguments[0], arguments[1:]
    try:
        if verb not in VERBS:
            raise UserError(f"no verb {verb!r}; there are {', '.join(VERBS)}")
        config = parse(verb, rest)
        run: Callable[[Any], int] = import_module(f"molaugerino.cli.{verb}").run  # only what the verb needs is imported
        code = run(config)
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"molaugerino: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("molaugerino: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        sys.stderr.close()
        return 0
    except OSError as error:  # of a full disk, say
        print(f"molaugerino: {error}", file=sys.stderr)
        sys.stdout = open(os.devnull, "w")  # what could not be written is not tried again at the end  # noqa: SIM115
        return 2


def parse(verb: str, arguments: list[str]) -> Any:
    """The verb's settings; a file named by --config comes first, so that the command line overrides it."""
    file = _value_of("--config", arguments) if verb == "train" else None
    settings: list[str] = []
    if file is not None:
        length_given = any(option.split("=")[0] in LENGTHS for option in arguments)
        data_given = any(option.split("=")[0] == "--data" for option in arguments)
        leave_out = (LENGTHS if length_given else ()) + (("--method",) if data_given else ())  # they belong to the data
        settings = toml_arguments(Path(file), leave_out)
    arguments = [*settings, *arguments]
    import tyro  # not for --help of the whole

    of_images = verb == "train" and _value_of("--task", arguments) is not None
    return tyro.cli(ImageConfig if of_images else VERBS[verb], args=arguments, prog=f"molaugerino {verb}")


def _value_of(option: str, arguments: list[str]) -> str | None:
    """What follows an option, if anything; whatever is wrong with it, the parser says."""
    for k, argument in enumerate(arguments):
        name, given, value = argument.partition("=")
        if name == option:
            return value if given else next(iter(arguments[k + 1 :]), None)
    return None
