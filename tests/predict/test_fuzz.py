"""Whatever is handed to predict: a row for each molecule, no number on a row that failed, no traceback.

FUZZ=8 in the environment tries eight times as much: 8,000 lines, 960 files and 160 of noise.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from molaugerino.cli.main import main
from molaugerino.predict.inputs import open_inputs
from molaugerino.predict.smiles import STATUSES

SCALE = int(os.environ.get("FUZZ", "1"))
KNOWN = ["CCO", "c1ccccc1O", "C[C@H](N)C(=O)O", "F/C=C/F", "C1CC1C#N", "CC(=O)Nc1ccco1", "[2H]C", "C[N+](=O)[O-]"]
TOKENS = [
    *"CNOFcno()[]=#12/\\@+-.%$:*H",
    "[nH]",
    "[C@@H]",
    "[O-]",
    "[N+]",
    "%10",
    "Cl",
    "Br",
    "[Si]",
    "[13C]",
    "C(C)",
    "c1",
]
LINE = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), max_size=30)
BYTES = {"derandomize": True, "deadline": None, "suppress_health_check": list(HealthCheck)}


@st.composite
def mutated(draw, sources, most=6):
    """One of the byte strings with bytes changed, cut out, put in, or said twice."""
    data = bytearray(draw(st.sampled_from(sources)))
    for _ in range(draw(st.integers(1, most))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        size = draw(st.integers(1, 12))
        kind = draw(st.sampled_from(["flip", "cut", "insert", "twice", "end"]))
        if kind == "flip" and data:
            data[place] ^= draw(st.integers(1, 255))
        elif kind == "cut":
            del data[place : place + size]
        elif kind == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=size))
        elif kind == "twice":
            data[place:place] = data[place : place + 10 * size]
        elif draw(st.integers(0, 4)) == 0:
            del data[place:]
    return bytes(data)


SMILES = st.one_of(
    st.lists(st.sampled_from(TOKENS), max_size=14).map("".join),
    mutated([s.encode() for s in KNOWN], 3).map(lambda b: b.decode("latin-1").translate({10: 46, 13: 46, 0: 46})),
    st.sampled_from(KNOWN),
    LINE,
)


def solid(smiles):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    return mol


SDF = [
    "".join(Chem.MolToMolBlock(solid(s)) + f"> <id>\n{k}\n\n$$$$\n" for k, s in enumerate(KNOWN[n : n + 3])).encode()
    for n in range(4)
]
XYZ = ["".join(Chem.MolToXYZBlock(solid(s)) for s in KNOWN[n : n + 3]).encode() for n in range(4)]
CSV = [b"id,smiles,note\n" + b"".join(b'%d,%s,"a, b"\n' % (k, s.encode()) for k, s in enumerate(KNOWN))]


def checked(trained, name, content, *more):
    """Rows of a file that predict was given; refused as a whole only with a message."""
    with tempfile.TemporaryDirectory() as scratch:
        path, out = Path(scratch) / name, Path(scratch) / "out.json"
        path.write_bytes(content)
        code = main(["predict", str(path), "--checkpoint", str(trained), "--isomers", "1", "--out", str(out), *more])
        if code == 2:
            return None
        assert code == 0
        rows = json.loads(out.read_text())
        assert len(rows) == open_inputs([str(path)], "smiles")[0].total
    for row in rows:
        assert row["status"] in STATUSES
        assert (row["gap[eV]"] is None) == (row["status"] != "ok"), row
        assert bool(row["reason"]) or row["status"] == "ok"
        assert row["status"] != "crashed", row
    return rows


def texts(trained, lines, *more):
    rows = checked(trained, "in.smi", "".join(f"{line}\n" for line in lines).encode(), *more)
    assert len(rows) == len(lines)


def spaces(trained, kind, content):
    rows = checked(trained, f"in.{kind}", content)
    assert rows is not None


@settings(max_examples=6, **BYTES)
@given(st.lists(SMILES, min_size=10, max_size=10))
def test_a_few_lines(trained, lines):
    texts(trained, lines)


@settings(max_examples=4, **BYTES)
@given(mutated(SDF), mutated(XYZ), mutated(CSV))
def test_a_few_files(trained, sdf, xyz, table):
    spaces(trained, "sdf", sdf)
    spaces(trained, "xyz", xyz)
    checked(trained, "in.csv", table)


@pytest.mark.slow
@settings(max_examples=5 * SCALE, **BYTES)
@given(st.lists(SMILES, min_size=200, max_size=200))
def test_lines(trained, lines):
    texts(trained, lines, "--jobs", "2")


@pytest.mark.slow
@settings(max_examples=40 * SCALE, **BYTES)
@given(mutated(SDF), mutated(XYZ), mutated(CSV))
def test_records(trained, sdf, xyz, table):
    spaces(trained, "sdf", sdf)
    spaces(trained, "xyz", xyz)
    checked(trained, "in.csv", table)


@pytest.mark.slow
@settings(max_examples=20 * SCALE, **BYTES)
@given(st.binary(max_size=3000), st.sampled_from(["smi", "csv", "sdf", "xyz", "extxyz", "smi.gz", "sdf.gz"]))
def test_noise(trained, content, kind):
    checked(trained, f"in.{kind}", content)


@pytest.mark.slow
def test_huge_files(trained):
    """A line without end, and more blank and bad lines than molecules."""
    assert [r["status"] for r in checked(trained, "in.smi", b"C" * 25_000_000 + b"\nCCO\n")] == ["too_large", "ok"]
    rows = checked(trained, "in.smi", b"\n" * 30_000 + b"xx\n" * 30_000 + b"CCO\n")
    assert (len(rows), rows[-1]["status"]) == (60_001, "ok")
