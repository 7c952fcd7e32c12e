"""What a law over group elements is to the rest of the library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from molaugerino.checks import check_range
from molaugerino.errors import UserError
from molaugerino.groups import Affine, Group, MatrixGroup

ROUNDING = 16  # in units of the elements' precision: by how much a law's own samples may fall outside its support
LEAST_ROUNDING = 1e-12  # what the logarithm of a matrix adds in float64


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

    @property
    def name(self) -> str:
        """The quantity, and its axis where it has but one, unless the two are the same."""
        return " ".join(dict.fromkeys((self.quantity, *self.axes))) if len(self.axes) == 1 else self.quantity


class GroupDistribution(nn.Module, ABC):
    """A law over group elements, g = elements(noise), whose parameters can be trained.

    Randomness is an argument: `noise` draws numbers uniform in [0, 1), `elements` is a
    deterministic, differentiable function of them. The parameters of the Module are the law.

    Attributes:
        group: the group the elements belong to.
        noise_dim: how many numbers make one element.
        branches: how many copies `enumerated` makes of each; one where nothing is discrete.
        conditional: the law depends on the input, so that `context` must be given wherever it can be.
    """

    group: Group
    noise_dim: int
    branches: int = 1
    conditional: bool = False

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

    def enumerated(self, noise: Tensor, context: Any = None) -> tuple[Affine, Tensor]:
        """All branches of the discrete part: elements (branches, *batch), and their probabilities (branches,).

        E[loss(g)] = E[sum_k p_k loss(g_k)], where both the elements and the p_k carry the derivative by the parameters.
        """
        g = self.elements(noise, context)
        return g.unsqueeze(0), noise.new_ones(1)

    @abstractmethod
    def divergence(self, context: Any = None) -> Tensor:
        """KL divergence in nats, on the group, to the widest law (the Haar law where it exists); mean over inputs."""

    def log_prob(self, g: Affine, context: Any = None) -> Tensor:
        """log of the density at g against the Haar measure d mu = exp(group.log_jacobian(xi)) d xi, g = exp(xi).

        The rotations have total volume exp(group.log_volume), translations count by volume (Lebesgue). So
        E[log_prob(g)] + group.log_volume is `divergence` where the widest law is Haar. Widths below
        the narrowest that `divergence` tells apart count as that one, so the value stays finite at width 0.

        Args:
            g: elements of `group`, batch shape (*batch).
            context: the inputs, for a law that depends on them.

        Returns:
            (*batch), -inf outside the support; inside, differentiable in the parameters.

        Raises:
            UserError: for a law without a density, or without a closed one.
        """
        raise UserError(f"{type(self).__name__} has no density on {self.group.name}; use `sample` and `divergence`")

    @abstractmethod
    def widths(self) -> Tensor:
        """Numbers (k,) whose root sum of squares is the size of the law: rad, angstrom, log-scale or probability."""

    @abstractmethod
    def describe(self) -> list[Extent]:
        """The law in physical units, one line per independent part."""

    def sample(self, shape: tuple[int, ...], generator: torch.Generator | None = None, context: Any = None) -> Affine:
        """elements(noise(shape), context): independent, reparameterised draws."""
        return self.elements(self.noise(shape, generator), context)

    def forward(self, noise: Tensor, context: Any = None) -> Affine:
        return self.elements(noise, context)


class _Bounded(torch.autograd.Function):
    """Clamp whose gradient vanishes only where a descent step would leave the interval further."""

    generate_vmap_rule = True

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


def within(size: Tensor, width: Tensor, g: Affine) -> Tensor:
    """size <= width, where a law's own samples g at its edge count as inside in spite of rounding."""
    slack = max(ROUNDING * torch.finfo(g.shift.dtype).eps, LEAST_ROUNDING)
    return size <= width + slack * (1 + width)


def width_parameter(width: float | Sequence[float], cap: Tensor, unit: str, low: float = 0.0) -> nn.Parameter:
    """A trainable half-width of the cap's shape, checked to lie between `low` and the cap."""
    value = torch.as_tensor(width, dtype=torch.get_default_dtype())
    if value.dim() and value.shape != cap.shape:
        raise UserError(f"`width` must be one number or have shape {tuple(cap.shape)}, got {tuple(value.shape)}")
    check_range("width", value, low, cap + 1e-6, unit, "no wider law of this family exists")
    return nn.Parameter(torch.minimum(value, cap.to(value.dtype)))
