"""Layers that may be as equivariant as the data ask for."""

from molaugerino.layers.blocks import BlockLinear as BlockLinear
from molaugerino.layers.blocks import LinearMap as LinearMap
from molaugerino.layers.filters import Convolution as Convolution
from molaugerino.layers.filters import GroupConvolution as GroupConvolution
from molaugerino.layers.filters import SparseConvolution as SparseConvolution
from molaugerino.layers.filters import lifted as lifted
from molaugerino.layers.paths import Dense as Dense
from molaugerino.layers.paths import Factored as Factored
from molaugerino.layers.paths import SparseFactored as SparseFactored
from molaugerino.layers.pathways import Pathways as Pathways
from molaugerino.layers.pathways import last_map as last_map
from molaugerino.layers.pathways import polyphase as polyphase
from molaugerino.layers.pathways import relaxed as relaxed
