"""Predictions on graphs of torch_geometric."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from torch_geometric.data import Batch, Data

from molaugerino.errors import UserError
from molaugerino.predict.table import Table

VALUES = {"y_hat": "values", "y_lo": "lo", "y_hi": "hi"}  # name on the graph: field of the row
TEXTS = ("status", "reason", "domain")


def data_of(graphs: Any) -> list[Data]:
    """The single graphs of one, of a batch, or of several.

    Raises:
        UserError: for anything else, and for a batch that does not know where its graphs end.
    """
    if isinstance(graphs, Batch):
        try:
            return graphs.to_data_list()
        except RuntimeError:
            raise UserError(
                "the batch cannot be taken apart; make it with torch_geometric's Batch.from_data_list"
            ) from None
    singles = [graphs] if isinstance(graphs, Data) or not isinstance(graphs, Iterable) else list(graphs)
    for k, graph in enumerate(singles):
        if not isinstance(graph, Data) or graph.get("z") is None or graph.get("pos") is None:
            raise UserError(f"graph {k} must be a Data of torch_geometric with z and pos, got {type(graph).__name__}")
    return singles


def annotated(graphs: Any, singles: list[Data], table: Table) -> Any:
    """What was given, in kind, with the rows of the table on shallow copies of its single graphs."""
    channels = [target.channel for target in table.layout.targets]
    found = [copy.copy(graph) for graph in singles]
    for graph, row in zip(found, table, strict=True):
        for name, part in VALUES.items():
            graph[name] = graph.pos.new_tensor([[getattr(row, part)[channel] for channel in channels]])
        for name in TEXTS:
            graph[name] = getattr(row, name)
    if isinstance(graphs, Data) and not isinstance(graphs, Batch):
        return found[0]
    if not isinstance(graphs, Batch):
        return found
    batch = Batch.from_data_list(found)
    for name in graphs.keys():  # noqa: SIM118 - a batch iterates over its items; what was put on the batch itself stays
        if name not in batch:
            batch[name] = graphs[name]
    return batch
