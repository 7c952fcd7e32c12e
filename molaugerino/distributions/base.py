"""What a law over group elements is to the rest of the library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from molaugerino.errors import UserError, check_range
from molaugerino.groups import Affine, Group, MatrixGroup


class Extent(NamedTuple):
    """One line of a law's description, in physical units.

    Attributes:
        quantity: what is spread, such as "rotation angle".
        axes: the algebra coordinates it concerns.
        width: where the support ends (half-width of a symmetric law), or the root mean square where it does not.
        mean: mean absolute value.
        cap: the largest width the family allows.
        unit: of width, mean and cap.
        nats: divergence of this part to its widest law.
    """

    quantity: str
    axes: tuple[str, ...]
    width: float
    mean: float
    cap: float
    unit: str
    nats: float


class GroupDistribution(nn.Module, ABC):
    """A law over group elements, g = elements(noise), whose parameters can be trained.

    Randomness is an argument: `noise` draws numbers uniform in [0, 1), `elements` is a
    deterministic, differentiable function of them. The parameters of the Module are the law.

    Attributes:
        group: the group the elements belong to.
        noise_dim: how many numbers make one element.
    """

    group: Group
    noise_dim: int

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> GroupDistribution:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if isinstance(self.group, MatrixGroup):  # its constants follow the parameters
            self.group = self.group.to(next(self.parameters()).device)
        return self

    def noise(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Uniform numbers in [0, 1), shape (*shape, noise_dim), where the parameters live unless told otherwise."""
        reference = next(self.parameters())
        dtype, device = dtype or reference.dtype, device or reference.device
        return torch.rand(*shape, self.noise_dim, generator=generator, dtype=dtype, device=device)

    @abstractmethod
    def elements(self, noise: Tensor, context: Any = None) -> Affine:
        """The group elements at `noise` (*batch, noise_dim): batch shape (*batch)."""

    @abstractmethod
    def divergence(self) -> Tensor:
        """KL divergence in nats, on the group, to the widest law (the Haar law where it exists)."""

    @abstractmethod
    def describe(self) -> list[Extent]:
        """The law in physical units, one line per independent part."""

    def sample(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Affine:
        """elements(noise(shape)): independent, reparameterised draws."""
        return self.elements(self.noise(shape, generator))

    def forward(self, noise: Tensor, context: Any = None) -> Affine:
        return self.elements(noise, context)


class _Bounded(torch.autograd.Function):
    """Clamp whose gradient vanishes only where a descent step would leave the interval further."""

    @staticmethod
    def forward(raw: Tensor, high: float | Tensor, low: float) -> Tensor:
        return raw.clamp(max=high).clamp_min(low)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float | Tensor, float], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        _, ctx.high, ctx.low = inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (raw,) = ctx.saved_tensors
        leaves = torch.where(gradient < 0, raw >= ctx.high, (raw <= ctx.low) & (gradient > 0))
        return gradient.masked_fill(leaves, 0.0), None, None


def bounded(raw: Tensor, high: float | Tensor, low: float = 0.0) -> Tensor:
    """`raw` clamped to [low, high], so that gradient descent reaches a bound exactly and can leave it again.

    torch.clamp would trap a parameter that momentum has carried past the bound, and a
    sigmoid would never get there.
    """
    return cast(Tensor, _Bounded.apply(raw, high, low))  # type: ignore[no-untyped-call]


def width_parameter(width: float | Sequence[float], cap: Tensor, unit: str, low: float = 0.0) -> nn.Parameter:
    """A trainable half-width of the cap's shape, checked to lie between `low` and the cap."""
    value = torch.as_tensor(width, dtype=torch.get_default_dtype())
    if value.dim() and value.shape != cap.shape:
        raise UserError(f"`width` must be one number or have shape {tuple(cap.shape)}, got {tuple(value.shape)}")
    check_range("width", value, low, cap + 1e-6, unit, "no wider law of this family exists")
    return nn.Parameter(torch.minimum(value, cap.to(value.dtype)))
