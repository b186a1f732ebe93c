"""Descent: optimisers as functions of dicts of arrays, and a loop that fits the params of a compiled graph."""

from scg.optim.fitting import Fit as Fit
from scg.optim.fitting import fit as fit
from scg.optim.optimisers import Optimiser as Optimiser
from scg.optim.optimisers import adam as adam
from scg.optim.optimisers import sgd as sgd
