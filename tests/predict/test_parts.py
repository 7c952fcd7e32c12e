"""Tables that grow on disk."""

from __future__ import annotations

import csv
import json
import math

import pytest

from molaugerino.errors import UserError
from molaugerino.predict.outputs import read_columns
from molaugerino.predict.parts import Parts
from molaugerino.predict.table import Column, Layout, Row

LAYOUT = Layout((Column("gap", "eV", "B3LYP", 0),), 0.9)
STAMP = {"model": "a", "level": 0.9}


def rows(*names, **columns):
    blank = (math.nan,)
    return [
        Row(name, name, "ok", "", "", (k + 1 / 3,), blank, blank, blank, blank, blank, columns=columns)
        for k, name in enumerate(names)
    ]


def test_rows_come_back_and_become_a_table(tmp_path):
    parts = Parts(tmp_path / "out.csv", STAMP)
    parts.add(LAYOUT, rows("C", 'N,"', id="7"))
    again = Parts(tmp_path / "out.csv", STAMP)
    assert again.count == 1
    assert [r["input"] for r in again.records()] == ["C", 'N,"']
    again.add(LAYOUT, rows("O", note="two\nlines"))
    again.finish("csv", LAYOUT)
    with (tmp_path / "out.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [(r["input"], r["id"], r["note"]) for r in found] == [
        ("C", "7", ""),
        ('N,"', "7", ""),
        ("O", "", "two\nlines"),
    ]
    assert [r["gap[eV]"] for r in found] == ["0.333333", "1.333333", "0.333333"], "six decimals"
    assert found[0]["gap_lo[eV]"] == "nan"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_what_is_written_is_read(tmp_path, form):
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
    parts = Parts(tmp_path / "out", STAMP)
    parts.add(LAYOUT, rows("C", "N"))
    parts.finish(form, LAYOUT)
    assert list(read_columns(tmp_path / "out", form, ("input", "status"))) == [("C", "ok"), ("N", "ok")]
    (tmp_path / "out").write_bytes(b"a,b\n1,2\n")
    with pytest.raises(UserError, match="is no finished table of these predictions"):
        list(read_columns(tmp_path / "out", form, ("input", "status")))


def test_another_run(tmp_path):
    Parts(tmp_path / "out.csv", STAMP).add(LAYOUT, rows("C"))
    with pytest.raises(UserError, match=r"another level \(0.9, not 0.5\); repeat its settings, or remove it"):
        Parts(tmp_path / "out.csv", STAMP | {"level": 0.5})
    for broken in ("{", "[1]"):
        (tmp_path / "out.csv.parts" / "stamp.json").write_text(broken)
        with pytest.raises(UserError, match=r"no readable stamp\.json"):
            Parts(tmp_path / "out.csv", STAMP)
    (tmp_path / "out.csv.parts" / "stamp.json").write_text(json.dumps(STAMP))
    (tmp_path / "out.csv.parts" / "000000.jsonl").unlink()
    assert Parts(tmp_path / "out.csv", STAMP | {"level": 0.5}).count == 0, "nothing to lose"
