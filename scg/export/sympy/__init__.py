"""Formulas as sympy."""

import sympy

from scg.export.sympy import elements as elements  # fills the tables of rules, whoever is the first to convert
from scg.export.sympy.forms import LOO, stop_gradient

# What `sympify` reads are the names that sympy exports. An unknown function would stand in the place of ⊥, whose
# derivative is not 0.
for function in (stop_gradient, LOO):
    if not hasattr(sympy, function.__name__):
        setattr(sympy, function.__name__, function)
        sympy.__all__.append(function.__name__)
