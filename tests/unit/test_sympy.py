"""The surrogate in sympy: its derivative is the gradient that the reference computes, on every problem."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy
from problems import PROBLEMS
from scg_numpy.interpreter import Evaluation, evaluate

import scg
from scg.analysis.adjoints import gradients
from scg.export.calculus import unstop
from scg.export.forms import LOO, Choice
from scg.ir.node import apply, constant, make
from scg.ir.traverse import topological
from scg.noise import key
from scg.ops.scan import out
from scg.site import total
from scg.values import bind

STRATEGIES = {
    "policy": None, "score": scg.ScoreFunction(), "constant": scg.ScoreFunction(scg.Constant(0.3)),
    "average": scg.ScoreFunction(scg.MovingAverage()), "weak": scg.WeakDerivative(),
    "fresh": scg.WeakDerivative(noise="fresh"), "local": scg.LocalExpectation(), "muprop": scg.MuProp(),
    "rollout": scg.MuProp(rollout=True), "enumerate": scg.Enumerate(), "pathwise": scg.Pathwise(),
}  # fmt: skip


# --- one replicate in numbers ----------------------------------------------------------------------------------------
def one_replicate(surrogate, values) -> Evaluation:
    """The first row and one replicate, under the noise of seed 0."""
    derivation = surrogate.derivation
    bound = next(bind(derivation.graph, values).by_row())
    states = {s.name: np.full(s.leaf.shape, 0.7) for s in derivation.draft.states}
    paths = {n.attrs.path for n in everything(derivation.roots()) if n.op.name == "noise"}
    return Evaluation({**bound.arrays, **states}, {"row": 1, "lane": 1}, keys={p: key(0, p) for p in paths},
                      groups=lambda size: (np.zeros(0, int), np.zeros(0, int)))


def everything(roots):
    """All nodes, bodies of scans included."""
    for n in topological(roots):
        yield n
        if n.op.name == "scan":
            yield from everything(n.attrs.outputs)


def reference(surrogate, name: str, ev: Evaluation) -> np.ndarray:
    """This replicate's gradient, by reverse mode on the graph and the interpreter."""
    derivation = surrogate.derivation
    param = derivation.graph.params[name]
    (g,) = gradients({total(derivation.roots()): constant(1.0)}, [param], ("row", "lane"))
    return np.zeros(param.shape) if g is None else evaluate([g], ev)[0].reshape(param.shape)


def numbers(converter, ev: Evaluation) -> dict[str, np.ndarray]:
    """What every name in a converted expression is in this replicate."""
    return {name: drawn(*converter.draws[name], name, ev) if name in converter.draws else leaf(converter, name, ev)
            for name in converter.symbols}


def leaf(converter, name: str, ev: Evaluation) -> np.ndarray:
    array = next(np.asarray(v) for k, v in ev.values.items() if k.replace(" ", "_") == name)
    return array[0] if name in converter.graph.rows else array


def drawn(node, frame, name: str, ev: Evaluation) -> np.ndarray:
    """A draw by step, world and element."""
    if name.startswith("epsilon_"):
        node = apply("ndtri", node)
    axes = [ax for ax in node.axes]
    if frame is not None:
        body = frame.scan.attrs
        node = out(make("scan", frame.scan.args, body.with_outputs((*body.outputs, node))), len(body.outputs))
    (array,) = evaluate([node], ev)
    array = array.reshape([ax.size for ax in axes if not ax.statistical] + list(node.shape))
    return array if frame is None else np.moveaxis(array, array.ndim - node.ndim, 0)


_PLAIN = {sympy.exp: math.exp, sympy.log: math.log, sympy.tanh: math.tanh, sympy.cos: math.cos, sympy.sin: math.sin,
          sympy.Add: lambda *x: math.fsum(x), sympy.Mul: lambda *x: math.prod(x), sympy.Pow: lambda x, n: x**n,
          LOO: lambda x: 0.0, sympy.Piecewise: lambda *x: next(v for v, holds in x if holds)}  # fmt: skip


def value(expr, known: dict, bound: dict | None = None, memo: dict | None = None) -> float:
    """An expression at numbers, sums as loops; a group of one has no other replicates."""
    bound, memo = bound or {}, {} if memo is None else memo
    place = expr, *(bound[s] for s in sorted(expr.free_symbols & set(bound), key=str))
    if place not in memo:
        memo[place] = _value(expr, known, bound, memo)
    return memo[place]


def _value(expr, known, bound, memo):
    def of(e):
        return value(e, known, bound, memo)

    if expr.is_Number:
        return float(expr)
    if isinstance(expr, sympy.Symbol):
        return bound[expr] if expr in bound else float(known[expr.name])
    if isinstance(expr, sympy.Indexed):
        return float(known[str(expr.base)][tuple(int(of(i)) for i in expr.indices)])
    if isinstance(expr, sympy.Sum):
        *rest, (i, low, high) = expr.limits
        inner = sympy.Sum(expr.function, *rest) if rest else expr.function
        return math.fsum(value(inner, known, {**bound, i: n}, memo) for n in range(int(of(low)), int(of(high)) + 1))
    if isinstance(expr, Choice):
        return of(expr.args[1]) if of(expr.args[0]) else of(expr.args[2])
    args = [of(a) for a in expr.args]
    if expr.func in _PLAIN:
        return _PLAIN[expr.func](*args)
    exact = [sympy.S(a) if isinstance(a, bool) else sympy.Integer(int(a)) if float(a).is_integer() else sympy.Float(a)
             for a in args]
    found = expr.func(*exact)
    return bool(found) if found in (sympy.true, sympy.false) else float(found)


def check_gradient(surrogate, values, names=None, largest: int = 6) -> None:
    """The law: ∂sympy = the reference's gradient, for every parameter (the first elements of large ones)."""
    ev = one_replicate(surrogate, values)
    for name, param in surrogate.derivation.graph.params.items():
        if names is not None and name not in names:
            continue
        expected, found = reference(surrogate, name, ev), surrogate.gradient(name)
        known = numbers(surrogate._converter(True, param.ndim), ev)
        for index in list(np.ndindex(param.shape))[:largest]:
            element = unstop(found(*index) if param.ndim else found)
            assert math.isclose(value(element, known), expected[index], rel_tol=1e-9, abs_tol=1e-11), (name, index)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_its_derivative_is_the_gradient(problem, strategy):
    p = PROBLEMS[problem]()
    try:
        surrogate = p.graph.surrogate(STRATEGIES[strategy])
    except scg.SCGError:
        pytest.skip("not for this graph")
    check_gradient(surrogate, p.values)
