"""Padded and ragged molecules are the same molecules."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch_geometric.data import Batch, Data

from molaugerino.errors import UserError
from molaugerino.spaces import Molecules, as_padded, as_points
from tests.cases import padded, ragged


def same(a: Molecules, b: Molecules) -> bool:
    return all(torch.equal(f, g) for f, g in zip(a, b, strict=True))


def emptied(x: Molecules) -> Molecules:
    return x._replace(pos=x.pos * x.mask.unsqueeze(-1))


def test_there_and_back():
    x = emptied(padded())
    assert same(as_padded(ragged()), x)
    z, pos, batch = as_points(x)
    assert same(as_padded(SimpleNamespace(z=z, pos=pos, batch=batch)), x)
    assert as_padded(x) is x


def test_batches_of_torch_geometric():
    x = emptied(padded())
    graphs = [Data(z=z[m], pos=pos[m]) for z, pos, m in zip(*x, strict=True)]
    assert same(as_padded(Batch.from_data_list(graphs)), x)
    assert same(as_padded(graphs[0]), Molecules(*(field[:1] for field in x)))


def test_atoms_in_any_order_keep_theirs_within_each_molecule():
    """Atoms of different molecules interleaved, as after a shuffle that is stable within each."""
    x = ragged()
    order = torch.argsort(torch.tensor([0, 3, 6, 7, 8, 1, 2, 4, 5]))
    mixed = SimpleNamespace(z=x.z[order], pos=x.pos[order], batch=x.batch[order])
    assert not torch.equal(mixed.batch, x.batch)
    found = as_padded(mixed)
    for k in range(3):
        assert torch.equal(found.z[k][found.mask[k]], mixed.z[mixed.batch == k])
        assert torch.equal(found.pos[k][found.mask[k]], mixed.pos[mixed.batch == k])


def test_gradients_pass():
    x = ragged()
    x.pos.requires_grad_()
    as_padded(x).pos.square().sum().backward()
    assert torch.equal(x.pos.grad, 2 * x.pos)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3), "must be Molecules, or a graph or batch of graphs, with tensors z, pos, got Tensor"),
        (SimpleNamespace(z=torch.ones(2).long(), pos=torch.zeros(3, 3)), "must have shapes"),
        (SimpleNamespace(z=torch.ones(3).long(), pos=torch.zeros(3, 2)), "must have shapes"),
    ],
)
def test_anything_else_is_refused(x, message):
    with pytest.raises(UserError, match=message):
        as_padded(x)
