"""The intermediate representation: hash-consed nodes with axes, the op registry, traversal, printing.

It knows shapes and axes, not what any op computes. Nothing here imports sympy, numba or a backend.
"""
