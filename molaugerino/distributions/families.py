"""Laws of molecules: turn about the origin, shift, and perhaps reflect."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

from molaugerino.checks import check_range
from molaugerino.distributions.algebra_gaussian import CAP, AlgebraGaussian
from molaugerino.distributions.base import GroupDistribution
from molaugerino.distributions.conditional import AtomFeatures, Conditional
from molaugerino.distributions.finite import reflection
from molaugerino.distributions.gaussian import TranslationGaussian
from molaugerino.distributions.haar import HaarBall
from molaugerino.distributions.igso import IGSO3, NARROWEST
from molaugerino.distributions.product import Product
from molaugerino.distributions.swing_twist import SwingTwist
from molaugerino.distributions.translation import TranslationBall
from molaugerino.distributions.uniform import AlgebraUniform
from molaugerino.errors import UserError
from molaugerino.groups import E3, SE3, SO3

Family = Literal["ball", "gaussian", "swing-twist", "igso", "box"]
PER_AXIS = 1 / math.sqrt(5)  # standard deviation per axis of a ball of radius one


def rigid_motions(rotation: float, translation: float, cap: float = 1.0) -> Product:
    """The plainest law of molecules: turn about the origin by `HaarBall`, then shift by `TranslationBall`.

    Args:
        rotation: largest rotation angle in radians, in [0, pi].
        translation: radius of the ball of shifts in angstrom, in [0, cap].
        cap: the radius to which nats are counted.
    """
    return Product(SE3, TranslationBall(translation, cap), HaarBall(SO3, width=rotation))


def _shifts(translation: float, cap: float) -> TranslationGaussian:
    return TranslationGaussian(PER_AXIS * translation, PER_AXIS * cap)


def _gaussian(rotation: float, translation: float, cap: float) -> Product:
    sigma = min(PER_AXIS * rotation, CAP) if rotation < math.pi else CAP
    return Product(SE3, _shifts(translation, cap), AlgebraGaussian(sigma))


def _swing_twist(rotation: float, translation: float, cap: float) -> Product:
    turn = SwingTwist(twist=rotation, swing=rotation)
    return Product(SE3, _shifts(translation, cap), turn)


def about_axis(axis: Sequence[float], translation: float, cap: float = 1.0) -> Product:
    """All turns about an axis and no others, then a shift: the law of who knows that these are allowed.

    Args:
        axis: three numbers, any length but 0.
        translation: length in angstrom, in [0, cap].
        cap: to which the nats of translations are counted.
    """
    return Product(SE3, _shifts(translation, cap), SwingTwist(axis, twist=math.pi, swing=0.0))


def _igso(rotation: float, translation: float, cap: float) -> Product:
    sigma = max(PER_AXIS * rotation, NARROWEST) if rotation < math.pi else 4.0
    return Product(SE3, TranslationBall(translation, cap), IGSO3(sigma))


def _box(rotation: float, translation: float, cap: float) -> Product:
    widest = math.pi / math.sqrt(3)
    return Product(SE3, AlgebraUniform(SE3, [min(rotation, widest)] * 3 + [translation] * 3, cap))


_MAKE: dict[str, Callable[[float, float, float], Product]] = {
    "ball": rigid_motions,
    "gaussian": _gaussian,
    "swing-twist": _swing_twist,
    "igso": _igso,
    "box": _box,
}


def molecular_law(
    family: Family,
    rotation: float,
    translation: float,
    cap: float = 1.0,
    mirror: float | None = None,
    conditional: bool = False,
) -> GroupDistribution:
    """The law of a family that reaches as far as a ball of these radii, and is the widest where they are.

    Args:
        family: "ball" has one width for all rotations; "gaussian" a full covariance of rotations and one of shifts, so
            it can single out any axis; "swing-twist" one axis, with a width about it and one away from it; "igso" one
            width; "box" a width per coordinate axis.
        rotation: angle in radians, in [0, pi].
        translation: length in angstrom, in [0, cap].
        cap: to which the nats of translations are counted.
        mirror: probability of the inversion, None for none.
        conditional: let the widths of the motions depend on the molecule.
    """
    if family not in get_args(Family):
        raise UserError(f"`family` must be one of {', '.join(get_args(Family))}, got {family!r}")
    check_range("rotation", rotation, 0.0, math.pi + 1e-6, "rad", "no turn is larger")
    check_range("translation", translation, 0.0, cap * (1 + 1e-6), "angstrom", "raise `cap`")
    law: GroupDistribution = _MAKE[family](rotation, translation, cap)
    if conditional:
        law = Conditional(law, AtomFeatures())
    return law if mirror is None else Product(E3, law, reflection(mirror))
