"""Molecules in, properties with intervals out."""

from molaugerino.predict.embed import Embeddings as Embeddings
from molaugerino.predict.options import Options as Options
from molaugerino.predict.predictor import Predictor as Predictor
from molaugerino.predict.table import Row as Row
from molaugerino.predict.table import Table as Table
