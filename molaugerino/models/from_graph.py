"""Networks of other libraries, called as model(z, pos, batch)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from molaugerino.datasets.targets import Pooling, Target
from molaugerino.errors import UserError
from molaugerino.models.scaling import Scaling
from molaugerino.spaces import as_padded, as_points

OWN: dict[Pooling, Pooling] = {  # how to scale what the model has pooled itself
    "mean": "mean",
    "sum": "sum",
    "norm": "mean",
    "extent": "sum",
}


class FromGraph(nn.Module):
    """y = scale * model(z, pos, batch) + baseline(x), at first with scale 1 and baseline 0: the model's own answer.

    A model that is trained already keeps its unit that way. To train one, `readout.fit_scale`
    sets the scale, and per-element references or the mean, as for the networks of this library;
    norms are then scaled like means, extents like sums. Vectors get no shift, so that an
    equivariant model stays that.

    Args:
        model: takes atomic numbers (atoms,), positions (atoms, 3) in angstrom and the graph of each atom (atoms,),
            gives (graphs,) or (graphs, channels). It builds its own neighbour graph.
        targets: what its channels are, with units.

    Raises:
        UserError: in the forward pass, where the model gives another shape.

    Input: `Molecules`, or a batch of torch_geometric. Output: (molecules, channels).

    Example:
        >>> from molaugerino.spaces import Molecules
        >>> class Count(nn.Module):
        ...     def forward(self, z, pos, batch):
        ...         return torch.bincount(batch).float()
        >>> z = torch.tensor([[8, 1, 1], [7, 0, 0]])
        >>> x = Molecules(z, torch.zeros(2, 3, 3), z > 0)
        >>> FromGraph(Count(), [Target("atoms", "", "1", "sum")])(x)
        tensor([[3.],
                [1.]])
    """

    def __init__(self, model: nn.Module, targets: list[Target]) -> None:
        super().__init__()
        self.model = model
        self.readout = Scaling([replace(t, readout=OWN[t.readout]) for t in targets], turning=True)

    def forward(self, x: Any) -> Float[Tensor, "molecules channels"]:
        padded = as_padded(x)
        y = self.model(*as_points(x))
        expected = len(padded.z), len(self.readout.scale)
        if y.shape != expected and not (expected[1] == 1 and y.shape == expected[:1]):
            raise UserError(
                f"the model must give shape {expected} for these targets, got {tuple(y.shape)}; give as many channels"
            )
        return self.readout(y.reshape(expected), padded)


class AllPairs:
    """(edges j -> i, distances) of all pairs of atoms of one graph within the cutoff, found by comparing all with all.

    For models of torch_geometric that want a neighbour search, which needs a compiled extension:
    `SchNet(interaction_graph=AllPairs(10.0))`.

    Args:
        cutoff: in the unit of the positions.
    """

    def __init__(self, cutoff: float) -> None:
        self.cutoff = cutoff

    def __call__(
        self, pos: Float[Tensor, "atoms 3"], batch: Int[Tensor, " atoms"]
    ) -> tuple[Int[Tensor, "2 edges"], Float[Tensor, " edges"]]:
        together = batch.unsqueeze(0) == batch.unsqueeze(1)
        together.fill_diagonal_(False)
        i, j = together.nonzero().unbind(1)
        distance = torch.linalg.vector_norm(pos[i] - pos[j], dim=-1)
        near = distance <= self.cutoff
        return torch.stack([j[near], i[near]]), distance[near]
