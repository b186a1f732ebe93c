"""Sites of many values: right against sums over all values in NumPy, in text and memory that do not blow up."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest
from scipy import special, stats

import scg
from scg.derive import derive
from scg.ir.traverse import topological

STRATEGIES = {"local": scg.LocalExpectation(), "weak": scg.WeakDerivative(), "enumerate": scg.Enumerate(),
              "fresh": scg.WeakDerivative(noise="fresh")}  # fmt: skip


def bend(x):
    """A cost of a value that no two share."""
    return np.sin(0.01 * x) + 0.001 * x


def graph(size: int, given: str = "logits", cost=bend) -> scg.Graph:
    """One categorical site, and a cost of its value."""
    g = scg.Graph("many")
    z = g.sample("z", scg.Categorical(**{given: g.param("a", size)}))
    g.cost("c", cost(z))
    return g


def parameter(size: int, given: str = "logits") -> np.ndarray:
    """Its parameter: some values a hundred times as likely as others."""
    a = 3.0 * np.sin(np.arange(size) ** 1.5)
    return a if given == "logits" else np.exp(a)


def slope(a: np.ndarray, c: np.ndarray, given: str = "logits") -> np.ndarray:
    """∂ Σ p c, in logits or in weights that are normalised."""
    p = special.softmax(a) if given == "logits" else a / a.sum()
    return p * (c - p @ c) / (1.0 if given == "logits" else a)


# --- right numbers ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("given", ["logits", "probs"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_gradient_in_every_replicate(strategy, given):
    """With one site alone all these estimators sum over its values, so one replicate has the exact gradient."""
    a = parameter(2000, given)
    f = scg.compile(graph(2000, given), strategy=STRATEGIES[strategy], backend="numpy")
    found = f({"a": a}, samples=2, rng=0).grad["a"]
    np.testing.assert_allclose(found, slope(a, bend(np.arange(2000.0)), given), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("dtype, backend, accuracy", [("float64", "numpy", 1e-12), ("float32", "numba", 1e-5)])
def test_twenty_thousand_values(dtype, backend, accuracy):
    a = parameter(20_000, "probs")
    f = scg.compile(graph(20_000, "probs"), strategy=scg.LocalExpectation(), dtype=dtype, backend=backend)
    found = f({"a": a}, samples=64, rng=0).grad["a"]
    expected = slope(a, bend(np.arange(20_000.0)), "probs")
    np.testing.assert_allclose(found, expected, atol=accuracy * np.abs(expected).max())


def test_poisson_up_to_two_thousand():
    """What lies above is nothing at rate 900; ∂E f is E f(X + 1) − E f(X)."""
    g = scg.Graph("counts")
    g.cost("c", bend(g.sample("n", scg.Poisson(rate=g.param("rate")))))
    r = scg.compile(g, strategy=scg.Enumerate(upto=2000), backend="numpy")({"rate": 900.0}, samples=1, rng=0)
    x, p = np.arange(2001.0), stats.poisson(900.0).pmf(np.arange(2001))
    np.testing.assert_allclose(r.cost, p @ bend(x), rtol=1e-10)
    np.testing.assert_allclose(r.grad["rate"], p @ (bend(x + 1.0) - bend(x)), rtol=1e-9)


@pytest.mark.parametrize("second", ["enumerate", "local", "weak"])
def test_values_given_values(second):
    """A categorical of 300 whose logits move with another's value, both in the cost: worlds of worlds."""
    size = 300
    v = np.linspace(-1.0, 1.0, size)
    g = scg.Graph("two")
    a, b = g.param("a", size), g.param("b", size)
    z = g.sample("z", scg.Categorical(logits=a))
    w = g.sample("w", scg.Categorical(logits=b + 0.01 * z * v))
    g.cost("c", np.sin(0.02 * z) * np.cos(0.03 * w))
    f = scg.compile(g, strategy={"z": scg.Enumerate(), "w": STRATEGIES[second]}, backend="numpy")
    values = {"a": parameter(size), "b": 0.3 * parameter(size)[::-1]}
    r = f(values, samples=200, rng=3)
    k = np.arange(float(size))
    p, q = special.softmax(values["a"]), special.softmax(values["b"] + 0.01 * k[:, None] * v, axis=1)
    c = np.sin(0.02 * k)[:, None] * np.cos(0.03 * k)
    inner = (q * c).sum(axis=1)
    expected = {"a": p * (inner - p @ inner), "b": p @ (q * (c - inner[:, None]))}
    for name, value in expected.items():
        if second == "enumerate" or name == "b":  # w's part is summed in every replicate, z's needs w's draws
            np.testing.assert_allclose(r.grad[name], value, atol=1e-12)
        assert np.all(np.abs(r.grad[name] - value) <= 5.0 * r.stderr[name] + 1e-12)


def test_two_sites_of_five_hundred_by_local_expectation():
    """Each is summed over its values while the other stays as it was drawn."""
    size = 500
    g = scg.Graph("two")
    z, w = (g.sample(name, scg.Categorical(logits=g.param(p, size))) for name, p in (("z", "a"), ("w", "b")))
    g.cost("c", np.sin(0.02 * z) + np.cos(0.01 * z) * np.cos(0.03 * w))
    values = {"a": parameter(size), "b": 0.3 * parameter(size)[::-1]}
    r = scg.compile(g, strategy=scg.LocalExpectation(), backend="numpy")(values, samples=300, rng=3)
    k = np.arange(float(size))
    p, q = (special.softmax(values[name]) for name in "ab")
    c = np.sin(0.02 * k)[:, None] + np.cos(0.01 * k)[:, None] * np.cos(0.03 * k)
    for name, expected in {"a": p * (c @ q - p @ c @ q), "b": q * (p @ c - p @ c @ q)}.items():
        assert np.all(np.abs(r.grad[name] - expected) <= 5.0 * r.stderr[name])


@pytest.mark.parametrize("strategy", ["local", "weak"])
def test_three_thousand_values_in_every_step(strategy):
    """The costs add up over the steps, so what the other steps drew is weighed by Σ ∂p = 0."""
    size, steps = 3000, 2
    g = scg.Graph("loop")
    a = g.param("a", size)

    def step(total, _):
        k = g.sample("k", scg.Categorical(logits=a))
        return total + bend(k), None

    total, _ = g.scan(step, 0.0, length=steps)
    g.cost("c", total)
    f = scg.compile(g, strategy=STRATEGIES[strategy], backend="numpy")
    found = f({"a": parameter(size)}, samples=2, rng=0).grad["a"]
    expected = steps * slope(parameter(size), bend(np.arange(float(size))))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_table_with_a_row_for_each_value():
    size = 1000
    g = scg.Graph("table")
    table = g.param("table", size)
    z = g.sample("z", scg.Categorical(logits=g.param("a", size)))
    g.cost("c", table[z] ** 2)
    values = {"a": parameter(size), "table": bend(np.arange(float(size)))}
    p, c = special.softmax(values["a"]), values["table"]
    for strategy in (scg.Enumerate(), scg.LocalExpectation()):
        r = scg.compile(g, strategy=strategy, backend="numpy")(values, samples=20, rng=0)
        np.testing.assert_allclose(r.grad["a"], slope(values["a"], c * c), atol=1e-12)
        if strategy == scg.Enumerate():
            np.testing.assert_allclose(r.grad["table"], 2.0 * p * c, atol=1e-12)


def test_entropy_and_divergence():
    size = 20_000
    a, b = parameter(size), 0.3 * parameter(size)[::-1]
    g = scg.Graph("information")
    p = scg.Categorical(logits=g.param("a", size))
    g.cost("entropy", p.entropy())
    g.cost("divergence", scg.kl_divergence(p, scg.Categorical(probs=g.param("w", size))))
    r = scg.compile(g, backend="numpy")({"a": a, "w": np.exp(b)}, samples=1, rng=0)
    p, q = special.softmax(a), special.softmax(b)
    entropy, divergence = special.entr(p).sum(), special.rel_entr(p, q).sum()
    np.testing.assert_allclose([r.costs["entropy"], r.costs["divergence"]], [entropy, divergence], rtol=1e-12)
    slopes = -p * (np.log(p) + entropy) + p * (np.log(p / q) - divergence)
    np.testing.assert_allclose(r.grad["a"], slopes, atol=1e-14)
    np.testing.assert_allclose(r.grad["w"], (q - p) / np.exp(b), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("strategy", ["local", "enumerate", "weak"])
def test_a_masked_value_has_no_world(strategy):
    """A logit of −∞ has probability and derivative 0; what would be out of range there is not looked at."""
    size = 400
    odd = np.arange(size) % 2 == 1
    g = scg.Graph("masked")
    z = g.sample("z", scg.Categorical(logits=scg.where(odd, -np.inf, g.param("a", size))))
    y = g.sample("y", scg.Bernoulli(probs=scg.where(z % 2.0 == 1.0, 1.5, 0.25)))
    g.cost("c", bend(z) + y)
    f = scg.compile(g, strategy={"z": STRATEGIES[strategy]}, backend="numpy")
    a = parameter(size)
    found = f({"a": a}, samples=5, rng=0).grad["a"]
    expected = slope(np.where(odd, -np.inf, a), bend(np.arange(float(size))))
    np.testing.assert_allclose(found, expected, atol=1e-13)  # y is the same draw in all worlds there are


@pytest.mark.parametrize("strategy", ["local", "enumerate", "weak"])
def test_rows_and_arrays_of_sites(strategy):
    """Values along an axis beside rows, and beside the elements of an array of sites."""
    size, x = 60, np.array([0.3, -1.2, 0.8])
    g = scg.Graph("rows")
    a, data = g.param("a", (2, size)), g.data("x")
    z = g.sample("z", scg.Categorical(logits=a * data))
    g.cost("c", np.sum(bend(30.0 * z) * np.array([1.0, -2.0])))
    values = {"a": np.stack([parameter(size), parameter(size)[::-1]]), "x": x}
    f = scg.compile(g, strategy=STRATEGIES[strategy], backend="numpy")
    found = f(values, samples=3, rng=0).grad["a"]
    c = bend(30.0 * np.arange(float(size)))
    expected = np.mean([[w * t * slope(row * t, c) for row, w in zip(values["a"], (1.0, -2.0))] for t in x], axis=0)
    np.testing.assert_allclose(found, expected, atol=1e-12)


# --- proofs ----------------------------------------------------------------------------------------------------------
def test_exact_and_verify():
    size = 1000
    a = parameter(size)
    found = scg.exact(graph(size), {"a": a}).grad["a"]
    np.testing.assert_allclose(found, slope(a, bend(np.arange(float(size)))), atol=1e-12)
    f = scg.compile(graph(size), strategy=scg.LocalExpectation(), backend="numpy")
    checked = scg.verify(f, {"a": a})
    assert checked.passed and checked.max_error < 1e-12


# --- text and memory -------------------------------------------------------------------------------------------------
def nodes_of(derivation) -> int:
    """How many nodes the surrogate has."""
    return len(topological(derivation.draft.roots()))


@pytest.mark.parametrize("given", ["logits", "probs"])
@pytest.mark.parametrize("strategy", [*STRATEGIES, "policy"])
def test_nodes_and_text_do_not_grow(strategy, given):
    """A graph of ten times as many values has as many nodes, and the same text but for the numbers in it."""
    chosen = STRATEGIES.get(strategy)
    few, many = graph(100, given), graph(1000, given)
    assert nodes_of(derive(few, chosen)) == nodes_of(derive(many, chosen))
    views = [[str(s), str(s.sympy()), s.latex()] for s in (g.surrogate(chosen) for g in (few, many))]
    for view in zip(*views):
        assert len(view[0]) >= len(view[1]) - 20
    kernels = [without_numbers(scg.compile(g, strategy=chosen).source) for g in (few, many)]
    assert kernels[0] == kernels[1]


def without_numbers(text: str) -> str:
    """A kernel's text without its numbers: tables of the order of long sums are data too."""
    return re.sub(r"\[#(, #)*\]", "[#]", re.sub(r"\d[\d.e-]*", "#", text))


COSTS = {"value": lambda g, z, q: bend(z), "table": lambda g, z, q: g.param("t", q.params["logits"].size)[z] ** 2,
         "log-ratio": lambda g, z, q: q.log_prob(z) - scg.Categorical(logits=g.param("t", q.params["logits"].size))
         .log_prob(z)}  # fmt: skip


def of_cost(size: int, cost: str) -> tuple[scg.Graph, dict]:
    """One site of a categorical q, a cost of its value, and the parameters' values."""
    g = scg.Graph(cost)
    q = scg.Categorical(logits=g.param("a", size))
    g.cost("c", COSTS[cost](g, g.sample("z", q), q))
    values = {"a": parameter(size), "t": 0.3 * parameter(size)[::-1]}
    return g, {name: values[name] for name in g.params}


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("strategy", ["local", "enumerate", "weak"])
def test_memory_is_linear(strategy, cost):
    """Four times as many values take four times as much, but for an array more where sums are kept apart."""
    peaks = []
    for size in (1500, 6000):
        g, values = of_cost(size, cost)
        f = scg.compile(g, strategy=STRATEGIES[strategy], backend="numpy")
        tracemalloc.start()
        f(values, samples=4, rng=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 5.0 * peaks[0]  # 16 times, if every value met every other


@pytest.mark.parametrize("strategy", ["local", "enumerate", "weak"])
def test_a_log_ratio_is_a_divergence(strategy):
    """E log q − log p = KL(q ‖ p); what a replicate's own draw adds to one parameter it takes from the other."""
    size = 700
    g, values = of_cost(size, "log-ratio")
    r = scg.compile(g, strategy=STRATEGIES[strategy], backend="numpy")(values, samples=4, rng=5)
    q, p = special.softmax(values["a"]), special.softmax(values["t"])
    expected = {"a": q * (np.log(q / p) - special.rel_entr(q, p).sum()), "t": p - q}
    np.testing.assert_allclose(r.grad["a"] + r.grad["t"], expected["a"] + expected["t"], atol=1e-12)
    if strategy == "enumerate":
        np.testing.assert_allclose(r.grad["a"], expected["a"], atol=1e-12)
