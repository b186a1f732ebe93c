"""The exact law: the expectation of a surrogate's gradient on a finite graph, without sampling error.

It is what `scg.verify` compares with `scg.exact`, and the primary law for estimators.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from scg import backend
from scg.analysis.reach import sum_of
from scg.differentiate.reverse_mode import gradients
from scg.errors import ExactError
from scg.expectation.fed_kernel import FedKernel
from scg.expectation.noise_boxes import LONG_RUN, MOST_LANES, Boxes, boxes
from scg.ir.location import here
from scg.ir.node import Node, constant, where
from scg.ir.traverse import topological
from scg.ops.measure import expect, expect_op, leave_one_out_op
from scg.run.values import Values, bind
from scg.surrogate.derivation import Derivation

MOST_PAIRED = math.isqrt(MOST_LANES // 2)  # boxes of which all pairs are looked at
ORDERS = (1, 3, 8, 16, 32, 48, 64)  # points along what is smooth in a box, tried until two agree
AGREE = 1e-11


@dataclass(frozen=True)
class Expectation:
    """Expected cost and gradients of an estimator, expected updates of its state, and how many lanes that took.

    Of a kernel's gradients also the expectations of the absolute values of what replicates contribute.
    """

    cost: float
    grad: Mapping[str, np.ndarray]
    states: Mapping[str, np.ndarray]
    lanes: int
    grad_size: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Lanes:
    """Weighted lanes that cover the noise of one row, in groups of two where replicates are coupled."""

    uniforms: Mapping[str, np.ndarray]
    measure: np.ndarray
    group: int

    def groups(self, size: int | None):
        """Starts and sizes of the leave-one-out groups."""
        n = len(self.measure)
        return np.arange(0, n, self.group), np.full(n // self.group, self.group)


def coupled(roots: list[Node]) -> bool:
    """Whether a leave-one-out mean makes replicates depend on each other."""
    return any(n.op is leave_one_out_op for n in topological(roots))


def _refuse_averages(derivation: Derivation) -> None:
    """A mean over the replicates of a call is not the expectation that the weighted lanes would put in its place."""
    for node in topological(derivation.roots()):
        if node.op is expect_op and "lane" in node.attrs:
            raise ExactError(where(node), "The exact expectation of a surrogate was asked for.",
                             "A term of it averages over the replicates of a call, its own among them.",
                             LONG_RUN)


def paired(found: Boxes) -> Lanes:
    """All ordered pairs of boxes as groups of two replicates."""
    m = len(found.volumes)
    first, second = np.divmod(np.arange(m * m), m)
    index = np.stack([first, second], axis=1).reshape(-1)
    weights = np.repeat(found.volumes[first] * found.volumes[second], 2) / 2.0
    return Lanes({p: u[index] for p, u in found.uniforms.items()}, weights, 2)


def lanes_of(derivation: Derivation, roots: list[Node], bound: Values, states: Mapping[str, Any]) -> Lanes:
    """Lanes that cover the noise of one row's replicates."""
    numpy = backend.load("numpy")

    def evaluation(count: int, uniforms):
        return numpy.Evaluation(bound.arrays, {"row": 1, "lane": count}, states=states, uniforms=uniforms,
                                groups=lambda size: (np.zeros(0, int), np.zeros(0, int)))

    pairs = coupled(roots)
    found = boxes(roots, derivation.site_nodes, evaluation, MOST_PAIRED if pairs else MOST_LANES)
    if found.smooth:
        found = _resolved(found, roots, evaluation)
    return paired(found) if pairs else Lanes(found.uniforms, found.volumes, 1)


def _resolved(found: Boxes, roots: list[Node], evaluation) -> Boxes:
    """The boxes with points along what is smooth in them: so many along each uniform that more change nothing.

    Raises
    ------
    ExactError
        If a term is not resolved along one, or there would be too many points.
    """
    numpy = backend.load("numpy")

    def means(boxes: Boxes) -> list[np.ndarray]:
        lanes = replace(evaluation(len(boxes.volumes), boxes.uniforms), measure=boxes.volumes)
        return [np.asarray(v) for v in numpy.evaluate([expect(r) for r in roots], lanes)]

    def agree(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
        return all(np.allclose(a, b, rtol=AGREE, atol=AGREE) for a, b in zip(one, other))

    centre = means(found)
    if agree(centre, means(found.to_both_sides())):  # linear
        return found
    orders = {}
    for along in found.smooth:
        before = centre
        for fewer, order in pairwise(ORDERS):
            after = means(found.along({along: order}))
            if agree(before, after):
                orders[along] = fewer
                break
            before = after
        else:
            raise ExactError(str(here() or ""), "An exact expectation over noise was asked for.",
                             "A term of the estimator is not resolved along a uniform that it reads.",
                             LONG_RUN)
    return found.along({along: order for along, order in orders.items() if order > 1})


def expected_gradient(derivation: Derivation, values: Mapping[str, Any],
                      state: Mapping[str, Any] | None = None) -> Expectation:
    """E[∇surrogate], the expected cost, and the expected update of every state, exactly.

    Raises
    ------
    ExactError
        If the graph is not finite, its noise falls into too many pieces, or a term averages over replicates.
    """
    _refuse_averages(derivation)
    params = _params(derivation)
    roots = derivation.roots()
    grads = gradients({sum_of(roots): constant(1.0)}, params)
    grads = [constant(np.zeros(p.shape)) if g is None else g for p, g in zip(params, grads)]
    updates = [s.update for s in derivation.draft.states]
    outputs: list[Any] = [expect(sum_of(list(derivation.draft.costs.values()))), *grads, *updates]
    states = initial_states(derivation) | dict(state or {})
    bound = bind(derivation.leaves, values)
    parts = [_one_row(derivation, outputs, row, states) for row in bound.by_row()]
    n = 1 + len(params)
    mean = [sum(p[0][i] for p in parts) / len(parts) for i in range(len(outputs))]
    return Expectation(float(mean[0]), {p.attrs.name: v for p, v in zip(params, mean[1:])},
                       {s.name: v for s, v in zip(derivation.draft.states, mean[n:])}, max(p[1] for p in parts))


def expected_by_kernel(derivation: Derivation, values: Mapping[str, Any], technology: str = "numba",
                       state: Mapping[str, Any] | None = None, dtype: str = "float64") -> Expectation:
    """The same expectation from a compiled kernel: its replicates' contributions under fed noise, weighted.

    Raises
    ------
    ExactError
        If the graph is not finite, or its noise falls into too many pieces.
    """
    return by_fed_kernel(FedKernel(derivation, technology, dtype), derivation, values, state)


def by_fed_kernel(fed: FedKernel, derivation: Derivation, values: Mapping[str, Any],
                  state: Mapping[str, Any] | None = None) -> Expectation:
    """What `expected_by_kernel` says, of a kernel that is compiled already."""
    _refuse_averages(derivation)
    states = initial_states(derivation) | dict(state or {})
    parts, most = [], 0
    for row in bind(derivation.leaves, values).by_row():
        lanes = lanes_of(derivation, what_is_averaged(derivation), row, states)
        most = max(most, len(lanes.measure))
        parts.append(fed.weighted(row, states, lanes.uniforms, lanes.measure, lanes.group))
    mean, size = ([np.sum([p[which][i] for p in parts], axis=0) / len(parts) for i in range(1 + len(fed.names))]
                  for which in (0, 1))
    return Expectation(float(mean[0]), dict(zip(fed.names, mean[1:])), {}, most, dict(zip(fed.names, size[1:])))


def initial_states(derivation: Derivation) -> dict[str, np.ndarray]:
    """The numbers that a first call begins with."""
    return {s.name: np.full(s.leaf.shape, s.initial) for s in derivation.draft.states}


def _params(derivation: Derivation) -> list[Node]:
    """The params that are differentiated."""
    return [node for name, node in derivation.graph.params.items() if name in derivation.moved]


def what_is_averaged(derivation: Derivation) -> list[Node]:
    """Everything whose samples must be settled: the costs, and the gradients of costs and terms."""
    grads = gradients({sum_of(derivation.roots()): constant(1.0)}, _params(derivation))
    return [sum_of(list(derivation.draft.costs.values())), *(g for g in grads if g is not None)]


def _one_row(derivation: Derivation, outputs: list[Node], bound: Values, states: Mapping[str, Any]):
    lanes = lanes_of(derivation, outputs, bound, states)
    numpy = backend.load("numpy")
    evaluation = numpy.Evaluation(bound.arrays, {"row": 1, "lane": len(lanes.measure)}, states=states,
                                  measure=lanes.measure, uniforms=lanes.uniforms, groups=lanes.groups)
    return [np.asarray(v) for v in numpy.evaluate(outputs, evaluation)], len(lanes.measure)
