"""What a law does about an axis and along a direction, judged on the group."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.distributions import GroupDistribution
from molaugerino.groups import E3, Affine

DRAWS = 2**16
HARMONICS = 128
SEED = 1


@torch.no_grad()
def draws(law: GroupDistribution, count: int = DRAWS) -> Affine:
    """The same `count` elements at every call, in float64."""
    generator = torch.Generator().manual_seed(SEED)
    noise = law.noise((count,), generator, dtype=torch.float64, device="cpu")
    reference = next(law.parameters())
    return law.elements(noise.to(reference)).to(torch.float64).to(noise.device)


def rotation_vectors(g: Affine) -> Float[Tensor, "draws 3"]:
    """Of the rotations det(A) A, in radians, no longer than pi."""
    return E3.log(g)[..., :3]


def tilt(g: Affine, axis: Tensor) -> Float[Tensor, " draws"]:
    """Angle in radians between the axis and where det(A) A takes it."""
    r = torch.linalg.det(g.linear).sign()[:, None, None] * g.linear
    moved = r @ axis
    return torch.atan2(torch.linalg.cross(axis.expand_as(moved), moved).norm(dim=-1), moved @ axis)


def spin(g: Affine, axis: Tensor) -> Float[Tensor, " draws"]:
    """Angle of the turn about the axis in det(A) A = swing twist, in radians, (-pi, pi]."""
    w = rotation_vectors(g)
    t = w.norm(dim=-1)
    turn = 2 * torch.atan2((t / 2).sin() * (w @ axis), t * (t / 2).cos())
    return torch.remainder(turn + math.pi, 2 * math.pi) - math.pi


def nats_to_circle(angles: Tensor) -> float:
    """Kullback-Leibler divergence of a law of angles to the uniform one, from draws.

    The density is summed from HARMONICS Fourier coefficients, so laws narrower than about 2 degrees all look alike, and
    the noise of n draws adds about HARMONICS / n nats.
    """
    grid = torch.linspace(-math.pi, math.pi, 2049, dtype=angles.dtype)[:-1]
    density = torch.ones_like(grid)
    for k in range(1, HARMONICS + 1):
        fade = math.exp(-((2 * k / HARMONICS) ** 2))  # no ringing where the law is narrower than the resolution
        density += (
            2 * fade * ((k * angles).cos().mean() * (k * grid).cos() + (k * angles).sin().mean() * (k * grid).sin())
        )
    density = density.clamp_min(1e-12)
    density = density / density.mean()
    return max(float((density * density.log()).mean()), 0.0)


def principal_axes(vectors: Float[Tensor, "draws 3"]) -> tuple[Float[Tensor, " 3"], Float[Tensor, "3 3"]]:
    """Root mean squares along the principal axes, widest first, and the axes as rows."""
    values, axes = torch.linalg.eigh(vectors.mT @ vectors / len(vectors))
    return values.clamp_min(0).sqrt().flip(0), axes.mT.flip(0)
