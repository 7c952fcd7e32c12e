"""The Gaussian in algebra coordinates of the rotations, with a full covariance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molaugerino.checks import check_last_dims
from molaugerino.distributions.base import Extent, GroupDistribution
from molaugerino.errors import UserError
from molaugerino.groups import SO3, Affine
from molaugerino.groups.algebra import cosc
from molaugerino.groups.jacobi import one_sided_jacobi
from molaugerino.groups.precision import full_precision

CAP = 1.7  # rad; where exp of the isotropic Gaussian is nearest Haar (0.012 nat), and beyond which it moves away
NARROWEST = 1e-3  # of the cap; below, `divergence` is constant
NODES = 512  # quasi-random points of the mean in `divergence`
WINDINGS = 2  # turns beyond the principal one that the density counts, each way
REMEDY = "beyond, the law on the group moves away from Haar again"
LEAST_SQUARE = 1e-24  # rad^2; where exp(w) is 1, its other windings have infinite density
LEAST = 1e-7  # noise is kept this far from 0 and 1, where the quantile is infinite


class AlgebraGaussian(GroupDistribution):
    """g = exp(A n), n standard normal in three dimensions, A any 3 x 3 matrix with singular values up to 1.7 rad.

    The covariance A A^T says about which axes the law turns, and how far: singular values 1.7, 0, 0 turn
    about one axis only, wherever it points. Beyond 1.7 rad per axis the law on the group would move
    away from Haar again, so that is the widest.

    Args:
        scale: A in radians: one number s for s I, three for a diagonal, or 3 x 3.

    Raises:
        UserError: for another shape, or a singular value beyond the cap.

    `divergence` is the Kullback-Leibler divergence to Haar on the group: the density at exp(w) sums the
    Gaussian over the windings w (1 + 2 pi k / |w|) and divides by the volume element; the mean of its
    logarithm is taken over fixed quasi-random points of the law.
    """

    noise_dim = 3
    nodes: Tensor

    def __init__(self, scale: float | Sequence[float] | Sequence[Sequence[float]] | Tensor = 0.1) -> None:
        super().__init__()
        self.group = SO3()
        self._raw = nn.Parameter(square_matrix(scale, CAP, "rad", REMEDY) / CAP)  # singular values up to one
        engine = torch.quasirandom.SobolEngine(3, scramble=True, seed=0)  # type: ignore[no-untyped-call]
        sobol = engine.draw(NODES, dtype=torch.float64)
        self.register_buffer("nodes", sobol, persistent=False)

    @property
    def scale(self) -> Tensor:
        """A (3, 3) in radians, differentiable."""
        return CAP * capped(self._raw)

    @full_precision
    def elements(self, noise: Tensor, context: Any = None) -> Affine:
        check_last_dims("noise", noise, self.noise_dim)
        normal = torch.special.ndtri(noise.clamp(LEAST, 1 - LEAST))
        return self.group.exp(normal @ self.scale.to(noise.dtype).mT)

    def _covariance(self) -> Tensor:
        """A A^T in float64, of full rank."""
        a = self.scale.double()
        floor = CAP * NARROWEST * torch.eye(3, dtype=a.dtype, device=a.device)
        return a @ a.mT + floor.square()

    def divergence(self, context: Any = None) -> Tensor:
        covariance = self._covariance()
        w = torch.special.ndtri(self.nodes.double().clamp(LEAST, 1 - LEAST)) @ torch.linalg.cholesky_ex(covariance).L.mT
        return (log_density(w, covariance).mean() + SO3.log_volume).to(self._raw.dtype)

    def log_prob(self, g: Affine, context: Any = None) -> Tensor:
        return log_density(SO3.log(g.to(torch.float64)), self._covariance()).to(g.shift.dtype)

    def principal(self) -> tuple[Tensor, Tensor]:
        """Standard deviations (3,) in radians, widest first, and their axes as the rows of a (3, 3) matrix."""
        u, s, _ = torch.linalg.svd(self.scale.detach())
        return s, u.mT

    def widths(self) -> Tensor:
        return self.scale.flatten()

    def describe(self) -> list[Extent]:
        with torch.no_grad():
            angle = SO3.log(self.elements(self.nodes)).norm(dim=-1)
            nats = max(float(self.divergence()), 0.0)
        degrees = math.degrees
        width, mean = degrees(float(angle.square().mean().sqrt())), degrees(float(angle.mean()))
        return [Extent("rotation angle", self.group.axes, width, mean, 180.0, "degree", nats)]


@full_precision
def log_density(w: Tensor, covariance: Tensor) -> Tensor:
    """log of the density at exp(w) against the Haar measure of volume 8 pi^2; coordinates w (n, 3) of any length."""
    t = w.norm(dim=-1, keepdim=True)
    some = t > 0
    any_axis = torch.eye(3, dtype=w.dtype, device=w.device)[0]
    along = torch.where(some, w / torch.where(some, t, 1.0), any_axis)
    left = t - 2 * math.pi * torch.round(t.detach() / (2 * math.pi))  # the shortest coordinates of exp(w), signed
    windings = torch.arange(-WINDINGS, WINDINGS + 1, dtype=w.dtype, device=w.device)
    lengths = left + 2 * math.pi * windings  # (n, windings), along w
    quadratic = (along @ torch.linalg.inv_ex(covariance).inverse * along).sum(-1, keepdim=True)
    log_norm = -0.5 * torch.linalg.slogdet(2 * math.pi * covariance).logabsdet
    # the volume element 2 (1 - cos l) / l^2 is that of each winding: exp covers the group once per turn
    beside_shortest = left.square().clamp_min(LEAST_SQUARE).log() - lengths.square().clamp_min(LEAST_SQUARE).log()
    log_volume = (2 * cosc(left.square())).log() + torch.where(windings == 0, 0.0, beside_shortest)
    return torch.logsumexp(log_norm - quadratic * lengths.square() / 2 - log_volume, -1)


class _Capped(torch.autograd.Function):
    """Singular values clamped to one; the gradient vanishes only where a step would push a clamped one further."""

    generate_vmap_rule = True

    @staticmethod
    @full_precision
    def forward(raw: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        us, s, v = one_sided_jacobi(raw)
        capped = (us / s.clamp_min(1).unsqueeze(-2)) @ v.mT
        return capped.to(raw.dtype), us, s, v

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
        ctx.save_for_backward(*output[1:])
        ctx.mark_non_differentiable(*output[1:])

    @staticmethod
    @full_precision
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> Tensor:
        us, s, v = ctx.saved_tensors
        u = us / s.clamp_min(1).unsqueeze(-2)  # left singular vectors where it matters
        along = (u * (gradient.to(v.dtype) @ v)).sum(-2)
        leaving = torch.where((s >= 1) & (along < 0), along, 0.0)
        return gradient - ((u * leaving.unsqueeze(-2)) @ v.mT).to(gradient.dtype)


def capped(raw: Float[Tensor, "3 3"]) -> Float[Tensor, "3 3"]:
    """`raw` with its singular values clamped to one, as `bounded` clamps numbers."""
    return cast(Tensor, _Capped.apply(raw)[0])  # type: ignore[no-untyped-call]


def square_matrix(
    scale: float | Sequence[float] | Sequence[Sequence[float]] | Tensor, cap: float, unit: str, remedy: str
) -> Tensor:
    """3 x 3 from one number, three, or 3 x 3, singular values checked against the cap."""
    value = torch.as_tensor(scale, dtype=torch.get_default_dtype())
    if value.shape not in ((), (3,), (3, 3)) or not bool(torch.isfinite(value).all()):
        raise UserError(f"`scale` must be one number, three, or 3 x 3, all finite, got shape {tuple(value.shape)}")
    matrix = value if value.dim() == 2 else value * torch.eye(3)
    largest = float(torch.linalg.svdvals(matrix)[0])
    if largest > cap * (1 + 1e-6):
        raise UserError(f"`scale` must have singular values of at most {cap:g} {unit}, got {largest:.4g}; {remedy}")
    return matrix
