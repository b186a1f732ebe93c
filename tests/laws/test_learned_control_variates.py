"""LAX, RELAX, and REBAR of several layers: unbiased whatever was learned, and what is learned lowers the variance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

import scg
from scg.derive import derive
from scg.expectation.exact import integrate
from scg.expectation.law import expected_gradient
from tests.laws.checks.exact_law import TOLERANCE, worst
from tests.laws.checks.sampling import within
from tests.problems import PROBLEMS

RNG = np.random.default_rng(20_260_103)


def anywhere(f, values) -> dict:
    """The values, and the params that the estimators bring somewhere off where they start."""
    rng = np.random.default_rng(3)
    return {**{k: x + 0.7 * rng.normal(size=np.shape(x)) for k, x in f.init(0).items()}, **values}


def toy(cost) -> scg.Graph:
    g = scg.Graph("toy")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
    g.cost("loss", cost(b))
    return g


def normal(cost) -> scg.Graph:
    g = scg.Graph("normal")
    x = g.sample("x", scg.Normal(g.param("m"), g.param("s")))
    g.cost("loss", cost(x))
    return g


def step(x):
    """A black box: it jumps."""
    return 2.0 * (x > 0.3) + x


AT = {"m": 0.7, "s": 1.3}
OF_STEP = {"m": 2.0 * norm.pdf(0.3, 0.7, 1.3) + 1.0, "s": 2.0 * norm.pdf(0.3, 0.7, 1.3) * (0.3 - 0.7) / 1.3}


# --- unbiased, whatever they are -------------------------------------------------------------------------------------
@pytest.mark.parametrize("eta", [1.0, None, -0.6])
def test_lax_is_unbiased_for_any_cost(eta):
    f = scg.compile(normal(step), strategy=scg.LAX(eta=eta), backend="numpy")
    assert f.verdict.unbiased
    values = anywhere(f, AT)
    r = f(values, samples=40_000, rng=0)
    for name, expected in OF_STEP.items():
        within(r.grad[name], r.stderr[name], expected, name)
    plain = scg.compile(normal(step), strategy=scg.ScoreFunction(), backend="numpy")(AT, samples=40_000, rng=0)
    assert plain.grad["m"] != r.grad["m"]  # the net is somewhere


@pytest.mark.parametrize("cost, relaxed", [(lambda b: (b - 0.45) ** 2, True), (lambda b: 2.0 * (b > 0.5) + b, False)])
def test_relax_is_unbiased_for_any_cost(cost, relaxed):
    """By quadrature over both uniforms, at params that are somewhere; a cost that jumps is not relaxed."""
    g = toy(cost)
    f = scg.compile(g, strategy=scg.RELAX(), backend="numpy")
    assert f.verdict.unbiased and ("b eta" in f.init(0)) == relaxed
    values = anywhere(f, {"theta": 0.7, "b log temperature": -np.log(3.0)})
    found = expected_gradient(derive(g, scg.RELAX()), values)
    assert worst({"theta": found.grad["theta"]}, integrate(g, {"theta": 0.7}).grad) < TOLERANCE
    moved = {**values, "b b_surrogate_2": values["b b_surrogate_2"] + 1.0}
    one, other = (f(at, samples=2000, rng=0).grad["theta"] for at in (values, moved))
    assert abs(one - other) > 1e-3  # the net is in it


def test_surrogates_of_one_s_own():
    """Scalar functions of the draw: with params of the graph, which learn if no cost is made of them; of data too."""
    g = scg.Graph("own")
    m, w, y = g.param("m", 2), g.param("w", 2, init=[0.3, -0.2]), g.data("y")
    x = g.sample("x", scg.Normal(m * y, 0.8))
    g.cost("loss", (x.sum() - y) ** 2)
    strategy = scg.LAX(lambda x: w[0] * (x * y).sum() + w[1] * scg.tanh(x).sum(), eta=None)
    f = scg.compile(g, strategy=strategy, backend="numpy")
    rows = np.array([0.5, -1.0])
    values = {**f.init(0), "m": [0.4, -0.2], "y": rows}
    assert set(derive(g, strategy).auxiliary) == {"w", "x eta"}
    r = f(values, samples=40_000, rng=0)
    slope = np.mean(2.0 * (0.2 * rows - rows) * rows)
    within(r.grad["m"], r.stderr["m"], np.array([slope, slope]), "m")

    h = scg.Graph("one hot")
    k = h.sample("k", scg.OneHotCategorical(logits=h.param("t", 3)), shape=2)
    h.cost("loss", 1.0 * (k[0] @ np.array([1.0, 2.0, -1.0]) > k[1, 1]))
    strategy = scg.RELAX(surrogate=lambda y: (y[0] * y[1]).sum() - 2.0 * y[0, 1], temperature=0.7)
    t = np.array([0.3, -1.0, 0.8])
    r = scg.compile(h, strategy=strategy, backend="numpy")({"t": t}, samples=40_000, rng=0)
    within(r.grad["t"], r.stderr["t"], scg.exact(h, {"t": t}).grad["t"], "t")


def test_signals_of_draws_have_a_number_each():
    """Costs that are sums over draws: each draw is weighed by what is made of it, and by the net of it alone."""
    g = scg.Graph("many")
    x = g.sample("x", scg.Normal(g.param("m", (3, 2)), 0.7))
    g.cost("loss", (x[:, 0] * x[:, 1] - 0.3) ** 2)
    f = scg.compile(g, strategy=scg.LAX(), backend="numpy")
    assert f.init(0)["x W_surrogate_1"].shape == (2, 10)
    m = RNG.normal(size=(3, 2))
    r = f(anywhere(f, {"m": m}), samples=40_000, rng=0)
    other = m[:, ::-1]
    expected = 2.0 * m * (other**2 + 0.49) - 0.6 * other
    within(r.grad["m"], r.stderr["m"], expected, "m")


# --- several layers --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["two_layer_net", "chain", "one_hot_pair"])
@pytest.mark.parametrize("estimator", [scg.REBAR(eta=0.7, temperature=0.8), scg.RELAX()], ids=["REBAR", "RELAX"])
def test_several_layers(name, estimator):
    """Later sites are relaxed too, where a relaxed value moves them."""
    p = PROBLEMS[name]()
    f = scg.compile(p.graph, strategy=estimator, backend="numpy")
    r, exact = f(anywhere(f, p.values), samples=20_000, rng=1), integrate(p.graph, p.values)
    for param, expected in exact.grad.items():
        within(r.grad[param], r.stderr[param], expected, param)


def categories() -> tuple[scg.Graph, dict]:
    g = scg.Graph("two layers of categories")
    x = g.sample("x", scg.OneHotCategorical(logits=g.param("t", 3)))
    y = g.sample("y", scg.OneHotCategorical(logits=x @ g.param("W", (3, 3))))
    g.cost("loss", (y @ np.array([1.0, -2.0, 0.5]) + x[0]) ** 2)
    return g, {"t": np.array([0.3, -1.0, 0.8]), "W": np.random.default_rng(0).normal(size=(3, 3))}


def test_layers_of_categories_at_less_variance():
    g, values = categories()
    f, plain = (scg.compile(g, strategy=s, backend="numpy") for s in (scg.REBAR(), scg.ScoreFunction()))
    r, r0 = f({**f.init(0), **values}, samples=20_000, rng=1), plain(values, samples=20_000, rng=1)
    exact = scg.exact(g, values)
    for name in ("t", "W"):
        within(r.grad[name], r.stderr[name], exact.grad[name], name)
    assert np.sum(r.stderr["t"] ** 2) < 0.8 * np.sum(r0.stderr["t"] ** 2)


@pytest.mark.parametrize("names", [("t", "x eta"), pytest.param(("x log temperature",), marks=pytest.mark.full)])
def test_formulas_of_relaxed_categories(names):
    """The objective has choices in sums, whose parts have names."""
    g = scg.Graph("one hot")
    g.cost("loss", (g.sample("x", scg.OneHotCategorical(logits=g.param("t", 2))) @ np.array([1.0, -2.0])) ** 2)
    f = scg.compile(g, strategy=scg.REBAR(), backend="numpy")
    values = {**f.init(0), "t": [0.3, -0.4]}
    e, r = f.surrogate.evaluate(values, samples=3, rng=1), f(values, samples=3, rng=1)
    for name in names:
        np.testing.assert_allclose(np.mean(e.gradient(name), axis=(0, 1)), r.grad[name], rtol=1e-8, atol=1e-10)


def test_temperatures_are_learned_through_later_layers():
    """The derivative of E g² in the temperature, by differences under one seed: through later relaxed draws too."""
    p = PROBLEMS["tiny_net"]()
    f = scg.compile(p.graph, strategy=scg.REBAR(), backend="numpy")
    at, h, n = {**f.init(0), **p.values}, 1e-4, 4000

    def square(move: float) -> float:
        r = f({**at, "h1 log temperature": at["h1 log temperature"] + move}, samples=n, rng=0)
        g = ("W1", "b1")  # the logits' own gradient is that in b1
        return float(np.sum(r.stderr[g[1]] ** 2) * n + np.sum(r.grad[g[1]] ** 2))

    found = f(at, samples=n, rng=0).grad["h1 log temperature"]
    assert found == pytest.approx((square(h) - square(-h)) / (2 * h), rel=2e-3)


# --- learning --------------------------------------------------------------------------------------------------------
def trained(f, values, rate: float, steps: int) -> dict:
    """Descent of the objectives by Adam, under seeds of its own; the model stays."""
    own = {k: np.array(v) for k, v in f.init(1).items()}
    m, v = ({k: np.zeros_like(x) for k, x in own.items()} for _ in range(2))
    for i in range(1, steps + 1):
        r = f({**values, **own}, samples=200, rng=i)
        for k in own:
            m[k] = 0.9 * m[k] + 0.1 * r.grad[k]
            v[k] = 0.99 * v[k] + 0.01 * r.grad[k] ** 2
            own[k] = own[k] - rate * (m[k] / (1 - 0.9**i)) / (np.sqrt(v[k] / (1 - 0.99**i)) + 1e-9)
    return {**values, **own}


def test_what_lax_learns_lowers_the_variance():
    f = scg.compile(normal(step), strategy=scg.LAX(), backend="numpy")
    before, after = (f(at, samples=20_000, rng=0) for at in ({**f.init(1), **AT}, trained(f, AT, 0.02, 250)))
    assert before.stderr["m"] == pytest.approx(  # the net starts at 0: this is the score function
        scg.compile(normal(step), strategy=scg.ScoreFunction(), backend="numpy")(AT, samples=20_000, rng=0).stderr["m"])
    for name in AT:
        assert after.stderr[name] ** 2 < 0.35 * before.stderr[name] ** 2
        within(after.grad[name], after.stderr[name], OF_STEP[name], name)


def test_what_relax_learns_beats_what_rebar_learns():
    """Of a cost that jumps between the values, which REBAR refuses: the variance falls below the score function's."""
    g = toy(lambda b: 2.0 * (b > 0.5) + b)
    with pytest.raises(scg.ConditionError, match="which jumps"):
        derive(g, scg.REBAR())
    f = scg.compile(g, strategy=scg.RELAX(), backend="numpy")
    values = {"theta": 0.4}
    before, after = (f(at, samples=20_000, rng=0) for at in ({**f.init(1), **values}, trained(f, values, 0.02, 200)))
    assert after.stderr["theta"] ** 2 < 0.2 * before.stderr["theta"] ** 2
    within(after.grad["theta"], after.stderr["theta"], 3.0 * expit(0.4) * expit(-0.4), "theta")


@pytest.mark.parametrize("cost, relaxed", [(lambda b: (b - 0.45) ** 2, True), (lambda b: np.floor(b + 0.5), False),
                                           (lambda b: 1.0 / (b - 0.5), False)])
def test_whether_costs_are_relaxed_is_what_rebar_is_refused_by(cost, relaxed):
    """RELAX takes the costs at relaxed values where REBAR may, and its function alone where not."""
    found = {m.name.text for m in derive(toy(cost), scg.RELAX()).draft.marks}
    assert ("eta(@)" in found) == relaxed
    if relaxed:
        derive(toy(cost), scg.REBAR())
    else:
        with pytest.raises(scg.ConditionError):
            derive(toy(cost), scg.REBAR())


def test_gradients_of_the_objective():
    """That of E g² in every param of the net and in η, by differences under one seed."""
    f = scg.compile(toy(lambda b: (b - 0.45) ** 2), strategy=scg.RELAX(), backend="numpy")
    at, n, h = anywhere(f, {"theta": 0.4}), 2000, 1e-5
    r = f(at, samples=n, rng=0)

    def square(values) -> float:
        r = f(values, samples=n, rng=0)
        return float(r.stderr["theta"] ** 2 * n + r.grad["theta"] ** 2)

    for name in f.init(0):
        where = (0,) * np.ndim(at[name])
        moved = []
        for by in (h, -h):
            other = np.array(at[name], dtype=float)
            other[where] += by
            moved.append(square({**at, name: other}))
        assert r.grad[name][where] == pytest.approx((moved[0] - moved[1]) / (2 * h), rel=2e-3, abs=1e-8), name


# --- what is refused -------------------------------------------------------------------------------------------------
# Sums of exponentials, as a function has them, which asks whether the sum is 0, and written out.
GUARDED = (lambda x: scg.logmeanexp(x) + scg.logaddexp(x[0], 2.0 * x[1]) + scg.log_softmax(x)[1],
           lambda x: (np.log(np.exp(x).mean()) + np.log(np.exp(x[0]) + np.exp(2.0 * x[1])) + x[1]
                      - np.log(np.exp(x).sum())))


def test_sums_of_exponentials_are_no_jump_to_what_is_learned():
    """A comparison whose outcome is known for certain is none: second derivatives are those of the sum written out."""
    def bound(cost):
        g = scg.Graph("bound")
        h = g.sample("h", scg.Bernoulli(logits=g.param("theta", 3)))
        g.cost("loss", -cost(h * np.array([1.0, -0.5, 2.0])))
        return g

    theta = np.array([0.3, -0.2, 0.5])
    for estimator in (scg.REBAR(), scg.RELAX()):
        one, two = (scg.compile(bound(cost), strategy=estimator, backend="numpy") for cost in GUARDED)
        one, two = (f(anywhere(f, {"theta": theta}), samples=200, rng=0).grad for f in (one, two))
        assert one.keys() == two.keys() and "h log temperature" in one
        for name in one:
            np.testing.assert_allclose(one[name], two[name], atol=1e-9 * (1.0 + np.max(np.abs(two[name]))))
    with pytest.raises(scg.ConditionError, match=r"kink of max.*slope that jumps"):
        scg.compile(bound(lambda x: np.max(x)), strategy=scg.REBAR(), backend="numpy")


def test_surrogates_that_cannot_be():
    g = normal(step)
    x = g.nodes["x"]
    other = scg.Graph("other").param("w")
    for surrogate, why in ((lambda y: y * x, "own draw besides its argument"), (lambda y: scg.stack([y, y]), "shape"),
                           (lambda y: y * other, "another graph")):
        with pytest.raises(scg.EstimatorError, match=why):
            derive(g, scg.LAX(surrogate))
    with pytest.raises(scg.ConditionError, match="which jumps"):
        derive(g, scg.LAX(lambda y: 1.0 * (y > 0.0)))
    for wrong, why in ((dict(surrogate=3), "Give a function"), (dict(eta="a"), "finite number"),
                       (dict(surrogate=scg.tanh, credit="elements"), "stands for all costs")):
        with pytest.raises(scg.EstimatorError, match=why):
            scg.LAX(**wrong)
        with pytest.raises(scg.EstimatorError, match=why):
            scg.RELAX(**wrong)


# --- in loops --------------------------------------------------------------------------------------------------------
def bit(log_odds):
    return scg.Bernoulli(logits=log_odds)


def about(loc):
    return scg.Normal(loc, 0.7)


def steps(loop, family, make):
    """Two draws in each step, of which the first moves the second, and both move those of the next step."""
    g = scg.Graph("steps")
    t, s, e, h = (g.param(name, init=at) for name, at in (("t", 0.4), ("s", 0.3), ("e", 0.7), ("h", -0.5)))

    def step(carry, x, i=""):
        a = g.sample(f"a{i}", family(t * carry), estimator=make(e, scg.exp(h)))
        b = g.sample(f"b{i}", family(s * a - 0.2 * carry), estimator=make(e, scg.exp(h)))
        g.cost(f"c{i}", (b - 0.45 * x) ** 2 * (1.0 + 0.1 * carry) + 0.3 * a * b + 0.2 * (a - 0.3) ** 3)
        return 0.4 + 0.2 * b + 0.1 * carry - 0.2 * a

    xs, carry = np.linspace(1.0, 2.0, 2), 0.5
    if loop:
        g.scan(lambda carry, x: (step(carry, x), None), carry, xs=xs)
    else:
        for i, x in enumerate(xs):
            carry = step(carry, x, i)
    return g


@pytest.mark.parametrize("family, make", [
    pytest.param(bit, lambda e, h: scg.REBAR(eta=e, temperature=h), marks=pytest.mark.full),
    pytest.param(about, lambda e, h: scg.Delta(eta=e), marks=pytest.mark.full),
    (bit, lambda e, h: scg.DoubleCV(eta=e)),
    pytest.param(about, lambda e, h: scg.DoubleCV(eta=e), marks=pytest.mark.full),
], ids=["REBAR", "Delta", "DoubleCV of bits", "DoubleCV"])
def test_steps_of_a_loop_are_as_sites_of_their_own(family, make):
    """Gradients, and those of the objectives, in which later draws are moved by those of a step, too."""
    loop, unrolled = (scg.compile(steps(looped, family, make), backend="numpy") for looped in (True, False))
    one, other = (f(f.init(0), samples=12_000, rng=i) for i, f in enumerate((loop, unrolled)))
    for name in loop.init(0):
        off = one.grad[name] - other.grad[name]
        assert abs(off) <= 5.0 * np.hypot(one.stderr[name], other.stderr[name]), name
    assert abs(one.grad["e"]) > 5.0 * one.stderr["e"]


@pytest.mark.parametrize("estimator", [scg.DoubleCV(eta=0.5), scg.RODEO(eta=0.5)])
def test_slopes_of_all_steps_are_one_pass(estimator):
    """At the draws nothing is replaced: no step needs a loop of its own."""
    f = scg.compile(steps(True, bit, lambda e, h: estimator), backend="numpy")
    assert f.explain().count("  evaluations  1: the replicate itself\n") == 2


@pytest.mark.parametrize("estimator, family", [
    pytest.param(scg.LAX(), lambda t: scg.Normal(loc=t, scale=1.0), marks=pytest.mark.full),
    pytest.param(scg.RELAX(), lambda t: scg.Bernoulli(logits=t), marks=pytest.mark.full),
    pytest.param(scg.DoubleCV(), lambda t: scg.Bernoulli(logits=t), marks=pytest.mark.full),
    (scg.GradientCritic(), lambda t: scg.Bernoulli(logits=t))], ids=["LAX", "RELAX", "DoubleCV", "GradientCritic"])
def test_what_all_steps_learn_lowers_the_variance(estimator, family):
    g = scg.Graph("handed on")
    t = g.param("t")

    def step(carry, x):
        z = g.sample("z", family(t * carry))
        g.cost("c", (z - 0.45 * x) ** 2)
        return 1.0 + 0.5 * z, None

    g.scan(step, 1.0, xs=np.linspace(1.0, 2.0, 3))
    f = scg.compile(g, strategy=estimator, backend="numpy")
    values, plain = {"t": 0.4}, scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")
    after = f(trained(f, values, 0.03, 150), samples=4_000, rng=0)
    reference = plain(values, samples=20_000, rng=1)
    off = after.grad["t"] - reference.grad["t"]
    assert abs(off) < 5.0 * np.hypot(after.stderr["t"], reference.stderr["t"])
    assert after.stderr["t"] ** 2 * 4_000 < 0.8 * reference.stderr["t"] ** 2 * 20_000
    assert all(np.shape(v)[:1] != (3,) for v in f.init(0).values())  # of a step, and not of each


@pytest.mark.parametrize("make, family, cost", [
    (lambda c, z, w: scg.LAX(lambda y: w * y * c + z * y**2), lambda t: scg.Normal(t, 1.0), scg.floor),
    (lambda c, z, w: scg.RELAX(surrogate=lambda y: w * y * c + z * y**2), lambda t: scg.Bernoulli(logits=t), scg.floor),
    (lambda c, z, w: scg.RODEO(surrogate=lambda y: w * y * c + z * y), lambda t: scg.Bernoulli(logits=t), np.exp),
], ids=["LAX", "RELAX", "RODEO"])
def test_a_surrogate_of_one_s_own_in_a_loop(make, family, cost):
    """It is a number of each step, and may read what the step knows before it draws: a carry, and another draw."""
    def graph(make):
        g = scg.Graph("own")
        t, w = g.param("t", init=0.4), g.param("w", init=0.3)

        def step(carry, x):
            z = g.sample("z", scg.Bernoulli(logits=t * x))
            b = g.sample("b", family(t * carry + 0.3 * z), estimator=make(carry, z, w))
            g.cost("c", x * cost(2.0 * b + z) * carry)
            return 1.0 + 0.5 * b - 0.2 * z, None

        g.scan(step, 1.0, xs=np.linspace(1.0, 2.0, 2))
        return scg.compile(g, backend="numpy")

    own, plain = graph(make), graph(lambda carry, z, w: scg.ScoreFunction())
    one, other = own(own.init(0), samples=20_000, rng=0), plain(plain.init(0), samples=20_000, rng=1)
    assert abs(one.grad["t"] - other.grad["t"]) < 5.0 * np.hypot(one.stderr["t"], other.stderr["t"])
    assert one.grad["w"] != 0.0  # the objective learns it


def test_a_surrogate_of_another_loop_s_step():
    g = scg.Graph("two loops")
    t, inside = g.param("t"), []

    def first(carry, x):
        inside.append(carry)
        return carry + x, None

    g.scan(first, 0.0, xs=np.ones(3))

    def second(carry, x):
        g.cost("c", g.sample("x", scg.Normal(t, 1.0), estimator=scg.LAX(lambda y: inside[0] * y)) * x)
        return carry, None

    g.scan(second, 0.0, xs=np.ones(3))
    with pytest.raises(scg.EstimatorError, match=r'sample "x".*inside the steps of another loop'):
        derive(g, None)
