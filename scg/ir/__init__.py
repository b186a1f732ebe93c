"""The intermediate representation: hash-consed nodes with axes, the op registry, traversal, printing.

It knows shapes and axes, not what any op computes. Nothing here imports sympy, numba or a backend.
"""

from scg.ir import flat as flat  # nodes are pickled
from scg.ir import printer as printer  # and printed
