"""Discrete draws have their probabilities to the last bit, also where one word of the noise does not show it.

A draw compares probabilities with the binary number U = 0.w₀w₁w₂… of the words of its lane. The words are known here,
so probabilities are put next to U on purpose, within the step of the first word, on either side; what must be drawn
follows from fractions. No frequency is needed to see whether an event of probability 1e-12 happens when it should.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import scg
from scg import noise

SEED = 11
LANES = 1 << 13
BACKENDS = ["numpy", "numba"]


def number(r: int, element: int = 0) -> Fraction:
    """U of a replicate of site "b"."""
    key = noise.key(SEED, "b")
    return sum((Fraction(noise.word(key, r, element, 0, i), 1 << 32 * (i + 1)) for i in range(3)), Fraction(0))


def extremes() -> tuple[int, int, int]:
    """Replicates with a small, a middling, and a large U."""
    from scg_numpy.noise import words

    first = words(noise.key(SEED, "b"), np.arange(LANES), 0, 0, 0)
    return int(first.argmin()), int(np.abs(first.astype(float) - 0.3 * 2**32).argmin()), int(first.argmax())


def beside(u: Fraction, dtype: str) -> list[float]:
    """Numbers of the dtype next to u, on both sides."""
    near = np.dtype(dtype).type(float(u))
    out = [near]
    for toward in (0.0, 1.0):
        x = near
        for _ in range(2):
            x = np.nextafter(x, np.dtype(dtype).type(toward))
            out.append(x)
    return [float(x) for x in out if 0 < float(x) < 1]


def alone(rate):
    g = scg.Graph("alone")  # one probability for all lanes, and one reader of the noise
    b = g.sample("b", scg.Bernoulli(**{rate: g.param("p")}))
    g.cost("c", b * 1.0)
    return g, {}


def by_lane(rate):
    g = scg.Graph("by lane")
    z = g.sample("z", scg.Normal(loc=0.0, scale=1.0))
    b = g.sample("b", scg.Bernoulli(**{rate: g.param("p") + 0.0 * z}))
    g.cost("c", b * 1.0)
    return g, {}


def by_row(rate):
    g = scg.Graph("by row")
    b = g.sample("b", scg.Bernoulli(**{rate: g.param("p") + g.data("x")}))
    g.cost("c", b * 1.0)
    return g, {"x": np.zeros(1)}


@pytest.mark.by_python(dtype="float64")
@pytest.mark.parametrize("build, dtype", [
    (alone, "float64"), (alone, "float32"), (by_row, "float32"),
    pytest.param(by_lane, "float64", marks=pytest.mark.full)], ids=lambda f: getattr(f, "__name__", f))
def test_a_probability_beside_the_number(build, dtype):
    graph, values = build("probs")
    for backend in BACKENDS:
        f = scg.compile(graph, backend=backend, dtype=dtype, stderr=False)
        for r in extremes():
            u = number(r)
            seen = set()
            for p in beside(u, dtype):
                n = r + 1 if backend == "numpy" else LANES
                drawn = f(values | {"p": p}, samples=n, rng=SEED, record=("b",)).record["b"][0, r]
                assert drawn == (u < Fraction(p)), (backend, p)
                seen.add(float(drawn))
            assert seen == {0.0, 1.0}


def test_log_odds_of_a_probability_that_rounds_to_one():
    """With log-odds, what is left of 1 is known where the probability itself is rounded."""
    for build, dtype in ((alone, "float64"), (by_lane, "float32")):
        graph, values = build("logits")
        for backend in BACKENDS:
            f = scg.compile(graph, backend=backend, dtype=dtype, stderr=False)
            for r in (extremes()[0], extremes()[2]):
                u = number(r)
                exact = np.log(float(u)) - np.log(float(1 - u))
                steps = 4 * np.finfo(dtype).eps * abs(exact) + 1e-14  # beyond the rounding of log and exp
                for logit in (exact - steps, exact + steps):
                    logit = float(np.dtype(dtype).type(logit))
                    left = 1.0 / (1.0 + np.exp(abs(logit)))
                    right = (u < Fraction(left)) if logit < 0 else not (1 - u < Fraction(left))
                    n = r + 1 if backend == "numpy" else LANES
                    drawn = f(values | {"p": logit}, samples=n, rng=SEED, record=("b",)).record["b"][0, r]
                    assert drawn == right, (backend, logit)


def test_certain_events_are_certain_for_every_number():
    word = {"zero": lambda i: 0, "one": lambda i: 0xFFFFFFFF}
    for w in word.values():
        assert noise.below(w, 1.0, 0.0) and not noise.below(w, 0.0, 1.0)
        assert noise.category(w, [0.0, 1.0, 0.0]) == 1
    from numba import njit
    from scg_numba.choices import below_at, fill_range_below

    @njit
    def drawn(p, q):
        out, scratch = np.empty(4096), np.empty(64)
        fill_range_below(out, scratch, p, q, 1, 2, 7, 0, 0, False)
        again = np.empty(4096)
        for i in range(4096):
            again[i] = below_at(p, q, 1, 2, 7 + i, 0, 0, False)
        flipped = np.empty(4096)
        fill_range_below(flipped, scratch, q, p, 1, 2, 7, 0, 0, True)
        return out, again, flipped

    for p, q in ((0.0, 1.0), (1.0, 0.0), (1.0, 1e-300), (1e-300, 1.0), (0.3, 0.7), (0.7, 0.3), (0.5, 0.5)):
        out, again, flipped = drawn(p, q)
        assert np.array_equal(out, again) and np.array_equal(out, 1.0 - flipped)
        if min(p, q) < 0.1:
            assert (out == round(p)).all()
        key = (1, 2)
        exact = [noise.below(lambda d, i=i: noise.word(key, 7 + i, 0, 0, d), p, q) for i in range(64)]
        assert np.array_equal(out[:64], exact)


@pytest.mark.parametrize("size, lanes, dtype", [(3, False, "float64"), (40, False, "float32"), (3, True, "float32"),
                                                (40, True, "float64"),
                                                pytest.param(40, False, "float64", marks=pytest.mark.full)])
def test_a_category_beside_the_number(size, lanes, dtype):
    """A value of small probability, in the middle or at an end, whose interval ends next to U."""
    g = scg.Graph("category")
    p = g.param("p", (size,))
    if lanes:
        p = p + 0.0 * g.sample("z", scg.Normal(loc=0.0, scale=1.0))
    g.cost("c", g.sample("b", scg.Categorical(probs=p)) * 1.0)
    gap = {"float64": 2.0**-40, "float32": 2.0**-26}[dtype]
    for backend in BACKENDS:
        f = scg.compile(g, backend=backend, dtype=dtype, stderr=False)
        for r in extremes():
            u = float(number(r))
            for k in (0, size // 2, size - 2):
                drawn = []
                for side in (-1.0, 1.0):  # the sum of the first k + 1 probabilities is just below U, or just above
                    weights = np.full(size, (u + side * gap) / (k + 1))
                    weights[k + 1:] = (1.0 - (u + side * gap)) / (size - k - 1)
                    given = weights.astype(dtype).astype(float)
                    sums = np.cumsum(given / given.sum())
                    if abs(sums[k] - u) < gap / 4:  # rounded to U itself
                        continue
                    n = r + 1 if backend == "numpy" else LANES
                    value = f({"p": weights}, samples=n, rng=SEED, record=("b",)).record["b"][0, r]
                    drawn.append(value)
                    if dtype == "float64":
                        assert value == np.searchsorted(sums, u, side="right"), (backend, r, k, side)
                assert dtype == "float32" or drawn[0] > k >= drawn[1]


def test_a_category_by_the_sums_from_both_ends():
    """Searched by halves it is the same one: beside U, behind weights of 0, and next to 1."""
    rng = np.random.default_rng(0)
    for trial in range(2000):
        weights = rng.dirichlet(np.full(rng.integers(1, 9), 0.3))
        weights[rng.integers(len(weights))] *= trial % 3 > 0
        words = rng.integers(0, 2**32, size=40).tolist()
        if trial % 2:
            beside = min(np.cumsum(weights)[rng.integers(len(weights))], 1 - 2.0**-53) * 2.0**32
            words[:3] = int(beside), int((beside % 1.0) * 2.0**32), 0
        low, high = np.cumsum(weights), np.cumsum(weights[::-1])[::-1]
        found = noise.category_of_sums(words.__getitem__, low, high)
        assert found == noise.category(words.__getitem__, weights.tolist())


def test_a_large_table_in_float32():
    """Of 20 000 categories one word decides little: what further words decide is alike in both backends."""
    g = scg.Graph("table")
    k = g.sample("k", scg.Categorical(probs=g.input("p", 20_000)))
    g.cost("c", k * 1.0)
    p = np.linspace(1.0, 2.0, 20_000)
    drawn = [scg.compile(g, dtype="float32", backend=b, stderr=False)({"p": p}, samples=2000, rng=0, record=("k",))
             .record["k"] for b in BACKENDS]
    assert np.array_equal(*drawn)
    assert abs(drawn[0].mean() - np.arange(20_000) @ p / p.sum()) < 5 * drawn[0].std() / np.sqrt(2000)


def test_a_category_of_probability_nothing_is_never_drawn():
    word = noise.key(SEED, "b")
    for r in range(200):
        k = noise.category(lambda i, r=r: noise.word(word, r, 0, 0, i), [0.0, 0.25, 0.0, 0.25, 0.0, 0.5, 0.0])
        assert k in (1, 3, 5)


@pytest.mark.optimised
@pytest.mark.parametrize("family", ["Bernoulli", "Categorical"])
def test_an_event_of_small_probability_in_float32(family):
    """5e-8, drawn 4e8 times: 20 events are expected; a float32 uniform of 23 bits sees none or 48."""
    g = scg.Graph("rare")
    p = g.param("p")
    if family == "Bernoulli":
        b = g.sample("b", scg.Bernoulli(probs=p), shape=100)
    else:
        b = g.sample("b", scg.Categorical(probs=scg.stack([0.5 - p, p, 0.5])), shape=100)
        b = scg.where(b == 1.0, 1.0, 0.0)
    g.cost("c", b.sum())
    r = scg.compile(g, dtype="float32")({"p": 5e-8}, samples=4_000_000, rng=0)
    assert r.cost_stderr > 0 and abs(r.cost - 5e-6) < 5 * r.cost_stderr
