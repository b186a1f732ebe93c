"""What must hold of a site's parameters must hold in every world that an estimator evaluates, and may come about.

Coins of logit −12 are all but never 1: only a replay sees what the graph would be there.
"""

import numpy as np
import pytest

import scg

REPLAYS = [scg.LocalExpectation(), scg.WeakDerivative(), scg.WeakDerivative(coupled=False, noise="fresh"),
           scg.Enumerate()]
LATER = {
    "a probability": lambda g, b: g.sample("y", scg.Bernoulli(probs=0.5 + 0.7 * b)),
    "a scale": lambda g, b: g.sample("y", scg.Normal(loc=0.0, scale=1.0 - b)),
    "one of three": lambda g, b: g.sample("y", scg.Exponential(rate=scg.stack([1.0, 1.0 - 2 * b, 1.0]))).sum(),
    "two together": lambda g, b: g.sample("y", scg.Uniform(low=2.0 * b, high=1.0)),
    "behind another": lambda g, b: g.sample("y", scg.Poisson(rate=1.0 - 2.0 * g.sample(
        "x", scg.Bernoulli(probs=b)))),
}


def build(later, in_loop=False):
    """A coin "b" of logit t, and a cost of what comes later."""
    g = scg.Graph("worlds")
    t = g.param("t")

    def step(before, _):
        after = later(g, before)
        g.cost("c", 1.0 * after)
        return g.sample("b", scg.Bernoulli(logits=t)), None

    if in_loop:
        g.scan(step, 0.0, length=2)
    else:
        g.cost("c", 1.0 * later(g, g.sample("b", scg.Bernoulli(logits=t))))
    return g


@pytest.mark.parametrize("name", LATER)
@pytest.mark.parametrize("strategy", REPLAYS, ids=repr)
def test_a_parameter_outside_its_range_in_a_world(name, strategy):
    f = scg.compile(build(LATER[name]), strategy={"b": strategy}, backend="numpy")
    with pytest.raises(scg.CallError, match=r'sample "y".*(It must be|It needs)'):
        f({"t": -12.0}, samples=100, rng=0)


@pytest.mark.parametrize("strategy", REPLAYS, ids=repr)
def test_in_a_later_step(strategy):
    f = scg.compile(build(LATER["a probability"], in_loop=True), strategy={"b": strategy}, backend="numpy")
    with pytest.raises(scg.CallError, match=r'sample "y".*between 0 and 1'):
        f({"t": -12.0}, samples=100, rng=0)


def test_in_kernels():
    f = scg.compile(build(LATER["a probability"]), strategy={"b": scg.LocalExpectation()})
    with pytest.raises(scg.CallError, match=r'sample "y".*between 0 and 1.*with another value of "b"'):
        f({"t": -12.0}, samples=100, rng=0)


@pytest.mark.parametrize("first", [scg.Enumerate(), scg.LocalExpectation(), scg.ScoreFunction()], ids=repr)
def test_in_worlds_of_worlds(first):
    """y is given a probability of 1.2 where both coins are 1."""
    g = scg.Graph("both")
    t = g.param("t")
    a, b = (g.sample(name, scg.Bernoulli(logits=t)) for name in "ab")
    g.cost("c", 1.0 * g.sample("y", scg.Bernoulli(probs=0.5 + 0.7 * a * b)))
    f = scg.compile(g, strategy={"a": first, "b": scg.Enumerate()}, backend="numpy")
    with pytest.raises(scg.CallError, match=r'sample "y"'):
        f({"t": -4.0}, samples=2000, rng=0)


@pytest.mark.parametrize("strategy", REPLAYS, ids=repr)
def test_a_world_that_cannot_come_about_is_not_checked(strategy):
    """The third value has probability 0, and its scale is a stand-in: E z² = Σ p s² over the first two."""
    g = scg.Graph("padded")
    t = g.param("t")
    p = scg.concatenate([scg.softmax(scg.stack([t, 0.0])), [0.0]])
    k = g.sample("k", scg.Categorical(probs=p))
    z = g.sample("z", scg.Normal(loc=0.0, scale=scg.stack([1.0, 2.0, -1.0])[k]))
    g.cost("c", z**2)
    q = 1 / (1 + np.exp(-0.3))
    right = q * (1 - q) * (1.0 - 4.0)
    r = scg.compile(g, strategy={"k": strategy}, backend="numpy")({"t": 0.3}, samples=4000, rng=0)
    assert abs(r.grad["t"] - right) < 5 * r.stderr["t"]


@pytest.mark.parametrize("strategy", REPLAYS, ids=repr)
def test_worlds_in_which_all_is_well(strategy):
    """E y = 0.5 + 0.4 p."""
    g = build(lambda g, b: g.sample("y", scg.Bernoulli(probs=0.5 + 0.4 * b)))
    r = scg.compile(g, strategy={"b": strategy}, backend="numpy")({"t": 0.3}, samples=4000, rng=0)
    p = 1 / (1 + np.exp(-0.3))
    assert abs(r.grad["t"] - 0.4 * p * (1 - p)) < 5 * r.stderr["t"] + 1e-12
