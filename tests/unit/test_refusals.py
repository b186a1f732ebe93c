"""What cannot be is refused, in four parts: where, what, why, and what would work. And nothing breaks by refusing."""

import copy
import linecache
import math
import operator
import re
import time
from fractions import Fraction

import numpy as np
import pytest

import scg
from scg.baselines import BASELINES
from scg.estimators import ESTIMATORS

BACKENDS = ("numpy", "numba")

pytestmark = pytest.mark.by_python


def refused(kind, action, *words, at: str | None = None):
    """The error of an action: its class, its four parts, its words, and the text of the line that it points to."""
    with pytest.raises(kind) as caught:
        action()
    error = caught.value
    assert isinstance(error, scg.SCGError)
    for problem in error.problems:
        for part in (problem.where, problem.what, problem.why, problem.fix):
            assert part, f"a part is missing: {problem}"
        for part in (problem.what, problem.why, problem.fix):
            assert part.endswith(".") and not part.endswith(".."), part
        assert str(problem) in str(error)
        found = re.match(r"(test_refusals\.py):(\d+)", problem.where)
        assert found, f"the place is not the user's: {problem.where}"
        if at is not None:
            assert at in linecache.getline(__file__, int(found[2])), (at, problem.where)
    for word in words:
        assert word in str(error), f"{word!r} is not in: {error}"
    assert works() == "works"
    return error


def works():
    """A graph of its own still compiles and runs."""
    f = scg.compile(toy(), backend="numpy")
    assert np.isfinite(f({"theta": 0.3}, samples=4, rng=0).cost)
    return "works"


def toy(loss=lambda b: (b - 0.45) ** 2) -> scg.Graph:
    g = scg.Graph("toy")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
    g.cost("loss", loss(b))
    return g


def one(dist, loss) -> scg.Graph:
    """One site "x" of the family that `dist` makes of a param, and a cost of both."""
    g = scg.Graph("one")
    theta = g.param("theta")
    x = g.sample("x", dist(theta))  # the site
    g.cost("loss", loss(x, theta))
    return g


def normal(theta):
    return scg.Normal(loc=theta, scale=1.0)


def bernoulli(theta):
    return scg.Bernoulli(logits=theta)


def poisson(theta):
    return scg.Poisson(rate=scg.exp(theta))


def compiling(graph, strategy=None, **options):
    return lambda: scg.compile(graph, strategy=strategy, backend="numpy", **options)


# --- paths that jump -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("loss, name", [
    (lambda x, theta: scg.where(x > 0, x, 0.0), "comparison"),
    (lambda x, theta: scg.floor(x), "floor"),
    (lambda x, theta: scg.sign(x) * x**2, "sign"),
    (lambda x, theta: (x == 1.0) * x, "comparison"), (lambda x, theta: x % 2, "floor"),
    (lambda x, theta: x // 2 + x, "floor"), (lambda x, theta: np.round(x) * x, "comparison")])  # fmt: skip
def test_pathwise_through_a_jump(loss, name):
    graph = one(normal, loss)
    refused(scg.EstimatorError, compiling(graph, scg.Pathwise()), 'sample "x"', name, "Pathwise()", 'cost "loss"',
            "jumps",
            "Use ScoreFunction() or WeakDerivative()", "assume_continuous", at="# the site")
    assert isinstance(scg.compile(graph, backend="numpy").verdict["x"].estimator, scg.ScoreFunction)


def test_pathwise_at_a_discrete_site():
    refused(scg.EstimatorError, compiling(one(poisson, lambda x, theta: x**2), scg.Pathwise()), 'sample "x"', "Poisson",
            "zero almost everywhere", "ScoreFunction()", at="# the site")


def test_pathwise_that_moves_a_later_support():
    g = scg.Graph("chain")
    x = g.sample("x", normal(g.param("theta")))
    g.cost("loss", g.sample("u", scg.Uniform(low=0.0, high=scg.exp(x))))
    refused(scg.EstimatorError, compiling(g, {"x": scg.Pathwise(), "u": scg.ScoreFunction()}), 'site "u"', "support")


def test_score_function_of_a_moving_support():
    graph = one(lambda theta: scg.Uniform(low=0.0, high=theta), lambda x, theta: x**2)
    refused(scg.EstimatorError, compiling(graph, scg.ScoreFunction()), 'sample "x"', "ScoreFunction",
            "from low to high",
            "Use Pathwise() or WeakDerivative()", at="# the site")


def test_a_deterministic_path_through_a_jump():
    g = scg.Graph("step")
    theta = g.param("theta")
    g.cost("loss", scg.floor(theta) + g.sample("b", bernoulli(theta)))  # the step
    refused(scg.ConditionError, compiling(g), "floor", '"loss"', "Condition 1", "stochastic site", "assume_continuous",
            at="# the step")


@pytest.mark.parametrize("loss", [
    lambda b, theta: scg.floor(b * 2.5), lambda b, theta: scg.where(b > 0, theta, 1.0),
    lambda b, theta: scg.floor(scg.stop_gradient(theta)) + b,
    lambda b, theta: scg.assume_continuous(scg.where(theta > 0, theta, 0.0)) + b])  # fmt: skip
def test_a_jump_behind_a_sample_or_vouched_for(loss):
    assert scg.compile(one(bernoulli, loss), backend="numpy").verdict.unbiased


def test_the_verdict_repeats_an_assumption():
    graph = one(normal, lambda x, theta: scg.assume_continuous(scg.where(x > 0, x, 0.0)))
    for strategy in (None, scg.Pathwise()):
        verdict = scg.compile(graph, strategy=strategy, backend="numpy").verdict["x"]
        assert verdict.status == "unbiased" and isinstance(verdict.estimator, scg.Pathwise)
        assert re.search(r"assum.*test_refusals\.py:\d+", verdict.reason), verdict.reason
    assert "assum" not in scg.compile(graph, strategy=scg.ScoreFunction(), backend="numpy").verdict["x"].reason


# --- baselines -------------------------------------------------------------------------------------------------------
def test_a_baseline_downstream_of_its_site():
    g = scg.Graph("downstream")
    b = g.sample("b", bernoulli(g.param("theta")))  # the site
    h = g.node("h", 2.0 * b + 1.0)
    g.cost("loss", (b - 0.45) ** 2)
    refused(scg.BaselineError, compiling(g, scg.ScoreFunction(baseline=scg.Expression(scg.sigmoid(h)))), "sigmoid(h)",
            'sample "b" →', '→ node "h" → sigmoid', "biased", "LeaveOneOut()", at="# the site")


def test_baselines_that_are_none():
    refused(scg.BaselineError, lambda: scg.ScoreFunction(baseline=0.5), "0.5", "scg.Constant(0.5)", at="lambda")
    refused(scg.BaselineError, lambda: scg.ScoreFunction(baseline=scg.LeaveOneOut), "LeaveOneOut()", at="lambda")
    refused(scg.BaselineError, lambda: scg.LeaveOneOut(group=1), "at least two", at="lambda")
    for decay in (2.0, -0.1, np.nan, "a", None):
        refused(scg.BaselineError, lambda d=decay: scg.MovingAverage(decay=d), "from 0 to 1", at="lambda")
    refused(scg.NodeUseError, lambda: scg.Expression("a"), "str", at="lambda")
    refused(scg.BaselineError, compiling(toy(), scg.ScoreFunction(scg.Expression(np.zeros(3)))), "(3,)", "scalar")


@pytest.mark.parametrize("backend", BACKENDS)
def test_leave_one_out_needs_others(backend):
    f = scg.compile(toy(), strategy=scg.ScoreFunction(scg.LeaveOneOut()), backend=backend)
    refused(scg.CallError, lambda: f({"theta": 0.3}, samples=1), 'graph "toy"', "samples=1", "Use samples=2",
            at="lambda")
    assert f({"theta": 0.3}, samples=2).samples == 2
    f = scg.compile(toy(), strategy=scg.ScoreFunction(scg.LeaveOneOut(group=np.int64(4))), backend=backend)
    refused(scg.CallError, lambda: f({"theta": 0.3}, samples=6), "group=4", "samples=6", "multiple of 4", at="lambda")
    assert f({"theta": 0.3}, samples=8).samples == 8


def test_leave_one_out_has_one_group_size():
    g = scg.Graph("two sizes")
    theta = g.param("theta")
    g.cost("loss", g.sample("a", bernoulli(theta)) + g.sample("b", bernoulli(theta)))
    sizes = {"a": scg.ScoreFunction(scg.LeaveOneOut(2)), "b": scg.ScoreFunction(scg.LeaveOneOut(3))}
    refused(scg.EstimatorError, compiling(g, sizes), 'graph "two sizes"', "2 and 3", "one size", at="scg.compile(")


# --- parameters outside their constraint -----------------------------------------------------------------------------
@pytest.mark.parametrize("dist, words", [
    (lambda: scg.Normal(loc=0.0, scale=-1.0), ("Normal", "scale", "-1", "positive")),
    (lambda: scg.Poisson(rate=-2.0), ("Poisson", "rate", "-2", "positive")),
    (lambda: scg.Bernoulli(probs=np.array([0.2, 1.2])), ("Bernoulli", "probs", "1.2", "between 0 and 1")),
    (lambda: scg.Categorical(probs=[0.5, -0.1]), ("Categorical", "probs", "non-negative")),
    (lambda: scg.Categorical(probs=[0.0, 0.0]), ("Categorical", "probs", "positive sum")),
    (lambda: scg.Normal(loc=np.nan, scale=1.0), ("Normal", "loc", "nan")),
    (lambda: scg.Normal(loc=-np.inf, scale=1.0), ("Normal", "loc", "-inf", "finite")),
    (lambda: scg.Normal(loc=0.0, scale=np.inf), ("Normal", "scale", "inf", "positive, and finite")),
    (lambda: scg.Normal(loc=0.0, scale=np.nan), ("Normal", "scale", "nan", "positive, and finite")),
    (lambda: scg.Normal(loc=0.0, scale=[1.0, np.inf]), ("Normal", "scale", "[1.0, inf]", "finite")),
    (lambda: scg.Gamma(concentration=np.inf, rate=1.0), ("Gamma", "concentration", "finite")),
    (lambda: scg.Exponential(rate=np.float32(np.inf)), ("Exponential", "rate", "finite")),
    (lambda: scg.Uniform(low=-np.inf, high=0.0), ("Uniform", "low", "finite")),
    (lambda: scg.Bernoulli(logits=np.inf), ("Bernoulli", "logits", "finite")),
    (lambda: scg.Bernoulli(probs=np.nan), ("Bernoulli", "probs", "nan", "between 0 and 1")),
    (lambda: scg.Categorical(logits=[0.0, np.inf]), ("Categorical", "logits", "inf")),
    (lambda: scg.Categorical(probs=[np.nan, 1.0]), ("Categorical", "probs", "finite")),
    (lambda: scg.Categorical(probs=[]), ("Categorical", "probs", "(0,)", "no elements")),
    (lambda: scg.Categorical(logits=np.zeros((2, 0))), ("Categorical", "logits", "(2, 0)", "no elements")),
    (lambda: scg.Bernoulli(), ("Bernoulli", "no parameters", "probs=")),
    (lambda: scg.Bernoulli(probs=0.5, logits=0.0), ("probs, logits", "probs=")),
    (lambda: scg.Normal(0.0), ("Normal", "Normal(loc, scale)"))])  # fmt: skip
def test_literal_parameters(dist, words):
    refused(scg.DeclarationError, dist, *words, at="lambda")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dist, bad, name, text", [
    (lambda t: scg.Normal(loc=0.0, scale=t), -1.0, "scale", "positive"),
    (lambda t: scg.Normal(loc=0.0, scale=t), 0.0, "scale", "positive"),
    (lambda t: scg.Poisson(rate=t), -1.0, "rate", "positive"),
    (lambda t: scg.Exponential(rate=t), -1.0, "rate", "positive"),
    (lambda t: scg.Gamma(concentration=t, rate=1.0), -1.0, "concentration", "positive"),
    (lambda t: scg.Bernoulli(probs=t), 1.2, "probs", "between 0 and 1")])  # fmt: skip
def test_parameters_at_a_call(dist, bad, name, text, backend):
    f = scg.compile(one(dist, lambda x, theta: x**2), backend=backend, stderr=False)
    for samples in (1, 100):
        refused(scg.CallError, lambda n=samples: f({"theta": bad}, samples=n, rng=0), 'sample "x"', name, text, "Give ",
                at="# the site")
    assert np.isfinite(f({"theta": 0.5}, samples=100, rng=0).cost)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dist, error, words", [
    (lambda t: scg.Gamma(concentration=scg.exp(t), rate=1.0), scg.NonFiniteError, ("exp", "not finite")),
    (lambda t: scg.Poisson(rate=scg.exp(t)), scg.CallError, ('sample "x"', "A draw is above")),
    (lambda t: scg.Normal(loc=0.0, scale=scg.exp(t)), scg.NonFiniteError, ("exp", "not finite")),
    (lambda t: scg.Exponential(rate=scg.exp(t) + 1.0), scg.NonFiniteError, ("exp", "not finite"))])
def test_a_parameter_that_overflows_is_named_at_once(dist, error, words, backend):
    f = scg.compile(one(dist, lambda x, theta: x), backend=backend, stderr=False)
    start = time.perf_counter()
    refused(error, lambda: f({"theta": 1000.0}, samples=10, rng=0), *words)
    assert np.isfinite(f({"theta": 0.0}, samples=10, rng=0).cost)
    assert time.perf_counter() - start < 60.0  # a sampler that waits for acceptance would take a million rounds


@pytest.mark.parametrize("strategy", [scg.Pathwise(), scg.ScoreFunction(), scg.WeakDerivative(), None])
def test_parameters_under_every_estimator(strategy):
    graph = one(lambda t: scg.Normal(loc=0.0, scale=t), lambda x, theta: x**2)
    f = scg.compile(graph, strategy=strategy, backend="numpy")
    refused(scg.CallError, lambda: f({"theta": -1.0}, samples=10, rng=0), "scale", at="# the site")
    assert np.isfinite(f({"theta": 1.0}, samples=10, rng=0).cost)


def test_a_parameter_that_leaves_its_constraint_in_few_replicates():
    g = scg.Graph("chain")
    x = g.sample("x", normal(g.param("theta")))
    y = g.sample("y", scg.Normal(loc=0.0, scale=x))  # the second site
    g.cost("loss", y**2)
    f = scg.compile(g, backend="numpy")
    refused(scg.CallError, lambda: f({"theta": 2.0}, samples=1000, rng=0), 'sample "y"', "scale",
            at="# the second site")
    assert np.isfinite(f({"theta": 20.0}, samples=1000, rng=0).cost)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_parameter_behind_a_site_that_is_summed_out(backend):
    g = scg.Graph("summed out")
    theta = g.param("theta")
    b = g.sample("b", bernoulli(theta))
    y = g.sample("y", scg.Normal(loc=0.0, scale=b + theta))  # the second site
    g.cost("loss", y**2)
    f = scg.compile(g, strategy={"b": scg.Enumerate(), "y": scg.Pathwise()}, backend=backend, stderr=False)
    refused(scg.CallError, lambda: f({"theta": -0.5}, samples=2, rng=0), 'sample "y"', "scale", at="# the second site")
    assert np.isfinite(f({"theta": 0.5}, samples=2, rng=0).cost)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("strategy", [scg.Pathwise(), scg.ScoreFunction()])
def test_a_parameter_inside_a_scan(strategy, backend):
    g = scg.Graph("loop")

    def step(scale, _):
        g.cost("loss", g.sample("z", scg.Normal(loc=0.0, scale=scale)) ** 2)  # the walker's
        return scale - 0.4, None

    g.scan(step, g.param("theta"), length=4)
    f = scg.compile(g, strategy=strategy, backend=backend, stderr=False)
    refused(scg.CallError, lambda: f({"theta": 1.0}, samples=2, rng=0), 'sample "z"', "scale", at="# the walker's")
    assert np.isfinite(f({"theta": 2.0}, samples=2, rng=0).cost)


@pytest.mark.parametrize("dist, bad, name", [
    (lambda t: scg.Normal(loc=0.0, scale=t), -1.0, "scale"), (lambda t: scg.Poisson(rate=t), -1.0, "rate"),
    (lambda t: scg.Bernoulli(probs=t), 1.2, "probs"), (lambda t: scg.Uniform(low=0.0, high=t), -1.0, "low < high"),
    (lambda t: scg.Gamma(concentration=2.0, rate=t), -1.5, "rate"),
    (lambda t: scg.Gamma(concentration=t + 1.5, rate=1.0), -3.0, "concentration")])  # fmt: skip
def test_exact_refuses_what_a_call_refuses(dist, bad, name):
    g = one(dist, lambda x, theta: x + theta)
    refused(scg.CallError, lambda: scg.exact(g, {"theta": bad}), 'sample "x"', name, at="# the site")
    if name != "concentration":  # in which Gauss quadrature is not exact, and says so
        assert np.isfinite(scg.exact(g, {"theta": 0.5}).cost)


def test_exact_values_that_are_not_finite():
    g = toy(scg.log)
    refused(scg.NonFiniteError, lambda: scg.exact(g, {"theta": 0.3}), 'cost "loss"', at="lambda")
    assert scg.verify(scg.compile(g, backend="numpy"), {"theta": 0.3}).passed is None


# --- values of a call ------------------------------------------------------------------------------------------------
def rows() -> scg.Graph:
    g = scg.Graph("rows")
    w, theta, x, y, i = g.param("w", (2, 3)), g.param("theta"), g.data("x", 2), g.data("y"), g.input("i", 2)
    b = g.sample("b", bernoulli(theta + w.sum() + x.sum() + y + i.sum()))
    g.cost("loss", (b - 0.45) ** 2)
    return g


GOOD = {"w": np.zeros((2, 3)), "theta": 0.3, "x": np.zeros((4, 2)), "y": np.zeros(4), "i": [0, 1]}


@pytest.mark.parametrize("backend", BACKENDS)
def test_values(backend):
    f = scg.compile(rows(), backend=backend, stderr=False)

    def bad(name, value, *words):
        refused(scg.CallError, lambda: f({**GOOD, name: value}, samples=3), f'"{name}"', 'graph "rows"', *words,
                at="lambda")

    for value in (np.nan, np.inf, -np.inf):
        bad("theta", value, "NaN or infinity", "finite numbers")
    bad("y", [0.0, 1.0, np.nan, 2.0], "NaN or infinity")
    bad("theta", [0.3], "(1,)", "()")
    bad("w", np.zeros(6), "(6,)", "(2, 3)")
    bad("x", np.zeros(2), "(2,)", "(rows, 2)")
    bad("x", np.zeros((4, 3)), "(4, 3)", "(rows, 2)")
    bad("y", np.zeros((4, 1)), "(4, 1)", "(rows,)")
    bad("i", [0.0], "(1,)", "(2,)")
    for value in ("a", None, 1j, object(), [1.0, [2.0]]):
        bad("theta", value, "real numbers")
    for value in (np.ma.array(0.3, mask=True), np.ma.masked):
        bad("theta", value, "a masked array", "real numbers")
    bad("y", np.ma.array(np.zeros(4), mask=[0, 0, 1, 0]), "a masked array")
    bad("theta", 10**400, "type int", "float64 can hold")
    bad("theta", np.array(["1"]), "dtype <U1")
    bad("y", np.array([0.0, None, 1.0, 2.0]), "dtype object")
    bad("zz", 1.0, "no such leaf", "theta")
    refused(scg.CallError, lambda: f({**GOOD, "x": np.zeros((3, 2))}), "x, y", "3, 4 rows", at="lambda")
    refused(scg.CallError, lambda: f({**GOOD, "x": np.zeros((1, 2))}), "x, y", "1, 4 rows", at="lambda")
    refused(scg.CallError, lambda: f({**GOOD, "x": np.zeros((0, 2)), "y": []}), "no rows", "at least one", at="lambda")
    missing = {name: value for name, value in GOOD.items() if name not in ("theta", "x")}
    error = refused(scg.CallError, lambda: f(missing), '"theta"', '"x"', "missing", at="lambda")
    assert len(error.problems) == 2  # all that is wrong is said at once
    for value in (0.3, [0.3], None):
        refused(scg.CallError, lambda value=value: f(value), "Give a dict", at="lambda")
    r = f(GOOD, samples=3, rng=0)
    assert r.rows == 4
    same = {"theta": [np.float64(0.3), Fraction(3, 10), np.array(0.3, dtype=object), np.array(0.3, np.longdouble)],
            "y": [[0, 0, 0, 0], (False,) * 4, np.zeros(8)[::2], np.zeros(4, dtype=object), np.ma.array(np.zeros(4))],
            "i": [range(2), np.arange(2, dtype=np.int8), np.array([0.0, 1.0]).astype(">f8"), [0, True]],
            "w": [[[0, 0, 0], [0, 0, 0]], np.zeros((3, 2)).T, np.zeros((2, 3), dtype=np.float16)]}  # fmt: skip
    for name, values in same.items():
        for value in values:
            again = f({**GOOD, name: value}, samples=3, rng=0)
            assert again.cost == r.cost and np.array_equal(again.grad["w"], r.grad["w"]), (name, value)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", [
    lambda g, p, q: p.sum() + q, lambda g, p, q: (p @ p) + q, lambda g, p, q: (np.ones((3, 0)) @ p).sum() + q**2,
    lambda g, p, q: (scg.concatenate([p, scg.stack([q, 2.0 * q])]) ** 2).sum(),
    lambda g, p, q: g.sample("x", scg.Normal(loc=p, scale=1.0)).sum() * q,
    lambda g, p, q: g.sample("b", bernoulli(q + g.sample("x", bernoulli(p)).sum())) + q,
    lambda g, p, q: g.sample("k", poisson(p)).sum() + g.sample("z", scg.Gamma(concentration=1.0, rate=scg.exp(p))) @ p,
    lambda g, p, q: g.scan(lambda c, x: (c + q + g.sample("b", bernoulli(p + c)).sum(), c * p), q, length=3)[0] + q,
], ids=range(8))
def test_nothing_at_all_is_a_sum_of_zero(loss, backend, request):
    """Params, samples and worlds of no elements: their sums are 0, whatever the estimator.

    Kernels are compiled for samples in groups and for worlds, and with `--full` for every estimator.
    """
    strategies = (None, scg.LocalExpectation(), scg.ScoreFunction(), scg.MuProp())
    for strategy in strategies if backend == "numpy" or request.config.getoption("--full") else strategies[:2]:
        g = scg.Graph("nothing")
        p, q = g.param("p", 0), g.param("q")
        g.cost("loss", loss(g, p, q))
        g.node("twice", 2.0 * p)
        try:
            f = scg.compile(g, strategy=strategy, backend=backend, stderr=backend == "numpy")
        except scg.EstimatorError:
            assert strategy == scg.LocalExpectation()  # not for every family
            continue
        r = f({"p": [], "q": 0.4}, samples=6, rng=1, record="twice")
        plain = scg.compile(g, strategy=strategy, backend="numpy")({"p": [], "q": 0.4}, samples=6, rng=1)
        assert r.grad["p"].shape == r.stderr["p"].shape == (0,) and r.record["twice"].shape == (1, 6, 0)
        assert np.isclose(r.cost, plain.cost) and np.isclose(r.grad["q"], plain.grad["q"]) and np.isfinite(r.cost)


def test_costs_without_elements():
    g = scg.Graph("nothing")
    g.cost("loss", g.param("p", 0))  # the cost
    refused(scg.ShapeError, compiling(g), '"loss"', "(0,)", "no elements", at="# the cost")


@pytest.mark.parametrize("backend", BACKENDS)
def test_graphs_of_little(backend):
    g = scg.Graph("constant")
    g.cost("loss", 3.0)
    r = scg.compile(g, backend=backend)({}, samples=4)
    assert r.cost == 3.0 and r.cost_stderr == 0.0 and r.grad == {} and r.rows == 1
    g = scg.Graph("no params")
    g.cost("loss", g.sample("x", scg.Normal(loc=0.0, scale=1.0)))
    assert np.isfinite(scg.compile(g, backend=backend)({}, samples=4, rng=0).cost_stderr)
    refused(scg.CallError, lambda: scg.compile(g, backend=backend)({"x": 1.0}), '"x"', "leaves are: none", at="lambda")
    g = scg.Graph("idle")
    g.param("p", 2)
    refused(scg.DeclarationError, compiling(g), "without costs")


@pytest.mark.parametrize("backend", BACKENDS)
def test_options_of_a_call(backend):
    f = scg.compile(toy(), backend=backend)
    good = {"theta": 0.3}
    for samples in (0, -1, 1.5, 1.0, True, "a", None, [3]):
        refused(scg.CallError, lambda n=samples: f(good, samples=n), "samples=", "a whole number from 1", at="lambda")
    assert f(good, samples=2).samples == 2
    refused(scg.CallError, lambda: f(good, samples=True), "samples=True", at="lambda")  # also when 1 has been seen
    for rng in (True, "a", 1.5, [1], np.random.RandomState(0)):
        refused(scg.CallError, lambda rng=rng: f(good, rng=rng), "rng=", "SeedSequence or a Generator", at="lambda")
    for state in ({"zz": 1.0}, 3):
        refused(scg.CallError, lambda state=state: f(good, state=state), "state=", "r.state", at="lambda")
    refused(scg.SCGError, lambda: f(good, record=("zz",)), '"zz"', "b", at="lambda")
    refused(scg.CallError, lambda: f(good, executor=3), "executor=3", "concurrent.futures.Executor", at="lambda")
    refused(scg.CallError, lambda: f(good, samples=2**70), "2^42", at="lambda")
    for record in (3, ("b", 3), True, [None]):
        refused(scg.CallError, lambda record=record: f(good, record=record), "record=", "tuple of names", at="lambda")
    for record in ("b", ["b", "b"], {"b"}, ("b",)):
        assert list(f(good, samples=2, record=record).record) == ["b"]
    assert f(good, record=None).record == f(good, record=()).record == {}
    assert f(good, samples=np.int64(3), rng=np.int32(3), record="b").record["b"].shape == (1, 3)


def test_options_of_a_compilation():
    g = toy()
    for dtype in ("float16", None, int, "zz", [1]):
        refused(scg.DeclarationError, lambda d=dtype: scg.compile(g, dtype=d), "dtype=", '"float32"', at="lambda")
    for dtype in (np.float32, "f4", np.dtype("float32")):
        assert scg.compile(g, dtype=dtype, backend="numpy")({"theta": 0.3}).grad["theta"].dtype == np.float32
    for wrong in ("no", None, 1):
        refused(scg.DeclarationError, lambda s=wrong: scg.compile(g, stderr=s), "stderr=", "True or False", at="lambda")
    refused(scg.DeclarationError, lambda: scg.compile(g, backend="jax"), "'jax'", '"numpy"', at="lambda")
    refused(scg.DeclarationError, lambda: g.surrogate(form="exp"), "'exp'", '"ratio"', at="lambda")
    refused(scg.DeclarationError, lambda: scg.compile(g, wrt=("zz",)), '"zz"', "theta", at="lambda")
    refused(scg.DeclarationError, lambda: scg.compile(3), "Graph", at="lambda")
    refused(scg.DeclarationError, compiling(scg.Graph("empty")), 'graph "empty"', "without costs", "g.cost(")
    refused(scg.DeclarationError, lambda: scg.compile(g, backend="numpy").verdict["zz"], '"zz"', "b", at="lambda")


def test_strategies():
    g = toy()
    refused(scg.DeclarationError, compiling(g, {"zz": scg.Pathwise()}), '"zz"', "Its sites are: b")
    twice = {"b": scg.ScoreFunction(), ("b",): scg.ScoreFunction()}
    refused(scg.DeclarationError, compiling(g, twice), '"b"', "twice")
    for strategy in (scg.Pathwise, "score", 3):
        refused(scg.EstimatorError, compiling(g, strategy), "strategy=", "scg.ScoreFunction()")
    refused(scg.EstimatorError, compiling(g, {"b": scg.ScoreFunction}), '"b"', "not an estimator",
            "scg.ScoreFunction()")
    refused(scg.DeclarationError, lambda: g.sample("s", bernoulli(0.0), estimator=scg.Pathwise), "estimator",
            at="lambda")


def test_only_compiled_estimators_are_verified():
    for thing in (3, toy()):
        refused(scg.DeclarationError, lambda thing=thing: scg.verify(thing, {}), "scg.compile", at="lambda")


def test_all_objections_come_at_once():
    g = scg.Graph("two")
    theta = g.param("theta")
    g.cost("loss", g.sample("k", poisson(theta)) + g.sample("u", scg.Uniform(low=0.0, high=scg.exp(theta))))
    error = refused(scg.EstimatorError, compiling(g, {"k": scg.Pathwise(), "u": scg.ScoreFunction()}), '"k"', '"u"')
    assert len(error.problems) == 2


# --- declarations ----------------------------------------------------------------------------------------------------
def test_shapes():
    g = scg.Graph("shapes")
    a, b, s = g.param("a", (2, 3)), g.param("b", 2), g.param("s")

    def bad(action, *words):
        refused(scg.ShapeError, action, *words, at="bad(lambda")

    bad(lambda: a + b, "(2, 3) and (2,)", "broadcast")
    bad(lambda: a @ a, "(2, 3) and (2, 3)", "3 and 2", "Transpose")
    bad(lambda: s @ a, "scalar", "Use *")
    bad(lambda: a.reshape(4, 2), "(2, 3)", "(4, 2)", "same size")
    bad(lambda: a.reshape(-1, 4), "(2, 3)", "same size")
    bad(lambda: scg.stack([a, b]), "(2, 3), (2,)", "equal")
    bad(lambda: scg.stack([]), "no nodes", "at least one")
    bad(lambda: scg.stack([a, a], axis=7), "7")
    bad(lambda: scg.concatenate([a, b]), "(2, 3), (2,)")
    bad(lambda: scg.concatenate([a, a], axis=5), "5")
    bad(lambda: a[2], "Index 2", "size is 2", "from -2 to 1")
    bad(lambda: a[0, 0, 0], "3 indices", "2 dimension")
    bad(lambda: a[1.5], "1.5", "integers")
    bad(lambda: a[np.array([0, 5])], "5", "size is 2")
    bad(lambda: a[::0], "slice", "not 0")
    bad(lambda: a[1.5:], "1.5", "whole numbers")
    bad(lambda: b[: s], "bounded by a node", "only when the graph runs")
    bad(lambda: b[b > 0], "comparison", "scg.where(mask, a, b)")
    bad(lambda: b[s > 0], "comparison", "scg.where(mask, a, b)")
    bad(lambda: a[np.array([True, False, True])], "mask", "size is 2")
    bad(lambda: a[[0, 1], [0, 1, 1]], "shapes (2,), (3,)", "broadcast")
    bad(lambda: a[..., ...], "ellipses")
    bad(lambda: b[0:0][0], "size is 0", "no elements")
    bad(lambda: a.reshape("u"), "'u'", "whole numbers")
    bad(lambda: a.reshape(2.0, 3), "2.0", "whole numbers")
    bad(lambda: np.expand_dims(a, 7), "axis=7", "3 dimension")
    bad(lambda: np.cumsum(a, axis=2), "axis=2", "2 dimension")
    bad(lambda: a.mean(axis="u"), "axis='u'", "2 dimension")
    bad(lambda: a.max(axis=0.0), "axis=0.0", "from -2 to 1")
    bad(lambda: s.sum(axis=0), "axis=0", "0 dimension")
    bad(lambda: a.transpose(0.0, 1.0), "(0.0, 1.0)", "2 dimension")
    bad(lambda: scg.stack(3), "one int", "scg.stack([a, b])")
    bad(lambda: scg.concatenate([]), "no nodes")
    bad(lambda: np.squeeze(a, axis=0), "larger than 1", "size 1")
    bad(lambda: a.sum(axis=5), "axis=5", "2 dimension")
    bad(lambda: np.transpose(a, (0, 5)), "2 dimension")
    bad(lambda: np.broadcast_to(a, (4, 4)), "(2, 3)", "(4, 4)")
    bad(lambda: g.param("p", -1), "-1", "int")
    bad(lambda: g.param("p2", 1.5), "1.5", "int")
    bad(lambda: scg.Normal(loc=b, scale=a[0] ** 2), "(2,)", "(3,)")
    bad(lambda: g.sample("x", scg.Normal(loc=b, scale=1.0), shape=3), '"x"', "(3,)", "(2,)")
    bad(lambda: scg.Categorical(probs=0.6), "vector")


def test_indices_by_nodes():
    g = scg.Graph("indices")
    s = g.param("s")
    x, k = g.sample("x", normal(s)), g.sample("k", scg.Categorical(logits=np.zeros(5)))
    table = s * np.arange(3.0)
    refused(scg.ShapeError, lambda: table[x], "indexed", "integer", "scg.floor", at="lambda")
    refused(scg.ShapeError, lambda: table[k], "length 3", "0 to 4", at="lambda")
    refused(scg.ShapeError, lambda: s[k], "0 dimension", at="lambda")


def test_one_hot():
    g = scg.Graph("one hot")
    s, row, label = g.param("s"), g.param("row", 3), g.data("label")
    x, k, n = g.sample("x", normal(s)), g.sample("k", scg.Categorical(logits=np.zeros(3))), g.sample("n", poisson(s))

    def bad(action, *words):
        refused(scg.ShapeError, action, *words, at="bad(lambda")

    for node, name in ((x, "x"), (s, "s"), (label / 2, "label"), (k / 2, "k"), (k + s, "k")):
        bad(lambda node=node: scg.one_hot(node, 3), "one_hot", name, "need not be integers", "scg.floor")
    bad(lambda: scg.one_hot(0.5, 3), "0.5", "need not be integers")
    bad(lambda: scg.one_hot([0, 3], 3), "0 to 3", "size 4")
    bad(lambda: scg.one_hot(k, 2), "0 to 2", "size 3")
    for size in (0, -1, 2.5, True, "a", s, None):
        bad(lambda size=size: scg.one_hot(k, size), "one_hot", "whole number from 1")
    wide = scg.stack([scg.one_hot(i, 3) for i in (k, k % 2, scg.floor(label), x < np.inf, 2, n)])
    g.node("wide", wide)
    g.cost("loss", (wide * scg.stop_gradient(row)).sum())
    r = scg.compile(g, backend="numpy")({"s": 0.5, "row": np.ones(3), "label": [2.0, 0.0]}, samples=50, rng=0,
                                        record=("wide", "k", "n"))
    k, n, eye = r.record["k"].astype(int), r.record["n"].astype(int), np.eye(3)
    labels = np.broadcast_to(np.array([2, 0])[:, None], k.shape)
    np.testing.assert_array_equal(r.record["wide"][:, :, 0], eye[k])
    np.testing.assert_array_equal(r.record["wide"][:, :, 1], eye[k % 2])
    np.testing.assert_array_equal(r.record["wide"][:, :, 2], eye[labels])
    np.testing.assert_array_equal(r.record["wide"][:, :, 3:5], np.broadcast_to(eye[[1, 2]], (2, 50, 2, 3)))
    np.testing.assert_array_equal(r.record["wide"][:, :, 5], n[..., None] == np.arange(3))


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_index_out_of_its_table(backend):
    g = scg.Graph("table")
    s = g.param("s")
    g.cost("loss", (s * np.arange(3.0))[g.sample("k", poisson(s))])  # the look-up
    f = scg.compile(g, backend=backend, stderr=False)
    refused(scg.NonFiniteError, lambda: f({"s": 2.0}, samples=1000, rng=0), "index", "length 3", at="# the look-up")
    assert np.isfinite(f({"s": -30.0}, samples=10, rng=0).cost)


def test_names():
    g = scg.Graph("names")
    theta = g.param("theta")  # the first
    for declare in (g.param, g.input, g.data):
        refused(scg.DeclarationError, lambda declare=declare: declare("theta"), '"theta"', "test_refusals.py:",
                "Choose another name", at="lambda")  # fmt: skip
    refused(scg.DeclarationError, lambda: g.sample("theta", bernoulli(theta)), '"theta"', at="lambda")
    refused(scg.DeclarationError, lambda: g.node("theta", theta + 1.0), '"theta"', at="lambda")
    refused(scg.DeclarationError, lambda: g.cost("theta", theta), '"theta"', at="lambda")
    for name in ("to\ny", 'to"""y', "to\\y", 3, None):
        refused(scg.DeclarationError, lambda name=name: scg.Graph(name), repr(name), "name of a graph", at="lambda")
    for name in ("", 3, None, "a\nb", "a\x00", b"a"):
        refused(scg.DeclarationError, lambda name=name: g.param(name), "non-empty string", at="lambda")
    refused(scg.DeclarationError, lambda: g.sample("x", 3), '"x"', "scg.Bernoulli(", at="lambda")
    refused(scg.DeclarationError, lambda: g.sample("y", scg.Normal), '"y"', "scg.Bernoulli(", at="lambda")
    refused(scg.DeclarationError, lambda: g.sample("y", bernoulli(theta), per_row="no"), "per_row=", "True or False",
            at="lambda")
    refused(scg.DeclarationError, lambda: g.scan(3, 0.0, length=2), "3", "(carry, x)", at="lambda")
    for scale in (np.nan, np.inf, [1.0, -np.inf]):
        refused(scg.DeclarationError, lambda scale=scale: g.cost("c", theta, scale=scale), '"c"', "scale=", "finite",
                at="lambda")


def test_nodes_of_two_graphs():
    g, h = scg.Graph("g"), scg.Graph("h")
    a, b = g.param("a"), h.param("b")
    refused(scg.DeclarationError, lambda: a + b, '"g"', '"h"', "one Graph", at="lambda")
    refused(scg.DeclarationError, lambda: g.cost("loss", b), '"g"', '"h"')
    refused(scg.DeclarationError, lambda: g.node("n", b), '"g"', '"h"')
    refused(scg.DeclarationError, lambda: g.sample("x", normal(b)), '"g"', '"h"')


def test_nodes_are_not_numbers():
    g = scg.Graph("numbers")
    s, b = g.param("s"), g.param("b", 2)

    def bad(action, *words):
        refused(scg.NodeUseError, action, *words, at="bad(lambda")

    bad(lambda: 1.0 if s > 0 else 0.0, "truth value", "scg.where")
    bad(lambda: (s > 0) and (s < 1), "truth value", "& | ~")
    bad(lambda: max(s, 1.0), "truth value")
    bad(lambda: float(s), 'param "s"', "number", "scg.where")
    bad(lambda: int(s), 'param "s"', "number")
    bad(lambda: range(s), "number")
    bad(lambda: np.array([s]), 'param "s"', "array", "scg.stack")
    bad(lambda: np.asarray(s), 'param "s"', "scg.stack")
    bad(lambda: np.arange(3.0)[s], "array")
    bad(lambda: b + [s, s], "scg.stack")
    bad(lambda: len(s), 'param "s"', "scalar")
    bad(lambda: list(s), "scalar")
    bad(lambda: np.linalg.inv(b), "np.linalg.inv", "not defined for nodes")
    bad(lambda: np.sort(b), "np.sort")
    bad(lambda: np.arctan2(s, s), "np.arctan2")
    bad(lambda: np.exp(s, out=np.zeros(())), "out")
    bad(lambda: np.sum(b, where=[True, False]), "where")
    bad(lambda: s + "a", "str")
    bad(lambda: s + None, "NoneType")
    bad(lambda: s * 1j, "complex")
    bad(lambda: b.__setitem__(0, 1.0), "where")
    with pytest.raises(TypeError):  # as for every number that is none
        float(s)


def test_uses_by_a_numpy_user():
    g = scg.Graph("uses")
    s, v, a = g.param("s"), g.param("v", 3), g.param("a", (2, 3))
    k = g.sample("k", scg.Categorical(logits=np.zeros(3)))

    def bad(action, *words, kind=scg.NodeUseError):
        refused(kind, action, *words, at="bad(lambda")

    bad(lambda: complex(s), "number")
    bad(lambda: math.exp(s), "number", "NumPy's functions")
    bad(lambda: operator.index(k), "whole number", 'sample "k"')
    bad(lambda: [1.0, 2.0, 3.0][k], "index", "scg.take(R, k)", 'g.node("R", R)[k]')
    bad(lambda: 0.0 < s < 1.0, "truth value", "a < x < b")
    bad(lambda: s in v, "contains", "max()")
    bad(lambda: sorted(v), "truth value")
    bad(lambda: f"{s:.2f}", "'.2f'", "record=")
    bad(lambda: "%.2f" % s, "number")  # noqa: UP031
    bad(lambda: v.__delitem__(0), "deleted", "concatenate")
    bad(lambda: setattr(a, "shape", (3, 2)), ".shape", "do not change", "reshape")
    bad(lambda: setattr(a, "name", "a"), ".name", "do not change")
    bad(lambda: delattr(a, "shape"), ".shape", "do not change")
    bad(lambda: s << 1, "bits", "2**n")
    bad(lambda: s ^ 2, "^", "**")
    bad(lambda: s & 1, "&")
    bad(lambda: np.add(v, 1.0, out=np.zeros(3)), "np.add", "out")
    bad(lambda: np.zeros(3).__iadd__(v), "np.add", "out")
    bad(lambda: np.exp(v, where=[True, False, True]), "np.exp", "where")
    bad(lambda: np.add.at(v, 0, 1.0), "np.add.at")
    bad(lambda: np.multiply.outer(v, v), "np.multiply.outer")
    bad(lambda: np.full(3, s), "array", "scg.stack")  # noticed inside NumPy's code, and yet at this line
    bad(lambda: np.sum([s, s]), "array", "scg.stack")
    bad(lambda: np.float64(s), "array")
    bad(lambda: v + np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0]), "masked", "filled")
    bad(lambda: s + np.array([1.0, None]), "object")
    bad(lambda: s + [[1.0], [2.0, 3.0]], "list")
    bad(lambda: s + 10**400, "int", "float64")
    bad(lambda: np.any(v > 0.0), "np.any", "not defined")
    bad(lambda: v.argmax(), ".argmax", "((x == x.max()) * c).sum()", kind=scg.NodeAttributeError)
    bad(lambda: v.tanh(), "np.tanh(node)", kind=scg.NodeAttributeError)
    bad(lambda: v.sigmoid(), "scg.sigmoid(node)", kind=scg.NodeAttributeError)
    short = bad(lambda: v.uniform_(), "They have no such" if False else "they have", "reshape, round, shape",
                kind=scg.NodeAttributeError)
    assert not any(name in str(short) for name in ("attrs", "facts", "owner"))
    bad(lambda: v.detach(), "scg.stop_gradient", kind=scg.NodeAttributeError)
    bad(lambda: s.item(), "record=", kind=scg.NodeAttributeError)
    bad(lambda: s.grad, "scg.compile", kind=scg.NodeAttributeError)
    assert not hasattr(s, "argmax") and not hasattr(s, "__array_interface__") and getattr(s, "grad", 3) == 3
    assert s.shape == () and a.shape == (2, 3), "a refused assignment left something behind"


def test_uses_that_work():
    g = scg.Graph("works")
    s, v = g.param("s"), g.param("v", 3)
    n = s
    n += 1.0
    assert n is s + 1.0 and s is not n  # the name is bound anew, the node is as it was
    assert copy.copy(v) is v and copy.deepcopy([v])[0] is v
    assert {s: 1}[s] == 1 and len({s, v, s}) == 2 and [s].index(s) == 0
    assert f"{s}" == str(s) == repr(s)
    assert [x.shape for x in reversed(v)] == [()] * 3


def test_graphs_are_not_copied():
    g = toy()
    for copied in (copy.copy, copy.deepcopy):
        refused(scg.DeclarationError, lambda copied=copied: copied(g), 'graph "toy"', "belong", at="lambda")


def test_comparisons_are_numbers_in_arithmetic():
    g = scg.Graph("comparisons")
    a = g.input("a", 3)
    g.node("all", scg.stack([(a > 0) + (a > 1), (a > 0) - (a > 1), (a > 0) * (a < 2), -(a > 0), +(a > 0), abs(a > 0),
                             (a > 0) / 2, (a > 0) ** 2, (a > 0) // 2, (a > 0) + True, np.round(a > 0)]))
    g.cost("sum", (a > 0).sum())
    r = scg.compile(g, backend="numpy")({"a": [-1.0, 0.5, 3.0]}, record="all")
    np.testing.assert_array_equal(r.record["all"][0, 0], [
        [0, 1, 2], [0, 1, 0], [0, 1, 0], [0, -1, -1], [0, 1, 1], [0, 1, 1], [0, 0.5, 0.5], [0, 1, 1], [0, 0, 0],
        [1, 2, 2], [0, 1, 1]])
    assert r.cost == 2.0 and (a > 0).kind == ((a > 0) ^ (a < 1)).kind == "bool" and (+(a > 0)).kind == "real"


@pytest.mark.parametrize("backend", BACKENDS)
def test_remainders_and_rounding_in_kernels(backend):
    g = scg.Graph("remainders")
    k, x = g.sample("k", scg.Poisson(rate=3.0)), g.sample("x", scg.Normal(loc=g.param("m"), scale=2.0))
    g.node("r", k % 3)
    g.node("all", scg.stack([k // 2, (k % 3) * 1.0, x // 0.3, x % 0.3, np.round(x), np.round(x, 1), np.trunc(x)]))
    g.cost("loss", (g.input("table", 3)[k % 3]) * x % 2.0)  # of integers, the remainder is one: it can be an index
    f = scg.compile(g, backend=backend, stderr=False)
    r = f({"m": 0.3, "table": [1.0, -2.0, 0.5]}, samples=200, rng=0, record=("k", "x", "all"))
    k, x = r.record["k"][0], r.record["x"][0]
    wanted = [k // 2, k % 3, x // 0.3, x % 0.3, np.round(x), np.round(x, 1), np.trunc(x)]
    np.testing.assert_allclose(r.record["all"][0].T, wanted, rtol=1e-12, atol=1e-14)
    costs = np.array([1.0, -2.0, 0.5])[(k % 3).astype(int)] * x % 2.0
    np.testing.assert_allclose(r.cost, costs.mean(), rtol=1e-12)
    assert type(f.verdict["x"].estimator) is scg.ScoreFunction  # a remainder jumps


# --- numbers that are not finite -------------------------------------------------------------------------------------
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_estimate_that_is_not_finite(backend):
    g = scg.Graph("log")
    b = g.sample("b", bernoulli(g.param("theta")))
    log = g.node("log b", scg.log(b))  # the logarithm
    g.cost("loss", 2.0 * log)
    f = scg.compile(g, backend=backend, stderr=False)
    refused(scg.NonFiniteError, lambda: f({"theta": 0.0}, samples=100, rng=0), 'ode "log b"', "not finite", "above 0",
            at="# the logarithm")
    assert f({"theta": 40.0}, samples=100, rng=0).cost == 0.0


@pytest.mark.parametrize("loss, words", [
    (lambda x, theta: 1.0 / x, ("denominator",)), (lambda x, theta: scg.exp(1000.0 * x), ("exp",)),
    (lambda x, theta: scg.sqrt(theta * theta) * x, ("derivative",))])  # fmt: skip
def test_other_numbers_that_are_not_finite(loss, words):
    f = scg.compile(one(bernoulli, loss), backend="numpy")
    refused(scg.NonFiniteError, lambda: f({"theta": 0.0}, samples=100, rng=0), *words, at="lambda x, theta")


# --- scans -----------------------------------------------------------------------------------------------------------
def looping(step, init=0.0, strategy=None, length=3, after=lambda g, carry, kept: g.cost("after", carry)):
    """Declares, and compiles, a scan of a step function ``step(g, theta, kept, carry) -> (carry, ys)``."""

    def action():
        g, kept = scg.Graph("loop"), {}
        theta = g.param("theta")
        carry, _ = g.scan(lambda c, x: step(g, theta, kept, c), init, length=length)  # the scan
        after(g, carry, kept)
        return scg.compile(g, strategy=strategy, backend="numpy")

    return action


def walk(g, theta, kept, c):
    b = g.sample("b", bernoulli(theta + c))  # the walker
    kept["node"], kept["site"] = 2.0 * b + c, b
    return c + b * kept.get("by", 1.0), None


def test_scan_structure():
    refused(scg.ShapeError, looping(lambda g, t, kept, c: (c + np.zeros(2), None)), "()", "(2,)", at="# the scan")
    for wrong in (lambda g, t, kept, c: c + t, lambda g, t, kept, c: (c, c, c), lambda g, t, kept, c: None):
        refused(scg.DeclarationError, looping(wrong), "(carry, ys)", "(carry, None)", at="# the scan")
    refused(scg.ShapeError, looping(lambda g, t, kept, c: ((c, c), None)), "structure", at="# the scan")
    pair = {"a": 0.0, "b": 1.0}
    refused(scg.ShapeError, looping(lambda g, t, kept, c: ((c["a"], c["b"]), None), pair), "structure", at="# the scan")
    refused(scg.ShapeError, looping(lambda g, t, kept, c: ({"a": c["a"], "z": c["b"]}, None), pair), "'z'", "structure")


def test_scan_lengths():
    def idle(g, theta, kept, c):
        return c + theta, None

    for length in (None, 0, -1, 2.5, "a", True):
        refused(scg.ShapeError, looping(idle, length=length), "Give length=", at="# the scan")
    g = scg.Graph("xs")
    refused(scg.ShapeError, lambda: g.scan(lambda c, x: (c, None), 0.0, xs=np.zeros(4), length=3), "3", "4",
            at="lambda")
    refused(scg.ShapeError, lambda: g.scan(lambda c, x: (c, None), 0.0, xs=[1.0, 2.0]), "no length", "np.array",
            at="lambda")


def test_dict_carries_are_matched_by_key():
    def swap(g, theta, kept, c):
        return {"b": c["b"] + 1.0, "a": c["a"] + theta}, None

    f = looping(swap, {"a": 0.0, "b": 1.0}, after=lambda g, carry, kept: g.cost("after", carry["a"]))()
    assert f({"theta": 2.0}, samples=1).cost == 6.0


@pytest.mark.parametrize("leaked", ["node", "site"])
def test_a_node_from_inside_a_step(leaked):
    outside = looping(walk, after=lambda g, carry, kept: g.cost("after", kept[leaked] + carry))
    refused(scg.DeclarationError, outside, '"after"', "inside a scan", "part of ys")
    again = looping(walk, after=lambda g, carry, kept: g.cost("after", g.sample("z", normal(kept[leaked]))))
    refused(scg.DeclarationError, again, "inside a scan", "part of ys")


def test_a_step_that_fails_declares_nothing():
    g = scg.Graph("again")
    theta = g.param("theta")

    def step(c, _, right=False):
        b = g.sample("b", bernoulli(theta + c))
        return g.node("next", b + c if right else b + np.zeros(2) @ np.zeros(3)), None

    with pytest.raises(ValueError):  # NumPy's own
        g.scan(step, 0.0, length=2)
    last, _ = g.scan(lambda c, x: step(c, x, right=True), 0.0, length=2)
    g.cost("last", last)
    assert list(scg.compile(g, backend="numpy").verdict) == ["b"]


def test_a_refused_declaration_leaves_the_name_free():
    g = scg.Graph("free")
    theta = g.param("theta")
    refused(scg.ShapeError, lambda: g.param("p", -1), at="lambda")
    refused(scg.DeclarationError, lambda: g.sample("x", 3), at="lambda")
    refused(scg.ShapeError, lambda: g.sample("x", scg.Normal(loc=np.zeros(2), scale=1.0), shape=3), at="lambda")
    refused(scg.NodeUseError, lambda: g.node("n", None), at="lambda")
    refused(scg.NodeUseError, lambda: g.cost("loss", "x"), at="lambda")
    x = g.sample("x", scg.Normal(loc=theta + g.param("p"), scale=1.0))
    g.cost("loss", g.node("n", 2.0 * x))
    assert np.isclose(scg.compile(g, backend="numpy")({"theta": 0.1, "p": 0.2}).grad["p"], 2.0)


def test_estimators_inside_a_scan():
    def drifting(g, theta, kept, c):
        kept["by"] = theta
        return walk(g, theta, kept, c)

    refused(scg.EstimatorError, looping(drifting, strategy=scg.Enumerate(), length=17), '"b"', str(2**17),
            "all its steps", "is known at a call only", "LocalExpectation()", at="# the walker")
    refused(scg.EstimatorError, looping(walk, strategy=scg.Pathwise()), '"b"', "Bernoulli", at="# the walker")


def both_ways(g, theta, kept, c):
    a = g.sample("a", bernoulli(theta + c))  # the first of two
    b = g.sample("b", bernoulli(theta * a))  # the second of two
    return c + b * theta, None


@pytest.mark.parametrize("other", [scg.ScoreFunction(), scg.WeakDerivative(), scg.Enumerate()])
def test_summing_out_one_of_two_sites_that_influence_each_other(other):
    """Their order in the step does not matter: the other's draws lead to the probability of the world they are in."""
    for strategy in ({"a": scg.Enumerate(), "b": other}, {"a": other, "b": scg.Enumerate()}):
        refused(scg.EstimatorError, looping(both_ways, strategy=strategy), "through a carry", "LocalExpectation()",
                at="of two")
    looping(both_ways, strategy={"a": scg.LocalExpectation(), "b": scg.WeakDerivative()})()


# --- estimators and families -----------------------------------------------------------------------------------------
def gamma(theta):
    return scg.Gamma(concentration=scg.exp(theta), rate=1.0)


def mixture(theta):
    return scg.Mixture([scg.Normal(loc=theta, scale=1.0), scg.Normal(loc=0.0, scale=2.0)], logits=np.zeros(2))


@pytest.mark.parametrize("dist, strategy, words", [
    (poisson, scg.Enumerate(), ("infinitely many", "upto=")),
    (normal, scg.Enumerate(), ("Normal", "infinitely many", "Pathwise()")),
    (poisson, scg.LocalExpectation(), ("Poisson", "finite support", "ScoreFunction()")),
    (mixture, scg.WeakDerivative(), ("Mixture", "no weak derivative", "ScoreFunction()")),
    (mixture, scg.Pathwise(), ("Mixture", "no differentiable path", "ScoreFunction()"))])  # fmt: skip
def test_estimators_that_a_family_lacks(dist, strategy, words):
    refused(scg.EstimatorError, compiling(one(dist, lambda x, theta: x**2), strategy), 'sample "x"', *words,
            at="# the site")


@pytest.mark.parametrize("dist, loss, name", [
    (bernoulli, lambda x, theta: (theta * np.arange(2.0))[x], "take"),
    (bernoulli, lambda x, theta: scg.where(x > 0.5, theta, 1.0), "comparison"),
    (lambda t: scg.Categorical(logits=t * np.arange(3.0)), lambda x, theta: (x == 1) * theta, "comparison")])
def test_muprop_off_the_support(dist, loss, name):
    refused(scg.ConditionError, compiling(one(dist, loss), scg.MuProp()), 'sample "x"', "mean", name, "support",
            "Use ScoreFunction()", at="# the site")


def test_options_of_estimators():
    refused(scg.EstimatorError, lambda: scg.WeakDerivative(noise="zz"), "'zz'", '"common" or "fresh"', at="lambda")
    for upto in (-1, 2.5, "a", True):
        refused(scg.EstimatorError, lambda upto=upto: scg.Enumerate(upto=upto), f"upto={upto!r}", "from 0", at="lambda")
    refused(scg.EstimatorError, lambda: scg.WeakDerivative(coupled=3), "coupled=3", "True or False", at="lambda")
    refused(scg.EstimatorError, lambda: scg.MuProp(rollout="a"), "rollout='a'", "True or False", at="lambda")
    assert scg.Enumerate(upto=np.int64(3)).upto == 3


def test_divergences_without_closed_form():
    p, q = scg.Poisson(rate=1.0), scg.Normal(loc=0.0, scale=1.0)
    refused(scg.EstimatorError, lambda: scg.kl_divergence(p, q), "Poisson", "Normal", "closed form", "log_prob",
            at="lambda")


def test_what_a_family_lacks():
    p = scg.Poisson(rate=1.0)
    for name in ("entropy", "foo"):
        refused(scg.CapabilityError, lambda n=name: getattr(p, n), f"Poisson.{name}", "rate, log_prob", at="lambda")
    assert not hasattr(p, "entropy")


def test_two_sites_of_one_stream():
    def second(g, carry, kept):
        g.cost("after", carry + g.sample("b[1]", bernoulli(0.0)))

    refused(scg.DeclarationError, looping(walk, after=second), '"b', "same words", 'step 3 of site "h"', "another name")
    g = scg.Graph("unrolled")
    theta = g.param("theta")
    g.cost("loss", sum(g.sample(f"b[{t}]", bernoulli(theta)) for t in range(3)))
    assert scg.compile(g, backend="numpy").verdict.unbiased
    refused(scg.DeclarationError, lambda: g.sample("b", bernoulli(theta)), 'site "b[0]"', "same words", at="lambda")


def test_equal_steps_of_two_graphs_keep_their_lines():
    def again(g, theta, kept, c):
        b = g.sample("b", bernoulli(theta + c))  # the other walker
        return c + b, None

    kept = [looping(step)() for step in (walk, again)]
    for step, line in ((walk, "# the walker"), (again, "# the other walker")):
        refused(scg.EstimatorError, looping(step, strategy=scg.Pathwise()), '"b"', at=line)
    assert all(f.verdict.unbiased for f in kept)


def test_matrices_whose_product_is_another_are_refused():
    """NumPy's ``*`` of a np.matrix is the product of matrices."""
    m, matrix = scg.Graph("g").param("m", (2, 2)), np.matrix([[1.0, 2.0], [3.0, 4.0]])
    for use in (lambda: matrix * m, lambda: m * matrix, lambda: m @ matrix, lambda: np.exp(m) + matrix):
        with pytest.raises(scg.NodeUseError, match=r"np.matrix.*np.asarray"):
            use()


def test_too_many_continuous_sites_are_refused_at_a_line():
    g = scg.Graph("many")
    t = g.param("t")
    g.cost("c", sum(g.sample(f"x{i}", scg.Normal(loc=t, scale=1.0)) for i in range(4)) ** 2)
    with pytest.raises(scg.ExactError, match=r"^test_refusals.py:\d+, graph \"many\".*4 continuous draws"):
        scg.exact(g, {"t": 0.1})


def test_where_nothing_is_exact_it_is_said_what_there_is():
    """Not a test that does not exist."""
    g = scg.Graph("normal")
    g.cost("c", g.sample("x", scg.Normal(loc=g.param("t"), scale=1.0)) ** 2)
    found = scg.verify(scg.compile(g, backend="numpy"), {"t": 2.0})
    assert found.passed is None and "another estimator" in found.method and "finite differences" in found.method
    assert "statistical test" not in found.method


def test_summing_two_sites_of_a_loop_that_move_each_other():
    """They are summed out together, step by step; one of them alone is not, and the same loop in Python is exact."""
    table = np.random.default_rng(1).dirichlet(np.ones(3), size=(3, 2))
    theta = np.array([[0.3, -0.2], [0.1, 0.4], [-0.5, 0.2]])

    def steps(g, s, th, p, name):
        a = g.sample(f"a{name}", scg.Categorical(logits=th[s]))
        g.cost(f"r{name}", (s - a) ** 2)
        return g.sample(f"s{name}", scg.Categorical(probs=p[s, a]))

    g, h = scg.Graph("scanned"), scg.Graph("unrolled")
    th, p = g.param("theta", (3, 2)), g.node("P", table)
    g.scan(lambda s, _: (steps(g, s, th, p, ""), None), 0, length=3)
    with pytest.raises(scg.EstimatorError, match=r"influence each other through a carry.*Give both Enumerate\(\)"):
        scg.compile(g, strategy={"s": scg.Enumerate(), "a": scg.ScoreFunction()}, backend="numpy")
    s, own, q = 0, h.param("theta", (3, 2)), h.node("P", table)
    for t in range(3):
        s = steps(h, s, own, q, t) if t else steps(h, h.node("start", 0.0), own, q, t)
    r = scg.compile(h, strategy=scg.Enumerate(), backend="numpy")({"theta": theta})
    policy = np.exp(theta) / np.exp(theta).sum(1, keepdims=True)
    at, cost = np.array([1.0, 0.0, 0.0]), 0.0
    for _ in range(3):
        cost += np.sum(at[:, None] * policy * (np.arange(3)[:, None] - np.arange(2)) ** 2)
        at = np.einsum("s,sa,saz->z", at, policy, table)
    for found in (r, scg.compile(g, strategy=scg.Enumerate(), backend="numpy")({"theta": theta}),
                  scg.exact(g, {"theta": theta})):
        assert np.isclose(found.cost, cost, rtol=1e-10)


class _Returning(scg.extend.Baseline):
    """A baseline that returns what it is given."""

    def __init__(self, found):
        self.found = found

    def value(self, site, signal):
        return self.found


class _Forgetful(scg.extend.Estimator):
    """A rewrite without its return."""

    requires = ("log_prob",)

    def rewrite(self, site):
        site.draft.with_term(site.name, site.score.sum())


class _ForgetfulOfAll(scg.extend.Estimator):
    """The same of a whole graph."""

    scope = "graph"
    unbiased = False

    def objection(self, whole):
        return None

    def rewrite(self, whole):
        return whole.targets


for wrong in (_Forgetful, _ForgetfulOfAll):  # no other test is to be offered them
    del ESTIMATORS[wrong.__name__]
del BASELINES[_Returning.__name__]


def _compiled(strategy):
    g = scg.Graph("parts")
    b = g.sample("b", scg.Bernoulli(logits=g.param("t")))
    g.cost("c", (b - 0.45) ** 2)
    return scg.compile(g, strategy=strategy, backend="numpy")


@pytest.mark.parametrize("found", [0.3, None, (), "a"])
def test_what_a_baseline_returns_is_looked_at(found):
    with pytest.raises(scg.BaselineError, match=r"Return Subtracted"):
        _compiled(scg.ScoreFunction(_Returning(found)))


def test_a_number_is_subtracted_as_a_node_is():
    values = {"t": 0.3}
    one, other = (_compiled(scg.ScoreFunction(b))(values, samples=100, rng=0)
                  for b in (_Returning(scg.extend.Subtracted(0.3)), scg.Constant(0.3)))
    assert one.grad["t"] == other.grad["t"]


@pytest.mark.parametrize("estimator", [_Forgetful(), _ForgetfulOfAll()], ids=["site", "graph"])
def test_a_rewrite_returns_a_draft(estimator):
    with pytest.raises(scg.EstimatorError, match="and no draft"):
        _compiled(estimator)


# --- every part of an error -------------------------------------------------------------------------------------------
def _mixture(w):
    g = scg.Graph("mixture")
    g.cost("c", g.sample("x", scg.Mixture([scg.Gamma(1.0, 1.0), scg.Normal(-3.0, 1.0)], probs=g.param("w", 2))) ** 2)
    return scg.compile(g, backend="numpy")({"w": w}, samples=10, rng=0)


def _moving_component():
    g = scg.Graph("mixture")
    g.cost("c", g.sample("x", scg.Mixture([scg.Uniform(0.0, g.param("h")), scg.Normal(0.0, 1.0)], probs=[0.5, 0.5])))
    scg.compile(g, backend="numpy")


def _mean_of_student(strategy):
    g = scg.Graph("student")
    g.cost("c", np.tanh(g.sample("x", scg.StudentT(g.param("d"), g.param("m"), 1.0))))
    return scg.compile(g, strategy=strategy, backend="numpy")({"d": 0.5, "m": 0.2}, samples=10, rng=0)


def _result():
    g = scg.Graph("square")
    g.cost("c", g.param("th") ** 2)
    return scg.compile(g, backend="numpy")({"th": 2.0})


@pytest.mark.parametrize("asked, words", [
    (lambda: _mixture([1.0, 0.0]), r"probs is 0.*Keep probs off 0"),
    (_moving_component, r"0\.high depends.*Draw the component"),
    (lambda: _mean_of_student(scg.MuProp()), r"df of StudentT must be above 1.*mean"),
    (lambda: _mean_of_student(scg.StraightThrough()), r"df of StudentT must be above 1.*mean"),
    (lambda: scg.extend.apply("exp", 1.0, 2.0), r"given 2 arguments.*takes 1"),
    (lambda: _result().grad.th, r"r\.grad\.th.*has: th.*Write r\.grad\['th'\]"),
    (lambda: _result().costs.d, r"r\.costs\.d.*has: c"),
])
def test_every_refusal_says_what_would_work(asked, words):
    with pytest.raises(scg.SCGError, match=words) as refused:
        asked()
    for problem in refused.value.problems:
        assert all((problem.where, problem.what, problem.why, problem.fix)), problem


def test_results_have_no_attributes_of_their_own():
    found = _result()
    assert copy.deepcopy(found.grad) == found.grad and not hasattr(found.grad, "c")


@pytest.mark.parametrize("number", [10**18, 2**64, 10**23, Fraction(3, 2)])
def test_numbers_of_python_are_literals(number):
    """In a graph they are what NumPy makes of them beside a float64, as they are in the values of a call."""
    g = scg.Graph("g")
    g.cost("c", g.param("p") * number)
    g.cost("d", (g.param("q", 2) * [number, 1]).sum())
    f = scg.compile(g, backend="numpy")
    assert f({"p": 2.0, "q": [2.0, 1.0]}).costs == {"c": 2.0 * float(number), "d": 2.0 * float(number) + 1.0}


def test_numbers_beyond_float64_are_no_literals():
    with pytest.raises(scg.NodeUseError, match=r"type int was used.*largest of float64.*logarithms"):
        scg.Graph("g").param("p") * 10**400


def test_numba_that_is_switched_off_is_refused(monkeypatch):
    g = scg.Graph("g")
    g.cost("c", g.param("p") ** 2)
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    with pytest.raises(scg.DeclarationError, match=r"backend='numba'.*NUMBA_DISABLE_JIT.*backend=\"numpy\""):
        scg.compile(g)
    assert scg.compile(g, backend="numpy")({"p": 3.0}).cost == 9.0
