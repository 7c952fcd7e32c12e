"""Molecules with labels: reading, framing, splitting, batching."""

from molaugerino.datasets.batches import Batch as Batch
from molaugerino.datasets.batches import BatchStream as BatchStream
from molaugerino.datasets.batches import PaddedData as PaddedData
from molaugerino.datasets.frames import Frames as Frames
from molaugerino.datasets.frames import in_frames as in_frames
from molaugerino.datasets.molecules import Geometry as Geometry
from molaugerino.datasets.molecules import MoleculeSet as MoleculeSet
from molaugerino.datasets.molecules import load_npz as load_npz
from molaugerino.datasets.prepared import open_prepared as open_prepared
from molaugerino.datasets.prepared import save_prepared as save_prepared
from molaugerino.datasets.sources import EMBEDDED as EMBEDDED
from molaugerino.datasets.sources import NAMES as NAMES
from molaugerino.datasets.sources import data_path as data_path
from molaugerino.datasets.sources import open_data as open_data
from molaugerino.datasets.splits import Split as Split
from molaugerino.datasets.splits import load_split as load_split
from molaugerino.datasets.splits import random_split as random_split
from molaugerino.datasets.splits import save_split as save_split
from molaugerino.datasets.targets import Target as Target
from molaugerino.datasets.targets import channel_slices as channel_slices
from molaugerino.datasets.targets import output_action as output_action
from molaugerino.datasets.targets import parse_target as parse_target
from molaugerino.datasets.worlds import World as World
from molaugerino.datasets.worlds import WorldName as WorldName
