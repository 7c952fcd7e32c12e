"""The test of a data set's frames, in sets where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from molaugerino.datasets import in_frames, open_data
from molaugerino.equivariance import frame_test
from molaugerino.errors import UserError


@pytest.fixture(scope="module")
def few():
    data = open_data("xtb9")
    return data.subset(np.random.default_rng(0).permutation(len(data))[:600])


@pytest.mark.parametrize("seed", range(3))
def test_random_frames_are_not_oriented(few, seed):
    found = frame_test(in_frames(few, "random", seed)[0], seed=seed)
    assert found.p_value > 0.005
    assert found.molecules == 600
    assert 0.4 < found.accuracy < 0.6


def test_principal_frames_are_oriented(few):
    found = frame_test(in_frames(few, "principal")[0])
    assert found.oriented
    assert found.accuracy > 0.9


def test_half_of_the_molecules_oriented_is_found_out(few):
    """Power: half of the frames random, half principal."""
    principal, turned = (in_frames(few, name, 1)[0] for name in ("principal", "random"))
    keep = np.arange(600) % 2 == 0
    mixed = turned
    positions = np.where(keep[few.owner][:, None], principal.positions, turned.positions)
    object.__setattr__(mixed, "positions", positions)
    assert frame_test(mixed).oriented


def test_the_triple_product_tells_mirror_images_apart_in_any_frame(few):
    before = frame_test(few)
    assert before.handed_p is not None
    assert 0 < before.chiral < 600
    turned = frame_test(in_frames(few, "random", 3)[0])
    assert abs(turned.chiral - before.chiral) <= 2  # rounded positions move a product across the threshold
    assert turned.handed == pytest.approx(before.handed, abs=0.005)
    mirrored, _ = in_frames(few, "stored")
    object.__setattr__(mirrored, "positions", few.positions * np.array([1, 1, -1]))
    assert frame_test(mirrored).handed == pytest.approx(1 - before.handed)


def test_too_few_molecules_are_refused(few):
    with pytest.raises(UserError, match="at least 40 molecules, got 39"):
        frame_test(few.subset(np.arange(39)))
