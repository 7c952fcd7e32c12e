"""Losses and scores against their definitions, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from molaugerino.tasks import of_classes, of_numbers, of_pixels
from molaugerino.tasks.scores import entropy


def test_the_best_constant_of_classes_is_their_entropy():
    y = torch.tensor([0, 0, 0, 1])
    p = torch.tensor([0.75, 0.25])
    judged = of_classes(y, 2)
    assert judged.constant == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert float(judged.loss(p.log().expand(4, 2), y).mean()) == pytest.approx(judged.constant)
    for other in (0.7, 0.8):
        worse = torch.tensor([other, 1 - other]).log().expand(4, 2)
        assert float(judged.loss(worse, y).mean()) > judged.constant


def test_classes_by_hand():
    y = torch.tensor([0, 1, 1, 0])
    p = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.6, 0.4]])
    found = of_classes(y, 2).scores(p.log(), y)
    assert found["accuracy"] == pytest.approx(0.75)
    assert found["nll"] == pytest.approx(-np.mean(np.log([0.9, 0.8, 0.4, 0.6])), abs=1e-6)
    # confidences 0.9 and 0.8 are right; of the two at 0.6 one is
    assert found["calibration error"] == pytest.approx((0.1 + 0.2 + 2 * 0.1) / 4, abs=1e-6)


def test_scores_of_classes_do_not_ask_for_normalised_logits():
    y, logits = torch.tensor([0, 1, 2]), torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    judged = of_classes(y, 3)
    assert judged.scores(logits, y) == pytest.approx(judged.scores(logits + 3.0, y), abs=1e-6)


class TestPixels:
    def test_by_hand(self):
        y = torch.tensor([[[0, 1], [1, -100]]])
        p = torch.tensor([[0.9, 0.4], [0.2, 0.5]])
        probabilities = torch.stack([p, 1 - p]).unsqueeze(0)
        judged = of_pixels(y, 2)
        expected = -np.log([0.9, 0.6, 0.8])
        assert float(judged.loss(probabilities.log(), y)) == pytest.approx(expected.mean(), abs=1e-6)
        found = judged.scores(probabilities.log(), y)
        assert found == pytest.approx({"mean IoU": 1.0, "pixels right": 1.0, "nll": expected.mean()}, abs=1e-6)

    def test_intersection_over_union(self):
        y = torch.tensor([[[0, 0, 1, 1]]])
        said = torch.tensor([[[0, 1, 1, 1]]])
        probabilities = torch.nn.functional.one_hot(said, 2).permute(0, 3, 1, 2).float()
        assert of_pixels(y, 2).scores(probabilities.log(), y)["mean IoU"] == pytest.approx((1 / 2 + 2 / 3) / 2)

    def test_pixels_that_no_copy_sees_are_left_out(self):
        y = torch.zeros(1, 1, 3, dtype=torch.long)
        p = torch.tensor([[[[0.5, math.nan, 0.25]], [[0.5, math.nan, 0.75]]]]).log().requires_grad_()
        judged = of_pixels(y, 2)
        loss = judged.loss(p, y)
        assert float(loss.detach()) == pytest.approx(-(math.log(0.5) + math.log(0.25)) / 2)
        loss.sum().backward()
        assert torch.isfinite(p.grad).all()
        assert judged.scores(p.detach(), y)["pixels right"] == pytest.approx(0.5)

    def test_an_image_without_any_costs_nothing(self):
        y = torch.full((1, 2, 2), -100)
        judged = of_pixels(torch.zeros(1, 2, 2, dtype=torch.long), 2)
        assert float(judged.loss(torch.full((1, 2, 2, 2), 0.5), y)) == 0

    def test_frequencies_leave_out_what_has_no_class(self):
        y = torch.tensor([[[0, 1], [-100, -100]]])
        assert of_pixels(y, 2).constant == pytest.approx(math.log(2))

    def test_the_cost_by_hand(self):
        """Nine pixels of one class and three of another: what one of each costs goes as 1 : 3."""
        y = torch.zeros(1, 3, 4, dtype=torch.long)
        y[0, :, 3] = 1
        p = torch.full((1, 2, 3, 4), 0.5)
        p[0, 0] = torch.tensor([0.9, 0.8, 0.3, 0.6])
        p[0, 1] = 1 - p[0, 0]
        expected = -(3 * math.log(0.9) + 3 * math.log(0.8)) * (12 / (9 * 2)) / 12  # beside the other, either will do
        assert float(of_pixels(y, 2).cost(p.log(), y)) == pytest.approx(expected, abs=1e-6)

    def test_the_cost_does_not_see_edges_a_pixel_off(self):
        y = torch.zeros(1, 8, 8, dtype=torch.long)
        y[0, 2:6, 2:6] = 1
        judged = of_pixels(y, 2)
        said = torch.nn.functional.one_hot(y.roll((1, -1), (1, 2)), 2).permute(0, 3, 1, 2).float()
        assert float(judged.cost(said.log(), y)) == pytest.approx(0, abs=1e-6)
        assert float(judged.loss(said.log(), y)) > 1
        wrong = torch.nn.functional.one_hot(torch.zeros_like(y), 2).permute(0, 3, 1, 2).float()
        assert float(judged.cost(wrong.log(), y)) > 1  # the middle of the square

    def test_constants_cost_the_logarithm_of_the_classes(self):
        generator = torch.Generator().manual_seed(0)
        y = torch.randint(3, (200, 2, 1, 1), generator=generator).expand(200, 2, 9, 9).reshape(200, 18, 9)
        y = torch.where(y == 2, torch.randint(2, (1,), generator=generator), y)
        judged = of_pixels(y, 4)
        present = int(torch.bincount(y.flatten()).gt(0).sum())
        assert judged.constant == pytest.approx(math.log(present))
        p = torch.zeros(200, 4, 18, 9)
        p[:, :present] = 1 / present
        assert float(judged.cost(p.log(), y).mean()) == pytest.approx(judged.constant, rel=0.1)
        assert float(judged.cost(p.log(), torch.full_like(y, -100)).abs().max()) == 0


def test_numbers():
    y = torch.tensor([[0.0], [1.0], [2.0], [5.0]])
    judged = of_numbers(y, "rad")
    spread = float(y.std())
    assert judged.constant == pytest.approx((1.0 + 0.0 + 1.0 + 4.0) / 4 / spread)
    assert judged.loss(y + 2, y).tolist() == pytest.approx([2 / spread] * 4)
    assert judged.scores(y + torch.tensor([[0.0], [0], [0], [2]]), y) == pytest.approx(
        {"rmse[rad]": 1, "mae[rad]": 0.5}
    )


def test_entropy():
    assert entropy(torch.tensor([0, 1, 2, 3]), 4) == pytest.approx(math.log(4))
    assert entropy(torch.zeros(5, dtype=torch.long), 3) == pytest.approx(0.0)
