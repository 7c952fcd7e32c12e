"""A law per input: equal to its base at the start, to one law per example ever after, blind to order and company."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from scipy import optimize
from torch import nn

from molaugerino import Augmented
from molaugerino.distributions import (
    IGSO3,
    AlgebraGaussian,
    AlgebraUniform,
    AtomFeatures,
    Conditional,
    HaarBall,
    Product,
    SwingTwist,
    TranslationBall,
    TranslationGaussian,
    rigid_motions,
)
from molaugerino.errors import UserError
from molaugerino.groups import SE3, SO2, SO3, Affine, aff2
from molaugerino.spaces import Molecules, Padded
from tests.cases import CASES, SIZES, padded, ragged

LAWS = {
    "haar SO2": lambda: HaarBall(SO2, 1.0),
    "haar SO3": lambda: HaarBall(SO3, 1.5),
    "igso": lambda: IGSO3(0.7),
    "swing twist": lambda: SwingTwist((1.0, 2.0, -1.0), 2.0, 0.9),
    "gaussian SO3": lambda: AlgebraGaussian(((0.5, 0.1, 0.0), (0.0, 0.2, 0.1), (0.3, 0.0, 0.4))),
    "box SE3": lambda: AlgebraUniform(SE3, 0.4),
    "box Aff2": lambda: AlgebraUniform(aff2(), 0.3),
    "shifts": lambda: TranslationBall(0.4),
    "gaussian shifts": lambda: TranslationGaussian(0.4),
    "rigid": lambda: rigid_motions(1.0, 0.5),
}
X = padded()
COUNT = len(SIZES)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def conditional(base, stirred=True):
    """A conditional law in float64; `stirred`, so that inputs differ."""
    torch.manual_seed(0)
    law = Conditional(base, AtomFeatures(), width=8).double()
    if stirred:
        nn.init.normal_(law.readout.weight, std=0.4)
    return law


@pytest.fixture(params=LAWS)
def base(request):
    return LAWS[request.param]().double()


def own(law, x, k):
    """The law of example k by itself."""
    one = copy.deepcopy(law.law)
    for name, parameter in one.named_parameters():
        parameter.data.copy_(law.parameters_of(x)[name][k])
    return one


def difference(g, h):
    return max((g.linear - h.linear).abs().max().item(), (g.shift - h.shift).abs().max().item())


def select(x, rows, atoms=slice(None)):
    return Molecules(*(field[rows][:, atoms] for field in x))


class TestEveryLaw:
    def test_starts_as_its_base(self, base):
        law = conditional(base, stirred=False)
        noise = law.noise((4, COUNT), generator())
        g = law.elements(noise, X)
        assert g.batch_shape == (4, COUNT)
        assert difference(g, base.elements(noise)) < 1e-12
        assert law.divergence(X).item() == pytest.approx(base.divergence().item(), abs=1e-12)
        assert torch.allclose(law.log_prob(g, X), base.log_prob(g), atol=1e-9)
        assert law.describe() == base.describe()

    def test_is_one_law_per_example(self, base):
        law = conditional(base)
        noise = law.noise((2, 4, COUNT), generator())
        g = law.elements(noise, X)
        value = law.log_prob(g, X)
        assert value.shape == g.batch_shape == (2, 4, COUNT)
        nats = []
        for k in range(COUNT):
            alone = own(law, X, k)
            h = Affine(g.linear[:, :, k], g.shift[:, :, k])
            assert difference(h, alone.elements(noise[:, :, k])) < 1e-12
            assert torch.allclose(value[..., k], alone.log_prob(h), atol=1e-9)
            nats.append(alone.divergence().item())
        assert law.divergence(X).item() == pytest.approx(sum(nats) / COUNT, abs=1e-9)
        assert max(nats) - min(nats) > 1e-3

    def test_gradients_of_samples_nats_and_density(self, base):
        """Per example, against those of the example's own law, summed over examples: vmap must not mix them."""
        law = conditional(base)
        noise = law.noise((4, COUNT), generator())
        weights = torch.randn(COUNT, base.group.space_dim, generator=generator(1), dtype=torch.float64)
        held = law.elements(noise, X).detach()

        def loss(of, noise, held, weights, context=None):
            g = of.elements(noise, context)
            moved = (g.linear.sum(-2) + 2 * g.shift) * weights
            return moved.square().sum() + of.log_prob(held, context).sum()

        ours = torch.autograd.grad(
            loss(law, noise, held, weights, X) + COUNT * law.divergence(X), list(law.law.parameters())
        )
        total = [torch.zeros_like(gradient) for gradient in ours]
        for k in range(COUNT):
            alone = own(law, X, k)
            part = loss(alone, noise[:, k], Affine(held.linear[:, k], held.shift[:, k]), weights[k])
            parts = torch.autograd.grad(part + alone.divergence(), list(alone.parameters()))
            total = [a + b for a, b in zip(total, parts, strict=True)]
        assert all(torch.allclose(a, b, rtol=1e-7, atol=1e-7) for a, b in zip(ours, total, strict=True))

    def test_state_dict_round_trip(self, base):
        law, twin = conditional(base), conditional(copy.deepcopy(base), stirred=False)
        noise = law.noise((2, COUNT), generator())
        assert difference(law.elements(noise, X), twin.elements(noise, X)) > 1e-3
        twin.load_state_dict(law.state_dict())
        assert difference(law.elements(noise, X), twin.elements(noise, X)) == 0


class TestWhatTheParametersDependOn:
    def widths(self, x):
        return conditional(HaarBall(SO3, 1.5)).parameters_of(x)["_width"]

    def test_the_molecule(self):
        assert self.widths(X).std() > 1e-3

    def test_not_the_order_of_its_atoms(self):
        order = torch.randperm(max(SIZES), generator=generator())
        assert (self.widths(select(X, slice(None), order)) - self.widths(X)).abs().max() < 1e-12

    def test_not_its_frame(self):
        g = SE3.exp(torch.randn(COUNT, 6, generator=generator(), dtype=torch.float64))
        assert (self.widths(Padded().act(g, X)) - self.widths(X)).abs().max() < 1e-12

    def test_not_who_shares_the_batch(self):
        for k, size in enumerate(SIZES):
            alone = select(X, slice(k, k + 1), slice(size))
            assert abs(self.widths(alone)[0] - self.widths(X)[k]) < 1e-12

    def test_not_what_stands_in_the_padding(self):
        spoiled = Molecules(X.z.masked_fill(~X.mask, 7), X.pos.masked_fill(~X.mask[..., None], math.nan), X.mask)
        assert torch.equal(self.widths(spoiled), self.widths(X))


class TestGradients:
    def test_reach_the_readout_at_the_start_and_then_all(self):
        law = conditional(HaarBall(SO3, 1.5), stirred=False)
        law.divergence(X).backward()
        assert bool(law.readout.weight.grad.any())
        stirred = conditional(HaarBall(SO3, 1.5))
        stirred.sample((4, COUNT), generator(), X).linear[..., 0, 0].sum().backward()
        assert all(p.grad is not None and bool(p.grad.any()) for p in stirred.parameters())

    def test_by_finite_differences(self):
        law = conditional(rigid_motions(1.0, 0.5))
        noise = law.noise((4, COUNT), generator())

        def value():
            g = law.elements(noise, X)
            return g.linear[..., 0, 0].sum() + g.shift.square().sum() + law.divergence(X)

        for parameter in (law.phi[0].weight, law.readout.weight):
            (gradient,) = torch.autograd.grad(value(), parameter)
            flat = parameter.data.view(-1)
            for k in range(0, len(flat), 5):
                flat[k] += 1e-6
                up = value().item()
                flat[k] -= 2e-6
                down = value().item()
                flat[k] += 1e-6
                assert gradient.view(-1)[k].item() == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-8)


def molecules(count, seed):
    """Clouds of carbon and hydrogen, every other one with an oxygen in it."""
    z = torch.tensor([1, 6])[torch.randint(2, (count, 6), generator=generator(seed))]
    size = torch.randint(3, 7, (count, 1), generator=generator(seed + 1))
    mask = torch.arange(6) < size
    z[::2, 0] = 8
    return Molecules(z * mask, torch.randn(count, 6, 3, generator=generator(seed + 2)), mask)


def test_learns_which_molecules_may_be_turned():
    """Turning costs 3 (3 - trace g) where there is an oxygen, nats cost everywhere; the best widths are known."""
    torch.manual_seed(0)
    law = Conditional(HaarBall(SO3, 1.0), AtomFeatures())
    optimizer = torch.optim.Adam(law.parameters(), lr=0.03)
    x = molecules(64, 0)
    oxygen = (x.z == 8).any(-1)
    for step in range(150):
        optimizer.zero_grad()
        g = law.sample((4, len(oxygen)), generator(step), x)
        turned = 3 - g.linear.diagonal(dim1=-2, dim2=-1).sum(-1)
        ((3 * turned * oxygen).mean() + law.divergence(x)).backward()
        optimizer.step()

    def cost(w):  # E[trace] = 1 + 2 E[cos t] under p(t) = (1 - cos t) / (w - sin w)
        cosine = (math.sin(w) - w / 2 - math.sin(2 * w) / 4) / (w - math.sin(w))
        return 6 * (1 - cosine) + math.log(math.pi / (w - math.sin(w)))

    best = optimize.minimize_scalar(cost, bounds=(0.1, math.pi), method="bounded").x
    unseen = molecules(64, 100)
    oxygen = (unseen.z == 8).any(-1)
    width = law.parameters_of(unseen)["_width"].detach().clamp(0, math.pi)
    assert (width[oxygen] - best).abs().max() < 0.2
    assert width[~oxygen].min() > 3.1


class TestAugmented:
    CASE = CASES["dipole, padded"]

    def wrapped(self, law=None):
        torch.manual_seed(1)
        law = conditional(HaarBall(SO3, 1.5)) if law is None else law
        return Augmented(self.CASE.net(), law, self.CASE.input, self.CASE.output, copies=2, eval_copies=5)

    def test_training_draws_from_the_law_of_each_example(self):
        h = self.wrapped()
        g = h.draw(COUNT, generator(), X)
        assert g.batch_shape == (2, COUNT)
        assert difference(g, h.distribution.sample((2, COUNT), generator(), X)) == 0
        h(X).sum().backward()
        assert bool(h.distribution.readout.weight.grad.any())

    def test_evaluation_pushes_the_same_noise_through_each_law(self):
        h = self.wrapped().eval()
        g = h.draw(COUNT, context=X)
        assert g.batch_shape == (5, COUNT)
        plain = self.wrapped(HaarBall(SO3, 1.5).double()).eval()
        for k in range(COUNT):
            plain.distribution = own(h.distribution, X, k)
            assert difference(Affine(g.linear[:, k], g.shift[:, k]), plain.draw(COUNT)) < 1e-12

    def test_a_prediction_depends_neither_on_the_call_nor_on_company(self):
        h = self.wrapped().eval()
        y = h(X)
        assert torch.equal(h(X), y)
        for k in range(COUNT):
            assert (h(select(X, slice(k, k + 1)))[0] - y[k]).abs().max() < 1e-12
        turned = self.wrapped(HaarBall(SO3, 1.5).double()).eval()(X)
        assert (turned - y).abs().max() > 1e-3  # the conditional law is another one

    def test_one_conditional_factor_makes_the_product_conditional(self):
        law = Product(SE3, TranslationBall(0.5), conditional(HaarBall(SO3, 1.5))).double()
        assert law.conditional
        assert not rigid_motions(1.0, 0.5).conditional
        h = self.wrapped(law)
        assert h.draw(COUNT, context=X).batch_shape == (2, COUNT)
        g = h.eval().draw(COUNT, context=X)
        assert g.batch_shape == (5, COUNT)
        first, second = law.factors
        assert law.divergence(X).item() == pytest.approx((first.divergence() + second.divergence(X)).item())
        split = first.log_prob(Affine(torch.eye(3).double().expand_as(g.linear), g.shift)) + second.log_prob(g, X)
        assert torch.allclose(law.log_prob(g, X), split)


NEEDED = "needs `context`, the batch of padded molecules"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda law: law.sample((2, COUNT)), f"{NEEDED}.* got none; use its `law`"),
        (lambda law: law.divergence(), f"{NEEDED}.* got none"),
        (lambda law: law.log_prob(Affine.identity(3, (COUNT,))), f"{NEEDED}.* got none"),
        (lambda law: law.divergence(ragged()), f"{NEEDED}.* got SimpleNamespace"),
        (lambda law: Augmented(nn.Identity(), law, Padded()).evaluation_elements(4), NEEDED),
        (lambda law: law.sample((COUNT, 2), context=X), r"`noise` must have shape \(\.\.\., 3, 3\).* got \(3, 2, 3\)"),
        (lambda law: law.log_prob(Affine.identity(3, (2,)), X), r"batch shape \(\.\.\., 3\).* got \(2,\)"),
        (lambda law: Conditional(law, AtomFeatures()), "`law` must not depend on the input already"),
        (lambda law: Conditional(law.law, AtomFeatures(), width=0), "`width` must be at least 1, got 0"),
        (lambda law: AtomFeatures(step=0.0), "`step` must be a positive length"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(UserError, match=message):
        call(conditional(HaarBall(SO3, 1.5)))
