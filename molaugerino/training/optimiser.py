"""Muon on the matrices of a network, AdamW on the rest, as one optimiser."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

QUINTIC = (3.4445, -4.7750, 2.0315)  # takes every singular value in (0, 1] near 1 in a few rounds, small ones fastest
ROUNDS = 5
SPACE = 3  # coordinates are not features


class Muon(Optimizer):
    """W <- (1 - lr decay) W - lr sqrt(max(1, rows / columns)) U V^T,   U S V^T = G + m B,   B <- m B + G.

    G is the slope, B its running sum: momentum of Nesterov whose singular values are all made one,
    nearly, so that every direction of a matrix learns alike. `torch.optim.Muon` takes the same step;
    here matrices of one shape go together, three times as fast for the small ones of these networks,
    and in their own precision.

    Args:
        params: matrices, or groups of them.
        lr: step in units of the operator norm.
        momentum: m.
        weight_decay: decay, in units of 1 / lr.

    Source: Jordan, Jin, Boza, You, Cesista, Newhouse, Bernstein, Muon: an optimizer for hidden
    layers in neural networks (2024), kellerjordan.github.io/posts/muon.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    by_shape[weight.shape].append(weight)
            for (rows, columns), weights in by_shape.items():
                slopes = [cast(Tensor, w.grad) for w in weights]
                sums = [self._sum(w) for w in weights]
                torch._foreach_mul_(sums, group["momentum"])
                torch._foreach_add_(sums, slopes)
                ahead = torch._foreach_add(slopes, sums, alpha=group["momentum"])
                steps = orthogonal(torch.stack(ahead)).unbind()
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(weights, steps, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)
        return loss

    def _sum(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["sum"] = torch.zeros_like(weight)
        return state["sum"]


def orthogonal(matrices: Tensor) -> Tensor:
    """U V^T of each matrix U S V^T (n, rows, columns), with singular values between about 0.7 and 1.2 for the ones.

    X <- a X + (b X X^T + c (X X^T)^2) X, from X of norm one: Newton and Schulz with the coefficients of Muon.
    """
    rows, columns = matrices.shape[1:]
    x = matrices.mT if rows > columns else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(1e-12)
    a, b, c = QUINTIC
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if rows > columns else x


class Together(Optimizer):
    """Several optimisers, each of its own parameters, that step as one; their groups are its groups.

    Args:
        parts: the optimisers.
    """

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self.parts = list(parts)
        super().__init__([group for part in parts for group in part.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        loss = None if closure is None else torch.enable_grad()(closure)()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The weights of the linear maps between features: not of embeddings, coordinates, nor of `model.readout`."""
    last = {id(p) for p in getattr(model, "readout", nn.Module()).parameters()}
    linear = (m.weight for m in model.modules() if isinstance(m, nn.Linear) and m.in_features > SPACE)
    return [w for w in linear if id(w) not in last and w.requires_grad]
