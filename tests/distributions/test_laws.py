"""Every property over every law; the oracles are closed forms, quadrature and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.autograd import gradcheck

from molaugerino.distributions import AlgebraUniform, HaarBall, Product, TranslationBall, rigid_motions
from molaugerino.distributions.haar import haar_radius, mean_angle
from molaugerino.errors import UserError
from molaugerino.groups import SE3, SO2, SO3, T3
from tests.oracles import haar_ball_cdf

LAWS = {
    "haar SO2": lambda: HaarBall(SO2, width=1.0),
    "haar SO3": lambda: HaarBall(SO3, width=2.0),
    "haar SO3 whole": lambda: HaarBall(SO3, width=math.pi),
    "haar SO3 narrow": lambda: HaarBall(SO3, width=1e-3),
    "translations": lambda: TranslationBall(0.4),
    "box SO2": lambda: AlgebraUniform(SO2, 0.7),
    "box SO3": lambda: AlgebraUniform(SO3, (0.2, 0.5, 1.0)),
    "box SE3": lambda: AlgebraUniform(SE3, 0.3),
    "rigid": lambda: rigid_motions(1.0, 0.5),
}


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

    def test_centred(self, law):
        xi = law.group.log(law.sample((20000,), generator()))
        standard_error = xi.std(0) / math.sqrt(len(xi)) + 1e-12
        assert bool((xi.mean(0).abs() < 4.5 * standard_error).all())

    def test_widths_carry_the_gradient_of_samples(self, law):
        """Reparameterisation against finite differences at fixed noise."""
        noise = law.noise((16,), generator(1))
        weights = torch.randn(law.group.space_dim, law.group.space_dim, generator=generator(2), dtype=torch.float64)

        def value():
            g = law.elements(noise)
            return (g.linear * weights).sum() + g.shift.pow(2).sum()

        for parameter in law.parameters():
            inside = 0.9 * parameter.detach()  # off the caps
            parameter.data.copy_(inside)
        gradients = torch.autograd.grad(value(), list(law.parameters()))
        for parameter, gradient in zip(law.parameters(), gradients, strict=True):
            flat, step = parameter.data.view(-1), 1e-6
            for k in range(len(flat)):
                flat[k] += step
                up = value().item()
                flat[k] -= 2 * step
                down = value().item()
                flat[k] += step
                assert gradient.view(-1)[k].item() == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-7)

    def test_divergence_is_finite_not_negative_and_differentiable(self, law):
        nats = law.divergence()
        assert nats.item() >= -1e-12
        gradients = torch.autograd.grad(nats, list(law.parameters()))
        assert all(bool((g <= 0).all()) for g in gradients)  # wider is closer to the widest

    def test_description_adds_up_to_the_divergence(self, law):
        lines = law.describe()
        assert sum(line.nats for line in lines) == pytest.approx(law.divergence().item(), abs=1e-6)
        assert sorted(axis for line in lines for axis in line.axes) == sorted(law.group.axes)
        assert all(0 <= line.mean <= line.width <= line.cap * (1 + 1e-6) for line in lines)

    def test_description_matches_samples(self, law):
        g = law.sample((20000,), generator(3))
        xi = law.group.log(g).detach()
        if isinstance(law, Product):  # shift after turn: the shift itself is the translation's coordinate
            xi = torch.cat([xi[:, :3], g.shift.detach()], -1)
        for line in law.describe():
            columns = [law.group.axes.index(axis) for axis in line.axes]
            scale = 180 / math.pi if line.unit == "degree" else 1.0
            assert scale * xi[:, columns].norm(dim=-1).mean().item() == pytest.approx(line.mean, rel=0.02)

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
