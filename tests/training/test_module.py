"""The training step where the law has a discrete part, or depends on the molecule."""

from __future__ import annotations

import math

import pytest
import torch

from molaugerino.config import LawConfig
from molaugerino.distributions import HaarBall
from molaugerino.errors import UserError
from molaugerino.groups import SO3
from molaugerino.training.module import TURNS, stream
from molaugerino.training.setup import make_card, make_module, open_run_data


@pytest.fixture
def module_and_batch(tiny_config, tmp_path):
    def make(settings=None, **law):
        config = tiny_config(tmp_path / "run", law=LawConfig(refresh=5, **law), **(settings or {}))
        torch.manual_seed(0)
        data = open_run_data(config)
        module = make_module(config, make_card(config, data), data)
        return module, data.packed.batch(torch.from_numpy(data.split.train[:8]))

    return make


def test_branches_weight_losses_not_predictions(module_and_batch):
    """The slope by p is loss(reflected) - loss(plain): a network cannot make up for p by its scale."""
    module, batch = module_and_batch(family="gaussian", mirror=0.3)
    law = module.distribution
    elements, probability = law.enumerated(law.noise((1, 8), torch.Generator().manual_seed(0)))
    assert elements.batch_shape == (2, 1, 8)
    alone = [module.loss(module.augmented(batch.x, elements[k]), batch.y).mean() for k in range(2)]
    loss = module(batch, elements, probability)
    assert loss.item() == pytest.approx(0.7 * alone[0].item() + 0.3 * alone[1].item(), rel=1e-5)
    (slope,) = torch.autograd.grad(loss, probability)
    assert slope.tolist() == pytest.approx([a.item() for a in alone], rel=1e-5)


def test_the_first_step_of_a_cycle_takes_all_branches_and_the_others_one(module_and_batch):
    module, batch = module_and_batch(family="ball", mirror=0.3)
    elements, probability = module._elements(batch)
    assert elements.batch_shape == (2, 1, 8)
    assert probability.requires_grad
    module.__class__ = type("Later", (module.__class__,), {"global_step": 1})
    elements, probability = module._elements(batch)
    assert elements.batch_shape == (1, 1, 8)
    assert not elements.linear.requires_grad


def test_a_law_per_molecule_is_drawn_for_this_batch(module_and_batch):
    module, batch = module_and_batch(conditional=True)
    readout = module.distribution.readout.weight
    torch.nn.init.normal_(readout.data, std=0.1)
    elements, _ = module._elements(batch)
    (slope,) = torch.autograd.grad(module(batch, elements, elements.shift.new_ones(1)), readout)
    assert bool((slope != 0).any())


def test_the_budget_measures_pairs(module_and_batch):
    """At a law of no width the two losses are one; the molecules are those kept from the weights."""
    module, _ = module_and_batch(rotation=0.0, translation=0.0)
    seen = []
    module.objective.refresh = lambda identity, law: seen.append((identity, law))
    module.measure(module.objective)
    [(identity, law)] = seen
    assert torch.allclose(identity, law, atol=1e-6)
    first, second = module.budget(0)
    assert len(identity) == len(first.y) + len(second.y)
    assert int(first.x.mask.sum(1).max()) <= int(second.x.mask.sum(1).min())


class TestConsistency:
    """rho(g)^-1 f(g x) against f(x), in units of the loss."""

    @pytest.mark.parametrize("augment", ["none", "learned"])
    def test_it_reaches_the_weights_and_not_the_law(self, module_and_batch, augment):
        module, batch = module_and_batch({"consistency": 0.5, "augment": augment, "target": ("dipole",)})
        module.log = lambda *args, **_: None
        elements, probability = module._elements(batch) if module.moves else module._identity()
        apart = module._inconsistency(batch, elements, module._each(batch, elements))
        assert apart.item() > 1e-3
        step = module.training_step(batch, 0)
        assert step.item() == pytest.approx(module(batch, elements, probability).item() + 0.5 * apart.item(), rel=1e-5)
        apart.backward()
        assert all(bool(p.grad.any()) for p in module.augmented.model.pairs.parameters())
        assert all(p.grad is None for p in module.distribution.parameters())

    @pytest.mark.parametrize(("model", "target"), [("painn", "dipole"), ("schnet", "gap")])
    def test_it_is_nothing_for_a_network_that_cannot_be_inconsistent(self, module_and_batch, model, target):
        module, batch = module_and_batch({"consistency": 1.0, "model": model, "target": (target,)})
        elements, _ = module._elements(batch)
        assert module._inconsistency(batch, elements, module._each(batch, elements)).item() < 1e-5

    def test_a_vector_is_turned_back(self, module_and_batch):
        """The oracle: one rotation after the other by hand."""
        module, batch = module_and_batch({"consistency": 1.0, "augment": "none", "target": ("dipole",)})
        elements, _ = module._identity()
        each = module._each(batch, elements)
        apart = module._inconsistency(batch, elements, each)
        turns = HaarBall(SO3, width=math.pi).sample((8,), stream(module.seed, TURNS, 0)).linear.detach()
        rows = []
        for k in range(8):
            turn = turns[k]
            x = batch.x._replace(pos=batch.x.pos @ turn.T)
            rows.append(module.augmented.model(x)[k] @ turn)
        assert module.loss(torch.stack(rows), each[0]).mean().item() == pytest.approx(apart.item(), rel=1e-4)

    def test_a_weight_of_nothing_is_refused(self, tiny_config, tmp_path):
        with pytest.raises(UserError, match="--consistency must be positive, got 0"):
            tiny_config(tmp_path, consistency=0.0)
