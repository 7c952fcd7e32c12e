"""Worlds: their labels from the set's own, in the frame that the molecules stand in, with the symmetry they claim."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from molaugerino.datasets import World, in_frames, open_data
from molaugerino.datasets.molecules import from_arrays
from molaugerino.errors import UserError
from tests.conftest import archive

FIELDS = ("field", "two-fields")
WORLDS = (*FIELDS, "slab", "pseudoscalar")


@pytest.fixture(scope="module")
def molecules():
    return in_frames(from_arrays(archive(count=300), "small"), "random", 0)[0]


def label(world, molecules):
    return world.place(molecules).values(molecules_target(world, molecules))


def molecules_target(world, molecules):
    return world.place(molecules).target(world.label)


def turned(molecules, rotation):
    return molecules.rotated(np.repeat(rotation.as_matrix()[None], len(molecules), 0))


def test_the_field_is_as_strong_as_the_energies_spread():
    molecules = in_frames(open_data("xtb9"), "random", 3)[0]
    energy = molecules.values(molecules.target("energy"))
    counts = np.zeros((len(molecules), 10))
    np.add.at(counts, (molecules.owner, molecules.atomic_numbers), 1)
    spread = (energy - counts @ np.linalg.lstsq(counts, energy, rcond=None)[0]).std()
    along = energy - label(World("field", 5), molecules)
    assert along.std() == pytest.approx(spread, rel=0.03)
    both = label(World("two-fields", 5), molecules) - label(World("field", 5), molecules)
    assert both.min() >= 0
    assert both.std() == pytest.approx(spread, rel=0.06)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_turns_about_the_field_are_all_that_is_kept(molecules, seed):
    world = World("field", seed)
    before = label(world, molecules)
    about = turned(molecules, Rotation.from_rotvec(1.3 * world.axis))
    assert np.abs(label(world, about) - before).max() < 1e-4
    across = turned(molecules, Rotation.from_rotvec(0.3 * np.cross(world.axis, [1.0, 0.2, -0.4])))
    assert np.abs(label(world, across) - before).mean() > 0.01


def test_two_fields_leave_no_turn(molecules):
    world = World("two-fields", 1)
    before = label(world, molecules)
    for axis in (world.axis, *np.eye(3)):
        moved = turned(molecules, Rotation.from_rotvec(0.5 * axis))
        assert np.abs(label(world, moved) - before).mean() > 0.05
    first, second = World("field", 1).axis, world.axis
    assert np.array_equal(first, second)


def test_the_slab_places_molecules_above_itself(molecules):
    world = World("slab", 2)
    placed = world.place(molecules)
    shift = (placed.positions - molecules.positions)[placed.starts]
    assert shift.min(0)[:2] == pytest.approx([-2, -2], abs=0.1)
    assert (shift[:, 2].min(), shift[:, 2].max()) == pytest.approx((0, 4), abs=0.1)
    assert np.array_equal(placed.positions_mmff - molecules.positions_mmff > -9, np.ones_like(placed.positions, bool))
    k = 17
    atoms = placed.positions[placed.owner == k]
    assert placed.values(placed.target("slab_energy"))[k] == pytest.approx(np.exp(-atoms[:, 2] / 2).sum(), rel=1e-6)


def test_the_slab_keeps_turns_about_its_normal(molecules):
    world = World("slab", 2)
    before = label(world, molecules)
    assert label(world, turned(molecules, Rotation.from_rotvec([0, 0, 2.0]))) == pytest.approx(before, rel=1e-5)
    assert np.abs(label(world, turned(molecules, Rotation.from_rotvec([0.3, 0, 0]))) / before - 1).mean() > 0.02


def test_the_pseudoscalar_is_kept_by_rotations_and_changes_sign_under_reflection(molecules):
    world = World("pseudoscalar")
    before = label(world, molecules)
    again = label(world, turned(molecules, Rotation.from_rotvec([0.4, -1.0, 2.0])))
    assert again == pytest.approx(before, abs=1e-3)
    mirrored = molecules.rotated(np.repeat(-np.eye(3)[None], len(molecules), 0))
    assert label(world, mirrored) == pytest.approx(-before, abs=1e-3)
    assert before.std() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("name", WORLDS)
def test_same_seed_same_world(molecules, name):
    assert np.array_equal(label(World(name, 7), molecules), label(World(name, 7), molecules))
    if name != "pseudoscalar":
        assert not np.array_equal(label(World(name, 7), molecules), label(World(name, 8), molecules))


def test_axes_are_spread_over_the_sphere():
    axes = np.array([World("field", seed).axis for seed in range(400)])
    assert np.linalg.norm(axes, axis=1) == pytest.approx(1)
    assert np.linalg.norm(axes.mean(0)) < 4 / math.sqrt(400)


@pytest.mark.parametrize("name", FIELDS)
def test_a_set_without_dipoles(name):
    arrays = {k: v for k, v in archive(count=50).items() if not k.startswith("vector_")}
    with pytest.raises(UserError, match="a field acts on dipole vectors, and bare has none"):
        World(name).place(from_arrays(arrays, "bare"))


def test_a_set_without_an_energy():
    arrays = archive(count=50)
    arrays["target_names"] = np.array([f"label{k}" for k in range(len(arrays["target_names"]))])
    with pytest.raises(UserError, match="a world needs a complete total energy, and odd has none"):
        World("field").place(from_arrays(arrays, "odd"))
