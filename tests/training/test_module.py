"""The training step where the law has a discrete part, or depends on the molecule."""

from __future__ import annotations

import pytest
import torch

from molaugerino.config import LawConfig
from molaugerino.training.setup import make_card, make_module, open_run_data


@pytest.fixture
def module_and_batch(tiny_config, tmp_path):
    def make(**law):
        config = tiny_config(tmp_path / "run", law=LawConfig(refresh=5, **law))
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
