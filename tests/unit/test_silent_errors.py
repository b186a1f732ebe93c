"""Gradients that would be wrong without a word: what cannot be right is refused, what can be is right."""

import numpy as np
import pytest

import scg
from scg.derivation import derive
from tests.laws.checks.exact_law import check_exact_law


def graph(dist, loss=lambda x: x * x, shape=()) -> scg.Graph:
    """One site "x" of the family that `dist` makes of a param, and a cost of it."""
    g = scg.Graph("one")
    x = g.sample("x", dist(g.param("m", shape)))
    g.cost("loss", loss(x))
    return g


# --- a weak derivative for every parameter that is differentiated ----------------------------------------------------
@pytest.mark.parametrize("dist", [
    lambda m: scg.Gamma(concentration=m, rate=m), lambda m: scg.Gamma(concentration=m, rate=2.0 * m),
    lambda m: scg.Gamma(concentration=m * m, rate=m), lambda m: scg.Gamma(concentration=m, rate=1.0)])
def test_a_parameter_without_a_weak_derivative_may_be_an_ancestor_of_one_that_has_one(dist):
    with pytest.raises(scg.EstimatorError, match="in concentration is known"):
        derive(graph(dist), scg.WeakDerivative())


@pytest.mark.parametrize("dist", [
    lambda m: scg.Normal(loc=m, scale=m), lambda m: scg.Uniform(low=-m, high=m),
    lambda m: scg.Gamma(concentration=2.0, rate=m)])
def test_weak_derivatives_of_parameters_given_by_one_node_are_summed(dist):
    g = graph(dist)
    r = scg.compile(g, strategy=scg.WeakDerivative(), backend="numpy")({"m": 1.5}, samples=20_000, rng=0)
    exact = scg.exact(g, {"m": 1.5}).grad["m"]
    assert abs(r.grad["m"] - exact) < 5 * r.stderr["m"]


# --- baselines that hold what other estimators have replaced ---------------------------------------------------------
def scanned(b_first: bool):
    """Two sites in one scan, a cost of both; and what the scan returns."""
    g = scg.Graph("scanned")
    m = g.param("m")

    def step(s, _):
        draws = {"b": lambda: g.sample("b", scg.Bernoulli(logits=m)),
                 "z": lambda: g.sample("z", scg.Normal(loc=m, scale=1.0))}
        found = {name: draws[name]() for name in ("bz" if b_first else "zb")}
        b, z = found["b"], found["z"]
        g.cost("c", b * z + b)
        return s + b, (b, z)

    return g, *g.scan(step, 0.0, length=3)


@pytest.mark.parametrize("b_first", [True, False])
@pytest.mark.parametrize("node", [lambda last, ys: last, lambda last, ys: ys[0], lambda last, ys: ys[1]])
def test_a_baseline_on_its_own_scan_is_refused_whatever_its_siblings_do(b_first, node):
    g, last, ys = scanned(b_first)
    for other in (scg.Pathwise(), scg.ScoreFunction(), scg.WeakDerivative()):
        with pytest.raises(scg.BaselineError, match="own sample, along scan"):
            derive(g, {"b": scg.ScoreFunction(scg.Expression(node(last, ys))), "z": other})


def test_a_baseline_on_a_replaced_site_that_its_own_sample_reaches_is_refused():
    g = scg.Graph("downstream")
    b = g.sample("b", scg.Bernoulli(logits=g.param("m")))
    z = g.sample("z", scg.Normal(loc=b, scale=1.0))
    k = g.sample("k", scg.Bernoulli(logits=0.5 * b))
    g.cost("c", (b + z - k) ** 2)
    for node, other in ((z, {"z": scg.Pathwise()}), (k, {"k": scg.Enumerate()})):
        with pytest.raises(scg.BaselineError, match='own sample, along sample "b"'):
            derive(g, {"b": scg.ScoreFunction(scg.Expression(node)), **other})


def test_a_node_of_a_step_is_no_baseline():
    g, seen = scg.Graph("leak"), []

    def step(s, _):
        seen.append(s)
        b = g.sample("b", scg.Bernoulli(logits=g.params["m"] + s))
        g.cost("c", b + s)
        return b, None

    g.param("m")
    g.scan(step, 0.0, length=3)
    with pytest.raises(scg.BaselineError, match=r"inside a scan's step.*as part of ys"):
        derive(g, {"b": scg.ScoreFunction(scg.Expression(seen[0]))})


OTHERS = [scg.ScoreFunction(), scg.ScoreFunction(scg.LeaveOneOut()), scg.WeakDerivative(), scg.MuProp(),
          scg.Enumerate(), scg.LocalExpectation()]


@pytest.mark.parametrize("other", OTHERS, ids=str)
@pytest.mark.parametrize("late", [True, False])
def test_a_baseline_on_another_site_obeys_the_exact_law(other, late):
    """Its estimator comes before or after that of the site whose baseline it is, and leaves it as it was."""
    g = scg.Graph("two")
    m, t = g.param("m"), g.param("t")
    if late:
        x = g.sample("x", scg.Bernoulli(logits=t))
        b = g.sample("b", scg.Bernoulli(logits=m + x))
    else:
        b = g.sample("b", scg.Bernoulli(logits=m))
        x = g.sample("x", scg.Bernoulli(logits=t + m))
    g.cost("c", (b - 0.3 + x * m) ** 2 + x * b)
    for node in (x * 2.0 + t, scg.exp(x - m)):
        check_exact_law(g, {"m": 0.4, "t": -0.6}, {"b": scg.ScoreFunction(scg.Expression(node)), "x": other})


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_a_baseline_on_a_site_of_another_scan_obeys_the_exact_law(other):
    g = scg.Graph("scans")
    m, t = g.param("m"), g.param("t")
    last, ys = g.scan(lambda s, _: (g.sample("x", scg.Bernoulli(logits=t + s)),) * 2, 0.0, length=2)

    def step(s, x):
        b = g.sample("b", scg.Bernoulli(logits=m + s * x))
        g.cost("c", (b + 0.5 * x - m) ** 2)
        return b, None

    g.scan(step, 0.0, xs=ys)
    for node in (ys, last - t):
        chosen = {"b": scg.ScoreFunction(scg.Expression(node)), "x": other}
        if isinstance(other, scg.Enumerate):
            with pytest.raises(scg.EstimatorError, match="inside a scan"):
                derive(g, chosen)
        else:
            check_exact_law(g, {"m": 0.4, "t": -0.6}, chosen)


@pytest.mark.parametrize("in_scan", [True, False])
def test_a_baseline_reads_the_same_draws_whatever_is_done_to_their_site(in_scan):
    """Strategies share their noise, so the gradient through the other site is the same to the bit but for rounding."""
    g = scg.Graph("draws")
    m, t = g.param("m"), g.param("t")
    if in_scan:
        z, _ = g.scan(lambda s, _: (s + g.sample("z", scg.Normal(loc=t, scale=1.0)), None), 0.0, length=2)
    else:
        z = g.sample("z", scg.Normal(loc=t, scale=1.0))
    b = g.sample("b", scg.Bernoulli(logits=m))
    g.cost("c", (b + z) ** 2)
    found = []
    for other in (scg.Pathwise(), scg.ScoreFunction(), scg.WeakDerivative()):
        f = scg.compile(g, strategy={"b": scg.ScoreFunction(scg.Expression(z * z + 0.5)), "z": other}, backend="numpy")
        found.append(f({"m": 0.3, "t": 0.2}, samples=200, rng=1))
    assert np.ptp([r.grad["m"] for r in found]) < 1e-12
    plain = scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")({"m": 0.3, "t": 0.2}, samples=200, rng=1)
    assert found[0].stderr["m"] < 0.8 * plain.stderr["m"]
