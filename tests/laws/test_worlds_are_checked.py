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


# --- what is no real number ------------------------------------------------------------------------------------------
# Each parameter is a logarithm or a quotient of y, where y = 1 is right and the value given is not
NO_NUMBER = {
    "logits": (lambda y: scg.Bernoulli(logits=np.log(y)), -1.0), "infinite logits": (
        lambda y: scg.Bernoulli(logits=1.0 / y), 0.0), "probs": (
        lambda y: scg.Bernoulli(probs=scg.sigmoid(np.log(y))), -1.0),
    "loc": (lambda y: scg.Normal(loc=np.log(y), scale=1.0), -1.0), "infinite loc": (
        lambda y: scg.Normal(loc=1.0 / y, scale=1.0), 0.0),
    "scale": (lambda y: scg.Normal(loc=0.0, scale=1.0 / y), 0.0), "scale above 1": (
        lambda y: scg.Normal(loc=0.0, scale=1.0 + np.sqrt(y)), -1.0),
    "rate": (lambda y: scg.Exponential(rate=1.0 / y), 0.0), "rate of counts": (
        lambda y: scg.Poisson(rate=1.0 / y), 0.0),
    "concentration": (lambda y: scg.Gamma(concentration=1.0 / y, rate=1.0), 0.0),
    "low": (lambda y: scg.Uniform(low=-1.0 / y, high=2.0), 0.0),
    "high": (lambda y: scg.Uniform(low=0.0, high=1.0 / y), 0.0),
    "weights": (lambda y: scg.Categorical(probs=scg.stack([1.0 / y, 1.0])), 0.0),
    "log-weights": (lambda y: scg.Categorical(logits=scg.stack([1.0 / y, 1.0])), 0.0),
    "undefined log-weights": (lambda y: scg.Categorical(logits=scg.stack([np.log(y), 1.0])), -1.0),
}


@pytest.mark.parametrize("name", NO_NUMBER)
@pytest.mark.parametrize("in_loop", [False, True])
def test_a_parameter_that_is_no_real_number(name, in_loop):
    """No distribution has it; what is drawn would be a number, and a comparison with it too."""
    family, wrong = NO_NUMBER[name]
    g = scg.Graph("undefined")
    t, y = g.param("t"), g.data("y")

    def step(before, _):
        x = g.sample("x", family(before))
        g.cost("c", scg.where(x > 0.0, 2.0 * t, t))
        return before, None

    g.scan(step, y, length=2) if in_loop else step(y, None)
    f = scg.compile(g, backend="numpy")
    assert np.isfinite(f({"t": 1.0, "y": [1.0]}, samples=10, rng=0).cost)
    with pytest.raises(scg.CallError, match=r'sample "x".*It must be'):
        f({"t": 1.0, "y": [1.0, wrong]}, samples=10, rng=0)
    if not in_loop or name in ("logits", "probs", "weights"):
        with pytest.raises(scg.SCGError):
            scg.exact(g, {"t": 1.0, "y": [1.0, wrong]})


@pytest.mark.parametrize("strategy", [*REPLAYS, scg.ScoreFunction()], ids=repr)
def test_a_parameter_that_is_no_real_number_in_a_world(strategy):
    """log(a − ½) has no value at a = 0."""
    g = scg.Graph("undefined")
    a = g.sample("a", scg.Bernoulli(logits=g.param("t")))
    g.cost("c", g.sample("b", scg.Bernoulli(logits=np.log(a - 0.5))))
    f = scg.compile(g, strategy={"a": strategy, "b": scg.ScoreFunction()}, backend="numpy")
    with pytest.raises(scg.CallError, match=r'sample "b".*It must be a finite number'):
        f({"t": 0.3}, samples=50, rng=0)


def test_kernels_ask_for_real_numbers():
    g = scg.Graph("undefined")
    g.cost("c", g.sample("x", scg.Normal(loc=np.log(g.data("y")), scale=g.param("s"))) > 0.0)
    f = scg.compile(g, strategy=scg.ScoreFunction())
    with pytest.raises(scg.CallError, match=r"loc = .*It must be a finite number"):
        f({"s": 1.0, "y": [1.0, -1.0]}, samples=10, rng=0)


@pytest.mark.parametrize("given, words", [
    (lambda t, w, d, k, x, c: scg.Bernoulli(probs=t * k), r"probs = t \* k\."),
    (lambda t, w, d, k, x, c: scg.Poisson(rate=scg.exp(w.sum()) * (d - 2.0)), r"rate = exp\(sum\(w\)\) \* \(d - 2\)\."),
    (lambda t, w, d, k, x, c: scg.Bernoulli(probs=t * d * x), r"probs = t \* d \* xs\[step\]\."),
    (lambda t, w, d, k, x, c: scg.Normal(loc=0.0, scale=-t * (k + 1.0)), r"scale = -t \* \(k \+ 1\)\."),
    (lambda t, w, d, k, x, c: scg.Uniform(low=t * (k + 1.0), high=t), r"low = t \* \(k \+ 1\) and high = t\."),
])  # fmt: skip
def test_a_parameter_of_a_step_is_printed_as_it_was_written(given, words):
    """By the names of what stands outside of the loop, not by its place among the loop's constants."""
    g = scg.Graph("loop")
    t, w, d, xs = g.param("t"), g.param("w", 2), g.data("d"), g.input("xs", 2)

    def step(c, x):
        k = g.sample("k", scg.Bernoulli(probs=0.5))
        g.cost("c", g.sample("b", given(t, w, d, k, x, c)) + 0.0 * c)
        return c + 1.0, None

    g.scan(step, 0.0, xs=xs)
    with pytest.raises(scg.CallError, match=words):
        scg.compile(g, backend="numpy", wrt=())({"t": 3.0, "w": [0.0, 1.0], "d": [1.0], "xs": [1.0, 2.0]}, samples=50)


# --- values that rounding does not tell apart -------------------------------------------------------------------------
NARROW = {"alone": lambda x, t: x, "standardised": lambda x, t: (x - t) / 1e-20, "a jump": lambda x, t: x > 1.0}


@pytest.mark.parametrize("cost", NARROW.values(), ids=NARROW)
@pytest.mark.parametrize("dtype, scale", [("float64", 1e-20), ("float64", 1e-16), ("float32", 1e-9)])
def test_the_weak_derivative_of_a_normal_that_is_narrower_than_its_mean_is_rounded(cost, dtype, scale):
    """Both values are the mean, and of their difference 0 is left: the gradients of E x = t would be 0 ± 0."""
    g = scg.Graph("narrow")
    t = g.param("t")
    x = g.sample("x", scg.Normal(loc=t, scale=g.input("s")))
    g.cost("c", cost(x, t))
    f = scg.compile(g, strategy=scg.WeakDerivative(), dtype=dtype, backend="numpy")
    with pytest.raises(scg.CallError, match="rounding mixes them up"):
        f({"t": 1.0, "s": scale}, samples=4, rng=0)
    f({"t": 0.0, "s": scale}, samples=4, rng=0)  # about 0 there are numbers enough


def test_narrow_normals_in_loops_and_rows():
    g = scg.Graph("loop")
    t = g.param("t")
    c, _ = g.scan(lambda c, m: (g.sample("x", scg.Normal(loc=c + t * m, scale=1e-20)), None), 0.0, xs=np.arange(2.0))
    g.cost("c", c * g.data("y"))
    f = scg.compile(g, strategy=scg.WeakDerivative(), backend="numpy")
    with pytest.raises(scg.CallError, match="rounding mixes them up"):
        f({"t": 1.0, "y": [1.0, 2.0]}, samples=4, rng=0)
    r = f({"t": 1e-18, "y": [1.0, 2.0]}, samples=4000, rng=0)
    assert abs(r.grad["t"] - 1.5) < 5 * r.stderr["t"]
