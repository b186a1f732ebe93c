"""The reference backend: graphs interpreted with NumPy, node by node. It defines what others must compute."""

from scg_numpy.interpreter import Evaluation as Evaluation
from scg_numpy.interpreter import evaluate as evaluate
from scg_numpy.kernel import NumpyKernel as compile  # noqa: F401
from scg_numpy.kernel import evaluation as evaluation
