"""Sites inside scans: which come first, summing a site out of all steps, mean-field passes and fresh noise by step."""

import numpy as np
import pytest

import scg
from scg.analysis.influence import sites
from scg.derive import derive
from scg.expectation.exact import integrate
from tests.laws.checks.exact_law import check_exact_law, redraws, unbiased_estimators
from tests.laws.checks.sampling import within
from tests.refused import REFUSED

VALUES = {"t": 0.3, "s": -0.4}


def bernoulli(logits):
    return scg.Bernoulli(logits=logits)


def pair(step, length=2):
    """A scan with the sites a and b; ``step(draw, t, s, a, b)`` draws them, given what they were in the step before."""
    g = scg.Graph("pair")
    t, s = g.param("t"), g.param("s")

    def run(carry, x):
        a, b = step(lambda name, logits: g.sample(name, bernoulli(logits)), t, s, *carry)
        return (a, b), np.exp(0.7 * a - b * carry[0]) + 0.3 * carry[1]

    (a, b), ys = g.scan(run, (0.0, 0.0), length=length)
    g.cost("inside", ys)
    g.cost("after", (a + 2.0 * b - 0.45) ** 2)
    return g


def a_leads_to_b(draw, t, s, a, b):
    a = draw("a", t)
    return a, draw("b", s + t * a)


def b_leads_to_a_in_the_next_step(draw, t, s, a, b):
    return draw("a", t + s * b), draw("b", s - t)


ONE_WAY = {"a": (a_leads_to_b, ["a", "b"]), "b": (b_leads_to_a_in_the_next_step, ["b", "a"])}


@pytest.mark.parametrize("first", ONE_WAY)
def test_a_site_that_leads_to_another_comes_first(first):
    """Also where it is drawn later in the step, and leads there through a carry."""
    step, order = ONE_WAY[first]
    assert [site_node.name for site_node in sites(list(pair(step).costs.values()))] == order


@pytest.mark.one_in(3)
@pytest.mark.parametrize("first", ONE_WAY)
@pytest.mark.parametrize("summed", ["a", "b"])
@pytest.mark.parametrize("other", [e for e in unbiased_estimators() if not e.passes_gradient and not redraws(e)
                                   and getattr(e, "noise", None) != "fresh"], ids=str)
def test_summing_out_beside_another_site(first, summed, other):
    g = pair(ONE_WAY[first][0])
    strategy = {"a": other, "b": other, summed: scg.Enumerate()}
    if (said := REFUSED.get(("scan_of_one_step", type(other).__name__))) is not None:  # in any loop
        with pytest.raises(scg.EstimatorError, match=said):
            scg.compile(g, strategy=strategy, backend="numpy")
        return
    check_exact_law(g, VALUES, strategy)


def path_and_coin(loop):
    """Two steps of a normal site a, and a coin b that it tosses and that moves it in the next step."""
    g = scg.Graph("mixed")
    t, s = g.param("t"), g.param("s")

    def step(c, name):
        a = g.sample(f"a{name}", scg.Normal(loc=t + 0.5 * c, scale=0.7))
        b = g.sample(f"b{name}", bernoulli(s * a))
        return a * b - c, np.tanh(a + b)

    if loop:
        last, ys = g.scan(lambda c, x: step(c, ""), 0.2, length=2)
    else:
        middle, first = step(0.2, "[0]")
        last, second = step(middle, "[1]")
        ys = first + second
    g.cost("ys", ys)
    g.cost("last", last**2)
    return g


def test_summing_out_beside_a_path_that_leads_there_and_back():
    f = scg.compile(path_and_coin(loop=True), strategy={"a": scg.Pathwise(), "b": scg.Enumerate()}, backend="numpy")
    r, exact = f(VALUES, samples=40_000, rng=1), scg.exact(path_and_coin(loop=False), VALUES)
    for name in VALUES:
        within(r.grad[name], r.stderr[name], exact.grad[name], name)


def test_nothing_is_drawn_of_what_is_summed_out():
    g = pair(a_leads_to_b, length=3)
    r = scg.compile(g, strategy=scg.Enumerate(), backend="numpy")(VALUES, samples=4, rng=0)
    exact = integrate(g, VALUES)
    assert r.cost == pytest.approx(exact.cost, abs=1e-12)
    assert all(abs(r.grad[name] - exact.grad[name]) < 1e-12 and r.stderr[name] < 1e-12 for name in VALUES)


@pytest.mark.parametrize("strategy", [scg.ScoreFunction(), scg.LocalExpectation(), scg.Enumerate()], ids=str)
@pytest.mark.parametrize("other", [False, True])
def test_a_cost_of_each_step_that_reads_the_outside_alone(strategy, other):
    """Three steps pay 2 s each, whether something is drawn in them or not."""
    g = scg.Graph("outside")
    t = g.param("t")
    s = g.sample("s", scg.Bernoulli(logits=t))

    def step(c, y):
        g.cost("each", s * 2.0)
        return c + (g.sample("z", scg.Bernoulli(logits=y)) if other else 1.0), None

    g.cost("last", g.scan(step, 0.0, xs=np.array([1.0, 2.0, 3.0]))[0])
    f = scg.compile(g, strategy=strategy, backend="numpy")
    assert scg.verify(f, {"t": 0.4}).passed
    p = 1 / (1 + np.exp(-0.4))
    assert scg.exact(g, {"t": 0.4}).grad["t"] == pytest.approx(6 * p * (1 - p))


def test_all_steps_together_have_limits_of_their_own():
    g = scg.Graph("counted")
    t = g.param("t")
    count, _ = g.scan(lambda c, x: (c + t * g.sample("a", bernoulli(t * c)), None), 0.0, length=17)
    g.cost("last", count**2)
    with pytest.raises(scg.EstimatorError, match=r"in all its steps.*is known at a call only"):
        derive(g, scg.Enumerate())


@pytest.mark.parametrize("rollout", [False, True])
def test_the_control_variate_is_exact_where_a_steps_cost_is_linear(rollout):
    """Costs of other steps are in neither the signal nor the mean-field pass of a step: nothing is left to vary."""
    g = scg.Graph("linear")
    t = g.param("t")
    _, ys = g.scan(lambda c, x: (c, x * g.sample("b", bernoulli(t + x))), 0.0, xs=np.array([0.5, -1.0, 2.0]))
    g.cost("ys", ys)
    f = scg.compile(g, strategy=scg.MuProp(rollout=rollout), backend="numpy")
    r = f({"t": 0.3}, samples=100, rng=0)
    assert r.stderr["t"] < 1e-12
    assert r.grad["t"] == pytest.approx(scg.exact(g, {"t": 0.3}).grad["t"], abs=1e-12)


def test_a_rollout_keeps_what_was_drawn_before():
    """A step is expanded about what the step before it drew: where the cost compares them, less is left to vary."""
    g = scg.Graph("chain")
    t = g.param("t")

    def step(c, x):
        h = g.sample("h", bernoulli(t + c))
        return h, (h - c) ** 2

    g.cost("changes", g.scan(step, 0.0, length=3)[1])
    errors = [scg.compile(g, strategy=scg.MuProp(rollout=r), backend="numpy")({"t": 0.3}, samples=4000, rng=0)
              .stderr["t"] for r in (True, False)]
    assert errors[0] < errors[1]


def test_a_trunk_is_moved_through_later_means():
    """The first of two steps matters through the second one's distribution only; both kinds of pass see that alike.

    The first step is expanded in the same place by both, and the second one's cost is linear.
    """
    g = scg.Graph("chain")
    t = g.param("t")
    last, _ = g.scan(lambda c, x: (g.sample("h", bernoulli(t + 2.0 * c)), None), 0.0, length=2)
    g.cost("last", last)
    functions = [scg.compile(g, strategy=scg.MuProp(rollout=r), backend="numpy") for r in (True, False)]
    rollout, mean_field = (f({"t": 0.3}, samples=500, rng=0) for f in functions)
    assert rollout.stderr["t"] == pytest.approx(mean_field.stderr["t"], rel=1e-10)
    assert rollout.grad["t"] == pytest.approx(mean_field.grad["t"], rel=1e-10)


def test_fresh_noise_draws_later_steps_again():
    """In the worlds of a step, later draws come from streams of their own: right, and less alike than with the same."""
    g = pair(a_leads_to_b)
    exact = integrate(g, VALUES)
    found = {noise: scg.compile(g, strategy=scg.WeakDerivative(noise=noise), backend="numpy")
             (VALUES, samples=50_000, rng=3) for noise in ("common", "fresh")}
    for r in found.values():
        within(r.grad["t"], r.stderr["t"], exact.grad["t"], "t")
    assert found["fresh"].stderr["t"] > 1.1 * found["common"].stderr["t"]
