"""Laws over group elements: reparameterised samples, nats to the widest law, extents in physical units."""

from molaugerino.distributions.base import Extent as Extent
from molaugerino.distributions.base import GroupDistribution as GroupDistribution
from molaugerino.distributions.haar import HaarBall as HaarBall
from molaugerino.distributions.product import Product as Product
from molaugerino.distributions.product import rigid_motions as rigid_motions
from molaugerino.distributions.translation import TranslationBall as TranslationBall
from molaugerino.distributions.uniform import AlgebraUniform as AlgebraUniform
