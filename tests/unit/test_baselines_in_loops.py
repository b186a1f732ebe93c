"""Baselines of a site in a loop: what a step has before its own draw; what follows the draw is refused."""

from __future__ import annotations

import numpy as np
import pytest

import scg

STEPS = 3


def sigmoid(a):
    """The logistic function, of complex numbers too."""
    return 1 / (1 + np.exp(-a))


def enumerated(t):
    """E of the costs of `chain`, summed over the eight paths of its coins."""
    total = 0.0
    for bits in np.ndindex(*(2,) * STEPS):
        x, p, cost = 0.0, 1.0, 0.0
        for b in bits:
            q = sigmoid(t - 0.5 * x)
            p, cost, x = p * (q if b else 1 - q), cost + (x + b) ** 2, x + b
        total = total + p * cost
    return total


RIGHT = np.imag(enumerated(0.2 + 1e-30j)) / 1e-30


def chain(baseline=None):
    """Coins b_t of logit t − x_t/2 with x_t their sum so far; costs (x_t + b_t)². Returns the graph and its nodes."""
    g, kept = scg.Graph("chain"), {}
    t = g.param("t")
    kept["t"] = t

    def step(x, _):
        kept["x"] = x
        estimator = scg.ScoreFunction(scg.Expression(baseline(kept))) if baseline else None
        b = g.sample("b", scg.Bernoulli(logits=t - 0.5 * x), estimator=estimator)
        kept["b"], kept["cost"] = b, g.cost("c", (x + b) ** 2)
        kept["named"] = g.node("h", 3.0 * x)
        kept["next"] = g.node("after", x + b)
        return x + b, (x, b, (x + b) ** 2)

    kept["last"], (kept["xs"], kept["bs"], kept["costs"]) = g.scan(step, 0.0, length=STEPS)
    kept["before"] = g.scan(lambda s, b: (s + b, s), 0.0, kept["bs"])[1]
    kept["with it"] = g.scan(lambda s, b: (s + b, s + b), 0.0, kept["bs"])[1]
    return g, kept


WEIGHTS = np.array([0.7, -0.2])
LEGAL = {
    "carry": lambda n: 2.0 * n["x"] + 1.0,
    "named node of the step": lambda n: n["named"] ** 2,
    "param and carry": lambda n: np.exp(n["t"]) * n["x"],
    "put out": lambda n: 2.0 * n["xs"] + 1.0,
    "named node, stacked": lambda n: n["t"] * n["xs"] ** 2,
    "features": lambda n: scg.stack([n["xs"], n["xs"] ** 2], axis=1) @ WEIGHTS,
    "costs of the step before": lambda n: scg.concatenate([[0.0], n["costs"][:-1]]),
    "draws of the step before": lambda n: scg.where(np.arange(STEPS) > 0, scg.concatenate([[0.0], n["bs"][:-1]]), 0.0),
    "sum of earlier draws": lambda n: n["before"],
    "running sum": lambda n: np.cumsum(n["xs"]),
    "table of what came": lambda n: scg.stack([1.0, -1.0, 0.5])[n["before"]],
    "masked": lambda n: scg.where(np.arange(STEPS) == 7, n["last"], n["xs"]),
    "param": lambda n: n["t"] + 1.0,
}
FOLLOWS = {
    "own draw": lambda n: n["b"], "next carry": lambda n: n["next"], "cost of the step": lambda n: n["cost"],
    "own draws": lambda n: n["bs"], "last carry": lambda n: n["last"], "sum of the carries": lambda n: n["xs"].sum(),
    "carry of the step after": lambda n: scg.concatenate([n["xs"][1:], [0.0]]), "costs": lambda n: n["costs"],
    "reversed": lambda n: n["xs"][::-1], "running sum of draws": lambda n: np.cumsum(n["bs"]),
    "a loop over draws": lambda n: n["with it"], "stopped": lambda n: scg.stop_gradient(n["bs"]),
    "matrix product": lambda n: np.tri(STEPS) @ n["bs"], "twice": lambda n: n["xs"] + 0.1 * n["bs"],
    "one for all": lambda n: n["bs"][0],
}  # fmt: skip


@pytest.mark.parametrize("which", LEGAL)
def test_what_precedes_the_draw_is_legal(which):
    """The exact law holds, and so it does of the step's node where the site is declared, if it can be given there."""
    g, kept = chain()
    strategy = scg.ScoreFunction(scg.Expression(LEGAL[which](kept)))
    f = scg.compile(g, strategy=strategy, backend="numpy")
    found = scg.verify(f, {"t": 0.2})
    assert found.passed, found
    assert abs(float(scg.exact(g, {"t": 0.2}).grad["t"]) - RIGHT) < 1e-12


@pytest.mark.parametrize("which", FOLLOWS)
def test_what_follows_the_draw_is_refused_with_the_path(which):
    g, kept = chain()
    strategy = scg.ScoreFunction(scg.Expression(FOLLOWS[which](kept)))
    with pytest.raises(scg.BaselineError, match=r'own sample.*along sample "b" .*before it draws'):
        scg.compile(g, strategy=strategy, backend="numpy")


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("inside", [True, False])
def test_the_state_as_baseline(inside, backend):
    """The gradient is that of the enumeration, and its variance is smaller than without."""
    g, kept = chain(lambda n: 2.0 * n["x"] + 3.0) if inside else chain()
    given = None if inside else scg.ScoreFunction(scg.Expression(2.0 * kept["xs"] + 3.0))
    r = scg.compile(g, strategy=given, backend=backend)({"t": 0.2}, samples=20_000, rng=0)
    plain = scg.compile(chain()[0], strategy=scg.ScoreFunction(), backend="numpy")({"t": 0.2}, samples=20_000, rng=0)
    assert abs(r.grad["t"] - RIGHT) < 5 * r.stderr["t"] < 5 * plain.stderr["t"]


@pytest.mark.parametrize("leads", [False, True], ids=["apart", "one leads to the other"])
@pytest.mark.parametrize("site", ["a", "b"])
def test_several_sites_in_a_step(site, leads):
    """A draw made earlier in the step is legal, one made later is if it does not follow from it, in no step."""
    g, kept = scg.Graph("two"), {}
    t = g.param("t")

    def step(x, _):
        a = kept["a"] = g.sample("a", scg.Bernoulli(logits=t))
        b = kept["b"] = g.sample("b", scg.Bernoulli(logits=t - a if leads else 2.0 * t))
        g.cost("c", (x + a * b) ** 2 + a)
        return 0.5 * x + a, None

    g.scan(step, 0.0, length=2)
    other = "b" if site == "a" else "a"
    strategy = {site: scg.ScoreFunction(scg.Expression(4.0 * kept[other])), other: scg.ScoreFunction()}
    if leads and site == "a":
        with pytest.raises(scg.BaselineError, match=r'along sample "a" .* sample "b"'):
            scg.compile(g, strategy=strategy, backend="numpy")
    else:
        assert scg.verify(scg.compile(g, strategy=strategy, backend="numpy"), {"t": 0.2}).passed


def test_a_loop_along_data():
    """A baseline made of the step's data and of the state; each row has steps of its own."""
    g, kept = scg.Graph("rows"), {}
    t, x = g.param("t"), g.data("x", 2)

    def step(s, y):
        kept["b"] = y * s - 1.0
        b = g.sample("b", scg.Bernoulli(logits=t * y - s))
        g.cost("c", (s + b - y) ** 2)
        return s + b, None

    g.scan(step, 0.0, x)
    f = scg.compile(g, strategy=scg.ScoreFunction(scg.Expression(kept["b"])), backend="numpy")
    assert scg.verify(f, {"t": 0.2, "x": [[0.5, -1.0], [2.0, 0.1]]}).passed


def test_the_step_of_another_loop_is_told():
    """A node of another loop's step has no value in this one; outside of loops there is none of either."""
    g, kept = scg.Graph("loops"), {}
    t = g.param("t")

    def step(name):
        def one(x, _):
            kept[name] = 2.0 * x
            b = g.sample(name, scg.Bernoulli(logits=t - x))
            g.cost(f"cost of {name}", b + x)
            return x + b, None

        return one

    g.scan(step("a"), 0.0, length=2)
    g.scan(step("b"), 0.0, length=2)
    z = g.sample("z", scg.Bernoulli(logits=t))
    g.cost("c", z)
    for site, words in (("a", "another scan's step"), ("z", "from inside a scan's step")):
        with pytest.raises(scg.BaselineError, match=words):
            scg.compile(g, strategy={site: scg.ScoreFunction(scg.Expression(kept["b"]))}, backend="numpy")


def test_after_the_loop():
    """A site after a loop may have its outputs as baseline; a site that the loop reads may not."""
    g = scg.Graph("after")
    t = g.param("t")
    first = g.sample("first", scg.Bernoulli(logits=t))

    def step(x, _):
        b = g.sample("b", scg.Bernoulli(logits=t - x))
        return first * x + b, b

    last, draws = g.scan(step, 0.0, length=3)
    z = g.sample("z", scg.Bernoulli(logits=t + last))
    g.cost("c", (z + last + first) ** 2)

    def compiled(site, node):
        strategy = {name: scg.ScoreFunction(scg.Expression(node) if name == site else None) for name in g.sites}
        return scg.compile(g, strategy=strategy, backend="numpy")

    assert scg.verify(compiled("z", last + draws.sum()), {"t": 0.2}).passed
    for early in draws[0], draws[1]:  # made before `first` comes in: it multiplies 0 at first
        assert scg.verify(compiled("first", early), {"t": 0.2}).passed
    with pytest.raises(scg.BaselineError, match=r'sample "first" .*result of a scan'):
        compiled("first", draws[2])
    with pytest.raises(scg.BaselineError, match=r'sample "first" '):
        compiled("first", last)


WALK = 4
OF_THE_PAST = {  # what a literal 0 multiplies has no say
    "the past": lambda z: np.tril(np.ones((WALK, WALK)), -1) @ z,
    "the past, weighed": lambda z: z @ np.triu(np.arange(16.0).reshape(4, 4), 1),
    "the first draw, later": lambda z: z[0] * np.array([0.0, 1.0, 1.0, 2.0]),
    "of none": lambda z: z * np.zeros(WALK),
    "a table of pairs": lambda z: (np.tril(np.ones((WALK, WALK)), -1) * z).sum(1),
}
OF_ITS_OWN = {
    "with its own": lambda z: np.tril(np.ones((WALK, WALK))) @ z,
    "transposed": lambda z: np.tril(np.ones((WALK, WALK)), -1).T @ z,
    "all but one": lambda z: z * np.array([0.0, 1.0, 0.0, 0.0]),
    "the first draw, from the first on": lambda z: z[0] * np.array([1.0, 0.0, 1.0, 1.0]),
}


def _walk_with(baseline) -> scg.Graph:
    g = scg.Graph("walk")
    t = g.param("t")

    def step(c, _):
        z = g.sample("z", scg.Bernoulli(logits=t + 0.5 * c))
        return c + z, z

    last, zs = g.scan(step, 0.0, length=WALK)
    g.cost("c", last**2)
    return scg.compile(g, strategy=scg.ScoreFunction(baseline=scg.Expression(baseline(zs))), backend="numpy")


def _walk_gradient(t: float) -> float:
    def cost(t: float) -> float:
        total = 0.0
        for path in np.ndindex(*[2] * WALK):
            p, c = 1.0, 0
            for z in path:
                q = 1 / (1 + np.exp(-t - 0.5 * c))
                p, c = p * (q if z else 1 - q), c + z
            total += p * c**2
        return total

    return (cost(t + 1e-5) - cost(t - 1e-5)) / 2e-5


@pytest.mark.parametrize("name", OF_THE_PAST)
def test_a_baseline_that_a_literal_keeps_from_its_own_draw_is_taken(name):
    r = _walk_with(OF_THE_PAST[name])({"t": 0.2}, samples=20_000, rng=3)
    assert abs(r.grad["t"] - _walk_gradient(0.2)) < 5 * r.stderr["t"]


@pytest.mark.parametrize("name", OF_ITS_OWN)
def test_a_baseline_of_its_own_draw_is_refused_though_a_literal_has_zeros(name):
    with pytest.raises(scg.BaselineError):
        _walk_with(OF_ITS_OWN[name])
