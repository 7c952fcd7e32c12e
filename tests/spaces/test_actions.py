"""Left-action law on every pair of a finite group, and points that move where the maps say."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from molaugerino.errors import UserError
from molaugerino.groups import SE3, SO3, Affine
from molaugerino.spaces import DirectSum, Invariant, Molecules, Padded, Points, Tensor2, Vector
from tests.cases import padded, ragged
from tests.oracles import cube_rotations, table_of

CUBE = cube_rotations()


def reflected(g):
    return Affine(torch.cat([g.linear, -g.linear]), torch.cat([g.shift, g.shift]))


def values(action, x):
    """The tensor that an action changes."""
    return x if isinstance(x, torch.Tensor) else x.pos


ACTIONS = {
    "padded": (Padded(), padded, None),
    "ragged": (Points(), ragged, "batch"),
    "invariant": (Invariant(), lambda: torch.randn(3, 2, dtype=torch.float64), None),
    "vector": (Vector(), lambda: torch.randn(3, 3, dtype=torch.float64), None),
    "several vectors": (Vector(), lambda: torch.randn(3, 4, 3, dtype=torch.float64), None),
    "axial": (Vector(axial=True), lambda: torch.randn(3, 3, dtype=torch.float64), None),
    "sum": (DirectSum([(Vector(), 3), (Invariant(), 2)]), lambda: torch.randn(3, 5, dtype=torch.float64), None),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_left_action_on_all_pairs(name):
    """rho(g h) = rho(g) rho(h) for the 24 rotations of the cube and their products with the inversion."""
    action, make, where = ACTIONS[name]
    x = make()
    index = getattr(x, where) if where else None
    group = reflected(CUBE)
    for i, j in table_of(group):
        g, h = group[i].expand(3), group[j].expand(3)
        once = action.act(g @ h, x, index)
        twice = action.act(g, action.act(h, x, index), index)
        assert (values(action, once) - values(action, twice)).abs().max() < 1e-12


@pytest.mark.parametrize("name", ACTIONS)
def test_the_identity_does_nothing(name):
    action, make, where = ACTIONS[name]
    x = make()
    out = action.act(Affine.identity(3, (3,), like=values(action, x)), x, getattr(x, where) if where else None)
    assert torch.equal(values(action, out), values(action, x))


def quarter_and_up():
    """A quarter turn about z, then one angstrom up."""
    turn = SO3.exp(torch.tensor([[0.0, 0.0, math.pi / 2]], dtype=torch.float64))
    return Affine(turn.linear, torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64))


def test_an_atom_moves_where_the_point_moves():
    pos = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]], dtype=torch.float64)
    expected = torch.tensor([[[0.0, 1.0, 1.0], [-2.0, 0.0, 1.0]]], dtype=torch.float64)
    z = torch.ones(1, 2, dtype=torch.long)
    moved = Padded().act(quarter_and_up(), Molecules(z, pos, z > 0))
    assert torch.allclose(moved.pos, expected)
    cloud = SimpleNamespace(pos=pos[0], z=z[0], batch=torch.zeros(2, dtype=torch.long))
    assert torch.allclose(Points().act(quarter_and_up(), cloud, cloud.batch).pos, expected[0])


def test_a_vector_turns_with_the_atoms_and_is_not_shifted():
    v = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    assert torch.allclose(Vector().act(quarter_and_up(), v), torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64))


def test_the_inversion_separates_polar_from_axial():
    inversion = Affine(-torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)).expand(1)
    v = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    assert torch.equal(Vector().act(inversion, v), -v)
    assert torch.equal(Vector(axial=True).act(inversion, v), v)


class TestTensor2:
    @pytest.mark.parametrize("axial", [False, True])
    @pytest.mark.parametrize("shape", [(3, 3), (9,), (4, 3, 3), (4, 18)])
    def test_left_action_on_all_pairs(self, shape, axial):
        """As above, for all 48^2 pairs in one batch."""
        action, group = Tensor2(axial=axial), reflected(CUBE)
        first, second = torch.tensor(table_of(group)).unbind(-1)
        g, h = group[first], group[second]
        x = torch.randn(len(first), *shape, dtype=torch.float64)
        assert (action.act(g @ h, x) - action.act(g, action.act(h, x))).abs().max() < 1e-12
        assert torch.equal(action.act(Affine.identity(3, (len(x),), like=x), x), x)

    def test_a_product_of_vectors_turns_with_them(self):
        """T = v w^T, and an axial factor carries its sign over; for any map, not only rotations."""
        g = SE3.exp(torch.randn(4, 6, dtype=torch.float64))
        g = Affine(g.linear @ torch.diag(torch.tensor([1.2, 0.7, -1.1])).double(), g.shift)
        v, w = torch.randn(2, 4, 3, dtype=torch.float64)
        for axial in (False, True):
            expected = Vector(axial=axial).act(g, v).unsqueeze(-1) * Vector().act(g, w).unsqueeze(-2)
            found = Tensor2(axial=axial).act(g, v.unsqueeze(-1) * w.unsqueeze(-2))
            assert torch.allclose(found, expected, rtol=0, atol=1e-12)

    def test_the_inversion_changes_pseudotensors_only(self):
        inversion = Affine(-torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)).expand(1)
        tensor = torch.arange(9, dtype=torch.float64).reshape(1, 3, 3)
        assert torch.equal(Tensor2().act(inversion, tensor), tensor)
        assert torch.equal(Tensor2(axial=True).act(inversion, tensor), -tensor)

    def test_both_layouts_are_the_same_tensors(self):
        g, tensors = CUBE[torch.tensor([3, 8])], torch.randn(2, 5, 3, 3, dtype=torch.float64)
        square = Tensor2().act(g, tensors)
        assert torch.equal(Tensor2().act(g, tensors.flatten(-2)), square.flatten(-2))
        assert torch.equal(Tensor2().act(g, tensors.flatten(1)), square.flatten(1))
        both = DirectSum([(Invariant(), 2), (Tensor2(), 9)])
        flat = torch.cat([torch.ones(2, 2, dtype=torch.float64), tensors[:, 0].flatten(1)], -1)
        assert torch.equal(both.act(g, flat)[:, 2:], square[:, 0].flatten(1))

    def test_rows_that_are_atoms(self):
        g, index = SE3.exp(torch.randn(3, 6, dtype=torch.float64)), torch.tensor([0, 2, 2, 1])
        tensors = torch.randn(4, 3, 3, dtype=torch.float64)
        found = Tensor2(per_point=True).act(g, tensors, index)
        for row, example in enumerate(index.tolist()):
            r = g.linear[example]
            assert torch.allclose(found[row], r @ tensors[row] @ r.T)

    @pytest.mark.usefixtures("untyped")
    @pytest.mark.parametrize("shape", [(1, 6), (3, 3), (1, 3, 2), (9,)])
    def test_another_number_of_components_is_refused(self, shape):
        with pytest.raises(UserError, match=r"shape \(rows, ..., 3, 3\) or \(rows, ..., 9\) for tensors of R\^3, got"):
            Tensor2().act(CUBE[:1], torch.zeros(shape, dtype=torch.float64))


def test_inputs_are_left_alone():
    x, y = padded(), ragged()
    before = x.pos.clone(), y.pos.clone()
    Padded().act(CUBE[5].expand(3), x)
    Points().act(CUBE[5].expand(3), y, y.batch)
    assert torch.equal(x.pos, before[0])
    assert torch.equal(y.pos, before[1])


def test_ragged_and_padded_agree():
    x, y = padded(), ragged()
    g = SE3.exp(torch.randn(3, 6, dtype=torch.float64))
    assert torch.allclose(Padded().act(g, x).pos[x.mask], Points().act(g, y, y.batch).pos)


class TestTiling:
    def test_padded_is_copy_major(self):
        x = padded()
        tiled = Padded().tile(x, 2)
        assert torch.equal(tiled.pos, torch.cat([x.pos, x.pos]))
        assert Padded().count(tiled) == 6

    def test_points_equal_a_batch_of_copies(self):
        data = pytest.importorskip("torch_geometric.data")
        graphs = [
            data.Data(
                z=torch.arange(n),
                pos=torch.randn(n, 3),
                edge_index=torch.randint(0, n, (2, 2 * n)),
                y=torch.randn(1, 2),
            )
            for n in (1, 4, 3)
        ]
        tiled = Points().tile(data.Batch.from_data_list(graphs), 3)
        expected = data.Batch.from_data_list(graphs * 3)
        assert tiled.num_graphs == expected.num_graphs == 9
        for key in ("z", "pos", "edge_index", "y", "batch", "ptr"):
            assert torch.equal(tiled[key], expected[key]), key

    def test_one_graph_without_a_batch_index(self):
        cloud = SimpleNamespace(pos=torch.randn(4, 3), z=torch.arange(4))
        tiled = Points().tile(cloud, 3)
        assert Points().count(cloud) == 1
        assert torch.equal(tiled.batch, torch.arange(3).repeat_interleave(4))
        assert torch.equal(tiled.z, torch.arange(4).repeat(3))


def test_wrong_components_are_named(untyped):
    g = CUBE[0].expand(1)
    with pytest.raises(UserError, match="need 3 components each"):
        Vector().act(g, torch.zeros(1, 2, dtype=torch.float64))
    with pytest.raises(UserError, match=r"must have shape \(rows, 4\), got \(1, 5\)"):
        DirectSum([(Invariant(), 1), (Vector(), 3)]).act(g, torch.zeros(1, 5, dtype=torch.float64))
