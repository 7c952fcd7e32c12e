"""Layers with several paths, from free to strict, and how a strict one becomes relaxed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molaugerino.errors import UserError
from molaugerino.layers.blocks import LinearMap
from molaugerino.layers.filters import Convolution
from molaugerino.layers.paths import Dense, Factored


class Pathways(nn.Module):
    """y = (1/n) sum_p path_p(x): residual pathways, each with priors of its own.

    The prior precisions of the paths decide how equivariant the layer is: where those of all free paths go to infinity,
    it is what is left.

    Args:
        paths: by name.
        stride: of the layer; the sum of the paths that keep the side is subsampled by `polyphase`.

    Source: Finzi, Benton, Wilson, Residual Pathway Priors (2021), arXiv:2112.01388, where paths are added; the mean is
    that of van der Ouderaa, Immer, van der Wilk (2023), arXiv:2310.06131.
    """

    def __init__(self, paths: dict[str, nn.Module], stride: int = 1) -> None:
        super().__init__()
        if not paths:
            raise UserError("a layer needs at least one path, got none")
        self.paths, self.stride = nn.ModuleDict(paths), stride

    def forward(self, x: Float[Tensor, "images channels size size"]) -> Float[Tensor, "images outputs side side"]:
        side = x.shape[-1] // self.stride
        whole: list[Tensor] = []
        reduced: list[Tensor] = []
        for path in self.paths.values():
            y = path(x)
            (reduced if y.shape[-1] == side else whole).append(y)
        if whole:  # together, or each would choose a way of its own
            reduced.append(polyphase(torch.stack(whole).sum(0), self.stride))
        return torch.stack(reduced).sum(0) / len(self.paths)


def polyphase(x: Float[Tensor, "images channels size size"], stride: int) -> Float[Tensor, "images channels side side"]:
    """Of the stride^2 ways to keep every stride-th row and column, that of the largest norm, image by image.

    A circular shift of the input permutes the ways, so the result is shifted and nothing else; which way is kept
    depends on the image alone, not on who shares the batch.

    Source: Chaman, Dokmanic, Truly Shift-Invariant Convolutional Neural Networks (2021), arXiv:2011.14214.
    """
    if stride == 1:
        return x
    n, channels, height, width = x.shape
    phases = x.reshape(n, channels, height // stride, stride, width // stride, stride).permute(0, 3, 5, 1, 2, 4)
    phases = phases.flatten(1, 2)  # (images, stride^2, channels, side, side)
    best = phases.flatten(2).square().sum(2).argmax(1)
    return phases[torch.arange(n, device=x.device), best]


def last_map(path: nn.Module) -> LinearMap:
    """What a path multiplies by last, and adds last."""
    return [module for module in path.modules() if isinstance(module, LinearMap)][-1]


def relaxed(strict: Convolution, size: int, free: Sequence[str] = ("f-fc",), stride: int = 1) -> Pathways:
    """A layer with free paths beside a convolution, that computes at first what the convolution computes.

    The convolution's weights are multiplied by the number of paths; of the free paths, what is multiplied last begins
    at zero, so that they learn from the first step on.

    Args:
        strict: the convolution, which is left as it is.
        size: side of its input.
        free: "fc" or "f-fc", each at most once.
        stride: of the layer.

    Raises:
        UserError: for an unknown path.
    """
    known: dict[str, type[Dense | Factored]] = {"fc": Dense, "f-fc": Factored}
    if unknown := set(free) - set(known):
        raise UserError(f"free paths are {', '.join(known)}, got {', '.join(sorted(unknown))}")
    outputs, channels = strict.weight.shape[:2]
    count = 1 + len(free)
    copy = Convolution(channels, outputs, strict.kernel)
    paths: dict[str, nn.Module] = {"conv": copy}
    with torch.no_grad():
        for mine, theirs in zip(copy.parameters(), strict.parameters(), strict=True):
            mine.copy_(count * theirs)
        for name in free:
            paths[name] = known[name](channels, outputs, size, stride)
            for parameter in last_map(paths[name]).parameters():
                parameter.zero_()
    return Pathways(paths, stride).to(strict.weight)
