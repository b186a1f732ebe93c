"""The laws of an estimator: on a finite graph its expected gradient is that of the enumerated expectation, to rounding.

Of sites that have infinitely many values, or many together, its gradients are held to closed forms, by sampling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from scg.compile import compile as compiled
from scg.derive import derive
from scg.distributions import Bernoulli, Categorical, Gamma, Normal, Poisson
from scg.estimators import Estimator
from scg.expectation.exact import Integral, integrate
from scg.expectation.law import Expectation, expected_gradient
from scg.graph import Graph
from scg.initial import brought
from scg.laws.broken import require

TOLERANCE = 1e-10
SAMPLES, SEED = 100_000, 20_260_101
MANY = 12  # draws of an array


def worst(found: Mapping[str, Any], expected: Mapping[str, Any]) -> float:
    """Largest difference of two dicts of arrays, relative to the largest value above 1."""
    require(set(found) == set(expected), f"gradients of {sorted(found)} instead of {sorted(expected)}")
    scale = max([1.0, *(float(np.max(np.abs(e), initial=0.0)) for e in expected.values())])
    return max((float(np.max(np.abs(np.asarray(found[n]) - e), initial=0.0)) for n, e in expected.items()),
               default=0.0) / scale


def check_exact_law(graph: Any, values: Mapping[str, Any], strategy: Any = None, *, form: str = "log",
                    state: Any = None, exact: Integral | None = None, by: Any = expected_gradient) -> None:
    """The law for one graph and one strategy: gradient and cost, interpreted or as `by` finds them.

    Params that the estimators bring along start as they say, unless they are among the values.
    """
    exact = integrate(graph, values) if exact is None else exact
    d = derive(graph, strategy, form=form)
    starting = brought(d.draft.params)
    check_expectation(by(d, {**starting, **values}, state=state), exact, f"under {strategy}", aside=tuple(d.auxiliary))


def check_expectation(found: Expectation, exact: Any, label: str, tolerance: float = TOLERANCE,
                      aside: tuple[str, ...] = ()) -> None:
    """An expected gradient and cost against the exact ones; no cost is made of the params named `aside`."""
    moved = [name for name in aside if np.any(exact.grad.get(name, 0.0))]
    require(not moved, f"a cost is made of {moved}, which only objectives should be")
    error = worst(found.grad, {name: g for name, g in exact.grad.items() if name not in aside})
    require(error < tolerance, f"the expected gradient {label} is off by {error:.2e}")
    off = abs(found.cost - exact.cost) / max(1.0, abs(exact.cost))
    require(off < tolerance, f"the expected cost {label} is off by {off:.2e}")


# --- small graphs ----------------------------------------------------------------------------------------------------
def small_graphs() -> Iterator[tuple[str, Graph, dict[str, Any]]]:
    """Finite graphs in which an estimator meets all that a site can be: name, graph, values."""
    for build in (_toy, _chain, _array, _categorical, _rows, _loop):
        yield build.__doc__ or "", *build()


def _toy() -> tuple[Graph, dict[str, Any]]:
    """one Bernoulli site"""
    g = Graph("one site")
    b = g.sample("b", Bernoulli(logits=g.param("t")))
    g.cost("loss", 3.0 * (b - 0.45) ** 2)
    return g, {"t": 0.4}


def _chain() -> tuple[Graph, dict[str, Any]]:
    """two sites, the second given the first, and a cost of each"""
    g = Graph("chain")
    t, w = g.param("t"), g.param("w")
    a = g.sample("a", Bernoulli(logits=t))
    b = g.sample("b", Bernoulli(logits=w * a - 0.3))
    g.cost("first", (a - w) ** 2)
    g.cost("second", (b - 0.45) ** 2 + 0.7 * a * b)
    return g, {"t": 0.4, "w": -0.8}


def _array() -> tuple[Graph, dict[str, Any]]:
    """an array of two draws"""
    g = Graph("array")
    b = g.sample("b", Bernoulli(logits=g.param("t", 2)))
    g.cost("loss", (b - 0.45) @ np.array([[1.0, 0.4], [-0.2, 0.5]]) @ b)
    return g, {"t": [0.4, -0.7]}


def _categorical() -> tuple[Graph, dict[str, Any]]:
    """a categorical site"""
    g = Graph("categorical")
    k = g.sample("k", Categorical(logits=g.param("t", 3)))
    g.cost("loss", (k - 0.6) ** 2)
    return g, {"t": [0.3, -0.2, 0.5]}


def _rows() -> tuple[Graph, dict[str, Any]]:
    """a site of each row, beside one that the rows share"""
    g = Graph("rows")
    t, y = g.param("t"), g.data("y")
    s = g.sample("s", Bernoulli(logits=0.5 * t))
    b = g.sample("b", Bernoulli(logits=t * y + s))
    g.cost("loss", (b - y) ** 2 + 0.3 * s)
    return g, {"t": 0.4, "y": [0.2, -1.1]}


def _loop() -> tuple[Graph, dict[str, Any]]:
    """a site in each step of a loop"""
    g = Graph("loop")
    t = g.param("t")

    def step(state: Any, x: Any) -> tuple[Any, None]:
        b = g.sample("b", Bernoulli(logits=t + state))
        g.cost("loss", (state + b - x) ** 2)
        return 0.8 * state + b, None

    g.scan(step, 0.5, xs=np.array([0.1, 0.4]))
    return g, {"t": 0.3}


def sampled_graphs() -> Iterator[tuple[str, Graph, dict[str, Any], dict[str, Any]]]:
    """Graphs whose sites have infinitely many values, or many together: name, graph, values, gradients."""
    for build in (_normal, _poisson, _gamma, _many):
        yield build.__doc__ or "", *build()


def _normal() -> tuple[Graph, dict[str, Any], dict[str, Any]]:
    """a normal site"""
    g = Graph("normal")
    g.cost("loss", g.sample("x", Normal(g.param("m"), g.param("s"))) ** 2)
    return g, {"m": 0.7, "s": 1.3}, {"m": 1.4, "s": 2.6}  # E x² = m² + s²


def _poisson() -> tuple[Graph, dict[str, Any], dict[str, Any]]:
    """a Poisson site"""
    g = Graph("Poisson")
    g.cost("loss", (g.sample("n", Poisson(g.param("r"))) - 1.0) ** 2)
    return g, {"r": 1.5}, {"r": 2.0}  # E (n − 1)² = r + (r − 1)²


def _gamma() -> tuple[Graph, dict[str, Any], dict[str, Any]]:
    """a Gamma site"""
    g = Graph("Gamma")
    g.cost("loss", g.sample("x", Gamma(g.param("a"), g.param("b"))) ** 2)
    return g, {"a": 2.0, "b": 1.5}, {"a": 5.0 / 2.25, "b": -12.0 / 1.5**3}  # E x² = a (a + 1) / b²


def _many() -> tuple[Graph, dict[str, Any], dict[str, Any]]:
    """an array of 12 draws"""
    g, t = Graph("many"), np.linspace(-1.0, 1.0, MANY)
    b = g.sample("b", Bernoulli(logits=g.param("t", MANY)))
    g.cost("loss", (b.sum() - 4.0) ** 2)
    p = 1.0 / (1.0 + np.exp(-t))  # E (n − 4)² = Σ p (1 − p) + (Σ p − 4)²
    return g, {"t": t}, {"t": p * (1.0 - p) * (1.0 - 2.0 * p + 2.0 * (p.sum() - 4.0))}


def check_by_sampling(graph: Graph, values: Mapping[str, Any], expected: Mapping[str, Any],
                      estimator: Estimator) -> None:
    """Gradients are within five standard errors of closed forms."""
    r = compiled(graph, strategy=estimator, backend="numpy")(values, samples=SAMPLES, rng=SEED)
    for name, slope in expected.items():
        off, error = np.abs(r.grad[name] - slope), np.asarray(r.stderr[name])
        if np.any(off > np.maximum(5.0 * error, 1e-10)):
            worst_at = np.argmax(off / np.maximum(error, 1e-300))
            found, right = np.ravel(r.grad[name])[worst_at], np.ravel(slope)[worst_at]
            require(False, f"the gradient in {name} under {estimator} is {found:.6g} ± "
                    f"{np.ravel(error)[worst_at]:.2g} instead of {right:.6g}")
