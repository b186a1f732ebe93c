"""Estimators that ask more of a binary site than its score: antithetic draws, the noise itself, a path of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import expit

import scg
from scg.derive import derive
from scg.expectation.exact import integrate
from scg.expectation.law import expected_by_kernel, expected_gradient
from scg.surrogate.site import Site
from tests.laws.checks.exact_law import TOLERANCE, check_exact_law, worst
from tests.laws.checks.exact_variance import numeric_variance
from tests.problems import scan_values, scanned, unrolled

ANTITHETIC = (scg.ARM(), scg.DisARM())
WAYS = (expected_gradient, expected_by_kernel)


def toy(t: float = 0.45, probs: bool = False) -> scg.Graph:
    """(b − t)²."""
    g = scg.Graph("toy")
    theta = g.param("theta")
    b = g.sample("b", scg.Bernoulli(probs=theta) if probs else scg.Bernoulli(logits=theta))
    g.cost("loss", (b - t) ** 2)
    return g


# --- variances ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("t, p", [(0.45, 0.5), (0.45, 0.2), (0.49, 0.9), (0.1, 0.35)])
def test_variances_of_antithetic_estimators(t, p):
    """Closed forms for (b − t)²: with Δ = 1 − 2t, m and M the smaller and the larger of p and 1 − p,
    ARM has 2Δ²(1/8 − (½ − m)³)/3 − (Δpq)², and DisARM ¼Δ²M²·2m − (Δpq)²."""
    d, m = 1.0 - 2.0 * t, min(p, 1.0 - p)
    square = (d * p * (1.0 - p)) ** 2
    expected = {"ARM()": 2.0 * d**2 * (0.125 - (0.5 - m) ** 3) / 3.0 - square,
                "DisARM()": 0.25 * d**2 * (1.0 - m) ** 2 * 2.0 * m - square}
    n = 200_000
    for estimator in ANTITHETIC:
        f = scg.compile(toy(t), strategy=estimator, backend="numpy")
        r = f({"theta": np.log(p / (1.0 - p))}, samples=n, rng=1)
        assert r.stderr["theta"] ** 2 * n == pytest.approx(expected[str(estimator)], rel=0.02, abs=1e-15)
        exact = numeric_variance(derive(toy(t), estimator), {"theta": np.log(p / (1.0 - p))})
        assert exact["theta"] == pytest.approx(expected[str(estimator)], rel=1e-9, abs=1e-15)
        assert abs(r.grad["theta"] - d * p * (1.0 - p)) < 5.0 * r.stderr["theta"] + 1e-12


def test_probabilities_at_their_edge_are_refused():
    """At p = 0 nothing is drawn that would tell of the derivative."""
    for estimator in ANTITHETIC:
        f = scg.compile(toy(probs=True), strategy=estimator, backend="numpy")
        check_exact_law(toy(probs=True), {"theta": 0.35}, estimator)
        with pytest.raises(scg.CallError, match="theta"):
            f({"theta": 0.0}, samples=10, rng=0)


# --- several sites together ------------------------------------------------------------------------------------------
def two_sites() -> scg.Graph:
    """Two sites that do not influence each other, a third that both do, and a cost of one alone."""
    g = scg.Graph("two sites")
    w = g.param("w", shape=3)
    a = g.sample("a", scg.Bernoulli(logits=w[0]), shape=2)
    b = g.sample("b", scg.Bernoulli(logits=w[1] - 0.3))
    c = g.sample("c", scg.Bernoulli(logits=w[2] * a.sum() - b))
    g.cost("all", (a.sum() * b - 0.45 + c) ** 2)
    g.cost("one", np.exp(b * w[1]))
    return g


VALUES = {"w": [0.4, -0.7, 0.9]}


@pytest.mark.by_python(by=expected_by_kernel)
@pytest.mark.parametrize("by", WAYS)
@pytest.mark.parametrize("estimator", ANTITHETIC, ids=str)
def test_together(estimator, by):
    exact = integrate(two_sites(), VALUES)
    check_exact_law(two_sites(), VALUES, {("a", "b"): estimator}, exact=exact, by=by)
    if by is expected_gradient:
        check_exact_law(two_sites(), VALUES, {("b", "a"): estimator, "c": scg.Enumerate()}, exact=exact)
        check_exact_law(two_sites(), VALUES, {("a", "b"): estimator, "c": scg.MuProp()}, exact=exact)


@pytest.mark.by_python(by=expected_by_kernel)
@pytest.mark.parametrize("by", WAYS)
def test_fresh_noise_in_the_antithetic_world(by):
    """Unbiased too, and not the same estimator."""
    exact = integrate(two_sites(), VALUES)
    for strategy in ({("a", "b"): scg.ARM(noise="fresh"), "c": scg.ScoreFunction()},
                     {"a": scg.ARM(noise="fresh"), "b": scg.DisARM(), "c": scg.LocalExpectation()}):
        check_exact_law(two_sites(), VALUES, strategy, exact=exact, by=by)
    if by is expected_gradient:
        common, fresh = (scg.compile(two_sites(), strategy={("a", "b"): scg.ARM(noise=noise)}, backend="numpy")(
            VALUES, samples=20_000, rng=0).stderr["w"] for noise in ("common", "fresh"))
        assert np.all(fresh[:2] != common[:2])


def test_fresh_noise_that_cannot_be_had_is_refused():
    with pytest.raises(scg.EstimatorError, match="noise='new'"):
        scg.ARM(noise="new")
    with pytest.raises(scg.EstimatorError, match="share their noise"):
        scg.compile(scanned(2, 1), strategy=scg.ARM(noise="fresh"))


def test_sites_together_share_one_pair_of_draws():
    """ARM over two sites is (f(b̃) − f(b)) (u − ½) for both, with one f(b̃) in which both are replaced."""
    g = scg.Graph("pair")
    w = g.param("w", shape=2)
    a, b = (g.sample(name, scg.Bernoulli(logits=w[i])) for i, name in enumerate("ab"))
    g.cost("loss", 3.0 * a * b + a)
    at = np.array([0.3, -0.8])
    u = (np.arange(400) + 0.5) / 400
    u, v = (x.ravel() for x in np.meshgrid(u, u))
    p, q = expit(at)

    def f(a, b):
        return 3.0 * a * b + a

    gap = f(1.0 - u < p, 1.0 - v < q) - f(1.0 * (u < p), 1.0 * (v < q))
    expected = [np.var(gap * (x - 0.5)) for x in (u, v)]
    n = 100_000
    r = scg.compile(g, strategy={("a", "b"): scg.ARM()}, backend="numpy")({"w": at}, samples=n, rng=0)
    np.testing.assert_allclose(r.stderr["w"] ** 2 * n, expected, rtol=0.05)
    alone = scg.compile(g, strategy=scg.ARM(), backend="numpy")({"w": at}, samples=n, rng=0)
    assert np.any(np.abs(alone.stderr["w"] ** 2 * n / expected - 1.0) > 0.1)


def test_sites_of_one_scan_together():
    def graph() -> scg.Graph:
        g = scg.Graph("steps")
        w = g.param("w", shape=2)

        def step(carry, _):
            a = g.sample("a", scg.Bernoulli(logits=w[0] + carry))
            b = g.sample("b", scg.Bernoulli(logits=w[1] - 0.5 * carry))
            new = 0.5 * carry + a * b - 0.2 * a
            g.cost("c", (new - 0.3) ** 2)
            return new, None

        g.scan(step, 0.1, length=3)
        return g

    for estimator in ANTITHETIC:
        check_exact_law(graph(), {"w": [0.4, -0.2]}, {("a", "b"): estimator})


def test_what_cannot_stand_together():
    g = two_sites()
    with pytest.raises(scg.EstimatorError, match='"a" influences the distribution of "c"'):
        derive(g, {("a", "c"): scg.ARM()})
    chain = scg.Graph("chain")
    w = chain.param("w")
    a = chain.sample("a", scg.Bernoulli(logits=w))
    m = chain.sample("m", scg.Bernoulli(logits=w * a))
    b = chain.sample("b", scg.Bernoulli(logits=w * m))
    chain.cost("loss", a * m * b)
    with pytest.raises(scg.EstimatorError, match="influences the other"):
        derive(chain, {("a", "b"): scg.ARM()})
    mixed = scg.Graph("mixed")
    w = mixed.param("w")
    a = mixed.sample("a", scg.Bernoulli(logits=w))
    mixed.cost("loss", a * mixed.scan(lambda c, _: (c + mixed.sample("s", scg.Bernoulli(logits=w)), None), 0.0,
                                      length=2)[0])
    with pytest.raises(scg.EstimatorError, match="not drawn in the steps of one scan"):
        derive(mixed, {("a", "s"): scg.DisARM()})


@pytest.mark.parametrize("element", range(3))
@pytest.mark.parametrize("looped", [False, True], ids=["alone", "in a step"])
def test_one_element_of_a_parameter_is_enough_of_an_influence(element, looped):
    """Whichever it is that another site of the tuple moves, in the same step; what it moves in the next is none."""
    def drawn(g, w, moves, carry=0.0):
        a = g.sample("a", scg.Bernoulli(logits=w))
        b = g.sample("b", scg.Bernoulli(logits=np.stack(
            [w[k] - (a[0] if moves and k == element else 0.0) + carry for k in range(3)])))
        g.cost("c", (a.sum() - b @ np.array([1.0, 2.0, 3.0])) ** 2)
        return a[1]

    def graph(moves):
        g = scg.Graph("moved")
        w = g.param("w", 3)
        if looped:
            g.scan(lambda carry, _: (drawn(g, w, moves, carry), None), 0.1, length=2)
        else:
            drawn(g, w, moves)
        return g

    derive(graph(False), {("a", "b"): scg.DisARM()})
    with pytest.raises(scg.EstimatorError, match='"a" influences the distribution of "b"'):
        derive(graph(True), {("a", "b"): scg.DisARM()})


def test_a_rule_for_one_site_is_used_at_each_of_a_tuple():
    g = two_sites()
    for estimator in (scg.ScoreFunction(), scg.Enumerate(), scg.LocalExpectation()):
        check_exact_law(g, VALUES, {("a", "b"): estimator, "c": scg.ScoreFunction()})


def test_a_rule_of_one_s_own_for_several_sites(registry):
    """The score function averaged over two antithetic worlds; registered from outside, and taken back."""
    @dataclass(frozen=True)
    class Mirrored(scg.Estimator):
        """½ log p(x) ⊥Q(x) + ½ log p(x̃) ⊥Q(x̃)."""

        scope = "together"
        requires = ("log_prob",)

        def rewrite(self, sites):
            draft = sites.draft
            for value in (lambda site, dist, x: x, Site.antithetic):
                for site in sites:
                    q = scg.stop_gradient(0.5 * sites.replay(value, site))
                    score = site.of(lambda dist, x, site=site, value=value: dist.log_prob(value(site, dist, x)))
                    draft = draft.with_term(site.name, (site.per_signal(score) * q).sum())
            return draft

    check_exact_law(two_sites(), VALUES, {("a", "b"): Mirrored(), "c": scg.DisARM()})


# --- straight-through ------------------------------------------------------------------------------------------------
@pytest.mark.by_python(by=expected_by_kernel)
@pytest.mark.parametrize("by", WAYS)
def test_straight_through_is_the_mean_slope(by):
    """E f′(b) · p(1 − p), where the second layer's slope is taken at what the first one drew."""
    g = scg.Graph("layers")
    w = g.param("w", shape=2)
    a = g.sample("a", scg.Bernoulli(logits=w[0]))
    b = g.sample("b", scg.Bernoulli(logits=w[1] * (a - 0.4)))
    g.cost("loss", (b - 0.45) ** 3 + np.exp(0.5 * a))
    at = np.array([0.4, 1.7])
    d = derive(g, scg.StraightThrough())
    assert {v.status for v in d.verdicts.values()} == {"biased"}
    expected, p = np.zeros(2), expit(at[0])
    for a_, pa in ((0.0, 1.0 - p), (1.0, p)):
        q = expit(at[1] * (a_ - 0.4))
        for b_, pb in ((0.0, 1.0 - q), (1.0, q)):
            below = 3.0 * (b_ - 0.45) ** 2 * q * (1.0 - q)  # ∂cost/∂(logit of b)
            slope = below * at[1] + 0.5 * np.exp(0.5 * a_)  # ∂cost/∂a
            expected += pa * pb * np.array([slope * p * (1.0 - p), below * (a_ - 0.4)])
    np.testing.assert_allclose(by(d, {"w": at}).grad["w"], expected, atol=TOLERANCE)


def test_straight_through_leaves_values_as_they_are():
    """The draws are 0 and 1 to the last bit, also downstream, and where the mean is not."""
    g = scg.Graph("values")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
    g.cost("loss", g.node("seen", b * 1.0))
    r = scg.compile(g, strategy=scg.StraightThrough(), backend="numpy")({"theta": 0.3}, samples=100, rng=0,
                                                                       record=("b", "seen"))
    assert set(np.unique(r.record["seen"])) == set(np.unique(r.record["b"])) == {0.0, 1.0}


def test_straight_through_is_right_for_linear_costs():
    g = scg.Graph("linear")
    w = g.param("w", shape=2)
    k = g.sample("k", scg.Categorical(logits=w * np.array([1.0, -2.0])))
    b = g.sample("b", scg.Bernoulli(logits=w[0]), shape=3)
    g.cost("loss", 3.0 * k - b.sum() * w[1])
    check_exact_law(g, {"w": [0.4, -0.3]}, scg.StraightThrough())


@pytest.mark.parametrize("estimator", [scg.StraightThrough(), scg.GumbelSoftmax(1.0), scg.GumbelSoftmax(1.0, True),
                                       scg.GumbelRao(1.0, 1), scg.ReinMax()], ids=str)
def test_a_scan_is_its_unrolled_graph(estimator):
    """Also where the gradient is biased."""
    looped, flat = (expected_gradient(derive(build(2, 1), estimator), scan_values(1)) for build in (scanned, unrolled))
    assert worst(looped.grad, flat.grad) < TOLERANCE


def test_straight_through_beside_a_score():
    """What scores a later site sees the value with its derivative: it is a path to that site's distribution."""
    g = scg.Graph("mixed")
    w = g.param("w", shape=2)
    a = g.sample("a", scg.Bernoulli(logits=w[0]))
    b = g.sample("b", scg.Bernoulli(logits=w[1] + 0.8 * a))
    g.cost("loss", (b - 0.45) ** 2)
    at = np.array([0.2, -0.5])
    p, expected = expit(at[0]), np.zeros(2)
    for a_, pa in ((0.0, 1.0 - p), (1.0, p)):
        q = expit(at[1] + 0.8 * a_)
        slope = q * (1.0 - q) * (0.55**2 - 0.45**2)  # of E[cost | a] in the logit
        expected += pa * np.array([0.8 * slope * p * (1.0 - p), slope])
    found = expected_gradient(derive(g, {"a": scg.StraightThrough(), "b": scg.ScoreFunction()}), {"w": at})
    np.testing.assert_allclose(found.grad["w"], expected, atol=TOLERANCE)


@pytest.mark.parametrize("cost", [lambda b: 1.0 * (b > 0.5), lambda b: scg.take([1.0, 2.0], b)])
def test_straight_through_meets_a_jump(cost):
    g = scg.Graph("jump")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
    g.cost("loss", cost(b))
    with pytest.raises(scg.SCGError, match="which jumps"):
        derive(g, scg.StraightThrough())


def test_relaxed_values_keep_clear_of_poles():
    """A relaxed value may be anywhere between 0 and 1, where the draw never is."""
    def derived(cost, **options):
        g = scg.Graph("poles")
        b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
        g.cost("loss", cost(g, b))
        return derive(g, {"b": scg.GumbelSoftmax(**options)})

    for cost in (lambda g, b: 1.0 / (b - 0.5), lambda g, b: g.sample("c", scg.Bernoulli(logits=1.0 / (b - 0.5)))):
        with pytest.raises(scg.ConditionError, match="grows without bound"):
            derived(cost)
        derived(cost, straight_through=True)  # it stays where it is
    derived(lambda g, b: 1.0 / (b + 0.5))


def test_the_relaxation_is_the_path_of_relaxed_costs():
    """Costs and gradient are those of the relaxed variable, by quadrature over u."""
    theta, heat = 0.3, 0.5
    x, w = np.polynomial.legendre.leggauss(200)
    u = 0.5 * (x + 1.0)
    s = expit((theta - np.log(u / (1.0 - u))) / heat)
    cost, grad = np.sum(0.5 * w * (s - 0.45) ** 2), np.sum(0.5 * w * 2.0 * (s - 0.45) * s * (1.0 - s) / heat)
    found = expected_gradient(derive(toy(), scg.GumbelSoftmax(heat)), {"theta": theta})
    assert found.cost == pytest.approx(cost, abs=1e-10) and found.grad["theta"] == pytest.approx(grad, abs=1e-10)
    d = derive(toy(), scg.GumbelSoftmax(heat, straight_through=True))
    assert expected_gradient(d, {"theta": theta}).cost == pytest.approx(integrate(toy(), {"theta": theta}).cost)
