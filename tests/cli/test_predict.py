"""Bulk prediction: tables that grow on disk, and runs that go on where they were broken off."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import time

import pytest
from rdkit import Chem

from molaugerino.cli import predict
from molaugerino.cli.main import main
from molaugerino.predict import predictor
from molaugerino.predict.parts import Parts

SMILES = ["CCO", "C", "xx", "c1ccccc1", "", "CC(F)O", "C#N", "OC1CC1", "CN", "[Na+].[Cl-]", "CC(=O)N", "FC", "N"]


@pytest.fixture
def workplace(trained, tmp_path, monkeypatch):
    """A folder with a model, a file of 26 molecules, and chunks of 4 rows."""
    shutil.copytree(trained, tmp_path / "model")
    (tmp_path / "in.smi").write_text("".join(f"{s} no {k}\n" for k, s in enumerate(SMILES * 2)))
    monkeypatch.chdir(tmp_path)
    for module in (predict, predictor):
        monkeypatch.setattr(module, "CHUNK", 4)
    return tmp_path


def call(*arguments):
    return main(["predict", "--checkpoint", "model", *arguments])


def broken_off(monkeypatch, after, *arguments):
    """A run that is interrupted after so many chunks."""
    add, left = Parts.add, [after]

    def interrupted(self, *given):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        add(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "add", interrupted)
        assert call(*arguments) == 130


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_broken_run_goes_on(workplace, monkeypatch, capsys, form):
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
    out, whole = f"out.{form}", f"whole.{form}"
    assert call("in.smi", "--out", whole) == 0
    summary = capsys.readouterr().err.splitlines()[-1]
    assert summary.startswith("20 of 26 molecules predicted")
    for after in (2, 0, 1, 3):
        broken_off(monkeypatch, after, "in.smi", "--out", out, "--resume")
        assert "rows are kept in" in capsys.readouterr().err
        assert not os.path.exists(out)
    assert call("in.smi", "--out", out, "--resume") == 0
    assert capsys.readouterr().err.splitlines()[-1] == summary
    assert (workplace / out).read_bytes() == (workplace / whole).read_bytes()
    assert not os.path.exists(f"{out}.parts")
    before = os.stat(out)
    assert call("in.smi", "--out", out, "--resume") == 0
    err = capsys.readouterr().err
    assert "is finished: nothing to do" in err
    assert err.splitlines()[-1] == summary
    assert os.stat(out).st_mtime_ns == before.st_mtime_ns


def test_nothing_is_lost_by_mistake(workplace, monkeypatch, capsys):
    broken_off(monkeypatch, 2, "in.smi", "--out", "out.csv")
    renamed = (workplace / "in.smi").read_text().replace("no 2\n", "other\n", 1)
    (workplace / "renamed.smi").write_text(renamed)
    (workplace / "model" / "discovery.json").write_text("{}")  # is beside the model, and decides no row
    for arguments, message in [
        (("in.smi", "--out", "out.csv"), "out.csv.parts holds rows of an unfinished run; go on with --resume"),
        (("in.smi", "--out", "out.csv", "--resume", "--level", "0.5"), "another level (0.9, not 0.5)"),
        (("C", "CC", "--out", "out.csv", "--resume"), "row 1 is 'CCO', the input has 'C' there"),
        (("CCO", "--out", "out.csv", "--resume"), "row 2 is 'C', the input has nothing there"),
        (
            ("renamed.smi", "--out", "out.csv", "--resume"),
            "row 3 has name 'no 2', the input has 'other'",
        ),
        (("in.smi", "--out", "in.smi"), "in.smi is read, and would be overwritten"),
    ]:
        assert call(*arguments) == 2
        assert message in capsys.readouterr().err
    assert call("in.smi", "--out", "out.csv", "--resume") == 0
    (workplace / "less.csv").write_text((workplace / "out.csv").read_text().replace("gap[eV]", "mu[debye]"))
    for arguments, message in [
        (("CCO", "--out", "out.csv", "--resume"), "out.csv is finished; its row 2 is 'C', the input has nothing there"),
        (("in.smi", "C", "--out", "out.csv", "--resume"), "with fewer molecules than the input has"),
        (("in.smi", "--out", "model/config.json", "--resume"), "is no finished table of these predictions"),
        (("in.smi", "--out", "less.csv", "--resume"), "is no finished table of these predictions ('gap[eV]')"),
    ]:
        assert call(*arguments) == 2
        assert message in capsys.readouterr().err
    assert len((workplace / "out.csv").read_text().splitlines()) == 27
    for name in ("out.txt", "/dev/null"):
        assert call("in.smi", "--out", name, "--resume") == 2
        assert "--resume goes on with a .csv, .json or .parquet file" in capsys.readouterr().err
    assert call("CCO", "N", "--out", "out.txt") == 0
    assert (workplace / "out.txt").read_text().startswith("input"), "a table for the eye"
    with pytest.raises(SystemExit):
        call("in.smi", "--resume")
    assert "--resume goes on with the file of --out" in capsys.readouterr().err


def test_columns_that_come_late(workplace, capsys):
    """Data fields of an SD file differ from record to record; the header has them all."""
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("C"))
    fields = ["", "> <a>\n1\n\n", "> <b>\n2\n\n"]
    (workplace / "in.sdf").write_text("".join(f"m{k}{block}{fields[k // 4]}$$$$\n" for k in range(12)))
    assert call("in.sdf", "--geometry", "mmff", "--out", "out.json") == 0
    rows = json.loads((workplace / "out.json").read_text())
    assert [(r["input"], r["a"], r["b"]) for r in rows[3:9:5]] == [("m3", "", ""), ("m8", "", "2")]
    assert {r["status"] for r in rows} == {"ok"}


def test_packed_files_and_devices(workplace, capsys):
    with gzip.open("in.csv.gz", "wt") as file:
        file.write("smiles\nCCO\nN\n")
    assert call("in.csv.gz", "--out", "out.json") == 0
    assert len(json.loads((workplace / "out.json").read_text())) == 2
    assert call("C", "--format", "csv", "--out", "/dev/null") == 0
    (workplace / "cut.csv.gz").write_bytes((workplace / "in.csv.gz").read_bytes()[:-9])
    capsys.readouterr()
    assert call("cut.csv.gz") == 2
    assert "cannot read cut.csv.gz" in capsys.readouterr().err


def test_processes_for_more_than_a_few(workplace, monkeypatch, capsys):
    """In processes the rows are the same."""
    assert call("in.smi", "--out", "here.csv") == 0
    assert call("in.smi", "--out", "there.csv", "--jobs", "2") == 0
    assert (workplace / "here.csv").read_bytes() == (workplace / "there.csv").read_bytes()


@pytest.mark.slow
def test_a_run_that_is_killed_five_times(trained, tmp_path):
    """kill -9 at random: what comes of it equals the unbroken run."""
    lines = [f"{'C' * (k % 6)}{s}\n" for k, s in enumerate(["CO", "N", "C(F)O", "C#N", "xx"] * 300)]
    (tmp_path / "in.smi").write_text("".join(lines))
    base = [sys.executable, "-m", "molaugerino", "predict", "in.smi", "--checkpoint", str(trained), "--isomers", "1"]
    subprocess.run([*base, "--out", "whole.csv"], cwd=tmp_path, check=True, capture_output=True)
    choose, kills = random.Random(0), 0
    while kills < 5:
        run = subprocess.Popen([*base, "--out", "out.csv", "--resume"], cwd=tmp_path, stderr=subprocess.DEVNULL)
        before, parts = kills, tmp_path / "out.csv.parts"
        have = len(list(parts.glob("*.jsonl")))
        until = time.monotonic() + 120
        while run.poll() is None and time.monotonic() < until:
            time.sleep(choose.uniform(0.05, 0.3))
            if kills == before and (len(list(parts.glob("*.jsonl"))) > have or choose.random() < 0.05):
                run.kill()
                kills += 1
        run.wait()
        if kills == before:
            break  # it was faster than we
    subprocess.run([*base, "--out", "out.csv", "--resume"], cwd=tmp_path, check=True, capture_output=True)
    assert kills >= 2
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
