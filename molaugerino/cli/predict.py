"""molaugerino predict"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from molaugerino.config import PredictConfig
from molaugerino.errors import UserError
from molaugerino.files import check_file, write_atomic
from molaugerino.predict.entries import Entry
from molaugerino.predict.inputs import read_inputs
from molaugerino.predict.outputs import SUFFIXES, Format, need_parquet, render
from molaugerino.predict.predictor import Options, Predictor
from molaugerino.predict.table import Row, Table
from molaugerino.training.ready import DEFAULT

NOT_ALL_OK = 1


def run(config: PredictConfig) -> int:
    form = output_format(config)
    for out in filter(None, (config.out, config.plot)):
        check_file(out)
    options = Options(config.geometry, config.isomers, config.conformers, config.weights, config.level, config.jobs)
    predictor = Predictor.from_pretrained(config.checkpoint)
    targets = predictor.chosen(config.target)
    entries = list(read_inputs(config.input, config.column))
    default = " (the default; --checkpoint names another)" if config.checkpoint == DEFAULT else ""
    methods = ", ".join(dict.fromkeys(target.method or "an unnamed method" for target in targets))
    say(f"model {predictor.name}{default}: {methods}, trained on {predictor.card.data}")
    routes = dict.fromkeys(predictor.route(entry, options.geometry) for entry in entries)
    for note in [*predictor.warnings, *filter(None, map(predictor.mismatch, routes))]:
        say(f"warning: {note}")
    table = predictor.table(predict_all(predictor, entries, options), options, config.target)
    text = render(table, form)
    if config.out is not None:
        write_atomic(config.out, text)
    else:
        sys.stdout.write(str(text))
        sys.stdout.flush()
    if config.plot is not None:
        from molaugerino.predict.plot import plot  # pictures need more of rdkit

        write_atomic(config.plot, plot(table, config.plot.suffix))
    return conclude(table, config)


def conclude(table: Table, config: PredictConfig) -> int:
    counts = Counter(row.status for row in table)
    said = [f"{counts['ok']} of {len(table)} molecules predicted"]
    said += [f"{n} {status}" for status, n in counts.items() if status != "ok"]
    outside = sum(row.domain == "outside" for row in table)
    said += [f"{outside} outside of what the model knows"] if outside else []
    say(", ".join(said))
    return NOT_ALL_OK if config.strict and counts["ok"] < len(table) else 0


def predict_all(predictor: Predictor, entries: Sequence[Entry], options: Options) -> list[Row]:
    columns = TextColumn("predicting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        return list(progress.track(predictor.stream(entries, options), total=len(entries), description=""))


def output_format(config: PredictConfig) -> Format:
    suffix = config.out.suffix.lower() if config.out is not None else ""
    form: Format = config.format or SUFFIXES.get(suffix, "table")
    if form == "parquet":
        if config.out is None:
            raise UserError("--format parquet is not for the screen; name a file with --out")
        need_parquet()
    return form


def say(text: str) -> None:
    print(text, file=sys.stderr)
