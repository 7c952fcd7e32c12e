"""Some training examples by themselves, as functions of the weights and of the elements they are moved by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor
from torch.func import functional_call
from torch.utils._pytree import tree_map

from molaugerino.augment import Augmented
from molaugerino.datasets import Batch
from molaugerino.groups import Affine
from molaugerino.laplace import Parameters


@dataclass(frozen=True)
class Block:
    """Some examples, and the elements that their predictions are averaged over.

    Attributes:
        augmented: in evaluation mode.
        batch: B examples.
        elements: batch shape (copies, B).
        seed: of what is drawn with it.
    """

    augmented: Augmented
    batch: Batch
    elements: Affine
    seed: int

    def parameters(self) -> Parameters:
        """Of the network, by their names in it, leaves that want slopes."""
        return {name: p.detach().requires_grad_() for name, p in self.augmented.model.named_parameters()}

    def predict(self, k: int, parameters: Parameters) -> Tensor:
        """h(x_k), (1, outputs), averaged over the copies."""
        x = tree_map(lambda t: t[k : k + 1], self.batch.x)
        one = Affine(self.elements.linear[:, k : k + 1], self.elements.shift[:, k : k + 1])
        given = {f"model.{name}": p for name, p in parameters.items()}
        return cast(Tensor, functional_call(self.augmented, given, (x, one)))

    def at_leaves(self) -> tuple[Block, list[Tensor]]:
        """The same block at elements that are leaves and want slopes, and those."""
        leaves = [t.detach().requires_grad_() for t in (self.elements.linear, self.elements.shift)]
        return replace(self, elements=Affine(*leaves)), leaves
