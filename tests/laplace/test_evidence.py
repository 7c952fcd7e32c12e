"""The evidence against closed forms, dense linear algebra and autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck
from torch.func import functional_call

from molaugerino.augment import Augmented
from molaugerino.distributions import HaarBall
from molaugerino.errors import UserError
from molaugerino.groups import SO2
from molaugerino.laplace import (
    Categorical,
    Full,
    Gaussian,
    Mode,
    Priors,
    Spectra,
    diagonal,
    exact,
    kernels,
    kfac,
    linear_tensors,
    log_evidence,
    raise_evidence,
)
from molaugerino.laplace.curvature import cholesky
from molaugerino.layers import Convolution, Factored, GroupConvolution, Pathways, SparseConvolution
from molaugerino.spaces import Image
from molaugerino.vision import Layerwise

N, D = 30, 4


def regression(precision=2.0, noise=0.5):
    """A linear model at its mode, and log N(y; 0, X X^t / delta + s^2)."""
    x = torch.randn(N, D)
    y = x @ torch.randn(D, 1) + 0.3 * torch.randn(N, 1)
    model = nn.Linear(D, 1, bias=False)
    with torch.no_grad():
        posterior = x.mT @ x / noise**2 + precision * torch.eye(D)
        model.weight.copy_(torch.linalg.solve(posterior, x.mT @ y / noise**2).mT)
    covariance = x @ x.mT / precision + noise**2 * torch.eye(N)
    log_p = torch.distributions.MultivariateNormal(torch.zeros(N), covariance).log_prob(y[:, 0])
    return model, x, y, log_p


CURVATURES = {
    "exact": lambda model, x, likelihood: exact(model, [x[:10], x[10:]], likelihood),
    "kernel": lambda model, x, likelihood: kernels(model, x, likelihood, len(x)),
    "kfac": lambda model, x, likelihood: kfac(model, [x[:7], x[7:]], likelihood),
}


@pytest.mark.parametrize("kind", CURVATURES)
@pytest.mark.parametrize(("precision", "noise"), [(2.0, 0.5), (0.01, 3.0)])
def test_bayesian_linear_regression(kind, precision, noise):
    model, x, y, log_p = regression(precision, noise)
    likelihood, priors = Gaussian(noise), Priors(model, precision=precision)
    curvature = CURVATURES[kind](model, x, likelihood)
    mode = Mode(likelihood.statistics(model(x), y), priors.squares(model), curvature)
    assert float(log_evidence(mode, likelihood, priors).detach() - log_p) == pytest.approx(0, abs=1e-8)


@pytest.mark.slow
def test_raising_the_evidence_finds_its_maximum():
    """Of one weight, y = w x: alternating with the mode, against a search over the closed form."""
    x = torch.randn(N, D)
    y = x @ torch.tensor([[0.5], [0.0], [-0.2], [0.1]]) + 0.3 * torch.randn(N, 1)
    model, likelihood = nn.Linear(D, 1, bias=False), Gaussian(1.0)
    priors = Priors(model)
    for _ in range(60):
        delta, tau = priors.log_precision.exp().item(), likelihood.precision.item()
        with torch.no_grad():
            model.weight.copy_(torch.linalg.solve(tau * x.mT @ x + delta * torch.eye(D), tau * x.mT @ y).mT)
        statistics = likelihood.statistics(model(x), y).detach()
        mode = Mode(statistics, priors.squares(model), exact(model, [x], likelihood))
        value = raise_evidence(mode, likelihood, priors)
    best = -math.inf
    for a in torch.linspace(-2, 6, 161):
        for b in torch.linspace(-2, 0.5, 101):
            covariance = x @ x.mT / a.exp() + (2 * b).exp() * torch.eye(N)
            log_p = torch.distributions.MultivariateNormal(torch.zeros(N), covariance).log_prob(y[:, 0])
            best = max(best, float(log_p))
    assert value == pytest.approx(best, abs=0.01)


def network(outputs=3):
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, outputs))


LIKELIHOODS = {"gaussian": lambda: Gaussian(0.7), "categorical": Categorical}


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_exact_curvature_is_the_generalised_gauss_newton_matrix(kind):
    """J^t (-d^2 log p / df^2) J of everything, J and the Hessian by autograd."""
    model, x, likelihood = network(), torch.randn(7, 5), LIKELIHOODS[kind]()
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    y = torch.randint(3, (7,)) if kind == "categorical" else torch.randn(7, 3)

    def outputs(weights):
        parts = torch.split(weights, [s.numel() for s in shapes])
        own = {n: p.reshape(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        return functional_call(model, own, (x,)).flatten()

    jacobian = torch.autograd.functional.jacobian(outputs, flat)
    hessian = torch.autograd.functional.hessian(
        lambda f: likelihood.losses(f.reshape(7, 3), y).sum(), outputs(flat).detach()
    )
    expected = jacobian.mT @ hessian @ jacobian
    found = exact(model, [x[:3], x[3:]], likelihood)
    torch.testing.assert_close(likelihood.precision.item() * found.matrix, expected)
    torch.testing.assert_close(torch.cat([*diagonal(model, [x], likelihood).values.values()]), found.matrix.diagonal())


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_log_likelihoods_are_those_of_torch(kind):
    f, likelihood = torch.randn(9, 3), LIKELIHOODS[kind]()
    if kind == "categorical":
        y = torch.randint(3, (9,))
        expected = torch.distributions.Categorical(logits=f).log_prob(y).sum()
    else:
        y = torch.randn(9, 3)
        expected = torch.distributions.Normal(f, 0.7).log_prob(y).sum()
    parts = likelihood.statistics(f[:4], y[:4]) + likelihood.statistics(f[4:], y[4:])
    torch.testing.assert_close(likelihood.log_prob(parts), expected)
    differences = likelihood.losses(f, y).sum() + likelihood.log_prob(parts)
    shifted = likelihood.losses(f + 1, y).sum() + likelihood.log_prob(likelihood.statistics(f + 1, y))
    torch.testing.assert_close(differences, shifted)  # a constant


def test_the_kernel_has_the_determinant_of_all():
    model, x, likelihood = network(), torch.randn(40, 5), Categorical()
    priors = Priors(model, precision=0.7)
    every, dual = exact(model, [x], likelihood), kernels(model, x, likelihood, 40)
    precisions = priors.precisions()
    torch.testing.assert_close(dual.log_det(precisions), every.log_det(precisions))
    for name, gamma in every.effective(precisions).items():
        torch.testing.assert_close(dual.effective(precisions)[name], gamma)
    total = sum(float(g.detach()) for g in every.effective(precisions).values())
    assert 0 < total < sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("single", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_blocks_bound_the_evidence_from_below(single):
    """The mean over a partition; at one block of all, and all outputs, the bound is the value."""
    model, x, likelihood = network(), torch.randn(40, 5), Categorical()
    precisions = Priors(model, precision=0.7).precisions()
    value = -0.5 * float(exact(model, [x], likelihood).log_det(precisions).detach())
    bounds = []
    for size in (40, 20, 8, 2):
        parts = []
        for k in range(20):
            generator = torch.Generator().manual_seed(k) if single else None
            parts += [kernels(model, b, likelihood, 40, generator=generator) for b in x.split(size)]
        bounds.append(sum(-0.5 * float(p.log_det(precisions).detach()) for p in parts) / len(parts))
    assert all(b <= value + 1e-9 for b in bounds)
    assert bounds == sorted(bounds, reverse=True)
    if not single:
        assert bounds[0] == pytest.approx(value, abs=1e-9)


def test_hyper_gradients():
    model, x, y = network(1), torch.randn(12, 5), torch.randn(12, 1)
    likelihood, priors = Gaussian(0.7), Priors(model, precision=0.5)
    statistics = likelihood.statistics(model(x), y).detach()
    curvatures = [exact(model, [x], likelihood), kernels(model, x, likelihood, 12), kfac(model, [x], likelihood)]
    for curvature in curvatures:
        mode = Mode(statistics, priors.squares(model), curvature)

        def value(log_precision, log_noise, mode=mode):
            own = {"log_precision": log_precision}
            changed, other = Priors(model), Gaussian()
            del changed.log_precision, other.log_noise
            changed.log_precision, other.log_noise = own["log_precision"], log_noise
            return log_evidence(mode, other, changed)

        start = (priors.log_precision.detach().clone(), likelihood.log_noise.detach().clone())
        assert gradcheck(value, tuple(p.requires_grad_() for p in start))


def test_the_gradient_by_a_law_of_transformations():
    """Of the bound for h averaged over copies at fixed noise: through statistics and Jacobians, second derivatives."""
    inner = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.Tanh(), nn.Linear(4, 2))
    x, y = torch.rand(5, 1, 6, 6), torch.randint(2, (5,))
    likelihood, priors = Categorical(), Priors(inner)
    noise = torch.rand(3, 1) - 0.5

    class Averaged(nn.Module):
        """h of one law, for all examples the same copies; the network's parameters keep their names."""

        def __init__(self, width):
            super().__init__()
            self.elements = SO2.exp(width * noise)

        def forward(self, batch):
            moved = [
                Image("bicubic").act(g.expand(len(batch)), batch, None)
                for g in map(self.elements.__getitem__, range(3))
            ]
            return torch.stack([self.inner(each) for each in moved]).mean(0)

    def value(width):
        model = Averaged(width)
        model.inner = inner
        own = Priors(model)
        mode = Mode(likelihood.statistics(model(x), y), own.squares(model), kernels(model, x, likelihood, 50))
        return log_evidence(mode, likelihood, own)

    assert len(priors.names) == 4
    assert gradcheck(value, (torch.tensor(0.8, requires_grad=True),), eps=1e-5, atol=1e-4)


@pytest.mark.parametrize("copies", [1, 2, 16])
def test_copies_are_not_extra_data(copies):
    """Of an average over the same element n times, everything is as of one."""
    inner = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.Tanh(), nn.Linear(4, 2))
    x, likelihood = torch.rand(5, 1, 6, 6), Gaussian()
    model = Augmented(inner, HaarBall(SO2, 0.0), Image(), eval_copies=copies).eval().requires_grad_(True)
    names = [name for name in Priors(model).names if name.startswith("model.")]
    found = kfac(model, [x], likelihood, generator=torch.Generator().manual_seed(0), names=names)
    alone = kfac(inner, [x], likelihood, generator=torch.Generator().manual_seed(0))
    for name, values in alone.values.items():
        torch.testing.assert_close(found.values[f"model.{name}"], values, rtol=1e-6, atol=1e-9)


def mean_kfac(model, x, likelihood, probes=100):
    parts = [kfac(model, [x], likelihood, generator=torch.Generator().manual_seed(k)) for k in range(probes)]
    return {name: torch.stack([p.values[name] for p in parts]).sum(1).mean() for name in parts[0].values}


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(2, 3, 3, padding=1),
        lambda: Convolution(2, 3),
        lambda: SparseConvolution(2, 3),
        lambda: GroupConvolution(1, 2),
        lambda: Factored(2, 3, 4),
        lambda: Pathways({"f-fc": Factored(2, 3, 4, 2), "conv": Convolution(2, 3)}, 2),
    ],
)
def test_kronecker_factors_of_every_map(make):
    """One place of one output at a time, a tensor's curvature has the trace of its Kronecker product.

    Where a map is used but once by an example; elsewhere the product leaves out how uses go together, and biases alone
    are exact.
    """
    layer = make()
    channels = 4 if isinstance(layer, GroupConvolution) else 2
    model = nn.Sequential(layer, nn.Flatten())
    x, likelihood = torch.rand(3, channels, 4, 4), Gaussian()
    every = exact(model, [x], likelihood)
    starts, at = {}, 0
    for name, size in every.sizes.items():
        starts[name] = every.matrix[at : at + size, at : at + size]
        at += size
    for name, trace in mean_kfac(model, x, likelihood).items():
        ratio = float(trace / starts[name].trace())
        if name.endswith("bias"):
            assert ratio == pytest.approx(1, rel=0.1), name
        else:
            assert 0.5 < ratio < 2, name


def test_kfac_knows_what_it_does_not_know():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.matrix = nn.Parameter(torch.eye(3))

        def forward(self, x):
            return x @ self.matrix

    with pytest.raises(UserError, match="matrix belongs to none of them"):
        kfac(Own(), [torch.rand(2, 3)], Gaussian())
    normalised = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    assert linear_tensors(normalised) == ["0.weight", "0.bias"]
    for options in ({"groups": 2}, {"padding_mode": "circular", "padding": 1}, {"padding": "same"}):
        with pytest.raises(UserError, match="convolutions without groups, padded with zeros, and 0 is none"):
            linear_tensors(nn.Sequential(nn.Conv2d(2, 2, 3, **options)))
    with pytest.raises(UserError, match="called once per pass, and 1 is called again"):
        kfac(nn.Sequential(nn.Linear(3, 3), *[nn.Linear(3, 3)] * 2), [torch.rand(2, 3)], Gaussian())
    with pytest.raises(UserError, match="not finite"):
        kfac(nn.Linear(3, 1), [torch.full((2, 3), math.inf)], Gaussian())


def test_a_tensor_without_curvature_costs_nothing():
    model, x = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)), torch.rand(6, 3)
    with torch.no_grad():
        model[0].bias.fill_(-100.0)  # dead
    priors = Priors(model)
    curvature = kfac(model, [x], Gaussian())
    assert float(curvature.effective(priors.precisions())["0.weight"].detach()) == 0
    mode = Mode(torch.tensor([1.0, 6.0]), priors.squares(model), curvature)
    value = raise_evidence(mode, Gaussian(), priors)
    assert math.isfinite(value)
    moved = dict(zip(priors.names, priors.log_precision.tolist(), strict=True))
    assert moved["0.weight"] == moved["0.bias"] == 0  # nothing is known of them
    assert moved["2.bias"] != 0


class TestRaising:
    @staticmethod
    def mode(curvature, square=1.0):
        return Mode(torch.tensor([-3.0]), {"weight": torch.tensor(square)}, curvature)

    @staticmethod
    def priors():
        return Priors(nn.Linear(1, 1, bias=False))

    def test_no_precision_moves_further_than_it_is_trusted(self):
        priors = self.priors()
        mode = self.mode(Spectra({"weight": torch.tensor([1e-3])}), 1e9)  # infinitely far away
        raise_evidence(mode, Categorical(), priors, trust=0.25, steps=200)
        assert priors.log_precision.item() == pytest.approx(-0.25)
        raise_evidence(mode, Categorical(), priors, trust=0.0)
        assert priors.log_precision.item() == pytest.approx(-0.25)

    def test_diverging_precisions_stay_finite(self):
        priors = self.priors()
        mode = self.mode(Spectra({"weight": torch.tensor([1.0])}), 0.0)  # a weight of zero wants infinite precision
        for _ in range(100):
            value = raise_evidence(mode, Categorical(), priors)
        assert 10 < priors.log_precision.item() <= 30  # until the data determine nothing
        assert math.isfinite(value)

    def test_a_curvature_that_has_overflowed_changes_nothing(self):
        priors = self.priors()
        with pytest.raises(UserError, match="the evidence is nan"):
            raise_evidence(self.mode(Spectra({"weight": torch.tensor([math.nan])})), Categorical(), priors)
        assert priors.log_precision.item() == 0

    def test_the_evidence_never_falls(self):
        priors = self.priors()
        mode = self.mode(Spectra({"weight": torch.tensor([2.0])}))
        for _ in range(50):
            raise_evidence(mode, Categorical(), priors)  # to the optimum, where every long step is too long
        best = priors.log_precision.item()
        before = float(log_evidence(mode, Categorical(), priors).detach())
        assert raise_evidence(mode, Categorical(), priors, trust=10.0, steps=1, rate=5.0) == pytest.approx(before)
        assert priors.log_precision.item() == best


def test_indefinite_matrices_are_mended_or_refused():
    low = torch.diag(torch.tensor([1.0, -1e-12]))
    assert cholesky(low).isfinite().all()
    with pytest.raises(UserError, match="not positive definite"):
        cholesky(torch.diag(torch.tensor([1.0, -1.0])))
    with pytest.raises(UserError, match="not positive definite"):
        cholesky(torch.full((2, 2), math.nan))


def test_priors():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    model[1].bias.requires_grad_(False)
    priors = Priors(model, precision=4.0)
    assert priors.names == ["0.weight", "0.bias", "1.weight"]
    squares = priors.squares(model)
    torch.testing.assert_close(priors.penalty(model), 2 * sum(squares.values()))
    assert Priors(model, ["1.weight"]).names == ["1.weight"]
    for make, match in (
        (lambda: Priors(model, precision=0.0), "must be positive, got 0"),
        (lambda: Priors(model, ["1.bias"]), "trains no parameter 1.bias"),
        (lambda: Priors(nn.ReLU()), "no parameter that is trained"),
    ):
        with pytest.raises(UserError, match=match):
            make()


def test_every_tensor_of_a_relaxed_network_has_a_curvature():
    model = Layerwise(1, 3, ["f-fc", "conv"], a=1, size=4).double()
    x, likelihood = torch.rand(4, 1, 4, 4), Categorical()
    found = kfac(model, [x], likelihood)
    assert list(found.values) == [name for name, _ in model.named_parameters()]
    assert all(len(v) == p.numel() for v, p in zip(found.values.values(), model.parameters(), strict=True))
    assert all(bool((v >= 0).all()) for v in found.values.values())
    full = exact(model, [x], likelihood)
    assert isinstance(full, Full)
    assert list(full.sizes) == list(found.values)
    assert torch.linalg.eigvalsh(full.matrix).min() > -1e-9


def test_certain_predictions_have_slopes():
    """Of the root of the curvature, where probabilities are zero to rounding."""
    f = torch.tensor([[200.0, 0.0, 0.0]], dtype=torch.float32, requires_grad=True)
    root = Categorical().root(f)
    root.square().sum().backward()
    assert f.grad.isfinite().all()
    f = torch.randn(2, 4)
    p = f.softmax(1)
    expected = torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)
    torch.testing.assert_close(Categorical().root(f) @ Categorical().root(f).mT, expected)
