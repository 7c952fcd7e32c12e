"""SMILES in, properties out."""

from molaugerino.predict.predictor import Predictor as Predictor
from molaugerino.predict.predictor import Row as Row
