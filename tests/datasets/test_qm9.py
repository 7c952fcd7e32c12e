"""QM9 from files of its form; names, order, units and references against torch_geometric's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch_geometric.datasets import qm9 as pyg

from molaugerino.datasets import qm9
from molaugerino.datasets.download import md5
from molaugerino.datasets.prepared import open_prepared
from molaugerino.datasets.qm9 import Published, parse_xyz, prepare, read_archive, uncharacterized
from molaugerino.errors import UserError
from tests.datasets.qm9_files import METHANE, PROPERTIES, archive, small_archive, xyz

ORDER = [
    *("mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "U0", "U", "H", "G", "Cv"),
    *("U0_atom", "U_atom", "H_atom", "G_atom", "A", "B", "C"),
]


class TestParsing:
    def test_a_file(self):
        record = parse_xyz(xyz(21, smiles="C", relaxed="[CH4]"))
        assert (record.id, record.smiles) == (21, "[CH4]")
        assert record.numbers.tolist() == [6, 1, 1, 1, 1]
        assert np.abs(record.positions - METHANE).max() < 1e-9
        assert record.labels.tolist() == [float(value) for value in PROPERTIES.split()]

    def test_malformed_exponents(self):
        text = xyz(positions=tiny())
        assert "-1.2*^-6" in text
        assert parse_xyz(text).positions[0].tolist() == [-1.2e-6, 3e-5, 0.0]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "5\n",
            xyz().replace("gdb", "gdc"),
            xyz(properties=PROPERTIES + " 1.0"),
            xyz(properties=PROPERTIES.replace("13.2", "nan")),
            xyz().replace("5\n", "9\n", 1),
            xyz().replace("H\t", "Xx\t", 1),
            "\n".join(xyz().splitlines()[:-1]),
        ],
    )
    def test_another_form(self, text):
        with pytest.raises((ValueError, KeyError, IndexError)):
            parse_xyz(text)


def tiny():
    positions = METHANE.copy()
    positions[0] = -1.2e-6, 3e-5, 0
    return positions


class TestLabels:
    def test_names_and_order(self):
        assert list(qm9.TARGETS) == ORDER

    def test_energies_are_in_ev(self):
        """Against torch_geometric's factors, which begin at hartree, or at kcal/mol for atomisation."""
        energies = [unit == "eV" for unit in qm9.UNITS.values()]
        assert energies == (pyg.conversion != 1).tolist()
        assert pytest.approx(pyg.HAR2EV, rel=1e-11) == qm9.HARTREE

    def test_references_of_the_atoms(self):
        for k, name in enumerate(qm9.ENERGIES):
            expected = pyg.atomrefs[ORDER.index(name)]
            assert [qm9.ATOMS[z][k] * qm9.HARTREE for z in (1, 6, 7, 8, 9)] == pytest.approx(expected, abs=1e-4)

    def test_methane(self):
        """-40.47893 hartree and a gap of 0.5048 hartree; bound by as much as lies below its free atoms."""
        record = parse_xyz(xyz())
        values = dict(zip(qm9.TARGETS, qm9.labels(record.labels[None], np.array([[4, 1, 0, 0, 0]]))[0], strict=True))
        assert values["U0"] == pytest.approx(-40.47893 * 27.211386246)
        assert values["gap"] == pytest.approx(13.736308, abs=1e-6)
        assert (values["mu"], values["A"], values["Cv"], values["alpha"]) == (0.0, 157.7, 6.5, 13.2)
        assert values["U0_atom"] == pytest.approx((-40.47893 + 4 * 0.500273 + 37.846772) * 27.211386246)
        assert values["G_atom"] == pytest.approx((-40.4986 + 4 * 0.510927 + 37.861317) * 27.211386246)


class TestUncharacterised:
    def test_a_table(self):
        text = "Index  before  after\n==========\n     21  CC#N  C[N]#C\n  58  N\n133 molecules3\n7\nend\n"
        assert uncharacterized(text) == {21, 58, 133, 7}
        assert uncharacterized("") == set()

    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_the_published_layout(self, end):
        """Nine lines of heading and a closing one, numbers in which are no ids."""
        rows = [f"{k:9d}  CC#N  C[N]#C  C" for k in range(1, 3 * 3054, 3)]
        text = end.join(["3054 molecules", *["======"] * 8, *rows, "3053 closing"]) + end
        assert uncharacterized(text) == set(range(1, 3 * 3054, 3))


class TestArchives:
    def test_progress_counts_files(self, tmp_path):
        seen = []
        records = list(read_archive(small_archive(tmp_path / "a.tar.bz2"), lambda *report: seen.append(report)))
        assert [record.id for record in records] == [1, 2, 3, 4, 5, 6]
        assert seen == [("a.tar.bz2", k, 133_885) for k in range(1, 7)]

    def test_other_members_are_passed_over(self, tmp_path):
        path = archive(tmp_path / "a.tar.bz2", {"readme.txt": "hello", "x/dsgdb9nsd_000002.xyz": xyz(2)})
        assert [record.id for record in read_archive(path)] == [2]

    def test_one_that_is_missing(self, tmp_path):
        with pytest.raises(UserError, match=r"no archive at .*a.tar.bz2; give the path of dsgdb9nsd"):
            list(read_archive(tmp_path / "a.tar.bz2"))

    @pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 0.98])
    def test_one_that_is_cut(self, tmp_path, share):
        """A reader that stops at the cut as if it were the end loses molecules and says nothing."""
        path = small_archive(tmp_path / "a.tar.bz2", 250)
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        with pytest.raises(UserError, match=r"not a whole .tar.bz2 archive .*; remove it and fetch it again"):
            list(read_archive(path))

    def test_one_of_another_kind(self, tmp_path):
        path = tmp_path / "a.tar.bz2"
        path.write_text("hello")
        with pytest.raises(UserError, match=r"not a whole .tar.bz2 archive"):
            list(read_archive(path))
        with pytest.raises(UserError, match=r"000001.xyz is not a file of QM9"):
            list(read_archive(archive(path, {"000001.xyz": "5\nmethane\n"})))


class TestPreparing:
    def test_what_is_kept(self, tmp_path):
        path = small_archive(tmp_path / "a.tar.bz2")
        assert prepare(path, "2 C\n5 C\n99 C\n", tmp_path / "six") == (4, 2)
        found = open_prepared(tmp_path / "six", whole=True)
        assert found.name == "six"
        assert found.id.tolist() == [1, 3, 4, 6]
        assert found.smiles.tolist() == ["C"] * 4
        assert [c.name for c in found.columns] == ORDER
        assert {c.method for c in found.columns} == {"B3LYP/6-31G(2df,p)"}
        assert [c.unit for c in found.columns] == list(qm9.UNITS.values())
        assert found.target("U").readout == found.target("U_atom").readout == "sum"
        records = [record for record in read_archive(path) if record.id in (1, 3, 4, 6)]
        for k, record in enumerate(records):
            atoms = slice(found.starts[k], found.starts[k] + 5)
            assert np.abs(found.positions[atoms] - (record.positions - record.positions.mean(0))).max() < 1e-6
        assert found.values(found.target("gap")) == pytest.approx([0.5048 * qm9.HARTREE] * 4)

    def test_names_of_other_libraries(self, tmp_path):
        prepare(small_archive(tmp_path / "a.tar.bz2"), "", tmp_path / "six")
        found = open_prepared(tmp_path / "six")
        pairs = {
            "u298": "U",
            "energy_U0": "U0",
            "g298_atom": "G_atom",
            "cv": "Cv",
            "Free_Energy": "G",
            "h": "H",
            "H": "H",
        }
        assert {name: found.target(name).name for name in pairs} == pairs
        assert found.target("u298").readout == "sum"
        with pytest.raises(UserError, match="no label 'u299'"):
            found.target("u299")

    def test_an_alias_is_not_taken_for_a_label_of_that_name(self, tmp_path):
        prepare(small_archive(tmp_path / "a.tar.bz2"), "", tmp_path / "six")
        found = open_prepared(tmp_path / "six")
        own = replace(found, columns=(*found.columns, replace(found.columns[0], name="u298")))
        assert own.target("u298").name == "u298"

    def test_none_is_left_out_without_a_list(self, tmp_path):
        assert prepare(small_archive(tmp_path / "a.tar.bz2"), "", tmp_path / "all") == (6, 0)

    @pytest.mark.parametrize(("count", "kept"), [(6, 5), (7, 4)])
    def test_the_published_archive_must_hold_what_it_should(self, tmp_path, count, kept):
        path = small_archive(tmp_path / "a.tar.bz2")
        expect = Published(md5(path), count, kept)
        with pytest.raises(UserError, match=f"6 molecules, 4 of them characterised, expected {count} and {kept}; put"):
            prepare(path, "2\n5\n", tmp_path / "six", expect=expect)
        assert not (tmp_path / "six").exists()
        assert prepare(path, "2\n5\n", tmp_path / "six", expect=Published(md5(path), 6, 4)) == (4, 2)

    def test_the_published_numbers(self):
        assert (qm9.PUBLISHED.count, qm9.PUBLISHED.kept) == (133_885, 130_831)
        assert qm9.PUBLISHED.md5 == qm9.ARCHIVE.md5

    def test_nothing_is_left_of_a_damaged_archive(self, tmp_path):
        path = small_archive(tmp_path / "a.tar.bz2", 60)
        path.write_bytes(path.read_bytes()[:-50])
        with pytest.raises(UserError, match="not a whole"):
            prepare(path, "", tmp_path / "out")
        assert [p.name for p in tmp_path.iterdir()] == ["a.tar.bz2"]

    def test_the_same_molecule_twice_and_none(self, tmp_path):
        twice = archive(tmp_path / "twice.tar.bz2", {"1.xyz": xyz(), "2.xyz": xyz()})
        with pytest.raises(UserError, match="`id` holds duplicates"):
            prepare(twice, "", tmp_path / "out")
        with pytest.raises(UserError, match="holds no molecule to keep"):
            prepare(archive(tmp_path / "none.tar.bz2", {"a": ""}), "", tmp_path / "out")
