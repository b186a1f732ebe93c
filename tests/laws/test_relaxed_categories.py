"""Relaxations of one-hot categories: the noise given the draw, REBAR, the Gumbel–softmax path, and straight-through."""

from __future__ import annotations

import numpy as np
import pytest
from scg_numpy import Evaluation, evaluate
from scipy import stats
from scipy.special import softmax

import scg
from scg.derive import derive
from scg.expectation.law import expected_gradient
from scg.extend import split
from scg.ir.axes import LANE
from scg.ir.node import constant
from scg.ir.traverse import topological
from scg.ops.leaves import feed, noise, noise_op
from tests.laws.checks.sampling import within

LOGITS = np.array([0.3, -1.0, 0.8])
TABLE = np.array([[1.0, -0.5, 2.0], [0.4, 0.0, -1.0], [0.3, 0.9, -0.2]])


def graph(form: str = "logits") -> scg.Graph:
    """xᵀ A x + exp(½ x₁), and a second site whose distribution the first moves."""
    g = scg.Graph("one hot")
    theta = g.param("theta", 3)
    dist = scg.OneHotCategorical(logits=theta) if form == "logits" else scg.OneHotCategorical(probs=scg.exp(theta))
    x = g.sample("x", dist)
    g.cost("loss", scg.exp(0.5 * x[1]) + x @ TABLE @ x)
    return g


def exact(theta: np.ndarray) -> np.ndarray:
    f = np.diag(TABLE) + np.exp(0.5 * np.eye(3)[1])
    p = softmax(theta)
    return p * (f - p @ f)


# --- noise -----------------------------------------------------------------------------------------------------------
def latents(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws, what is relaxed of them, and what is relaxed of them anew."""
    dist = scg.OneHotCategorical(logits=LOGITS)
    stream = noise("x", (), (LANE,), constant(0.0))
    x = feed("x", (3,), (LANE,))
    p = softmax(LOGITS)
    drawn = np.eye(3)[np.random.default_rng(0).choice(3, size=count, p=p)]
    nodes = [dist.latent(x, stream), dist.latent_given(x, split(stream, 3)[2])]
    paths = sorted({n.attrs.path for n in topological(nodes) if n.op is noise_op})
    keys = {path: (k, 7 * k + 1) for k, path in enumerate(paths)}
    z, given = evaluate(nodes, Evaluation({}, {"row": 1, "lane": count}, keys, fed={"x": drawn}))
    return drawn, z, given


def test_the_largest_is_the_draw_and_all_are_independent_gumbels():
    """Both ways z − log p are independent Gumbel variables, whatever the logits, and their largest is the draw."""
    x, z, given = latents(20_000)
    for found in (z, given):
        np.testing.assert_array_equal(np.argmax(found, axis=1), np.argmax(x, axis=1))
        g = stats.gumbel_r.cdf(found - np.log(softmax(LOGITS)))
        for column in g.T:
            assert stats.kstest(column, "uniform").pvalue > 1e-3
        jointly = np.corrcoef(stats.norm.ppf(g).T) - np.eye(3)
        assert np.max(np.abs(jointly)) < 5.0 / np.sqrt(len(x))
    assert abs(np.corrcoef(z[:, 0], given[:, 0])[0, 1]) < 0.9, "they are drawn anew"


# --- estimators ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["logits", "probs"])
@pytest.mark.parametrize("options", [{}, dict(eta=0.7, temperature=1.5)], ids=["learned", "given"])
def test_rebar_is_unbiased(form, options):
    g = graph(form)
    f = scg.compile(g, strategy=scg.REBAR(**options), backend="numpy")
    assert f.verdict.unbiased
    r = f({**f.init(0), "theta": LOGITS}, samples=40_000, rng=1)
    within(r.grad["theta"], r.stderr["theta"], exact(LOGITS), "theta")


def test_rebar_without_weight_is_the_score_function():
    """At η = 0, to the last bits, and with the relaxation's weight its variance is smaller."""
    one, plain = (scg.compile(graph(), strategy=s, backend="numpy")({"theta": LOGITS}, samples=4000, rng=1)
                  for s in (scg.REBAR(eta=0.0, temperature=1.0), scg.ScoreFunction()))
    np.testing.assert_allclose(one.grad["theta"], plain.grad["theta"], rtol=1e-12, atol=1e-15)
    better = scg.compile(graph(), strategy=scg.REBAR(eta=1.0, temperature=0.5), backend="numpy")
    assert np.all(better({"theta": LOGITS}, samples=4000, rng=1).stderr["theta"] < plain.stderr["theta"])


def test_rebar_of_several_draws_of_later_paths_and_of_loops():
    """Two draws at once, a normal path behind them; and a draw for each step of a loop."""
    g = scg.Graph("behind")
    theta = g.param("theta", 3)
    x = g.sample("x", scg.OneHotCategorical(logits=theta), shape=2)
    z = g.sample("z", scg.Normal(loc=x[0] @ TABLE @ x[1], scale=0.5))
    g.cost("loss", z * z)
    p, every = softmax(LOGITS), [np.eye(3)[k] for k in range(3)]
    expected = sum(p[i] * p[j] * (TABLE[i, j] ** 2 + 0.25) * (every[i] + every[j] - 2.0 * p)
                   for i in range(3) for j in range(3))
    strategy = {"x": scg.REBAR(eta=0.5, temperature=1.0), "z": scg.Pathwise()}
    r = scg.compile(g, strategy=strategy, backend="numpy")({"theta": LOGITS}, samples=40_000, rng=1)
    within(r.grad["theta"], r.stderr["theta"], expected, "theta")

    h = scg.Graph("loop")
    theta = h.param("theta", 3)

    def step(carry, _):
        new = 0.5 * carry + h.sample("x", scg.OneHotCategorical(logits=theta)) @ np.array([1.0, -0.4, 0.2])
        return new, new * new

    h.cost("loss", h.scan(step, 0.1, length=3)[1].sum())
    r = scg.compile(h, strategy=scg.REBAR(eta=0.5, temperature=1.0), backend="numpy")({"theta": LOGITS},
                                                                                     samples=40_000, rng=1)
    within(r.grad["theta"], r.stderr["theta"], scg.exact(h, {"theta": LOGITS}).grad["theta"], "theta")


@pytest.mark.by_python
def test_rebar_in_a_kernel():
    """One seed, both backends."""
    fs = [scg.compile(graph(), strategy=scg.REBAR(0.5, 1.0), backend=b, stderr=False) for b in ("numpy", "numba")]
    one, two = (f({**f.init(0), "theta": LOGITS}, samples=500, rng=1) for f in fs)
    for name in one.grad:
        np.testing.assert_allclose(one.grad[name], two.grad[name], rtol=1e-10, atol=1e-12)


def test_gumbel_softmax_is_the_path_of_the_relaxed_cost():
    """Against a long run of the relaxed cost in plain NumPy; with straight-through costs are those of the draws."""
    heat, rng = 0.7, np.random.default_rng(0)
    y = softmax((LOGITS + rng.gumbel(size=(200_000, 3))) / heat, axis=1)
    cost = np.exp(0.5 * y[:, 1]) + np.einsum("ni,ij,nj->n", y, TABLE, y)
    slope = y @ (TABLE + TABLE.T) + 0.5 * np.exp(0.5 * y[:, 1:2]) * np.eye(3)[1]
    grads = y * (slope - np.sum(slope * y, axis=1, keepdims=True)) / heat
    f = scg.compile(graph(), strategy=scg.GumbelSoftmax(heat), backend="numpy")
    r = f({"theta": LOGITS}, samples=40_000, rng=1)
    both = np.hypot(r.stderr["theta"], grads.std(axis=0) / np.sqrt(len(y)))
    within(r.grad["theta"], both, grads.mean(axis=0), "theta")
    within(r.cost, np.hypot(r.cost_stderr, cost.std() / np.sqrt(len(y))), cost.mean(), "cost")
    f = scg.compile(graph(), strategy=scg.GumbelSoftmax(heat, straight_through=True), backend="numpy")
    assert not f.verdict.unbiased
    r = f({"theta": LOGITS}, samples=20_000, rng=1)
    within(r.cost, r.cost_stderr, scg.exact(graph(), {"theta": LOGITS}).cost, "cost")


def test_straight_through_is_the_slope_at_the_draw():
    """Σₖ pₖ (f′(eₖ)ᵀ ∂p)."""
    found = expected_gradient(derive(graph(), scg.StraightThrough()), {"theta": LOGITS}).grad["theta"]
    p = softmax(LOGITS)
    slope = sum(p[k] * ((TABLE + TABLE.T)[k] + 0.5 * np.exp(0.5 * (k == 1)) * np.eye(3)[1]) for k in range(3))
    np.testing.assert_allclose(found, p * (slope - p @ slope), atol=1e-12)


@pytest.mark.parametrize("estimator", [scg.REBAR(), scg.GumbelSoftmax()], ids=str)
def test_places_that_a_logit_may_exclude_are_refused(estimator):
    g = scg.Graph("masked")
    m = g.input("mask", 3)
    x = g.sample("x", scg.OneHotCategorical(logits=g.param("theta", 3) + scg.where(m > 0.0, 0.0, -np.inf)))
    g.cost("loss", x @ LOGITS)
    with pytest.raises(scg.EstimatorError, match="may exclude a value"):
        scg.compile(g, strategy=estimator, backend="numpy")


def drawn(logits):
    """A site with these logits, and a cost that is linear in the draw."""
    g = scg.Graph("given")
    choice = g.sample("choice", scg.OneHotCategorical(logits=logits(g)))
    g.cost("loss", choice @ (LOGITS + g.param("slope")))
    return g


def attention(g):
    """Of the first of three words on all."""
    e = g.param("t", (4, 2))[g.data("y", 3)]
    return (e @ g.param("w", (2, 2)) @ e.T)[0] / np.sqrt(2.0)


# Logits that are finite whatever a call gives, if no number overflows: looked-up rows above all.
NEVER_MASKED = {
    "row of data": lambda g: g.param("t", (4, 3))[g.data("y")],
    "row of an input": lambda g: g.param("t", (4, 3))[g.input("y")],
    "rows": lambda g: (g.param("t", (4, 3))[g.data("y")] + g.param("u", (4, 3))[g.data("z")]) / 2.0,
    "one-hot": lambda g: scg.one_hot(g.data("y"), 4) @ g.param("t", (4, 3)),
    "log_softmax": lambda g: scg.log_softmax(g.param("t", 3)),
    "logsumexp": lambda g: -scg.logsumexp(g.param("t", (3, 2)), axis=1),
    "attention": attention,
    "small number": lambda g: scg.where(g.data("m", 3) > 0.0, g.param("t", (4, 3))[g.data("y")], -30.0),
    "maximum": lambda g: np.maximum(scg.where(g.data("m", 3) > 0.0, g.param("t", 3), -np.inf), -30.0)}


@pytest.mark.parametrize("name", NEVER_MASKED)
def test_logits_that_exclude_nothing_are_relaxed(name):
    """No check is needed either."""
    plain = derive(drawn(NEVER_MASKED[name]), scg.ScoreFunction())
    for estimator in (scg.REBAR(), scg.GumbelSoftmax(), scg.ReinMax()):
        found = derive(drawn(NEVER_MASKED[name]), estimator)
        assert len(found.draft.checks) == len(plain.draft.checks)


@pytest.mark.parametrize("logits, values, refused", [
    (lambda g: g.param("t", 3) / g.input("heat", 3), {"heat": np.ones(3)}, {"heat": np.array([1.0, 0.0, 1.0])}),
    (lambda g: g.param("t", 3) + np.log(g.data("m", 3)), {"m": np.ones((2, 3))},
     {"m": np.array([[1.0, 1, 1], [1, 1, 0]])}),
], ids=["quotient", "logarithm"])
def test_what_a_call_excludes_is_refused_at_the_call(logits, values, refused):
    for estimator in (scg.REBAR(temperature=0.5), scg.GumbelSoftmax(), scg.ReinMax()):
        f = scg.compile(drawn(logits), strategy=estimator, backend="numpy")
        given = f.init(0) | {"t": np.array([0.3, -0.2, -0.4]), "slope": 0.0}
        assert np.all(np.isfinite(f(given | values, samples=10, rng=0).grad["t"]))
        with pytest.raises(scg.CallError, match=r"excludes a value .* Use Enumerate.* WeakDerivative.*-30\.0") as why:
            f(given | refused, samples=10, rng=0)
        assert "REBAR()" not in str(why.value)


def test_rows_that_are_looked_up_are_those_of_products():
    """With rows of a table, and with products of one-hot data; REBAR is unbiased."""
    table, y = np.array([LOGITS, -LOGITS, LOGITS[::-1]]), np.array([0, 2, 2, 1])
    looked, product = (lambda g: g.param("t", (3, 3))[g.data("y")]), (lambda g: g.data("x", 3) @ g.param("t", (3, 3)))
    values = {"t": table, "slope": 0.4}
    for estimator in (scg.REBAR(temperature=0.5), scg.GumbelSoftmax()):
        one, two = (scg.compile(drawn(logits), strategy=estimator, backend="numpy") for logits in (looked, product))
        one, two = (f(f.init(0) | values | given, samples=2000, rng=0)
                    for f, given in ((one, {"y": y}), (two, {"x": np.eye(3)[y]})))
        np.testing.assert_allclose(one.grad["t"], two.grad["t"], atol=1e-12)
        if estimator.unbiased:
            exact = scg.exact(drawn(looked), values | {"y": y})
            within(one.grad["t"], one.stderr["t"], exact.grad["t"], "t")


def looked_up(family):
    """A number of a table, which the draw is an index of, or multiplies."""
    g = scg.Graph("table")
    k, table = g.sample("k", family(logits=g.param("theta", 3))), g.param("table", 3)
    g.cost("loss", (table[k] if family is scg.Categorical else k @ table) ** 2)
    return g


@pytest.mark.parametrize("estimator", [scg.GumbelSoftmax(), scg.REBAR(), scg.ReinMax(), scg.StraightThrough(),
                                       scg.MuProp()], ids=str)
def test_an_index_has_no_slope_and_one_hot_vectors_are_named(estimator):
    with pytest.raises(scg.SCGError, match=r"or draw scg\.OneHotCategorical, with x @ table in"):
        derive(looked_up(scg.Categorical), estimator)
    assert "OneHot" not in derive(looked_up(scg.OneHotCategorical), estimator).verdicts["k"].reason


def test_control_variates_without_slopes_are_told_of():
    index, vector = (derive(looked_up(family), scg.DoubleCV()).verdicts["k"].reason
                     for family in (scg.Categorical, scg.OneHotCategorical))
    assert "no cost has a slope" in index and "scg.OneHotCategorical" in index and "no cost" not in vector


@pytest.mark.parametrize("options", [{"eta": 1.0, "temperature": 0.5}, {}], ids=str)
@pytest.mark.parametrize("count", [2, 3])
def test_relaxations_are_no_finite_law(options, count):
    """A softmax of noise does not change if all of it moves alike: it is not linear for that."""
    g = scg.Graph("relaxed")
    z = g.sample("z", scg.OneHotCategorical(logits=g.param("theta", count)))
    g.cost("c", z @ np.array([1.0, -2.0, 0.5])[:count])
    f = scg.compile(g, strategy=scg.REBAR(**options), backend="numpy")
    v = scg.verify(f, f.init(0) | {"theta": LOGITS[:count]})
    assert v.passed is None and "not resolved" in v.method
