"""molaugerino: molecular properties from networks that learn their symmetry."""

from molaugerino import distributions as distributions
from molaugerino import groups as groups
from molaugerino import quadrature as quadrature
from molaugerino import reductions as reductions
from molaugerino import spaces as spaces
from molaugerino.augment import Augmented as Augmented
from molaugerino.forces import energy_and_forces as energy_and_forces
from molaugerino.version import __version__ as __version__
