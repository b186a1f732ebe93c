"""Exact values: enumeration, quadrature, and the law that estimators are held to."""
