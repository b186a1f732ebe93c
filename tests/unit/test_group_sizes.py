"""Leave-one-out groups: one size for all sites of a call, and whoever left it open follows."""

import numpy as np
import pytest

import scg


def two_coins(loss=lambda a, b: (a + b) ** 2) -> scg.Graph:
    """Two fair coins with one logit; at 0 the derivative of E(a + b)² is 1."""
    g = scg.Graph("two")
    t = g.param("t")
    g.cost("c", loss(g.sample("a", scg.Bernoulli(logits=t)), g.sample("b", scg.Bernoulli(logits=t))))
    return g


def loo(group=None):
    return scg.ScoreFunction(baseline=scg.LeaveOneOut(group=group))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("strategy", [{"a": loo(4)}, {"b": loo(4)}, {"a": loo(4), "b": loo()}],
                         ids=["first", "second", "left open"])
def test_a_size_that_was_left_open_follows(strategy, backend):
    f = scg.compile(two_coins(), strategy=strategy, backend=backend)
    r = f({"t": 0.0}, samples=20_000, rng=0)
    same = scg.compile(two_coins(), strategy=loo(4), backend=backend)({"t": 0.0}, samples=20_000, rng=0)
    assert r.grad["t"] == same.grad["t"] and r.stderr["t"] == same.stderr["t"]
    assert abs(r.grad["t"] - 1.0) < 5 * r.stderr["t"]
    with pytest.raises(scg.CallError, match="Use a multiple of 4"):
        f({"t": 0.0}, samples=6, rng=0)


def test_the_size_reaches_a_site_in_a_loop():
    def build():
        g = scg.Graph("loop")
        t = g.param("t")
        a = g.sample("a", scg.Bernoulli(logits=t))

        def step(x, _):
            b = g.sample("b", scg.Bernoulli(logits=t - x))
            g.cost("c", (x + b) ** 2)
            return x + b, None

        g.scan(step, a, length=2)
        return g

    r = scg.compile(build(), strategy={"a": loo(2)}, backend="numpy")({"t": 0.2}, samples=2000, rng=1)
    same = scg.compile(build(), strategy=loo(2), backend="numpy")({"t": 0.2}, samples=2000, rng=1)
    assert np.array_equal(r.grad["t"], same.grad["t"])
    assert scg.verify(scg.compile(build(), strategy={"a": loo(2)}, backend="numpy"), {"t": 0.2}).passed


def test_two_sizes_are_one_too_many():
    with pytest.raises(scg.EstimatorError, match="groups of 2 and 4 replicates"):
        scg.compile(two_coins(), strategy={"a": loo(4), "b": loo(2)}, backend="numpy")
