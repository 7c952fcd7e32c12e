"""Rows in, rows out: order, status, company, reading and writing."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil

import numpy as np
import pytest

from molaugerino.errors import UserError
from molaugerino.predict.predictor import Predictor, Row, latest_run
from molaugerino.predict.tables import read_inputs, render


@pytest.fixture(scope="module")
def predictor(trained):
    return Predictor.from_pretrained(trained)


class TestPredictor:
    def test_one_row_per_line_in_order(self, predictor):
        lines = ["CCO", "", "xx", "CCO", "[Na+]", "c1ccccc1"]
        rows = predictor.predict(lines)
        assert [row.input for row in rows] == lines
        assert [row.status for row in rows] == ["ok", "empty", "bad_smiles", "ok", "unsupported_element", "ok"]
        assert rows[0].values == rows[3].values
        assert all(math.isfinite(v) for row in rows if row.status == "ok" for v in row.values)
        assert all(math.isnan(v) for row in rows if row.status != "ok" for v in row.values)
        assert all(bool(row.reason) == (row.status != "ok") for row in rows)
        assert predictor.columns == ["gap[eV]"]

    def test_company_and_order_do_not_matter(self, predictor):
        together = predictor.predict(["CCO", "CC(C)C(=O)O", "c1ccccc1F"])
        alone = [predictor.predict([line])[0] for line in ("c1ccccc1F", "CCO")]
        assert alone[0].values == pytest.approx(together[2].values, abs=1e-5)
        assert alone[1].values == pytest.approx(together[0].values, abs=1e-5)

    def test_elements_and_size_come_from_the_training_set(self, predictor):
        assert predictor.predict(["C" * 12])[0].status == "too_large"
        assert predictor.predict(["CCl"])[0].status == "unsupported_element"

    def test_principal_frames_are_made_again(self, tiny_config, tmp_path):
        """A model that knows one pose must be asked in that pose: its answer then ignores the input's."""
        from molaugerino.training.run import train

        run = train(tiny_config(tmp_path / "run", augment="none", frames="principal", geometry="given"))
        predictor = Predictor.from_pretrained(run.folder)
        assert predictor.warnings
        from scipy.spatial.transform import Rotation

        from molaugerino.predict.smiles import Conformer, embed, parse

        here = embed(parse("CC(O)C(N)=O"))
        there = Conformer(
            here.smiles, here.atomic_numbers, Rotation.random(rng=np.random.default_rng(0)).apply(here.positions)
        )
        values = predictor._values([here, there])
        assert (values[0] - values[1]).abs().max() < 1e-3

    def test_vectors_have_three_columns(self, tiny_config, tmp_path):
        from molaugerino.training.run import train

        predictor = Predictor.from_pretrained(train(tiny_config(tmp_path / "run", target=("dipole",))).folder)
        [row] = predictor.predict(["CCO"])
        assert predictor.columns == ["dipole_x[debye]", "dipole_y[debye]", "dipole_z[debye]"]
        assert len(row.values) == 3


class TestLatest:
    def test_the_newest_finished_run(self, trained, tmp_path):
        with pytest.raises(UserError, match="no finished run"):
            latest_run(tmp_path)
        (tmp_path / "unfinished").mkdir()
        shutil.copytree(trained, tmp_path / "first")
        assert latest_run(tmp_path) == tmp_path / "first"
        shutil.copytree(trained, tmp_path / "a second")
        os.utime(tmp_path / "first" / "config.json", (1e9, 1e9))
        assert latest_run(tmp_path) == tmp_path / "a second"
        os.utime(tmp_path / "a second" / "config.json", (0.9e9, 0.9e9))
        assert latest_run(tmp_path) == tmp_path / "first"


class TestReading:
    def test_smiles_and_files(self, tmp_path):
        (tmp_path / "a.smi").write_text("CCO ethanol\n\nC methane\n")
        (tmp_path / "b.csv").write_text('name,SMILES\nwater,O\nshort\n"two, words","N"\n')
        inputs = ["F", str(tmp_path / "a.smi"), str(tmp_path / "b.csv"), ""]
        assert list(read_inputs(inputs, "smiles")) == ["F", "CCO", "", "C", "O", "", "N", ""]

    def test_no_good_row_is_lost_to_a_stray_quote(self, tmp_path):
        rows = [f"C{'C' * (k % 7)}" for k in range(3000)]
        for place in (0, 1, 1500, 2999):
            broken = [*rows[:place], '"C', *rows[place:]]
            (tmp_path / "x.csv").write_text("id,smiles\n" + "".join(f"{k},{s}\n" for k, s in enumerate(broken)))
            assert list(read_inputs([str(tmp_path / "x.csv")], "smiles")) == broken
        (tmp_path / "x.csv").write_text('smiles\nCCO\n"C\nCC\nCCC"\nO\n')
        assert list(read_inputs([str(tmp_path / "x.csv")], "smiles")) == ["CCO", '"C', "CC", 'CCC"', "O"]

    def test_a_quoted_line_break_elsewhere_is_no_row(self, tmp_path):
        (tmp_path / "x.csv").write_text('note,smiles\n"two\nlines",CC\n"a, b",O\n')
        assert list(read_inputs([str(tmp_path / "x.csv")], "smiles")) == ["CC", "O"]

    def test_overlong_fields(self, tmp_path):
        long = "C" * 200_000
        (tmp_path / "x.csv").write_text(f"smiles\n{long}\nO\n")
        assert list(read_inputs([str(tmp_path / "x.csv")], "smiles")) == [long, "O"]
        (tmp_path / "x.csv").write_text(f"{long}\nO\n")
        with pytest.raises(UserError, match="has no column 'smiles'; it has CCC"):
            list(read_inputs([str(tmp_path / "x.csv")], "smiles"))

    def test_encodings(self, tmp_path):
        (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbfsmiles\nCC\n")
        (tmp_path / "latin.smi").write_bytes(b"CC\n\xff\xfe\nCO\r\n")
        assert list(read_inputs([str(tmp_path / "bom.csv")], "smiles")) == ["CC"]
        (tmp_path / "odd.smi").write_text("CC\u2028CO\x85N\nO\x0c\n")
        assert len(list(read_inputs([str(tmp_path / "odd.smi")], "smiles"))) == 2
        lines = list(read_inputs([str(tmp_path / "latin.smi")], "smiles"))
        assert lines[0] == "CC"
        assert lines[-1] == "CO"
        assert len(lines) == 3

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("none.csv", None, "cannot read"),
            ("empty.csv", "", "needs a header"),
            ("other.csv", "a,b\n1,2\n", "has no column 'smiles'; it has a, b"),
            ("mol.sdf", "x", "of a kind that is not read"),
        ],
    )
    def test_what_cannot_be_read(self, tmp_path, name, content, message):
        if content is not None:
            (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=message):
            list(read_inputs([str(tmp_path / name)], "smiles"))

    def test_a_folder(self, tmp_path):
        with pytest.raises(UserError, match="is a folder"):
            list(read_inputs([str(tmp_path)], "smiles"))

    def test_a_wrong_name_costs_no_work(self, tmp_path):
        lines = read_inputs(["CCO", str(tmp_path / "none.smi")], "smiles")
        with pytest.raises(UserError):
            next(lines)


class TestWriting:
    ROWS = (Row("CCO", "CCO", "ok", "", (1.5,)), Row('b,"d', "", "bad_smiles", "why", (math.nan,)))

    def test_json(self):
        assert json.loads(render(self.ROWS, ["gap[eV]"], "json")) == [
            {"input": "CCO", "smiles": "CCO", "gap[eV]": 1.5, "status": "ok", "reason": ""},
            {"input": 'b,"d', "smiles": "", "gap[eV]": None, "status": "bad_smiles", "reason": "why"},
        ]

    def test_csv(self):
        rows = list(csv.DictReader(io.StringIO(render(self.ROWS, ["gap[eV]"], "csv"))))
        assert [row["gap[eV]"] for row in rows] == ["1.5", "nan"]
        assert rows[1]["input"] == 'b,"d'

    def test_table(self):
        lines = render(self.ROWS, ["gap[eV]"], "table").splitlines()
        assert len(lines) == 3
        assert "1.5000" in lines[1]
        assert "nan" in lines[2]
