"""Functions of the user's in graphs: a call is what the same formula in nodes is, wherever it stands, or is refused."""

from __future__ import annotations

import linecache
import math
import pickle
import random
import re
from types import ModuleType

import numba
import numpy as np
import pytest

import scg
from scg.ir.code_digest import code_digest
from tests.laws import simulated as sim
from tests.laws.checks.exact_law import check_exact_law
from tests.laws.checks.sampling import within
from tests.laws.simulated import called, swing

BACKENDS = ["numpy", "numba"]


def pendulum(state, push):
    """In nodes."""
    speed = state[1] + 0.4 * push - 0.3 * scg.sin(state[0])
    return scg.stack([state[0] + 0.5 * speed, speed])


def bumpy(x, y):
    """In nodes."""
    return sum(scg.cos(float(i) * x) * y**i for i in range(1, 4))


def folded(matrix, v):
    """In nodes."""
    which = np.array([[(i + j) % 4 for j in range(4)] for i in range(5)])
    return matrix * v - v[which]


def written(g, name, *args):
    """The same in nodes."""
    return globals()[name](*args)


def tables(do, estimator=None):
    """Rows, a param in an array, a draw in another."""
    g = scg.Graph("tables")
    w, x = g.param("w", (5, 4)), g.data("x")
    b = g.sample("b", scg.Bernoulli(logits=0.3 * w[0] + x), estimator=estimator)
    g.cost("c", (do(g, "folded", w, b + 0.5) * np.arange(20.0).reshape(5, 4)).sum())
    return g, {"w": np.linspace(-1.0, 1.0, 20).reshape(5, 4), "x": np.array([0.1, -0.7])}


def path(do, estimator=None):
    """A path through a call, into the parameters of a second site."""
    g = scg.Graph("path")
    a, b = g.param("a"), g.param("b")
    z = g.sample("z", scg.Normal(a, 0.5), estimator=estimator)
    k = g.sample("k", scg.Bernoulli(logits=do(g, "bumpy", z, b)))
    g.cost("c", (k - 0.3) * do(g, "bumpy", z * b, 0.7))
    return g, {"a": 0.4, "b": -0.6}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("graph", "estimator"), [
    (swing, None), (tables, scg.LocalExpectation()), (path, None), *(
        pytest.param(*case, marks=pytest.mark.full)
        for case in ((swing, scg.LocalExpectation()), (path, scg.ScoreFunction())))],
    ids=lambda x: getattr(x, "__name__", str(x)))
def test_a_call_is_what_it_computes(graph, estimator, backend):
    results = []
    for do in (called, written):
        g, values = graph(do, estimator)
        results.append(scg.compile(g, backend=backend if do is called else "numpy")(values, samples=64, rng=3))
    for name in results[1].grad:
        np.testing.assert_allclose(results[0].grad[name], results[1].grad[name], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(results[0].cost, results[1].cost, rtol=1e-12)


def test_truth_values_are_numbers():
    """Kernels take what a function returns apart by `elements`."""
    from scg_numba.called import elements

    @numba.njit
    def taken(x, v):
        return elements(x > 0.2, 1), elements(v > 0.2, 2), elements((x > 0.2, x), 2)

    assert taken(0.5, np.array([0.1, 0.3])) == ((1.0,), (0.0, 1.0), (1.0, 0.5))
    g = scg.Graph("truth")
    g.cost("c", g.param("a") * g.call(lambda x: x > 0.2, 0.5))
    assert scg.compile(g, backend="numpy")({"a": 3.0}).cost == 3.0


def test_float32_is_float32():
    g, values = path(called)
    results = [scg.compile(g, backend=b, dtype="float32")(values, samples=64, rng=3) for b in BACKENDS]
    for name in results[0].grad:
        np.testing.assert_allclose(results[0].grad[name], results[1].grad[name], rtol=2e-5)


@pytest.mark.parametrize("estimator", [
    scg.ScoreFunction(), scg.LocalExpectation(), scg.Enumerate(), scg.WeakDerivative(), scg.DisARM()], ids=str)
def test_the_exact_law(estimator):
    g, values = swing(called, estimator)
    check_exact_law(g, values)


def test_draws_are_the_same_on_any_number_of_workers():
    from concurrent.futures import ThreadPoolExecutor

    g, values = swing(called)
    f = scg.compile(g)
    alone = f(values, samples=5000, rng=1)
    for workers in (2, 7):
        with ThreadPoolExecutor(workers) as pool:
            assert f(values, samples=5000, rng=1, executor=pool).grad["a"] == alone.grad["a"]


def test_formulas_compute_what_kernels_do():
    for graph in (swing, path):
        g, values = graph(called)
        f = scg.compile(g, backend="numpy")
        found = f.surrogate.evaluate(values, samples=4, rng=5)
        r = f(values, samples=4, rng=5)
        np.testing.assert_allclose(found.gradient("a").mean(), r.grad["a"], rtol=1e-9)
    assert "pendulum(" in str(scg.compile(swing(called)[0], backend="numpy").surrogate)


# --- what is refused -------------------------------------------------------------------------------------------------
def refused(match, make, kind=scg.SCGError):
    with pytest.raises(kind, match=match) as caught:
        make()
    assert "test_calls.py" in str(caught.value) or "simulated.py" in str(caught.value)
    return str(caught.value)


def test_a_vjp_that_returns_a_node_is_told_so():
    """A derivative in nodes is an op's; a call's has numbers."""
    g = scg.Graph("nodes")
    a, b = g.param("a"), g.param("b")
    g.cost("c", g.call(math.tanh, a, vjp=lambda adjoint, x: adjoint * b))
    refused("returned a node.*an argument of g.call", lambda: scg.compile(g, backend="numpy")({"a": 0.3, "b": 1.0}))


def test_no_derivative_passes_a_call_without_vjp():
    def of_a_path():
        g = scg.Graph("refused")
        z = g.sample("z", scg.Normal(g.param("a"), 1.0))
        g.cost("c", g.call(sim.bumpy, z, 0.5))
        return g

    refused("declared without vjp=", lambda: scg.compile(of_a_path(), strategy=scg.Pathwise()))
    chosen = scg.compile(of_a_path())
    assert "ScoreFunction" in repr(chosen.verdict["z"].estimator)

    def of_a_param():
        g = scg.Graph("refused")
        g.cost("c", g.call(sim.bumpy, g.param("a"), 0.5))
        return scg.compile(g)

    refused("declared without vjp=", of_a_param)
    g, values = path(called)
    refused("it was given as vjp=", lambda: scg.compile(g, order=2).hvp(values, {"a": 1.0}, samples=8, rng=0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_functions_return_must_fit(backend):
    def graph(function, *args, **more):
        g = scg.Graph("refused")
        g.cost("c", g.param("a") * g.call(function, *args, **more).sum())  # the call
        return scg.compile(g, backend=backend)({"a": 1.0})

    def unfit(*args, **more):
        with pytest.raises(scg.SCGError, match=r"another shape|of shape|float64") as caught:
            graph(*args, **more)
        where, text = caught.value.problems[0].where, str(caught.value)
        assert "# the call" in linecache.getline(__file__, int(re.match(r"test_calls\.py:(\d+)", where)[1]))
        assert len(text) < 500 and "During:" not in text and ".." not in text

    unfit(sim.pendulum, np.zeros(2), 1.0)
    unfit(sim.pendulum, np.zeros(2), 1.0, shape=3)
    unfit(sim.folded, np.zeros((5, 4)), np.zeros(4), shape=(5, 5))

    @numba.njit
    def broken(x):
        if x > 0.0:
            raise ValueError("no such state")
        return x

    with pytest.raises(scg.SCGError, match="no such state"):
        graph(broken, 1.0)

    @numba.njit
    def greedy(v):
        v[0] = 1.0
        return v[0]

    with pytest.raises(scg.SCGError, match=r"(?i)read-?only"):
        graph(greedy, np.zeros(2))


def test_the_adjoint_of_one_argument_may_stand_alone():
    """As a tuple of one it is the same; of several arguments a tuple is needed, and the error says which."""
    @numba.njit
    def alone(g, v):
        return 2.0 * g * v

    @numba.njit
    def in_a_tuple(g, v):
        return (2.0 * g * v,)

    def slopes(vjp, backend):
        g = scg.Graph("one")
        z, m = g.sample("z", scg.Normal(g.param("a", 2), 1.0)), g.param("m")
        g.cost("c", g.call(total_of_squares, z, vjp=vjp) + g.call(square, m, vjp=vjp))
        r = scg.compile(g, backend=backend)({"a": [0.3, -0.2], "m": 0.7}, samples=8, rng=0)
        return *r.grad["a"], float(r.grad["m"])

    expected = slopes(in_a_tuple, "numpy")
    for backend in BACKENDS:
        np.testing.assert_allclose(slopes(alone, backend), expected, rtol=1e-12)
    assert expected[2] == pytest.approx(1.4)
    g = scg.Graph("two")
    m = g.param("m")
    g.cost("c", g.call(product, m, m, vjp=lambda g, x, y: 2.0 * g * y))
    with pytest.raises(scg.SCGError, match=r"returned one value of shape \(\)\. The call has 2 arguments, of shape "
                                           r"\(\) and \(\)\. Let it return an adjoint for each argument"):
        scg.compile(g, backend="numpy")({"m": 0.5})


@numba.njit
def total_of_squares(v):
    return (v * v).sum()


@numba.njit
def square(x):
    return x * x


@numba.njit
def product(x, y):
    return x * y


def test_a_plain_function_is_for_the_reference():
    def plain(x):
        return {"table": 2.0}["table"] * x

    g = scg.Graph("plain")
    g.cost("c", g.param("a") * g.call(plain, 3.0))
    assert scg.compile(g, backend="numpy")({"a": 2.0}).grad["a"] == 6.0
    with pytest.raises(scg.SCGError, match=r"test_calls\.py:\d+: A kernel was to call plain\. Numba has not"):
        scg.compile(g)


def test_declarations_that_cannot_be():
    g = scg.Graph("refused")
    refused("is no function", lambda: g.call(3.0, 1.0))
    refused("with nothing", lambda: g.call(sim.bumpy))
    refused("shape=-1", lambda: g.call(sim.bumpy, 1.0, shape=-1))
    refused("of 5 dimensions", lambda: g.call(sim.bumpy, np.zeros((1,) * 5)))
    refused("uniforms=0", lambda: scg.Simulator(sim.polar, 1.0, uniforms=0))


RNG = np.random.default_rng(0)


def through_another(x):
    return noisy(x) + 1.0


def noisy(x):
    return x + np.random.rand()


def seeded(x):
    """Pure: its generator is its own."""
    return x + np.random.default_rng(3).normal() + random.Random(3).random()


@pytest.mark.parametrize("function, draw", [
    (numba.njit(noisy), "np.random.rand"), (noisy, "np.random.rand"), (through_another, "np.random.rand"),
    (lambda x: x + random.gauss(0.0, 1.0), "random.gauss"), (lambda x: x + RNG.normal(), "RNG.normal"),
    (lambda x: sum(np.random.normal(x) for _ in range(3)), "np.random.normal")])
def test_functions_that_draw_from_a_generator_outside_are_refused(function, draw):
    """They are not pure. What takes uniform numbers, or has a seeded generator of its own, is."""
    g = scg.Graph("impure")
    said = refused(f"which draws by {draw}", lambda: g.call(function, 1.0))
    assert "scg.Simulator(" in said and "uniforms=" in said
    refused(f"which draws by {draw}", lambda: scg.Simulator(function, 1.0))
    assert g.call(seeded, 1.0).shape == ()


# --- which function it is --------------------------------------------------------------------------------------------
def scaled(by):
    """Functions of one code that differ in what they read from around them."""
    @numba.njit
    def times(x):
        return by * x

    return times


def test_a_function_is_known_by_its_code_and_what_it_reads():
    thing = object()

    def strange(x):
        return x if thing else -x

    assert code_digest(scaled(2.0)) == code_digest(scaled(2.0))
    assert code_digest(scaled(2.0)).text != code_digest(scaled(3.0)).text
    assert code_digest(sim.bumpy).portable and not code_digest(strange).portable
    assert code_digest(lambda x: x + 1.0).text != code_digest(lambda x: x + 2.0).text
    assert code_digest(lambda x: math.sin(x)).text != code_digest(lambda x: math.cos(x)).text
    inner = [lambda x: x, lambda x: -x]
    assert len({code_digest(lambda x, f=f: f(x)).text for f in inner}) == 2
    for by in (2.0, 3.0):  # one graph's text, two functions: the kept kernel of one is not that of the other
        g = scg.Graph("which")
        g.cost("c", g.param("a") * g.call(scaled(by), 5.0))
        assert scg.compile(g)({"a": 1.0}).grad["a"] == 5.0 * by


def test_what_a_function_reads_of_a_module():
    """Of one that nobody installed its numbers and functions, by the names that are read; of NumPy nothing."""
    module = ModuleType("physics")
    module.within = ModuleType("physics.within")

    def pulled(x):
        return module.within.pull(x) + module.G + np.linalg.norm(np.ones(1)) * 0.0

    def digest(g, by):
        module.G, module.within.pull, module.unread = g, scaled(by), object()
        found = code_digest(pulled)
        assert found.portable
        return found.text

    texts = [digest(1.0, 2.0), digest(5.0, 2.0), digest(1.0, 3.0)]
    assert len(set(texts)) == 3 and digest(1.0, 2.0) == texts[0]


def test_arguments_with_defaults():
    @numba.njit
    def by(x, factor=2.0):
        return x * factor

    @numba.njit
    def by_all(x, factor=2.0):
        return np.array([x] * 2).sum() * factor  # called as it is

    g = scg.Graph("defaults")
    x = g.param("x")
    g.cost("c", g.call(by, x) + g.call(by_all, x))
    assert scg.compile(g, wrt=())({"x": 3.0}, samples=2, rng=0).cost == 18.0


def test_compiled_graphs_travel(tmp_path):
    g, values = swing(called)
    f = scg.compile(g)
    expected = f(values, samples=100, rng=2)
    assert pickle.loads(pickle.dumps(f))(values, samples=100, rng=2).grad["a"] == expected.grad["a"]
    f.export(tmp_path / "swing_module.py")
    text = (tmp_path / "swing_module.py").read_text()
    assert "from tests.laws.simulated import pendulum as user" in text
    namespace = {"__name__": "swing_module", "__file__": str(tmp_path / "swing_module.py")}
    exec(compile(text, str(tmp_path / "swing_module.py"), "exec"), namespace)
    assert namespace["estimate"](values, samples=100, rng=2).grad["a"] == expected.grad["a"]
    h = scg.Graph("local")
    h.cost("c", h.param("a") * h.call(scaled(2.0), 1.0))
    with pytest.raises(scg.SCGError, match="none of that name is found"):
        scg.compile(h).export(tmp_path / "local.py")


# --- simulators ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_simulator_upstream_of_a_score(backend):
    g = scg.Graph("upstream")
    z = g.sample("z", scg.Simulator(sim.polar, 0.5, uniforms=2))
    k = g.sample("k", scg.Bernoulli(logits=g.param("a") * z))
    g.cost("c", (k - 0.3) * z)
    samples = 400_000 if backend == "numba" else 2000
    r = scg.compile(g, backend=backend)({"a": 0.3}, samples=samples, rng=1)
    x, weights = np.polynomial.hermite_e.hermegauss(80)
    x, weights = x + 0.5, weights / weights.sum()
    p = 1.0 / (1.0 + np.exp(-0.3 * x))
    within(r.cost, r.cost_stderr, np.sum(weights * (p - 0.3) * x), "cost")
    within(r.grad["a"], r.stderr["a"], np.sum(weights * p * (1.0 - p) * x * x), "a")


def below(z_rule):
    g = scg.Graph("below")
    z = g.sample("z", scg.Normal(g.param("a"), 1.0))
    g.cost("c", g.sample("x", scg.Simulator(lambda p, u: 1.0 * (u[0] < p), scg.sigmoid(z))))
    return scg.compile(g, strategy=z_rule, backend="numpy")


def test_a_simulator_below_a_site():
    """Rules that draw it again are right; those that need its mean say so, and what would work."""
    exact = np.polynomial.hermite_e.hermegauss(60)
    p = 1.0 / (1.0 + np.exp(-0.3 - exact[0]))
    slope = np.sum(exact[1] * p * (1.0 - p)) / np.sum(exact[1])
    for rule in (scg.WeakDerivative(), scg.ScoreFunction()):
        r = below(rule)({"a": 0.3}, samples=2000, rng=1)
        within(r.grad["a"], r.stderr["a"], slope, str(rule))
    for rule in (scg.MuProp(), scg.GradientCritic()):
        with pytest.raises(scg.ConditionError, match=r"Simulator was to be replaced by its mean.* ScoreFunction\(\)"):
            below(rule)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_simulator_with_a_path(backend):
    g = scg.Graph("moved")
    z = g.sample("z", scg.Simulator(sim.polar, g.param("a"), uniforms=2, vjp=sim.polar_vjp), shape=3)
    g.cost("c", (z**2).sum())
    f = scg.compile(g, backend=backend)
    assert "Pathwise" in repr(f.verdict["z"].estimator)
    r = f({"a": 0.7}, samples=1000, rng=4)
    within(r.grad["a"], r.stderr["a"], 6.0 * 0.7, "a")
    within(r.cost, r.cost_stderr, 3.0 * (1.0 + 0.49), "cost")


def test_both_backends_draw_the_same():
    g = scg.Graph("same")
    z = g.sample("z", scg.Simulator(sim.polar, g.param("a") * 0.0, uniforms=2, vjp=sim.polar_vjp))
    g.cost("c", z)
    draws = [scg.compile(g, backend=b)({"a": 0.0}, samples=50, rng=3, record=("z",)).record["z"] for b in BACKENDS]
    np.testing.assert_allclose(*draws, rtol=1e-12)
    assert np.std(draws[0]) > 0.5


def test_a_simulator_that_moves_has_no_score():
    g = scg.Graph("refused")
    g.cost("c", g.sample("z", scg.Simulator(sim.polar, g.param("a"), uniforms=2)) ** 2)
    refused("has no density", lambda: scg.compile(g))
    assert str(g).count("Simulator(polar, a, uniforms=2)") == 1
