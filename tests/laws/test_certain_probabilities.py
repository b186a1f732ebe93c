"""Probabilities of 0 and 1, of first and second derivatives, under every estimator: against enumeration in NumPy.

Where such a probability stays, what is masked has no say, and every estimator is right, or refuses the site when it is
compiled. Where it moves, those that take the probabilities themselves are right, and the others refuse the call.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import scg
from scg.estimators import ESTIMATORS

A = np.array([0.3, 0.1, -0.4, 0.8, -0.2, 0.6])
WEIGHTS = np.array([1.0, 2.0, -0.7, 0.5, 1.3, -1.1, 0.9, 0.4])
TABLE = np.array([1.0, 3.0, -2.0, 0.5])
MASKS = np.array([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
LOGITS = np.array([0.3, -0.2, 0.5, 0.1])
AT_EDGES = ("Enumerate", "LocalExpectation", "WeakDerivative", "StochasticTriple", "PSA")
BY_SITE = [name for name, cls in ESTIMATORS.items() if cls.scope == "site" and not cls.stationary
           and (cls.unbiased or cls is scg.PSA)]


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def derivatives(function, at, along, step=1e-3):
    """The gradient of a smooth function, and its derivative in a direction, by differences of the fourth order."""
    def slope(f, u):
        return (8.0 * (f(step * u) - f(-step * u)) - f(2.0 * step * u) + f(-2.0 * step * u)) / (12.0 * step)

    def gradient(x):
        return np.array([slope(lambda d: function(x + d), u) for u in np.eye(len(x))])

    return gradient(at), slope(lambda d: gradient(at + d), along)


def compiled(graph, name):
    """The estimator's function; None if it refuses a site that excludes values, or the family."""
    try:
        return scg.compile(graph, strategy=getattr(scg, name)(), backend="numpy")
    except scg.EstimatorError as why:
        assert any(word in str(why) for word in ("may exclude a value", "has no log-odds", "which have no path",
                                                 "which jumps", "has no relaxation", "no differentiable path",
                                                 "is zero almost everywhere")), why
        return None


def assert_right(r, exact, where):
    off = np.abs(r.grad["a"] - exact)
    assert np.all(off <= 5.0 * r.stderr["a"] + 1e-7 * (1.0 + np.abs(exact))), (where, r.grad["a"], r.stderr["a"], exact)


# --- where they stay -------------------------------------------------------------------------------------------------
def bits():
    """Eight draws, of which the first and the last are free; the others are 0, 1, 0, 1, 0 and 1 for certain."""
    g = scg.Graph("bits")
    a, m = g.param("a", 6), g.input("m", 2)
    p = scg.sigmoid(a)
    b = g.sample("b", scg.Bernoulli(probs=scg.stack([
        p[0], m[0] * p[1], 1.0 - m[0] * p[2], scg.where(m[0] > 0.0, p[3], 0.0), scg.where(m[0] > 0.0, p[4], 1.0),
        m[0], m[1], p[5]])))
    g.cost("c", (b @ WEIGHTS - 0.45) ** 2 * (1.0 + 0.2 * b[0]))
    return g


def expected_of_bits(a):
    total = 0.0
    for first, last in itertools.product((0.0, 1.0), repeat=2):
        b = np.array([first, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, last])
        chances = np.prod([p if x else 1.0 - p for x, p in ((first, sigmoid(a[0])), (last, sigmoid(a[5])))])
        total += chances * (b @ WEIGHTS - 0.45) ** 2 * (1.0 + 0.2 * first)
    return total


def categories(family):
    """Two draws whose values are masked by weights, all but one of the second's, and one by logits."""
    g = scg.Graph("categories")
    a, m = g.param("a", 4), g.input("m", (2, 4))
    weights = scg.stack([scg.softmax(a) * m[0], scg.where(m[1] > 0.0, np.exp(a), 0.0)])
    k = g.sample("k", family(probs=weights))
    last = g.sample("last", family(logits=scg.where(m[0] > 0.0, a, -np.inf)))
    table = g.node("table", TABLE)
    of = (lambda k: table[k]) if family is scg.Categorical else (lambda k: k @ TABLE)
    g.cost("c", (of(k).sum() + 0.5 * of(last)) ** 2)
    return g


def expected_of_categories(a):
    p = np.exp(a) * np.array([*MASKS, MASKS[0]])
    p /= p.sum(axis=1, keepdims=True)
    return sum(np.prod([p[i, v] for i, v in enumerate(k)]) * (TABLE[[*k]] @ [1.0, 1.0, 0.5]) ** 2
               for k in itertools.product(range(4), repeat=3))


CASES = {
    "bits": (bits, {"a": A, "m": np.array([0.0, 1.0])}, expected_of_bits,
             {"LAX", "REBAR", "RELAX", "Pathwise", "DReG"}),
    "categories": (lambda: categories(scg.Categorical), {"a": LOGITS, "m": MASKS}, expected_of_categories,
                   {"LAX", "REBAR", "RELAX", "Pathwise", "DReG", "ARM", "ARMS", "DisARM", "RODEO", "PSA", "MuProp",
                    "GradientCritic", "Delta"}),
    "one-hot vectors": (lambda: categories(scg.OneHotCategorical), {"a": LOGITS, "m": MASKS}, expected_of_categories,
                        {"LAX", "REBAR", "RELAX", "Pathwise", "DReG", "ARM", "ARMS", "DisARM", "RODEO", "PSA"})}
EXACT = {case: derivatives(expected, values["a"], np.linspace(1.0, -0.5, len(values["a"])))
         for case, (_, values, expected, _) in CASES.items()}


@pytest.mark.parametrize("case", ["bits", *(pytest.param(case, marks=pytest.mark.one_in(4)) for case in CASES
                                            if case != "bits")])
@pytest.mark.parametrize("name", BY_SITE)
def test_what_stays_has_no_say(case, name):
    """Gradients, and products with the Hessian; exactly 0 in what moves nothing."""
    declare, values, _, refused = CASES[case]
    f = compiled(declare(), name)
    assert (f is None) == (name in refused)
    if f is None:
        return
    values, (gradient, product) = {**f.init(0), **values}, EXACT[case]
    r = f(values, samples=600, rng=1)
    h = f.hvp(values, {"a": np.linspace(1.0, -0.5, len(gradient))}, samples=600, rng=1)
    assert_right(r, gradient, "gradient")
    assert_right(h, product, "second derivative")
    if case == "bits":
        assert not np.any(r.grad["a"][1:5]) and not np.any(h.grad["a"][1:5])


@pytest.mark.parametrize("name", ["MuProp", "DoubleCV", "RODEO", "Delta", "GradientCritic"])
def test_nor_have_slopes_that_are_not_finite_there(name):
    """Costs whose derivative at a certain outcome is infinite: a root, and the draws' own log-probability."""
    g = scg.Graph("slopes")
    a, m = g.param("a", 2), g.input("m", 2)
    dist = scg.Bernoulli(probs=m * scg.sigmoid(a))
    b = g.sample("b", dist)
    g.cost("c", (1.0 + np.sqrt(b[1])) * (b[0] - 0.45) ** 2 + dist.log_prob(b).sum())
    f = scg.compile(g, strategy=getattr(scg, name)(), backend="numpy")
    r = f({**f.init(0), "a": [0.3, -0.2], "m": [1.0, 0.0]}, samples=1_000, rng=0)
    p = sigmoid(0.3)
    assert_right(r, np.array([p * (1.0 - p) * (0.55**2 - 0.45**2 + 0.3), 0.0]), name)


@pytest.mark.parametrize("name", ["MuProp", "DoubleCV"])
def test_nor_have_later_draws_that_stay(name):
    """Second derivatives in a loop, a step of which draws 0 for certain: slopes of earlier draws go through it."""
    g = scg.Graph("steps")
    a, m = g.param("a", 3), g.input("m", 3)

    def step(s, given):
        b = g.sample("b", scg.Bernoulli(probs=given[0] * scg.sigmoid(given[1] + 0.3 * s)))
        g.cost("c", (s + b - 0.6) ** 2)
        return s + b, None

    g.scan(step, 0.0, xs=(m, a))
    at, along, mask = np.array([0.3, -0.2, 0.5]), np.array([1.0, 0.5, -0.3]), np.array([1.0, 0.0, 1.0])
    ahead, behind = (scg.exact(g, {"a": at + by * along, "m": mask}).grad["a"] for by in (1e-4, -1e-4))
    f = scg.compile(g, strategy=getattr(scg, name)(), backend="numpy")
    h = f.hvp({**f.init(0), "a": at, "m": mask}, {"a": along}, samples=1_000, rng=2)
    assert_right(h, (ahead - behind) / 2e-4, name)


# --- where they move -------------------------------------------------------------------------------------------------
def moving_bits():
    g = scg.Graph("bits")
    a = g.param("a", 3)
    b = g.sample("b", scg.Bernoulli(probs=scg.stack([a[0], 1.0 - 0.8 * a[1], scg.sigmoid(a[2])])))
    g.cost("c", (b @ WEIGHTS[:3] - 0.45) ** 2 * (1.0 + 0.2 * b[0]))
    return g


def expected_of_moving_bits(a):
    p = np.array([a[0], 1.0 - 0.8 * a[1], sigmoid(a[2])])
    return sum(np.prod([q if x else 1.0 - q for x, q in zip(b, p)]) * (b @ WEIGHTS[:3] - 0.45) ** 2 * (1 + 0.2 * b[0])
               for b in map(np.array, itertools.product((0.0, 1.0), repeat=3)))


def moving_weights():
    g = scg.Graph("weights")
    k = g.sample("k", scg.OneHotCategorical(probs=g.param("a", 4)))
    g.cost("c", (k @ TABLE) ** 2 + k @ TABLE)
    return g


MOVING = {"bits": (moving_bits, np.array([0.0, 0.0, 0.3]), expected_of_moving_bits),
          "weights": (moving_weights, np.array([0.3, 0.0, 0.5, 0.1]),
                      lambda a: a @ (TABLE**2 + TABLE) / a.sum())}  # fmt: skip


@pytest.mark.parametrize("case", MOVING)
@pytest.mark.parametrize("name", [*AT_EDGES, "ScoreFunction", "MuProp", "DisARM", "CARMS"])
def test_what_moves_at_its_edge(case, name):
    """A score is refused there, also the one of which second derivatives are made; enumerated ones are right."""
    declare, at, expected = MOVING[case]
    f = compiled(declare(), name)
    if f is None:
        assert (case, name) in {("weights", n) for n in ("DisARM", "PSA")}
        return
    along = np.linspace(1.0, -0.5, len(at))
    gradient, product = derivatives(expected, at, along)
    values = {**f.init(0), "a": at}
    if name not in AT_EDGES or (case, name) == ("weights", "StochasticTriple"):
        with pytest.raises(scg.CallError, match=rf"{name}\(.*value of probability 0 is never drawn"):
            f(values, samples=50, rng=0)
        return
    assert_right(f(values, samples=1_000, rng=0), gradient, "gradient")
    if name == "Enumerate":
        assert_right(f.hvp(values, {"a": along}, samples=2, rng=0), product, "second derivative")
        return
    with pytest.raises(scg.CallError, match=rf"The score, of which {name}\(\) makes.*never drawn.*Enumerate\(\)"):
        f.hvp(values, {"a": along}, samples=50, rng=0)


@pytest.mark.parametrize("name", ["ScoreFunction", "REBAR", "Half", "Enumerate", None])
def test_certain_logits_are_refused_in_the_same_words(name):
    """-inf is a mask of a `Categorical` only, and the error says how a `Bernoulli` is masked, whatever becomes NaN."""
    g = scg.Graph("logits")
    a, m = g.param("a", 2), g.input("m", 2)
    dist = scg.Bernoulli(logits=scg.where(m > 0.0, a, -np.inf))
    g.cost("c", g.sample("b", dist).sum() + dist.log_prob(1.0).sum() * (0.0 if name else 1.0))
    f = scg.compile(g, strategy=getattr(scg, name)() if name else None, backend="numpy")
    values = {**f.init(0), "a": [0.3, -0.2], "m": [1.0, 0.0]}
    with pytest.raises(scg.CallError, match=r"logits = where\(m > 0, a, -inf\).*finite.*probs=: scg\.where\(m > 0"):
        f(values, samples=50, rng=0)


# --- where they are too rare to be seen ------------------------------------------------------------------------------
@pytest.mark.parametrize("p", [1e-12, 1.0 - 1e-12])
@pytest.mark.parametrize("name", ["ScoreFunction", "DisARM", "MuProp", "REBAR", "RELAX"])
def test_replicates_that_are_all_alike_are_told(p, name):
    """The gradient is that of what was drawn, and so is its error: 0, or that of what is relaxed. 0.1 is right."""
    g = scg.Graph("rare")
    g.cost("c", (g.sample("b", scg.Bernoulli(probs=g.param("a"))) - 0.45) ** 2)
    f = scg.compile(g, strategy=getattr(scg, name)(), backend="numpy")
    told = 'all 500 replicates are alike: what is drawn too rarely for them may be missing in the gradient in "a"'
    values = {**f.init(0), "a": p}
    r = f(values, samples=500, rng=0)
    assert abs(r.grad["a"] - 0.1) > 0.05 and any(told in note for note in r.notes)
    assert not any("alike" in note for note in f({**values, "a": 0.3}, samples=500, rng=0).notes)
    right = scg.compile(g, strategy=scg.LocalExpectation(), backend="numpy")({"a": p}, samples=500, rng=0)
    assert abs(right.grad["a"] - 0.1) < 1e-9 and not any("alike" in note for note in right.notes)
