"""A distribution has finite parameters: NaN and infinities are refused at the call, in rows, loops, worlds, kernels.

The costs here decide by `x > 0`, which is false of NaN: they are finite whatever is drawn, so nobody else would notice.
"""

import numpy as np
import pytest

import scg
from scg.analysis.influence import sites
from scg.distributions import FAMILIES
from scg.surrogate.domains import domain_checks

REFUSED = (scg.CallError, scg.NonFiniteError)  # the latter where the estimate is not finite: it names where that began
BAD = {"NaN": (1.0, -1.0), "minus infinity": (1.0, 0.0), "infinity": (-1.0, 0.0)}  # s, y: s log y
CASES = {f"{name} {parameter}": (family, case, parameter) for name, family in FAMILIES.items()
         for case in {tuple(c): c for c in family.cases}.values() for parameter in case}
REPLAYS = [scg.ScoreFunction(), scg.LocalExpectation(), scg.WeakDerivative(), scg.Enumerate(),
           scg.WeakDerivative(coupled=False, noise="fresh")]


def deciding(dist):
    """A cost of 2t where a draw is above 0, else t; the distribution is made by ``dist(y, t)``."""
    g = scg.Graph("deciding")
    t, y = g.param("t"), g.data("y")
    x = g.sample("x", dist(y, t))
    g.cost("c", np.where(x.sum() > 0, 2.0 * t, t))
    return g


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", CASES)
def test_every_parameter_of_every_family(name, bad):
    family, case, parameter = CASES[name]
    sign, value = BAD[bad]
    g = deciding(lambda y, t: family(**{**case, parameter: np.array(case[parameter]) + sign * np.log(y)}))
    f = scg.compile(g, backend="numpy")
    with pytest.raises(scg.CallError, match=rf'sample "x": {family.__name__} was given.*{parameter}'):
        f({"t": 1.0, "y": [1.0, value]}, samples=4, rng=0)
    assert np.isfinite(f({"t": 1.0, "y": [1.0, 1.0]}, samples=4, rng=0).cost)  # log 1 = 0: the parameter as it was


IN_RANGE = {  # in range as real numbers, for all that their bounds say
    "a probability": lambda y, t: scg.Bernoulli(probs=scg.sigmoid(np.log(y))),
    "probabilities": lambda y, t: scg.Categorical(probs=scg.softmax(scg.stack([np.log(y), t]))),
    "a scale": lambda y, t: scg.Normal(loc=t, scale=0.1 + scg.softplus(np.log(y))),
    "a rate": lambda y, t: scg.Poisson(rate=np.exp(np.log(y))),
    "what t moves elsewhere": lambda y, t: scg.Bernoulli(logits=np.where(y > 0, t, np.log(y))),
}


@pytest.mark.parametrize("name", IN_RANGE)
def test_nan_lies_in_no_range(name):
    f = scg.compile(deciding(IN_RANGE[name]), backend="numpy")
    with pytest.raises(REFUSED, match="in at least one replicate"):
        f({"t": 1.0, "y": [-1.0, 1.0]}, samples=4, rng=0)


LARGE = {  # finite as real numbers
    "a scale": lambda y, t: scg.Normal(loc=0.0, scale=np.exp(y)),
    "a mean": lambda y, t: scg.Normal(loc=np.log(y * np.exp(-y)), scale=1.0),
    "a rate": lambda y, t: scg.Exponential(rate=1.0 / np.exp(-y)),
    "a bound": lambda y, t: scg.Uniform(low=0.0, high=1.0 + y**200),
}


@pytest.mark.parametrize("name", LARGE)
def test_what_overflows_is_not_finite(name):
    f = scg.compile(deciding(LARGE[name]), backend="numpy")
    with pytest.raises(scg.CallError, match=r'sample "x".*was given'):
        f({"t": 1.0, "y": [1000.0]}, samples=4, rng=0)
    assert np.isfinite(f({"t": 1.0, "y": [1.5]}, samples=4, rng=0).cost)


@pytest.mark.by_python(dtype="float64")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("dist", [lambda y, t: scg.Bernoulli(logits=t * np.log(y)), IN_RANGE["a scale"]])
def test_in_kernels(dist, dtype):
    f = scg.compile(deciding(dist), dtype=dtype)
    for samples in (1, 100):
        with pytest.raises(REFUSED, match="in at least one replicate"):
            f({"t": 1.0, "y": [1.0, -1.0]}, samples=samples, rng=0)
    assert np.isfinite(f({"t": 1.0, "y": [1.0, 2.0]}, samples=100, rng=0).cost)


@pytest.mark.by_python
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_in_one_step_of_a_loop(backend):
    g = scg.Graph("loop")
    t = g.param("t")

    def step(c, _):
        b = g.sample("b", scg.Bernoulli(logits=t + np.log(c)))
        g.cost("c", np.where(b > 0, 2.0 * t, t))
        return c - 1.0, None

    g.scan(step, g.input("start"), length=2)
    f = scg.compile(g, backend=backend)
    with pytest.raises(REFUSED, match="in at least one replicate"):
        f({"t": 0.3, "start": 0.5}, samples=4, rng=0)  # log(−1/2) in step 1
    assert np.isfinite(f({"t": 0.3, "start": 1.5}, samples=4, rng=0).cost)


def test_in_a_loop_that_multiplies():
    """c is 10^200, 10^400, which a computer takes for infinite."""
    g = scg.Graph("growing")
    a = g.param("a")

    def step(c, _):
        x = g.sample("x", scg.Normal(loc=c, scale=1.0))
        return a * c, x > 0

    _, positive = g.scan(step, 1.0, length=3)
    g.cost("c", positive.sum() * a)
    f = scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy", wrt=())
    with pytest.raises(scg.CallError, match=r'sample "x".*a finite number'):
        f({"a": 1e200}, samples=4, rng=0)
    assert f({"a": 1e100}, samples=4, rng=0).cost == pytest.approx(3e100, rel=0.5)


@pytest.mark.parametrize("strategy", REPLAYS, ids=repr)
def test_in_a_world_of_a_replay(strategy):
    """Where a is 0, b has the logit log(−1/2)."""
    g = scg.Graph("world")
    t = g.param("t")
    a = g.sample("a", scg.Bernoulli(logits=t))
    b = g.sample("b", scg.Bernoulli(logits=np.log(a - 0.5)))
    g.cost("c", np.where(b > 0, 2.0 * t, t))
    f = scg.compile(g, strategy={"a": strategy}, backend="numpy")
    with pytest.raises(scg.CallError, match=r'sample "b".*a finite number'):
        f({"t": -1.0 if isinstance(strategy, scg.ScoreFunction) else 12.0}, samples=100, rng=0)


@pytest.mark.parametrize("strategy", REPLAYS[1:], ids=repr)
def test_not_in_a_world_that_cannot_come_about(strategy):
    """The third value has probability 0; E of 2t where x > 0 is t(1 + P(k = 0) Φ(1) + P(k = 1) Φ(2))."""
    g = scg.Graph("padded")
    t = g.param("t")
    p = scg.concatenate([scg.softmax(scg.stack([t, 0.0])), [0.0]])
    k = g.sample("k", scg.Categorical(probs=p))
    x = g.sample("x", scg.Normal(loc=np.log(scg.stack([np.e, np.e**2, -1.0]))[k], scale=1.0))
    g.cost("c", np.where(x > 0, 2.0 * t, t))
    strategies = {"k": strategy, "x": scg.ScoreFunction()}
    r = scg.compile(g, strategy=strategies, backend="numpy")({"t": 0.3}, samples=2000, rng=0)
    q = 1.0 / (1.0 + np.exp(-0.3))
    right = 0.3 * (1.0 + q * 0.8413447460685429 + (1.0 - q) * 0.9772498680518208)
    assert abs(r.cost - right) < 5.0 * max(r.cost_stderr, 1e-9)


def test_exact_refuses_them():
    for dist in (IN_RANGE["a probability"], lambda y, t: scg.Poisson(rate=1.0 / (1.0 + y)),
                 lambda y, t: scg.Exponential(rate=1.0 / (1.0 + y)), lambda y, t: scg.Bernoulli(logits=np.log(y))):
        g = scg.Graph("exact")
        t, y = g.param("t"), g.data("y")
        g.cost("c", t * g.sample("x", dist(y, t)))
        with pytest.raises(scg.CallError, match=r'sample "x".*was given'):
            scg.exact(g, {"t": 1.0, "y": [-1.0]})


def certain(parameter, make=lambda p: scg.Bernoulli(logits=p)):
    """Whether nothing is asked of a site's parameter at a call."""
    g = scg.Graph("certain")
    g.cost("c", g.sample("x", make(parameter(g))).sum())
    return not domain_checks(g.costs, sites(list(g.costs.values())))


def test_nothing_is_asked_where_it_is_certain():
    """Fused kernels of simple sites are as long as before: what is given is looked at once, by the call."""
    assert certain(lambda g: g.param("t", 3) - 0.77)
    assert certain(lambda g: g.input("W", (3, 4)) @ np.tanh(g.data("d", 4)) + g.param("b", 3))
    assert certain(lambda g: 0.5 + scg.sigmoid(g.param("t")), lambda p: scg.Normal(loc=3.0 * p, scale=p))
    assert certain(lambda g: g.param("t", 2)[g.sample("k", scg.Bernoulli(probs=0.5))])
    assert certain(lambda g: 2.0 * g.sample("z", scg.Normal(loc=g.param("t"), scale=1.0)) / (1.0 + g.data("d") ** 2))
    assert not certain(lambda g: 1.0 / g.data("d"))
    assert not certain(lambda g: np.exp(g.data("d")))
    assert not certain(lambda g: np.sqrt(g.data("d")))
    assert not certain(lambda g: g.param("t") ** 9)


@pytest.mark.parametrize("strategy", [None, scg.WeakDerivative()])
def test_a_width_that_cannot_be_written(strategy):
    """1e308 − (−1e308) overflows, though both ends are numbers."""
    with pytest.raises(scg.DeclarationError, match="high - low to be finite"):
        scg.Uniform(low=-1e308, high=1e308)
    g = scg.Graph("wide")
    p = g.param("p")
    g.cost("c", np.tanh(g.sample("x", scg.Uniform(low=-p, high=p + g.data("y")))))
    f = scg.compile(g, strategy=strategy, backend="numpy")
    f({"p": 1.0, "y": [0.0, 1e308]}, samples=4, rng=0)
    with pytest.raises(scg.CallError, match=r'"x".*high - low to be finite'):
        f({"p": 1e308, "y": [0.0, 0.0]}, samples=4, rng=0)
    single = scg.compile(g, strategy=strategy, backend="numpy", dtype="float32")
    with pytest.raises(scg.CallError, match="high - low to be finite"):
        single({"p": 3e38, "y": [0.0, 0.0]}, samples=4, rng=0)
