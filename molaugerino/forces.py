"""Forces of an averaged energy."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from molaugerino.errors import UserError
from molaugerino.groups import Affine
from molaugerino.spaces import Molecules


class EnergyAndForces(NamedTuple):
    """Of a batch of molecules.

    Attributes:
        energy: (molecules,) in the unit of the network's output.
        forces: in that unit per angstrom, in the layout of the positions: (molecules, atoms, 3) of `Molecules`, 0 in
            the padding; (atoms, 3) of a graph or batch of graphs.
    """

    energy: Tensor
    forces: Tensor


def energy_and_forces(model: nn.Module, x: Any, channel: int = 0, elements: Affine | None = None) -> EnergyAndForces:
    """F_a = - dE / dr_a,   E = h(x)[channel]   (h an `Augmented` or any network).

    The gradient runs through the transformations: of h(x) = mean_j f(g_j x) it is the mean of the forces at the
    transformed molecules, each turned back,

        F_a = mean_j R_j^-1 F_a^f(g_j x),

    for a law that does not depend on x, and for a conditional one has its share, too, so that a path that ends where
    it began does no work. Averaged over a finite group, or with any equivariant f, the forces turn with the molecule.

    With gradients enabled the forces can be differentiated again, to train on them. For flat memory over many copies
    set the `at_once` of `Augmented`.

    Forces are as good as the energies that a network was trained on: one that has seen equilibrium geometries alone,
    such as those that come with the package, knows nothing of the energy away from minima, and its forces there are
    not validated.

    Args:
        model: gives (molecules, channels).
        x: `Molecules`, or a graph or batch of graphs of torch_geometric.
        channel: of the output, the energy.
        elements: the g_j of an `Augmented`, None for its own.

    Raises:
        UserError: for another channel than the model has, for one that does not depend on the positions, and for
            eval_copies="auto", where the number of copies, and with it the energy, jumps between neighbouring
            geometries.
    """
    if elements is None and getattr(model, "eval_copies", None) == "auto" and not model.training:
        raise UserError('eval_copies="auto" gives energies that jump; for forces give a number of copies or a set')
    differentiable = torch.is_grad_enabled()
    pos = x.pos if differentiable and x.pos.requires_grad else x.pos.detach().requires_grad_()
    with torch.enable_grad():
        y = model(_at(x, pos)) if elements is None else model(_at(x, pos), elements)
        if y.dim() != 2 or not 0 <= channel < y.shape[1]:
            raise UserError(f"`channel` must be one of (molecules, channels) {tuple(y.shape)}, got {channel}")
        energy = y[:, channel]
        if not energy.requires_grad:
            raise UserError("the output does not depend on the positions; forces need a network that sees them")
        (slope,) = torch.autograd.grad(energy.sum(), pos, create_graph=differentiable, materialize_grads=True)
    return EnergyAndForces(energy if differentiable else energy.detach(), -slope)


def _at(x: Any, pos: Tensor) -> Any:
    """The batch at other positions."""
    if isinstance(x, Molecules):
        return x._replace(pos=pos)
    moved = copy.copy(x)
    moved.pos = pos
    return moved
