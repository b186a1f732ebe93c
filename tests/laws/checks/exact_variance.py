"""The exact variance of a kernel's contributions, in numbers."""

from __future__ import annotations

import numpy as np

from scg.analysis.reach import sum_of
from scg.differentiate.reverse_mode import gradients
from scg.expectation.fed_kernel import FedKernel
from scg.expectation.law import initial_states, lanes_of, what_is_averaged
from scg.ir.node import Node, constant
from scg.run.values import bind


def numeric_variance(d, values) -> dict[str, np.ndarray]:
    """The variance of the kernel's contributions over all pieces of the noise, of pairs where these are coupled."""
    fed, states = FedKernel(d, "numpy", "float64"), initial_states(d)
    found = dict.fromkeys(fed.names, 0.0)
    rows, averaged = list(bind(d.leaves, values).by_row()), [*what_is_averaged(d), *_squares(d)]
    for row in rows:
        lanes = lanes_of(d, averaged, row, states)
        n, size = len(lanes.measure), lanes.group
        weights = lanes.measure.reshape(-1, size).sum(axis=1)
        for name, g in zip(fed.names, fed.run(row, states, lanes.uniforms, n // size, n)[1:]):
            g = g.reshape(-1, size, *g.shape[1:]).mean(axis=1)
            mean = np.tensordot(weights, g, 1)
            found[name] = found[name] + np.tensordot(weights, (g - mean) ** 2, 1) / len(rows) ** 2
    return found


def _squares(d) -> list[Node]:
    """Of each replicate's contributions: where these are made of noise itself, means need fewer points."""
    params = [node for name, node in d.graph.params.items() if name in d.moved]
    each = gradients({sum_of(d.roots()): constant(1.0)}, params, ("row", "lane"))
    return [g * g for g in each if g is not None]
