"""The majorising surrogate: nowhere less than the expected cost, and at the old params equal, with its gradient."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.derive import derive
from scg.expectation.exact import integrate
from scg.expectation.law import expected_by_kernel, expected_gradient
from tests.laws.checks.exact_law import TOLERANCE, worst
from tests.laws.checks.sampling import within


def chain() -> scg.Graph:
    """Two sites, the second of which the first moves, and a cost of each."""
    g = scg.Graph("chain")
    w = g.param("w", 2, init=[0.1, 0.2])
    a = g.sample("a", scg.Bernoulli(logits=w[0]))
    b = g.sample("b", scg.Bernoulli(logits=w[1] * a - 0.3 * w[0]), shape=2)
    g.cost("one", -((a - 1.3) ** 2))
    g.cost("two", (b.sum() - 0.4) * a - 2.0)
    return g


def loop() -> scg.Graph:
    g = scg.Graph("loop")
    w = g.param("w", 2)

    def step(carry, x):
        s = g.sample("s", scg.Bernoulli(logits=w[0] + w[1] * carry + x))
        new = 0.5 * carry + s
        g.cost("c", -((new - 0.3) ** 2))
        return new, None

    g.scan(step, 0.2, xs=np.array([0.1, -0.4, 0.3]))
    return g


def categories() -> scg.Graph:
    g = scg.Graph("categories")
    k = g.sample("k", scg.Categorical(logits=g.param("w", 2) @ np.array([[1.0, 0.0, -0.5], [0.2, 0.7, 0.0]])))
    g.cost("c", scg.take([-1.0, -0.2, -3.0], k))
    return g


OLD = np.array([0.4, -0.7])


@pytest.mark.parametrize("build", [chain, loop, categories])
@pytest.mark.by_python(by=expected_by_kernel)
@pytest.mark.parametrize("by", [expected_gradient, expected_by_kernel])
def test_it_touches_where_the_draws_are_from(build, by):
    g = build()
    found, exact = by(derive(g, scg.UpperBound()), {"w": OLD, "w old": OLD}), integrate(g, {"w": OLD})
    assert found.cost == pytest.approx(exact.cost, abs=TOLERANCE) and worst(found.grad, exact.grad) < TOLERANCE


@pytest.mark.parametrize("build", [chain, loop, categories])
def test_it_is_no_less_than_the_expected_cost_anywhere(build):
    """In expectation, exactly, at random params; and its gradient is that of the bound, by differences."""
    g, rng = build(), np.random.default_rng(5)
    d = derive(g, scg.UpperBound())
    for size in (0.1, 0.5, 2.0):
        new = OLD + size * rng.normal(size=2)
        at, exact = {"w": new, "w old": OLD}, integrate(g, {"w": new})
        found = expected_gradient(d, at)
        assert found.cost > exact.cost
        for i, step in enumerate(1e-5 * np.eye(2)):
            up, down = (expected_gradient(d, {**at, "w": new + s}).cost for s in (step, -step))
            assert found.grad["w"][i] == pytest.approx((up - down) / 2e-5, abs=1e-7)


def test_lowering_the_bound_lowers_the_cost():
    """Minimising it, and then drawing from where that led, over and over: the expected cost never rises."""
    g = chain()
    f = scg.compile(g, strategy=scg.UpperBound(), backend="numpy")
    at, costs = OLD, [integrate(g, {"w": OLD}).cost]
    for i in range(3):
        new = at
        for _ in range(15):
            new = new - 0.5 * f({"w": new, "w old": at}, samples=4000, rng=i).grad["w"]
        at = new
        costs.append(integrate(g, {"w": at}).cost)
    assert costs[0] - 0.1 > costs[1] > costs[2] > costs[3]


def test_of_a_density():
    """−exp(−x²/2) of x ~ N(m, 1): −E exp(−x²/2) = −exp(−m²/4)/√2, and log p(x; m) − log p(x; m₀) is known."""
    g = scg.Graph("normal")
    g.cost("c", -np.exp(-0.5 * g.sample("x", scg.Normal(g.param("m"), 1.0)) ** 2))
    f = scg.compile(g, strategy=scg.UpperBound(), backend="numpy")
    z, w = np.polynomial.hermite_e.hermegauss(60)
    x, w, new = 0.3 + z, w / w.sum(), 0.9
    cost = -np.exp(-0.5 * x**2)
    log_ratio = -0.5 * (x - new) ** 2 + 0.5 * (x - 0.3) ** 2
    r = f({"m": new, "m old": 0.3}, samples=40_000, rng=0)
    within(r.cost, r.cost_stderr, w @ (cost * (1.0 + log_ratio)), "cost")
    within(r.grad["m"], r.stderr["m"], w @ (cost * (x - new)), "m")
    assert w @ (cost * (1.0 + log_ratio)) > -np.exp(-0.25 * new**2) / np.sqrt(2.0)


def test_its_formulas():
    f = scg.compile(chain(), strategy=scg.UpperBound(), backend="numpy")
    values = {"w": OLD + 0.1, "w old": OLD}
    e, r = f.surrogate.evaluate(values, samples=4, rng=1), f(values, samples=4, rng=1)
    np.testing.assert_allclose(np.mean(e.gradient("w"), axis=(0, 1)), r.grad["w"], rtol=1e-10)
    assert "L = M(one)" in str(f.surrogate) and r"M(\mathrm{two})" in f.surrogate.latex()
    assert not f.verdict.unbiased and set(r.grad) == {"w"}
    np.testing.assert_array_equal(f.init(0)["w old"], [0.1, 0.2])


def test_older_params_start_where_params_do():
    """So that the bound touches the expected cost there; where a param has no start, the older one has none either."""
    g = scg.Graph("starts")
    a, b = g.param("a", 3, init=lambda rng, shape: rng.normal(size=shape)), g.param("b")
    g.cost("c", -g.sample("x", scg.Bernoulli(logits=a + b)).sum())
    f = scg.compile(g, strategy=scg.UpperBound(), backend="numpy")
    start = f.init(7)
    np.testing.assert_array_equal(start["a"], start["a old"])
    assert set(start) == {"a", "a old"}
    with pytest.raises(scg.CallError, match=r'value of "b old" cannot be used\. It is missing'):
        f({**start, "b": 0.3})
    assert f({**start, "b": 0.3, "b old": 0.3}).cost < 0.0


def test_its_two_conditions():
    positive = scg.Graph("positive")
    positive.cost("c", positive.sample("b", scg.Bernoulli(logits=positive.param("t"))) - 0.2)
    f = scg.compile(positive, strategy=scg.UpperBound(), backend="numpy")
    with pytest.raises(scg.CallError, match=r'"c" was above 0 in at least one replicate.*Subtract'):
        f({"t": 0.1, "t old": 0.1}, samples=50, rng=0)
    direct = scg.Graph("direct")
    t = direct.param("t")
    direct.cost("c", -(t**2) * direct.sample("b", scg.Bernoulli(logits=t)))
    with pytest.raises(scg.EstimatorError, match=r'"t" moves the cost "c" without a draw in between.*wrt='):
        derive(direct, scg.UpperBound())
    stopped = scg.Graph("stopped")  # the value moves all the same
    t = stopped.param("t")
    stopped.cost("c", -(scg.stop_gradient(t) ** 2) - stopped.sample("b", scg.Bernoulli(logits=t)))
    with pytest.raises(scg.EstimatorError, match="without a draw in between"):
        derive(stopped, scg.UpperBound())
    moving = scg.Graph("moving")
    moving.cost("c", -moving.sample("x", scg.Uniform(0.0, np.exp(moving.param("t")))))
    with pytest.raises(scg.EstimatorError, match="moves the bounds of its support"):
        derive(moving, scg.UpperBound())
    taken = scg.Graph("taken")
    taken.cost("c", -taken.sample("b", scg.Bernoulli(logits=taken.param("t") + taken.param("t old"))))
    with pytest.raises(scg.EstimatorError, match=r'"t old" was to be given a value.*Rename'):
        derive(taken, scg.UpperBound())


def test_what_is_left_out_of_wrt_stays():
    """Of such a param no other value is asked, and costs may be made of it."""
    g = scg.Graph("part")
    t, c = g.param("t"), g.param("c")
    g.cost("loss", -(c**2) * g.sample("b", scg.Bernoulli(logits=t)))
    f = scg.compile(g, strategy=scg.UpperBound(), wrt=("t",), backend="numpy")
    r = f({"t": 0.2, "t old": 0.2, "c": 1.5}, samples=20_000, rng=0)
    within(r.grad["t"], r.stderr["t"], scg.exact(g, {"t": 0.2, "c": 1.5}).grad["t"], "t")


def test_a_stopped_gradient_is_told_of():
    """The bound moves with what is stopped, and its gradient does not."""
    g = scg.Graph("stopped")
    t = g.param("t", 2)
    a = g.sample("a", scg.Bernoulli(logits=scg.stop_gradient(t[0])))
    g.cost("c", -a * g.sample("b", scg.Bernoulli(logits=t[1] + a)) - a)
    (note,) = scg.compile(g, strategy=scg.UpperBound(), backend="numpy").verdict.notes
    assert 'hides part of how "t" moves it' in note and "test_upper_bound.py" in note
