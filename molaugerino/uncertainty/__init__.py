"""How far a prediction may be off: signals from the network, intervals that are calibrated on unseen molecules, and
whether a molecule is of the kind that the network knows."""

from molaugerino.uncertainty.answers import Answers as Answers
from molaugerino.uncertainty.answers import Passes as Passes
from molaugerino.uncertainty.answers import answers as answers
from molaugerino.uncertainty.calibrate import Calibration as Calibration
from molaugerino.uncertainty.calibrate import Coverage as Coverage
from molaugerino.uncertainty.calibrate import Spread as Spread
from molaugerino.uncertainty.calibrate import coverage as coverage
from molaugerino.uncertainty.conformal import Interval as Interval
from molaugerino.uncertainty.domain import Domain as Domain
from molaugerino.uncertainty.domain import DomainState as DomainState
from molaugerino.uncertainty.domain import bond_ratios as bond_ratios
from molaugerino.uncertainty.latent import Latent as Latent
from molaugerino.uncertainty.store import load_calibration as load_calibration
from molaugerino.uncertainty.store import save_calibration as save_calibration
