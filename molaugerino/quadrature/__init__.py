"""Averaging sets: weighted group elements that stand for an integral over a group or over a law, with an error."""

from molaugerino.quadrature.adaptive import Estimate as Estimate
from molaugerino.quadrature.adaptive import to_tolerance as to_tolerance
from molaugerino.quadrature.base import AveragingSet as AveragingSet
from molaugerino.quadrature.base import product as product
from molaugerino.quadrature.draws import Law as Law
from molaugerino.quadrature.draws import antithetic as antithetic
from molaugerino.quadrature.draws import random as random
from molaugerino.quadrature.draws import sobol as sobol
from molaugerino.quadrature.finite import cube as cube
from molaugerino.quadrature.finite import icosahedron as icosahedron
from molaugerino.quadrature.finite import square as square
from molaugerino.quadrature.intervals import box as box
from molaugerino.quadrature.intervals import gauss_legendre as gauss_legendre
from molaugerino.quadrature.rotations import circle as circle
from molaugerino.quadrature.rotations import lebedev as lebedev
from molaugerino.quadrature.rotations import super_fibonacci as super_fibonacci
from molaugerino.quadrature.wigner import power as power
from molaugerino.quadrature.wigner import wigner_d as wigner_d
