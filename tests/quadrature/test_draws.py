"""Random sets: unbiased, honest about their error, and better than chance where they say so."""

from __future__ import annotations

import math

import pytest
import torch

from molaugerino.distributions import (
    IGSO3,
    AlgebraUniform,
    Finite,
    HaarBall,
    TranslationBall,
    reflection,
    rigid_motions,
)
from molaugerino.errors import UserError
from molaugerino.groups import SE3, SO2, SO3
from molaugerino.quadrature import Law, antithetic, circle, cube, random, sobol
from tests.quadrature.functions import BandLimited

HAAR = HaarBall(SO3, math.pi).double()
BOX = AlgebraUniform(SO3, (0.3, 0.8, 1.2)).double()
WAYS = {
    "random": lambda law, n, seed: random(law, n, torch.Generator().manual_seed(seed)),
    "inverses": lambda law, n, seed: antithetic(law, n, torch.Generator().manual_seed(seed)),
    "mirrored": lambda law, n, seed: antithetic(law, n, torch.Generator().manual_seed(seed), pairs="noise"),
    "sobol": lambda law, n, seed: sobol(law, n, seed),
}


def curved(g):
    """A function that is neither odd nor even: (n, 3)."""
    return (g.linear @ torch.tensor([0.3, 1.0, -0.7], dtype=torch.float64) + 0.5).exp()


@pytest.mark.parametrize("name", WAYS)
def test_mean_is_that_of_the_law_and_error_that_of_the_mean(name):
    """Over 200 sets, the mean has no bias, and the root mean square of `error` is the spread of the means."""
    exact = curved(BOX.sample((400_000,), torch.Generator().manual_seed(1)))
    sets = [WAYS[name](BOX, 32, seed) for seed in range(200)]
    means = torch.stack([s.mean(curved(s.elements)) for s in sets])
    errors = torch.stack([s.error(curved(s.elements)) for s in sets])
    blur = (means.var(0) / len(means) + exact.var(0) / len(exact)).sqrt()
    assert ((means.mean(0) - exact.mean(0)) / blur).abs().max() < 4
    assert (errors.square().mean(0) / means.var(0)).sqrt().tolist() == pytest.approx([1, 1, 1], abs=0.25)


def test_variance_reduction():
    """Pairs where the function is odd but for a little, Sobol points on any smooth one."""

    def slanted(g):
        return (0.5 * SO3.log(g)).exp()

    def spread(name, f):
        sets = [WAYS[name](BOX, 32, seed) for seed in range(100)]
        return torch.stack([s.mean(f(s.elements)) for s in sets]).std(0)

    for name in ("inverses", "mirrored"):
        assert (spread(name, slanted) < 0.4 * spread("random", slanted)).all()
    for f in (slanted, curved):
        assert (spread("sobol", f) < 0.5 * spread("random", f)).all()


def test_pairs_are_exact_on_odd_functions():
    def odd(g):
        return SO3.log(g)

    plain = random(BOX, 64, torch.Generator().manual_seed(0))
    assert plain.mean(odd(plain.elements)).abs().min() > 1e-3
    for pairs in ("inverse", "noise"):
        s = antithetic(BOX, 64, torch.Generator().manual_seed(0), pairs)
        assert s.mean(odd(s.elements)).abs().max() < 1e-12
        assert s.error(odd(s.elements)).abs().max() < 1e-12  # paired: independent elements would be thought far off
        product = (s.elements[::2] @ s.elements[1::2]).linear - torch.eye(3, dtype=torch.float64)
        assert product.abs().max() < 1e-12  # next to each other


def test_random_error_on_functions_of_low_degree():
    f = BandLimited(3, rows=20)
    sets = [random(HAAR, 60, torch.Generator().manual_seed(seed)) for seed in range(20)]
    true = torch.stack([s.mean(f(s.elements)) for s in sets]).square().mean().sqrt()
    told = torch.stack([s.error(f(s.elements)) for s in sets]).square().mean().sqrt()
    assert told.item() == pytest.approx(true.item(), rel=0.15)


@pytest.mark.parametrize(
    "law",
    [
        HaarBall(SO2, 1.0),
        HaarBall(),
        IGSO3(0.5),
        TranslationBall(0.4),
        AlgebraUniform(SE3, 0.3),
        rigid_motions(1.0, 0.5),
    ],
)
def test_symmetric_laws_take_inverses(law):
    s = antithetic(law, 64, torch.Generator().manual_seed(0))
    assert isinstance(law, Law)
    assert s.replicates == 32
    assert s.weights.dtype == torch.float32


def test_other_laws_take_mirrored_noise():
    """A law of a quarter turn but of no three-quarter turn: inverses would be of another law, mirrored noise is not."""
    turns = Finite(SO2, circle(4).to(torch.zeros(1)).elements, [0.5, 0.4, 0.1, 0.0])
    with pytest.raises(UserError, match=r'that of the inverses.*pairs="noise"'):
        antithetic(turns, 64, torch.Generator().manual_seed(0))
    for law, share in ((turns, 0.4), (reflection(0.3), 0.3)):
        s = antithetic(law, 20_000, torch.Generator().manual_seed(0), pairs="noise")
        other = law.elements(torch.tensor([[0.75]]))  # the quarter turn, the inversion
        found = (s.elements.linear - other.linear).abs().amax((-2, -1)) < 1e-5
        assert found.float().mean().item() == pytest.approx(share, abs=0.01)
    assert antithetic(Finite(SO3, cube().elements, [0.54, *[0.02] * 23]), 8).replicates == 4


def test_single_precision_noise_stays_below_one():
    class Edge(HaarBall):
        def noise(self, shape, generator=None, dtype=None, device=None):
            return torch.zeros(*shape, self.noise_dim)

        def elements(self, noise, context=None):
            assert noise.max() < 1
            return super().elements(noise, context)

    assert torch.isfinite(antithetic(Edge(), 2, pairs="noise").elements.linear).all()


def test_draws_carry_the_gradient_of_the_law_and_are_reproducible():
    law = HaarBall(SO3, 0.7)
    for way in WAYS.values():
        s = way(law, 16, 3)
        assert torch.equal(s.elements.linear, way(law, 16, 3).elements.linear)
        assert not torch.equal(s.elements.linear, way(law, 16, 4).elements.linear)
        [slope] = torch.autograd.grad(s.mean(s.elements.linear[:, 0, 0]), list(law.parameters()))
        assert slope.item() < 0  # a wider law, less of the x axis left


def test_sobol_fills_the_cube():
    law = AlgebraUniform(SO3, 1.0)
    s = sobol(law, 64, replicates=1)
    assert s.replicates == 1
    assert not s.has_error
    noise = (SO3.log(s.elements) + 1) / 2
    for axis in noise.detach().T:
        assert sorted((64 * axis).floor().int().tolist()) == list(range(64))  # one in each of 64 intervals


def test_mistakes():
    with pytest.raises(UserError, match="must be even, got 7"):
        antithetic(HAAR, 7)
    with pytest.raises(UserError, match="at least 1, got 0"):
        random(HAAR, 0)
    for n, replicates in ((12, 1), (32, 3), (2, 4), (4, 0)):
        with pytest.raises(UserError, match="times a power of two"):
            sobol(HAAR, n, replicates=replicates)
    law = HaarBall()
    law.conditional = True
    with pytest.raises(UserError, match="must not depend on the input"):
        random(law, 4)
