"""Settings: one frozen dataclass per verb, filled from the command line; those of a training also from TOML."""

from molaugerino.config.evidence import EvidenceConfig as EvidenceConfig
from molaugerino.config.images import ImageConfig as ImageConfig
from molaugerino.config.images import ImageLawConfig as ImageLawConfig
from molaugerino.config.images import LawKind as LawKind
from molaugerino.config.images import NetworkName as NetworkName
from molaugerino.config.images import TaskName as TaskName
from molaugerino.config.shared import DEFAULT_MINUTES as DEFAULT_MINUTES
from molaugerino.config.toml import read_training as read_training
from molaugerino.config.toml import to_toml as to_toml
from molaugerino.config.toml import toml_arguments as toml_arguments
from molaugerino.config.train import Augmentation as Augmentation
from molaugerino.config.train import LawConfig as LawConfig
from molaugerino.config.train import ModelName as ModelName
from molaugerino.config.train import NetConfig as NetConfig
from molaugerino.config.train import OptimConfig as OptimConfig
from molaugerino.config.train import TrainConfig as TrainConfig
from molaugerino.config.verbs import BenchmarkConfig as BenchmarkConfig
from molaugerino.config.verbs import DataConfig as DataConfig
from molaugerino.config.verbs import DiscoverConfig as DiscoverConfig
from molaugerino.config.verbs import EmbedConfig as EmbedConfig
from molaugerino.config.verbs import EquivarianceConfig as EquivarianceConfig
from molaugerino.config.verbs import EvaluateConfig as EvaluateConfig
from molaugerino.config.verbs import ExportConfig as ExportConfig
from molaugerino.config.verbs import MeasureConfig as MeasureConfig
from molaugerino.config.verbs import PredictConfig as PredictConfig
from molaugerino.config.verbs import RecipeConfig as RecipeConfig
