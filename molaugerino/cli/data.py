"""molaugerino data"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from molaugerino.config import DataConfig
from molaugerino.datasets import download, open_joined, qm9
from molaugerino.datasets.prepared import check_free, is_prepared, open_prepared, save_prepared
from molaugerino.datasets.sources import prepared_path
from molaugerino.errors import UserError
from molaugerino.files import make_folder


def run(config: DataConfig) -> int:
    return fetched(config) if config.action == "fetch" else with_geometries(config)


def with_geometries(config: DataConfig) -> int:
    """A prepared folder of the molecules that get an MMFF94 geometry; what is done so far lies in DIR.parts."""
    from molaugerino.predict.sets import with_mmff  # not for fetching

    out = Path(os.path.abspath(config.out or ""))
    use = f"train on it with: molaugerino train --data {config.out}"
    molecules = open_joined(config.name)
    if is_prepared(out) and not set(molecules.files) <= set(open_prepared(out).files):
        raise UserError(
            f"{out} holds molecules of other data than {molecules.name}; choose another --out, or remove it"
        )
    if done_already(out, use):
        return 0
    parts = out.with_name(f"{out.name}.parts")
    try:
        with bars(MofNCompleteColumn()) as report:
            found, left_out = with_mmff(molecules, parts, config.jobs, lambda done, all: report("mmff", done, all))
    except KeyboardInterrupt:
        say(f"what is done is kept in {parts}; call again to go on")
        raise
    save_prepared(found, out)
    shutil.rmtree(parts)
    reasons = "".join(f", {n:,} {reason}" for reason, n in left_out.most_common())
    print(f"{len(found):,} of {len(molecules):,} molecules in {out}{reasons}; {use}")
    return 0


def fetched(config: DataConfig) -> int:
    [name] = config.name
    usual = prepared_path(name)
    out = usual if config.out is None else Path(os.path.abspath(config.out))
    use = f"train on it with: molaugerino train --data {name if out == usual else out}"
    if done_already(out, use):
        return 0
    if config.from_file is not None:
        kept, left_out = prepare(config.from_file, beside(config.from_file), out)
    else:
        folder = out.with_name(f"{out.name}.download")
        archive, table = fetch(folder)
        kept, left_out = prepare(archive, read(table), out)
        for path in (archive, table):
            path.unlink()
        with contextlib.suppress(OSError):  # something else lies there
            folder.rmdir()
    print(f"{kept:,} molecules prepared in {out}, {left_out:,} uncharacterised ones left out; {use}")
    return 0


def done_already(out: Path, use: str) -> bool:
    """Whether a folder holds a prepared set, and says so; where it does not, it is free and can be written."""
    if is_prepared(out):
        print(f"{out} holds {len(open_prepared(out, whole=True)):,} molecules already; {use}")
        return True
    check_free(out)
    make_folder(out.parent)
    return False


def fetch(folder: Path) -> tuple[Path, Path]:
    """The archive and the table of the molecules to leave out, from the net; what has come so far is kept."""
    make_folder(folder)
    try:
        with bars(DownloadColumn()) as report:
            table = download.fetch(qm9.UNCHARACTERIZED, folder, report)
            return download.fetch(qm9.ARCHIVE, folder, report), table
    except KeyboardInterrupt:
        say(f"what has come is kept in {folder}; call again to go on")
        raise


def beside(archive: Path) -> str:
    """The table that lies beside an archive of one's own; only another archive than QM9's can do without."""
    table = archive.with_name(qm9.UNCHARACTERIZED.name)
    if os.path.isfile(table):
        return read(table)
    if os.path.isfile(archive) and download.md5(archive) == qm9.ARCHIVE.md5:
        raise UserError(
            f"{table} is missing: it lists the {qm9.COUNT - qm9.KEPT:,} molecules to leave out; put it there, from "
            f"{qm9.UNCHARACTERIZED.urls[0]}"
        )
    if os.path.isfile(archive):
        say(f"no {table.name} beside {archive}, which is not the published archive: nothing is left out")
    return ""


def read(table: Path) -> str:
    try:
        return table.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"cannot read {table}: {error.strerror}") from None


def prepare(archive: Path, table: str, out: Path) -> tuple[int, int]:
    with bars(MofNCompleteColumn()) as report:
        return qm9.prepare(archive, table, out, report)


@contextlib.contextmanager
def bars(count: ProgressColumn) -> Iterator[download.Progress]:
    """A bar per file on standard error, gone at the end."""
    columns = TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks = {}

        def report(name: str, done: int, size: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=size)
            progress.update(tasks[name], completed=done)

        yield report


def say(text: str) -> None:
    print(text, file=sys.stderr)
