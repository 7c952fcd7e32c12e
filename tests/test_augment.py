"""The one formula, on every case of the table."""

from __future__ import annotations

import math

import pytest
import torch

from molaugerino import Augmented
from molaugerino.distributions import HaarBall, rigid_motions
from molaugerino.errors import UserError
from molaugerino.groups import SE3, SO3, Affine
from tests.cases import CASES
from tests.oracles import cube_rotations

CUBE = cube_rotations()


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def wrapped(case, law=None, **options):
    torch.manual_seed(0)
    law = HaarBall(SO3, width=2.0).double() if law is None else law
    return Augmented(case.net(), law, case.input, case.output, **options)


def index_of(case, x):
    return case.input.index(x) if case.output.per_point else None


def test_averaging_over_a_finite_group_makes_it_equivariant(case):
    h, x = wrapped(case), case.batch()
    index = case.input.index(x)
    y = h(x, CUBE)
    single = h(x, h.identity())
    for k in (1, 7, 13, 23):
        g = CUBE[k].expand(3)
        turned = case.input.act(g, x, index)
        expected = case.output.act(g, y, index_of(case, x))
        assert (h(turned, CUBE) - expected).abs().max() < 1e-12
        plain = case.output.act(g, single, index_of(case, x))
        assert (h(turned, h.identity()) - plain).abs().max() > 1e-2  # the network alone is not equivariant


def test_by_hand(case):
    """mean_j rho_out(g_j)^-1 f(rho_in(g_j) x), one copy and one inverse at a time."""
    h, x = wrapped(case), case.batch()
    index = case.input.index(x)
    elements = SE3.exp(torch.randn(4, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(3)))
    copies = []
    for j in range(4):
        y = h.model(case.input.act(elements[j], x, index))
        copies.append(case.output.act(elements[j].inverse(), y, index_of(case, x)))
    assert (h(x, elements) - torch.stack(copies).mean(0)).abs().max() < 1e-12


def test_training_draws_per_example_and_evaluation_shares(case):
    h, x = wrapped(case, copies=2, eval_copies=5), case.batch()
    assert h.draw(3).batch_shape == (2, 3)
    assert not torch.equal(h(x), h(x))
    h.eval()
    assert h.draw(3).batch_shape == (5,)
    assert torch.equal(h(x), h(x))


def test_mode_changes_neither_kind_nor_unit(case):
    h, x = wrapped(case), case.batch()
    training = h(x)
    evaluation = h.eval()(x)
    assert training.shape == evaluation.shape
    assert (h(x, CUBE) - h.train()(x, CUBE)).abs().max() == 0


def test_gradients_reach_weights_and_law(case):
    h, x = wrapped(case), case.batch()
    h(x).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in h.parameters())


def test_gradient_of_the_law_by_finite_differences(case):
    h, x = wrapped(case), case.batch()
    noise = h.distribution.noise((6, 3), torch.Generator().manual_seed(0))
    parameter = h.distribution._width

    def loss():
        return h(x, h.distribution.elements(noise)).square().sum()

    (gradient,) = torch.autograd.grad(loss(), parameter)
    with torch.no_grad():
        parameter += 1e-6
        up = loss()
        parameter -= 2e-6
        down = loss()
    assert gradient.item() == pytest.approx((up - down).item() / 2e-6, rel=1e-5)


def test_copies_are_averaged_not_summed(case):
    h, x = wrapped(case), case.batch()
    one = CUBE[5:6]
    assert (h(x, one) - h(x, one.expand(7))).abs().max() < 1e-12


def test_evaluation_elements_follow_the_law():
    h = wrapped(CASES["energy, padded"], law=rigid_motions(math.pi, 1.0).double())
    g = h.evaluation_elements(4096)
    assert g.linear.mean(0).norm().item() < 0.05
    assert g.shift.norm(dim=-1).mean().item() == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize("shape", [(2, 2, 2), (4, 5), ()])
def test_elements_of_a_wrong_shape_are_named(shape):
    h, x = wrapped(CASES["energy, padded"]), CASES["energy, padded"].batch()
    with pytest.raises(UserError, match=r"`elements` must have batch shape \(copies,\) or \(copies, 3\)"):
        h(x, Affine.identity(3, shape, like=x.pos))


def test_no_copies_are_refused():
    with pytest.raises(UserError, match="`copies` must be at least 1, got 0"):
        wrapped(CASES["energy, padded"], copies=0)


def changed(case, **fields):
    x = case.batch()
    return x._replace(**fields) if hasattr(x, "_replace") else type(x)(**vars(x) | fields)


@pytest.mark.usefixtures("untyped")
class TestBadBatches:
    @pytest.mark.parametrize("name", ["energy, padded", "energy, ragged"])
    def test_coordinates(self, name):
        case = CASES[name]
        h, pos = wrapped(case), case.batch().pos
        broken = pos.clone()
        broken[1, ..., 0] = math.nan
        for wrong, message in (
            (broken, "`pos` must be finite, and in 1 rows, first 1, it is not; remove"),
            (pos / 0, r"`pos` must be finite, and in \d rows, first 0"),
            (pos[..., :2], rf"must have shape.*, 3\).* got .*{pos.shape[0]}.*, 2\)"),
            (pos.to("meta"), "`pos` is on meta, the law on cpu; move one of them"),
        ):
            with pytest.raises(UserError, match=message):
                h(changed(case, pos=wrong))

    @pytest.mark.parametrize("name", ["energy, padded", "energy, ragged"])
    def test_something_else(self, name):
        with pytest.raises(UserError, match=r"`x` must be .*pos.*, got Tensor"):
            wrapped(CASES[name])(torch.zeros(3, 4, 3))

    def test_molecules_without_atoms(self):
        padded, ragged = CASES["energy, padded"], CASES["energy, ragged"]
        mask = padded.batch().mask.clone()
        mask[2] = False
        with pytest.raises(UserError, match="every example needs at least one atom, and example 2 has none; remove it"):
            wrapped(padded)(changed(padded, mask=mask))
        with pytest.raises(UserError, match="example 0 has none"):
            wrapped(padded)(type(padded.batch())(*(field[:, :0] for field in padded.batch())))
        with pytest.raises(UserError, match="example 0 has none"):
            wrapped(ragged)(changed(ragged, batch=ragged.batch().batch + 1))
        with pytest.raises(UserError, match="example 0 has none"):
            wrapped(ragged)(changed(ragged, pos=torch.zeros(0, 3), batch=torch.zeros(0, dtype=torch.long)))
        with pytest.raises(UserError, match=r"`batch` must have shape \(9,\) like the points, got \(8,\)"):
            wrapped(ragged)(changed(ragged, batch=ragged.batch().batch[:8]))

    def test_values_are_not_asked_for_inside_the_compiler(self, monkeypatch):
        case = CASES["energy, padded"]
        broken = changed(case, pos=torch.full_like(case.batch().pos, math.nan))
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        assert wrapped(case)(broken).isnan().all()
