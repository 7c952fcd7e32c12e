"""Lie groups that act on points: exponential and logarithm in closed form, one element type."""

from molaugerino.groups.affine import Affine as Affine
from molaugerino.groups.base import Group as Group
from molaugerino.groups.se import SE3 as SE3
from molaugerino.groups.se import T3 as T3
from molaugerino.groups.so import SO2 as SO2
from molaugerino.groups.so import SO3 as SO3
