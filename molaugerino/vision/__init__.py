"""Networks of images, to be wrapped."""

from molaugerino.vision.convolutions import FiveLayer as FiveLayer
from molaugerino.vision.convolutions import ThirteenLayer as ThirteenLayer
from molaugerino.vision.group_convolutions import GroupConvolutions as GroupConvolutions
from molaugerino.vision.layerwise import PATHS as PATHS
from molaugerino.vision.layerwise import Layerwise as Layerwise
from molaugerino.vision.registry import NETWORKS as NETWORKS
from molaugerino.vision.registry import Network as Network
from molaugerino.vision.registry import make_network as make_network
from molaugerino.vision.residual import SmallResidual as SmallResidual
from molaugerino.vision.unet import UNet as UNet
