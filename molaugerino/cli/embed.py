"""molaugerino embed"""

from __future__ import annotations

import sys
from collections import Counter

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from molaugerino.config import EmbedConfig
from molaugerino.files import check_new_file, write_atomic
from molaugerino.predict.embed import check_form, gathered, render
from molaugerino.predict.inputs import read_inputs
from molaugerino.predict.predictor import Options, Predictor

NOT_ALL_OK = 1


def run(config: EmbedConfig) -> int:
    check_form(config.out)
    check_new_file(config.out)
    options = Options(config.geometry, config.isomers, config.conformers, config.weights, jobs=config.jobs)
    predictor = Predictor.from_pretrained(config.checkpoint)
    entries = list(read_inputs(config.input, config.column))
    columns = TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        rows = progress.track(predictor.embedded(entries, options), total=len(entries), description="")
        found = gathered(rows, predictor.width)
    write_atomic(config.out, render(found, config.out.suffix))
    counts = Counter(found.status)
    said = [f"{counts['ok']} of {len(found)} molecules embedded by {predictor.name} in {config.out}"]
    said += [f"{n} {status}" for status, n in counts.items() if status != "ok"]
    print(", ".join(said), file=sys.stderr)
    return NOT_ALL_OK if config.strict and counts["ok"] < len(found) else 0
