"""Sets for the Haar average over the rotations of space and of the plane."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.errors import UserError
from molaugerino.groups import SO2, SO3, Affine
from molaugerino.groups.algebra import hat
from molaugerino.quadrature.base import AveragingSet

DEGREES = (3, 5, 7, 9, 11, 15, 17, 19, 21, 23, 29, 31, *range(35, 132, 6))  # 13, 25 and 27 have negative weights
NESTABLE = 7  # rules of higher degree lie in no other
SAME = 1e-9
PHI = math.sqrt(2)
PSI = 1.533751168755204288118041  # the root of psi^4 = psi + 4


def lebedev(degree: int, angles: int | None = None) -> AveragingSet:
    """g = R_z(phi) R_y(theta) R_z(psi): a Lebedev rule over (theta, phi) times uniform psi; weights w_i / angles.

    The integral of D^l_mn over psi leaves n = 0, a spherical harmonic in (theta, phi): with angles > degree, the set
    is exact for every entry of every Wigner matrix with l <= degree. The coarser set takes the 6, 14 or 26 directions
    of a smaller rule that are among these (of six: two poles), with the weights 1 + cos(k psi), k = angles // 2.

    Args:
        degree: the largest l, 1 to 131.
        angles: number of values of psi, at least 1; degree + 1 where left out.

    Returns:
        The smallest such rule without negative weights, float64: 24 elements for degree 3, 84 for 5, 208 for 7.

    Raises:
        UserError: for a degree out of range or less than one angle.

    Source: Lebedev, Laikov, A quadrature formula for the sphere of the 131st algebraic order of accuracy (1999).
    """
    if not 1 <= degree <= DEGREES[-1]:
        raise UserError(f"`degree` must lie in [1, {DEGREES[-1]}], got {degree}; take `super_fibonacci` beyond")
    angles = degree + 1 if angles is None else angles
    if angles < 1:
        raise UserError(f"`angles` must be at least 1, got {angles}; degree + 1 makes the set exact")
    rule, points, weights = _sphere(degree)
    psi, even, uneven = _turns(angles)
    elements = (_pointing(points).unsqueeze(1) @ SO3.exp(_about_z(psi)).unsqueeze(0)).reshape(-1)
    whole = AveragingSet(f"lebedev({degree})", elements, torch.outer(weights, even).flatten())
    if angles == 1:  # nothing coarser in psi
        return whole
    return _with_coarser(whole, torch.outer(_coarse_sphere(rule, points), uneven).flatten())


def super_fibonacci(n: int) -> AveragingSet:
    """Quaternions (sqrt t sin a, sqrt t cos a, sqrt(1 - t) sin b, sqrt(1 - t) cos b), equal weights.

    t = s / n, a = 2 pi s / phi, b = 2 pi s / psi for s = 1/2, 3/2, ..., n - 1/2, with phi = sqrt 2 and psi^4 = psi + 4.
    Any number of rotations, evenly spread, exact for none but the constant; the coarser set is every other one.

    Args:
        n: number of rotations, at least 1.

    Returns:
        n elements, float64.

    Raises:
        UserError: for n < 1.

    Source: Alexa, Super-Fibonacci Spirals: Fast, Low-Discrepancy Sampling of SO(3) (CVPR 2022).
    """
    _check_count(n)
    s = torch.arange(n, dtype=torch.float64) + 0.5
    a, b = 2 * math.pi * s / PHI, 2 * math.pi * s / PSI
    inner, outer = (s / n).sqrt(), (1 - s / n).sqrt()
    q = torch.stack([inner * a.sin(), inner * a.cos(), outer * b.sin(), outer * b.cos()], -1)
    whole = AveragingSet(f"super_fibonacci({n})", from_quaternion(q), torch.full((n,), 1 / n, dtype=torch.float64))
    every_other = torch.zeros(n, dtype=torch.float64)
    every_other[::2] = 1 / len(range(0, n, 2))
    return whole if n == 1 else _with_coarser(whole, every_other)


def circle(n: int) -> AveragingSet:
    """Rotations of the plane by 2 pi j / n, weights 1 / n: exact for cos(k a), sin(k a) with |k| < n.

    The coarser set has the weights (1 + cos(m a)) / n with m = n // 2, which is every other element where n is even;
    it is exact for |k| < m.

    Args:
        n: number of rotations, at least 1.

    Returns:
        n elements of SO(2), float64; the first is the identity.

    Raises:
        UserError: for n < 1.
    """
    _check_count(n)
    a, even, uneven = _turns(n)
    whole = AveragingSet(f"circle({n})", SO2.exp(a.unsqueeze(-1)), even)
    return whole if n == 1 else _with_coarser(whole, uneven)


def from_quaternion(q: Float[Tensor, "*batch 4"]) -> Affine:
    """The rotation x -> q x q^-1 of unit quaternions, scalar part first."""
    a, v = q[..., :1, None], q[..., 1:]
    outer = v.unsqueeze(-1) * v.unsqueeze(-2)
    along = a.square() - v.square().sum(-1, keepdim=True).unsqueeze(-1)
    eye = torch.eye(3, dtype=q.dtype, device=q.device)
    return Affine(along * eye + 2 * outer + 2 * a * hat(v), torch.zeros_like(v))


def _with_coarser(whole: AveragingSet, weights: Tensor) -> AveragingSet:
    """The set, compared with other weights on its elements; those of weight zero are left out."""
    [nested] = (weights > SAME * weights.max()).nonzero(as_tuple=True)
    kept = weights[nested] / weights[nested].sum()
    coarser = AveragingSet(f"{whole.name}, coarser", whole.elements[nested], kept)
    return replace(whole, coarser=coarser, nested=nested)


def _turns(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """n uniform angles, their equal weights, and those of the rule that is exact below n // 2 only."""
    a = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    return a, torch.full_like(a, 1 / n), (1 + (n // 2 * a).cos()) / n


def _sphere(degree: int) -> tuple[int, Tensor, Tensor]:
    """The degree of the smallest rule that will do, its unit vectors (points, 3), and weights that add up to 1."""
    from scipy.integrate import lebedev_rule  # here, so that importing the library does not load scipy

    rule = next(d for d in DEGREES if d >= degree)
    points, weights = lebedev_rule(rule)
    return rule, torch.from_numpy(points.T.copy()), torch.from_numpy(weights / weights.sum())


def _coarse_sphere(rule: int, points: Tensor) -> Tensor:
    """Weights on the same points of the best smaller rule that lies among them, zero elsewhere."""
    weights = torch.zeros(len(points), dtype=points.dtype)
    for smaller in (d for d in range(NESTABLE, 2, -2) if d < rule):
        _, few, shares = _sphere(smaller)
        near, place = torch.cdist(few, points, compute_mode="donot_use_mm_for_euclid_dist").min(-1)
        if float(near.max()) < SAME:
            weights[place] = shares
            return weights
    weights[points[:, 2].abs() > 1 - SAME] = 0.5  # the poles: exact for odd l
    return weights


def _pointing(n: Tensor) -> Affine:
    """R_z(phi) R_y(theta), which take the z axis to the unit vectors n."""
    theta, phi = torch.atan2(n[:, :2].norm(dim=-1), n[:, 2]), torch.atan2(n[:, 1], n[:, 0])
    about_y = torch.stack([torch.zeros_like(theta), theta, torch.zeros_like(theta)], -1)
    return SO3.exp(_about_z(phi)) @ SO3.exp(about_y)


def _about_z(angle: Tensor) -> Tensor:
    return torch.nn.functional.pad(angle.unsqueeze(-1), (2, 0))


def _check_count(n: int) -> None:
    if n < 1:
        raise UserError(f"`n` must be at least 1, got {n}")
