"""A kink that is met with positive probability is noted: the derivative there is the mean of two."""

import numpy as np
import pytest

import scg

PROBS = np.array([0.2, 0.5, 0.3])  # of D = 0, 1, 2


def newsvendor(loss, in_loop=False):
    g = scg.Graph("newsvendor")
    q = g.param("q")

    def step(s, _):
        g.cost("c", loss(q, g.sample("D", scg.Categorical(probs=PROBS))))
        return s, None

    g.scan(step, 0.0, length=1) if in_loop else step(0.0, None)
    return g


# what is lost at q = 1: the cost, and the mean of its left and its right derivative
BELOW, AT, ABOVE = PROBS
LOSSES = {
    "maximum": (lambda q, d: np.maximum(q - d, 0.0), BELOW + 0.5 * AT),
    "the other way round": (lambda q, d: np.maximum(0.0, q - d), BELOW + 0.5 * AT),
    "minimum": (lambda q, d: np.minimum(q, d), ABOVE + 0.5 * AT),
    "relu": (lambda q, d: scg.relu(q - d), BELOW + 0.5 * AT),
    "abs": (lambda q, d: abs(q - d), BELOW - ABOVE),
    "clip": (lambda q, d: np.clip(q, 0.5, d + 0.25), AT + ABOVE),
    "clip at its end": (lambda q, d: np.clip(q, 0.0, d), ABOVE + 0.5 * AT),
    "largest": (lambda q, d: np.max(scg.stack([q, d])), BELOW + 0.5 * AT),
    "smallest": (lambda q, d: np.min(scg.stack([d, q])), ABOVE + 0.5 * AT),
    "smaller and larger": (lambda q, d: np.minimum(q, d) + np.maximum(d, q), 1.0),
    "smaller times larger": (lambda q, d: np.minimum(q, d) * np.maximum(q, d), AT + 2 * ABOVE),
    "sold and left over": (lambda q, d: 2.0 * np.minimum(q, d) + scg.relu(q - d), 1.0 + ABOVE + 0.5 * AT),
    "from either end": (lambda q, d: np.max(scg.stack([q, d])) - scg.relu(d - q), 1.0),
    "a distance": (lambda q, d: np.maximum(q, d) - np.minimum(q, d) - abs(q - d), 0.0),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("in_loop", [False, True])
def test_a_tie_is_noted_and_the_derivative_is_the_mean_of_both_sides(name, in_loop):
    loss, right = LOSSES[name]
    f = scg.compile(newsvendor(loss, in_loop), backend="numpy")
    r = f({"q": 1.0}, samples=4000, rng=0)
    assert abs(r.grad["q"] - right) < 5 * r.stderr["q"] + 1e-12
    assert any("at its kink" in note for note in r.notes) == (name != "clip")
    assert scg.exact(newsvendor(loss, in_loop), {"q": 1.0}).grad["q"] == pytest.approx(right, abs=1e-14)
    assert not any("at its kink" in note for note in f({"q": 0.7}, samples=4000, rng=0).notes)


@pytest.mark.parametrize("strategy", [scg.Enumerate(), scg.ScoreFunction(), scg.LocalExpectation()], ids=repr)
def test_in_worlds(strategy):
    """Also where the site moves; the note names the line once."""
    g = scg.Graph("moved")
    q, t = g.param("q"), g.param("t")
    d = g.sample("D", scg.Bernoulli(logits=t))
    g.cost("c", np.maximum(q - d, 0.0))
    f = scg.compile(g, strategy=strategy, backend="numpy")
    noted = [n for n in f({"q": 1.0, "t": 0.2}, samples=200, rng=0).notes if "kink" in n]
    assert len(noted) == 1 and "test_kinks.py" in noted[0]
    assert not any("kink" in n for n in f({"q": 0.5, "t": 0.2}, samples=200, rng=0).notes)


KINKS = {"maximum": np.maximum, "minimum": np.minimum, "abs": lambda x, y: abs(x - y),
         "relu": lambda x, y: np.maximum(x - y, 0.0), "cut": lambda x, y: -np.minimum(0.0, x + y)}  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_a_sum_of_kinks_has_the_mean_of_its_left_and_its_right_derivative(seed):
    """Of random functions with whole coefficients at a whole point, where many are tied."""
    rng = np.random.default_rng(seed)
    made = [(name, rng.integers(-2, 3, size=(2, 4)).astype(float), rng.normal()) for name in KINKS]

    def cost(q, d):
        return sum(w * KINKS[name](*(a * q[0] + b * q[1] + c * d + e for a, b, c, e in rows)) for name, rows, w in made)

    g = scg.Graph("kinks")
    q = g.param("q", 2)
    g.cost("c", cost(q, g.sample("D", scg.Categorical(probs=PROBS))))
    at = rng.integers(-1, 3, size=2).astype(float)
    right = [sum(p * (cost(at + h, d) - cost(at - h, d)) for d, p in enumerate(PROBS)) / 2e-3 for h in 1e-3 * np.eye(2)]
    np.testing.assert_allclose(scg.exact(g, {"q": at}).grad["q"], right, atol=1e-10)


def test_ties_in_a_kernel_are_as_in_the_formula():
    """Of every op with a kink: both backends, the expectation of what is compiled, and sympy's derivative."""
    g = scg.Graph("all")
    q, d = g.param("q"), g.sample("D", scg.Bernoulli(probs=0.25))
    g.cost("c", np.maximum(q, d) + 10.0 * np.minimum(d, q) + 100.0 * scg.relu(q - d) + 1000.0 * np.clip(q, d, 2.0))
    right = 0.75 * 1101.0 + 0.25 * 555.5
    f = scg.compile(g, strategy=scg.Enumerate(), backend="numba")
    r = f({"q": 1.0})
    assert r.grad["q"] == pytest.approx(right, rel=1e-14) and any("kink" in n for n in r.notes)
    assert scg.exact(g, {"q": 1.0}).grad["q"] == pytest.approx(right, rel=1e-14)
    assert scg.verify(scg.compile(g, backend="numpy"), {"q": 1.0}).passed
    formula = scg.compile(g, strategy=scg.Enumerate(), backend="numpy").surrogate.gradient("q")
    assert float(formula.subs(dict.fromkeys(formula.free_symbols, 1)).doit()) == pytest.approx(right, rel=1e-14)


def test_data_are_atoms():
    g = scg.Graph("rows")
    g.cost("c", np.maximum(g.param("q") - g.data("d"), 0.0))
    f = scg.compile(g, backend="numpy")
    assert any("kink" in n for n in f({"q": 2.0, "d": [1.0, 2.0]}, rng=0).notes)
    assert not any("kink" in n for n in f({"q": 2.0, "d": [1.0, 3.0]}, rng=0).notes)


def test_what_has_a_density_is_not_counted():
    """Nor what is not differentiated: those kernels stay as they are."""
    g = scg.Graph("smooth")
    q = g.param("q")
    z = g.sample("z", scg.Normal(loc=q, scale=1.0))
    k = g.sample("k", scg.Bernoulli(probs=0.5))
    g.cost("c", scg.relu(z - q) + np.maximum(k, 1.0) + scg.stop_gradient(np.maximum(q, k)))
    from scg.derive import derive
    from scg.passes.outputs import program_of

    program = program_of(derive(g), "float64", True)
    assert all(o.role != "tie" for o in program.outputs)


# --- random numbers with a density and an atom -----------------------------------------------------------------------
MIXED = {
    "beside a density that is cut": lambda t, z, b, k, y: np.maximum(t, scg.relu(z)),
    "at the upper end": lambda t, z, b, k, y: np.maximum(np.clip(z, -1.0, 0.0) - t, 0.0),
    "a density times a coin": lambda t, z, b, k, y: abs(b * z + t),
    "times a count": lambda t, z, b, k, y: scg.relu(t - z * k / 2.0),
    "a choice": lambda t, z, b, k, y: np.minimum(t, np.where(b > 0.5, z, 0.0)),
    "a part of a table": lambda t, z, b, k, y: abs(scg.stack([z, 0.0, 1.0])[k] - t),
    "times data": lambda t, z, b, k, y: abs(y * z - t),
    "a coin over a density": lambda t, z, b, k, y: np.maximum(b / (1.0 + z * z), t),
    "a matrix product": lambda t, z, b, k, y: abs(scg.stack([b, 2.0 * b]) @ scg.stack([z, z * z]) - t),
    "a difference that is a count": lambda t, z, b, k, y: np.maximum(z + t - k, z),
    "what is left of a density": lambda t, z, b, k, y: abs(z - scg.relu(z) - t),
    "times a param": lambda t, z, b, k, y: abs(t * z),
    "a power": lambda t, z, b, k, y: abs((2.0 + np.tanh(z)) ** b - 1.0 - t),
    "a list of one": lambda t, z, b, k, y: np.max(scg.concatenate([scg.stack([scg.relu(z)]), scg.stack([t])])),
}


@pytest.mark.parametrize("in_loop", [False, True])
@pytest.mark.parametrize("name", MIXED)
def test_an_atom_of_a_random_number_with_a_density(name, in_loop):
    """At t = 0 each of these costs is at a kink with positive probability; a little beside it, none is."""
    g = scg.Graph("mixed")
    t, y = g.param("t"), g.data("y")

    def step(c, _):
        z = g.sample("z", scg.Normal(loc=0.0, scale=1.0))
        b, k = g.sample("b", scg.Bernoulli(probs=0.5)), g.sample("k", scg.Categorical(probs=[0.3, 0.3, 0.4]))
        g.cost("c", MIXED[name](t, z, b, k, y))
        return c, None

    g.scan(step, 0.0, length=2) if in_loop else step(0.0, None)
    f = scg.compile(g, backend="numpy")
    assert any("kink" in note for note in f({"t": 0.0, "y": [0.0, 1.0]}, samples=200, rng=0).notes)
    assert not any("kink" in note for note in f({"t": 0.125, "y": [0.0, 1.0]}, samples=200, rng=0).notes)


def test_what_a_loop_carries_begins_at_an_atom():
    """A random walk is at 0 before its first step, and a step may leave it where it is."""
    for stays in (0.0, 1.0):
        g = scg.Graph("walk")
        t = g.param("t")

        def step(c, x):
            g.cost("c", abs(c - t))
            return c + g.sample("z", scg.Normal(loc=0.0, scale=1.0)) * x, None

        g.scan(step, 1.0 - stays, xs=np.array([1.0, stays]))
        f = scg.compile(g, backend="numpy")
        assert any("kink" in note for note in f({"t": 1.0 - stays}, samples=200, rng=0).notes)
        assert not any("kink" in note for note in f({"t": 0.5}, samples=200, rng=0).notes)


def test_what_no_atom_can_come_of_is_not_counted():
    """Sums, exponentials and multiples of densities, with others and with counts."""
    from scg.derive import derive
    from scg.passes.outputs import program_of

    g = scg.Graph("pure")
    t = g.param("t")
    z, w = g.sample("z", scg.Normal(loc=t, scale=1.0)), g.sample("w", scg.Exponential(rate=np.exp(t)))
    k = g.sample("k", scg.Poisson(rate=1.0))
    g.cost("c", scg.relu(2.0 * z + k - t) + abs(np.exp(z) - 1.0) + np.maximum(z, w) + scg.relu(np.exp(t) * z * w))
    program = program_of(derive(g), "float64", True)
    assert all(o.role != "tie" for o in program.outputs)


ALIKE = {
    "clipped": (lambda r, a, b: np.minimum(r * a, np.clip(r, 0.8, 1.2) * a), [1.0, 1.1], [0.8, 1.0]),
    "the other way round": (lambda r, a, b: np.maximum(np.clip(r, 0.8, 1.2) * a, r * a), [0.9, 1.19], [1.2, 0.9]),
    "paths that share": (lambda r, a, b: np.maximum(np.minimum(a, r), np.minimum(a, b)), [2.0, 2.0], [1.0, 1.0]),
}


@pytest.mark.parametrize("name", ALIKE)
def test_arguments_that_are_one_quantity_are_no_kink(name):
    """A tie of what moves alike is not noted; at a bound, or where two quantities are equal by chance, it is."""
    of, apart, at_kink = ALIKE[name]
    g = scg.Graph("alike")
    r, a, b = g.param("r", 2), g.param("a"), g.param("b")
    g.cost("c", of(r, a, b).sum() + 0.0 * g.sample("k", scg.Bernoulli(probs=0.5)))
    f = scg.compile(g, backend="numpy")
    assert not any("at its kink" in note for note in f({"r": apart, "a": 1.0, "b": 3.0}, samples=2).notes)
    noted = f({"r": at_kink, "a": 1.0, "b": 1.0}, samples=2).notes
    assert any("at its kink" in note for note in noted)
