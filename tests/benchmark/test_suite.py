"""A suite from the command line: kept run by run, resumed, reported while it runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from molaugerino.benchmark import suite
from molaugerino.benchmark.contestants import CONTESTANTS
from molaugerino.benchmark.report import PAGE, TEXT
from molaugerino.benchmark.runs import steps_of
from molaugerino.benchmark.suite import RESULTS, Progress, State, run_suite
from molaugerino.benchmark.worlds import SUITES, WORLDS
from molaugerino.cli.main import main
from molaugerino.errors import UserError
from tests.benchmark.test_report import run as made_up

FIRST = ("small-gap", "none", 0)


@pytest.fixture
def pretended(monkeypatch):
    """Runs that take no time; the list of those that were done."""
    done = []

    class Here:
        """`Workers` without processes."""

        def __init__(self, jobs, chunk):
            assert chunk == 1

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def map(self, work, items, given_up=None):
            for item in items:
                yield work(item)

    def do(job):
        done.append(job.name)
        return made_up(job.world, job.contestant, job.split, 1.0 + len(job.name) / 100, steps=job.steps)

    monkeypatch.setattr(suite, "Workers", Here)
    monkeypatch.setattr(suite, "prepare", lambda *_: None)
    monkeypatch.setattr(suite, "do", do)
    return done


def test_done_once_and_kept(pretended, tmp_path):
    end = run_suite("quick", tmp_path, jobs=2)
    assert (end.done, end.total, end.failed) == (24, 24, 0)
    assert len(set(pretended)) == 24
    content = json.loads((tmp_path / RESULTS).read_text())
    assert content["planned"] == 24
    assert (content["runs"][0]["world"], content["runs"][0]["contestant"], content["runs"][0]["split"]) == FIRST
    run_suite("quick", tmp_path, jobs=2)
    assert len(pretended) == 24
    assert json.loads((tmp_path / RESULTS).read_text())["runs"] == content["runs"]


def test_only_some_then_the_others(pretended, tmp_path):
    said = []
    run_suite("quick", tmp_path, jobs=2, only=["small-field", "small-gap/none"], say=lambda *a: said.append(a))
    assert {name.rsplit("-", 1)[0] for name in pretended} == {
        *(f"small-field-{c}" for c in SUITES["quick"].plan["small-field"][0]),
        "small-gap-none",
    }
    assert len(said) == 10
    line, progress = said[-1]
    assert line.startswith("small-field-equivariant-1: MAE, debye 1.2")
    assert isinstance(progress, Progress)
    assert progress.done == progress.total == 10
    assert progress.minutes_left == 0
    assert run_suite("quick", tmp_path, jobs=2).total == 24


def test_a_run_that_fails_costs_itself_and_is_tried_again(pretended, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        right = suite.do

        def do(job):
            if (job.world, job.contestant, job.split) == FIRST:
                raise RuntimeError("no luck")
            return right(job)

        patched.setattr(suite, "do", do)
        end = run_suite("quick", tmp_path, jobs=2)
    assert (end.done, end.failed) == (23, 1)
    assert "small-gap, none, split 0: RuntimeError: no luck" in (tmp_path / TEXT).read_text()
    assert run_suite("quick", tmp_path, jobs=2, only=["small-field"]).failed == 1
    assert "no luck" in (tmp_path / TEXT).read_text()  # whatever else was done since
    assert run_suite("quick", tmp_path, jobs=2).done == 24
    assert "no luck" not in (tmp_path / TEXT).read_text()


def test_records_that_no_report_holds_yet_count(pretended, tmp_path):
    """A process killed between two runs loses none of them."""
    record = tmp_path / "runs" / "small-gap-none-0.json"
    record.parent.mkdir()
    steps = steps_of(WORLDS[FIRST[0]], FIRST[1], SUITES["quick"].minutes)
    record.write_text(json.dumps(made_up(*FIRST, 0.5, steps=steps)))
    assert run_suite("quick", tmp_path, jobs=2).done == 24
    assert len(pretended) == 23
    record.write_text(json.dumps(made_up(*FIRST, 0.25, steps=steps)))  # done again
    run_suite("quick", tmp_path, jobs=2)
    assert json.loads((tmp_path / RESULTS).read_text())["runs"][0]["error"] == 0.25


def test_runs_of_other_settings_are_not_mixed(pretended, tmp_path):
    """As a weight of consistency, which changes no number of steps."""
    known = json.loads(json.dumps(dict(CONTESTANTS["none"].molecules)))
    steps = steps_of(WORLDS[FIRST[0]], FIRST[1], SUITES["quick"].minutes)
    other = made_up(*FIRST, 0.5, steps=steps, settings=known | {"consistency": 1.0})
    (tmp_path / RESULTS).write_text(json.dumps({"suite": "quick", "runs": [other]}))
    with pytest.raises(UserError, match=r"holds small-gap/none with the settings .*'consistency': 1\.0"):
        run_suite("quick", tmp_path, jobs=2)


def test_runs_that_this_version_does_not_have_are_refused(pretended, tmp_path):
    record = tmp_path / "runs" / "old.json"
    record.parent.mkdir()
    record.write_text(json.dumps(made_up(*FIRST, 0.5) | {"contestant": "gone"}))
    with pytest.raises(UserError, match=r"old\.json holds a run of small-gap/gone, split 0, which this version"):
        run_suite("quick", tmp_path, jobs=2)
    record.unlink()
    (tmp_path / RESULTS).write_text(json.dumps({"suite": "quick", "runs": [{"error": 1.0}]}))
    with pytest.raises(UserError, match=r"results\.json holds a run of None/None, split None"):
        run_suite("quick", tmp_path, jobs=2)


def test_runs_of_other_numbers_of_steps_are_not_mixed(pretended, tmp_path):
    (tmp_path / RESULTS).write_text(json.dumps({"suite": "quick", "runs": [made_up(*FIRST, 0.5, steps=7)]}))
    with pytest.raises(UserError, match=r"holds small-gap/none after 7 steps, and [\d,]+ are asked for"):
        run_suite("quick", tmp_path, jobs=2)
    assert not pretended


def test_mistakes(pretended, tmp_path, capsys, monkeypatch):
    call = ["benchmark", "equivariance", "--out", str(tmp_path / "s"), "--jobs", "2"]
    assert main([*call, "--only", "small-gap", "large-gap"]) == 2
    assert "the suite quick has no large-gap; its worlds are small-gap, small-dipole" in capsys.readouterr().err
    for option, said in {"--data=nowhere": "--data takes folders", "--jobs=0": "--jobs must lie between 1 and"}.items():
        with pytest.raises(SystemExit, match="2"):
            main([*call, option])
        assert said in capsys.readouterr().err
    assert main([*call, "--only", "small-gap/none"]) == 0
    assert "2 runs are done, 0 failed; the report is" in capsys.readouterr().out
    assert main(call) == 2
    assert "already holds a suite; add --resume to go on with it" in capsys.readouterr().err
    assert main([*call, "--resume", "--suite", "full"]) == 2
    assert "holds the suite quick, not full; choose another --out" in capsys.readouterr().err
    (tmp_path / "s" / RESULTS).write_text('{"suite": "quick", "ru')
    assert main([*call, "--resume"]) == 2
    assert "is not readable" in capsys.readouterr().err
    assert not [name for name in pretended if "small-gap-none" not in name]

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("molaugerino.cli.benchmark.run_suite", interrupted)
    assert main(["benchmark", "equivariance", "--out", str(tmp_path / "t")]) == 130
    assert "go on with the same call and --resume" in capsys.readouterr().err


def test_worlds_without_data_are_left_out_and_named(tmp_path):
    absent = State.read(tmp_path, "full", ["gap"]).content
    assert absent["absent"] == ["gap"]
    assert absent["planned"] == sum(1 for world, _, _ in SUITES["full"].runs() if world != "gap")
    (tmp_path / RESULTS).write_text(json.dumps({"suite": "full", "runs": [made_up("gap", "none", 0, 0.5)]}))
    assert State.read(tmp_path, "full", ["gap"]).content["absent"] == []  # of an earlier call that had them


def test_paths_are_shown_by_their_names():
    assert [suite.shown(a) for a in ("/data/qm9", "--data=/data/qm9", "--jobs=2", "full")] == [
        "qm9",
        "--data=qm9",
        "--jobs=2",
        "full",
    ]


@pytest.mark.parametrize(("name", "most"), [("quick", 3000), ("full", 5000)])
def test_numbers_of_steps_come_from_measured_paces(name, most):
    for world, contestant, _ in SUITES[name].runs():
        assert 300 <= steps_of(WORLDS[world], contestant, SUITES[name].minutes) <= most, (world, contestant)


def test_the_help_tells_the_size_of_the_suites(capsys):
    with pytest.raises(SystemExit):
        main(["benchmark", "equivariance", "--help"])
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    quick, full = SUITES["quick"], SUITES["full"]
    assert f"{quick.minutes} minutes of training each" in told
    assert f"{len(list(full.runs()))} runs of {full.minutes:g} minutes (rotmnist: " in told
    assert f"(rotmnist: {full.minutes * WORLDS['rotmnist'].effort:g})" in told


def test_a_pace_that_nobody_measured_is_named():
    with pytest.raises(UserError, match=r"what a step of none costs on nowhere is not known; measure it"):
        steps_of(replace(WORLDS["gap"], source="nowhere"), "none", 1.0)


@pytest.mark.slow
def test_killed_and_resumed(tmp_path):
    """In processes of their own, of runs that are trained: a kill -9 costs at most the runs that it meets."""
    script = (
        "import sys\n"
        "from molaugerino.benchmark import suite\n"
        "from molaugerino.cli.main import main\n"
        "suite.steps_of = lambda *_: 20\n"
        "if __name__ == '__main__': sys.exit(main(sys.argv[1:]))\n"
    )
    (tmp_path / "run.py").write_text(script)
    out = tmp_path / "out"
    call = ["benchmark", "equivariance", "--out", str(out), "--jobs", "1", "--resume", "--only", "small-gap/none"]
    command = [sys.executable, str(tmp_path / "run.py"), *call]
    first = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        while not list((out / "runs").glob("*.json")):
            assert first.poll() is None
            time.sleep(0.2)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    kept = {path.name: path.read_bytes() for path in (out / "runs").glob("*.json")}
    assert kept
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "2 runs are done, 0 failed" in done.stdout
    assert kept.items() <= {path.name: path.read_bytes() for path in (out / "runs").glob("*.json")}.items()
    assert len(json.loads((out / RESULTS).read_text())["runs"]) == 2
    assert (out / PAGE).stat().st_size > 10_000
