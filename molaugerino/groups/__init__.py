"""Lie groups that act on points: exponential and logarithm, closed forms where they exist, one element type."""

from molaugerino.groups.affine import Affine as Affine
from molaugerino.groups.base import Group as Group
from molaugerino.groups.colours import colours as colours
from molaugerino.groups.colours import hues as hues
from molaugerino.groups.matrix import MatrixGroup as MatrixGroup
from molaugerino.groups.matrix import aff2 as aff2
from molaugerino.groups.matrix import aff3 as aff3
from molaugerino.groups.product import DirectProduct as DirectProduct
from molaugerino.groups.scale import AnisotropicScale as AnisotropicScale
from molaugerino.groups.scale import Scale as Scale
from molaugerino.groups.scale import Shear as Shear
from molaugerino.groups.se import E3 as E3
from molaugerino.groups.se import SE2 as SE2
from molaugerino.groups.se import SE3 as SE3
from molaugerino.groups.se import T2 as T2
from molaugerino.groups.se import T3 as T3
from molaugerino.groups.so import O3 as O3
from molaugerino.groups.so import SO2 as SO2
from molaugerino.groups.so import SO3 as SO3
