"""molaugerino predict"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from molaugerino.config import PredictConfig
from molaugerino.errors import UserError
from molaugerino.files import make_folder, write_atomic
from molaugerino.predict.predictor import Predictor, Row, latest_run
from molaugerino.predict.tables import Format, read_inputs, render
from molaugerino.training.folder import RUNS

NOT_ALL_OK = 1


def run(config: PredictConfig) -> int:
    folder = latest_run(RUNS) if config.checkpoint == "latest" else Path(config.checkpoint)
    form = output_format(config)
    if config.out is not None:
        if os.path.isdir(config.out):
            raise UserError(f"--out {config.out} is a folder; give the name of a file")
        make_folder(config.out.parent)
    predictor = Predictor.from_pretrained(folder)
    lines = list(read_inputs(config.input, config.column))
    say(f"model {folder}: {', '.join(predictor.columns)} by {methods(predictor)}, trained on {predictor.card.data}")
    for note in predictor.warnings:
        say(f"warning: {note}")
    rows = predict_all(predictor, lines)
    text = render(rows, predictor.columns, form)
    if config.out is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        write_atomic(config.out, text)
    counts = Counter(row.status for row in rows)
    say(
        f"{counts['ok']} of {len(rows)} molecules predicted"
        + "".join(f", {n} {s}" for s, n in counts.items() if s != "ok")
    )
    return NOT_ALL_OK if config.strict and counts["ok"] < len(rows) else 0


def predict_all(predictor: Predictor, lines: list[str]) -> list[Row]:
    columns = TextColumn("predicting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        return list(progress.track(predictor.stream(lines), total=len(lines), description=""))


def output_format(config: PredictConfig) -> Format:
    if config.format is not None:
        return config.format
    suffix = config.out.suffix.lower() if config.out is not None else ""
    formats: dict[str, Format] = {".csv": "csv", ".json": "json"}
    return formats.get(suffix, "table")


def methods(predictor: Predictor) -> str:
    return ", ".join(dict.fromkeys(target.method or "an unnamed method" for target in predictor.card.targets))


def say(text: str) -> None:
    print(text, file=sys.stderr)
