"""The linear maps that relaxed layers are made of."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molaugerino.errors import UserError


class LinearMap(nn.Module, ABC):
    """y_tk = W_k x_tk + b: one weight tensor, used t = 1, ..., T times by an example, in k = 1, ..., K blocks.

    Says which numbers its weight multiplies, so that its curvature is one Kronecker product per block, see
    `molaugerino.laplace`.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    @abstractmethod
    def seen(self, x: Tensor) -> Float[Tensor, "examples uses blocks inputs"]:
        """What W_k multiplies, of an input of the module."""

    @abstractmethod
    def given(self, y: Tensor) -> Float[Tensor, "examples uses blocks outputs"]:
        """What W_k gives, of an output of the module, or of a slope with respect to it."""


class BlockLinear(LinearMap):
    """y_k = W_k x_k + b, k = 1, ..., K: linear maps side by side, with one bias for all of them.

    K = 1 is a linear layer.

    Args:
        blocks: K.
        inputs: numbers in, of each block.
        outputs: numbers out, of each block.
        bias: whether there is b, (outputs,).
        gain: the initial weights have variance gain^2 / inputs, so that outputs are gain times as large as inputs.

    Input: (*more, K, inputs). Output: (*more, K, outputs).

    Raises:
        UserError: for sizes below 1.
    """

    def __init__(self, blocks: int, inputs: int, outputs: int, bias: bool = True, gain: float = 1.0) -> None:
        super().__init__()
        if min(blocks, inputs, outputs) < 1:
            raise UserError(f"`blocks`, `inputs` and `outputs` must be at least 1, got {blocks}, {inputs}, {outputs}")
        self.weight = nn.Parameter(gain / math.sqrt(inputs) * torch.randn(blocks, outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Float[Tensor, "*more blocks inputs"]) -> Float[Tensor, "*more blocks outputs"]:
        alone = len(self.weight) == 1
        y = x @ self.weight[0].mT if alone else torch.einsum("...ki,koi->...ko", x, self.weight)
        return y if self.bias is None else y + self.bias

    def seen(self, x: Tensor) -> Float[Tensor, "examples uses blocks inputs"]:
        return x.reshape(len(x), -1, *x.shape[-2:])

    def given(self, y: Tensor) -> Float[Tensor, "examples uses blocks outputs"]:
        return y.reshape(len(y), -1, *y.shape[-2:])
