"""Reading archives, framing, splitting, batching."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from molaugerino.datasets import (
    BatchStream,
    PackedData,
    in_frames,
    load_npz,
    open_data,
)
from molaugerino.errors import UserError
from tests.conftest import archive


@pytest.fixture(scope="module")
def small(small_npz):
    return load_npz(small_npz)


def saved(tmp_path, **changes):
    arrays = archive(count=50) | changes
    path = tmp_path / "changed.npz"
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


class TestReading:
    def test_labels_with_unit_and_method(self, small):
        target, values = small.target("gap"), small.values(small.target("gap"))
        assert (target.unit, target.method, target.readout, target.kind) == ("eV", "GFN2-xTB", "mean", "scalar")
        assert values.shape == (len(small),)
        assert small.target("energy").readout == "sum"
        assert small.target("dipole").channels == 3

    def test_molecules_are_centred(self, small):
        centroids = np.add.reduceat(small.positions, small.starts) / small.num_atoms[:, None]
        assert np.abs(centroids).max() < 1e-5

    def test_components_come_from_the_vector(self, small):
        assert np.array_equal(small.values(small.target("dipole_y")), small.values(small.target("dipole"))[:, 1])

    def test_geometry(self, small):
        mmff = small.with_geometry("mmff")
        assert np.array_equal(mmff.positions, small.positions_mmff)
        assert small.with_geometry("given") is small

    def test_units_and_names_of_columns(self, small):
        assert small.target("gap").columns == ["gap[eV]"]
        assert small.target("dipole").columns == ["dipole_x[debye]", "dipole_y[debye]", "dipole_z[debye]"]


class TestBadFiles:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"positions": None}, "lacks positions"),
            ({"positions": np.zeros((3, 3))}, r"`positions` has shape \(3, 3\), expected"),
            ({"targets": np.zeros((50, 2))}, "`targets` has shape"),
            ({"id": np.zeros(50, dtype=int)}, "`id` holds duplicates"),
            ({"num_atoms": np.zeros(50, dtype=int)}, "expected"),
            ({"vector_target_units": np.array([], dtype=str)}, "a unit and a method each"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, changes, message):
        with pytest.raises(UserError, match=message):
            load_npz(saved(tmp_path, **changes))

    def test_not_finite_positions_name_the_molecule(self, tmp_path):
        arrays = archive(count=50)
        arrays["positions"][arrays["num_atoms"][0] + 1, 2] = np.nan
        with pytest.raises(UserError, match=f"molecule with id {arrays['id'][1]} is not finite"):
            load_npz(saved(tmp_path, **arrays))

    def test_overlapping_atoms_name_the_molecule(self, tmp_path):
        arrays = archive(count=50)
        first = arrays["num_atoms"][0]
        arrays["positions"][first] = arrays["positions"][first + 1] + 0.1
        with pytest.raises(UserError, match=f"1 molecules, first id {arrays['id'][1]}, have atoms nearer than 0.4 A"):
            load_npz(saved(tmp_path, **arrays))

    def test_infinite_labels_name_the_molecule(self, tmp_path):
        targets = archive(count=50)["targets"].copy()
        targets[3, 1] = -np.inf
        with pytest.raises(UserError, match=r"changed: .* of id .* is infinite; correct it, NaN is a missing label"):
            load_npz(saved(tmp_path, targets=targets))

    def test_truncated(self, small_npz, tmp_path):
        path = tmp_path / "cut.npz"
        path.write_bytes(small_npz.read_bytes()[:5000])
        with pytest.raises(UserError, match="truncated"):
            load_npz(path)

    def test_not_an_archive(self, tmp_path):
        (tmp_path / "text.npz").write_text("hello")
        with pytest.raises(UserError, match=r"not a readable .npz archive"):
            load_npz(tmp_path / "text.npz")
        np.save(tmp_path / "one.npy", np.zeros(3))
        with pytest.raises(UserError, match="no zip file"):
            load_npz(tmp_path / "one.npy")

    def test_pickles_are_refused(self, tmp_path):
        path = tmp_path / "pickled.npz"
        np.savez(path, id=np.array([{}], dtype=object))
        with pytest.raises(UserError, match=r"not a readable .npz archive of plain arrays"):
            load_npz(path)

    def test_missing_and_unknown(self, tmp_path):
        with pytest.raises(UserError, match="no data file at"):
            load_npz(tmp_path / "none.npz")
        with pytest.raises(UserError, match="no data set 'qm10'"):
            open_data("qm10")

    def test_unknown_label(self, small):
        with pytest.raises(UserError, match=r"no label 'alpha'; it has energy, .*gap.*, dipole_x"):
            small.target("alpha")

    def test_geometry_that_is_not_there(self, tmp_path):
        with pytest.raises(UserError, match="holds no mmff positions"):
            load_npz(saved(tmp_path, positions_mmff=None)).with_geometry("mmff")


class TestFrames:
    def test_random_frames_are_the_same_every_time(self, small):
        first, _ = in_frames(small, "random", 3)
        second, _ = in_frames(small, "random", 3)
        other, _ = in_frames(small, "random", 4)
        assert np.array_equal(first.positions, second.positions)
        assert not np.allclose(first.positions, other.positions)

    def test_vectors_turn_with_their_molecule(self, small):
        """Against the positions: the overlap of dipole and each atom does not change."""
        turned, _ = in_frames(small, "random", 3)
        before = np.einsum("ai,ai->a", small.positions, small.values(small.target("dipole"))[small.owner])
        after = np.einsum("ai,ai->a", turned.positions, turned.values(turned.target("dipole"))[turned.owner])
        assert np.abs(before - after).max() < 1e-4
        assert np.abs(small.values(small.target("dipole_x")) - turned.values(turned.target("dipole_x"))).max() > 0.1
        assert np.array_equal(small.values(small.target("mu")), turned.values(turned.target("mu")))

    def test_principal_frames_forget_the_orientation(self, small):
        turns = Rotation.random(len(small), rng=np.random.default_rng(0)).as_matrix()
        here, undetermined = in_frames(small, "principal")
        there, _ = in_frames(small.rotated(turns), "principal")
        sure = ~undetermined
        assert sure.mean() > 0.8
        assert np.abs(here.positions - there.positions)[sure[small.owner]].max() < 1e-4
        gap = np.abs(here.values(here.target("dipole")) - there.values(there.target("dipole")))[sure]
        assert gap.max() < 1e-3

    def test_principal_frames_are_proper_and_diagonal(self, small):
        turned, _ = in_frames(small, "principal")
        distance = np.linalg.norm(turned.positions, axis=1) - np.linalg.norm(small.positions, axis=1)
        assert np.abs(distance).max() < 1e-4
        volumes = [
            np.linalg.det(np.stack([m.positions[s : s + 3] for s in m.starts[m.num_atoms > 3]]))
            for m in (small, turned)
        ]
        assert np.abs(volumes[0] - volumes[1]).max() < 1e-3  # no reflection
        mass = np.array([{1: 1.008, 6: 12.011, 7: 14.007, 8: 15.999, 9: 18.998}[int(z)] for z in turned.atomic_numbers])
        for k in range(len(turned)):
            atoms = slice(turned.starts[k], turned.starts[k] + turned.num_atoms[k])
            m, x = mass[atoms], turned.positions[atoms].astype(float)
            x = x - m @ x / m.sum()
            second = np.einsum("a,ai,aj->ij", m, x, x)
            inertia = np.trace(second) * np.eye(3) - second
            assert np.abs(inertia - np.diag(inertia.diagonal())).max() < 1e-3 * inertia.max()
            assert (np.diff(inertia.diagonal()) > -1e-3 * inertia.max()).all()

    def test_symmetric_tops_are_flagged(self, small):
        benzene = 1.39 * np.array([[np.cos(a), np.sin(a), 0] for a in np.arange(6) * np.pi / 3])
        arrays = archive(count=40)
        arrays |= {key: arrays[key][:1] for key in arrays if len(arrays[key]) == 40}
        arrays |= {"num_atoms": np.array([6]), "atomic_numbers": np.full(6, 6), "positions": benzene.astype(np.float32)}
        arrays |= {"positions_mmff": benzene.astype(np.float32)}
        from molaugerino.datasets.molecules import from_arrays

        _, undetermined = in_frames(from_arrays(arrays, "benzene"), "principal")
        assert undetermined.tolist() == [True]

    def test_unknown_frames(self, small, untyped):
        with pytest.raises(UserError, match="`frames` must be one of stored, principal, random"):
            in_frames(small, "upright")


class TestBatches:
    def test_padding_holds_the_molecules(self, small):
        data = PackedData(small, [small.target("gap"), small.target("dipole")])
        batch = data.batch(torch.tensor([5, 2]))
        assert batch.y.shape == (2, 4)
        for row, k in enumerate((5, 2)):
            atoms = slice(small.starts[k], small.starts[k] + small.num_atoms[k])
            assert torch.equal(batch.x.pos[row][batch.x.mask[row]], torch.from_numpy(small.positions[atoms]))
            assert batch.x.z[row][batch.x.mask[row]].tolist() == small.atomic_numbers[atoms].tolist()

    def test_every_molecule_once_an_epoch(self, small):
        data = PackedData(small, [])
        stream = BatchStream(data, np.arange(100), 16, seed=0, start=lambda: 0)
        rows = torch.cat(stream.epoch(3))
        assert torch.equal(rows.sort().values, torch.arange(100))
        assert stream.steps_per_epoch == len(stream.epoch(0)) == 7

    @pytest.mark.parametrize("size", [16, 3])  # of three, the last batch has one molecule, too few for all
    def test_processes_share_every_batch(self, small, size):
        data = PackedData(small, small.targets("energy"))
        whole = BatchStream(data, np.arange(10), size, seed=0, start=lambda: 0)
        parts = [BatchStream(data, np.arange(10), size, 0, lambda: 0, rank, 3) for rank in range(3)]
        for batch, *shared in zip(itertools.islice(whole, 2 * whole.steps_per_epoch), *parts, strict=False):
            assert [part.total for part in shared] == 3 * [batch.total] == 3 * [len(batch.y)]
            for rank, part in enumerate(shared):
                own = batch.y[rank::3]
                assert torch.equal(part.y, own if len(own) else batch.y[:1])

    def test_a_stream_can_be_entered_anywhere(self, small):
        data = PackedData(small, [])

        def first(start, count):
            stream = iter(BatchStream(data, np.arange(100), 16, seed=0, start=lambda: start))
            return [next(stream).x.pos for _ in range(count)]

        whole = first(0, 20)
        assert all(torch.equal(a, b) for a, b in zip(first(9, 11), whole[9:], strict=True))


class TestWhatIsTheSameTarget:
    def test_another_unit_is_converted_or_refused(self, small, tmp_path):
        gap = small.target("gap")
        other = load_npz(saved(tmp_path, target_units=np.array(["hartree"] * 6)))
        same = load_npz(saved(tmp_path)).values(gap)
        assert other.values(gap) == pytest.approx(same * 27.211386246)
        other = load_npz(saved(tmp_path, target_units=np.array(["debye"] * 6)))
        with pytest.raises(UserError, match="cannot convert 'debye', a unit of dipole, to 'eV'"):
            other.values(gap)

    def test_another_method_is_another_target(self, small, tmp_path):
        other = load_npz(saved(tmp_path, target_methods=np.array(["B3LYP"] * 6)))
        with pytest.raises(UserError, match="gap of changed is by B3LYP, the model's by GFN2-xTB"):
            other.values(small.target("gap"))
        unstated = load_npz(saved(tmp_path, target_methods=None))
        assert unstated.values(small.target("gap")).shape == (50,)

    def test_another_kind_is_refused(self, small, tmp_path):
        names = archive(count=50)["target_names"].copy()
        names[list(names).index("mu")] = "dipole"
        other = load_npz(saved(tmp_path, target_names=names, vector_targets=None))
        with pytest.raises(UserError, match="dipole of changed is a scalar, expected a vector"):
            other.values(small.target("dipole"))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num_atoms", np.array(3), "`num_atoms` must have 1 dimension"),
        ("num_atoms", np.full(50, 2.5), "`num_atoms` must have 1 dimension.s. of integers"),
        ("target_names", np.array("gap"), "`target_names` must have 1 dimension"),
        ("targets", np.full((50, 6), "x"), "`targets` must have 2 dimension.s. of real numbers"),
        ("id", np.zeros((50, 2), int), "`id` must have 1 dimension"),
    ],
)
def test_fields_of_another_form(key, value, message, tmp_path):
    with pytest.raises(UserError, match=message):
        load_npz(saved(tmp_path, **{key: value}))


@pytest.mark.parametrize("z", [0, 119])
def test_atoms_that_do_not_exist(z, tmp_path):
    numbers = archive(count=50)["atomic_numbers"].copy()
    numbers[7] = z
    with pytest.raises(UserError, match=r"`atomic_numbers` must lie in 1\.\.118"):
        load_npz(saved(tmp_path, atomic_numbers=numbers))
