"""How invariant and equivariant any network is, end to end and layer by layer."""

from molaugerino.equivariance.angles import Worst as Worst
from molaugerino.equivariance.angles import curve as curve
from molaugerino.equivariance.angles import worst as worst
from molaugerino.equivariance.correlation import Correlation as Correlation
from molaugerino.equivariance.correlation import SampleCorrelation as SampleCorrelation
from molaugerino.equivariance.correlation import SpatialCorrelation as SpatialCorrelation
from molaugerino.equivariance.frames import FrameTest as FrameTest
from molaugerino.equivariance.frames import frame_test as frame_test
from molaugerino.equivariance.layers import layer_names as layer_names
from molaugerino.equivariance.layers import outputs as outputs
from molaugerino.equivariance.layerwise import drawn as drawn
from molaugerino.equivariance.layerwise import fixed as fixed
from molaugerino.equivariance.layerwise import layer_correlations as layer_correlations
from molaugerino.equivariance.lie import LayerLie as LayerLie
from molaugerino.equivariance.lie import layer_lie_derivatives as layer_lie_derivatives
from molaugerino.equivariance.lie import lie_derivatives as lie_derivatives
from molaugerino.equivariance.loss_share import LossShare as LossShare
from molaugerino.equivariance.loss_share import absolute as absolute
from molaugerino.equivariance.loss_share import loss_share as loss_share
from molaugerino.equivariance.loss_share import row_losses as row_losses
from molaugerino.equivariance.loss_share import shared as shared
from molaugerino.equivariance.loss_share import squared as squared
from molaugerino.equivariance.views import ImageView as ImageView
from molaugerino.equivariance.views import MoleculeView as MoleculeView
