"""The loss budget on worlds small enough to solve by hand."""

from __future__ import annotations

import math

import pytest
import torch

from molaugerino.distributions import AlgebraUniform, HaarBall
from molaugerino.groups import SO2, SO3
from molaugerino.training.objective import DivergencePrice, EntropyBand, HyperGradient, LossBudget, Losses, NormPrice


class Nats(HaarBall):
    """A law of so many nats."""

    def __init__(self, nats):
        super().__init__()
        self.nats = nats

    def divergence(self, context=None):
        return torch.tensor(self.nats)


def nothing(weights):
    raise AssertionError("not asked for")


NO_LOSSES = Losses(nothing, nothing, {}, 0.0, nothing)


def feed(budget, identity, law, times=1):
    for _ in range(times):
        budget.refresh(torch.full((50,), identity), torch.full((50,), law))


class TestLossBudget:
    def test_allowed_is_five_percent_or_a_thousandth_of_the_constant(self):
        budget = LossBudget(constant_loss=1.0)
        feed(budget, 0.4, 0.4)
        assert budget.allowed == pytest.approx(0.02)
        budget = LossBudget(constant_loss=1.0)
        feed(budget, 0.001, 0.001)
        assert budget.allowed == pytest.approx(0.001)

    @pytest.mark.parametrize(("identity", "opens"), [(0.55, False), (0.45, True)])
    def test_closed_until_half_of_the_label_is_learned(self, identity, opens):
        """Opened at 0.8, the law turned before the second of two fields was noticed, and hid it for good."""
        budget = LossBudget(constant_loss=1.0)
        feed(budget, identity, identity)
        assert budget.open is opens

    def test_closed_until_the_constant_is_beaten(self):
        budget = LossBudget(constant_loss=1.0)
        assert not budget.open  # nothing measured yet
        assert "before the first measurement" in budget.verdict
        feed(budget, 0.9, 0.9)
        before = budget.strength
        assert not budget.open
        assert budget.penalty(Nats(3.0), NO_LOSSES).item() == 0
        assert "undecided" in budget.verdict
        feed(budget, 0.9, 0.9)
        assert budget.strength == before
        feed(budget, 0.1, 0.1, times=20)
        assert budget.open
        assert budget.penalty(Nats(3.0), NO_LOSSES).item() > 0

    def test_strength_follows_the_room_that_is_left(self):
        budget = LossBudget(constant_loss=1.0)
        feed(budget, 0.4, 0.4)
        assert budget.strength == pytest.approx(1e-3 * math.exp(0.3))
        budget = LossBudget(constant_loss=1.0)
        feed(budget, 0.4, 0.4 + 0.02)  # exactly the allowed rise
        assert budget.strength == pytest.approx(1e-3)
        budget = LossBudget(constant_loss=1.0)
        feed(budget, 0.4, 5.0)
        assert budget.strength == pytest.approx(1e-3 * math.exp(-0.3))

    def test_strength_stays_in_its_bounds(self):
        wide, narrow = LossBudget(constant_loss=1.0), LossBudget(constant_loss=1.0)
        feed(wide, 0.4, 0.4, times=100)
        feed(narrow, 0.4, 5.0, times=100)
        assert (wide.strength, narrow.strength) == (1.0, 1e-4)

    def test_running_mean_and_its_standard_error(self):
        generator = torch.Generator().manual_seed(0)
        budget = LossBudget(constant_loss=10.0)
        estimates = []
        for _ in range(400):
            noise = torch.randn(100, generator=generator)
            budget.refresh(torch.full((100,), 1.0), 1.2 + noise)
            estimates.append((budget.rise, budget.standard_error))
        rises, errors = torch.tensor(estimates[20:]).T
        assert rises.mean().item() == pytest.approx(0.2, abs=0.02)
        assert rises.std().item() == pytest.approx(errors.mean().item(), rel=0.25)

    def test_state_travels(self):
        budget, twin = LossBudget(constant_loss=1.0), LossBudget(constant_loss=2.0)
        feed(budget, 0.4, 0.41, times=3)
        twin.load_state_dict(budget.state_dict())
        assert twin.report() == budget.report()
        assert twin.constant_loss == 1.0

    @pytest.mark.slow
    @pytest.mark.parametrize(("cost", "expected"), [(0.0, math.pi), (1.0, 0.9)])
    def test_finds_the_width_at_which_the_loss_has_risen_by_what_is_allowed(self, cost, expected):
        """A world without a network: loss 0.2 at the identity, 0.2 + cost angle^4 under a rotation."""
        law = HaarBall(SO2, width=0.1).double()
        budget = LossBudget(constant_loss=1.0)
        optimizer = torch.optim.Adam(law.parameters(), lr=0.02, betas=(0.9, 0.99))
        generator = torch.Generator().manual_seed(0)
        # mean of angle^4 over [-w, w] is w^4 / 5: the rise is 0.05 * 0.2 at w = (0.05 / cost)^(1/4)
        for step in range(6000):
            if step % 10 == 0:
                angle = SO2.log(law.sample((200,), generator)).detach()[:, 0]
                budget.refresh(torch.full((200,), 0.2, dtype=torch.float64), 0.2 + cost * angle.pow(4))
            optimizer.zero_grad()
            angle = SO2.log(law.sample((64,), generator))[:, 0]
            loss = cost * angle.pow(4).mean() + budget.penalty(law, NO_LOSSES)
            loss.backward()
            optimizer.step()
        width = law.width.item()
        assert width == pytest.approx(math.pi if cost == 0 else (0.05 / cost) ** 0.25, rel=0.12)
        assert expected - 0.5 < width < expected + 0.5


def test_a_price_per_nat():
    assert DivergencePrice(0.25).penalty(Nats(4.0), NO_LOSSES).item() == 1.0
    assert not DivergencePrice(0.25).measures


def still(width):
    law = AlgebraUniform(SO3, width).double()
    return law, torch.optim.Adam(law.parameters(), lr=0.01)


def descend(objective, law, optimizer, steps, losses=NO_LOSSES):
    for _ in range(steps):
        optimizer.zero_grad()
        objective.penalty(law, losses).backward()
        optimizer.step()


class TestNormPrice:
    def test_is_minus_the_norm_of_the_widths(self):
        law, _ = still((0.3, 0.4, 1.2))
        assert NormPrice(0.5).penalty(law, NO_LOSSES).item() == pytest.approx(-0.5 * 1.3, rel=1e-6)

    def test_has_a_slope_at_zero_width(self):
        law, _ = still(0.0)
        NormPrice(1.0).penalty(law, NO_LOSSES).backward()
        assert torch.isfinite(law._width.grad).all()


class TestEntropyBand:
    @pytest.mark.parametrize("width", [0.05, 1.6])
    def test_brings_the_nats_into_the_band_and_leaves_them_there(self, width):
        law, optimizer = still(width)
        objective = EntropyBand(1.5, 2.5)
        assert not 1.5 <= law.divergence().item() <= 2.5
        descend(objective, law, optimizer, 2000)
        assert 1.45 <= law.divergence().item() <= 2.55

    def test_is_free_inside_the_band(self):
        law, _ = still(0.8)
        EntropyBand(0.5, 9.0).penalty(law, NO_LOSSES).backward()
        assert law._width.grad.tolist() == [0.0] * 3


class TestHyperGradient:
    """L_train = (w - theta)^2 / 2, L_held = (w - 1)^2 / 2: after a step of rate r, w' = w - r (w - theta)."""

    def losses(self, law, w, rate):
        theta = law.widths().sum()
        return Losses(
            lambda v: (v["w"] - theta).square() / 2, lambda v: (v["w"] - 1).square() / 2, {"w": w}, rate, nothing
        )

    @pytest.mark.parametrize("start", [0.2, 0.5])
    def test_is_the_slope_of_the_held_out_loss_after_one_step(self, start):
        law = HaarBall(SO3, width=start).double()
        w, rate = torch.tensor(0.1, dtype=torch.float64), 0.3
        HyperGradient().penalty(law, self.losses(law, w, rate)).backward()
        after = w - rate * (w - start)
        assert law._width.grad.item() == pytest.approx(rate * (after - 1).item(), rel=1e-6)  # dw'/dtheta = rate

    def test_the_weights_are_left_alone(self):
        law, w = HaarBall(SO3, width=0.2).double(), torch.nn.Parameter(torch.tensor(0.1, dtype=torch.float64))
        HyperGradient().penalty(law, self.losses(law, w, 0.3)).backward()
        assert w.grad is None
        assert w.item() == 0.1
