"""The command line as a user meets it, in the process and as one."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from molaugerino.cli.main import main, parse
from molaugerino.datasets import Split, open_data, random_split, save_split
from tests.conftest import archive


@pytest.fixture
def workplace(trained, tmp_path, monkeypatch):
    """A folder with one finished run under ./runs."""
    shutil.copytree(trained, tmp_path / "runs" / "gap")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(capsys, *arguments):
    code = main(list(arguments))
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


LATEST = "--checkpoint", "latest"


class TestMain:
    def test_help_version_and_mistakes(self, capsys):
        assert call(capsys, "--help")[0] == 0
        code, out, _ = call(capsys, "--version")
        assert (code, out.count(".")) == (0, 2)
        code, _, err = call(capsys, "trian")
        assert code == 2
        assert "train, evaluate, discover, measure, predict" in err
        assert call(capsys)[0] == 2

    @pytest.mark.parametrize("verb", ["train", "evaluate", "predict", "discover"])
    def test_every_verb_has_help(self, verb, capsys):
        with pytest.raises(SystemExit) as stop:
            main([verb, "--help"])
        assert stop.value.code == 0
        assert f"molaugerino {verb}" in capsys.readouterr().out

    def test_a_wrong_flag(self, capsys):
        with pytest.raises(SystemExit) as stop:
            main(["train", "--mintues", "3"])
        assert stop.value.code == 2
        assert "--minutes" in capsys.readouterr().err

    def test_the_command_line_overrides_the_file(self, tmp_path):
        (tmp_path / "c.toml").write_text('target = ["gap", "homo"]\nminutes = 2\n[net]\npairwise = false\n')
        config = parse("train", ["--config", str(tmp_path / "c.toml"), "--steps", "5", "--net.width", "64"])
        assert (config.target, config.minutes, config.steps) == (("gap", "homo"), None, 5)
        assert (config.net.width, config.net.pairwise) == (64, False)

    def test_a_bad_file(self, tmp_path, capsys):
        (tmp_path / "c.toml").write_text("[net]\nwidth = 60\n")
        config = parse("train", [f"--config={tmp_path / 'c.toml'}", "--net.heads", "6"])
        assert (config.net.width, config.net.heads) == (60, 6)
        (tmp_path / "c.toml").write_text("target = [")
        assert call(capsys, "train", "--config", str(tmp_path / "c.toml"))[0] == 2
        assert call(capsys, "train", "--config", str(tmp_path / "none.toml"))[0] == 2

    def test_python_m(self):
        result = subprocess.run([sys.executable, "-m", "molaugerino", "--version"], capture_output=True, check=False)
        assert result.returncode == 0


class TestTrain:
    def test_table_and_folder(self, small_npz, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        options = "--steps 20 --net.width 16 --net.depth 1 --net.heads 2 --net.pair 8 --law.eval-copies 4"
        code, out, _ = call(capsys, "train", "--data", str(small_npz), "--target", "dipole_x", *options.split())
        assert code == 0
        [folder] = (tmp_path / "runs").iterdir()
        assert folder.name.startswith("small-dipole_x-learned-")
        for word in (
            "rotation",
            "degree",
            "angstrom",
            "nats",
            "stored",
            "random",
            "1, identity",
            "4, own law",
            "debye",
        ):
            assert word in out
        assert str(folder.name) in "".join(out.split())

    def test_without_test_molecules(self, small_npz, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        rows = np.split(np.arange(400), [300, 320, 400])
        save_split(Split(*rows), tmp_path / "split.npz", open_data(str(small_npz)).id)
        options = "--steps 2 --net.width 16 --net.depth 1 --split split.npz --out run --readout sum"
        code, out, _ = call(capsys, "train", "--data", str(small_npz), "--target", "gap", *options.split())
        assert code == 0
        assert "law of transformations" in out
        assert "test errors" not in out
        assert json.loads((tmp_path / "run" / "config.json").read_text())["targets"][0]["readout"] == "sum"
        code, _, err = call(capsys, "evaluate", "run")
        assert (code, "run kept no molecules to test on; name others with --data" in err) == (2, True)
        np.savez("other.npz", **archive(seed=1, count=50))
        assert call(capsys, "evaluate", "run", "--data", "other.npz")[0] == 0

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--data", "none.npz"], "no data file"),
            (["--data", "qm99"], "no data set"),
            (["--target", "alpha"], "no label 'alpha'"),
            (["--resume", "nowhere"], "no run to resume"),
        ],
    )
    def test_mistakes(self, arguments, message, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        code, _, err = call(capsys, "train", *arguments)
        assert code == 2
        assert message in err
        assert not (tmp_path / "runs").exists()

    def test_a_truncated_file(self, small_npz, tmp_path, capsys):
        (tmp_path / "cut.npz").write_bytes(small_npz.read_bytes()[:3000])
        code, _, err = call(capsys, "train", "--data", str(tmp_path / "cut.npz"))
        assert code == 2
        assert "truncated" in err


class TestEvaluate:
    def test_json_keys(self, workplace, capsys):
        code, out, _ = call(capsys, "evaluate", "runs/gap", "--copies", "3", "--format", "json")
        report = json.loads(out)
        assert code == 0
        assert set(report) == {"law", "results", "coverage"}
        assert {(r["frames"], r["copies"]) for r in report["results"]} == {
            ("stored", 1),
            ("stored", 3),
            ("random", 1),
            ("random", 3),
        }
        for result in report["results"]:
            columns = {"target", "method", "unit", "frames", "copies", "passes", "n", "mae", "mean_predictor"}
            assert set(result) == columns
            assert isinstance(result["mae"], float)
            assert (result["target"], result["method"], result["unit"], result["n"]) == ("gap", "GFN2-xTB", "eV", 40)
        assert report["law"]["parts"]["rotation angle"]["width"] > 0

    def test_other_data(self, workplace, capsys):
        np.savez("other.npz", **archive(seed=5, count=30))
        code, out, _ = call(capsys, "evaluate", "runs/gap", "--data", "other.npz", "--format", "json")
        assert code == 0
        assert all(r["n"] == 30 for r in json.loads(out)["results"])

    def test_training_molecules_never_count_as_tests(self, workplace, small_npz, capsys):
        code, out, _ = call(capsys, "evaluate", "runs/gap", "--data", str(small_npz), "--format", "json")
        assert code == 0
        assert all(r["n"] == 40 for r in json.loads(out)["results"])

    def test_mistakes(self, workplace, capsys):
        assert call(capsys, "evaluate", "runs/none")[0] == 2
        assert call(capsys, "evaluate", "runs/gap", "--copies", "0")[0] == 2
        arrays = archive(count=30)
        arrays |= {"target_names": np.array(["a", "b", "c", "d", "e", "f"])}
        np.savez("unlabelled.npz", **arrays)
        code, _, err = call(capsys, "evaluate", "runs/gap", "--data", "unlabelled.npz")
        assert code == 2
        assert "has no label 'gap'" in err

    def test_a_file_without_methods_is_told(self, workplace, capsys):
        arrays = archive(count=50)
        del arrays["target_methods"]
        np.savez("unstated.npz", **arrays)
        code, _, err = call(capsys, "evaluate", "runs/gap", "--data", "unstated.npz")
        assert code == 0
        assert "unstated does not say by which method gap was computed; the model predicts GFN2-xTB" in err


class TestPredict:
    def test_it_says_which_model(self, workplace, capsys):
        code, out, err = call(capsys, "predict", *LATEST, "CCO", "xx")
        assert code == 0
        assert "runs/gap" in err
        assert "1 of 2 molecules predicted, 1 bad_smiles" in err
        assert "gap[eV]" in out.splitlines()[0]

    def test_formats_and_files(self, workplace, capsys):
        (workplace / "in.csv").write_text("SMILES,x\nCCO,1\n,2\n")
        assert call(capsys, "predict", *LATEST, "in.csv", "--out", "out.csv")[0] == 0
        with open("out.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["status"] for row in rows] == ["ok", "empty"]
        parts = [f"gap{part}[eV]" for part in ("", "_lo", "_hi", "_orientation_sd", "_isomer_sd")]
        assert list(rows[0]) == ["input", "x", "smiles", *parts, "domain", "status", "reason"]
        assert [row["x"] for row in rows] == ["1", "2"]
        assert call(capsys, "predict", *LATEST, "CCO", "--out", "out.json")[0] == 0
        [row] = json.loads((workplace / "out.json").read_text())
        assert row["status"] == "ok"
        assert isinstance(row["gap[eV]"], float)

    def test_strict(self, workplace, capsys):
        assert call(capsys, "predict", *LATEST, "CCO", "--strict")[0] == 0
        assert call(capsys, "predict", *LATEST, "CCO", "xx", "--strict")[0] == 1

    def test_standard_input(self, workplace):
        command = [sys.executable, "-m", "molaugerino", "predict", *LATEST, "--format", "json"]
        result = subprocess.run(command, input=b"CCO\n\nC\xff\n", capture_output=True, check=False)
        assert result.returncode == 0, result.stderr
        assert [row["status"] for row in json.loads(result.stdout)] == ["ok", "empty", "bad_smiles"]

    def test_a_geometry_mismatch_is_told(self, tiny_config, tmp_path, capsys):
        from molaugerino.training.run import train

        run = train(tiny_config(tmp_path / "run", geometry="given"))
        _, _, err = call(capsys, "predict", "C", "--checkpoint", str(run.folder))
        assert "warning: the model was trained on other geometries (those of small)" in err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["CCO", "--checkpoint", "nowhere"], "no model 'nowhere'; give "),
            (["CCO", "--checkpoint", "../../etc"], "no model '../../etc'; give "),
            (["CCO", "--checkpoint", "runs"], "no trained model in runs"),
            ([*LATEST, "none.csv"], "cannot read none.csv"),
            ([*LATEST, "runs"], "is a folder"),
            ([*LATEST, "CCO", "--out", "runs"], "is a folder"),
            ([*LATEST, "CCO", "--plot", "runs"], "is a folder"),
            ([*LATEST, "CCO", "--level", "90"], "--level must lie between 0 and 1, as 0.9, got 90"),
            ([*LATEST, "CCO", "--isomers", "0"], "--isomers must lie between 1 and 64, got 0"),
            ([*LATEST, "CCO", "--target", "gpa"], "the model does not predict gpa; it predicts gap"),
            ([*LATEST, "CCO", "--format", "parquet"], "name a file with --out"),
        ],
    )
    def test_mistakes(self, workplace, arguments, message, capsys):
        code, out, err = call(capsys, "predict", *arguments)
        assert code == 2
        assert message in err
        assert out == ""

    def test_without_any_run(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        code, _, err = call(capsys, "predict", *LATEST, "CCO")
        assert code == 2
        assert "molaugerino train" in err


def broken_lines():
    """300 lines, of which the 30 good ones are known."""
    rng = np.random.default_rng(0)
    kinds = [
        *("", "   ", "xx", "C1CC", "c1cccc1", "((((", "[", "]", "C[", "=", "#", "%99", "C%", "\ufffd", "水", "Ĉ", "🧪"),
        *("[Na+].[Cl-]", "[Cl-]", "CC[NH3+]", "[Fe]", "[Pt](Cl)(Cl)", "CS", "CCl", "CBr", "[SiH4]", "B", "[Xx]", "*"),
        *("C[CH2]", "[CH3]", "[O]", "[H]", "[H][H]", "[H+]", "C.C", "CC.O", "C" * 20, "C" * 400, "c1ccc2" * 15),
        *("C(C)(C)(C)(C)C", "N(C)(C)(C)C", "F=F", "C#C#C", "C1#CC1", "nan", "None", "-1", "1e5", "smiles", "O=C=O=C"),
    ]
    good = ["CCO", "C", "O", "c1ccccc1", "CC(=O)N", "C#N", "C[N+](=O)[O-]", "OC1CC1", "[2H]C", "FC"]
    lines = [kinds[k % len(kinds)] for k in range(270)] + good * 3
    lines = [lines[k] for k in rng.permutation(300)]
    return lines, [k for k, line in enumerate(lines) if line in good]


def test_300_bad_inputs_give_a_row_each(workplace, capsys):
    """No traceback, no number on a failed row, no good row lost."""
    lines, good = broken_lines()
    (workplace / "bad.csv").write_text("\n".join(["smiles", *lines]) + "\n", encoding="utf-8")
    code, _, err = call(capsys, "predict", *LATEST, "bad.csv", "--out", "out.json")
    rows = json.loads((workplace / "out.json").read_text())
    assert code == 0
    assert len(rows) == 300
    assert [row["input"] for row in rows] == lines
    assert [k for k, row in enumerate(rows) if row["status"] == "ok"] == good
    assert all((row["gap[eV]"] is None) == (row["status"] != "ok") for row in rows)
    assert all(row["reason"] for row in rows if row["status"] != "ok")
    assert "30 of 300 molecules predicted" in err


class TestFilesThatFail:
    """Every file a user may hand over, damaged."""

    def flipped(self, path):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(bytes(data))

    @pytest.mark.parametrize("name", ["model.safetensors", "config.json", "splits.npz", "config.toml"])
    def test_one_byte_flipped(self, workplace, name, capsys):
        if name == "config.toml":  # its first byte; in the middle it may stay a TOML file that says the same
            path = workplace / "runs" / "gap" / name
            path.write_bytes(b"\xff" + path.read_bytes()[1:])
        else:
            self.flipped(workplace / "runs" / "gap" / name)
        verb = ["evaluate", "runs/gap"] if name in ("splits.npz", "config.toml") else ["predict", *LATEST, "CCO"]
        code, out, err = call(capsys, *verb)
        assert code == 2
        assert err.startswith("molaugerino: ")
        assert out == ""

    @pytest.mark.skipif(os.geteuid() == 0, reason="the superuser can write everywhere")
    def test_an_unwritable_folder(self, workplace, capsys):
        (workplace / "locked").mkdir(mode=0o500)
        assert call(capsys, "predict", *LATEST, "CCO", "--out", "locked/out.csv")[0] == 2

    def test_a_folder_that_cannot_be(self, workplace, capsys):
        (workplace / "file").write_text("")
        code, out, err = call(capsys, "predict", *LATEST, "CCO", "--out", "file/out.csv")
        assert code == 2
        assert "cannot write" in err
        assert out == ""

    @pytest.mark.parametrize("name", ["config.toml", "splits.npz", "model.safetensors", "config.json"])
    def test_a_file_that_is_missing(self, workplace, name, capsys):
        (workplace / "runs" / "gap" / name).unlink()
        code, _, err = call(capsys, "evaluate", "runs/gap")
        assert code == 2
        assert name in err

    def test_the_split_of_another_run(self, workplace, capsys):
        split = random_split(400, seed=5)
        save_split(split, workplace / "runs" / "gap" / "splits.npz", np.arange(400))
        code, _, err = call(capsys, "evaluate", "runs/gap")
        assert code == 2
        assert "not the split that the model was trained on" in err

    def test_archives_that_are_none(self, tmp_path, capsys):
        with zipfile.ZipFile(tmp_path / "zip.npz", "w") as file:
            file.writestr("readme.txt", "hello")
        (tmp_path / "empty.npz").write_bytes(b"")
        (tmp_path / "folder.npz").mkdir()
        for name in ("zip.npz", "empty.npz", "folder.npz"):
            assert call(capsys, "train", "--data", str(tmp_path / name))[0] == 2
