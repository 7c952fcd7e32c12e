"""Pairs of atoms as local networks see them: arrows, distances, and a weight that fades out at the cutoff."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molaugerino.spaces import Molecules

LENGTH = 5.0  # angstrom, makes coordinates of molecules numbers of order one
SOFT = 1e-6  # angstrom^2: two atoms in one place still have a distance with a slope


class Pairs(NamedTuple):
    """All pairs of atoms of each molecule, i along the second dimension, j along the third.

    Attributes:
        arrow: r_j - r_i in angstrom.
        distance: sqrt(|r_j - r_i|^2 + SOFT), above zero everywhere.
        weight: (1 + cos(pi d / cutoff)) / 2 within the cutoff; 0 beyond, for i = j and in the padding.
    """

    arrow: Float[Tensor, "b n n 3"]
    distance: Float[Tensor, "b n n"]
    weight: Float[Tensor, "b n n"]


def pairs_of(x: Molecules, cutoff: float) -> Pairs:
    arrow = x.pos.unsqueeze(1) - x.pos.unsqueeze(2)
    distance = (arrow.square().sum(-1) + SOFT).sqrt()
    near = (distance < cutoff) & x.mask.unsqueeze(1) & x.mask.unsqueeze(2)
    others = ~torch.eye(x.z.shape[1], dtype=torch.bool, device=x.z.device)
    weight = 0.5 * (1 + torch.cos(distance * (math.pi / cutoff)))
    return Pairs(arrow, distance, torch.where(near & others, weight, 0.0))


class Gaussians(nn.Module):
    """exp(-(d - c_k)^2 / 2 s^2), with `count` centres c_k evenly from 0 to the cutoff, s apart."""

    centres: Tensor

    def __init__(self, cutoff: float, count: int = 24) -> None:
        super().__init__()
        self.spacing = cutoff / (count - 1)
        self.count = count
        self.register_buffer("centres", torch.linspace(0.0, cutoff, count), persistent=False)

    def forward(self, distance: Float[Tensor, "*pairs"]) -> Float[Tensor, "*pairs count"]:
        return torch.exp(-0.5 * ((distance.unsqueeze(-1) - self.centres) / self.spacing).square())
