"""Rows in, rows out: order, status, company, reading and writing."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from molaugerino.errors import UserError
from molaugerino.predict.entries import Entry, Structure
from molaugerino.predict.inputs import open_inputs
from molaugerino.predict.options import Options
from molaugerino.predict.outputs import render
from molaugerino.predict.plot import plot
from molaugerino.predict.predictor import Predictor, packed
from molaugerino.predict.routes import Geometry
from molaugerino.predict.table import Column, Layout, Row, Table, digits_of
from molaugerino.training.ready import latest_run


@pytest.fixture(scope="module")
def predictor(trained):
    return Predictor.from_pretrained(trained)


@pytest.fixture(scope="module")
def calibrated():
    """Of gap and dipole, with intervals."""
    return Predictor.from_pretrained(Path(__file__).parent.parent / "golden" / "0.2" / "law")


class TestPredictor:
    def test_one_row_per_line_in_order(self, predictor):
        lines = ["CCO", "", "xx", "CCO", "[Na+]", "c1ccccc1"]
        rows = predictor.predict(lines)
        assert [row.input for row in rows] == lines
        assert [row.status for row in rows] == ["ok", "empty", "bad_smiles", "ok", "unsupported_element", "ok"]
        assert rows[0].values == rows[3].values
        assert all(math.isfinite(v) for row in rows if row.status == "ok" for v in row.values)
        assert all(math.isnan(v) for row in rows if row.status != "ok" for v in row.values)
        assert all(row.reason for row in rows if row.status != "ok")
        assert all(bool(row.reason) == (row.domain != "inside") for row in rows if row.status == "ok")
        assert [c.titled() for c in predictor.columns] == ["gap[eV]"]

    def test_company_and_order_do_not_matter(self, predictor):
        together = predictor.predict(["CCO", "CC(C)C(=O)O", "c1ccccc1F"])
        alone = [predictor.predict([line])[0] for line in ("c1ccccc1F", "CCO")]
        assert alone[0].values == pytest.approx(together[2].values, abs=1e-5)
        assert alone[1].values == pytest.approx(together[0].values, abs=1e-5)

    def test_elements_and_size_come_from_the_training_set(self, predictor):
        largest = predictor.card.max_atoms
        [beyond] = predictor.predict(["C" * (largest // 3 + 1)])
        assert (beyond.status, beyond.domain) == ("ok", "outside")
        assert f"training molecules have at most {largest}" in beyond.reason
        assert predictor.predict(["C" * largest])[0].status == "too_large"
        assert predictor.predict(["CCl"])[0].status == "unsupported_element"

    def test_principal_frames_are_made_again(self, tiny_config, tmp_path):
        """A model that knows one pose must be asked in that pose: its answer then ignores the input's."""
        from molaugerino.training.run import train

        run = train(tiny_config(tmp_path / "run", augment="none", frames="principal", geometry="given"))
        predictor = Predictor.from_pretrained(run.folder)
        from scipy.spatial.transform import Rotation

        from molaugerino.predict.smiles import Conformer, embed, parse

        here = embed(parse("CC(O)C(N)=O"))
        there = Conformer(
            here.smiles, here.atomic_numbers, Rotation.random(rng=np.random.default_rng(0)).apply(here.positions)
        )
        both = [Geometry(c.atomic_numbers.astype(int), c.positions, 0, 1.0) for c in (here, there)]
        values = predictor.answers(packed(both)).values
        assert (values[0] - values[1]).abs().max() < 1e-3

    def test_vectors_have_three_columns(self, tiny_config, tmp_path):
        from molaugerino.training.run import train

        predictor = Predictor.from_pretrained(train(tiny_config(tmp_path / "run", target=("dipole",))).folder)
        [row] = predictor.predict(["CCO"])
        assert [c.titled() for c in predictor.columns] == ["dipole_x[debye]", "dipole_y[debye]", "dipole_z[debye]"]
        assert len(row.values) == 3


class TestIntervals:
    def test_they_hold_the_prediction_and_widen_with_the_level(self, calibrated):
        narrow, wide = (np.array(calibrated.predict("CCO", level=level)[0].hi) for level in (0.5, 0.9))
        [row] = calibrated.predict("CCO")
        assert (np.array(row.lo) < row.values).all()
        np.testing.assert_allclose(np.array(row.hi) - row.values, np.array(row.values) - row.lo, rtol=1e-5)
        assert (narrow < wide).all()
        np.testing.assert_allclose(wide, row.hi)

    def test_open_configurations_are_the_mean_of_their_isomers_and_wider(self, calibrated):
        [mean] = calibrated.predict("CC(F)O")
        each = [calibrated.predict(smiles)[0] for smiles in ("C[C@H](F)O", "C[C@@H](F)O")]
        assert mean.isomers == 2
        values = np.array([row.values for row in each])
        np.testing.assert_allclose(mean.values, values.mean(0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(mean.isomer_sd, values.std(0), rtol=1e-2, atol=1e-5)
        [one] = calibrated.predict("CC(F)O", isomers=1)
        assert one.isomers == 1
        assert one.isomer_sd == (0.0,) * len(one.values)
        half = [(np.array(row.hi) - row.lo) / 2 for row in (mean, *each)]
        assert (half[0] >= np.minimum(*half[1:]) + np.array(mean.isomer_sd)).all()

    def test_a_length_is_not_negative(self):
        invariant = Predictor.from_pretrained(Path(__file__).parent.parent / "golden" / "0.2" / "invariant")
        energy, mu = invariant.columns
        [row] = invariant.predict("C#N")
        assert row.lo[mu.channel] == 0.0 < row.hi[mu.channel]
        assert row.lo[energy.channel] < 0
        half = row.hi[mu.channel] - row.values[mu.channel]
        assert half > row.values[mu.channel], "it would be negative"

    def test_conformers(self, calibrated):
        lowest, boltzmann = (calibrated.predict("CCCCO", conformers=4, weights=w) for w in ("lowest", "boltzmann"))
        assert "gap_conformer_sd[eV]" in lowest.header
        assert lowest[0].conformer_sd == boltzmann[0].conformer_sd
        assert min(lowest[0].conformer_sd) > 0
        assert lowest[0].values != boltzmann[0].values

    def test_a_route_that_was_not_calibrated_has_none(self, calibrated):
        water = Structure(np.array([8, 1, 1]), np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]))
        [row] = calibrated.predict([Entry("water", structure=water)], geometry="given")
        assert row.status == "ok"
        assert np.isnan(row.lo).all()
        assert "no interval is known, errors may be far larger" in calibrated.mismatch("given")
        assert calibrated.mismatch("mmff-open") == ""

    @pytest.mark.slow
    def test_processes_change_nothing(self, calibrated):
        smiles = ["CCO", "xx", "CC(F)O", "c1ccccc1"]
        alone, shared = (calibrated.predict(smiles, jobs=jobs).records() for jobs in (None, 2))
        assert alone == shared


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


def texts(inputs, column="smiles"):
    return [entry.smiles for source in open_inputs(inputs, column) for entry in source.entries()]


class TestReading:
    def test_smiles_and_files(self, tmp_path):
        (tmp_path / "a.smi").write_text("CCO ethanol\n\nC methane\n")
        (tmp_path / "b.csv").write_text('name,SMILES\nwater,O\nshort\n"two, words","N"\n')
        inputs = ["F", str(tmp_path / "a.smi"), str(tmp_path / "b.csv"), ""]
        assert texts(inputs) == ["F", "CCO", "", "C", "O", "", "N", ""]

    def test_no_good_row_is_lost_to_a_stray_quote(self, tmp_path):
        rows = [f"C{'C' * (k % 7)}" for k in range(400)]
        for place in (0, 1, 200, 399):
            broken = [*rows[:place], '"C', *rows[place:]]
            (tmp_path / "x.csv").write_text("id,smiles\n" + "".join(f"{k},{s}\n" for k, s in enumerate(broken)))
            assert texts([str(tmp_path / "x.csv")]) == broken
        (tmp_path / "x.csv").write_text('smiles\nCCO\n"C\nCC\nCCC"\nO\n')
        assert texts([str(tmp_path / "x.csv")]) == ["CCO", '"C', "CC", 'CCC"', "O"]

    def test_a_quoted_line_break_elsewhere_is_no_row(self, tmp_path):
        (tmp_path / "x.csv").write_text('note,smiles\n"two\nlines",CC\n"a, b",O\n')
        assert texts([str(tmp_path / "x.csv")]) == ["CC", "O"]

    def test_overlong_fields(self, tmp_path):
        long = "C" * 200_000
        (tmp_path / "x.csv").write_text(f"smiles\n{long}\nO\n")
        assert texts([str(tmp_path / "x.csv")]) == [long, "O"]
        (tmp_path / "x.csv").write_text(f"{long}\nO\n")
        with pytest.raises(UserError, match="has no column 'smiles'; it has CCC"):
            texts([str(tmp_path / "x.csv")])

    def test_encodings(self, tmp_path):
        (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbfsmiles\nCC\n")
        (tmp_path / "latin.smi").write_bytes(b"CC\n\xff\xfe\nCO\r\n")
        assert texts([str(tmp_path / "bom.csv")]) == ["CC"]
        (tmp_path / "odd.smi").write_text("CC\u2028CO\x85N\nO\x0c\n")
        assert len(texts([str(tmp_path / "odd.smi")])) == 2
        lines = texts([str(tmp_path / "latin.smi")])
        assert lines[0] == "CC"
        assert lines[-1] == "CO"
        assert len(lines) == 3

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("none.csv", None, "cannot read"),
            ("empty.csv", "", "needs a header"),
            ("other.csv", "a,b\n1,2\n", "has no column 'smiles'; it has a, b"),
            ("mol.pdb", "x", "of a kind that is not read"),
        ],
    )
    def test_what_cannot_be_read(self, tmp_path, name, content, message):
        if content is not None:
            (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=message):
            texts([str(tmp_path / name)])

    def test_a_folder(self, tmp_path):
        with pytest.raises(UserError, match="is a folder"):
            texts([str(tmp_path)])

    def test_a_wrong_name_costs_no_work(self, tmp_path):
        with pytest.raises(UserError):
            open_inputs(["CCO", str(tmp_path / "none.smi")], "smiles")


def row(text, canonical, status, reason, value, **columns):
    blank = (math.nan,)
    lo, hi = (value - 1,), (value + 1,)
    return Row(text, canonical, status, reason, "", (value,), lo, hi, (0.25,), blank, blank, columns=columns)


@pytest.mark.parametrize(("spread", "digits"), [(0.0, 6), (400.0, 6), (0.05, 6), (1e-4, 7), (1e-19, 22)])
def test_digits_of_labels_of_any_unit(spread, digits):
    assert digits_of(spread) == digits
    layout = Layout((Column("x", "J", "", 0, digits_of(spread)),), 0.9)
    found = layout.record(row("C", "C", "ok", "", 1.234 * spread), ())["x[J]"]
    assert found == pytest.approx(1.234 * spread, abs=1e-3 * spread)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"geometry": "MMFF"}, "--geometry must be one of given, mmff, xtb, got 'MMFF'"),
        ({"weights": "bolzmann"}, "--weights must be one of lowest, boltzmann, got 'bolzmann'"),
    ],
)
def test_misspelt_options_are_refused(options, message):
    """Asked past the types, which the tests check and users' scripts do not."""
    given = SimpleNamespace(**(asdict(Options()) | options))
    with pytest.raises(UserError, match=message):
        Options.__post_init__(given)


class TestWriting:
    ROWS = (row("CCO", "CCO", "ok", "", 1.5, name="drink"), row('b,"d', "", "bad_smiles", "why", math.nan, smiles="x"))
    TABLE = Table(ROWS, Layout((Column("gap", "eV", "B3LYP", 0),), 0.9))

    def test_json(self):
        first = {"input": "CCO", "name": "drink", "smiles": "CCO", "gap[eV]": 1.5, "gap_lo[eV]": 0.5, "gap_hi[eV]": 2.5}
        first |= {"gap_orientation_sd[eV]": 0.25, "domain": "", "status": "ok", "reason": "", "smiles (given)": ""}
        found = json.loads(render(self.TABLE, "json"))
        assert found[0] == first
        assert found[1]["gap[eV]"] is None
        assert found[1]["name"] == ""
        assert found[1]["smiles"] == "", "a column of the file hides none of ours"
        assert found[1]["smiles (given)"] == "x", "nor is it lost"

    def test_csv(self):
        rows = list(csv.DictReader(io.StringIO(render(self.TABLE, "csv"))))
        assert [row["gap[eV]"] for row in rows] == ["1.5", "nan"]
        assert [row["name"] for row in rows] == ["drink", ""]
        assert rows[1]["input"] == 'b,"d'

    def test_parquet(self, tmp_path):
        parquet = pytest.importorskip("pyarrow.parquet", reason="the extra [parquet] is not installed")
        (tmp_path / "t.parquet").write_bytes(render(self.TABLE, "parquet"))
        table = parquet.read_table(tmp_path / "t.parquet")
        assert table.column_names == self.TABLE.header
        assert table["gap_hi[eV]"].to_pylist() == [2.5, None]
        assert json.loads(table.schema.metadata[b"methods"]) == {"gap[eV]": "B3LYP"}

    def test_pandas(self):
        pytest.importorskip("pandas", reason="pandas is not installed")
        frame = self.TABLE.to_pandas()
        assert frame["gap[eV]"].tolist()[0] == 1.5
        assert math.isnan(frame["gap[eV]"].tolist()[1])
        assert frame.attrs == {"methods": {"gap[eV]": "B3LYP"}, "level": 0.9}

    def test_table(self):
        lines = render(self.TABLE, "table").splitlines()
        assert len(lines) == 3
        assert "gap[eV] B3LYP" in lines[0]
        assert "90% interval" in lines[0]
        assert "1.5000  " in lines[1]
        assert "0.5000 .. 2.5000" in lines[1]
        assert "nan" in lines[2]

    def test_many_targets_have_a_block_per_molecule(self):
        table = Table(self.ROWS, Layout(tuple(Column(name, "eV", "B3LYP", 0) for name in "abcd"), 0.9))
        first, second = render(table, "table").split("\n\n")
        assert first.splitlines()[0] == "CCO  ok"
        assert [line.split()[0] for line in first.splitlines()[2:]] == list("abcd")
        assert second.splitlines() == ['b,"d  bad_smiles  why']

    def test_pictures(self, predictor):
        table = predictor.predict(["CCO", "xx", "C"])
        assert plot(table, ".png").startswith(b"\x89PNG")
        assert b"width='640px' height='300px'" in plot(table, ".svg"), "two molecules, side by side"
        with pytest.raises(UserError, match=r"writes .png or .svg, got .gif"):
            plot(table, ".gif")
        with pytest.raises(UserError, match="no molecule has a number"):
            plot(predictor.predict(["xx"]), ".png")
