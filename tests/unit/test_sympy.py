"""The surrogate in sympy: its derivative is the gradient that the reference computes, on every problem."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import sympy
from problems import PROBLEMS
from scg_numpy.interpreter import Evaluation, evaluate
from sympy.printing.numpy import JaxPrinter
from sympy.printing.pytorch import TorchPrinter

import scg
from scg.analysis.reach import sum_of
from scg.differentiate.reverse_mode import gradients
from scg.estimators import ESTIMATORS
from scg.export.names import Names
from scg.export.sympy import to_sympy
from scg.export.sympy.calculus import spell_out, unstop
from scg.export.sympy.elements import ELEMENTS
from scg.export.sympy.forms import LOO, Choice, Stopped, Table, Unfolded
from scg.export.sympy.forms import number as number_of
from scg.export.sympy.named import Named, Shared
from scg.export.sympy.to_sympy import At, Converter
from scg.initial import brought
from scg.ir.axes import Axis
from scg.ir.node import constant, make
from scg.ir.op import OPS
from scg.ir.traverse import substitute, topological
from scg.noise import key
from scg.ops.leaves import feed
from scg.ops.measure import axis_sum, axis_to_event, event_to_axis, replace_one
from scg.ops.randomness import expand
from scg.ops.scan import out
from scg.run.values import bind
from tests.refused import refusal

THETA, X, Y = sympy.symbols("theta x y")

STRATEGIES = {
    "policy": None, "Constant": scg.ScoreFunction(scg.Constant(0.3)),
    "MovingAverage": scg.ScoreFunction(scg.MovingAverage()), "fresh": scg.WeakDerivative(noise="fresh"),
    "rollout": scg.MuProp(rollout=True),
    **{name: cls() for name, cls in ESTIMATORS.items() if cls.__module__.startswith("scg.") and not cls.stationary},
}  # fmt: skip


# --- one replicate in numbers ----------------------------------------------------------------------------------------
def one_replicate(surrogate, values) -> Evaluation:
    """The first row and one replicate, under the noise of seed 0."""
    derivation = surrogate.derivation
    params = brought(derivation.draft.params)
    names = [p.name for p in derivation.draft.params]
    old = {name: values[name.removesuffix(" old")] for name in names if name.removesuffix(" old") in values}
    bound = next(bind(derivation.leaves, {**params, **old, **values}).by_row())
    states = {s.name: np.full(s.leaf.shape, 0.7) for s in derivation.draft.states}
    paths = {n.attrs.path for n in everything(expand(derivation.roots())) if n.op.name == "noise"}
    return Evaluation(bound.arrays, {"row": 1, "lane": 1}, states=states, keys={p: key(0, p) for p in paths},
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
    (g,) = gradients({sum_of(derivation.roots()): constant(1.0)}, [param], ("row", "lane"))
    return np.zeros(param.shape) if g is None else evaluate([g], ev)[0].reshape(param.shape)


def numbers(converter, ev: Evaluation) -> dict[str, np.ndarray]:
    """What every draw and leaf in a converted expression is in this replicate."""
    given = {**ev.values, **ev.states}
    leaves = {name.replace(" ", "_"): v[0] if name in converter.graph.rows else v for name, v in given.items()}
    leaves |= {converter.names.given(name): leaves[name.replace(" ", "_")] for name in given}
    return leaves | {name: drawn(*behind, ev) for name, behind in converter.draws.items()}


def drawn(node, frame, ev: Evaluation) -> np.ndarray:
    """A draw by step, world and element."""
    axes, carry = node.axes, None
    if frame is not None:
        body = frame.scan.attrs
        carry = next((i for i, c in enumerate(body.carries) if c is node), None)
        node = out(make("scan", frame.scan.args, body.with_outputs((*body.outputs, node))), len(body.outputs))
    (array,) = evaluate([node], ev)
    array = array.reshape([ax.size for ax in axes if not ax.statistical] + list(node.shape))
    if frame is None:
        return array
    array = np.moveaxis(array, array.ndim - node.ndim, 0)
    return np.concatenate([array, drawn_last(carry, frame, ev, array)]) if carry is not None else array


def drawn_last(i: int, frame, ev: Evaluation, like: np.ndarray) -> np.ndarray:
    """The value of a carry after the last step."""
    return evaluate([out(frame.scan, i)], ev)[0].reshape(1, *like.shape[1:])


_PLAIN = {sympy.exp: math.exp, sympy.log: math.log, sympy.tanh: math.tanh, sympy.cos: math.cos, sympy.sin: math.sin,
          sympy.Add: lambda *x: math.fsum(x), sympy.Mul: lambda *x: math.prod(x), sympy.Pow: lambda x, n: x**n,
          LOO: lambda x: 0.0}  # fmt: skip


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
    if isinstance(expr, (Named, Shared, Unfolded)):
        return of(expr.args[0] if isinstance(expr, Unfolded) else expr.definition)
    if isinstance(expr, sympy.Indexed):
        return float(known[str(expr.base)][tuple(int(of(i)) for i in expr.indices)])
    if isinstance(expr, sympy.Sum):
        *rest, (i, low, high) = expr.limits
        inner = sympy.Sum(expr.function, *rest) if rest else expr.function
        return math.fsum(value(inner, known, {**bound, i: n}, memo) for n in range(int(of(low)), int(of(high)) + 1))
    if isinstance(expr, Choice):
        return of(expr.args[1]) if of(expr.args[0]) else of(expr.args[2])
    if isinstance(expr, sympy.Piecewise):
        return next(of(x) for x, condition in expr.args if of(condition))
    if expr in (sympy.true, sympy.false):
        return bool(expr)
    if isinstance(expr, Table):
        return float(expr.args[0].values[tuple(int(of(i)) for i in expr.args[1:])])
    args = [of(a) for a in expr.args]
    if expr.func in _PLAIN:
        return _PLAIN[expr.func](*args)
    exact = [sympy.S(a) if isinstance(a, bool) else sympy.Integer(int(a)) if float(a).is_integer() else sympy.Float(a)
             for a in args]
    found = expr.func(*exact)
    return bool(found) if found in (sympy.true, sympy.false) else float(found)


def check_gradient(surrogate, values) -> None:
    """The law: ∂sympy = the reference's gradient, for every element of every parameter."""
    ev = one_replicate(surrogate, values)
    for name, param in surrogate.derivation.graph.params.items():
        expected, found = reference(surrogate, name, ev), surrogate.estimator(name)
        known = numbers(surrogate._converter(True, param.ndim), ev)
        expr, free, memo = (found.expr, found.variables, {}) if param.ndim else (found, (), {})
        for index in np.ndindex(param.shape):
            got = value(expr, known, dict(zip(free, index)), memo)
            assert math.isclose(got, expected[index], rel_tol=1e-9, abs_tol=1e-11), (name, index)


# long formulas: others with as many kinds of nodes and loops are tried under all strategies
LONG = {"scan_3_steps", "unrolled_2_steps"}
# loops that sympy expands for minutes under some strategies: a plain run has two of their steps there
LOOPS = {"scan_4_steps", "scan_along_data"}
AS_THEY_ARE = ("policy", "ScoreFunction")
# of two steps too
MINUTES = {("scan_along_data", "MuProp"), ("scan_along_data", "rollout"), ("scan_along_data", "StraightThrough"),
           *(("one_hot_pair", name) for name in ("GumbelSoftmax", "MuProp", "rollout")),
           ("scan_masked", "Enumerate"), ("two_layer_net", "Enumerate"), ("scan_3_steps", "policy"),
           ("scan_3_steps", "ScoreFunction"), ("scan_4_steps", "rollout"), ("scan_along_data", "Enumerate")}


def _cases():
    for problem in PROBLEMS:
        for strategy in STRATEGIES:
            if refusal(problem, STRATEGIES[strategy]) or (problem in LONG and strategy not in AS_THEY_ARE):
                continue
            short = problem in LOOPS and strategy not in AS_THEY_ARE
            if short and (problem, strategy) not in MINUTES:
                yield pytest.param(problem, strategy, 2, id=f"two_steps_of_{problem}-{strategy}")
            yield pytest.param(problem, strategy, None, id=f"{problem}-{strategy}",
                               marks=[pytest.mark.full] if short or (problem, strategy) in MINUTES else [])


@pytest.mark.one_in(6)
@pytest.mark.parametrize("problem, strategy, steps", list(_cases()))
def test_its_derivative_is_the_gradient(problem, strategy, steps):
    """scan_masked and normal_scan keep their steps between the first and the last under nearly every strategy."""
    p = PROBLEMS[problem]() if steps is None else PROBLEMS[problem](steps)
    check_gradient(p.graph.surrogate(STRATEGIES[strategy]), p.values)


def test_the_law_notices_a_lost_stop():
    p = PROBLEMS["figure_1_graph_4"]()
    surrogate = p.graph.surrogate(scg.ScoreFunction())
    ev = one_replicate(surrogate, p.values)
    wrong = sympy.diff(unstop(surrogate.sympy(expand=True)), THETA)
    found = value(wrong, numbers(surrogate._converter(True), ev))
    assert not math.isclose(found, float(reference(surrogate, "theta", ev)), rel_tol=1e-3)


# --- as code ---------------------------------------------------------------------------------------------------------
ALONE = [{"LOO": lambda x: 0.0}, "scipy", "numpy"]  # one replicate has no others


def check_code(surrogate, values) -> None:
    """What `sympy.lambdify` makes of the formulas is the reference's gradient."""
    ev = one_replicate(surrogate, values)
    for name, param in surrogate.derivation.graph.params.items():
        expected, found = reference(surrogate, name, ev), surrogate.estimator(name)
        known = numbers(surrogate._converter(True, param.ndim), ev)
        expr, free = (found.expr, found.variables) if param.ndim else (found, ())
        symbols = [s for s in expr.free_symbols if not isinstance(s, sympy.Indexed) and s not in free]
        names = {(s.label if isinstance(s, sympy.IndexedBase) else s): known[str(s)] for s in symbols}
        given = {s: np.asarray(v) if np.ndim(v) else int(v) if v == int(v) else float(v) for s, v in names.items()}
        function = sympy.lambdify([*given, *free], expr, modules=ALONE)
        for index in np.ndindex(param.shape):
            got = function(*given.values(), *index)
            np.testing.assert_allclose(float(got), expected[index], rtol=1e-9, atol=1e-11, err_msg=f"{name} {index}")


def _running_sums():
    g = scg.Graph()
    t = g.param("t")
    b = g.sample("b", scg.Bernoulli(logits=t))
    g.cost("c", np.sum((np.cumsum(scg.stack([t, b])) * t - 0.3) ** 2))
    return g, {"t": 0.4}


def _running_sums_of_elements():
    g = scg.Graph()
    t = g.param("t", 3)
    b = g.sample("b", scg.Bernoulli(logits=t))
    g.cost("c", np.sum((np.cumsum(b * t) - 0.3) ** 2))
    return g, {"t": np.array([0.4, -0.7, 1.1])}


def _neighbours():
    """Beside each element the one after it, and nothing beside the last: its index is outside."""
    g = scg.Graph()
    t = g.param("t", 20)
    b = g.sample("b", scg.Bernoulli(logits=t))
    g.cost("c", np.sum(np.cumsum(b * scg.concatenate([t[1:], np.zeros(1)]))))
    return g, {"t": np.linspace(-1.0, 1.0, 20)}


def _numbers_of_the_graph():
    """Arrays of numbers that no formula in the index describes, at a running index and at a sample."""
    g, table = scg.Graph(), np.array([0.3, 1.7, -0.4, 2.9])
    t = g.param("t", 4)
    k = g.sample("k", scg.Categorical(logits=t))
    g.cost("c", np.sum(g.sample("b", scg.Bernoulli(logits=t)) * table) * constant(table)[k])
    return g, {"t": np.array([0.4, -0.7, 1.1, 0.2])}


WITHOUT_MEANS = {(_numbers_of_the_graph, "MuProp")}  # a table has no value at a mean


@pytest.mark.parametrize("strategy", ["policy", "ScoreFunction", "LocalExpectation", "WeakDerivative", "MuProp"])
@pytest.mark.parametrize("graph", [_running_sums, _running_sums_of_elements, _neighbours, _numbers_of_the_graph])
def test_its_derivative_as_code(graph, strategy):
    g, values = graph()
    if (graph, strategy) in WITHOUT_MEANS:
        with pytest.raises(scg.ConditionError, match="which jumps there"):
            g.surrogate(STRATEGIES[strategy])
    else:
        check_code(g.surrogate(STRATEGIES[strategy]), values)


@pytest.mark.parametrize("problem", [p for p in PROBLEMS if p not in LONG])
def test_the_policys_derivative_as_code(problem):
    p = PROBLEMS[problem]()
    check_code(p.graph.surrogate(), p.values)


# --- forms -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_short_form_is_worth_the_same(problem):
    """Named nodes, costs of scans and carries stand for what the expanded form spells out."""
    p = PROBLEMS[problem]()
    surrogate = p.graph.surrogate()
    ev = one_replicate(surrogate, p.values)
    short, long = (value(unstop(surrogate.sympy(expand)), numbers(surrogate._converter(expand), ev))
                   for expand in (False, True))
    assert math.isclose(short, long, rel_tol=1e-12)


@pytest.mark.parametrize("problem", [p for p in PROBLEMS if "scan" not in p])
def test_the_short_form_differentiates_as_the_long_one(problem):
    surrogate = PROBLEMS[problem]().graph.surrogate()
    assert spell_out(surrogate.sympy()) == surrogate.sympy(expand=True)


def test_a_named_node_is_a_symbol_and_is_differentiated_as_its_definition():
    surrogate = PROBLEMS["figure_1_graph_1"]().graph.surrogate(scg.ScoreFunction())
    short = surrogate.sympy()
    assert X in short.free_symbols and "x" in str(short) and "theta" not in str(short)
    assert unstop(spell_out(short.diff(THETA) - surrogate.gradient("theta"))) == 0
    assert short.subs({X: 2, Y: 3}) == surrogate.sympy(expand=True).subs({THETA: sympy.sqrt(2), Y: 3})


def test_a_carry_is_never_taken_for_a_constant():
    g = scg.Graph("carry")
    theta = g.param("theta")
    (x, _) = g.scan(lambda x, _: (x * theta, None), 0.5, length=3)
    g.cost("last", x)
    surrogate = g.surrogate()
    assert surrogate.sympy(expand=True) == THETA**3 / 2
    assert surrogate.gradient("theta") == 3 * THETA**2 / 2
    assert surrogate.sympy().diff(THETA).has(sympy.Derivative)


def test_indices_are_not_captured():
    g = scg.Graph("capture")
    g.cost("c", g.param("w", 3) ** 2)
    w, i = sympy.IndexedBase("w"), sympy.Symbol("i", integer=True, nonnegative=True)
    assert g.surrogate().sympy().diff(w[i]).doit().subs(i, 1) == 2 * w[1]


def test_a_condition_stays_inside_its_sum():
    """sympy moves a Piecewise out of a nested Sum, though its condition holds for some of the terms only."""
    g = scg.Graph("nested")
    x = g.input("x", (2, 3))
    g.cost("c", np.tanh(np.where(x > 0.5, x, 0.0).sum(axis=1)).sum())
    expr = g.surrogate().sympy()
    symbols, array = sympy.IndexedBase("x"), np.array([[0.1, 0.7, 0.9], [0.6, 0.2, 0.3]])
    got = expr.doit().subs({symbols[i]: array[i] for i in np.ndindex(2, 3)})
    assert math.isclose(got, np.tanh(np.where(array > 0.5, array, 0.0).sum(axis=1)).sum(), rel_tol=1e-12)


def test_scans_in_scans():
    g = scg.Graph("nested")
    a, b, m = g.param("a"), g.param("b", 2), g.input("m", (2, 3))

    def outer(s, row):
        def inner(s, x):
            g.cost("inside", s * s * x)
            return np.tanh(a * s + b * x), None

        s, _ = g.scan(inner, s, xs=row)
        g.cost("between", s.sum() * a)
        return s, None

    last, _ = g.scan(outer, b * 0.5, xs=m)
    g.cost("end", last[0])
    values = {"a": 0.4, "b": np.array([0.3, -0.8]), "m": np.array([[0.1, 0.5, -0.3], [0.7, -0.2, 0.4]])}
    check_gradient(g.surrogate(), values)


def test_indices_avoid_the_names_of_the_graph():
    g = scg.Graph("names")
    i, t = g.param("i", 2), g.param("t")
    g.cost("j", i**2 * t)
    assert str(g.surrogate().sympy()) == "Sum(t*i[k]**2, (k, 0, 1))"


def test_an_unknown_parameter_is_refused():
    with pytest.raises(scg.DeclarationError, match="no param of that name"):
        PROBLEMS["bernoulli_toy"]().graph.surrogate().gradient("b")


def test_terms_read_as_formulas():
    surrogate = PROBLEMS["figure_1_graph_4"]().graph.surrogate(scg.ScoreFunction())
    (term,) = surrogate.terms
    assert term.site == "x" and str(term) == "log p(x | theta) * ⊥(f)"
    assert term.sympy(expand=True).free_symbols == {X, THETA}
    assert list(surrogate.costs) == ["f"] and surrogate.symbols == {"theta": THETA, "x": X}


def test_importing_the_package_leaves_sympy_alone():
    code = "import scg, sys; sys.exit('sympy' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


def test_log_sum_exp_is_written_without_its_shift():
    surrogate = PROBLEMS["categorical_toy"]().graph.surrogate(scg.ScoreFunction())
    assert not surrogate.sympy().has(sympy.Max)


def test_the_stop():
    stopped, (w,) = Stopped, sympy.symbols("w,")
    assert sympy.diff(stopped(w) * w, w) == stopped(w)
    assert stopped(stopped(w)) == stopped(w) and stopped(sympy.Integer(3)) == 3
    assert stopped(w + 1).subs(w, 2) == 3 and stopped(w).doit() == stopped(w)
    assert str(stopped(w)) == "stop_gradient(w)" and sympy.latex(stopped(w)) == r"\bot\left(w\right)"
    assert unstop(stopped(w * stopped(w))) == w**2
    base, i = sympy.IndexedBase("b"), sympy.Symbol("i", integer=True)
    assert sympy.diff(stopped(base[i]), base[0]) == 0


def test_the_stop_survives():
    """Pickles, text that is read again and `srepr` hold it; no code is written without it."""
    g = scg.Graph()
    theta = g.param("theta")
    b = g.sample("b", scg.Bernoulli(logits=theta))
    g.cost("loss", (b - 0.45) ** 2 * scg.stack([1.0, 3.0, 7.0])[g.input("k")])
    s = g.surrogate()
    e = s.sympy()
    assert pickle.loads(pickle.dumps(e)) == e and pickle.loads(pickle.dumps(s.gradient("theta"))) == e.diff("theta")
    e = PROBLEMS["bernoulli_toy"]().graph.surrogate().sympy()
    for again in (sympy.sympify(str(e)), sympy.sympify(sympy.srepr(e))):
        assert again == e and sympy.diff(again, "theta") == sympy.diff(e, "theta") and again.has(Stopped)


def test_the_stop_in_code():
    e = PROBLEMS["bernoulli_toy"]().graph.surrogate(scg.ScoreFunction()).sympy()
    assert "*jax.lax.stop_gradient((b - 9/20)**2)" in JaxPrinter().doprint(e)
    assert ").detach()" in TorchPrinter().doprint(e)
    for printed in (sympy.ccode, sympy.pycode, sympy.fcode, sympy.julia_code, sympy.octave_code, sympy.rust_code,
                    lambda e: sympy.lambdify(["theta", "b"], e)):
        with pytest.raises((scg.SCGError, NotImplementedError), match=r"⊥|stop_gradient"):
            printed(e)
    as_said = sympy.lambdify(["theta", "b"], e, [{"stop_gradient": lambda x: x}, "math"])
    assert math.isclose(as_said(0.3, 1.0), 0.55**2 * (1.0 + 0.3 - math.log1p(math.exp(0.3))))


def test_a_derivative_by_name_is_the_estimator():
    g = scg.Graph()
    w, theta = g.param("w", 3), g.param("theta")
    b = g.sample("b", scg.Bernoulli(logits=w * theta))
    g.cost("c", np.sum((b - abs(w)) ** 2))
    s = g.surrogate(scg.ScoreFunction())
    assert s.gradient("theta") == sympy.diff(s.sympy(True), "theta") == sympy.diff(s.sympy(), THETA) != 0
    one, other = sympy.diff(s.sympy(True), sympy.IndexedBase("w")[1]).doit(), s.gradient("w")(1).doit()
    assert one != 0 and sympy.expand(one - other) == 0


def test_gradients_of_nodes():
    g = scg.Graph()
    theta, x = g.param("theta"), g.data("x")
    h = g.node("h", theta * x)
    b = g.sample("b", scg.Bernoulli(logits=h))
    g.cost("c", (b - h * 2.0) ** 2)
    s = scg.compile(g, strategy=scg.ScoreFunction(), wrt=("theta", "h", "x"), backend="numpy").surrogate
    assert sympy.expand(s.gradient("h") * X - s.gradient("theta")) == 0 != s.gradient("h")
    assert sympy.expand(s.gradient("h") * THETA - s.gradient("x")) == 0


def test_numbers_give_way_to_names():
    g = scg.Graph()
    pi, e = g.param("pi"), g.param("E")
    x = g.sample("x", scg.Normal(loc=pi, scale=1.0), estimator=scg.ScoreFunction())
    g.cost("c", x * e + np.exp(1.0 + 0.0 * e))
    assert not g.surrogate().sympy().has(sympy.pi, sympy.E)


def test_numbers_are_what_was_typed():
    assert number_of(0.45) == sympy.Rational(9, 20) and number_of(-2.0) == -2
    assert number_of(0.5 * math.log(2 * math.pi)) == sympy.log(2 * sympy.pi) / 2
    assert number_of(-math.inf) == -sympy.oo
    assert number_of(1 / 3) == sympy.Float(1 / 3)


# --- the graphs of the paper -----------------------------------------------------------------------------------------
x_0, x_1, x_2 = sympy.symbols("x_0:3")
PAPER = {
    "figure_1_graph_1": 2 * THETA * (Y - THETA**2) * Y**2,
    "figure_1_graph_2": (X - THETA) * X**2,
    "figure_1_graph_3": (X - THETA) * Y**2,
    "figure_1_graph_4": (X - 1 / (1 + sympy.exp(-THETA))) * (X - THETA**2) ** 2 + 2 * THETA * -2 * (X - THETA**2),
    "figure_1_graph_5": x_0 * (x_1 - THETA * x_0) * (x_1**2 + x_2**2) + x_1 * (x_2 - THETA * x_1) * x_2**2,
}


@pytest.mark.parametrize("form", ["log", "ratio"])
@pytest.mark.parametrize("problem", PAPER)
def test_estimators_are_those_of_the_paper(problem, form):
    surrogate = PROBLEMS[problem]().graph.surrogate(scg.ScoreFunction(), form=form)
    assert sympy.simplify(surrogate.estimator("theta") - PAPER[problem]) == 0
    assert sympy.simplify(unstop(surrogate.sympy(expand=True).diff(THETA)) - PAPER[problem]) == 0


def test_incidence():
    found = PROBLEMS["figure_1_graph_5"]().graph.surrogate(scg.ScoreFunction()).incidence
    assert found["x_1"] == ("f_1", "f_2") and found["x_2"] == ("f_2",)
    assert str(found) == "x_1: f_1, f_2\nx_2: f_2"
    blocked = PROBLEMS["figure_1_graph_3"]().graph.surrogate(scg.ScoreFunction()).incidence
    assert dict(blocked) == {"x": ("f",), "y": ()}
    assert PROBLEMS["figure_1_graph_1"]().graph.surrogate(scg.Pathwise()).incidence["y"] == ()


def test_incidence_of_a_scan_leaves_out_costs_before_the_site():
    g = scg.Graph("before")
    theta = g.param("theta")

    def step(s, _):
        g.cost("clock", s * s)
        h = g.sample("h", scg.Bernoulli(logits=theta + s))
        g.cost("hit", h * theta)
        return s + 1.0, None

    g.scan(step, 0.0, length=3)
    assert g.surrogate(scg.ScoreFunction()).incidence["h"] == ("hit",)


# --- every op --------------------------------------------------------------------------------------------------------
def test_every_op_has_a_rule():
    # scans are reached through their outputs, streams through what is drawn; samplers, checks and what rules for
    # kernels write are in no surrogate
    inert = {"scan", "noise", "antithetic", "below", "category", "at_edge", "softplus_changes", "sigmoid_sums"}
    by_kind = [op for op in OPS.values() if op.moves or op.combines or op.kind == "leaf"]
    missing = [name for name, op in OPS.items() if op not in ELEMENTS and name not in inert and op not in by_kind and (
        op.kind != "elementwise" or op.sympy is None)]
    assert not missing


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if op.kind == "elementwise" and op.samples])
def test_elementwise_forms(name):
    op = OPS[name]
    for sample in op.samples:
        exact = [sympy.Float(v, 30) if isinstance(v, float) else sympy.sympify(v) for v in sample]
        expected, found = op.value(*sample), op.sympy(sympy, *exact)
        assert math.isclose(float(expected), float(found == sympy.true if found.is_Boolean else found), rel_tol=1e-12)


def _moves(x, k):
    """Structural ops by name, as functions of a (2, 3) node and of an index below 2."""
    w = Axis("world", 2)
    worlds = event_to_axis(x, w)
    return {
        "sum": x.sum(axis=1), "amax": x.max(axis=1), "min": x.min(), "mean": x.mean(axis=0),
        "merge": x.reshape(6), "split": x.reshape(6).reshape(3, 2), "ones": x.reshape(1, 2, 1, 3), "transpose": x.T,
        "stack": scg.stack([x[0], x[1] * 2.0, x[0]]), "stack last": scg.stack([x[0], x[1]], axis=1),
        "concatenate": scg.concatenate([x, x * x], axis=1), "broadcast": x + np.ones((4, 1, 1)), "slices": x[::-1, 1:],
        "strided": x[:, ::2], "put": make("put", (x,), ((("slice", 4, -2, 2), ("slice", 0, 1, 3)), (5, 3))),
        "put at": make("put", (x,), ((("at", 1), ("slice", 0, 1, 2), ("slice", 1, 1, 3)), (3, 2, 5))),
        "take": x[k], "take rows": x.T[np.array([2, 0, 1, 1])], "suffix": make("suffix_sum", (x,)),
        "prefix": make("prefix_sum", (x,)), "matmul": x @ x.T, "matvec": x @ np.array([1.0, -2.0, 0.5]),
        "outer": scg.outer(x[0], x[1]), "worlds": axis_sum(worlds * worlds, ("world",)),
        "batch": x.reshape(2, 3, 1) @ x.reshape(2, 1, 3),
        "there and back": axis_to_event(worlds * 2.0, w), "repeated": axis_to_event(x, w),
        "replaced": axis_to_event(replace_one(x, x * x, Axis("element", 6)), Axis("element", 6)),
        "logsumexp": scg.logsumexp(x, axis=1), "softmax": scg.softmax(x), "log_softmax": scg.log_softmax(x, axis=0),
        "one_hot": scg.one_hot(k, 4), "table": np.array([[3.0, 1.0, 2.0], [5.0, 0.1, 7.0]]) * x, "eye": np.eye(2) @ x,
        "range": np.arange(3.0) * x, "choice": np.where(x > 0.0, x, -x), "cumsum": np.cumsum(x, axis=1),
        "clip": np.clip(x, -0.5, 0.5), "sign": np.sign(x) * np.floor(x),
    }  # fmt: skip


def _world():
    g = scg.Graph("moves")
    x, k = g.param("x", (2, 3)), g.sample("k", scg.Bernoulli(probs=0.5))
    return g, x, k


@pytest.mark.parametrize("written_out", [True, False])
@pytest.mark.parametrize("name", _moves(*_world()[1:]))
def test_elements_of_structural_ops(name, written_out, monkeypatch):
    """Value by element at numbers, and, below a sum, by symbolic index."""
    if not written_out:
        monkeypatch.setattr(to_sympy, "EXPANDABLE", 0)
    g, x, k = _world()
    node = _moves(x, k)[name]
    array, known = np.array([[0.3, -1.2, 0.7], [1.1, 0.4, -0.6]]), {}
    ev = Evaluation({"x": array}, {"row": 1, "lane": 1}, fed={"k": np.array([1.0])})
    fed = {k: feed("k", ())}
    (expected,) = evaluate(substitute([node], fed), ev)
    expected = expected.reshape(node.shape)
    known = {"x": array, "k": np.array(1.0)}
    converter = Converter(Names(g))
    for index in np.ndindex(node.shape):
        found = sympy.sympify(converter.element(node, index, At()))
        assert math.isclose(value(found, known), expected[index], rel_tol=1e-12, abs_tol=1e-14)
    total_of_squares = converter.scalar(sum_of([node * node]))
    assert math.isclose(value(total_of_squares, known), (expected**2).sum(), rel_tol=1e-12)
    assert math.isclose(value(total_of_squares.doit(), known), (expected**2).sum(), rel_tol=1e-12)


@pytest.mark.parametrize("asked", ["g.surrogate().latex()", "g.surrogate().sympy()", "g.surrogate().gradient('w')"])
def test_a_process_may_ask_for_any_formula_first(asked):
    """What rules of formulas need is imported by whoever needs it, not by what was called before."""
    program = ("import scg\ng = scg.Graph('g')\nw = g.param('w')\nb = g.sample('b', scg.Bernoulli(logits=w))\n"
               f"g.cost('c', w * b)\nprint({asked})")
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_definitions_sum_over_no_index_of_what_they_define():
    """A carry's element i is not the sum over i of something in it."""
    g = scg.Graph()
    weights, start = g.param("A", (2, 2)), g.param("m", 2)

    def step(carry, _):
        draw = g.sample("h", scg.Bernoulli(logits=carry))
        return np.tanh(weights @ carry + draw), None

    last, _ = g.scan(step, start, length=3)
    g.cost("c", last.sum())
    found = g.surrogate(scg.ScoreFunction()).definitions["carry_0[t + 1, i]"]
    (sum_of,) = found.atoms(sympy.Sum)
    assert str(sum_of.limits) == "((j, 0, 1),)" and {str(s) for s in found.free_symbols} >= {"t", "i"}


def test_definitions_of_deep_elements():
    g = scg.Graph("m")
    w = g.param("w", 3)

    def step(c, _):
        draws = g.sample("s", scg.Bernoulli(logits=w + 0.1 * c)).sum()
        g.cost("loss", np.tanh(0.1 * draws - c))
        return 0.5 * np.tanh(draws), None

    g.scan(step, 0.1, length=2)
    assert "carry_0''[t + 1]" in g.surrogate(scg.MuProp()).definitions


@pytest.mark.parametrize("rewritten", [sympy.simplify, sympy.factor, sympy.together, sympy.refine, sympy.cancel,
                                       sympy.expand, sympy.piecewise_fold], ids=lambda f: f.__name__)
def test_sympy_rewrites_what_named_nodes_are_in(rewritten):
    """A name is an atom to it: formulas mean the same afterwards, and so do their derivatives."""
    g = scg.Graph("names")
    a, b = g.param("a"), g.param("b")
    y = g.node("y", scg.maximum(a, 0.5) * b + a)
    z = g.node("z", np.exp(y) + y)
    g.cost("c", y * y + 2.0 * y * z + z * z + a)
    formula = scg.compile(g, backend="numpy").surrogate.sympy()
    new, a, at = rewritten(formula), sympy.Symbol("a"), {"a": 0.75, "b": -0.3}
    assert float(new.subs(at)) == pytest.approx(float(formula.subs(at)), rel=1e-12)
    assert float(new.diff(a).subs(at)) == pytest.approx(float(formula.diff(a).subs(at)), rel=1e-12)


def test_sums_of_named_terms_are_simplified():
    """A term with an index in it is no constant of the sum, though it is an atom."""
    g = scg.Graph("sum")
    a = g.param("a")

    def step(x, _):
        b = g.sample("b", scg.Bernoulli(logits=a))
        g.cost("c", b * x)
        return x + b, None

    g.scan(step, 1.0, length=2)
    formula = scg.compile(g, backend="numpy").surrogate.sympy()
    new = sympy.simplify(formula)
    assert formula.atoms(sympy.Sum) and not new.atoms(sympy.Sum)
    assert sympy.expand(new - formula.doit()) == 0
