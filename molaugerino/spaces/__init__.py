"""Actions of group elements on inputs and outputs; the task lives here and nowhere else."""

from molaugerino.spaces.base import Action as Action
from molaugerino.spaces.base import InputSpace as InputSpace
from molaugerino.spaces.colour import Colour as Colour
from molaugerino.spaces.image import Image as Image
from molaugerino.spaces.mask import Mask as Mask
from molaugerino.spaces.padded import Molecules as Molecules
from molaugerino.spaces.padded import Padded as Padded
from molaugerino.spaces.padded import as_padded as as_padded
from molaugerino.spaces.padded import as_points as as_points
from molaugerino.spaces.points import Points as Points
from molaugerino.spaces.tensors import DirectSum as DirectSum
from molaugerino.spaces.tensors import Tensor2 as Tensor2
from molaugerino.spaces.tensors import Vector as Vector
from molaugerino.spaces.trivial import Invariant as Invariant
