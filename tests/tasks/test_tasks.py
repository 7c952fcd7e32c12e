"""The pictures of the tasks, their labels, their splits and their laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from molaugerino.config import LawKind, TaskName
from molaugerino.errors import UserError
from molaugerino.groups import SO2
from molaugerino.spaces import Image
from molaugerino.tasks import TASKS, forced_law, image_law, open_task
from molaugerino.tasks.data import image_split


@pytest.mark.parametrize("name", TaskName.__args__)
def test_pictures(name):
    task, found = TASKS[name], open_task(name, images=100)
    x, y = found.packed.x, found.packed.y
    assert x.dtype == torch.float32
    assert 0 <= float(x.min()) < float(x.max()) <= 1
    assert len(x) == len(y) == 100
    if task.kind == "number":
        assert y.shape == (100, 1)
        assert found.classes == ()
    else:
        assert y.dtype == torch.int64
        assert y.shape == ((100,) if task.kind == "classes" else (100, *x.shape[2:]))
        assert set(y.unique().tolist()) <= set(range(len(found.classes)))
        assert len(y.unique()) > 1
    parts = found.split
    rows = np.concatenate([parts.train, parts.budget, parts.valid, parts.test])
    assert sorted(rows.tolist()) == list(range(100))
    task.input.check(x, task_dim(task.law), x.device)


def task_dim(law):
    return 3 if law == "hue" else 2


@pytest.mark.parametrize("name", ["rotmnist", "two-icons", "segment", "hue"])
def test_a_seed_is_a_set_of_pictures(name):
    first, again, other = (open_task(name, images=60, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.packed.x, again.packed.x)
    assert first.checksum == again.checksum != other.checksum
    assert not torch.equal(first.packed.x, other.packed.x)
    assert open_task(name, images=61).checksum != first.checksum


def test_two_icons_allow_turns_by_an_eighth():
    """A picture upright, turned by less than 90 degrees less its own angle, is never one upside-down."""
    found = open_task("two-icons", images=400)
    x, y = found.packed.x, found.packed.y
    upright, down = x[y < 2], x[y >= 2]
    turned = Image().act(SO2.exp(torch.full((len(down), 1), math.pi)), down, None)
    # upside-down pictures, turned back by half a turn, look like upright ones
    assert nearest(turned, upright) < 0.5 * nearest(down, upright)


def nearest(a, b):
    return float(torch.cdist(a.flatten(1), b.flatten(1)).min(1).values.mean())


def test_the_quarters_follow_each_other_counter_clockwise():
    found = open_task("touching-ranges", images=300)
    x, y = found.packed.x, found.packed.y
    quarter = Image().act(SO2.exp(torch.full((len(x), 1), math.pi / 2)), x, None)
    for k in range(4):
        right = nearest(quarter[y == k], x[y == (k + 1) % 4])
        assert all(right < nearest(quarter[y == k], x[y == (k + j) % 4]) for j in (0, 2, 3))


def test_orientation_is_a_label_of_segment_only():
    with_, without = open_task("segment", images=50), open_task("segment-free", images=50)
    assert torch.equal(with_.packed.x, without.packed.x)
    a, b = with_.packed.y, without.packed.y
    assert int(a.max()) > 4 >= int(b.max())
    assert torch.equal(torch.where(a > 4, a - 4, a), b)
    assert (len(with_.classes), len(without.classes)) == (7, 5)


def test_rotated_digits_are_digits_rotated():
    upright, rotated = open_task("upright"), open_task("rotmnist")
    angles = math.pi * (2 * torch.rand(len(upright.packed), 1, generator=torch.Generator().manual_seed(0)) - 1)
    back = Image("bicubic").act(SO2.exp(-angles[:50]), rotated.packed.x[:50], None)
    off = (back - upright.packed.x[:50]).square().mean((1, 2, 3))
    other = (back - upright.packed.x[50:100]).square().mean((1, 2, 3))
    assert (off < 0.3 * other).all()


def test_a_set_keeps_its_own_test_part(tmp_path):
    for part, n in (("train", 80), ("test", 20)):
        rng = np.random.default_rng(n)
        arrays = {
            "images": rng.integers(0, 255, (n, 28, 28), dtype=np.uint8),
            "labels": np.arange(n, dtype=np.uint8) % 10,
        }
        np.savez(tmp_path / f"mnist_{part}.npz", **arrays, index=np.arange(n))
    found = open_task("upright", str(tmp_path))
    assert found.split.test.tolist() == list(range(80, 100))
    assert found.packed.x.shape == (100, 1, 28, 28)


class TestSplit:
    def test_shares(self):
        found = image_split(1000, None, 0)
        assert [len(p) for p in (found.train, found.budget, found.valid, found.test)] == [640, 80, 80, 200]

    def test_no_more_are_kept_than_needed(self):
        found = image_split(60_000, 50_000, 0)
        assert [len(p) for p in (found.train, found.budget, found.valid, found.test)] == [48_000, 1000, 1000, 10_000]

    @pytest.mark.parametrize(("n", "trained"), [(45, None), (60, 39)])
    def test_too_few(self, n, trained):
        with pytest.raises(UserError, match="at least 40 images to train on"):
            image_split(n, trained, 0)


class TestLaws:
    @pytest.mark.parametrize("kind", LawKind.__args__)
    def test_from_the_identity_to_the_widest(self, kind):
        still, wide = image_law(kind, 0.0), image_law(kind, 1.0)
        g = still.sample((5,))
        assert (g.linear - torch.eye(g.dim)).abs().max() < 1e-6
        assert g.shift.abs().max() < 1e-6
        nats = float(wide.divergence().detach())
        if kind != "affine":  # whose box of coordinates is not the whole group, however wide
            assert nats == pytest.approx(0.0, abs=1e-5)
        assert float(image_law(kind, 0.1).divergence().detach()) > nats + 1

    @pytest.mark.parametrize("kind", LawKind.__args__)
    def test_forced_parts(self, kind):
        lines = image_law(kind, 1.0).describe()
        for k, line in enumerate(lines):
            found = forced_law(kind, k).describe()
            assert found[k].width == pytest.approx(line.width)
            assert all(other.width == 0 for j, other in enumerate(found) if j != k)

    def test_shifts_are_told_in_halves_of_a_side(self):
        assert {line.unit for line in image_law("translation", 0.1).describe()} == {"half side"}


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [("two-icons", "digits", "draws its own pictures, got --data digits"), ("upright", "nowhere", "nowhere")],
)
def test_data_that_a_task_cannot_use(name, data, message):
    with pytest.raises(UserError, match=message):
        open_task(name, data)
