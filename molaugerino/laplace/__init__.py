"""The marginal likelihood of a network by Laplace's method, differentiable in what it is to choose."""

from molaugerino.laplace.blocks import Rows as Rows
from molaugerino.laplace.blocks import block_rows as block_rows
from molaugerino.laplace.blocks import evidence_slopes as evidence_slopes
from molaugerino.laplace.curvature import Curvature as Curvature
from molaugerino.laplace.curvature import Full as Full
from molaugerino.laplace.curvature import Kernels as Kernels
from molaugerino.laplace.curvature import Spectra as Spectra
from molaugerino.laplace.evidence import IDLE as IDLE
from molaugerino.laplace.evidence import Mode as Mode
from molaugerino.laplace.evidence import log_evidence as log_evidence
from molaugerino.laplace.evidence import raise_evidence as raise_evidence
from molaugerino.laplace.jacobians import Parameters as Parameters
from molaugerino.laplace.jacobians import diagonal as diagonal
from molaugerino.laplace.jacobians import exact as exact
from molaugerino.laplace.jacobians import kernels as kernels
from molaugerino.laplace.kfac import kfac as kfac
from molaugerino.laplace.kfac import linear_tensors as linear_tensors
from molaugerino.laplace.likelihoods import Categorical as Categorical
from molaugerino.laplace.likelihoods import Gaussian as Gaussian
from molaugerino.laplace.likelihoods import Likelihood as Likelihood
from molaugerino.laplace.priors import Priors as Priors
