"""The one formula, on every case of the table."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from molaugerino import Augmented
from molaugerino.distributions import HaarBall, rigid_motions
from molaugerino.errors import UserError
from molaugerino.groups import SE3, SO3, Affine
from molaugerino.quadrature import circle, cube, lebedev, to_tolerance
from molaugerino.quadrature import random as draws
from molaugerino.reductions import median
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


class Large(nn.Module):
    """The answers of a network, far from zero."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        with torch.autocast("cpu", enabled=False):
            return self.model(x) - 10_000


class TestSets:
    """Averages in evaluation: over sets, in parts, and to a tolerance."""

    def test_a_finite_subgroup_is_the_average_of_evaluation(self, case):
        h, x = wrapped(case, eval_copies=cube()).eval(), case.batch()
        assert (h(x) - h(x, CUBE)).abs().max() < 1e-12
        index = case.input.index(x)
        g = CUBE[5].expand(3)
        expected = case.output.act(g, h(x), index_of(case, x))
        assert (h(case.input.act(g, x, index)) - expected).abs().max() < 1e-12

    def test_weights_count(self, case):
        rule = lebedev(3)
        rule = replace(rule, weights=rule.weights * torch.linspace(0.5, 1.5, len(rule)), coarser=None, nested=None)
        rule = replace(rule, weights=rule.weights / rule.weights.sum())
        h, x = wrapped(case, eval_copies=rule).eval(), case.batch()
        each = h.each(x, rule.elements)
        expected = sum(w * y for w, y in zip(rule.weights, each, strict=True))
        for at_once in (None, 1, 7):
            h.at_once = at_once
            assert (h(x) - expected).abs().max() < 1e-12

    @pytest.mark.parametrize("at_once", [1, 4, 7, 1000])
    def test_parts_make_the_whole(self, case, at_once):
        """Copies in groups: no more examples than asked for reach the network, and the average is the same."""
        seen = []
        whole, x = wrapped(case, eval_copies=6).eval(), case.batch()
        h = wrapped(case, eval_copies=6, at_once=at_once).eval()
        h.model.register_forward_pre_hook(lambda _, inputs: seen.append(case.input.count(inputs[0])))
        assert (h(x) - whole(x)).abs().max() < 1e-12
        assert max(seen) <= max(at_once, case.input.count(x))
        assert sum(seen) == 6 * case.input.count(x)
        median_of_all = wrapped(case, eval_copies=6, reduce=median).eval()
        in_parts = wrapped(case, eval_copies=6, reduce=median, at_once=at_once).eval()
        assert (median_of_all(x) - in_parts(x)).abs().max() < 1e-12

    def test_another_reduction_takes_the_copies_of_a_set(self, case):
        h, x = wrapped(case, eval_copies=cube(), reduce=median).eval(), case.batch()
        for at_once in (None, 7):
            h.at_once = at_once
            assert torch.equal(h(x), median(h.each(x)))
            assert (h(x) - h.each(x).mean(0)).abs().max() > 1e-4

    @pytest.mark.parametrize("options", [{"eval_copies": cube()}, {"eval_copies": 24, "at_once": 4}])
    def test_averages_keep_their_precision_under_autocast(self, case, options):
        """Only the network's own products may be coarse; an average of large numbers would show it."""
        h, x = wrapped(case, **options).eval(), case.batch()
        h.model = Large(h.model)
        exact = h(x)
        with torch.autocast("cpu", torch.bfloat16):
            found = h(x)
        assert found.dtype == exact.dtype
        assert (found - exact).abs().max() < 1  # bfloat16 holds every 64th number there

    def test_a_set_keeps_no_graph_of_the_law(self, case):
        law = HaarBall(SO3, width=2.0).double()
        h, x = wrapped(case, law, eval_copies=draws(law, 8)).eval(), case.batch()
        for _ in range(2):
            h(x).square().sum().backward()
        assert torch.equal(copy.deepcopy(h)(x), h(x))

    def test_the_error_of_draws_is_the_standard_error(self, case):
        h, x = wrapped(case, eval_copies=64).eval(), case.batch()
        each = h.each(x, h.evaluation_elements(64))
        found = h.estimate(x)
        assert (found.value - h(x)).abs().max() < 1e-12
        assert (found.error - each.std(0) / 8).abs().max() < 1e-12
        assert found.copies.tolist() == [64] * len(found.value)

    def test_the_error_of_a_rule_is_its_own(self, case):
        rule = lebedev(5)
        h, x = wrapped(case, eval_copies=rule).eval(), case.batch()
        found = h.estimate(x)
        assert (found.error - rule.error(h.each(x, rule.elements))).abs().max() < 1e-12
        assert float(found.error.detach().abs().max()) > 0

    def test_auto_takes_what_the_tolerance_asks_for(self, case):
        """Every entry is told to be as near as asked, and mostly is; a smaller tolerance takes more."""
        x = case.batch()
        exact = wrapped(case, eval_copies=2**14, at_once=4096).eval()(x)
        spread = float(wrapped(case, eval_copies=256).eval().estimate(x).error.detach().max()) * 16
        taken = []
        for tolerance in (spread / 8, spread / 20):
            h = wrapped(case, eval_copies="auto", tolerance=tolerance).eval()
            found = h.estimate(x)
            assert float(found.error.detach().max()) <= tolerance
            assert torch.equal(h(x), found.value)
            assert float((found.value - exact).detach().abs().max()) < 5 * tolerance
            taken.append(int(found.copies.sum()))
        assert taken[0] < taken[1]

    def test_auto_does_not_depend_on_company(self):
        case = CASES["energy, padded"]
        h, x = wrapped(case, eval_copies="auto", tolerance=0.02).eval(), case.batch()
        together = h.estimate(x)
        assert len(together.copies.unique()) > 1, "rows that stop at different places"
        for k in range(3):
            alone = h.estimate(type(x)(*(field[k : k + 1] for field in x)))
            assert torch.equal(alone.copies, together.copies[k : k + 1])
            assert (alone.value - together.value[k]).abs().max() < 1e-12

    def test_gradients_flow_through_parts(self, case):
        x = case.batch()
        gradients = []
        for at_once in (None, 4):
            h = wrapped(case, eval_copies=6, at_once=at_once).eval()
            h(x).square().sum().backward()
            gradients.append([p.grad.clone() for p in h.parameters() if p.grad is not None])
        assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(*gradients, strict=True))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"eval_copies": "auto"}, "`tolerance` goes with eval_copies=.auto. and must be above 0, got None"),
            ({"eval_copies": "auto", "tolerance": -1.0}, "must be above 0, got -1"),
            ({"tolerance": 0.1}, "`tolerance` goes with"),
            ({"eval_copies": "auto", "tolerance": 0.1, "reduce": median}, "takes the mean of the copies"),
            ({"eval_copies": circle(4)}, r"acts on R\^2, the law on R\^3"),
            ({"eval_copies": lebedev(5), "reduce": median}, "unequal weights, which only the mean takes"),
            ({"at_once": 0}, "`at_once` must be at least 1, got 0"),
        ],
    )
    def test_mistakes(self, case, options, message):
        with pytest.raises(UserError, match=message):
            wrapped(case, **options)
        with pytest.raises(UserError, match="a single element does not tell"):
            wrapped(case, eval_copies=1).eval().estimate(case.batch())
        with pytest.raises(UserError, match="`reduce` is another reduction"):
            wrapped(case, reduce=median).eval().estimate(case.batch())


def test_each_row_has_a_number_of_its_own():
    """Rows of small and of large spread: the first stops early, at the value that it has alone."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(64, 16, 3, 2, generator=generator) * torch.tensor([0.01, 1.0, 3.0])[:, None]
    both = to_tolerance(lambda k: noise[k], 0.1)
    assert both.copies[0] == 16
    assert both.copies[0] < both.copies[1] < both.copies[2]
    for row in range(3):
        alone = to_tolerance(lambda k, row=row: noise[k][:, row : row + 1], 0.1)
        assert torch.equal(alone.copies, both.copies[row : row + 1])
        torch.testing.assert_close(alone.value, both.value[row : row + 1])
        n = int(alone.copies)
        taken = noise.reshape(-1, 3, 2)[:n, row]
        torch.testing.assert_close(alone.value[0], taken.mean(0), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(alone.error[0], taken.std(0) / n**0.5, atol=1e-5, rtol=1e-3)
    assert to_tolerance(lambda k: noise[k], 1e-9).copies.tolist() == [1024] * 3


@pytest.mark.parametrize("name", ["energy, padded", "dipole, padded"])
def test_a_set_is_taken_to_where_the_law_is(name):
    case = CASES[name]
    h = wrapped(case, eval_copies=cube()).eval().float()
    x = case.batch()
    x = x._replace(pos=x.pos.float())
    assert h.eval_copies.elements.linear.dtype == torch.float64
    assert h.estimate(x).value.dtype == h(x).dtype == torch.float32


@pytest.mark.parametrize("name", ["energy, padded", "dipole, padded", "tensor, padded"])
@pytest.mark.parametrize("at_once", [None, 4])
def test_no_examples_have_no_predictions(name, at_once):
    case = CASES[name]
    h, x = wrapped(case, eval_copies=6, at_once=at_once).eval(), case.batch()
    nothing = x._replace(z=x.z[:0], pos=x.pos[:0], mask=x.mask[:0])
    assert h(nothing).shape == (0, *h(x).shape[1:])


def test_predictions_in_double_precision_stay_so():
    """Also where the law is in single precision."""
    for name in ("energy, padded", "dipole, padded", "tensor, padded"):
        case = CASES[name]
        h, x = wrapped(case, HaarBall(SO3, width=2.0), eval_copies=2).eval(), case.batch()
        assert h(x).dtype == torch.float64
