"""Rotations of the plane and of space, in closed form."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from molaugerino.checks import check_last_dims
from molaugerino.groups.affine import Affine, check_space
from molaugerino.groups.algebra import angle_per_sine, cosc, cosc_slope, hat, sinc, tanc
from molaugerino.groups.precision import full_precision


def homogeneous(linear: Float[Tensor, "*batch d d"], shift: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch h h"]:
    """[[linear, shift], [0, 0]]: an algebra element as a matrix on (x, 1)."""
    return torch.nn.functional.pad(torch.cat([linear, shift.unsqueeze(-1)], -1), (0, 0, 0, 1))


class SO2:
    """Rotations of the plane: exp(a) = [[cos a, -sin a], [sin a, cos a]].

    Coordinate a in radians. `log` returns a in (-pi, pi].
    """

    name = "SO(2)"
    dim = 1
    space_dim = 2
    axes: tuple[str, ...] = ("rz",)
    log_volume = math.log(2 * math.pi)

    @staticmethod
    def hat(xi: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch 3 3"]:
        check_last_dims("xi", xi, 1)
        a = xi[..., 0]
        o = torch.zeros_like(a)
        return homogeneous(torch.stack([o, -a, a, o], -1).reshape(*a.shape, 2, 2), torch.stack([o, o], -1))

    @staticmethod
    def exp(xi: Float[Tensor, "*batch 1"]) -> Affine:
        check_last_dims("xi", xi, 1)
        c, s = xi[..., 0].cos(), xi[..., 0].sin()
        return Affine(torch.stack([c, -s, s, c], -1).reshape(*c.shape, 2, 2), torch.zeros_like(xi).expand(*c.shape, 2))

    @staticmethod
    def log(g: Affine) -> Float[Tensor, "*batch 1"]:
        check_space(g, 2)
        return torch.atan2(
            g.linear[..., 1, 0] - g.linear[..., 0, 1], g.linear[..., 0, 0] + g.linear[..., 1, 1]
        ).unsqueeze(-1)

    @staticmethod
    def adjoint(g: Affine) -> Float[Tensor, "*batch 1 1"]:
        check_space(g, 2)
        return torch.ones_like(g.linear[..., :1, :1])

    @staticmethod
    def log_jacobian(xi: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch"]:
        return torch.zeros_like(xi[..., 0])


class SO3:
    """Rotations of space (Rodrigues): exp(w) = I + sin t / t K + (1 - cos t) / t^2 K^2.

    Coordinates w: rotation vector in radians, t = |w|, K = hat(w). `log` returns the w with
    t <= pi, through the quaternion's largest component, so that it is accurate at 0 and
    near pi; at pi exactly the sign of the axis is arbitrary.
    """

    name = "SO(3)"
    dim = 3
    space_dim = 3
    axes: tuple[str, ...] = ("rx", "ry", "rz")
    log_volume = math.log(8 * math.pi**2)

    @staticmethod
    def hat(xi: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 4 4"]:
        check_last_dims("xi", xi, 3)
        return homogeneous(hat(xi), torch.zeros_like(xi))

    @staticmethod
    def exp(xi: Float[Tensor, "*batch 3"]) -> Affine:
        check_last_dims("xi", xi, 3)
        return Affine(rotation(xi), torch.zeros_like(xi))

    @staticmethod
    def turn(angle: Float[Tensor, "*batch"], axis: Float[Tensor, "*batch 3"]) -> Affine:
        """exp(angle axis) for axes of length one, to be differentiated in the angle only: in half the operations."""
        check_last_dims("axis", axis, 3)
        if torch.compiler.is_compiling():  # fused, this is the faster one
            return SO3.exp(angle.unsqueeze(-1) * axis)
        linear = cast(Tensor, _Turn.apply(angle, axis))  # type: ignore[no-untyped-call]
        return Affine(linear, torch.zeros_like(axis))

    @staticmethod
    def log(g: Affine) -> Float[Tensor, "*batch 3"]:
        check_space(g, 3)
        return rotation_vector(g.linear)

    @staticmethod
    def adjoint(g: Affine) -> Float[Tensor, "*batch 3 3"]:
        check_space(g, 3)
        return g.linear

    @staticmethod
    def log_jacobian(xi: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
        """log of 2 (1 - cos t) / t^2."""
        return (2 * cosc(xi.square().sum(-1))).log()


class O3(SO3):
    """Rotations and rotary reflections: det = 1 or -1. exp reaches the rotations only.

    `log` gives the rotation vector of det(g) g, so every element is sign(det g) exp(log g).
    """

    name = "O(3)"
    log_volume = math.log(2) + SO3.log_volume

    @staticmethod
    def log(g: Affine) -> Float[Tensor, "*batch 3"]:
        check_space(g, 3)
        return rotation_vector(sign(g) * g.linear)

    @staticmethod
    def adjoint(g: Affine) -> Float[Tensor, "*batch 3 3"]:
        check_space(g, 3)
        return sign(g) * g.linear

    @staticmethod
    def inversion(g: Affine) -> Affine:
        """-g: the element of the other component that turns alike."""
        return Affine(-g.linear, g.shift)


def sign(g: Affine) -> Float[Tensor, "*batch 1 1"]:
    """Of the determinant of the linear part."""
    return torch.linalg.det(g.linear.detach()).sign()[..., None, None]


def rotation(w: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rodrigues' formula: R = (1 - b s) I + a K + b w w^T with s = t^2 = |w|^2, a = sin t / t, b = (1 - cos t) / s."""
    function = _Rotation if torch.compiler.is_compiling() else _ForwardRotation
    return cast(Tensor, function.apply(w))  # type: ignore[no-untyped-call]


class _Rotation(torch.autograd.Function):
    """Rodrigues' formula and its derivative in few operations; to be differentiated again, through the smooth series.

    With the incoming gradient G, its trace T and A = (G21 - G12, G02 - G20, G10 - G01),
    dL/dw = a A + b (G + G^T - 2 T) w + w (2 a' A.w + b' w.(G + G^T - 2 T) w),   ' = d/ds.
    Near the identity a' and b' lose their digits to cancellation, but what they multiply vanishes faster.
    """

    @staticmethod
    def forward(w: Tensor) -> Tensor:
        v = w.movedim(-1, 0).contiguous()  # several times faster than strided
        a, b, cosine, _ = _quick(v)
        return _assemble(v, a, b, cosine)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (w,) = ctx.saved_tensors
        v = w.movedim(-1, 0).contiguous()
        a, b, a_slope, b_slope = _smooth(v) if torch.is_grad_enabled() else _slopes(v)
        twist, even, diagonal = _parts(gradient)
        (after, last), (even_after, even_last) = _cyclic(v), _cyclic(even)
        stretch = after * even_last + last * even_after - 2 * v * (diagonal.sum(0) - diagonal)  # (G + G^T - 2 T) w
        radial = 2 * a_slope * (v * twist).sum(0) + b_slope * (v * stretch).sum(0)
        return (a * twist + b * stretch + radial * v).movedim(0, -1)


class _ForwardRotation(_Rotation):
    """With forward-mode derivatives and batching, which torch.compile does not take.

    One level of forward mode: of two, one in the other, torch makes something wrong of any Function of this kind.
    """

    generate_vmap_rule = True

    @staticmethod
    @full_precision
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        """dR = hat(J dw) R, J = I + (1 - cos t) / t^2 K + (t - sin t) / t^3 K^2."""
        (w,) = ctx.saved_tensors
        s = w.square().sum(-1, keepdim=True)
        a, b = sinc(s).unsqueeze(-1), cosc(s)
        turned = torch.linalg.cross(w, tangent)
        velocity = tangent + b * turned + tanc(s) * torch.linalg.cross(w, turned)
        eye = torch.eye(3, dtype=w.dtype, device=w.device)
        r = (1 - b * s).unsqueeze(-1) * eye + a * hat(w) + (b * w).unsqueeze(-1) * w.unsqueeze(-2)
        return hat(velocity) @ r


class _Turn(torch.autograd.Function):
    """R = cos t I + sin t K + (1 - cos t) n n^T, K = hat(n); dR/dt = cos t K + sin t (n n^T - I), smooth throughout."""

    generate_vmap_rule = True

    @staticmethod
    def forward(angle: Tensor, axis: Tensor) -> Tensor:
        half = (angle / 2).sin()
        versine = 2 * half * half  # 1 - cos t, no digits lost near 0
        return _assemble(axis.movedim(-1, 0).contiguous(), angle.sin(), versine, 1 - versine)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        angle, axis = ctx.saved_tensors
        n = axis.movedim(-1, 0).contiguous()
        twist, even, diagonal = _parts(gradient)
        after, last = _cyclic(n)
        across = after * last * even + (n * n - 1) * diagonal  # sums to n.G n - T
        return angle.cos() * (n * twist).sum(0) + angle.sin() * across.sum(0), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: Tensor | None) -> Tensor:
        angle, n = ctx.saved_tensors
        eye = torch.eye(3, dtype=n.dtype, device=n.device)
        across = n.unsqueeze(-1) * n.unsqueeze(-2) - eye
        c, s = (tangent * angle.cos())[..., None, None], (tangent * angle.sin())[..., None, None]
        return c * hat(n) + s * across


def _assemble(v: Tensor, a: Tensor, b: Tensor, cosine: Tensor) -> Tensor:
    """cosine I + a hat(v) + b v v^T as (*batch, 3, 3), from v with its components first."""
    after, last = _cyclic(v)
    odd, even = a * v, b * after * last
    p, q, d = even + odd, even - odd, torch.addcmul(cosine, b, v * v)
    rows = torch.stack([d[0], q[2], p[1], p[2], d[1], q[0], q[1], p[0], d[2]], -1)
    return rows.reshape(*rows.shape[:-1], 3, 3)


def _parts(g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(G21 - G12, ...), (G21 + G12, ...), both cyclic, and (G00, ...), each (3, *batch)."""
    g00, g01, g02, g10, g11, g12, g20, g21, g22 = g.flatten(-2).unbind(-1)
    lower, upper = torch.stack([g21, g02, g10]), torch.stack([g12, g20, g01])
    return lower - upper, lower + upper, torch.stack([g00, g11, g22])


def _cyclic(v: Tensor) -> tuple[Tensor, Tensor]:
    """(y, z, x) and (z, x, y), stacked along the first dimension."""
    twice = torch.cat([v, v[:2]])
    return twice[1:4], twice[2:]


def _quick(v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """a, b and cos t, exact to rounding at any t by the half angle, and (t / 2)^2."""
    half = v.square().sum(0).sqrt().clamp_min(1e-15) / 2
    sine = half.sin()
    k = sine / half
    return k * half.cos(), k * k / 2, 1 - 2 * sine * sine, half * half


def _slopes(v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """a, b, a', b'; the last two lose their digits near 0."""
    a, b, cosine, quarter = _quick(v)
    twice = 8 * quarter
    return a, b, (cosine - a) / twice, (a - 2 * b) / twice


def _smooth(v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """a, b, a', b', exact and differentiable everywhere."""
    s = v.square().sum(0)
    b = cosc(s)
    return sinc(s), b, (tanc(s) - b) / 2, cosc_slope(s)


def rotation_vector(r: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Inverse of `rotation` for angles up to pi."""
    q = _quaternion(r)  # (*batch, 4), scalar part first
    q = torch.where(q[..., :1] < 0, -q, q)
    v = q[..., 1:]
    return 2 * angle_per_sine(v.square().sum(-1), q[..., 0]).unsqueeze(-1) * v


def _quaternion(r: Tensor) -> Tensor:
    """Unit quaternion of a rotation from the row of 4 q q^T with the largest diagonal entry."""
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in r.unbind(-2))
    outer = [1 + a + e + i, h - f, c - g, d - b, h - f, 1 + a - e - i, b + d, c + g]
    outer += [c - g, b + d, 1 - a + e - i, f + h, d - b, c + g, f + h, 1 - a - e + i]
    table = torch.stack(outer, -1).reshape(*r.shape[:-2], 4, 4)  # 4 q q^T
    largest = table.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = table.gather(-2, largest[..., None, None].expand(*largest.shape, 1, 4)).squeeze(-2)
    return row / row.norm(dim=-1, keepdim=True)
