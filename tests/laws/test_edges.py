"""A parameter at the edge of its range is no trouble where it does not move, and an error where it does.

The right values are those of enumeration in NumPy: E a = Σ P(i) p(b, i) for a ~ Bernoulli(p(b, i)).
"""

import numpy as np
import pytest
from scipy import special, stats

import scg

B = 0.7
WEIGHTS = np.array([0.4, 0.3, 0.2, 0.1])  # of i = 0, 1, 2, 3
STAYS = {
    "1 - exp": lambda b, i, m: 1 - m.exp(-b * i),
    "expm1": lambda b, i, m: -m.expm1(-b * i),
    "power": lambda b, i, m: 1 - (1 - (1 - m.exp(-b))) ** i,
    "power of a probability": lambda b, i, m: 1 - (1 - b) ** i,
    "tanh": lambda b, i, m: m.tanh(b * i),
    "minimum": lambda b, i, m: m.minimum(b * i, 1.0),
    "clip": lambda b, i, m: m.clip(b * i - 0.1 * b, 0.0, 1.0),
    "where": lambda b, i, m: m.where(i > 0, 1 / (1 + b * i), 0.0),
    "a guarded quotient": lambda b, i, m: m.where(i > 0, b / m.maximum(i, 1.0) / 2, 1.0),
    "root": lambda b, i, m: m.where(i > 0, m.sqrt(b * i / 3), 0.0),
    "root of a power": lambda b, i, m: m.where(i > 0, (b * i / 3) ** 0.5, 0.0),
    "products": lambda b, i, m: (1 - m.exp(-b * i)) * m.exp(-b) * (3 - i) / 3,
    "saturation": lambda b, i, m: i / (i + b),
    "a rounded one": lambda b, i, m: 1 - m.exp(-60.0 * b * i * i),
}


@pytest.mark.parametrize("name", STAYS)
def test_what_does_not_move_at_its_edge(name):
    p = STAYS[name]
    g = scg.Graph("stays")
    b = g.param("b")
    i = g.sample("i", scg.Categorical(probs=WEIGHTS))
    a = g.sample("a", scg.Bernoulli(probs=p(b, i, np)))
    g.cost("c", (a + 1.0) ** 2)
    k = np.arange(4.0)
    slopes = (p(B + 1e-6, k, np) - p(B - 1e-6, k, np)) / 2e-6
    right = 3.0 * WEIGHTS @ np.where(np.isfinite(slopes), slopes, 0.0)
    r = scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")({"b": B}, samples=20_000, rng=0)
    assert abs(r.grad["b"] - right) < 5 * r.stderr["b"] + 1e-12


@pytest.mark.parametrize("name", ["1 - exp", "root", "clip"])
def test_nor_in_kernels(name):
    g = scg.Graph("stays")
    b, i = g.param("b"), g.sample("i", scg.Categorical(probs=WEIGHTS))
    g.cost("c", g.sample("a", scg.Bernoulli(probs=STAYS[name](b, i, np))))
    dtype = "float32" if name == "root" else "float64"
    r = scg.compile(g, dtype=dtype, strategy=scg.ScoreFunction())({"b": B}, samples=64_000, rng=0)
    assert abs(r.grad["b"] - scg.exact(g, {"b": B}).grad["b"]) < 5 * r.stderr["b"]


MOVES = {
    "at 0": (lambda t, i: t, 0.0), "at 1": (lambda t, i: t, 1.0), "1 - exp": (lambda t, i: 1 - np.exp(-t * i), 0.0),
    "a tie below": (lambda t, i: np.maximum(0.0, t), 0.0), "a tie above": (lambda t, i: np.minimum(1.0, t), 1.0),
    "clip": (lambda t, i: np.clip(t, 0.0, 1.0), 1.0), "a kink": (lambda t, i: abs(t), 0.0),
    "largest": (lambda t, i: np.max(scg.stack([0.0, t])), 0.0), "root of a square": (lambda t, i: np.sqrt(t * t), 0.0),
    "one of several": (lambda t, i: 1 - np.exp(-t * i * np.array([0.0, 1.0])), 0.0),
    "a power": (lambda t, i: t**i, 0.0), "differences": (lambda t, i: (t + 1.0) ** 2 - 1.0 - t, 0.0)}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_what_moves_at_its_edge_is_refused(name):
    p, at = MOVES[name]
    g = scg.Graph("moves")
    i = g.sample("i", scg.Bernoulli(probs=0.5))
    a = g.sample("a", scg.Bernoulli(probs=p(g.param("t"), i)))
    g.cost("c", a.sum())
    f = scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")
    with pytest.raises(scg.CallError, match=r'sample "a".*probs is 0 or 1.*never drawn'):
        f({"t": at}, samples=50, rng=0)


def test_what_is_cut_off_does_not_move():
    """clip(t, 0, 1) beyond its ends: the cost is constant in t there."""
    g = scg.Graph("cut")
    a = g.sample("a", scg.Bernoulli(probs=np.clip(g.param("t"), 0.0, 1.0)))
    g.cost("c", (a - 3.0) ** 2)
    f = scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")
    assert f({"t": -0.5}, samples=50, rng=0).grad["t"] == f({"t": 1.5}, samples=50, rng=0).grad["t"] == 0.0


def test_a_path_of_a_sample_to_the_edge():
    """a ~ Bernoulli(clip(z, 0, 1)) with z ~ N(t, 1) along its path: dE a/dt = Φ(1 − t) − Φ(−t)."""
    g = scg.Graph("path")
    z = g.sample("z", scg.Normal(loc=g.param("t"), scale=1.0))
    g.cost("c", g.sample("a", scg.Bernoulli(probs=np.clip(z, 0.0, 1.0))))
    f = scg.compile(g, strategy={"z": scg.Pathwise(), "a": scg.ScoreFunction()}, backend="numpy")
    r = f({"t": 0.3}, samples=40_000, rng=0)
    assert abs(r.grad["t"] - (special.ndtr(0.7) - special.ndtr(-0.3))) < 5 * r.stderr["t"]


# --- loops -----------------------------------------------------------------------------------------------------------
def epidemic(infection, people=3, steps=3):
    """A chain binomial: each of the susceptible is infected with a probability of b and the number of the infected."""
    g = scg.Graph("epidemic")
    b = g.param("b")

    def step(ill, _):
        new = g.sample("new", scg.Bernoulli(probs=(1.0 - ill) * infection(b, ill.sum())))
        g.cost("cases", new.sum())
        return ill + new, None

    g.scan(step, np.eye(people)[0] * 0.0 + g.sample("first", scg.Bernoulli(probs=0.5), shape=people), length=steps)
    return g


def enumerated(infection, b, people=3, steps=3):
    """Expected cases, state by state."""
    states = [np.array(bits, float) for bits in np.ndindex(*[2] * people)]
    chance = {tuple(s): 0.5**people for s in states}
    total = 0.0
    for _ in range(steps):
        after = dict.fromkeys(chance, 0.0)
        for state, weight in chance.items():
            s = np.array(state)
            p = (1 - s) * infection(b, s.sum())
            for new in states:
                q = np.prod(np.where(new > 0, p, 1 - p))
                if q != 0.0:
                    total, key = total + weight * q * new.sum(), tuple(np.minimum(s + new, 1.0))
                    after[key] = after[key] + weight * q
        chance = after
    return total


@pytest.mark.parametrize("infection", [
    lambda b, n: 1 - np.exp(-b * n), lambda b, n: 1 - (1 - b) ** n,
    lambda b, n: np.where(n > 0, np.sqrt(b * n / 3), 0.0)],
    ids=["exponential", "power", "root"])
def test_chain_binomials(infection):
    right = (enumerated(infection, 0.3 + 1e-6) - enumerated(infection, 0.3 - 1e-6)) / 2e-6
    f = scg.compile(epidemic(infection), strategy=scg.ScoreFunction(scg.LeaveOneOut()), backend="numpy")
    r = f({"b": 0.3}, samples=40_000, rng=0)
    assert abs(r.grad["b"] - right) < 5 * r.stderr["b"]
    with pytest.raises(scg.CallError, match=r'sample "new".*never drawn'):
        f({"b": 0.0}, samples=200, rng=0)


# --- Poisson ---------------------------------------------------------------------------------------------------------
def branching(generations):
    """A Galton–Watson process with m children each: E z_n = mⁿ."""
    g = scg.Graph("branching")
    m = g.param("m")
    z = 1.0
    for n in range(generations):
        z = g.sample(f"z{n}", scg.Poisson(rate=m * z))
    g.cost("c", z)
    return g


@pytest.mark.parametrize("strategy", [scg.ScoreFunction(), None, scg.WeakDerivative(),
                                      scg.WeakDerivative(noise="fresh")], ids=repr)
def test_branching_processes(strategy):
    """Under common noise too, and where a line has died out."""
    r = scg.compile(branching(3), strategy=strategy, backend="numpy")({"m": 0.9}, samples=10_000, rng=0)
    assert abs(r.grad["m"] - 3 * 0.9**2) < 5 * r.stderr["m"] and abs(r.cost - 0.9**3) < 5 * r.cost_stderr


def test_a_branching_process_in_a_kernel():
    g = scg.Graph("loop")
    m = g.param("m")
    last, _ = g.scan(lambda z, _: (g.sample("z", scg.Poisson(rate=m * z)), None), 1.0, length=3)
    g.cost("c", last)
    r = scg.compile(g, strategy=scg.ScoreFunction(), dtype="float32")({"m": 0.9}, samples=64_000, rng=0)
    assert abs(r.grad["m"] - 3 * 0.9**2) < 5 * r.stderr["m"]


def test_a_rate_of_zero_is_a_point_at_zero():
    g = scg.Graph("zero")
    rate = g.param("rate", 3)
    k = g.sample("k", scg.Poisson(rate=rate))
    g.cost("c", ((k + 1.0) ** 2).sum())
    values = {"rate": [0.0, 0.5, 0.0]}
    right = 2 * np.array(values["rate"]) + 3.0  # E (k + 1)² = λ² + 3 λ + 1
    for backend in ("numpy", "numba"):
        f = scg.compile(g, strategy=scg.WeakDerivative(), backend=backend)
        r = f(values, samples=2000, rng=0, record=("k",))
        assert np.all(r.record["k"][..., [0, 2]] == 0.0)
        assert np.all(np.abs(r.grad["rate"] - right) <= 5 * r.stderr["rate"])
    with pytest.raises(scg.CallError, match=r"rate is 0.*never drawn.*WeakDerivative"):
        scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")(values, samples=20, rng=0)
    with pytest.raises(scg.CallError, match="It must be 0 or positive"):
        scg.compile(g, backend="numpy")({"rate": [-0.1, 0.5, 0.0]}, samples=20, rng=0)


def test_exact_values_at_rate_zero():
    """E (k + 1)² = λ² + 3 λ + 1, of a rate that is 0 and moves; and of a second generation, with E y = m z."""
    g = scg.Graph("one")
    k = g.sample("k", scg.Poisson(rate=g.param("rate")))
    g.cost("c", (k + 1.0) ** 2)
    for rate in (0.0, 0.8):
        e = scg.exact(g, {"rate": rate})
        assert e.cost == pytest.approx(rate**2 + 3 * rate + 1) and e.grad["rate"] == pytest.approx(2 * rate + 3)
    assert scg.exact(branching(2), {"m": 0.6}).grad["m"] == pytest.approx(1.2, rel=1e-9)
    f = scg.compile(g, strategy=scg.Enumerate(upto=4), backend="numpy")
    assert f({"rate": 0.0}, samples=2, rng=0).grad["rate"] == pytest.approx(3.0, rel=1e-14)


def test_probabilities_of_counts():
    x, rate = np.arange(12.0), 2.5
    g = scg.Graph("p")
    g.cost("p", scg.Poisson(rate=g.param("rate")).probability(x) @ np.arange(1.0, 13.0))
    r = scg.compile(g, backend="numpy")({"rate": rate}, rng=0)
    p = stats.poisson.pmf(x, rate)
    assert r.cost == pytest.approx(p @ (x + 1), rel=1e-13)
    assert r.grad["rate"] == pytest.approx((np.append(0.0, p[:-1]) - p) @ (x + 1), rel=1e-13)
