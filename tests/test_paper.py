"""The published method, against its formulas written out in numpy and against what was measured of it."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from molaugerino import paper
from molaugerino.groups import SO3
from molaugerino.paper import PaperBox, penalty, rk4_step

ROTATIONS = slice(0, 3)
COMPILED = """
import torch
from molaugerino.paper import PaperBox, penalty

law, noise = PaperBox(), torch.rand(6, 12)

def value(u):
    g = law.elements(u)
    return g.linear.square().sum() + g.shift.sum() + penalty(law) + law.divergence()

compiled = torch.compile(value, fullgraph=True, backend="aot_eager")
torch.testing.assert_close(compiled(noise), value(noise))
torch.testing.assert_close(*(torch.autograd.grad(f(noise), law.raw) for f in (compiled, value)))
PaperBox().to("meta").elements(torch.empty(6, 12, device="meta"))
"""


def box(theta: float | list[float]) -> PaperBox:
    """In float64, with these theta = softplus(raw)."""
    law = PaperBox().double()
    law.raw.data.copy_(torch.as_tensor(theta, dtype=torch.float64).expand(12).expm1().log())
    return law


def only(*axes: int, theta: float) -> PaperBox:
    return box([theta if k in axes else 0.0 for k in range(12)])


def uniform(*shape: int, seed: int = 0):
    return torch.rand(*shape, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def published_matrix(z):
    """A of one z (12,), entry by entry."""
    a = np.zeros((4, 4))
    a[:3, :3] += [[0, -z[2], z[1]], [z[2], 0, -z[0]], [-z[1], z[0], 0]]
    a[:3, :3] += [[0, z[5], z[4]], [z[5], 0, z[3]], [z[4], z[3], 0]]
    a[:3, :3] += np.diag([z[6] + z[8], -z[6] + z[7] + z[8], -z[7] + z[8]])
    a[:3, 3] = z[9:]
    return a


def runge_kutta(a):
    """One classical step from X = I, slope by slope."""
    x = np.eye(len(a))
    k1 = a @ x
    k2 = a @ (x + k1 / 2)
    k3 = a @ (x + k2 / 2)
    k4 = a @ (x + k3)
    return x + (k1 + 2 * k2 + 2 * k3 + k4) / 6


def published_positions(points, z):
    m = runge_kutta(published_matrix(z))
    return points @ m[:3, :3] + 0.5 * m[:3, 3]


class TestStep:
    def test_is_one_classical_runge_kutta_step(self):
        a = torch.randn(5, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        step = rk4_step(a).numpy()
        for k in range(5):
            np.testing.assert_allclose(step[k], runge_kutta(a[k].numpy()), rtol=0, atol=1e-12)

    @pytest.mark.parametrize(
        ("angle", "error", "digit", "determinant"),
        [
            (0.5, 2.6e-4, 1e-5, 0.99979),
            (1.0, 8.1e-3, 1e-4, 0.988),
            (math.pi / 2, 0.075, 1e-3, 0.856),
            (2.0, 0.24, 1e-2, 0.556),
            (math.pi, 2.03, 1e-2, 4.12),
            (2 * math.pi, 45, 1, 3364),
        ],
    )
    def test_is_no_rotation(self, angle, error, digit, determinant):
        """About z; `digit` is the last one that `error` has."""
        xi = torch.tensor([0.0, 0.0, angle], dtype=torch.float64)
        step, true = rk4_step(SO3.hat(xi))[:3, :3], SO3.exp(xi).linear
        assert (step - true).abs().max().item() == pytest.approx(error, abs=digit / 2)
        assert torch.linalg.det(step).item() == pytest.approx(determinant, rel=1e-3)


class TestAction:
    def test_is_the_published_one(self):
        law, noise = PaperBox().double(), uniform(20)
        points = torch.randn(20, 7, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        moved = law.elements(noise)(points).detach().numpy()
        z = np.log1p(np.exp(0.54)) * noise.numpy()
        for k in range(20):
            np.testing.assert_allclose(moved[k], published_positions(points[k].numpy(), z[k]), atol=1e-6)

    def test_turns_backwards(self):
        """Rows times M: a positive coordinate about z takes x away from y, where the group takes it towards y."""
        law, corner = only(2, theta=0.3), torch.ones(12, dtype=torch.float64)
        y = law.elements(corner).linear[1, 0].item()
        assert y == pytest.approx(-math.sin(0.3), abs=1e-4)
        assert law.group.exp(law.coordinates(corner)).linear[1, 0].item() == pytest.approx(math.sin(0.3))

    def test_the_shift_is_not_that_of_the_transpose(self):
        """(I + A/2 + A^2/6 + A^3/24) e_x for a turn by t about z; of the transpose its y would be negative."""
        t = 1.2
        law = box([t if k == 2 else 1.0 if k == 9 else 0.0 for k in range(12)])
        shift = law.elements(torch.ones(12, dtype=torch.float64)).shift
        assert shift.tolist() == pytest.approx([(1 - t**2 / 6) / 2, (t / 2 - t**3 / 24) / 2, 0])

    def test_shifts_reach_half_an_angstrom_per_unit_one_way(self):
        shift = only(9, 10, 11, theta=2.0).elements(uniform(1000)).shift
        assert 0 <= shift.min().item() < 0.01
        assert 0.99 < shift.max().item() < 1

    def test_axes_are_those_of_the_group(self):
        law = box(0.5)
        noise = uniform(50)
        m = rk4_step(law.group.hat(law.coordinates(noise)))
        g = law.elements(noise)
        torch.testing.assert_close(g.linear, m[:, :3, :3].mT)
        torch.testing.assert_close(g.shift, m[:, :3, 3] / 2)


class TestLaw:
    def test_starts_at_one(self):
        assert PaperBox().theta.tolist() == pytest.approx([0.9992] * 12, abs=5e-5)

    def test_identity_is_a_corner(self):
        law = PaperBox().double()
        g = law.elements(torch.zeros(12, dtype=torch.float64))
        assert torch.equal(g.linear, torch.eye(3, dtype=torch.float64))
        assert not g.shift.any()
        z = law.coordinates(uniform(1000)).detach()
        assert (z >= 0).all()
        assert z.max().item() == pytest.approx(0.9992, abs=1e-3)

    @pytest.mark.parametrize(
        ("theta", "one_sided", "centred"), [(math.pi, 0.986, 0.637), (2 * math.pi, 0.958, 0.207)], ids=["pi", "2 pi"]
    )
    def test_turns_are_not_averaged_out(self, theta, one_sided, centred):
        """|| E R || of exact rotations with coordinates in the box, by quadrature; 0 would be Haar."""
        x, w = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(32))
        noise = torch.zeros(32**3, 12, dtype=torch.float64)
        noise[:, ROTATIONS] = torch.cartesian_prod(*[(x + 1) / 2] * 3)
        weight = torch.cartesian_prod(*[w / 2] * 3).prod(1)
        xi = box(theta).coordinates(noise)[:, ROTATIONS].detach()

        def mean_rotation(coordinates):
            return (weight @ SO3.exp(coordinates).linear.flatten(1)).norm().item()

        assert mean_rotation(xi) == pytest.approx(one_sided, abs=1.1e-3)
        assert mean_rotation(xi - theta / 2) == pytest.approx(centred, abs=1.1e-3)

    @pytest.mark.parametrize(
        ("theta", "mean", "quantiles"),
        [(0.9992, 6.3, (0.41, 1.36, 8.5)), (0.3, 1.61, (0.75, 1.10, 1.91)), (0.1, 1.165, None)],
    )
    def test_distorts_even_with_the_exact_exponential(self, theta, mean, quantiles):
        """The determinant is exp(3 z) of the scale alone, of mean (exp(3 theta) - 1) / (3 theta)."""
        law = box(theta)
        linear = law.group.exp(law.coordinates(uniform(50_000)).detach()).linear
        determinant = torch.linalg.det(linear)
        assert determinant.mean().item() == pytest.approx(math.expm1(3 * theta) / (3 * theta), rel=0.01)
        assert determinant.mean().item() == pytest.approx(mean, rel=0.015)
        assert determinant.max().item() == pytest.approx(math.exp(3 * theta), rel=0.01)
        if quantiles is not None:
            assert spread(linear) == pytest.approx(quantiles, rel=0.015)

    @pytest.mark.parametrize(
        ("theta", "mean", "quantiles"),
        [
            (0.9992, 6.05, (0.413, 1.357, 7.96)),
            (0.3, 1.621, (0.751, 1.106, 1.914)),
            (0.1, 1.166, (0.908, 1.034, 1.242)),
        ],
    )
    def test_distorts_as_released(self, theta, mean, quantiles):
        """With its one step instead: a lower mean, yet determinants beyond the exact bound exp(3 theta)."""
        linear = box(theta).elements(uniform(50_000)).linear.detach()
        determinant = torch.linalg.det(linear)
        assert determinant.mean().item() == pytest.approx(mean, rel=0.01)
        assert spread(linear) == pytest.approx(quantiles, rel=0.015)
        if theta > 0.9:
            assert determinant.max().item() > math.exp(3 * theta)

    def test_widths_carry_the_gradient_of_samples(self):
        law, noise = PaperBox().double(), uniform(16)
        weights = torch.randn(3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

        def value():
            g = law.elements(noise)
            return (g.linear * weights).sum() + g.shift.square().sum()

        (gradient,) = torch.autograd.grad(value(), law.raw)
        assert gradient.tolist() == pytest.approx(differences(law, value), rel=1e-6, abs=1e-7)

    @pytest.mark.slow
    def test_one_graph_without_a_look_at_the_values(self):
        """In a process of its own, since shapes that are checked while testing break the graph."""
        result = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr

    def test_noise_decides(self):
        law = PaperBox()
        g, h = (
            law.sample((2, 3), torch.Generator().manual_seed(0)),
            law.sample((2, 3), torch.Generator().manual_seed(0)),
        )
        assert g.batch_shape == (2, 3)
        assert torch.equal(g.linear, h.linear)
        assert law.elements(uniform(4)).linear.dtype == torch.float64

    def test_state_is_the_raw_widths(self):
        assert list(PaperBox().state_dict()) == ["raw"]


class TestDescription:
    def test_adds_up_and_matches_coordinates(self):
        law = box([0.2 + 0.3 * k for k in range(12)])
        lines = law.describe()
        assert tuple(axis for line in lines for axis in line.axes) == law.group.axes
        assert len({(line.quantity, line.axes) for line in lines}) == 12
        assert sum(line.nats for line in lines) == pytest.approx(law.divergence().item())
        z = law.coordinates(uniform(20_000)).detach()
        unit = {"degree": 180 / math.pi, "angstrom": 0.5, "log-scale": 1.0}
        for k, line in enumerate(lines):
            assert line.mean == pytest.approx(unit[line.unit] * z[:, k].mean().item(), rel=0.02)
            assert line.width == pytest.approx(unit[line.unit] * z[:, k].max().item(), rel=0.01)
        assert [line.unit for line in lines] == ["degree"] * 3 + ["log-scale"] * 6 + ["angstrom"] * 3

    def test_nats_to_the_widest_rewarded_box(self):
        assert box(10 / math.e).divergence().item() == pytest.approx(12)
        assert box(20.0).divergence().item() == 0


class TestPenalty:
    def test_rewards_squares(self):
        assert penalty(PaperBox().double()).item() == pytest.approx(-0.001 * 12 * 0.9992**2, rel=1e-4)
        assert penalty(box([float(k) for k in range(12)])).item() == pytest.approx(-0.001 * 285)  # without 10 and 11

    def test_gradient_stops_at_ten(self):
        law = box([9.9, 10.1] * 6)
        (gradient,) = torch.autograd.grad(penalty(law), law.raw)
        assert gradient.tolist() == pytest.approx(differences(law, lambda: penalty(law)), rel=1e-6, abs=1e-10)
        assert (gradient[::2] < 0).all()  # a descent step widens
        assert not gradient[1::2].any()


def test_published_settings():
    settings = paper.RAW_START, paper.STRENGTH, paper.LR, paper.BATCH, paper.EVAL_COPIES, paper.DROP_LAST
    assert settings == (0.54, 1e-3, 3e-3, 75, 1, True)


def spread(linear):
    """Singular values that 5, 50 and 95 % lie below."""
    return tuple(np.quantile(torch.linalg.svdvals(linear).numpy(), [0.05, 0.5, 0.95]))


def differences(law, value, step=1e-6):
    """Central finite differences in raw."""
    slopes = []
    for k in range(12):
        law.raw.data[k] += step
        up = value().item()
        law.raw.data[k] -= 2 * step
        down = value().item()
        law.raw.data[k] += step
        slopes.append((up - down) / (2 * step))
    return slopes
