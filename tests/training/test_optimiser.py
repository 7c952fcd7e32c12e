"""Muon takes the step that torch's own takes, and two optimisers step, save and go on as one."""

from __future__ import annotations

import copy
from collections import OrderedDict

import pytest
import torch
from torch import nn

from molaugerino.training.optimiser import Muon, Together, hidden_matrices, orthogonal


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = OrderedDict(a=nn.Linear(5, 12), b=nn.Tanh(), c=nn.Linear(12, 12), d=nn.Tanh(), readout=nn.Linear(12, 1))
    return nn.Sequential(layers)


def descend(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, seed: int = 1) -> list[float]:
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for _ in range(steps):
        x = torch.randn(16, 5, generator=generator)

        def closure(x: torch.Tensor = x) -> torch.Tensor:
            optimizer.zero_grad()
            loss = (model(x) - x[:, :1] * x[:, 1:2]).square().mean()
            loss.backward()
            return loss

        losses.append(float(optimizer.step(closure).detach()))
    return losses


@pytest.mark.parametrize("shape", [(7, 7), (3, 9), (9, 3)])
def test_singular_values_become_one(shape):
    matrices = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    made = orthogonal(u @ torch.diag(torch.linspace(5.0, 0.5, min(shape), dtype=torch.float64)) @ v)
    values = torch.linalg.svdvals(made)
    assert ((values > 0.6) & (values < 1.25)).all()
    across = u.mT @ made @ v.mT  # the singular vectors stay
    torch.testing.assert_close(across, torch.diag_embed(across.diagonal(dim1=1, dim2=2)), atol=1e-9, rtol=0)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has it since 2.9")
@pytest.mark.parametrize("rows", [4, 20])
def test_the_step_of_torchs_own(rows):
    """Which orthogonalises in bfloat16, so only two digits agree."""
    made = []
    for kind in (Muon, torch.optim.Muon):
        torch.manual_seed(0)
        weights = [nn.Parameter(torch.randn(rows, 9)) for _ in range(2)]
        optimizer = kind(weights, lr=0.1, momentum=0.9, weight_decay=0.5)
        for k in range(3):
            for w in weights:
                w.grad = torch.randn(w.shape, generator=torch.Generator().manual_seed(k))
            optimizer.step()
        made.append(torch.stack(list(weights)).detach())
    torch.testing.assert_close(*made, atol=0.02, rtol=0)


def test_weights_without_a_slope_stay():
    model = network()
    before = model[2].weight.clone()
    Muon([model[2].weight], weight_decay=0.5).step()
    assert torch.equal(model[2].weight, before)


def parts(model: nn.Module) -> Together:
    matrices = hidden_matrices(model)
    rest = [p for p in model.parameters() if all(p is not m for m in matrices)]
    return Together([Muon(matrices, lr=0.02), torch.optim.AdamW(rest, lr=0.01)])


def test_which_are_hidden():
    model = network()
    assert [m.shape for m in hidden_matrices(model)] == [(12, 5), (12, 12)]
    assert len(hidden_matrices(nn.Sequential(nn.Embedding(3, 4), nn.Linear(3, 4), nn.Linear(4, 4)))) == 1


def test_together_all_parameters_learn():
    model = network()
    before = [p.clone() for p in model.parameters()]
    losses = descend(model, parts(model), 60)
    assert sum(losses[-10:]) < sum(losses[:10])
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_schedule_reaches_every_part():
    model = network()
    optimizer = parts(model)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0 if step else 1.0)
    descend(model, optimizer, 1)
    schedule.step()
    before = [p.clone() for p in model.parameters()]
    descend(model, optimizer, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_going_on_from_a_saved_state():
    model, again = network(), network()
    first = parts(model)
    descend(model, first, 5)
    again.load_state_dict(model.state_dict())
    second = parts(again)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert descend(model, first, 3, seed=2) == descend(again, second, 3, seed=2)
    torch.optim.lr_scheduler.LambdaLR(second, lambda step: 0.0)  # reaches the groups that were loaded
    assert all(group["lr"] == 0 for part in second.parts for group in part.param_groups)
