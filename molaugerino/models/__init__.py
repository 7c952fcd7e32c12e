"""Networks to be wrapped; those on torch_geometric are in `models.graph`, which imports it."""

from molaugerino.models.canonical import Canonicalised as Canonicalised
from molaugerino.models.frame_averaging import FrameAveraging as FrameAveraging
from molaugerino.models.from_graph import AllPairs as AllPairs
from molaugerino.models.from_graph import FromGraph as FromGraph
from molaugerino.models.painn import PaiNN as PaiNN
from molaugerino.models.point_transformer import PointTransformer as PointTransformer
from molaugerino.models.readout import Readout as Readout
from molaugerino.models.registry import BACKBONES as BACKBONES
from molaugerino.models.registry import Backbone as Backbone
from molaugerino.models.registry import make_network as make_network
from molaugerino.models.scaling import Scaling as Scaling
from molaugerino.models.schnet import SchNet as SchNet
from molaugerino.models.vector_transformer import VectorTransformer as VectorTransformer
