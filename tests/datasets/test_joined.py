"""Several label sets of the same molecules: one set, in one unit, with no contradiction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from molaugerino.datasets import join, load_npz
from molaugerino.datasets.names import B3LYP, HF, MP2, property_of
from molaugerino.datasets.units import HARTREE, factor
from molaugerino.errors import UserError
from tests.conftest import archive


@pytest.fixture
def part(tmp_path):
    """Some molecules of one small archive, with given labels, as a file."""
    full = archive(count=50)
    starts = np.cumsum(full["num_atoms"]) - full["num_atoms"]

    def make(stem, rows, labels, unit="eV", method="M", vector=False, **changes):
        rows = np.asarray(rows)
        atoms = np.concatenate([np.arange(starts[r], starts[r] + full["num_atoms"][r]) for r in rows])
        arrays = {k: full[k][rows] for k in ("id", "num_atoms", "smiles")}
        arrays |= {k: full[k][atoms] for k in ("atomic_numbers", "positions")}
        arrays["targets"] = np.stack([np.asarray(v, dtype=float) for v in labels.values()], 1)
        arrays["target_names"] = np.array(list(labels))
        arrays["target_units"] = np.array([unit] * len(labels))
        if method is not None:
            arrays["target_methods"] = np.array([method] * len(labels))
        if vector:
            arrays["vector_targets"] = full["vector_targets"][rows]
            arrays |= {f"vector_target_{p}": full[f"vector_target_{p}"] for p in ("names", "units", "methods")}
        path = tmp_path / f"{stem}.npz"
        np.savez(path, **(arrays | changes))
        return load_npz(path)

    return make


def test_each_molecule_once_and_each_label_where_it_is_known(part):
    a = part("a", range(0, 30), {"gap": np.arange(30)}, vector=True)
    b = part("b", range(20, 50), {"gap": np.arange(20, 50), "alpha": np.arange(30)})
    joined = join([a, b])
    assert len(joined) == 50
    assert len(np.unique(joined.id)) == 50
    assert np.array_equal(joined.values(joined.target("gap")), np.arange(50.0))
    alpha = joined.values(joined.target("alpha"))
    assert np.isnan(alpha[:20]).all()
    assert np.array_equal(alpha[20:], np.arange(30.0))
    dipole = joined.values(joined.target("dipole"))
    assert np.array_equal(dipole[:30], a.values(a.target("dipole")))
    assert np.isnan(dipole[30:]).all()
    for k in (3, 25, 44):  # every molecule keeps its own atoms
        source, row = (a, k) if k < 30 else (b, k - 20)
        [own] = np.flatnonzero(joined.id == source.id[row])
        atoms = slice(joined.starts[own], joined.starts[own] + joined.num_atoms[own])
        theirs = slice(source.starts[row], source.starts[row] + source.num_atoms[row])
        assert np.array_equal(joined.positions[atoms], source.positions[theirs])
        assert joined.smiles[own] == source.smiles[row]


def test_units_are_converted(part):
    values = np.linspace(0.1, 0.5, 20)
    a = part("a", range(20), {"gap": values}, unit="hartree")
    b = part("b", range(10, 30), {"gap": np.r_[values[10:], np.ones(10)] * HARTREE})
    joined = join([a, b])
    assert joined.target("gap").unit == "eV"
    assert joined.values(joined.target("gap"))[:20] == pytest.approx(values * HARTREE, abs=1e-9)


def test_contradicting_values_are_refused(part):
    values = np.ones(20)
    a, b = part("a", range(20), {"gap": values}), part("b", range(20), {"gap": values + 1e-4})
    with pytest.raises(UserError, match=r"gap \(M\) of id .* is 1\.0001 in b, but 1\.0 in an earlier file"):
        join([a, b])
    assert len(join([a, part("c", range(20), {"gap": values + 5e-6})])) == 20
    assert len(join([a, b.with_method("another")]).targets("gap")) == 2


def test_units_of_two_dimensions_are_refused(part):
    a, b = part("a", range(20), {"gap": np.ones(20)}), part("b", range(20), {"gap": np.ones(20)}, unit="debye")
    with pytest.raises(UserError, match="gap of b: cannot convert 'debye', a unit of dipole, to 'eV'"):
        join([a, b])


def test_other_atoms_under_one_id_are_refused(part):
    a, b = part("a", range(20), {"gap": np.ones(20)}), part("b", range(20), {"alpha": np.ones(20)})
    moved = b.positions.copy()
    moved[b.starts[7], 0] += 0.01
    with pytest.raises(UserError, match=f"1 molecules of b, first id {b.id[7]}, have other atoms or places"):
        join([a, replace(b, positions=moved)])
    other = b.atomic_numbers.copy()
    other[-1] = 9
    with pytest.raises(UserError, match=f"first id {b.id[19]}, have other atoms"):
        join([a, replace(b, atomic_numbers=other)])
    with pytest.raises(UserError, match=r"first id .*, have other atoms"):
        join([a, part("c", range(20, 40), {"alpha": np.ones(20)}, id=a.id)])


def test_numbers_and_names_do_not_mix(part):
    a = part("a", range(20), {"gap": np.ones(20)})
    b = part("b", range(20), {"alpha": np.ones(20)}, id=np.array([f"m{k}" for k in range(20)]))
    with pytest.raises(UserError, match="cannot be joined: some have numbers as ids, some have text"):
        join([a, b])


def test_a_name_takes_every_method(part):
    a = part("a", range(20), {"gap": np.ones(20), "U0": np.ones(20)}, method="one")
    b = part("b", range(10, 30), {"gap": np.zeros(20), "energy_U0": np.ones(20)}, method="two")
    joined = join([a, b])
    assert [t.method for t in joined.targets("gap")] == ["one", "two"]
    assert [t.method for t in joined.targets("gap@two")] == ["two"]
    assert [(t.name, t.method) for t in joined.targets("u0")] == [("U0", "one"), ("energy_U0", "two")]
    assert np.nansum(joined.values(joined.targets("gap")[0])) == 20
    assert np.nansum(joined.values(joined.targets("gap")[1])) == 0
    with pytest.raises(UserError, match="no label 'gap@three'; it has gap@one, "):
        joined.targets("gap@three")


def test_names_of_other_libraries_are_one_label(part):
    a = part("a", range(20), {"u298": np.ones(20)})
    b = part("b", range(10, 30), {"energy_U": np.ones(20)})
    joined = join([a, b])
    assert len(joined.columns) == 1
    assert np.isfinite(joined.values(joined.target("U"))).all()


def test_methods_of_known_files(part):
    assert part("qm9_b3lyp_gap", range(20), {"gap": np.ones(20)}, method=None).target("gap").method == B3LYP
    mixed = part("qm9_rimp2", range(20), {"hf_gap": np.ones(20), "mp2_total_energy": np.ones(20)}, method=None)
    assert mixed.target("gap").method == HF
    assert mixed.target("mp2_total_energy").method == MP2
    assert part("mine", range(20), {"gap": np.ones(20)}, method=None).target("gap").method == ""


def test_levels_in_names_are_kept_apart(part):
    """Where no method is stated, the prefix is all that tells two labels apart."""
    a = part("a", range(20), {"hf_gap": np.ones(20)}, method=None)
    b = part("b", range(20, 40), {"mp2_gap": np.zeros(20), "gap": np.zeros(20)}, method=None)
    joined = join([a, b])
    assert [c.name for c in joined.columns] == ["hf_gap", "mp2_gap", "gap"]
    assert [t.name for t in joined.targets("gap")] == ["gap"]


def test_a_full_name_is_that_label_alone(part):
    mixed = part("qm9_rimp2", range(20), {"hf_total_energy": np.ones(20), "mp2_total_energy": np.ones(20)}, method=None)
    assert [t.name for t in mixed.targets("mp2_total_energy")] == ["mp2_total_energy"]
    assert [t.name for t in mixed.targets("total_energy")] == ["hf_total_energy", "mp2_total_energy"]


def test_a_method_that_is_not_stated_can_be_chosen(part):
    joined = join(
        [part("a", range(20), {"gap": np.ones(20)}), part("b", range(20), {"gap": np.zeros(20)}, method=None)]
    )
    assert [t.method for t in joined.targets("gap")] == ["M", ""]
    assert [t.method for t in joined.targets("gap@")] == [""]
    assert joined.values(joined.target("gap@")).sum() == 0


def test_a_scalar_and_a_vector_of_one_name_are_refused(part):
    a = part("a", range(20), {"dipole": np.ones(20)}, method="GFN2-xTB")
    b = part("b", range(20), {"x": np.ones(20)}, vector=True)
    with pytest.raises(UserError, match="dipole is a scalar in a, a vector in b; rename one"):
        join([a, b])


@pytest.mark.parametrize(("unit", "allowed"), [("eV", 1e-5), ("hartree", 1e-5), ("kcal/mol", 1e-4)])
def test_how_far_files_may_differ(part, unit, allowed):
    """Large labels, too, agree to 1e-5 eV; only the constants of a mole differ between programs."""
    values = np.full(20, 80.0)
    a = part("a", range(20), {"gap": values / factor(unit, "eV")}, unit=unit)
    assert len(join([a, part("b", range(20), {"gap": values + 0.9 * allowed})])) == 20
    with pytest.raises(UserError, match=r"gap .* in an earlier file"):
        join([a, part("c", range(20), {"gap": values + 1.7 * allowed})])


def test_the_first_file_has_the_word(part):
    a, b = part("a", range(20), {"gap": np.ones(20)}), part("b", range(20), {"gap": np.ones(20) + 5e-6})
    assert (join([a, b]).columns[0].values == 1).all()
    big = [part(name, range(20), {"energy": np.full(20, -11_000.0 - d)}) for name, d in (("c", 0), ("d", 0.02))]
    with pytest.raises(UserError, match=r"energy .* in an earlier file"):
        join(big)


def test_one_set_is_itself(part):
    a = part("a", range(20), {"gap": np.ones(20)}, unit="hartree")
    assert join([a]) is a


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("dipole_moment", "mu"),
        ("isotropic_polarizability", "alpha"),
        ("electronic_spatial_extent", "r2"),
        ("energy_U0", "U0"),
        ("energy_U", "U"),
        ("enthalpy_H", "H"),
        ("free_energy", "G"),
        ("heat_capacity", "Cv"),
        ("cv", "Cv"),
        ("u0", "U0"),
        ("u298", "U"),
        ("h298", "H"),
        ("g298", "G"),
        ("u298_atom", "U_atom"),
        ("rotational_constant_A", "A"),
        ("HOMO", "homo"),
        ("hf_gap", "hf_gap"),
        ("gap", "gap"),
        ("anything", "anything"),
    ],
)
def test_aliases(given, name):
    assert property_of(given) == name
