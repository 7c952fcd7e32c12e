"""The table of (network, batch, input space, output action) that the one formula must serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from molaugerino.spaces import DirectSum, InputSpace, Invariant, Molecules, Padded, Points, Tensor2, Vector
from molaugerino.spaces.base import Action

SIZES = (5, 1, 3)


class ByMolecule(nn.Module):
    """A deliberately non-invariant function of each molecule: padded batch -> (molecules, channels)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, channels)).double()

    def forward(self, x: Molecules) -> Tensor:
        atoms = self.net(torch.cat([x.pos, x.z.unsqueeze(-1).to(x.pos.dtype)], -1))
        return (atoms * x.mask.unsqueeze(-1)).sum(1).sin()


class ByAtom(ByMolecule):
    """Per-atom vectors of a padded batch: (molecules, atoms, 3)."""

    def forward(self, x: Molecules) -> Tensor:
        return self.net(torch.cat([x.pos, x.z.unsqueeze(-1).to(x.pos.dtype)], -1)) * x.mask.unsqueeze(-1)


class Ragged(ByMolecule):
    """The same functions on the layout of torch_geometric; per molecule, or per atom where channels = 3 and `atoms`."""

    def __init__(self, channels: int, atoms: bool = False) -> None:
        super().__init__(channels)
        self.atoms = atoms

    def forward(self, x: Any) -> Tensor:
        h = self.net(torch.cat([x.pos, x.z.unsqueeze(-1).to(x.pos.dtype)], -1))
        if self.atoms:
            return h
        return torch.zeros(int(x.batch.max()) + 1, h.shape[1], dtype=h.dtype).index_add(0, x.batch, h).sin()


@dataclass(frozen=True)
class Case:
    net: Callable[[], nn.Module]
    batch: Callable[[], Any]
    input: InputSpace[Any]
    output: Action[Tensor]


def padded() -> Molecules:
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(max(SIZES)) < torch.tensor(SIZES).unsqueeze(1)
    z = torch.randint(1, 10, mask.shape, generator=generator) * mask
    pos = torch.randn(*mask.shape, 3, generator=generator, dtype=torch.float64)
    return Molecules(z, pos, mask)


def ragged() -> SimpleNamespace:
    x = padded()
    return SimpleNamespace(z=x.z[x.mask], pos=x.pos[x.mask], batch=x.mask.nonzero()[:, 0])


CASES = {
    "energy, padded": Case(lambda: ByMolecule(1), padded, Padded(), Invariant()),
    "dipole, padded": Case(lambda: ByMolecule(3), padded, Padded(), Vector()),
    "energy and two vectors, padded": Case(
        lambda: ByMolecule(7), padded, Padded(), DirectSum([(Invariant(), 1), (Vector(), 6)])
    ),
    "forces, padded": Case(lambda: ByAtom(3), padded, Padded(), Vector()),
    "tensor, padded": Case(lambda: ByMolecule(9), padded, Padded(), Tensor2()),
    "tensors of the atoms, padded": Case(lambda: ByAtom(9), padded, Padded(), Tensor2()),
    "energy, ragged": Case(lambda: Ragged(1), ragged, Points(), Invariant()),
    "dipole, ragged": Case(lambda: Ragged(3), ragged, Points(), Vector()),
    "forces, ragged": Case(lambda: Ragged(3, atoms=True), ragged, Points(), Vector(per_point=True)),
    "tensors of the atoms, ragged": Case(lambda: Ragged(9, atoms=True), ragged, Points(), Tensor2(per_point=True)),
}
