"""Families with data that is no parameter: a site keeps the family as a value. A user's own functions, and mixtures."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy import integrate, special, stats

import scg
from scg.extend import Support, normal, positive, real_vectors, split, uniform
from scg.laws.families import STREAM, compute
from scg.ops.randomness import distribution_of
from tests.laws.checks.exact_law import check_exact_law
from tests.laws.checks.sampling import within


# --- the user's own --------------------------------------------------------------------------------------------------
def log_logistic(x, loc, scale):
    z = (x - loc) / scale
    return -z - 2.0 * scg.softplus(-z) - scg.log(scale)


def logistic_path(noise, loc, scale):
    u = uniform(noise)
    return loc + scale * (scg.log(u) - scg.log1p(-u))


def logistic(loc, scale, **more):
    return scg.Custom({"loc": loc, "scale": scale}, log_prob=log_logistic, path=logistic_path,
                      constraints={"scale": positive}, **more)


def logistic_graph(estimator=None, shape=None):
    g = scg.Graph("logistic")
    x = g.sample("x", logistic(g.param("a"), scg.exp(g.param("b"))), shape=shape, estimator=estimator)
    g.cost("c", np.cos(x).sum())
    return g


VALUES = {"a": 0.3, "b": -0.4}


def expected_logistic(values):
    """E cos x = cos a · πs / sinh πs."""
    a, s = values["a"], np.pi * np.exp(values["b"])
    return np.cos(a) * s / np.sinh(s), {"a": -np.sin(a) * s / np.sinh(s),
                                        "b": np.cos(a) * s * (1.0 / np.sinh(s) - s * np.cosh(s) / np.sinh(s) ** 2)}


@pytest.mark.parametrize("strategy", [None, scg.Pathwise(), scg.ScoreFunction()], ids=str)
@pytest.mark.parametrize("shape", [None, (2,)])
def test_a_custom_family(strategy, shape):
    f = scg.compile(logistic_graph(shape=shape), strategy=strategy, backend="numpy")
    cost, grad = expected_logistic(VALUES)
    r, many = f(VALUES, samples=10_000, rng=1), np.prod(shape or (), dtype=int)
    within(r.cost, r.cost_stderr, many * cost, "cost")
    for name in VALUES:
        within(r.grad[name], r.stderr[name], many * grad[name], name)
    assert isinstance(f.verdict["x"].estimator, type(strategy) if strategy else scg.Pathwise)


@pytest.mark.by_python
def test_a_custom_family_in_a_kernel_and_in_formulas():
    g = logistic_graph()
    functions = [scg.compile(g, strategy=scg.ScoreFunction(), backend=b) for b in ("numpy", "numba")]
    found = [f(VALUES, samples=1000, rng=3) for f in functions]
    assert found[0].cost == pytest.approx(found[1].cost, rel=1e-12)
    assert found[0].grad["a"] == pytest.approx(found[1].grad["a"], rel=1e-10)
    surrogate = functions[0].surrogate
    assert "x ~ Custom(loc=a, scale=exp(b))" in str(surrogate) and "x \\mid a, b" in surrogate.latex()


def test_two_sites_of_one_family_are_equal():
    g = scg.Graph("equal")
    a, b = g.param("a"), scg.exp(g.param("b"))
    x, y = g.sample("x", logistic(a, b)), g.sample("y", logistic(a, b))
    other = g.sample("z", logistic(a, b, mean=lambda loc, scale: loc))
    assert x.attrs.family == y.attrs.family and hash(x.attrs.family) == hash(y.attrs.family)
    assert x.attrs.family != other.attrs.family
    assert other.attrs.family.can("mean") and not x.attrs.family.can("mean")
    assert distribution_of(x).drew(x) and distribution_of(x).drew(y) and not distribution_of(x).drew(other)


def test_whole_numbers_of_a_custom_family_are_enumerated():
    """A binomial of two trials: finitely many values, so all that sums over them is exact."""
    g = scg.Graph("trials")
    a = g.param("a")
    two = Support("0, 1 and 2", integral=True, low=0.0, high=2.0, open=False)
    k = g.sample("k", scg.Custom(
        {"logit": a}, support=two, mean=lambda logit: 2.0 * scg.sigmoid(logit),
        log_prob=lambda x, logit: x * logit - 2.0 * scg.softplus(logit) + scg.where(x == 1.0, np.log(2.0), 0.0),
        sample=lambda noise, logit: sum(scg.where(uniform(s) < scg.sigmoid(logit), 1.0, 0.0) for s in split(noise, 2))))
    g.cost("c", (k - 0.7) ** 2)
    p = special.expit(0.4)
    exact = scg.exact(g, {"a": 0.4})
    assert exact.cost == pytest.approx(2 * p * (1 - p) + (2 * p - 0.7) ** 2)
    for strategy in (scg.Enumerate(), scg.LocalExpectation(), scg.ScoreFunction(), scg.MuProp()):
        r = scg.compile(g, strategy=strategy, backend="numpy")({"a": 0.4}, samples=4000, rng=1)
        assert abs(r.grad["a"] - exact.grad["a"]) <= 5.0 * r.stderr["a"] + 1e-12
    with pytest.raises(scg.EstimatorError, match="0, 1 and 2"):
        scg.compile(g, strategy=scg.Pathwise())


def test_vectors_of_a_custom_family():
    """A normal vector on a curve: E x₁² = 1 + 3 w²."""
    g = scg.Graph("curve")
    w = g.param("w")

    def path(noise, w):
        one, two = split(noise, 2)
        first = normal(one)
        return scg.stack([first, w * first**2 + normal(two)], axis=-1)

    d = scg.Custom({"w": w}, support=real_vectors, event_shape=(2,), path=path, log_prob=lambda x, w: -0.5 * (
        x[..., 0] ** 2 + (x[..., 1] - w * x[..., 0] ** 2) ** 2) - np.log(2.0 * np.pi))
    x = g.sample("x", d, shape=3)
    g.cost("c", (x[:, 1] ** 2).sum())
    for strategy in (scg.Pathwise(), scg.ScoreFunction()):
        r = scg.compile(g, strategy=strategy, backend="numpy")({"w": 0.7}, samples=20_000, rng=2)
        within(r.cost, r.cost_stderr, 3 * (1 + 3 * 0.49), "cost")
        within(r.grad["w"], r.stderr["w"], 3 * 6 * 0.7, "w")


def test_a_custom_derivative_of_the_draw():
    """A sampler that no derivative passes, and −∂F/p of an exponential draw: −x/rate."""
    def draw(noise, rate):
        return -scg.log(uniform(noise)) / rate

    g = scg.Graph("implicit")
    d = scg.Custom({"rate": scg.exp(g.param("a"))}, sample=draw, support=scg.Exponential.support,
                   draw_derivative=lambda x, rate: {"rate": -x / rate}, constraints={"rate": positive})
    g.cost("c", g.sample("x", d) ** 2)
    r = scg.compile(g, backend="numpy")({"a": 0.3}, samples=20_000, rng=1)
    within(r.grad["a"], r.stderr["a"], -4.0 * np.exp(-0.6), "a")


SCALE = 1.0


def _closure():
    scale = np.array([1.0])

    def widen():
        scale[0] = 3.0

    return lambda n, m: m + scale[0] * normal(n), widen


def _module():
    def widen():
        global SCALE
        SCALE = 3.0

    return lambda n, m: m + SCALE * normal(n), widen


def _variable():
    scale = 1.0

    def widen():
        nonlocal scale
        scale = 3.0

    return lambda n, m: m + scale * normal(n), widen


@pytest.mark.parametrize("make", [_closure, _module, _variable])
def test_a_function_that_reads_what_has_changed(make):
    """Functions are called again when the graph is compiled, and must give what they gave."""
    path, widen = make()
    g = scg.Graph("late")
    x = g.sample("x", scg.Custom({"m": g.param("a")}, path=path))
    g.cost("c", x**2)
    assert scg.compile(g, backend="numpy")({"a": 0.5}, samples=100, rng=0).cost < 4.0
    widen()
    with pytest.raises(scg.DeclarationError, match="from around it"):
        scg.compile(g, backend="numpy")


def test_a_function_of_a_loop_that_keeps_its_variable():
    g = scg.Graph("kept")
    a, costs = g.param("a"), []
    for i, s in enumerate([1.0, 3.0]):
        costs.append(g.sample(f"x{i}", scg.Custom({"m": a}, path=lambda n, m, s=s: m + s * normal(n))) ** 2)
    g.cost("c", costs[0] + costs[1])
    r = scg.compile(g, backend="numpy")({"a": 0.5}, samples=10_000, rng=0)
    within(r.cost, r.cost_stderr, 10.5, "cost")


def test_in_a_scan_and_over_rows():
    """A random walk of logistic steps: E x² grows by π²s²/3 a step, the same under the policy and under scores."""
    g = scg.Graph("walk")
    s, row = scg.exp(g.param("b")), g.data("row")

    def step(x, _):
        new = g.sample("x", logistic(x + row, s))
        return new, new

    last, _ = g.scan(step, 0.0, length=3)
    g.cost("c", last**2)
    rows, b = np.array([0.5, -1.0]), -0.4
    slope = 3 * 2.0 * np.pi**2 / 3 * np.exp(2 * b)
    for strategy in (None, scg.ScoreFunction()):
        r = scg.compile(g, strategy=strategy, backend="numpy")({"b": b, "row": rows}, samples=10_000, rng=1)
        within(r.grad["b"], r.stderr["b"], slope, "b")
        within(r.cost, r.cost_stderr, slope / 2 + np.mean(9 * rows**2), "cost")


_outside = scg.Graph("outside")
OUTSIDE = _outside.param("outside")
DRAWN = _outside.sample("drawn", scg.Bernoulli(logits=OUTSIDE))  # what it is made of is not what is named


@pytest.mark.parametrize("words, make", [
    ("none of log_prob=, sample= and path=", lambda: scg.Custom({"a": 1.0}, mean=lambda a: a)),
    ("not among the parameters", lambda: scg.Custom({"a": 1.0}, sample=lambda n, a: normal(n) * OUTSIDE)),
    ('uses sample "drawn" of', lambda: scg.Custom({"a": 1.0}, sample=lambda n, a: normal(n) + DRAWN)),
    ('uses sample "drawn" of', lambda: scg.Custom({"a": 1.0}, sample=lambda n, a: normal(n),
                                                log_prob=lambda x, a: -0.5 * (x - DRAWN) ** 2)),
    ('uses param "outside" of', lambda: scg.Custom({"a": 1.0}, sample=lambda n, a: a + normal(n),
                                                  path=lambda n, a: a + normal(n) * OUTSIDE)),
    ('uses param "outside" of', lambda: scg.Custom({"a": 1.0}, sample=lambda n, a: a + normal(n),
                                                  mean=lambda a: a * OUTSIDE)),
    ('uses param "outside" of', lambda: scg.Custom({"a": 1.0}, sample=lambda n, a: a + normal(n),
                                                  draw_derivative=lambda x, a: {"a": OUTSIDE})),
    ("for each parameter, 0.0", lambda: scg.Custom({"a": 1.0, "b": 1.0}, sample=lambda n, a, b: a + b * normal(n),
                                                   draw_derivative=lambda x, a, b: {"a": 1.0})),
    ("for each parameter, 0.0", lambda: scg.Custom({"a": 1.0}, sample=lambda n, a: a + normal(n),
                                                   draw_derivative=lambda x, a: {"a": 1.0, "b": 0.0})),
    ("given the parameters by name", lambda: scg.Custom({"a": 1.0}, sample=lambda n: normal(n))),
    ("draws twice", lambda: scg.Custom({"a": 1.0}, sample=lambda n, a: normal(n) + normal(n))),
    ("log_prob returned a node of shape", lambda: scg.Custom({"a": 1.0}, sample=lambda n, a: normal(n),
                                                            log_prob=lambda x, a: (x - a).sum())),
    ("positive", lambda: scg.Custom({"a": -1.0}, sample=lambda n, a: normal(n), constraints={"a": positive})),
    ("no such parameter", lambda: scg.Custom({"a": 1.0}, sample=lambda n, a: normal(n), constraints={"b": positive})),
    ("dict from names", lambda: scg.Custom([1.0], sample=lambda n: normal(n)))])
def test_what_a_custom_family_is_refused(words, make):
    with pytest.raises(scg.DeclarationError, match=words):
        make()


def test_it_travels():
    f = scg.compile(logistic_graph(), backend="numpy")
    again = pickle.loads(pickle.dumps(f))
    assert again(VALUES, samples=100, rng=0).cost == f(VALUES, samples=100, rng=0).cost


# --- mixtures --------------------------------------------------------------------------------------------------------
def test_a_mixture_of_two_families():
    """Against quadrature in plain SciPy, by the score function."""
    def cost(w0, w1, m, s):
        w = special.softmax([w0, w1])

        def density(x):
            return w[0] * stats.norm.pdf(x, m, 0.5) + w[1] * stats.t.pdf(x, 5.0, -1.0, s)

        return integrate.quad(lambda x: np.cos(x) * density(x), -80.0, 80.0, limit=500, points=[-1.0, m])[0]

    g = scg.Graph("mixture")
    w, m, s = g.param("w", 2), g.param("m"), g.param("s")
    components = [scg.Normal(loc=m, scale=0.5), scg.StudentT(df=5.0, loc=-1.0, scale=s)]
    g.cost("c", np.cos(g.sample("x", scg.Mixture(components, logits=w))))
    at = np.array([0.3, -0.4, 0.8, 0.7])
    slopes = [(cost(*(at + 1e-4 * e)) - cost(*(at - 1e-4 * e))) / 2e-4 for e in np.eye(4)]
    f = scg.compile(g, backend="numpy")
    r = f({"w": at[:2], "m": at[2], "s": at[3]}, samples=20_000, rng=1)
    assert f.verdict.unbiased and isinstance(f.verdict["x"].estimator, scg.ScoreFunction)
    within(r.cost, r.cost_stderr, cost(*at), "cost")
    within(r.grad["w"], r.stderr["w"], slopes[:2], "w")
    within([r.grad["m"], r.grad["s"]], [r.stderr["m"], r.stderr["s"]], slopes[2:], "components")


def test_moments_and_densities_of_a_mixture():
    d = scg.Mixture([scg.Normal(loc=0.3, scale=0.5), scg.Uniform(low=-1.0, high=2.0)], probs=[0.25, 0.75])
    x = np.array([-3.0, -0.5, 0.0, 1.9, 2.5])
    found, mean, variance = compute([d.log_prob(constant_array(x)), d.mean, d.variance])
    density = 0.25 * stats.norm.pdf(x, 0.3, 0.5) + 0.75 * stats.uniform.pdf(x, -1.0, 3.0)
    np.testing.assert_allclose(found[0], np.log(density))
    m = 0.25 * 0.3 + 0.75 * 0.5
    assert mean[0] == pytest.approx(m)
    assert variance[0] == pytest.approx(0.25 * (0.25 + 0.09) + 0.75 * (0.75 + 0.25) - m * m)
    draws = compute([d.sample(STREAM)], 20_000)[0]
    cdf = lambda v: 0.25 * stats.norm.cdf(v, 0.3, 0.5) + 0.75 * stats.uniform.cdf(v, -1.0, 3.0)
    assert stats.kstest(draws, cdf).pvalue > 5.7e-7


def constant_array(x):
    from scg.ir.node import constant

    return constant(x)


def test_a_weight_of_zero():
    """The derivative of the density in a weight that is 0 is the component's share, not lost in a logarithm."""
    from scg.differentiate.reverse_mode import gradients
    from scg.ir.node import constant
    from scg.ops.leaves import feed

    w = feed("w", (2,), ())
    d = scg.Mixture([scg.Normal(loc=0.0, scale=1.0), scg.Normal(loc=30.0, scale=1.0)], probs=w)
    slope = gradients({d.log_prob(0.7): constant(1.0)}, [w])[0]
    found = compute([slope], w=np.array([1.0, 0.0]))[0][0]
    ratio = np.exp(stats.norm.logpdf(0.7, 30.0) - stats.norm.logpdf(0.7))
    np.testing.assert_allclose(found, [0.0, ratio - 1.0], atol=1e-12)


FINITE = {
    "numbers": lambda g: scg.Mixture([scg.Bernoulli(logits=g.param("m")), scg.Categorical(probs=[0.2, 0.3, 0.5])],
                                     logits=g.param("w", 2)),
    "vectors": lambda g: scg.Mixture(
        [scg.OneHotCategorical(logits=g.param("m") * np.arange(3.0)), scg.OneHotCategorical(probs=[0.2, 0.3, 0.5])],
        probs=scg.softmax(g.param("w", 2))),
    "of a mixture": lambda g: scg.Mixture([scg.Mixture([scg.Bernoulli(logits=g.param("m")), scg.Bernoulli(probs=0.2)],
                                                       probs=[0.4, 0.6]), scg.Categorical(probs=[0.2, 0.3, 0.5])],
                                          logits=g.param("w", 2)),
}


@pytest.mark.parametrize("kind", FINITE)
@pytest.mark.parametrize(
    "estimator", [None, scg.ScoreFunction(), scg.LocalExpectation(), scg.Enumerate(), scg.MuProp()], ids=str)
def test_mixtures_of_finitely_many_values_under_the_exact_law(kind, estimator):
    g = scg.Graph("finite")
    x = g.sample("x", FINITE[kind](g), shape=2)
    g.cost("c", (x.sum() - 1.3) ** 2 + (x @ np.array([0.3, -1.0, 0.5])).sum() if kind == "vectors" else (
        x[0] - 0.4) ** 2 * (1.0 + x[1]))
    check_exact_law(g, {"m": 0.8, "w": [0.3, -0.4]}, estimator)


COUNTS = {
    "of two": (lambda w, r: scg.Mixture([scg.Poisson(r), scg.Poisson(7.0)], logits=w),
               lambda k, w, r: special.softmax(w) @ stats.poisson.pmf(k, [[r], [7.0]])),
    "by probabilities, one at rate 0": (
        lambda w, r: scg.Mixture([scg.Poisson(r), scg.Poisson(0.0), scg.Poisson(r)], probs=scg.softmax(w[[0, 1, 1]])),
        lambda k, w, r: special.softmax(w[[0, 1, 1]]) @ stats.poisson.pmf(k, [[r], [0.0], [r]])),
    "of a mixture": (
        lambda w, r: scg.Mixture([scg.Mixture([scg.Poisson(r), scg.Poisson(7.0)], probs=[0.3, 0.7]), scg.Poisson(r)],
                                 logits=w),
        lambda k, w, r: special.softmax(w) @ [[0.3, 0.7], [1.0, 0.0]] @ stats.poisson.pmf(k, [[r], [7.0]]))}


@pytest.mark.parametrize("kind", COUNTS)
def test_exact_values_of_mixtures_of_counts(kind):
    """Each count once, however many of the components take it: against a sum over the counts."""
    family, pmf = COUNTS[kind]
    at, counts = np.array([0.3, -0.2, 1.6]), np.arange(200.0)

    def cost(v):
        return pmf(counts, v[:2], v[2]) @ np.sqrt(counts + 1.0)

    g = scg.Graph("counts")
    w, r = g.param("w", 2), g.param("r")
    g.cost("c", np.sqrt(g.sample("k", family(w, r)) + 1.0))
    found = scg.exact(g, {"w": at[:2], "r": at[2]})
    slopes = [(cost(at + 1e-5 * e) - cost(at - 1e-5 * e)) / 2e-5 for e in np.eye(3)]
    assert found.cost == pytest.approx(cost(at), rel=1e-12)
    np.testing.assert_allclose([*found.grad["w"], found.grad["r"]], slopes, rtol=1e-7, atol=1e-9)


def test_mixtures_of_vectors():
    """E x₀x₁ and E log-weights by hand: Σ w (m₀m₁ + covariance)."""
    g = scg.Graph("clusters")
    w, m = g.param("w", 2), g.param("m", 2)
    components = [scg.MultivariateNormal(loc=m, scale_diag=[0.5, 0.4]),
                  scg.MultivariateNormal(loc=[0.0, 1.0], scale_tril=[[1.0, 0.0], [0.4, 0.3]])]
    x = g.sample("x", scg.Mixture(components, logits=w))
    g.cost("c", x[0] * x[1])
    at, p = np.array([0.8, 0.1]), special.softmax([0.3, -0.4])
    parts = np.array([at[0] * at[1], 0.4])
    r = scg.compile(g, backend="numpy")({"w": [0.3, -0.4], "m": at}, samples=20_000, rng=1)
    within(r.cost, r.cost_stderr, p @ parts, "cost")
    within(r.grad["m"], r.stderr["m"], p[0] * at[::-1], "m")
    within(r.grad["w"], r.stderr["w"], p * (parts - p @ parts), "w")


def test_a_mixture_on_both_backends():
    g = scg.Graph("both")
    parts = [scg.Normal(loc=g.param("m"), scale=1.0), scg.Exponential(rate=0.3)]
    g.cost("c", g.sample("x", scg.Mixture(parts, probs=[0.6, 0.4])))
    found = [scg.compile(g, backend=b)({"m": 0.3}, samples=1000, rng=2) for b in ("numpy", "numba")]
    assert found[0].cost == pytest.approx(found[1].cost, rel=1e-12)
    assert found[0].grad["m"] == pytest.approx(found[1].grad["m"], rel=1e-10)


@pytest.mark.parametrize("words, make", [
    ("different kinds", lambda: scg.Mixture([scg.Exponential(rate=1.0), scg.Poisson(rate=1.0)], logits=[0.0, 0.0])),
    ("runs over the components", lambda: scg.Mixture([scg.Poisson(rate=1.0)] * 2, probs=[0.5, 0.2, 0.3])),
    ("one way", lambda: scg.Mixture([scg.Poisson(rate=1.0)])),
    ("distributions", lambda: scg.Mixture([1.0], probs=[1.0])),
    ("non-negative", lambda: scg.Mixture([scg.Poisson(rate=1.0)] * 2, probs=[-0.5, 1.5]))])
def test_what_a_mixture_is_refused(words, make):
    with pytest.raises(scg.DeclarationError, match=words):
        make()


def test_scores_at_a_moving_bound_and_at_edges_are_refused_in_mixtures_too():
    g = scg.Graph("moving")
    parts = [scg.Uniform(low=0.0, high=g.param("a")), scg.Normal(loc=0.0, scale=1.0)]
    x = g.sample("x", scg.Mixture(parts, probs=[0.5, 0.5]))
    g.cost("c", x * x)
    with pytest.raises(scg.EstimatorError, match="moving bound"):
        scg.compile(g, backend="numpy")
    g = scg.Graph("edge")
    p = g.param("p")
    k = g.sample("k", scg.Mixture([scg.Bernoulli(probs=p), scg.Poisson(rate=2.0)], probs=[0.5, 0.5]))
    g.cost("c", k)
    with pytest.raises(scg.CallError, match=r"0\.probs is 0 or 1"):
        scg.compile(g, backend="numpy")({"p": 0.0})


@pytest.mark.parametrize("kind", ["apart", "of two supports"])
def test_scores_at_a_weight_of_zero_that_moves(kind):
    """What the component takes is never drawn, whatever the others could take: its part of the slope is missing."""
    other = {"apart": scg.Normal(-2.0, 0.1), "of two supports": scg.Exponential(1.0)}[kind]
    g = scg.Graph("weights")
    w = g.param("w", 2)
    g.cost("c", g.sample("x", scg.Mixture([scg.Normal(2.0, 0.1), other], probs=w)))
    f = scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")
    with pytest.raises(scg.CallError, match="probs is 0"):
        f({"w": [1.0, 0.0]}, samples=10)
    f({"w": [1.0, 0.1]}, samples=10)


def test_what_a_family_was_not_given_is_refused():
    """Not by an error of Python's."""
    custom = scg.Custom({"a": 1.0}, support=scg.extend.real_line, log_prob=lambda x, a: -x * x * a,
                        sample=lambda noise, a: scg.extend.normal(noise))
    mixed = scg.Mixture([scg.Normal(loc=0.0, scale=1.0), custom], probs=[0.5, 0.5])
    for dist in (custom, mixed):
        for name in ("mean", "variance"):
            with pytest.raises(scg.CapabilityError, match=f"{name} was asked for"):
                getattr(dist, name)
        with pytest.raises(scg.CapabilityError, match="entropy was asked for"):
            dist.entropy()
