"""The exact variance of an estimator in numbers: of what its kernel contributes on all pieces of the noise.

Of a leave-one-out group of two, what replicates i and j contribute is a function h of both. As means over the others
are linear in these, the mean of a group of n is the mean of h over all its pairs, a U-statistic: its variance is
2 (2 (n − 2) ζ₁ + ζ₂) / (n (n − 1)), where ζ₂ is the variance of h, and ζ₁ of its mean over j (Hoeffding 1948).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from scg.analysis.reach import sum_of
from scg.differentiate.reverse_mode import gradients
from scg.expectation.fed_kernel import FedKernel
from scg.expectation.law import initial_states, lanes_of
from scg.ir.node import constant
from scg.run.values import bind
from scg.surrogate.derivation import Derivation


def variance_by_kernel(derivation: Derivation, values: Mapping[str, Any], group: int | None = None,
                       state: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
    """The variance of what is averaged, by param: of one replicate's contribution, or the mean of a group's.

    Parameters
    ----------
    derivation : Derivation
        Whose terms are linear in means over other replicates.
    values : dict of str to array_like
        With several rows, it is the variance of the mean over rows.
    group : int, optional
        The size of leave-one-out groups, where there are any.
    state : dict, optional

    Raises
    ------
    ExactError
        If the graph is not finite, or its noise falls into too many pieces.
    """
    fed = FedKernel(derivation, "numpy", "float64")
    states = initial_states(derivation) | dict(state or {})
    cost = sum_of(derivation.roots())
    params = [derivation.leaves.params[name] for name in fed.names]
    by_lane = [g for g in gradients({cost: constant(1.0)}, params, ("lane",)) if g is not None]
    roots = [cost, *by_lane, *(g * g for g in by_lane)]  # quadrature must resolve the squares too
    rows = list(bind(derivation.leaves, values).by_row())
    found = dict.fromkeys(fed.names, np.zeros(()))
    for row in rows:
        lanes = lanes_of(derivation, roots, row, states)
        each = fed.contributions(row, states, lanes.uniforms, len(lanes.measure), lanes.group)
        for name, g in each.items():
            of_row = _variance(g, lanes.measure) if lanes.group == 1 else _of_pairs(g, lanes.measure, group or 2)
            found[name] = found[name] + of_row / len(rows) ** 2
    return found


def _variance(g: np.ndarray, weights: np.ndarray) -> np.ndarray:
    centred = g - np.tensordot(weights, g, 1)
    return np.tensordot(weights, centred**2, 1)


def _of_pairs(g: np.ndarray, measure: np.ndarray, n: int) -> np.ndarray:
    """Of the mean of a group of n, from the contributions in all ordered pairs of lanes."""
    lanes = math.isqrt(len(measure) // 2)
    weights = measure.reshape(-1, 2).sum(axis=1).reshape(lanes, lanes)
    own = weights.sum(axis=1)
    h = g.reshape(lanes, lanes, 2, *g.shape[1:]).mean(axis=2)
    both = _variance(h.reshape(-1, *g.shape[1:]), weights.reshape(-1))
    one = _variance(np.einsum("j,ij...->i...", own, h), own)
    return 2.0 * (2.0 * (n - 2) * one + both) / (n * (n - 1))
