"""Laws over group elements: reparameterised samples, nats to the widest law, extents in physical units."""

from molaugerino.distributions.algebra_gaussian import AlgebraGaussian as AlgebraGaussian
from molaugerino.distributions.base import Extent as Extent
from molaugerino.distributions.base import GroupDistribution as GroupDistribution
from molaugerino.distributions.conditional import AtomFeatures as AtomFeatures
from molaugerino.distributions.conditional import Conditional as Conditional
from molaugerino.distributions.families import Family as Family
from molaugerino.distributions.families import about_axis as about_axis
from molaugerino.distributions.families import molecular_law as molecular_law
from molaugerino.distributions.families import rigid_motions as rigid_motions
from molaugerino.distributions.finite import Finite as Finite
from molaugerino.distributions.finite import reflection as reflection
from molaugerino.distributions.gaussian import TranslationGaussian as TranslationGaussian
from molaugerino.distributions.haar import HaarBall as HaarBall
from molaugerino.distributions.igso import IGSO3 as IGSO3
from molaugerino.distributions.product import Product as Product
from molaugerino.distributions.swing_twist import SwingTwist as SwingTwist
from molaugerino.distributions.translation import TranslationBall as TranslationBall
from molaugerino.distributions.uniform import AlgebraUniform as AlgebraUniform
