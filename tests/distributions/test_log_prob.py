"""The density of every law: it integrates to one, gives the nats, ends where the support ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from scipy import stats
from torch import Tensor

from molaugerino.distributions import (
    IGSO3,
    AlgebraGaussian,
    AlgebraUniform,
    Finite,
    GroupDistribution,
    HaarBall,
    Product,
    SwingTwist,
    TranslationBall,
    TranslationGaussian,
    reflection,
    rigid_motions,
)
from molaugerino.distributions.igso import log_density
from molaugerino.errors import UserError
from molaugerino.groups import E3, O3, SE2, SE3, SO2, SO3, T2, T3, Affine, DirectProduct, Scale, aff2, aff3, colours
from tests.oracles import central_differences, swing_and_twist

CAP = 2.0  # angstrom, of the translations below
BALL = -math.log(4 * math.pi / 3 * CAP**3)  # log density of the widest ball of shifts
SIDE = -math.log(2 * CAP)  # of the widest interval
FLAT, TURNS = -SO2.log_volume, -SO3.log_volume  # of Haar
FULL = ((0.5, 0.1, 0.0), (0.0, 0.2, 0.1), (0.3, 0.0, 0.4))
BOX = (0.2, 0.5, 1.0, 0.3, 0.2, 0.4)
AXIS = (1.0, 2.0, -1.0)


def angle(g: Affine) -> Tensor:
    """By the trace, exact enough away from 0 and pi."""
    trace = g.linear.diagonal(dim1=-2, dim2=-1).sum(-1)
    return ((trace - g.dim + 2) / 2).clamp(-1, 1).arccos()


def turned_back(g: Affine) -> Tensor:
    return (g.linear.mT @ g.shift.unsqueeze(-1)).squeeze(-1)


def below(values: Tensor, *widths: float) -> Tensor:
    return (values.abs() <= values.new_tensor(widths)).all(-1)


def in_swing_twist(g: Affine) -> Tensor:
    axis = torch.tensor(AXIS, dtype=torch.float64)
    tilt, turn = swing_and_twist(g.linear, axis / axis.norm())
    return (tilt <= 0.9) & (turn.abs() <= 2.0)


def normal(g: Affine) -> Tensor:
    return torch.from_numpy(stats.norm.logpdf(g.shift.numpy(), scale=CAP).sum(-1))


@dataclass(frozen=True)
class Case:
    """A law, and what is known about it otherwise.

    Attributes:
        make: the law.
        reach: half-widths of a box of algebra coordinates that holds the support, or all but 1e-4 of the law.
        widest: log density of the law to which `divergence` counts.
        inside: whether elements lie in the support; None where it is the whole group.
        slack: by how much `divergence`, where it is a quadrature, may be off, in nats.
        points: of the integral.
    """

    make: Callable[[], GroupDistribution]
    reach: float | tuple[float, ...]
    widest: float | Callable[[Affine], Tensor]
    inside: Callable[[Affine], Tensor] | None = None
    slack: float = 1e-6
    points: int = 2**16


CASES = {
    "haar SO2": Case(lambda: HaarBall(SO2, 1.0), math.pi, FLAT, lambda g: angle(g) <= 1),
    "haar SO3": Case(lambda: HaarBall(SO3, 2.0), math.pi, TURNS, lambda g: angle(g) <= 2),
    "haar SO3 whole": Case(lambda: HaarBall(SO3, math.pi), math.pi, TURNS),
    "igso narrow": Case(lambda: IGSO3(0.05), 0.25, TURNS),
    "igso": Case(lambda: IGSO3(0.7), math.pi, TURNS),
    "igso wide": Case(lambda: IGSO3(3.0), math.pi, TURNS),
    "swing twist": Case(lambda: SwingTwist(AXIS, 2.0, 0.9), math.pi, TURNS, in_swing_twist),
    "gaussian SO3": Case(lambda: AlgebraGaussian(FULL), math.pi, TURNS, slack=0.02, points=2**18),
    "gaussian SO3 wide": Case(lambda: AlgebraGaussian((1.7, 1.5, 0.8)), math.pi, TURNS, slack=0.02),
    "shifts": Case(lambda: TranslationBall(0.4, CAP), 0.5, BALL, lambda g: g.shift.norm(dim=-1) <= 0.4),
    "gaussian shifts": Case(lambda: TranslationGaussian(0.3, CAP), 1.6, normal),
    "gaussian shifts, tilted": Case(lambda: TranslationGaussian(FULL, CAP), 2.0, normal),
    "box SO2": Case(lambda: AlgebraUniform(SO2, 0.7), 1.0, FLAT, lambda g: angle(g) <= 0.7),
    "box SO3": Case(
        lambda: AlgebraUniform(SO3, BOX[:3]), (0.3, 0.6, 1.1), TURNS, lambda g: below(SO3.log(g), *BOX[:3])
    ),
    "box SE3": Case(
        lambda: AlgebraUniform(SE3, BOX, CAP),
        tuple(1.2 * w for w in BOX),
        TURNS + 3 * SIDE,
        lambda g: below(SE3.log(g), *BOX),
    ),
    # widths of shape count to boxes of 1, and the quadrature of `divergence` runs over the turns alone
    "box Aff2": Case(
        lambda: AlgebraUniform(aff2(), 0.2, CAP),
        0.22,
        FLAT + 2 * SIDE,
        lambda g: below(aff2().log(g), *[0.2] * 6),
        slack=0.03,
        points=2**14,
    ),
    "box Aff3": Case(
        lambda: AlgebraUniform(aff3(), 0.1, CAP),
        0.11,
        TURNS + 3 * SIDE,
        lambda g: below(aff3().log(g), *[0.1] * 12),
        slack=0.03,
        points=2**13,
    ),
    "box scale": Case(lambda: AlgebraUniform(Scale(3), 0.4), 0.5, 0.0, lambda g: below(Scale(3).log(g), 0.4)),
    "rigid": Case(
        lambda: rigid_motions(1.0, 0.5, CAP),
        (1.1,) * 3 + (0.6,) * 3,
        TURNS + BALL,
        lambda g: (angle(g) <= 1) & (g.shift.norm(dim=-1) <= 0.5),
    ),
    "turn after shift": Case(
        lambda: Product(SE3, HaarBall(SO3, 1.0), AlgebraUniform(T3, (0.1, 0.2, 0.4), CAP)),
        (1.1,) * 3 + (0.5,) * 3,
        TURNS + 3 * SIDE,
        lambda g: (angle(g) <= 1) & below(turned_back(g), 0.1, 0.2, 0.4),
    ),
    "shift after turn": Case(
        lambda: Product(SE2, AlgebraUniform(T2, (0.1, 0.4), CAP), HaarBall(SO2, 1.0)),
        (1.1, 0.5, 0.5),
        FLAT + 2 * SIDE,
        lambda g: (angle(g) <= 1) & below(g.shift, 0.1, 0.4),
    ),
    "sizes and turns": Case(
        lambda: Product(DirectProduct(SO3, Scale(3)), AlgebraUniform(Scale(3), 0.3), IGSO3(0.5)),
        (2.5,) * 3 + (0.4,),
        TURNS,
        lambda g: torch.linalg.det(g.linear).log().abs() <= 0.9,
    ),
    "one factor": Case(lambda: Product(SO3, HaarBall(SO3, 1.0)), 1.1, TURNS, lambda g: angle(g) <= 1),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def coordinates(case, law, count):
    """Quasi-random algebra coordinates in the box of half-widths `reach`, and the box's volume.

    Turns by more than pi, which the group counts once already, are left out.
    """
    group = law.group
    widths = torch.tensor(case.reach, dtype=torch.float64).expand(group.dim)
    noise = torch.quasirandom.SobolEngine(group.dim, scramble=True, seed=1).draw(count, dtype=torch.float64)
    xi = widths * (2 * noise - 1)
    turns = [k for k, axis in enumerate(group.axes) if axis.startswith("r")]
    return xi, (xi[:, turns].norm(dim=-1) < math.pi), (2 * widths).prod()


class TestEveryDensity:
    def test_integrates_to_one(self, case):
        """int exp(log_prob + log_jacobian) d xi over the box, within 4.5 standard errors of plain Monte Carlo."""
        law = case.make().double()
        xi, once, volume = coordinates(case, law, case.points)
        with torch.no_grad():
            density = (law.log_prob(law.group.exp(xi)) + law.group.log_jacobian(xi)).exp()
        weights = volume * torch.where(once, density, 0.0)
        error = weights.std().item() / math.sqrt(len(weights))
        assert error < 0.025
        assert weights.mean().item() == pytest.approx(1, abs=4.5 * error + 1e-4)

    def test_mean_gives_the_nats(self, case):
        law = case.make().double()
        with torch.no_grad():
            g = law.sample((4096,), generator())
            surprise = law.log_prob(g) - (case.widest(g) if callable(case.widest) else case.widest)
        error = surprise.std().item() / math.sqrt(len(surprise))
        assert surprise.mean().item() == pytest.approx(law.divergence().item(), abs=4.5 * error + case.slack)

    def test_ends_where_the_support_ends(self, case):
        law = case.make().double()
        xi, once, _ = coordinates(case, law, 4096)
        g = law.group.exp(xi[once])
        finite = torch.isfinite(law.log_prob(g))
        assert torch.equal(finite, torch.ones_like(finite) if case.inside is None else case.inside(g))
        assert bool((law.log_prob(g)[~finite] == -math.inf).all())

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_own_samples_lie_inside(self, case, dtype):
        """Also those at its edge, made of the last number below one."""
        law = case.make().to(dtype)
        noise = law.noise((5000,), generator())
        last = torch.tensor(1.0, dtype=dtype).nextafter(torch.tensor(0.0, dtype=dtype))
        value = law.log_prob(law.elements(torch.where(noise > 0.8, last, noise)))
        assert value.dtype == dtype
        assert torch.isfinite(value).all()

    def test_gradient_in_the_parameters(self, case):
        """Against central differences, at elements inside; those outside add nothing, not NaN."""
        law = case.make().double()
        for parameter in law.parameters():
            parameter.data.mul_(0.9)  # off the caps
        xi, once, _ = coordinates(case, law, 1024)
        g = law.group.exp(xi[once])
        held = torch.isfinite(law.log_prob(g))
        assert int(held.sum()) > 8
        weights = torch.rand(len(held), generator=generator(), dtype=torch.float64)

        def value():
            return (weights * law.log_prob(g))[held].sum()

        parameters = list(law.parameters())
        gradients = torch.autograd.grad(value(), parameters, allow_unused=True, materialize_grads=True)
        for gradient, slope in zip(gradients, central_differences(value, parameters), strict=True):
            assert torch.allclose(gradient, slope, rtol=1e-5, atol=1e-6)

    def test_batch_shapes(self, case):
        law = case.make().double()
        g = law.sample((12,), generator())
        value = law.log_prob(g)
        assert value.shape == (12,)
        assert torch.allclose(law.log_prob(g.reshape(3, 4)), value.reshape(3, 4), rtol=1e-12)
        assert law.log_prob(g[5]).item() == pytest.approx(value[5].item(), rel=1e-9)


def test_of_a_finite_group():
    law = reflection(0.3, (1.0, 1.0, 0.0)).double()
    every = Affine(law.linear, law.shift)
    assert law.log_prob(every).exp().tolist() == pytest.approx([0.7, 0.3], abs=1e-6)
    assert law.log_prob(SO3.exp(torch.rand(5, 3).double())).tolist() == [-math.inf] * 5


@pytest.mark.parametrize("normal", [None, (1.0, -2.0, 0.5)])
def test_of_motions_and_reflections(normal):
    """The branch's probability times the density of the motion that is left without it."""
    motions, mirror = rigid_motions(2.0, 0.5).double(), reflection(0.3, normal).double()
    law = Product(E3, motions, mirror).double()
    g = motions.sample((50,), generator())
    flipped = g @ Affine(mirror.linear[1], mirror.shift[1])
    for elements, probability in ((g, 0.7), (flipped, 0.3)):
        expected = motions.log_prob(g) + math.log(probability)
        assert torch.allclose(law.log_prob(elements), expected, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0, 4.0])
def test_the_wound_gaussian_is_the_sum_of_harmonics(sigma):
    t = torch.linspace(0, min(math.pi, 5 * sigma), 200, dtype=torch.float64)
    l = torch.arange(200, dtype=torch.float64)  # noqa: E741
    half = t[1:, None] / 2
    character = torch.cat([2 * l[None] + 1, ((2 * l + 1) * half).sin() / half.sin()])
    series = ((2 * l + 1) * (-l * (l + 1) * sigma**2 / 2).exp() * character).sum(-1) / (8 * math.pi**2)
    ours = log_density(t, torch.tensor(sigma, dtype=torch.float64))
    assert (ours - series.log()).abs().max() < 1e-9


def test_tails_of_a_narrow_law_stay_finite():
    """Far out the density falls like a Gaussian in the algebra, whose harmonics would have cancelled to nothing."""
    sigma = torch.tensor(0.02, dtype=torch.float64, requires_grad=True)
    t = torch.tensor([0.0, 2.0, 2.5], dtype=torch.float64)
    value = log_density(t, sigma)
    flat = -t.square() / (2 * 0.02**2) - 1.5 * math.log(2 * math.pi) - 3 * math.log(0.02)
    bent = -(2 * (1 - t[1:].cos()) / t[1:].square()).log() / 2  # one root of the volume element
    assert (value[1:] - flat[1:] - bent).abs().max() < 1e-3
    assert abs(value[0] - flat[0]) < 1e-3
    assert torch.isfinite(torch.autograd.grad(value.sum(), sigma)[0])


@pytest.mark.parametrize("scale", [0.0, 0.1, (0.3, 0.1, 0.0)])
def test_a_gaussian_of_the_algebra_is_flat_about_the_identity(scale):
    """Whatever the axis, and however near: the density there is that of the Gaussian, the volume element being one."""
    law = AlgebraGaussian(scale).double()
    near = torch.tensor([0.0, 1e-30, 1e-12, 1e-10, 1e-8, 1e-6], dtype=torch.float64)[:, None]
    scale = law.scale.detach()
    covariance = scale @ scale.mT + (1.7e-3 * torch.eye(3)).square()
    flat = -float(torch.linalg.slogdet(2 * math.pi * covariance).logabsdet) / 2
    for axis in ([1.0, 0.0, 0.0], [0.0, 0.6, -0.8]):
        found = law.log_prob(SO3.exp(near * torch.tensor(axis, dtype=torch.float64)))
        assert (found - flat).abs().max() < 1e-5
    assert torch.isfinite(law.log_prob(law.sample((100,), generator()))).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: HaarBall(SO2, 0.0),
        lambda: HaarBall(SO3, 0.0),
        lambda: TranslationBall(0.0),
        lambda: TranslationGaussian(0.0),
        lambda: AlgebraUniform(SE3, 0.0),
        lambda: SwingTwist(AXIS, 0.0, 0.0),
        lambda: AlgebraGaussian(0.0),
        lambda: rigid_motions(0.0, 0.0),
    ],
)
def test_width_zero_counts_as_the_narrowest(make):
    law = make()
    value = law.log_prob(law.sample((50,)))
    assert torch.isfinite(value).all()
    assert torch.isfinite(law.log_prob(law.group.exp(torch.full((law.group.dim,), 1e-4))))
    if isinstance(law, HaarBall):
        assert value[0].item() == pytest.approx(law.divergence().item() - law.group.log_volume, rel=1e-6)


def test_a_reflection_is_no_exponential():
    law = AlgebraUniform(O3, 1.0).double()
    g = law.sample((20,), generator())
    assert torch.isfinite(law.log_prob(g)).all()
    assert bool((law.log_prob(O3.inversion(g)) == -math.inf).all())


def half_turns():
    """A group of two proper elements, whose determinants do not tell them apart."""
    return Finite(O3, Affine(torch.diag_embed(torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, 1.0]])), torch.zeros(2, 3)))


def of_water():
    """C2v: identity, half turn, two mirrors."""
    signs = torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, 1.0], [1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]])
    return Finite(O3, Affine(torch.diag_embed(signs), torch.zeros(4, 3)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Product(E3, rigid_motions(1.0, 0.5), half_turns()),
        lambda: Product(E3, rigid_motions(1.0, 0.5), of_water()),
        lambda: Product(SO3, HaarBall(), IGSO3()),
        lambda: Product(SE3, TranslationBall(), TranslationGaussian()),
        lambda: Product(aff3(), TranslationBall(), HaarBall()),
        lambda: Product(SE3, TranslationBall(), HaarBall(), HaarBall()),
    ],
)
def test_products_without_a_closed_density(make):
    law = make()
    with pytest.raises(UserError, match=r"the product of .* has no closed density on .*; use `log_prob` of its fact"):
        law.log_prob(law.sample((3,)))


@pytest.mark.parametrize(("make", "off"), [(aff2, 0.11), (aff3, 0.27), (colours, 0.01)])
def test_how_far_the_nats_of_a_box_of_shapes_are_off(make, off):
    """As the docstring of the law states it: the mean of the volume element over the turns alone, at widths of 0.5."""
    law = AlgebraUniform(make(), 0.5).double()
    draws = torch.quasirandom.SobolEngine(law.group.dim, scramble=True, seed=0).draw(2**12, dtype=torch.float64)
    exact = law.group.log_jacobian(law.width.detach() * (2 * draws - 1)).mean()
    used = (law.weights * law.group.log_jacobian(law.nodes * law.width.detach())).sum()
    assert 0.5 * off < abs(float(used - exact)) < off + 0.01
