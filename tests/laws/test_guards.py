"""The branch that a choice does not take has no say in the derivative.

Each case is a cost of a param t and a data leaf x, with the derivative in t that NumPy's own formula has where the
branch is taken; where it is not, the branch's derivative is infinite or has no value.
"""

import itertools

import numpy as np
import pytest

import scg
from scg.derive import derive
from scg.differentiate.reverse_mode import gradients
from scg.ir.node import constant, make
from scg.ops.arithmetic import where_op
from scg.ops.cancelling import either_op
from scg.surrogate.domains import checked_to_be_finite

T = 0.8
X = np.array([0.0, 0.5, 2.0, -1.0, 1.0, 0.0, 1e3])


def inner(x, d, otherwise=0.0):
    """d(x) where x > 0, else a number."""
    with np.errstate(all="ignore"):
        return np.where(x > 0, d(x), otherwise)


CASES = {
    "quotient": (lambda t, x: np.where(x > 0, t / x, 0.0), lambda x: inner(x, lambda x: 1 / x)),
    "root": (lambda t, x: np.where(x > 0, np.sqrt(t * x), 1.0), lambda x: inner(x, lambda x: 0.5 * np.sqrt(x / T))),
    "logarithm": (lambda t, x: np.where(x > 0, np.log(t * x), 0.0), lambda x: inner(x, lambda x: 1 / T + 0 * x)),
    "a factor": (lambda t, x: np.where(x > 0, t * np.log(x), 0.0), lambda x: inner(x, np.log)),
    "a power": (lambda t, x: np.where(x > 0, (t * x) ** -1.5, 0.0),
                lambda x: inner(x, lambda x: -1.5 * T**-2.5 * x**-1.5)),
    "a whole power": (lambda t, x: np.where(x > 0, (t * x) ** -2, 0.0),
                      lambda x: inner(x, lambda x: -2 * T**-3 * x**-2.0)),
    "the other branch": (lambda t, x: np.where(x <= 0, t, t / x), lambda x: inner(x, lambda x: 1 / x, 1.0)),
    "an overflow": (lambda t, x: np.where(x < 100, np.exp(t * x), 1.0),
                    lambda x: np.where(x < 100, x * np.exp(T * np.minimum(x, 100)), 0.0)),
    "a choice in a choice": (lambda t, x: np.where(x > 0, np.where(x == 1.0, t, t / (x - 1.0)), 0.0),
                             lambda x: inner(x, lambda x: np.where(x == 1, 1.0, 1 / (x - 1.0)))),
    "a chain": (lambda t, x: np.where(x > 0, np.tanh(np.log(np.sqrt(t * x)) / x), 0.0), lambda x: inner(
        x, lambda x: (1 - np.tanh(np.log(np.sqrt(T * x)) / x) ** 2) / (2 * T * x))),
    "no value": (lambda t, x: np.where(x >= 0, t * x, t * np.log(x)), lambda x: np.where(x >= 0, x, np.nan)),
    "the smaller": (lambda t, x: np.minimum(t / np.abs(x), 3.0),
                    lambda x: inner(np.abs(x) / T - 1 / 3, lambda d: 1 / ((d + 1 / 3) * T))),
    "the larger": (lambda t, x: np.maximum(np.log(t * abs(x)), -1.0),
                   lambda x: np.where(T * np.abs(x) > np.exp(-1.0), 1 / T, 0.0)),
    "cut": (lambda t, x: np.clip(1.0 / (t * x * x), 0.25, 4.0), lambda x: np.where(
        np.isin(x, [0.0, 1e3]) | (x == 0.5), 0.0, inner(x * x, lambda s: -1 / (T * T * s)))),
    "rectified": (lambda t, x: scg.relu(np.log(t * abs(x))), lambda x: np.where(T * np.abs(x) > 1, 1 / T, 0.0)),
    "the largest": (lambda t, x: np.max(scg.stack([np.sqrt(t * abs(x)), 0.5 + 0.0 * t])),
                    lambda x: np.where(T * np.abs(x) > 0.25, 0.5 * np.sqrt(np.abs(x) / T), 0.0)),
    "what is vouched for": (lambda t, x: scg.assume_continuous(np.where(x > 0, t / x, 0.0)) ** 2,
                            lambda x: inner(x, lambda x: 2 * T / x**2)),
}


def rows(loss, backend="numpy", x=X):
    """The derivative of the cost in t, row by row."""
    g = scg.Graph("rows")
    t, leaf = g.param("t"), g.data("x", x.shape[1:])
    g.cost("c", loss(t, leaf))
    f = scg.compile(g, backend=backend, stderr=False)
    return np.array([f({"t": T, "x": row[None]}, rng=0).grad["t"] for row in x])


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_taken_has_no_say(name):
    loss, derivative = CASES[name]
    right = derivative(X)
    known = np.isfinite(right)
    np.testing.assert_allclose(rows(loss, x=X[known]), right[known], rtol=1e-12)


@pytest.mark.parametrize("name", ["quotient", "a chain", "cut", "the largest"])
def test_nor_in_kernels(name):
    loss, derivative = CASES[name]
    np.testing.assert_allclose(rows(loss, "numba"), derivative(X), rtol=1e-12)


# --- arrays: masks are moved, added up and contracted as the adjoints are -------------------------------------------
Y = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 0.0], [0.5, 1.0, 2.0], [3.0, 0.0, 0.0]])
M = np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 3.0]])


def positive(y, d):
    """The sum of d over the positive elements of every row."""
    with np.errstate(all="ignore"):
        return np.sum(np.where(y > 0, d(y), 0.0), axis=1)


def if_all(y, d):
    """The sum of d over rows whose elements are all positive."""
    return np.array([np.sum(d(row)) if np.all(row > 0) else 0.0 for row in y])


ARRAYS = {
    "elements": (lambda t, y: np.where(y > 0, t / y, 0.0), lambda y: positive(y, lambda y: 1 / y)),
    "a sum": (lambda t, y: np.where(np.min(y) > 0, np.sum(t / y), 0.0), lambda y: if_all(y, lambda y: 1 / y)),
    "a product of vectors": (lambda t, y: np.where(np.min(y) > 0, (t * np.ones(3)) @ np.log(y), 0.0),
                             lambda y: if_all(y, np.log)),
    "a product of matrices": (lambda t, y: np.where(np.min(y) > 0, M @ np.sqrt(t * y), 0.0),
                              lambda y: if_all(y, lambda y: M @ (0.5 * np.sqrt(y / T)))),
    "rows of a product": (lambda t, y: np.where(y > 0, (1.0 / y.reshape(3, 1)) * M.T @ (t * np.ones(2)), 0.0),
                          lambda y: positive(y, lambda y: (M.T @ np.ones(2)) / y)),
    "rows of an infinite matrix": (
        lambda t, y: np.where(y > 0, scg.matmul(1.0 / (y.reshape(3, 1) * np.ones((1, 2))), t * np.ones(2)), 0.0),
        lambda y: positive(y, lambda y: 2 / y)),
    "parts": (lambda t, y: np.where(y[:2] > 0, np.sqrt(t * y)[:2], 0.0),
              lambda y: positive(y[:, :2], lambda y: 0.5 * np.sqrt(y / T))),
    "joined": (lambda t, y: np.where(np.arange(6) < 5, 1.0, 0.0)[:3] @ np.where(
        y > 0, scg.concatenate([np.log(t * y)[:1], scg.stack([np.log(t * y[1]), np.log(t * y[2])])]), 0.0),
        lambda y: positive(y, lambda y: 1 / T + 0 * y)),
    "turned": (lambda t, y: np.where(np.sum(y) > 1, np.where((y > 0).reshape(3, 1), np.log(t * y).reshape(3, 1) * M.T,
                                                             0.0).T, 0.0),
               lambda y: np.where(y.sum(1) > 1, positive(y, lambda y: M.sum(0) / T), 0.0)),
    "running sums": (
        lambda t, y: np.where(np.arange(3) < 1, np.cumsum(np.log(t * (y + np.array([1.0, 0.0, 0.0])))), 0.0),
        lambda y: np.full(len(y), 1 / T)),
    "a row of a table": (lambda t, y: np.where(y[0] > 0, (t / y)[scg.floor(np.minimum(y[0], 0.0))], 0.0),
                         lambda y: np.where(y[:, 0] > 0, 1 / np.maximum(y[:, 0], 1e-9), 0.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name):
    loss, derivative = ARRAYS[name]
    np.testing.assert_allclose(rows(loss, x=Y), derivative(Y), rtol=1e-12)


def test_a_zero_that_is_a_number_is_no_mask():
    """(√t)² has the derivative 1 at 0: an adjoint that happens to be 0 there must not hide the infinite one."""
    g = scg.Graph("no mask")
    g.cost("c", np.sqrt(g.param("t")) ** 2)
    with pytest.raises(scg.NonFiniteError):
        scg.compile(g, backend="numpy")({"t": 0.0}, rng=0)


def test_the_derivative_can_be_differentiated_again():
    """The second derivative of t³ / x² where x > 0 is 6 t / x²."""
    g = scg.Graph("twice")
    t, x = g.param("t"), g.data("x")
    c = np.where(x > 0, t**3 / (x * x), t)
    first = gradients({c: constant(1.0)}, [t], ("row",))[0]
    g.cost("c", first)
    f = scg.compile(g, backend="numpy", stderr=False)
    for value, right in ((0.0, 0.0), (2.0, 6 * T / 4.0)):
        assert f({"t": T, "x": [value]}, rng=0).grad["t"] == pytest.approx(right, rel=1e-12)


# --- loops -----------------------------------------------------------------------------------------------------------
A = np.array([2.0, 0.0, 1.0, 0.0])


def in_the_step(g, t):
    def step(s, a):
        return s + np.where(a > 0, t * s / a, 0.0) + np.where(a > 0, np.sqrt(t * a), 0.0), None
    return g.scan(step, 1.0, xs=A)[0]


def plain_in_the_step(t):
    s = 1.0
    for a in A:
        s = s + (t * s / a + np.sqrt(t * a) if a > 0 else 0.0)
    return s


def in_the_next_step(g, t):
    """What a step computes is guarded against by the step that follows."""
    def step(carry, a):
        total, root, before = carry
        return (total + np.where(before > 0, root, 0.0), np.sqrt(t * a), a), None
    return g.scan(step, (0.0, 0.0, 0.0), xs=A)[0][0]


def around_the_loop(g, t):
    """The last root is √0, of a carry and of an output; only the first is used."""
    def step(carry, a):
        return np.sqrt(t * a) + 0.0 * carry, np.sqrt(t * a)
    last, ys = g.scan(step, 0.0, xs=A)
    return scg.where(A[-1] > 0, last, 0.0) + np.where(A > 0, ys, 0.0).sum()


def before_the_loop(g, t):
    """The first value of a carry is √(0 t), which the first step does not take."""
    def step(s, a):
        return np.where(a == 2.0, t * a, s + a), None
    return g.scan(step, np.sqrt(t * g.input("zero")), xs=A)[0]


def constants_of_the_loop(g, t):
    def step(s, a):
        return s + np.where(a > 5.0, root, a * t), None
    root = np.log(t * g.input("zero"))
    return g.scan(step, 0.0, xs=A)[0]


def before_the_loop_and_inside(g, t):
    """The root is scaled by what the loop keeps of it, which is nothing."""
    def step(carry, a):
        s, r = carry
        return (np.where(a > 0, t * a, s), s + r), None
    return g.scan(step, (np.sqrt(t * g.input("zero")), 0.0), xs=A[:1])[0][0]


LOOPS = {
    in_the_step: plain_in_the_step,
    in_the_next_step: lambda t: np.sqrt(2 * t) + np.sqrt(t),
    around_the_loop: lambda t: np.sqrt(2 * t) + np.sqrt(t),
    before_the_loop: lambda t: 2 * t + 1.0,
    before_the_loop_and_inside: lambda t: 2 * t,
    constants_of_the_loop: lambda t: 3 * t,
}


@pytest.mark.parametrize("build", LOOPS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_loops(build, backend):
    g = scg.Graph("loop")
    t = g.param("t")
    g.cost("c", build(g, t) ** 2)
    plain = LOOPS[build]
    values = {"t": T, **dict.fromkeys(g.inputs, 0.0)}
    r = scg.compile(g, backend=backend, stderr=False)(values, rng=0)
    h = 1e-6
    assert r.grad["t"] == pytest.approx((plain(T + h) ** 2 - plain(T - h) ** 2) / (2 * h), rel=1e-7)


# --- samples and their worlds ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("strategy", [
    scg.ScoreFunction(), scg.Enumerate(), scg.LocalExpectation(), scg.WeakDerivative(),
    {"b": scg.Enumerate(), "c": scg.LocalExpectation()}], ids=repr)
@pytest.mark.parametrize("in_loop", [False, True])
def test_samples_and_their_worlds(strategy, in_loop):
    """Coins b and c of logit t, and √(t b) / c where both are 1: E = σ² √t, dE/dt = 2 σ² (1 − σ) √t + σ² / (2 √t)."""
    g = scg.Graph("worlds")
    t = g.param("t")

    def step(s, _):
        b, c = (g.sample(name, scg.Bernoulli(logits=t)) for name in "bc")
        g.cost("cost", np.where(b * c > 0.5, np.sqrt(t * b) / c, 0.0))
        return s, None

    g.scan(step, 0.0, length=1) if in_loop else step(0.0, None)
    p = 1 / (1 + np.exp(-T))
    right = 2 * p * p * (1 - p) * np.sqrt(T) + p * p * 0.5 / np.sqrt(T)
    assert scg.exact(g, {"t": T}).grad["t"] == pytest.approx(right, rel=1e-12)
    f = scg.compile(g, strategy=strategy, backend="numpy")
    assert scg.verify(f, {"t": T}).passed
    r = f({"t": T}, samples=4000, rng=0)
    assert abs(r.grad["t"] - right) < 5 * r.stderr["t"] + 1e-12


# --- parameters of sites, of which a call is checked ----------------------------------------------------------------
def _code(x, t, loc, scale):
    """The derivative in t of a sum over rows where x is not 0, of a product with a normal code."""
    g = scg.Graph("code")
    leaf, rows = g.param("t"), g.data("x", 2)
    z = g.sample("z", scg.Normal(loc(leaf, rows), scale(leaf, rows)))
    g.cost("c", scg.where(rows > 0, np.array([[1.0, 2.0], [3.0, -1.0]]) @ z, 0.0))
    return scg.compile(g, backend="numpy", strategy=scg.Pathwise(), stderr=False)({"t": t, "x": x}, rng=0)


def test_a_finite_parameter_may_have_an_infinite_derivative():
    """√(t x) at 0 is a real number, as a call checks, and its slope there is not: it stays masked."""
    found = _code([[0.0, 0.0]], T, lambda t, x: np.sqrt(t * x), lambda t, x: 1.0)
    assert found.grad["t"] == 0.0


def test_a_parameter_that_is_not_finite_is_refused_behind_a_mask_too():
    """Nothing is made of the draws, and they cannot be drawn."""
    for loc, scale in ((lambda t, x: 1.0 / (x - t), lambda t, x: 1.0), (lambda t, x: t, lambda t, x: np.exp(-t / x))):
        with pytest.raises(scg.SCGError):
            _code([[0.0, 0.0]], 0.0, loc, scale)


@pytest.mark.parametrize("estimator", [scg.ScoreFunction(), scg.LocalExpectation(), scg.Enumerate()], ids=repr)
def test_of_a_parameter_that_is_looked_at_in_some_worlds_nothing_is_known(estimator):
    """Its check counts those that come about: summed out, it says nothing of a scale where b is what it never is."""
    g = scg.Graph("worlds of codes")
    t, b = g.param("t"), g.sample("b", scg.Bernoulli(probs=g.input("p")))
    g.cost("c", g.sample("z", scg.Normal(0.0, np.exp(t * b)), shape=(2,)) ** 2)
    found = checked_to_be_finite(derive(g, {"b": estimator, "z": scg.Pathwise()}).draft.checks)
    assert [n.op.name for n in found] == ([] if estimator == scg.Enumerate() else ["exp"])


# --- carries that nothing reads --------------------------------------------------------------------------------------
@pytest.mark.by_python(backend="numba")
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_carry_that_nothing_reads_has_no_say_in_the_gradient(backend):
    """x / 4 after two steps, beside a diagnostic with an infinite derivative."""
    g = scg.Graph("diagnostic")
    x = g.param("x")
    (u, _), _ = g.scan(lambda c, _: ((c[0] * 0.5, c[1] + 1 / (c[1] - 1.0) * c[0]), None), (x, 1.0), length=2)
    g.cost("c", u)
    r = scg.compile(g, backend=backend)({"x": 1.0})
    assert (r.cost, r.grad["x"]) == (0.25, 0.25)


def test_carries_that_read_each_other_only():
    """Two that go round, one that a path nobody looks at is made of; the live ones are read two steps late."""
    g = scg.Graph("ring")
    x = g.param("x")

    def step(c, _):
        a, b, live, late = c
        return (np.sqrt(b * 0.0) * live, a + x, late * 2.0, x * x), np.sqrt(a - a)

    (_, _, live, _), _ = g.scan(step, (0.0, 0.0, x, 0.0 * x), length=3)
    g.cost("c", live)  # 2 x² after three steps
    r = scg.compile(g, backend="numpy")({"x": 3.0})
    assert (r.cost, r.grad["x"]) == (18.0, 12.0)


def test_a_carry_that_another_reads_late_still_refuses():
    """The same diagnostic, which now reaches the cost: its derivative is infinite, and that is an error."""
    g = scg.Graph("read")
    x = g.param("x")
    (u, v), _ = g.scan(lambda c, _: ((c[0] * 0.5, np.sqrt(c[1] * c[0] * 0.0)), None), (x, 1.0), length=2)
    g.cost("c", u + v)
    with pytest.raises(scg.NonFiniteError):
        scg.compile(g, backend="numpy")({"x": 1.0})


# --- a site's parameter beside what a loop carries ------------------------------------------------------------------
BESIDE = {
    "a quotient": lambda t, y, x, c: np.where(y != 0, t / y, 0.1 * c),
    "a logarithm that moves": lambda t, y, x, c: np.where(y > 0, np.log(abs(y)) * t * x, 0.1 * c * t),
    "the carry in both": lambda t, y, x, c: np.where(y > 0, np.sqrt(abs(y) * t) * (c + x), 0.1 * c - t),
    "a factor of the carry": lambda t, y, x, c: np.where(y != 0, t / y, 0.2) + 0.1 * c,
}
STEPS = np.array([1.0, 0.5])


def guarded_site(logit, adds):
    g = scg.Graph("guarded")
    t, y = g.param("t"), g.data("y")

    def step(c, x):
        b = g.sample("b", scg.Bernoulli(logits=logit(t, y, x, c)))
        return c + adds(b), b

    _, bs = g.scan(step, 0.0, xs=STEPS)
    g.cost("c", bs @ np.array([1.0, 3.0]))
    return g


def cost_of_guarded(logit, adds, t, y):
    """By hand, over the draws of two steps."""
    cost = 0.0
    for first, second in itertools.product((0.0, 1.0), repeat=2):
        with np.errstate(all="ignore"):
            odds = [logit(t, y, STEPS[0], 0.0), logit(t, y, STEPS[1], adds(first))]
        p, q = (1 / (1 + np.exp(-odd)) for odd in odds)
        cost += (p if first else 1 - p) * (q if second else 1 - q) * (first + 3.0 * second)
    return np.mean(cost)


@pytest.mark.parametrize("adds", [lambda b: 1.0, lambda b: 1.0 + b], ids=["counts", "draws"])
@pytest.mark.parametrize("name", BESIDE)
def test_a_parameter_beside_a_carry(name, adds):
    """What is not taken stands outside of the loop, and what is taken is made of what the loop carries."""
    logit, y = BESIDE[name], np.array([0.0, 1.5, 0.0, 0.4])
    right = (cost_of_guarded(logit, adds, T + 1e-5, y) - cost_of_guarded(logit, adds, T - 1e-5, y)) / 2e-5
    values = {"t": T, "y": y}
    assert scg.exact(guarded_site(logit, adds), values).grad["t"] == pytest.approx(right, rel=1e-8)
    for strategy in (scg.ScoreFunction(), scg.LocalExpectation(), scg.Enumerate()):
        r = scg.compile(guarded_site(logit, adds), strategy=strategy, backend="numpy")(values, samples=2000, rng=0)
        assert abs(r.grad["t"] - right) < 5 * r.stderr["t"] + 1e-8, strategy


def test_a_first_value_that_a_loop_replaces():
    """Its adjoint is 0 for certain, whatever is made of the carry later."""
    g = scg.Graph("replaced")
    t, y = g.param("t"), g.data("y")
    c, _ = g.scan(lambda c, x: (t * x, None), t / y, xs=STEPS)
    g.cost("c", c + np.where(y > 0, t / y, 0.0))
    r = scg.compile(g, backend="numpy")({"t": T, "y": [0.0, 2.0]}, samples=1)
    assert r.grad["t"] == pytest.approx(STEPS[1] + 0.25)


@pytest.mark.parametrize("choice", [where_op, either_op])
@pytest.mark.parametrize("holds", [True, False])
def test_nothing_flows_where_a_literal_decides(choice, holds):
    """Zeros times what the branch is made of would be computed in every replicate: they might not be 0."""
    g = scg.Graph("g")
    taken, left = g.param("a", 3), g.param("b", 3)
    a, b = (taken, left) if holds else (left, taken)
    node = np.sum(make(choice, (constant(holds), np.exp(a), np.exp(b))))
    found, other = gradients({node: constant(1.0)}, [taken, left])
    assert found is not None and other is None
