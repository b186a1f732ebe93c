"""Expectations and variances of estimators on small finite graphs, as formulas in the parameters."""
