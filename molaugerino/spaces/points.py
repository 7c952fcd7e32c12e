"""Point clouds of different sizes in one batch, the layout of torch_geometric."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from molaugerino.errors import UserError
from molaugerino.groups import Affine
from molaugerino.spaces.base import check_points, tensors_of


class Points:
    """rho(g) moves the points of each graph, pos -> A pos + b; everything else stays.

    Works on `torch_geometric.data.Data` and `Batch`, or on any object with `pos` (points, 3)
    and `batch` (points,) (absent or None: one graph); torch_geometric itself is not
    imported. Neighbour lists belong inside the model, after the transformation: an
    `edge_index` that is already there is kept, and is then that of the untransformed points.
    """

    per_point = True

    def act(self, g: Affine, value: Any, index: Tensor | None = None) -> Any:
        moved = copy.copy(value)
        own = g.to(value.pos.dtype)[self.index(value) if index is None else index]
        moved.pos = own(value.pos.unsqueeze(-2)).squeeze(-2)
        return moved

    def check(self, x: Any, dim: int, device: torch.device) -> None:
        [pos] = tensors_of(x, ("pos",), "a graph or a batch of graphs")
        if pos.dim() != 2 or pos.shape[-1] != dim:
            raise UserError(f"`pos` must have shape (points, {dim}), got {tuple(pos.shape)}")
        index = self.index(x)
        if index.shape != pos.shape[:1]:
            raise UserError(f"`batch` must have shape ({len(pos)},) like the points, got {tuple(index.shape)}")
        occupied = torch.zeros(max(self.count(x), 1), dtype=torch.bool, device=index.device)
        check_points(pos, occupied.index_fill(0, index, True), device)

    def count(self, x: Any) -> int:
        graphs = getattr(x, "num_graphs", None)
        if isinstance(graphs, int):
            return graphs
        index = self.index(x)
        return int(index.max()) + 1 if len(index) else 0

    def index(self, x: Any) -> Tensor:
        batch = getattr(x, "batch", None)
        return batch if batch is not None else torch.zeros(len(x.pos), dtype=torch.long, device=x.pos.device)

    def tile(self, x: Any, copies: int) -> Any:
        """Repeat every tensor, shift those with "index" in their name, make `ptr` and `num_graphs` anew."""
        if copies == 1:
            return x
        points, graphs, index = len(x.pos), self.count(x), self.index(x)
        shift = torch.arange(copies, device=x.pos.device)
        tiled = copy.copy(x)
        for name in list(x.keys()) if hasattr(x, "keys") else list(vars(x)):
            value = getattr(x, name)
            if not isinstance(value, Tensor) or value.dim() == 0 or name in ("batch", "ptr"):
                continue
            if "index" in name or name == "face":
                shifted = value.unsqueeze(-2) + points * shift.unsqueeze(-1)  # (..., copies, edges)
                setattr(tiled, name, shifted.flatten(-2))
            else:
                setattr(tiled, name, value.repeat(copies, *[1] * (value.dim() - 1)))
        tiled.batch = (index + graphs * shift.unsqueeze(-1)).flatten()
        if getattr(x, "ptr", None) is not None:
            sizes = x.ptr.diff().repeat(copies)
            tiled.ptr = torch.cat([x.ptr[:1], sizes.cumsum(0)])
        if hasattr(x, "_num_graphs"):  # torch_geometric's cache
            tiled._num_graphs = graphs * copies
        return tiled
