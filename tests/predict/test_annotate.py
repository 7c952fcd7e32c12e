"""Predictions on graphs of torch_geometric."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule
from torch_geometric.data import Batch, Data

from molaugerino.errors import UserError
from molaugerino.predict import Predictor

GOLDEN = Path(__file__).parent.parent / "golden" / "0.2"


@pytest.fixture(scope="module")
def predictor():
    return Predictor.from_pretrained(GOLDEN / "law")


def graph(formula, **fields):
    atoms = molecule(formula)
    edges = torch.tensor([[0, 1], [1, 0]])
    return Data(z=torch.tensor(atoms.numbers), pos=torch.tensor(atoms.positions).float(), edge_index=edges, **fields)


@pytest.fixture
def graphs():
    """Water, a molecule with an unknown element, methanol."""
    return [graph(name, y=torch.tensor([[k]]), name=name) for k, name in enumerate(("H2O", "CH3Cl", "CH3OH"))]


def test_a_batch_keeps_everything_and_has_the_values(predictor, graphs):
    batch = Batch.from_data_list(graphs, follow_batch=["y"])
    batch.note = "mine"
    found = predictor.annotate(batch)
    rows = predictor.predict([molecule(name) for name in ("H2O", "CH3Cl", "CH3OH")], geometry="given")
    assert isinstance(found, Batch)
    assert found.y_hat.shape == (3, 4)
    assert found.y_hat.dtype == batch.pos.dtype
    np.testing.assert_allclose(found.y_hat, [row.values for row in rows], atol=1e-6)
    assert found.status == ["ok", "unsupported_element", "ok"]
    assert found.reason == [row.reason for row in rows]
    assert found.domain == [row.domain for row in rows]
    assert found.y_hat[1].isnan().all()
    assert found.y_hat[[0, 2]].isfinite().all()
    for name in batch.keys():  # noqa: SIM118
        kept = found[name]
        assert torch.equal(kept, batch[name]) if torch.is_tensor(kept) else kept == batch[name], name
    assert "y_hat" not in batch
    singles = found.to_data_list()
    assert [single.name for single in singles] == ["H2O", "CH3Cl", "CH3OH"]
    assert [single.status for single in singles] == found.status
    assert torch.equal(singles[2].y_hat, found.y_hat[2:])


def test_one_graph_and_several(predictor, graphs):
    one = predictor.annotate(graphs[0])
    assert isinstance(one, Data)
    assert not isinstance(one, Batch)
    assert one.y_hat.shape == (1, 4)
    assert one.pos is graphs[0].pos
    assert "y_hat" not in graphs[0]
    several = predictor.annotate(iter(graphs), targets=["dipole"])
    assert [single.y_hat.shape for single in several] == [(1, 3)] * 3
    assert torch.allclose(several[0].y_hat, one.y_hat[:, 1:], atol=1e-6)
    assert predictor.annotate([]) == []


def test_intervals_of_a_model_of_given_geometries(graphs):
    predictor = Predictor.from_pretrained("qm9-dft")
    found = predictor.annotate(graphs[2], targets=["mu", "gap"], level=0.5)
    [row] = predictor.predict(molecule("CH3OH"), level=0.5)
    channels = [column.channel for column in predictor.chosen(["mu", "gap"])]
    for name, part in (("y_lo", row.lo), ("y_hi", row.hi)):
        np.testing.assert_allclose(found[name][0], [part[channel] for channel in channels], rtol=1e-4)
    assert (found.y_lo < found.y_hat).all()
    assert (found.y_hat < found.y_hi).all()


def test_the_geometry_is_the_given_one(predictor, graphs):
    """The model takes MMFF94 geometries by itself."""
    stretched = graphs[0].clone()
    stretched.pos = 1.1 * stretched.pos
    near, far = predictor.annotate([graphs[0], stretched], geometry="mmff")
    assert (near.y_hat - far.y_hat).abs().max() > 1e-4


def test_precision_is_that_of_the_positions(predictor, graphs):
    double = graphs[0].clone()
    double.pos = double.pos.double()
    assert predictor.annotate(double).y_hat.dtype == torch.float64


@pytest.mark.parametrize(
    ("graphs", "message"),
    [
        ("CCO", "graph 0 must be a Data of torch_geometric with z and pos, got str"),
        ([Data(z=torch.ones(2))], "graph 0 must be a Data"),
        (3, "got int"),
        (Batch(z=torch.ones(2), pos=torch.ones(2, 3), batch=torch.zeros(2)), "Batch.from_data_list"),
    ],
)
def test_what_it_does_not_take(predictor, graphs, message):
    with pytest.raises(UserError, match=message):
        predictor.annotate(graphs)
