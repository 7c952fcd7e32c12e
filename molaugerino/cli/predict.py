"""molaugerino predict"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from molaugerino.cli.streams import molecules, on_threads, processes, progress, say
from molaugerino.config import PredictConfig
from molaugerino.errors import UserError
from molaugerino.files import check_file, sha256_of, write_atomic
from molaugerino.predict.entries import Entry
from molaugerino.predict.options import Options
from molaugerino.predict.outputs import SUFFIXES, Format, need_parquet, read_columns, render
from molaugerino.predict.parts import Parts
from molaugerino.predict.predictor import CHUNK, Predictor
from molaugerino.predict.table import Layout, Row, Table
from molaugerino.training.folder import RUNS
from molaugerino.training.ready import DEFAULT, find_model, model_files
from molaugerino.version import __version__

NOT_ALL_OK = 1


@dataclass(frozen=True)
class Job:
    """What is asked for: molecules, gone through once, their number where it is known, and how to predict them.

    Attributes:
        folder: of the model, where a Ray cluster predicts; None where this computer does.
    """

    predictor: Predictor
    entries: Iterator[Entry]
    total: int | None
    options: Options
    layout: Layout
    form: Format
    folder: Path | None

    def stream(self) -> Generator[Row]:
        """The rows as they come."""
        if self.folder is None:
            return self.predictor.stream(self.entries, self.options)
        from molaugerino.predict.on_ray import stream_on_ray  # only where it is asked for

        return stream_on_ray(self.folder, self.entries, self.options)


@dataclass
class Summary:
    """What became of the rows."""

    statuses: Counter[str] = field(default_factory=Counter)
    outside: int = 0

    def add(self, status: str, domain: str) -> None:
        self.statuses[status] += 1
        self.outside += domain == "outside"


def run(config: PredictConfig) -> int:
    job = job_of(config)
    default = " (the default; --checkpoint names another)" if config.checkpoint == DEFAULT else ""
    methods = ", ".join(dict.fromkeys(target.method or "an unnamed method" for target in job.layout.targets))
    say(f"model {job.predictor.name}{default}: {methods}, trained on {job.predictor.card.data}")
    for note in job.predictor.warnings:
        say(f"warning: {note}")
    with on_threads(None if job.options.jobs is None else 1):
        if config.out is not None and can_grow(config, job.form):
            summary = in_pieces(job, config.out, config)
        elif config.resume:
            raise UserError(
                f"--resume goes on with a .csv, .json or .parquet file, got {config.out}; name one with --out"
            )
        else:
            summary = at_once(job, config)
    return conclude(summary, config.strict)


def can_grow(config: PredictConfig, form: Format) -> bool:
    """Whether rows can be kept on disk as they come: not for a table for the eye, a device, or a picture."""
    is_file = config.out is not None and (config.out.is_file() or not config.out.exists())
    return is_file and config.plot is None and form != "table"


def job_of(config: PredictConfig) -> Job:
    form = output_format(config)
    for out in filter(None, (config.out, config.plot)):
        check_file(out)
        if any(
            os.path.exists(given) and os.path.exists(out) and os.path.samefile(given, out) for given in config.input
        ):
            raise UserError(f"{out} is read, and would be overwritten; choose another file for the output")
    if config.plot is not None:
        from molaugerino.predict.plot import check_suffix  # pictures need more of rdkit

        check_suffix(config.plot.suffix)
    predictor = Predictor.from_pretrained(config.checkpoint)
    entries, total = molecules(config.input, config.column)
    jobs = processes(config.jobs, total) if config.engine == "local" else config.jobs
    asked = {name: getattr(config, name) for name in ("geometry", "isomers", "conformers", "weights", "level")}
    options = Options(**asked, jobs=jobs, timeout=config.timeout)
    told = warned(predictor, entries, options)
    folder = find_model(config.checkpoint, RUNS, of_molecules=True) if config.engine == "ray" else None
    return Job(predictor, told, total, options, predictor.layout(options, config.target), form, folder)


def warned(predictor: Predictor, entries: Iterator[Entry], options: Options) -> Iterator[Entry]:
    """The molecules; when the first one comes whose geometry is not of the model's kind, that is said."""
    seen = set()
    for entry in entries:
        route = predictor.route(entry, options.geometry)
        if route not in seen and (note := predictor.mismatch(route)):
            say(f"warning: {note}")
        seen.add(route)
        yield entry


def at_once(job: Job, config: PredictConfig) -> Summary:
    """A table that is held in memory."""
    with progress(job.total) as advance, closing(job.stream()) as stream:
        rows = []
        for row in stream:
            rows.append(row)
            advance(1)
    table = Table(tuple(rows), job.layout)
    text = render(table, job.form)
    if config.out is not None:
        write_atomic(config.out, text)
    else:
        sys.stdout.write(str(text))
        sys.stdout.flush()
    if config.plot is not None:
        from molaugerino.predict.plot import plot  # pictures need more of rdkit

        write_atomic(config.plot, plot(table, config.plot.suffix))
    summary = Summary()
    for row in table:
        summary.add(row.status, row.domain)
    return summary


def in_pieces(job: Job, out: Path, config: PredictConfig) -> Summary:
    """A table that grows on disk, and that a later call can go on with."""
    parts = Parts(out, stamp(job, config))
    if parts.count and not config.resume:
        raise UserError(f"{parts.folder} holds rows of an unfinished run; go on with --resume, or remove it")
    summary = Summary()
    if config.resume and not parts.count and out.exists():
        names = ("input", "status", "domain", *job.layout.numbers)
        finished = (dict(zip(names[:3], row, strict=False)) for row in read_columns(out, job.form, names))
        skip(job, finished, summary, f"{out} is finished; its")
        if next(job.entries, None) is not None:
            raise UserError(f"{out} is finished, with fewer molecules than the input has; choose another --out")
        say(f"{out} is finished: nothing to do")
        return summary
    skip(job, parts.records(), summary, f"{parts.folder}:", with_columns=True)
    try:
        with progress(job.total, summary.statuses.total()) as advance, closing(job.stream()) as stream:
            while chunk := list(islice(stream, CHUNK)):
                parts.add(job.layout, chunk)
                for row in chunk:
                    summary.add(row.status, row.domain)
                advance(len(chunk))
    except KeyboardInterrupt:
        say(f"{summary.statuses.total()} rows are kept in {parts.folder}; go on with --resume")
        raise
    parts.finish(job.form, job.layout)
    return summary


def stamp(job: Job, config: PredictConfig) -> dict[str, Any]:
    """What decides the rows, but for the molecules."""
    folder = find_model(config.checkpoint, RUNS, of_molecules=True)
    files = {path.name: sha256_of(path) for path in model_files(folder)}
    options = {name: value for name, value in asdict(job.options).items() if name not in ("jobs", "timeout")}
    return {"molaugerino": __version__, "model": files, "columns": list(job.layout.numbers), **options}


def skip(job: Job, rows: Iterator[dict[str, Any]], summary: Summary, where: str, with_columns: bool = False) -> None:
    """Go past the molecules whose rows are there; they, and perhaps the columns beside them, must be the same."""
    for k, row in enumerate(rows, 1):
        entry = next(job.entries, None)
        text = row["input"]
        if entry is None or entry.text != text:
            now = "nothing" if entry is None else repr(entry.text[:60])
            raise UserError(
                f"{where} row {k} is {text[:60]!r}, the input has {now} there; give the same input, or another --out"
            )
        changed = [name for name, cell in job.layout.given(entry.columns).items() if row.get(name) != cell]
        if with_columns and changed:
            raise UserError(
                f"{where} row {k} has {changed[0]} {row.get(changed[0])!r}, the input has "
                f"{job.layout.given(entry.columns)[changed[0]]!r}; give the same input, or another --out"
            )
        summary.add(row["status"], row["domain"])


def conclude(summary: Summary, strict: bool) -> int:
    counts = summary.statuses
    said = [f"{counts['ok']} of {counts.total()} molecules predicted"]
    said += [f"{n} {status}" for status, n in counts.items() if status != "ok"]
    said += [f"{summary.outside} outside of what the model knows"] if summary.outside else []
    say(", ".join(said))
    return NOT_ALL_OK if strict and counts["ok"] < counts.total() else 0


def output_format(config: PredictConfig) -> Format:
    suffix = config.out.suffix.lower() if config.out is not None else ""
    form: Format = config.format or SUFFIXES.get(suffix, "table")
    if form == "parquet":
        if config.out is None:
            raise UserError("--format parquet is not for the screen; name a file with --out")
        need_parquet()
    return form
