"""Formulas as sympy."""

from scg.export.sympy import elements as elements  # fills the tables of rules, whoever is the first to convert
