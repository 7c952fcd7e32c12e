"""The evidence of a block, example by example, against vectorised Jacobians and central differences."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call

from molaugerino.laplace import Categorical, Gaussian, Priors, block_rows, evidence_slopes, kernels

B, COPIES = 5, 2


def block(outputs):
    """h(x_k) = mean_s f(exp(g_ks) x_k), and what it is made of."""
    network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, outputs))
    x, g = torch.randn(B, 4), torch.randn(B, COPIES, 4, requires_grad=True)
    parameters = {name: p.detach().requires_grad_() for name, p in network.named_parameters()}

    def predict(k, theta):
        each = [functional_call(network, theta, (x[k : k + 1] * g[k, s].exp(),)) for s in range(COPIES)]
        return torch.stack(each).mean(0)

    return network, x, g, parameters, predict


def generator():
    return torch.Generator().manual_seed(3)


def test_rows_are_those_of_vectorised_jacobians():
    """Of one output, where nothing is drawn."""
    network, x, g, parameters, predict = block(1)
    with torch.no_grad():
        g.zero_()
    likelihood, precisions = Gaussian(), Priors(network, precision=0.7).precisions()
    rows = block_rows(predict, B, parameters, likelihood, generator())
    expected = kernels(network, x, likelihood, 40)
    torch.testing.assert_close(rows.values, network(x).detach())
    torch.testing.assert_close(rows.kernels(40).log_det(precisions), expected.log_det(precisions))
    assert rows.kernels(40).scale == expected.scale == 8


@pytest.mark.slow
def test_one_output_stands_for_all_in_the_mean():
    """Without interaction, tr K of all outputs is C times that of a drawn one, on average."""
    network, x, g, parameters, predict = block(3)
    with torch.no_grad():
        g.zero_()
    likelihood = Categorical()
    draws = torch.Generator().manual_seed(0)
    found = [block_rows(predict, B, parameters, likelihood, draws).kernels(B) for _ in range(400)]
    expected = kernels(network, x, likelihood, B)
    for name, kernel in expected.kernels.items():
        traces = torch.stack([f.scale * f.kernels[name].trace() for f in found])
        assert abs(float(traces.mean() - kernel.trace())) < 4 * float(traces.std()) / 20


@pytest.mark.parametrize(("likelihood", "outputs"), [(Gaussian(0.6), 1), (Gaussian(0.6), 2), (Categorical(), 3)])
def test_slopes_by_what_moves_the_inputs(likelihood, outputs):
    network, _, g, parameters, predict = block(outputs)
    y = torch.randn(B, outputs) if isinstance(likelihood, Gaussian) else torch.randint(outputs, (B,))
    priors = Priors(network, precision=0.7)
    precisions = {name: (d / likelihood.precision).detach() for name, d in priors.precisions().items()}

    def value():
        rows = block_rows(predict, B, parameters, likelihood, generator())
        fit = likelihood.log_prob(likelihood.statistics(rows.values, y))
        return float(fit.detach() - 0.5 * rows.kernels(B).log_det(precisions)) / B

    rows = block_rows(predict, B, parameters, likelihood, generator())
    (slope,) = evidence_slopes(predict, y, parameters, likelihood, precisions, rows, [g])
    for seed in range(3):
        along = 1e-5 * torch.randn(g.shape, generator=torch.Generator().manual_seed(seed))
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                g += sign * along
            ends.append(value())
            with torch.no_grad():
                g -= sign * along
        assert float((slope * along).sum()) == pytest.approx((ends[0] - ends[1]) / 2, rel=1e-5, abs=1e-12)
