"""Formulas as sympy."""
