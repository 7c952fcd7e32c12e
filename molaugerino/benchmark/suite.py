"""A suite of runs: several at a time, each kept as it is finished, the report written anew after each."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molaugerino.benchmark.contestants import CONTESTANTS
from molaugerino.benchmark.report import write_report
from molaugerino.benchmark.runs import Job, do, provenance, settings_of, steps_of
from molaugerino.benchmark.sets import located, prepare
from molaugerino.benchmark.worlds import SUITES, WORLDS
from molaugerino.errors import UserError
from molaugerino.files import make_folder, write_atomic
from molaugerino.predict.workers import Workers

RESULTS = "results.json"
REPORTING = 20.0  # times as long as a report takes until the next one


@dataclass(frozen=True)
class Progress:
    """How far a suite is: runs done, in all and failed, and minutes left (None before any was timed)."""

    done: int
    total: int
    failed: int
    minutes_left: float | None


def run_suite(
    name: str,
    out: Path,
    folders: Sequence[Path] = (),
    jobs: int = 1,
    only: Sequence[str] = (),
    say: Callable[[str, Progress], None] = lambda line, progress: None,
) -> Progress:
    """Do the runs of a suite that are not done yet; results.json and the reports are whole at any time.

    Args:
        name: of the suite.
        out: its folder; what is there already is kept.
        folders: where the files of data sets are looked for; worlds without data are left out.
        jobs: runs at a time, each on one thread.
        only: worlds, or worlds/contestants, to do; none does all.
        say: told of each run that ends.

    Raises:
        UserError: for what the suite does not have, or a folder that holds something else.
    """
    suite = SUITES[name]
    known = {part for world, contestant, _ in suite.runs() for part in (world, f"{world}/{contestant}")}
    if unknown := [part for part in only if part not in known]:
        worlds = ", ".join(suite.plan)
        raise UserError(f"the suite {name} has no {', '.join(unknown)}; its worlds are {worlds}; or WORLD/CONTESTANT")
    make_folder(out)
    missing = [w for w in suite.plan if located(WORLDS[w].source, folders) is None]
    state = State.read(out, name, missing)
    pending = []
    for world, contestant, split in suite.runs():
        wanted = not only or world in only or f"{world}/{contestant}" in only
        held = state.done.get((world, contestant, split))
        if held is None and (not wanted or world in missing):
            continue
        steps = steps_of(WORLDS[world], contestant, suite.minutes)
        settings = settings_of(WORLDS[world], CONTESTANTS[contestant])
        if held is None:
            pending.append(Job(world, contestant, split, steps, suite.tested, tuple(folders), out))
        elif held["steps"] != steps:
            raise UserError(
                f"{out} holds {world}/{contestant} after {held['steps']:,} steps, and {steps:,} are asked for: it is "
                "of another version; choose another --out"
            )
        elif held.get("settings", settings) != settings:
            raise UserError(
                f"{out} holds {world}/{contestant} with the settings {held['settings']}, and {settings} are asked for: "
                "it is of another version; choose another --out"
            )
    for job in pending:  # once, before several ask for them
        if not WORLDS[job.world].of_images:
            prepare(WORLDS[job.world], job.split, suite.tested, folders, out / "data")
    total, begun, ended = len(state.done) + len(pending), time.monotonic(), 0
    efforts = [WORLDS[job.world].effort for job in pending]
    state.write()

    def progress() -> Progress:
        spent = (time.monotonic() - begun) / 60
        left = spent / sum(efforts[:ended]) * sum(efforts[ended:]) if ended else None
        return Progress(len(state.done), total, len(state.failed), left)

    with Workers(jobs, chunk=1) as workers:
        for job, found in zip(pending, workers.map(attempt, pending, lost), strict=True):
            ended += 1
            state.add(job, found)
            state.write(now=ended == len(pending))
            say(f"{job.name}: {summary(found)}", progress())
    return progress()


def attempt(job: Job) -> dict[str, Any]:
    """The result of a run, or what went wrong."""
    try:
        return do(job)
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"}


def lost(job: Job, how: str) -> dict[str, Any]:
    return {"failed": f"its process {how}"}


def summary(found: dict[str, Any]) -> str:
    if "failed" in found:
        return f"failed, {found['failed']}"
    return f"{found['error_name']} {found['error']:.4g}, {found['cpu_minutes']:.1f} min"


class State:
    """What is known of a suite: results.json, and the records of runs that it may not hold yet.

    Attributes:
        content: of results.json.
        done: (world, contestant, split) -> result.
        failed: the same -> what went wrong.
    """

    def __init__(self, out: Path, content: dict[str, Any]) -> None:
        self.out, self.content = out, content
        self.done = {key_of(run): run for run in content["runs"]}
        self.failed: dict[tuple[str, str, int], str] = {key_of(f): f["why"] for f in content.get("failed", ())}
        self.next_report = 0.0

    @classmethod
    def read(cls, out: Path, suite: str, missing: list[str]) -> State:
        """What there is; worlds whose data are missing and that have no runs are said to be left out.

        Raises UserError where the folder holds another suite, or a file that is no result."""
        path = out / RESULTS
        content: dict[str, Any] = {"suite": suite, "runs": []}
        if path.is_file():
            content = _read(path)
            if content.get("suite") != suite or not isinstance(content.get("runs"), list):
                raise UserError(f"{out} holds the suite {content.get('suite')}, not {suite}; choose another --out")
            for run in (*content["runs"], *content.get("failed", ())):
                _check(run, path)
        state = cls(out, content)
        for record in sorted((out / "runs").glob("*.json")):
            run = _check(_read(record), record)
            state.done[key_of(run)] = run  # done later than results.json was written, or done again
            state.failed.pop(key_of(run), None)
        absent = [world for world in missing if not any(key[0] == world for key in state.done)]
        planned = sum(world not in absent for world, _, _ in SUITES[suite].runs())
        state.content |= {"planned": planned, "absent": absent} | provenance()
        state.content["command"] = " ".join(["molaugerino", *map(shown, sys.argv[1:])])
        return state

    def add(self, job: Job, found: dict[str, Any]) -> None:
        key = (job.world, job.contestant, job.split)
        if "failed" in found:
            self.failed[key] = found["failed"]
        else:
            self.done[key] = found
            self.failed.pop(key, None)

    def write(self, now: bool = True) -> None:
        """results.json, and the reports where it is time for them: they are to take a twentieth of the time at most."""
        order = {key: k for k, key in enumerate(SUITES[self.content["suite"]].runs())}
        runs = sorted(self.done.values(), key=lambda run: order.get(key_of(run), len(order)))
        failed = [{"world": w, "contestant": c, "split": s, "why": why} for (w, c, s), why in self.failed.items()]
        self.content |= {"runs": runs, "failed": failed}
        write_atomic(self.out / RESULTS, json.dumps(self.content, indent=1) + "\n")
        begun = time.monotonic()
        if now or begun >= self.next_report:
            write_report(self.content, self.out)
            self.next_report = time.monotonic() + REPORTING * (time.monotonic() - begun)


def key_of(run: dict[str, Any]) -> tuple[str, str, int]:
    return run["world"], run["contestant"], run["split"]


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not readable ({error}); remove it to do its runs again") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} is no result of this benchmark; choose another --out")
    return found


def _check(run: dict[str, Any], path: Path) -> dict[str, Any]:
    """A run of a contestant and a world that there are."""
    world, contestant, split = (run.get(key) for key in ("world", "contestant", "split"))
    if world not in WORLDS or contestant not in CONTESTANTS or not isinstance(split, int):
        raise UserError(
            f"{path} holds a run of {world}/{contestant}, split {split}, which this version does not have; "
            "choose another --out"
        )
    return run


def shown(argument: str) -> str:
    """A path by its name: where it lies on this machine is nobody's business."""
    option, equals, value = argument.rpartition("=")
    return option + equals + (Path(value).name if Path(value).is_absolute() else value)
