"""The reference backend: graphs interpreted with NumPy, node by node. It defines what every other backend must compute."""

from scg_numpy.interpreter import Evaluation as Evaluation
from scg_numpy.interpreter import evaluate as evaluate
