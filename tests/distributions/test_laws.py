"""Every property over every law; the oracles are closed forms, quadrature and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from scipy.spatial.transform import Rotation
from torch.autograd import gradcheck

from molaugerino.distributions import (
    IGSO3,
    AlgebraGaussian,
    AlgebraUniform,
    Finite,
    HaarBall,
    Product,
    SwingTwist,
    TranslationBall,
    TranslationGaussian,
    molecular_law,
    reflection,
    rigid_motions,
)
from molaugerino.distributions.algebra_gaussian import log_density
from molaugerino.distributions.haar import haar_radius, mean_angle
from molaugerino.distributions.igso import igso_angle
from molaugerino.errors import UserError
from molaugerino.groups import SE3, SO2, SO3, T3, Scale, aff2, aff3
from tests.oracles import central_differences, haar_ball_cdf, swing_and_twist

TILTED = ((0.5, 0.1, 0.0), (0.0, 0.2, 0.1), (0.3, 0.0, 0.4))


def quarter_turns():
    turns = SO3.exp(torch.tensor([[0.0, 0.0, k * math.pi / 2] for k in range(4)]))
    return Finite(SO3, turns, (0.4, 0.3, 0.2, 0.1))


LAWS = {
    "haar SO2": lambda: HaarBall(SO2, width=1.0),
    "haar SO3": lambda: HaarBall(SO3, width=2.0),
    "haar SO3 whole": lambda: HaarBall(SO3, width=math.pi),
    "haar SO3 narrow": lambda: HaarBall(SO3, width=1e-3),
    "translations": lambda: TranslationBall(0.4),
    "box SO2": lambda: AlgebraUniform(SO2, 0.7),
    "box SO3": lambda: AlgebraUniform(SO3, (0.2, 0.5, 1.0)),
    "box SE3": lambda: AlgebraUniform(SE3, 0.3),
    "box Aff2": lambda: AlgebraUniform(aff2(), 0.2),
    "box Aff3": lambda: AlgebraUniform(aff3(), 0.2),
    "box scale": lambda: AlgebraUniform(Scale(3), 0.4),
    "rigid": lambda: rigid_motions(1.0, 0.5),
    "igso": lambda: IGSO3(0.7),
    "igso narrow": lambda: IGSO3(0.03),
    "igso wide": lambda: IGSO3(3.0),
    "swing twist": lambda: SwingTwist((1.0, 2.0, -1.0), twist=2.0, swing=0.3),
    "gaussian shifts": lambda: TranslationGaussian(0.3),
    "gaussian shifts, tilted": lambda: TranslationGaussian(TILTED),
    "reflection": lambda: reflection(0.2),
    "mirror": lambda: reflection(0.4, (1.0, 2.0, -1.0)),
    "quarter turns": lambda: quarter_turns(),
    "gaussian E3": lambda: molecular_law("gaussian", 1.0, 0.5, mirror=0.3),
    "gaussian SO3": lambda: AlgebraGaussian(TILTED),
}


DISCRETE = ("mirror", "quarter turns")  # whose weights are free, so their mean need not be the identity


@pytest.fixture(params=LAWS)
def law(request):
    return LAWS[request.param]().double()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class TestEveryLaw:
    def test_sample_is_elements_of_noise(self, law):
        noise = law.noise((4, 3), generator())
        assert noise.shape == (4, 3, law.noise_dim)
        assert bool(((noise >= 0) & (noise < 1)).all())
        g, h = law.elements(noise), law.sample((4, 3), generator())
        assert g.batch_shape == (4, 3)
        assert torch.equal(g.linear, h.linear)
        assert torch.equal(g.shift, h.shift)

    @pytest.mark.parametrize("law", [name for name in LAWS if name not in DISCRETE], indirect=True)
    def test_centred(self, law):
        xi = law.group.log(law.sample((20000,), generator()))
        standard_error = xi.std(0) / math.sqrt(len(xi)) + 1e-12
        assert bool((xi.mean(0).abs() < 4.5 * standard_error).all())

    def test_widths_carry_the_gradient_of_samples(self, law):
        """Reparameterisation against finite differences at fixed noise."""
        noise = law.noise((16,), generator(1))
        weights = torch.randn(law.group.space_dim, law.group.space_dim, generator=generator(2), dtype=torch.float64)

        def value():
            """The mean over the discrete part of a function of the elements."""
            g, probability = law.enumerated(noise)
            return probability @ ((g.linear * weights).sum((1, 2, 3)) + g.shift.pow(2).sum((1, 2)))

        for parameter in law.parameters():
            inside = 0.9 * parameter.detach()  # off the caps
            parameter.data.copy_(inside)
        parameters = list(law.parameters())
        gradients = torch.autograd.grad(value(), parameters)
        for gradient, slope in zip(gradients, central_differences(value, parameters), strict=True):
            assert torch.allclose(gradient, slope, rtol=1e-5, atol=1e-7)

    def test_divergence_is_finite_not_negative_and_differentiable(self, law):
        nats = law.divergence()
        assert nats.item() >= -1e-12
        parameters = list(law.parameters())
        gradients = torch.autograd.grad(nats, parameters, materialize_grads=True, allow_unused=True)
        pairs = list(zip(gradients, parameters, strict=True))
        pairs = [(g, p) for g, p in pairs if law.branches == 1 or p.shape != (law.branches,)]  # not the weights
        assert all(float((g * p.detach()).sum()) <= 0 for g, p in pairs)  # wider is closer

    def test_description_adds_up_to_the_divergence(self, law):
        lines = law.describe()
        assert sum(line.nats for line in lines) == pytest.approx(law.divergence().item(), abs=1e-6)
        axes = () if isinstance(law, Finite) else law.group.axes  # elements of a finite group have none
        assert sorted(axis for line in lines for axis in line.axes) == sorted(axes)
        assert all(0 <= line.mean <= line.width <= line.cap * (1 + 1e-6) for line in lines)

    def test_description_matches_samples(self, law):
        g = law.sample((20000,), generator(3))
        xi = law.group.log(g).detach()
        if isinstance(law, Product):  # shift after turn: the shift itself is the translation's coordinate
            xi = torch.cat([xi[:, :3], g.shift.detach()], -1)
        if isinstance(law, SwingTwist):
            tilt, turn = swing_and_twist(g.linear.detach(), law.axis.detach())
            xi = torch.stack([tilt, torch.zeros_like(tilt), turn], -1)
        for line in law.describe():
            if line.unit == "probability":
                moved = (g.linear - torch.eye(3)).abs().amax((1, 2)) > 0.5
                flipped = torch.linalg.det(g.linear) < 0
                share = (flipped if line.quantity == "reflection" else moved).double().mean().item()
                assert share == pytest.approx(line.mean, abs=4.5 * math.sqrt(0.25 / 20000))
                continue
            columns = [law.group.axes.index(axis) for axis in line.axes]
            scale = 180 / math.pi if line.unit == "degree" else 1.0
            assert scale * xi[:, columns].norm(dim=-1).mean().item() == pytest.approx(line.mean, rel=0.02)

    def test_branches_are_what_draws_average_to(self, law):
        noise = law.noise((20000,), generator(4))
        g, probability = law.enumerated(noise)
        assert g.batch_shape == (law.branches, 20000)
        assert probability.sum().item() == pytest.approx(1, abs=1e-6)
        drawn = law.elements(noise).linear.detach()
        error = 4.5 * drawn.std(0) / math.sqrt(20000) + 1e-9
        assert bool((((probability[:, None, None] * g.linear.mean(1)).sum(0) - drawn.mean(0)).abs() < error).all())

    def test_state_dict_round_trip(self, request, law):
        twin = LAWS[request.node.callspec.params["law"]]().double()
        for parameter in twin.parameters():
            parameter.data.mul_(0.5)
        noise = law.noise((5,), generator())
        same = [torch.equal(a, b) for a, b in zip(twin.parameters(), law.parameters(), strict=True)]
        assert not any(same)
        twin.load_state_dict(law.state_dict())
        assert torch.equal(twin.elements(noise).linear, law.elements(noise).linear)
        assert torch.equal(twin.elements(noise).shift, law.elements(noise).shift)


class TestIGSO3:
    @pytest.mark.parametrize("sigma", [0.02, 0.1, 0.7, 1.7, 4.0])
    def test_angles_follow_the_density(self, sigma):
        def density(t):
            l = np.arange(600)[:, None]  # noqa: E741
            terms = (2 * l + 1) * np.exp(-l * (l + 1) * sigma**2 / 2) * np.sin((l + 0.5) * t) / np.sin(t / 2)
            return (1 - np.cos(t)) / math.pi * terms.sum(0)

        reach = min(math.pi, 9 * sigma)
        grid = np.linspace(1e-9, reach, 20001)
        cumulative = integrate.cumulative_simpson(density(grid), x=grid, initial=0)
        assert cumulative[-1] == pytest.approx(1, abs=1e-7)
        angles = SO3.log(IGSO3(sigma).double().sample((20000,), generator())).norm(dim=-1).detach().numpy()
        assert stats.kstest(angles, lambda t: np.interp(t, grid, cumulative)).pvalue > 0.01

    def test_a_narrow_one_is_a_gaussian_in_the_algebra(self):
        xi = SO3.log(IGSO3(0.03).double().sample((20000,), generator())).detach().numpy()
        assert all(stats.kstest(xi[:, k] / 0.03, "norm").pvalue > 0.01 for k in range(3))

    @pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0])
    def test_mean_rotation_is_that_of_brownian_motion(self, sigma):
        g = IGSO3(sigma).double().sample((40000,), generator())
        trace = g.linear.detach().diagonal(dim1=-2, dim2=-1).sum(-1)
        assert trace.mean().item() == pytest.approx(3 * math.exp(-(sigma**2)), abs=4.5 * trace.std().item() / 200)

    def test_steadily_closer_to_haar(self):
        nats = [IGSO3(sigma).double().divergence().item() for sigma in np.linspace(0.02, 4, 60)]
        assert (np.diff(nats) < 1e-12).all()
        assert nats[-1] == pytest.approx(0, abs=1e-9)

    def test_first_and_second_derivatives(self):
        u = torch.rand(8, generator=generator(), dtype=torch.float64)
        sigma = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
        assert gradcheck(lambda s: igso_angle(u, s), sigma)
        assert torch.autograd.gradgradcheck(lambda s: igso_angle(u, s), sigma)


class TestAlgebraGaussian:
    @pytest.mark.parametrize(("sigma", "nats"), [(1.7, 0.012), (0.05, None), (0.5, None)])
    def test_nats_to_haar(self, sigma, nats):
        """Known at 1.7 rad; narrow, that of a Gaussian in flat space: log 8 pi^2 - 3/2 log 2 pi e - 3 log s."""
        ours = AlgebraGaussian(sigma).double().divergence().item()
        if nats is None:
            t = np.linspace(1e-6, 8 * sigma, 4001)  # E log J, J = 2 (1 - cos t) / t^2
            weight = stats.maxwell.pdf(t, scale=sigma)
            bent = integrate.simpson(weight * np.log(2 * (1 - np.cos(t)) / t**2), x=t)
            nats = math.log(8 * math.pi**2) - 1.5 * math.log(2 * math.pi * math.e) - 3 * math.log(sigma) - bent
        assert ours == pytest.approx(nats, abs=0.02)

    def test_beyond_the_cap_it_would_move_away_from_haar(self):
        covariance = math.pi**2 * torch.eye(3, dtype=torch.float64)
        w = math.pi * torch.randn(100000, 3, generator=generator(), dtype=torch.float64)
        assert (log_density(w, covariance).mean() + SO3.log_volume).item() == pytest.approx(0.57, abs=0.02)

    def test_density_integrates_to_one(self):
        """The mean of the density over Haar rotations times the volume."""
        law = AlgebraGaussian(((0.9, 0.2, 0.0), (0.0, 1.5, 0.3), (0.1, 0.0, 0.7))).double()
        haar = torch.from_numpy(Rotation.random(400000, rng=np.random.default_rng(1)).as_rotvec())
        with torch.no_grad():
            density = log_density(haar, law.scale @ law.scale.mT).exp() * math.exp(SO3.log_volume)
        assert density.mean().item() == pytest.approx(1, abs=4.5 * density.std().item() / math.sqrt(400000))

    def test_turns_about_one_axis_wherever_it_points(self):
        n = torch.tensor([2.0, -1.0, 2.0], dtype=torch.float64) / 3
        law = AlgebraGaussian(1.5 * torch.outer(n, n).float()).double()
        g = law.sample((500,), generator())
        assert (g.linear @ n - n).abs().max() < 1e-6
        spread, axes = law.principal()
        assert spread.tolist() == pytest.approx([1.5, 0, 0], abs=1e-6)
        assert abs(float(axes[0] @ n)) == pytest.approx(1, abs=1e-6)

    def test_descent_stops_at_the_cap_and_can_leave_it(self):
        law = AlgebraGaussian((0.3, 0.1, 0.2))
        optimizer = torch.optim.Adam(law.parameters(), lr=0.02)
        for _ in range(400):
            optimizer.zero_grad()
            (-torch.linalg.slogdet(law.scale).logabsdet).backward()
            optimizer.step()
        assert law.principal()[0].tolist() == pytest.approx([1.7] * 3, abs=1e-5)
        for _ in range(60):
            optimizer.zero_grad()
            law.scale.square().sum().backward()
            optimizer.step()
        assert law.principal()[0].max().item() < 1.5

    def test_shapes_and_widths_that_are_none(self):
        with pytest.raises(
            UserError, match=r"`scale` must be one number, three, or 3 x 3, all finite, got shape \(2,\)"
        ):
            AlgebraGaussian((0.1, 0.2))
        with pytest.raises(UserError, match=r"singular values of at most 1\.7 rad, got 3"):
            AlgebraGaussian(3.0)


class TestSwingTwist:
    def test_full_widths_are_haar(self):
        g = SwingTwist((1.0, 1.0, 0.0), math.pi, math.pi).double().sample((20000,), generator())
        angles = SO3.log(g).norm(dim=-1).detach().numpy()
        assert stats.kstest(angles, lambda t: haar_ball_cdf(t, math.pi)).pvalue > 0.01
        assert g.linear.mean(0).norm().item() < 0.02
        assert SwingTwist(twist=math.pi, swing=math.pi).divergence().item() == pytest.approx(0, abs=1e-6)

    def test_without_swing_the_axis_stays(self):
        law = SwingTwist((1.0, -2.0, 2.0), math.pi, 0.0).double()
        g = law.sample((1000,), generator())
        assert (g.linear @ law.axis - law.axis).abs().max() < 1e-7
        turn = swing_and_twist(g.linear.detach(), law.axis.detach())[1]
        assert stats.kstest(turn.numpy(), stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 0.01

    @pytest.mark.parametrize(("twist", "swing"), [(1.0, 2.0), (3.0, 0.8), (0.6, 3.1)])
    def test_nats_are_minus_the_log_of_the_share_of_haar_inside(self, twist, swing):
        axis = torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64)
        haar = torch.from_numpy(Rotation.random(200000, rng=np.random.default_rng(0)).as_matrix())
        tilt, turn = swing_and_twist(haar, axis)
        share = ((tilt <= swing) & (turn.abs() <= twist)).double().mean().item()
        nats = SwingTwist(axis.tolist(), twist, swing).divergence().item()
        assert nats == pytest.approx(-math.log(share), abs=4.5 / math.sqrt(200000 * share))

    @pytest.mark.parametrize("axis", [(0.0, 0.0, 1.0), (0.0, 0.0, -1.0), (1.0, 2.0, -3.0)])
    def test_the_axis_is_the_one_given(self, axis):
        given = torch.tensor(axis) / math.hypot(*axis)
        assert (SwingTwist(axis).axis - given).abs().max() < 1e-6

    def test_a_zero_axis(self):
        with pytest.raises(UserError, match="`axis` must be three finite numbers, not all zero"):
            SwingTwist((0.0, 0.0, 0.0))


class TestGaussianShifts:
    def test_normal_with_the_stated_nats(self):
        law = TranslationGaussian(0.4, cap=1.5).double()
        shifts = law.sample((20000,), generator()).shift.detach().numpy()
        assert all(stats.kstest(shifts[:, k] / 0.4, "norm").pvalue > 0.01 for k in range(3))
        one = integrate.quad(
            lambda x: (
                stats.norm.pdf(x, scale=0.4) * (stats.norm.logpdf(x, scale=0.4) - stats.norm.logpdf(x, scale=1.5))
            ),
            -6,
            6,
        )[0]
        assert law.divergence().item() == pytest.approx(3 * one, abs=1e-4)

    def test_noise_of_zero_stays_finite(self):
        assert torch.isfinite(TranslationGaussian(1.0).elements(torch.zeros(3)).shift).all()


class TestHaarBall:
    @pytest.mark.parametrize("width", [0.05, 1.0, 2.5, math.pi])
    def test_angles_follow_the_density(self, width):
        law = HaarBall(SO3, width=width).double()
        angles = SO3.log(law.sample((20000,), generator())).norm(dim=-1).detach().numpy()
        assert stats.kstest(angles, lambda t: haar_ball_cdf(t, width)).pvalue > 0.01

    def test_at_pi_it_is_haar(self):
        g = HaarBall(SO3, width=math.pi).double().sample((20000,), generator())
        assert g.linear.mean(0).norm().item() < 0.02
        angles = SO3.log(g).norm(dim=-1).detach().numpy()
        assert stats.kstest(angles, lambda t: haar_ball_cdf(t, math.pi)).pvalue > 0.01
        axes = torch.nn.functional.normalize(SO3.log(g), dim=-1).detach().numpy()
        assert stats.kstest(axes[:, 2], stats.uniform(-1, 2).cdf).pvalue > 0.01

    def test_at_zero_it_is_the_identity(self):
        g = HaarBall(SO3, width=0.0).sample((100,))
        assert torch.equal(g.linear, torch.eye(3).expand(100, 3, 3))

    @pytest.mark.parametrize("width", [0.0, 1e-4, 0.3, 1.0, 2.0, math.pi])
    def test_the_inverse_distribution_function(self, width):
        u = torch.rand(200, generator=generator(), dtype=torch.float64)
        w = torch.tensor(width, dtype=torch.float64, requires_grad=True)
        r = haar_radius(u, w)
        assert bool(((r >= 0) & (r <= 1 + 1e-12)).all())
        if width > 0.1:
            assert np.abs(haar_ball_cdf((w * r).detach().numpy(), width) - u.numpy()).max() < 1e-12
        few = u[:12]
        assert gradcheck(lambda w: haar_radius(few, w), w)
        assert torch.autograd.gradgradcheck(lambda w: haar_radius(few, w), w)

    def test_the_implicit_gradient(self):
        """dt/dw = u (1 - cos w) / (1 - cos t)."""
        u = torch.rand(100, generator=generator(), dtype=torch.float64)
        w = torch.tensor(2.2, dtype=torch.float64, requires_grad=True)
        t = w * haar_radius(u, w)
        for k in range(0, 100, 9):
            (slope,) = torch.autograd.grad(t[k], w, retain_graph=True)
            expected = u[k] * (1 - math.cos(2.2)) / (1 - torch.cos(t[k]))
            assert slope.item() == pytest.approx(expected.item(), rel=1e-9)

    @pytest.mark.parametrize(("width", "nats"), [(0.5, 5.03), (1.0, 2.99), (2.0, 1.06), (math.pi, 0.0)])
    def test_divergence_in_nats(self, width, nats):
        assert HaarBall(SO3, width=width).divergence().item() == pytest.approx(nats, abs=0.005)

    @pytest.mark.parametrize("width", [0.02, 1.0, math.pi])
    def test_density_integrates_to_one_and_has_the_stated_mean(self, width):
        density = lambda t: (1 - math.cos(t)) / (width - math.sin(width))  # noqa: E731
        assert integrate.quad(density, 0, width)[0] == pytest.approx(1, abs=1e-6)
        mean = integrate.quad(lambda t: t * density(t), 0, width)[0]
        assert mean_angle(width) == pytest.approx(mean, rel=1e-4)

    def test_gradient_descent_reaches_pi_in_finite_steps_and_can_leave_it(self):
        law = HaarBall(SO3, width=0.1)
        optimizer = torch.optim.Adam(law.parameters(), lr=0.05)
        for _ in range(500):
            optimizer.zero_grad()
            law.divergence().backward()
            optimizer.step()
        assert law.width.item() == pytest.approx(math.pi, abs=1e-6)
        assert law.divergence().item() == pytest.approx(0, abs=1e-6)
        for _ in range(60):
            optimizer.zero_grad()
            law.width.backward()
            optimizer.step()
        assert law.width.item() < 2.0

    def test_other_groups_are_refused(self):
        with pytest.raises(UserError, match="must be SO2 or SO3, got T"):
            HaarBall(T3, width=1.0)


class TestBox:
    def test_nats_to_haar_against_monte_carlo(self):
        law = AlgebraUniform(SO3, 1.5).double()
        xi = 1.5 * (2 * torch.rand(400000, 3, generator=generator(), dtype=torch.float64) - 1)
        expected = SO3.log_volume - 3 * math.log(3.0) - SO3.log_jacobian(xi).mean()
        assert law.divergence().item() == pytest.approx(expected.item(), abs=2e-3)

    def test_support_is_the_box(self):
        law = AlgebraUniform(SE3, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)).double()
        reach = SE3.log(law.sample((5000,), generator())).abs().amax(0).detach()
        assert torch.allclose(reach, law.width.detach(), atol=2e-3)

    def test_the_full_circle_is_haar(self):
        assert AlgebraUniform(SO2, math.pi).divergence().item() == pytest.approx(0, abs=1e-6)


class TestTranslations:
    def test_radii_follow_the_density(self):
        shifts = TranslationBall(0.7).double().sample((20000,), generator()).shift.detach()
        radii = (shifts.norm(dim=-1) / 0.7).numpy()
        assert stats.kstest(radii, lambda r: r**3).pvalue > 0.01

    def test_nats_are_counted_to_the_cap(self):
        assert TranslationBall(0.5, cap=2.0).divergence().item() == pytest.approx(3 * math.log(4), abs=1e-6)
        assert TranslationBall(1.0).divergence().item() == 0


def test_noise_of_another_law_is_refused(law, untyped):
    wrong = torch.rand(2, law.noise_dim + 1)
    message = rf"`noise` must have shape \(\.\.\., {law.noise_dim}\), got \(2, {law.noise_dim + 1}\)"
    for function in (law.elements, law.enumerated):
        with pytest.raises(UserError, match=message):
            function(wrong)


def test_rotation_acts_before_translation():
    """The shift of a product law is not turned: the cloud of images of the origin is the ball of shifts."""
    law = rigid_motions(math.pi, 0.5).double()
    g = law.sample((2000,), generator())
    assert g.shift.norm(dim=-1).max().item() <= 0.5
    assert g.linear.mean(0).norm().item() < 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HaarBall(SO3, width=4.0), r"`width` must lie in \[0, 3.14159\] rad, got 4"),
        (lambda: HaarBall(SO3, width=math.nan), r"`width` must lie in .* got nan"),
        (lambda: TranslationBall(2.0), r"`width` must lie in \[0, 1\] angstrom, got 2"),
        (lambda: TranslationBall(0.1, cap=0.0), "`cap` must be a positive length"),
        (lambda: AlgebraUniform(SE3, (1.0, 2.0)), r"must be one number or have shape \(6,\), got \(2,\)"),
        (lambda: AlgebraUniform(SO3, 2.0), r"`width` must lie in"),
        (lambda: Product(SE3, HaarBall(SO2)), r"laws on R\^3 like SE\(3\), got SO\(2\)"),
        (lambda: Product(SE3), "got none"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()
