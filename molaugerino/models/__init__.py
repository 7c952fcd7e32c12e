"""Networks to be wrapped."""

from molaugerino.models.point_transformer import PointTransformer as PointTransformer
from molaugerino.models.readout import Readout as Readout
