"""A law whose parameters depend on the input."""

from __future__ import annotations

import copy
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from molaugerino.distributions.base import Extent, GroupDistribution
from molaugerino.errors import UserError
from molaugerino.groups import Affine

PADDED = ("z", "pos", "mask")  # what a context must have, as a batch of padded molecules does


@runtime_checkable
class Features(Protocol):
    """Numbers per point that neither a rigid motion nor the order of the points changes; a Module may be one.

    Attributes:
        dim: how many numbers per point.
    """

    dim: int

    def __call__(self, context: Any) -> Float[Tensor, "examples points dim"]:
        """Features of a padded batch; what stands in the padding is not used."""


class AtomFeatures(nn.Module):
    """Atomic number, one of n or another, and distance r to the centroid: e^(-(r - c)^2 / 2 s^2), c = 0, s, 2s, ...

    Args:
        numbers: atomic numbers that are told apart.
        reach: the largest c in angstrom.
        step: s in angstrom.
    """

    numbers: Tensor
    centres: Tensor

    def __init__(self, numbers: tuple[int, ...] = (1, 6, 7, 8, 9), reach: float = 6.0, step: float = 1.0) -> None:
        super().__init__()
        if not 0 < step <= reach:
            raise UserError(f"`step` must be a positive length of at most `reach`, got {step} and {reach}")
        self.step = step
        self.register_buffer("numbers", torch.tensor(numbers), persistent=False)
        self.register_buffer("centres", torch.arange(0, reach + step / 2, step), persistent=False)
        self.dim = len(numbers) + 1 + len(self.centres)

    def forward(self, context: Any) -> Float[Tensor, "examples points dim"]:
        inside = context.mask.unsqueeze(-1)
        known = context.z.unsqueeze(-1) == self.numbers  # (examples, points, kinds)
        kind = torch.cat([known, ~known.any(-1, keepdim=True)], -1)
        pos = context.pos.masked_fill(~inside, 0.0)
        centroid = pos.sum(-2, keepdim=True) / inside.sum(-2, keepdim=True).clamp_min(1)
        r = (pos - centroid).norm(dim=-1, keepdim=True)
        near = (-(r - self.centres.to(r)).square() / (2 * self.step**2)).exp()
        return torch.cat([kind.to(r), near], -1)


class Conditional(GroupDistribution):
    """p(g | x) = law at parameters theta + W rho(mean_a phi(features(x)_a)), one law per input x.

    The mean runs over the points a of x, so their order does not matter; phi is a network of two layers and
    rho of one, without which the parameters would be linear in the composition. W starts at zero: at first
    every input has the given law, whose parameters theta are trained along. The offsets act on the
    parameters as they are stored; caps hold for every input.

    The features must be invariant. Then p(g | h x) = p(g | x) for every h of the group: widths say something
    about the molecule, not about the frame it happens to be in, inputs that differ by a motion are
    augmented alike, and where the law is Haar the averaged prediction is invariant. With
    features that turn with x, the law could undo a rotation instead of averaging over it, and nats
    paid in one frame could be earned back in another.

    A context is a batch of padded molecules: anything with `z` (examples, points), `pos` (examples, points, 3)
    and `mask` (examples, points). `elements`, `log_prob` and `divergence` need one; the last batch
    dimension of noise and of elements is its examples.

    Args:
        law: the law whose parameters are made to depend on the input.
        features: `AtomFeatures()`, or anything with `dim` that gives (examples, points, dim).
        width: hidden units of phi and rho.

    Raises:
        UserError: for a law that is conditional already or has a discrete part, no hidden units, or a missing context.

    Sampling costs about five times that of `law`, which is little beside a network; `IGSO3` makes a table per
    input and costs half a second for 128 of them.

    `describe` is that of `law` at theta, which is no average over inputs: an input moves its own law away from it.

    Source: permutation invariance by pooling, Zaheer et al., Deep Sets (2017), arXiv:1703.06114.
    """

    conditional = True

    def __init__(self, law: GroupDistribution, features: Features, width: int = 16) -> None:
        super().__init__()
        if law.conditional:
            raise UserError("`law` must not depend on the input already; give the law inside it to Conditional")
        if law.branches > 1:
            raise UserError("`law` must have no discrete part; multiply it to the conditional law with Product")
        if width < 1:
            raise UserError(f"`width` must be at least 1, got {width}")
        self.law = law
        self.group = law.group
        self.features = features
        self.phi = nn.Sequential(nn.Linear(features.dim, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.rho = nn.Sequential(nn.Linear(width, width), nn.SiLU())
        self.readout = nn.Linear(width, sum(p.numel() for p in law.parameters()), bias=False)  # theta is the bias
        nn.init.zeros_(self.readout.weight)

    @property
    def noise_dim(self) -> int:
        return self.law.noise_dim

    def parameters_of(self, context: Any) -> dict[str, Tensor]:
        """The law's parameters for every example, by name: (examples, *shape)."""
        if context is None or not all(hasattr(context, name) for name in PADDED):
            got = "none" if context is None else type(context).__name__
            raise UserError(
                "a conditional law needs `context`, the batch of padded molecules (`z`, `pos`, `mask`) that it is "
                f"conditioned on, got {got}; use its `law` for the law at the base parameters"
            )
        x = self.features(context).to(self.readout.weight)
        inside = context.mask.unsqueeze(-1)
        points = self.phi(x.masked_fill(~inside, 0.0)).masked_fill(~inside, 0.0)
        pooled = points.sum(-2) / inside.sum(-2).clamp_min(1)  # (examples, width)
        base = dict(self.law.named_parameters())
        offsets = self.readout(self.rho(pooled)).split([p.numel() for p in base.values()], -1)
        return {name: p + o.reshape(-1, *p.shape) for (name, p), o in zip(base.items(), offsets, strict=True)}

    def laws(self, context: Any) -> list[GroupDistribution]:
        """The law of every example, on its own."""
        theta, found = self.parameters_of(context), []
        for k in range(len(context.mask)):
            law = copy.deepcopy(self.law)
            law.load_state_dict({name: value[k].detach() for name, value in theta.items()}, strict=False)
            found.append(law)
        return found

    def elements(self, noise: Tensor, context: Any = None) -> Affine:
        theta = self.parameters_of(context)
        examples = context.mask.shape[0]
        if noise.shape[-2:] != (examples, self.noise_dim):
            raise UserError(
                f"`noise` must have shape (..., {examples}, {self.noise_dim}), examples of the context last but one, "
                f"got {tuple(noise.shape)}"
            )

        def one(theta: dict[str, Tensor], noise: Tensor) -> tuple[Tensor, Tensor]:
            g = self._call("elements", theta, noise)
            return g.linear, g.shift

        # examples come out in front and are moved: vmap places an output that does not vary nowhere else
        linear, shift = vmap(one)(theta, noise.movedim(-2, 0))
        return Affine(linear.movedim(0, -3), shift.movedim(0, -2))

    def divergence(self, context: Any = None) -> Tensor:
        """Mean over the examples."""
        return vmap(lambda theta: self._call("divergence", theta))(self.parameters_of(context)).mean()

    def log_prob(self, g: Affine, context: Any = None) -> Tensor:
        theta = self.parameters_of(context)
        if g.batch_shape[-1:] != context.mask.shape[:1]:
            raise UserError(
                f"`g` must have batch shape (..., {context.mask.shape[0]}), examples of the context last, "
                f"got {g.batch_shape}"
            )

        def one(theta: dict[str, Tensor], linear: Tensor, shift: Tensor) -> Tensor:
            return self._call("log_prob", theta, Affine(linear, shift))

        return vmap(one)(theta, g.linear.movedim(-3, 0), g.shift.movedim(-2, 0)).movedim(0, -1)

    def _call(self, method: str, theta: dict[str, Tensor], *args: Any) -> Any:
        """A method of the law at other parameters."""
        named = {f"law.{name}": value for name, value in theta.items()}
        return functional_call(_Method(self.law, method), named, args)

    def widths(self) -> Tensor:
        """Those of `law` at theta."""
        return self.law.widths()

    def describe(self) -> list[Extent]:
        return self.law.describe()


class _Method(nn.Module):
    """A method as `forward`, which is what functional_call calls."""

    def __init__(self, law: GroupDistribution, method: str) -> None:
        super().__init__()
        self.law, self.method = law, method

    def forward(self, *args: Any) -> Any:
        return getattr(self.law, self.method)(*args)
