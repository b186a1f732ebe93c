"""Objectives beside the surrogate: what auxiliary params minimise, and that neither side leaks into the other."""

from __future__ import annotations

import importlib.util
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import expit

import scg
from scg.analysis.reach import sum_of
from scg.baselines import Baseline, Subtracted
from scg.derive import derive
from scg.differentiate.reverse_mode import gradients
from scg.expectation.exact import integrate
from scg.expectation.law import expected_by_kernel, expected_gradient
from scg.ir.node import constant
from scg.surrogate.draft import Objective
from tests.laws.checks.exact_law import TOLERANCE, check_exact_law
from tests.laws.checks.exported import compare_functions
from tests.laws.checks.sampling import within

X = np.array([0.5, -1.0, 2.0])


def rows(**options) -> tuple[scg.Graph, scg.ScoreFunction]:
    """A site for each row, whose baseline is a line in the data."""
    g = scg.Graph("rows")
    theta, w, x = g.param("theta"), g.param("w", 2, init=[0.1, -0.2]), g.data("x")
    b = g.sample("b", scg.Bernoulli(logits=theta * x))
    g.cost("loss", (b - 0.45 * x) ** 2)
    return g, scg.ScoreFunction(scg.Learned(w[0] + w[1] * x, **options))


AT = {"theta": 0.7, "w": [0.3, -0.4], "x": X}


# --- leaks -----------------------------------------------------------------------------------------------------------
def binary() -> scg.Graph:
    g = scg.Graph("binary")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
    g.cost("loss", (b - 0.45) ** 2)
    return g


def cases():
    yield (*rows(), AT)
    yield (*rows(centre=True), AT)
    yield binary(), scg.REBAR(), {"theta": 0.7, "b eta": 0.8, "b log temperature": 0.1}


@pytest.mark.parametrize("graph, strategy, values", list(cases()), ids=["learned", "centred", "rebar"])
def test_nothing_leaks(graph, strategy, values):
    """No derivative of costs and terms with respect to an auxiliary param; and the gradient of the model is what it is
    without the objective, to the last bit."""
    d = derive(graph, strategy)
    assert set(d.auxiliary) | set(d.moved) == set(d.targets) and d.auxiliary
    leaked = gradients({sum_of(d.roots()): constant(1.0)}, list(d.auxiliary.values()))
    assert leaked == [None] * len(leaked)
    model = tuple(d.moved)
    both = scg.compile(graph, strategy=strategy, backend="numpy")(values, samples=50, rng=2)
    alone = scg.compile(graph, strategy=strategy, wrt=model, backend="numpy")(values, samples=50, rng=2)
    assert set(both.grad) == {*d.auxiliary, *model} and set(alone.grad) == set(model)
    for name in model:
        np.testing.assert_array_equal(both.grad[name], alone.grad[name])


def test_a_param_of_the_model_is_none_of_the_baseline():
    """What both are made of moves with the costs alone."""
    g = scg.Graph("shared")
    theta, w = g.param("theta"), g.param("w")
    b = g.sample("b", scg.Bernoulli(logits=theta))
    g.cost("loss", (b - 0.45) ** 2)
    strategy = scg.ScoreFunction(scg.Learned(w * theta))
    assert set(derive(g, strategy).auxiliary) == {"w"}
    check_exact_law(g, {"theta": 0.7, "w": 3.0}, strategy)


# --- learned baselines -----------------------------------------------------------------------------------------------
@pytest.mark.by_python(by=expected_by_kernel)
@pytest.mark.parametrize("by", [expected_gradient, expected_by_kernel])
def test_a_learned_baseline_leaves_the_gradient(by):
    g, strategy = rows()
    check_exact_law(g, AT, strategy, by=by)


def test_it_minimises_the_squared_error():
    """Its gradient is that of E (Q − b)², enumerated: −2 E (Q − b) ∂b."""
    g, strategy = rows()
    f = scg.compile(g, strategy=strategy, backend="numpy")
    r = f(AT, samples=40_000, rng=0)
    p = expit(0.7 * X)
    cost = p * (1.0 - 0.45 * X) ** 2 + (1.0 - p) * (0.45 * X) ** 2
    off = cost - (0.3 - 0.4 * X)
    within(r.grad["w"], r.stderr["w"], np.array([np.mean(-2.0 * off), np.mean(-2.0 * off * X)]), "w")
    for _ in range(60):
        r = f({**AT, "w": AT["w"]}, samples=500, rng=1)
        AT_w = np.asarray(AT["w"]) - 0.2 * r.grad["w"]
        AT["w"] = AT_w
    best = np.linalg.lstsq(np.stack([np.ones(3), X], axis=1), cost, rcond=None)[0]
    np.testing.assert_allclose(AT["w"], best, atol=0.05)
    AT["w"] = [0.3, -0.4]


def test_centring_is_read_before_it_is_updated():
    """Given any state, the gradient is exact, and the next mean is the old one and that of Q − b."""
    g, strategy = rows(centre=True, decay=0.75)
    p = expit(0.7 * X)
    cost = p * (1.0 - 0.45 * X) ** 2 + (1.0 - p) * (0.45 * X) ** 2
    for mean in (0.0, -1.7):
        check_exact_law(g, AT, strategy, state={"b mean": mean})
        found = expected_gradient(derive(g, strategy), AT, {"b mean": mean})
        assert found.states["b mean"] == pytest.approx(0.75 * mean + 0.25 * np.mean(cost - 0.3 + 0.4 * X), abs=1e-14)


def test_scaling_divides_the_gradient_and_says_so():
    g, strategy = rows(centre=True, scale=True)
    exact = integrate(g, AT)
    d = derive(g, strategy)
    assert d.verdicts["b"].status == "biased" and "max(1, √v)" in d.verdicts["b"].reason
    for variance, factor in ((0.3, 1.0), (6.25, 2.5)):
        found = expected_gradient(d, AT, {"b mean": 0.4, "b variance": variance})
        assert found.grad["theta"] == pytest.approx(exact.grad["theta"] / factor, abs=TOLERANCE)


def scanned(**options):
    """A site in a loop, whose baseline reads the carry that the step begins with."""
    g = scg.Graph("loop")
    theta, w = g.param("theta", 2), g.param("w", 2, init=lambda rng, shape: rng.normal(size=shape))
    baseline = []

    def step(carry, _):
        b = g.sample("b", scg.Bernoulli(logits=theta[0] + theta[1] * carry))
        baseline.append(w[0] + w[1] * carry)
        new = 0.5 * carry + b
        g.cost("c", (new - 0.7) ** 2)
        return new, None

    g.scan(step, 0.2, length=3)
    return g, scg.ScoreFunction(scg.Learned(baseline[0], **options))


LOOP = {"theta": np.array([0.3, -0.5]), "w": np.array([0.4, 0.2])}


def paths():
    """Every path of the loop: its probability, the carries that the steps begin with, the costs from each step on, and
    each step's score in its logit."""
    theta = LOOP["theta"]
    for bits in np.ndindex(2, 2, 2):
        carry, chance, carries, costs, scores = 0.2, 1.0, [], [], []
        for b in bits:
            p = expit(theta[0] + theta[1] * carry)
            chance *= p if b else 1.0 - p
            carries.append(carry)
            scores.append(b - p)
            carry = 0.5 * carry + b
            costs.append((carry - 0.7) ** 2)
        yield chance, np.array(carries), np.cumsum(costs[::-1])[::-1], np.array(scores)


@pytest.mark.parametrize("options", [{}, {"centre": True}], ids=str)
def test_step_by_step_in_a_loop(options):
    g, strategy = scanned(**options)
    d = derive(g, strategy)
    state = {"b mean": np.array([0.2, -0.3, 0.5])} if options else {}
    check_exact_law(g, LOOP, strategy, state=state)
    expected, means = np.zeros(2), np.zeros(3)
    for chance, carries, ahead, _ in paths():
        off = ahead - (0.4 + 0.2 * carries)
        means += chance * off
        off = off - state.get("b mean", 0.0)
        expected += chance * np.array([np.sum(-2.0 * off), np.sum(-2.0 * off * carries)])
    r = scg.compile(g, strategy=strategy, backend="numpy")(LOOP, samples=20_000, rng=0, state=state or None)
    within(r.grad["w"], r.stderr["w"], expected, "w")
    if options:
        found = expected_gradient(d, LOOP, state)
        np.testing.assert_allclose(found.states["b mean"], 0.8 * state["b mean"] + 0.2 * means, atol=1e-13)


def test_scaling_step_by_step():
    """Each step's part of the gradient is divided by the standard deviation of that step."""
    g, strategy = scanned(centre=True, scale=True)
    mean, variance = np.array([0.2, -0.3, 0.5]), np.array([4.0, 0.5, 2.25])
    expected = np.zeros(2)
    for chance, carries, ahead, scores in paths():
        signal = (ahead - (0.4 + 0.2 * carries) - mean) / np.array([2.0, 1.0, 1.5])
        expected += chance * np.array([np.sum(scores * signal), np.sum(scores * carries * signal)])
    found = expected_gradient(derive(g, strategy), LOOP, {"b mean": mean, "b variance": variance})
    np.testing.assert_allclose(found.grad["theta"], expected, atol=TOLERANCE)


def test_a_learned_baseline_of_its_own_sample_is_refused():
    g = scg.Graph("own")
    w = g.param("w")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
    g.cost("loss", b)
    with pytest.raises(scg.BaselineError, match="own sample"):
        derive(g, scg.ScoreFunction(scg.Learned(w * b)))


def test_beside_a_site_that_is_summed_out():
    """The objective is weighed by the probabilities of the worlds, as costs are."""
    g = scg.Graph("worlds")
    theta, w = g.param("theta"), g.param("w")
    a = g.sample("a", scg.Bernoulli(logits=theta))
    b = g.sample("b", scg.Bernoulli(logits=0.5 * theta + a))
    g.cost("loss", (a - b) ** 2 + b)
    values = {"theta": 0.4, "w": 0.6}
    strategy = {"a": scg.Enumerate(), "b": scg.ScoreFunction(scg.Learned(w * (1.0 + a)))}
    check_exact_law(g, values, strategy)
    p, expected = expit(0.4), 0.0
    for a_, pa in ((0.0, 1.0 - p), (1.0, p)):
        q = expit(0.2 + a_)
        cost = q * ((a_ - 1.0) ** 2 + 1.0) + (1.0 - q) * a_**2
        expected += pa * -2.0 * (cost - 0.6 * (1.0 + a_)) * (1.0 + a_)
    r = scg.compile(g, strategy=strategy, backend="numpy")(values, samples=20_000, rng=0)
    within(r.grad["w"], r.stderr["w"], expected, "w")


def test_what_learns_must_reach_its_objective_smoothly():
    """A jump, and a draw from what is learned: the derivative of one replicate would miss their part."""
    def graph(node):
        g = scg.Graph("rough")
        w = g.param("w")
        b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
        g.cost("loss", b)
        return g, scg.ScoreFunction(scg.Learned(node(g, w)))

    for node, why in ((lambda g, w: w * (w > 0.5), "jumps"),
                      (lambda g, w: g.sample("z", scg.Normal(loc=w, scale=1.0)) * 1.0, "drawn from a distribution")):
        g, strategy = graph(node)
        with pytest.raises(scg.ConditionError, match=why):
            derive(g, strategy)
        derive(g, strategy, wrt=("theta",))
    g, strategy = graph(lambda g, w: abs(w) + g.sample("z", scg.Bernoulli(logits=0.3)) * w)
    check_exact_law(g, {"w": -0.3, "theta": 0.2}, strategy)


def test_a_baseline_of_a_site_that_does_not_move_learns_nothing_and_says_so():
    """Its gradient would be 0, whatever it predicts."""
    g = scg.Graph("still")
    w, theta = g.param("w"), g.param("theta")
    g.cost("loss", g.sample("b", scg.Bernoulli(logits=theta)) + 0.0 * g.param("of no use"))
    strategy = scg.ScoreFunction(scg.Learned(w))
    with pytest.raises(scg.EstimatorError, match=r'"w" was asked for.*moves the site.*wrt='):
        derive(g, strategy, wrt=("w",))
    for wrt in (None, ("w", "theta"), ("theta",), ("of no use",), ()):
        derive(g, strategy, wrt=wrt)


@pytest.mark.parametrize("later", [lambda b: scg.Gamma(1.5 + b, 1.0), lambda b: scg.Beta(1.5 + b, 2.0),
                                   lambda b: scg.StudentT(5.0 + b, 0.0, 1.0)])
def test_a_temperature_is_not_learned_through_a_path_without_second_derivative(later):
    g = scg.Graph("relaxed")
    y = g.sample("y", later(g.sample("b", scg.Bernoulli(logits=g.param("a")))))
    g.cost("c", 1.0 / (1.0 + y * y))
    with pytest.raises(scg.ConditionError, match=r"test_objectives.*b variance.*no second one.*temperature="):
        scg.compile(g, strategy={"b": scg.REBAR()}, backend="numpy")
    scg.compile(g, strategy={"b": scg.REBAR(temperature=0.5)}, backend="numpy")


def test_what_is_not_finite_is_named():
    g = scg.Graph("zero")
    w = g.param("w")
    g.cost("loss", g.sample("b", scg.Bernoulli(logits=g.param("theta"))))
    f = scg.compile(g, strategy=scg.ScoreFunction(scg.Learned(np.log(w))), backend="numpy")
    with pytest.raises(scg.NonFiniteError):
        f({"w": 0.0, "theta": 0.3}, samples=10, rng=0)


def test_functions_that_learn_can_be_pickled():
    g, strategy = scanned()
    f = scg.compile(g, strategy=strategy, backend="numpy")
    again = pickle.loads(pickle.dumps(f))
    np.testing.assert_array_equal(f(LOOP, samples=20, rng=0).grad["w"], again(LOOP, samples=20, rng=0).grad["w"])
    with pytest.raises(scg.SCGError, match=r"function that draws it|unpickled"):
        again.init(0)
    f = scg.compile(binary(), strategy=scg.REBAR(), backend="numpy")
    values = {"theta": 0.3, **f.init(0)}
    again = pickle.loads(pickle.dumps(f))
    np.testing.assert_array_equal(f(values, samples=20, rng=0).grad["b eta"],
                                  again(values, samples=20, rng=0).grad["b eta"])


# --- REBAR -----------------------------------------------------------------------------------------------------------
def rebar_square(theta: float, eta: float, heat: float, t: float = 0.45, n: int = 160) -> float:
    """E g² for (b − t)², by quadrature over u and v: g as in the paper, for z = a − logit u and v independent of u."""
    x, weight = np.polynomial.legendre.leggauss(n)
    x, weight = 0.5 * (x + 1.0), 0.5 * weight
    p = expit(theta)
    square = 0.0
    for low, high, b in ((0.0, p, 1.0), (p, 1.0, 0.0)):
        u, v = low + (high - low) * x[:, None], x[None, :]
        z = theta - np.log(u / (1.0 - u))
        given = v * p if b else p + v * (1.0 - p)  # the uniform given the draw
        da = v * p * (1.0 - p) if b else (1.0 - v) * p * (1.0 - p)  # its derivative in the logit
        zt = theta - np.log(given / (1.0 - given))
        dzt = 1.0 - da / (given * (1.0 - given))
        s, st = expit(z / heat), expit(zt / heat)
        slope = 2.0 * (s - t) * s * (1.0 - s) / heat
        slope_t = 2.0 * (st - t) * st * (1.0 - st) / heat * dzt
        g = ((b - t) ** 2 - eta * (st - t) ** 2) * (b - p) + eta * slope - eta * slope_t
        square += (high - low) * np.sum(weight[:, None] * weight[None, :] * g**2)
    return square


@pytest.mark.parametrize("heat, variance", [(0.1, 0.08725), (0.5, 0.02265), (1.0, 0.01849)])
def test_the_variance_of_rebar(heat, variance):
    """At θ = 0 and t = 0.45, η = 1: published code's numbers, and the quadrature of this file, which agrees."""
    assert rebar_square(0.0, 1.0, heat) - 0.025**2 == pytest.approx(variance, rel=2e-3)
    n = 100_000
    f = scg.compile(binary(), strategy=scg.REBAR(eta=1.0, temperature=heat), backend="numpy")
    r = f({"theta": 0.0}, samples=n, rng=0)
    assert r.stderr["theta"] ** 2 * n == pytest.approx(variance, rel=0.03)
    within(r.grad["theta"], r.stderr["theta"], 0.025, "theta")


@pytest.mark.by_python(by=expected_by_kernel)
@pytest.mark.parametrize("by", [expected_gradient, expected_by_kernel])
def test_rebar_is_exact_whatever_it_has_learned(by):
    values = {"theta": 0.7, "b eta": -1.3, "b log temperature": -np.log(3.0)}
    g = binary()
    check_exact_law(g, values, scg.REBAR(), by=by, exact=integrate(g, {"theta": 0.7}))


def test_eta_and_temperature_minimise_the_variance():
    """The gradients of their objective are those of E g², by differences of the quadrature."""
    theta, eta, heat = 0.4, 0.6, 0.8
    f = scg.compile(binary(), strategy=scg.REBAR(), backend="numpy")
    assert f.init(0) == {"b eta": 1.0, "b log temperature": pytest.approx(np.log(0.5))}
    r = f({"theta": theta, "b eta": eta, "b log temperature": np.log(heat)}, samples=40_000, rng=0)
    h = 1e-4
    by_eta = (rebar_square(theta, eta + h, heat) - rebar_square(theta, eta - h, heat)) / (2 * h)
    by_heat = (rebar_square(theta, eta, heat * np.exp(h)) - rebar_square(theta, eta, heat * np.exp(-h))) / (2 * h)
    within(r.grad["b eta"], r.stderr["b eta"], by_eta, "eta")
    within(r.grad["b log temperature"], r.stderr["b log temperature"], by_heat, "temperature")


def test_rebar_learns():
    """Descent ends at a smaller variance than it begins with, and than the score function's."""
    f = scg.compile(binary(), strategy=scg.REBAR(), backend="numpy")
    at = {"theta": 0.0, **f.init(0)}
    first = rebar_square(0.0, 1.0, 0.5)
    for step in range(60):
        r = f(at, samples=500, rng=step)
        at = {**at, "b eta": at["b eta"] - 10.0 * r.grad["b eta"],
              "b log temperature": at["b log temperature"] - 10.0 * r.grad["b log temperature"]}
    last = rebar_square(0.0, float(at["b eta"]), float(np.exp(at["b log temperature"])))
    assert last < 0.0159391 + 0.025**2 < first


def test_rebar_in_a_loop_and_of_several_draws():
    def loop(moves: bool) -> scg.Graph:
        g = scg.Graph("loop")
        w = g.param("w", 2)

        def step(carry, x):
            b = g.sample("b", scg.Bernoulli(logits=w[0] + w[1] * (carry if moves else x)))
            new = 0.5 * carry + b
            g.cost("c", (new - 0.3) ** 2)
            return new, None

        g.scan(step, 0.1, xs=np.array([0.2, -0.7, 0.4]))
        return g

    values = {"w": [0.4, -0.2]}
    for moves, estimator in ((True, scg.REBAR(eta=0.5, temperature=1.0)), (False, scg.REBAR())):
        f = scg.compile(loop(moves), strategy=estimator, backend="numpy")
        r = f({**f.init(0), **values}, samples=20_000, rng=0)
        within(r.grad["w"], r.stderr["w"], scg.exact(loop(moves), values).grad["w"], "w")
    pair = scg.Graph("pair")
    b = pair.sample("b", scg.Bernoulli(logits=pair.param("w", 2)))
    pair.cost("c", (b.sum() - 0.3) ** 2)
    check_exact_law(pair, {"w": [0.4, -0.2]}, scg.REBAR(eta=0.5, temperature=1.0))


@pytest.mark.parametrize("cost, why", [
    (lambda g, b: 1.0 * (b > 0.5), "which jumps"), (lambda g, b: 1.0 / (b - 0.5), "grows without bound"),
    (lambda g, b: scg.Categorical(probs=[0.3, 0.7]).log_prob(b), "which jumps"),
    (lambda g, b: g.sample("c", scg.Poisson(rate=1.0 + b)) * 2.0, "drawn from a distribution that moves")])
def test_what_cannot_be_relaxed(cost, why):
    """A relaxed value lies between 0 and 1: what the derivative would miss there is refused, poles included."""
    g = scg.Graph("refused")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
    g.cost("loss", cost(g, b))
    with pytest.raises(scg.ConditionError, match=why):
        derive(g, {"b": scg.REBAR()})


def test_a_kink_is_no_obstacle_to_the_estimator_but_to_its_temperature():
    """The slope jumps where the relaxed value passes the kink, and the temperature moves that; η does not."""
    def graph() -> scg.Graph:
        g = scg.Graph("kink")
        b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
        g.cost("loss", np.maximum(b - 0.3, 0.0) * 2.0)
        return g

    with pytest.raises(scg.ConditionError, match=r'objective "b variance" .* "b log temperature"'):
        derive(graph(), scg.REBAR())
    derive(graph(), scg.REBAR(), wrt=("theta",))
    p = expit(0.4)
    r = scg.compile(graph(), strategy=scg.REBAR(temperature=0.5), backend="numpy")(
        {"theta": 0.4, "b eta": 0.7}, samples=20_000, rng=0)
    within(r.grad["theta"], r.stderr["theta"], 1.4 * p * (1.0 - p), "theta")


def test_what_can_be_relaxed():
    """Poles that the interval avoids; later sites that are paths, or summed out."""
    g = scg.Graph("allowed")
    theta = g.param("theta")
    b = g.sample("b", scg.Bernoulli(logits=theta))
    c = g.sample("c", scg.Bernoulli(logits=b - 0.3))
    g.cost("loss", np.log(1.0 + b) * c + 1.0 / (b + 0.5))
    check_exact_law(g, {"theta": 0.4}, {"b": scg.REBAR(eta=0.7, temperature=1.0), "c": scg.Enumerate()})
    g = scg.Graph("path")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
    z = g.sample("z", scg.Normal(loc=b, scale=0.5))
    g.cost("loss", z**2 + b)
    r = scg.compile(g, strategy={"b": scg.REBAR()}, backend="numpy")(
        {"theta": 0.4, "b eta": 0.3, "b log temperature": 0.0}, samples=20_000, rng=0)
    within(r.grad["theta"], r.stderr["theta"], 2.0 * expit(0.4) * (1.0 - expit(0.4)), "theta")


def test_domains_are_checked_in_relaxed_worlds():
    """A later site may be given a parameter there that it never has otherwise."""
    g = scg.Graph("domain")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
    z = g.sample("z", scg.Normal(loc=0.0, scale=(b - 0.4) ** 2 - 0.01))
    g.cost("loss", z**2)
    f = scg.compile(g, strategy={"b": scg.REBAR(eta=0.5, temperature=1.0)}, backend="numpy")
    with pytest.raises(scg.CallError, match="scale"):
        f({"theta": 0.3}, samples=200, rng=0)
    scg.compile(g, strategy={"b": scg.ScoreFunction()}, backend="numpy")({"theta": 0.3}, samples=200, rng=0)


# --- starting values -------------------------------------------------------------------------------------------------
def test_starting_values():
    g = scg.Graph("init")
    a = g.param("a", 3, init=[1.0, 2.0, 3.0])
    b = g.param("b", (2, 2), init=lambda rng, shape: rng.normal(size=shape))
    c = g.param("c", init=0.5)
    d = g.param("d")
    g.cost("loss", a.sum() + b.sum() + c + d)
    f = scg.compile(g, backend="numpy")
    first, again, other = f.init(0), f.init(0), f.init(1)
    assert list(first) == ["a", "b", "c"] and first["b"].shape == (2, 2) and float(first["c"]) == 0.5
    np.testing.assert_array_equal(first["b"], again["b"])
    assert np.any(first["b"] != other["b"])
    f({**first, "d": 1.0})
    first["a"][0] = 7.0
    assert f.init(0)["a"][0] == 1.0
    alone = scg.Graph("alone")  # a param's value does not depend on what else there is
    alone.cost("loss", alone.param("b", (2, 2), init=lambda rng, shape: rng.normal(size=shape)).sum())
    np.testing.assert_array_equal(scg.compile(alone, backend="numpy").init(0)["b"], again["b"])


@pytest.mark.parametrize("init", [[1.0, 2.0], "a", np.nan, lambda rng, shape: np.zeros(7)])
def test_starting_values_that_cannot_be(init):
    def start():
        g = scg.Graph("init")
        g.cost("loss", g.param("a", 3, init=init).sum())
        scg.compile(g, backend="numpy").init(0)

    with pytest.raises(scg.DeclarationError, match="initial value of param"):
        start()


def test_a_param_that_is_brought_has_a_name_of_its_own():
    g = scg.Graph("names")
    b = g.sample("b", scg.Bernoulli(logits=g.param("b eta")))
    g.cost("loss", b)
    with pytest.raises(scg.EstimatorError, match='named "b eta"'):
        derive(g, scg.REBAR())
    with pytest.raises(scg.CallError, match="b eta"):
        scg.compile(binary(), strategy=scg.REBAR(), backend="numpy")({"theta": 0.3})
    with pytest.raises(scg.DeclarationError, match="no param or node of that name"):
        derive(binary(), scg.REBAR(), wrt=("theta", "nothing"))
    assert list(derive(binary(), scg.REBAR(), wrt=("theta", "b eta")).targets) == ["theta", "b eta"]


# --- verification, and the export ------------------------------------------------------------------------------------
def test_verify_looks_at_the_model_alone():
    values = {"theta": 0.7, "b eta": 0.8, "b log temperature": 0.0}
    assert scg.verify(scg.compile(binary(), strategy=scg.REBAR(), backend="numpy"), values).passed
    g, strategy = rows()
    assert scg.verify(scg.compile(g, strategy=strategy, backend="numpy"), AT).passed


def test_formulas_of_objectives():
    g, strategy = rows()
    f = scg.compile(g, strategy=strategy, backend="numpy")
    text = str(f.surrogate.gradient("w")(0))
    assert "w[0]" in text and "stop_gradient(" in text
    assert 'objective "b baseline" of "w"' in f.explain()
    latex = binary().surrogate(scg.REBAR()).latex()
    parts = r"\log p(b \mid \theta)", r"Q_{b}(b \leftarrow \tilde{z}_{b})", r"Q'_{b}(b \leftarrow z_{b})"
    assert all(part in latex for part in parts)
    assert "b_eta" in str(scg.compile(binary(), strategy=scg.REBAR(), backend="numpy").surrogate.sympy())


def test_the_export_returns_the_same(tmp_path):
    """All kinds in one graph."""
    g = scg.Graph("all")
    theta, w, x = g.param("theta"), g.param("w"), g.data("x")
    a, b, c, d, e = (g.sample(name, scg.Bernoulli(logits=theta * x)) for name in "abcde")
    g.cost("loss", (a - 0.45 * x) ** 2 + (b - 0.3) ** 2 * a + (c * d - 0.1) ** 2 + (e - 0.2) ** 3)
    values = {"theta": 0.7, "w": 0.2, "x": X, "a eta": 0.5, "a log temperature": 0.1}
    f = scg.compile(g, strategy={"a": scg.REBAR(), "b": scg.ScoreFunction(scg.Learned(w * x, centre=True, scale=True)),
                                 ("c", "d"): scg.DisARM(), "e": scg.StraightThrough()})
    reference = scg.compile(g, strategy=f._options["strategy"], backend="numpy")
    f.export(tmp_path / "objectives.py")
    spec = importlib.util.spec_from_file_location("objectives", tmp_path / "objectives.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert "chunk" in compare_functions(module, f._calls.kernel.module)
    module.chunk = f._calls.kernel.function  # its own is the same code, which is seconds to compile
    ours, theirs, third = (call(values, samples=200, rng=3) for call in (f, module.estimate, reference))
    assert set(ours.grad) == {"theta", "w", "a eta", "a log temperature"}
    for name in ours.grad:
        np.testing.assert_array_equal(ours.grad[name], theirs.grad[name])
        np.testing.assert_allclose(ours.grad[name], third.grad[name], rtol=1e-9, atol=1e-12)


# --- a baseline of one's own -----------------------------------------------------------------------------------------
def test_a_baseline_with_an_objective(registry):
    @dataclass(frozen=True, eq=False)
    class Absolute(Baseline):
        """A number that minimises the absolute error, brought along."""

        def value(self, site, signal):
            b = site.param("median", init=0.1)
            return Subtracted(b, objectives=(Objective("absolute", abs(signal - b).sum()),))

    g, strategy = binary(), scg.ScoreFunction(Absolute())
    check_exact_law(g, {"theta": 0.3}, strategy)
    f = scg.compile(g, strategy=strategy, backend="numpy")
    assert f.init(0) == {"b median": 0.1}
    r = f({"theta": 0.3, "b median": 0.25}, samples=1000, rng=0)
    b = f({"theta": 0.3, "b median": 0.25}, samples=1000, rng=0, record=("b",)).record["b"].ravel()
    assert r.grad["b median"] == pytest.approx(np.mean(-np.sign((b - 0.45) ** 2 - 0.25)))


# --- in loops: what a named node or another result of a scan is made of does not count for a cost ---------------------
def actor_critic(named, returned, length=3, dead=False):
    """A learned value of the state in each step of a loop, or of an unrolled one."""
    g = scg.Graph("actor and critic")
    theta, w = g.param("theta"), g.param("w")
    found = []

    def step(state, x):
        value = w * (1.0 + state)
        value = g.node("value", value) if named else value
        if dead:
            g.node("dead", w * state)
        action = g.sample("a", scg.Bernoulli(logits=theta + state))
        g.cost("r", (state + action - x) ** 2)
        found.append(value)
        return 0.8 * state + action, (action, value) if returned else action

    g.scan(step, 0.5, xs=np.array([0.1, 0.4, 0.3])[:length])
    return g, found[0]


@pytest.mark.parametrize("seen", [{"named": True}, {"returned": True}, {"dead": True}], ids=lambda seen: "".join(seen))
def test_a_baseline_that_its_loop_sees_learns(seen):
    """The same gradient as of one that no name or result of the loop holds: w is made into no cost."""
    results = []
    for more in ({}, seen):
        g, value = actor_critic(**{"named": False, "returned": False, **more})
        f = scg.compile(g, strategy=scg.ScoreFunction(scg.Learned(value)), backend="numpy")
        results.append(f({"theta": 0.3, "w": 0.8}, samples=500, rng=0))
    assert abs(results[0].grad["w"]) > 50.0
    for name in ("theta", "w"):
        assert results[1].grad[name] == pytest.approx(results[0].grad[name], rel=1e-10)


def test_a_param_that_a_cost_of_the_loop_is_made_of_belongs_to_the_model():
    """Through the carry of an earlier step too: then no objective moves it."""
    g = scg.Graph("shared")
    theta, w = g.param("theta"), g.param("w")
    found = []

    def step(state, x):
        found.append(w * state)
        action = g.sample("a", scg.Bernoulli(logits=theta + state))
        g.cost("r", (state + action - x) ** 2)
        return 0.8 * state + w * action, None

    g.scan(step, 0.5, xs=np.array([0.1, 0.4, 0.3]))
    strategies = [scg.ScoreFunction(scg.Learned(found[0])), scg.ScoreFunction()]
    one, other = (scg.compile(g, strategy=s, backend="numpy")({"theta": 0.3, "w": 0.8}, samples=20_000, rng=0)
                  for s in strategies)
    within(one.grad["w"] - other.grad["w"], np.hypot(one.stderr["w"], other.stderr["w"]), 0.0, "w")
