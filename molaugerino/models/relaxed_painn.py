"""PaiNN with a second path in every layer that sees where atoms are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molaugerino.datasets.targets import MAX_Z, Target
from molaugerino.errors import UserError
from molaugerino.models.painn import Message, Update
from molaugerino.models.pairs import LENGTH, Gaussians, Pairs, pairs_of
from molaugerino.models.readout import Readout
from molaugerino.spaces import as_padded

PATHS = ("strict", "free")
SMALL = 0.1  # of the free path at first, beside a strict one

State = tuple[Float[Tensor, "b n width"], Float[Tensor, "b n 3 width"]]


class StrictPath(nn.Module):
    """(ds, dv): what a message and an update of PaiNN add to scalars and vectors."""

    def __init__(self, width: int, radial: int) -> None:
        super().__init__()
        self.message, self.update = Message(width, radial), Update(width)

    def forward(self, s: Tensor, v: Tensor, radial: Tensor, pairs: Pairs, places: Tensor) -> State:
        new_s, new_v = self.update(*self.message(s, v, radial, pairs))
        return new_s - s, new_v - v


class FreePath(nn.Module):
    """(ds, dv)_i = D sum_j w_ij act(A s_j + B r_i + C r_j + W(d_ij)) + E act(F s_i + G r_i): r absolute positions.

    dv has three components that turn with nothing. D and E have no bias: where they are zero, nothing is added.

    Args:
        width: scalars, and vectors, per atom.
        radial: functions of the distance.
        gain: size of D and E at first.
    """

    def __init__(self, width: int, radial: int, gain: float = 1.0) -> None:
        super().__init__()
        self.sender = nn.Linear(width + 3, width)
        self.place = nn.Linear(3, width, bias=False)
        self.filter = nn.Linear(radial, width, bias=False)
        self.own = nn.Linear(width + 3, width)
        self.exchanged = nn.Linear(width, 4 * width, bias=False)
        self.kept = nn.Linear(width, 4 * width, bias=False)
        with torch.no_grad():
            for last in (self.exchanged, self.kept):
                last.weight *= gain

    def forward(self, s: Tensor, v: Tensor, radial: Tensor, pairs: Pairs, places: Tensor) -> State:
        seen = torch.cat([s, places], -1)
        mixed = self.sender(seen).unsqueeze(1) + self.place(places).unsqueeze(2) + self.filter(radial)
        messages = (pairs.weight.unsqueeze(-1) * nn.functional.silu(mixed)).sum(2)
        added = self.exchanged(messages) + self.kept(nn.functional.silu(self.own(seen)))
        ds, dv = torch.split(added, [s.shape[-1], 3 * s.shape[-1]], -1)
        return ds, dv.reshape(v.shape)


class RelaxedPaiNN(nn.Module):
    """(s, v) <- (s, v) + sum_p path_p(s, v, x): an equivariant path, that of PaiNN, and a free one, in every layer.

    The prior precisions of the paths decide how equivariant a layer is; with the free paths at zero it is PaiNN.

    Args:
        targets: what is predicted.
        width: scalars, and vectors, per atom.
        depth: number of exchanges.
        cutoff: distance beyond which atoms do not see each other, angstrom.
        paths: "strict", "free" or both.

    Input: `Molecules`, or a batch of torch_geometric. Output: (molecules, channels), in the targets' units.

    Raises:
        UserError: for other paths, or none.

    Source: the residual pathways of Finzi, Benton, Wilson (2021), arXiv:2112.01388, with PaiNN, arXiv:2102.03150, for
    the strict path.
    """

    def __init__(
        self,
        targets: list[Target],
        width: int = 64,
        depth: int = 4,
        cutoff: float = 5.0,
        paths: Sequence[str] = PATHS,
    ) -> None:
        super().__init__()
        if not paths or not set(paths) <= set(PATHS):
            raise UserError(f"`paths` must be some of {', '.join(PATHS)}, got {', '.join(paths) or 'none'}")
        self.cutoff = cutoff
        self.embedding = nn.Embedding(MAX_Z + 1, width, padding_idx=0)
        self.radial = Gaussians(cutoff)
        count = self.radial.count
        makers: dict[str, Callable[[], nn.Module]] = {
            "strict": lambda: StrictPath(width, count),
            "free": lambda: FreePath(width, count, SMALL if "strict" in paths else 1.0),
        }
        self.layers = nn.ModuleList(Layer({name: makers[name]() for name in paths}) for _ in range(depth))
        self.readout = Readout(width, targets, "equivariant")

    def forward(self, x: Any) -> Float[Tensor, "molecules channels"]:
        x = as_padded(x)
        pairs = pairs_of(x, self.cutoff)
        radial, places = self.radial(pairs.distance), x.pos / LENGTH
        s = self.embedding(x.z)
        v = s.new_zeros(*s.shape[:2], 3, s.shape[-1])
        for layer in self.layers:
            s, v = layer(s, v, radial, pairs, places)
        return self.readout(s, x, v)


class Layer(nn.Module):
    """The state, and what each path adds to it."""

    def __init__(self, paths: dict[str, nn.Module]) -> None:
        super().__init__()
        self.paths = nn.ModuleDict(paths)

    def forward(self, s: Tensor, v: Tensor, radial: Tensor, pairs: Pairs, places: Tensor) -> State:
        added = [path(s, v, radial, pairs, places) for path in self.paths.values()]
        ds, dv = zip(*added, strict=True)
        return s + torch.stack(ds).sum(0), v + torch.stack(dv).sum(0)
