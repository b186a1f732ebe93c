"""What is masked never comes about: whatever a cost or a later site would be there, it counts for nothing.

Right values are sums over what is left, in plain NumPy.
"""

import itertools

import numpy as np
import pytest

import scg

SUMMED = (scg.Enumerate(), scg.LocalExpectation(), scg.WeakDerivative(),
          scg.WeakDerivative(coupled=False, noise="fresh"))
W = np.array([0.1, 0.4, -0.2])


def numerical(function, at):
    """The gradient of a smooth function, by central differences."""
    at = np.asarray(at, dtype=float)
    units = 1e-5 * np.eye(at.size).reshape(-1, *at.shape)
    return np.array([(function(at + u) - function(at - u)) / 2e-5 for u in units]).reshape(at.shape)


def softmax(w, allowed):
    p = np.exp(w) * allowed
    return p / p.sum(axis=-1, keepdims=True)


def own_log_prob(q, k, w):
    return q.log_prob(k) - scg.take(np.array([0.3, 0.7, -0.2]), k)


def pole(q, k, w):
    return w[0] / (k - 1.0)


def logarithm(q, k, w):
    return np.log(abs(k - 1.0)) * w[0] + k


def later_site(q, k, w):
    """The expectation of a site whose parameter is no number at the masked value."""
    return scg.Bernoulli(probs=1.0 / (1.0 + abs(1.0 / (k - 1.0)))), w[2]


PLAIN = {own_log_prob: lambda k, p, w: np.log(p[k]) - [0.3, 0.7, -0.2][k], pole: lambda k, p, w: w[0] / (k - 1.0),
         logarithm: lambda k, p, w: np.log(abs(k - 1.0)) * w[0] + k, later_site: lambda k, p, w: w[2] * 0.5}
COSTS = tuple(PLAIN)


def one_choice(cost, allowed=(True, False, True)):
    g = scg.Graph("choice")
    w = g.param("w", 3)
    q = scg.Categorical(logits=w + np.where(allowed, 0.0, -np.inf))
    k = g.sample("k", q)
    found = cost(q, k, w)
    g.cost("c", g.sample("b", found[0]) * found[1] if isinstance(found, tuple) else found)
    return g


@pytest.mark.parametrize("cost", COSTS, ids=lambda c: c.__name__)
def test_costs_that_are_no_numbers_where_the_mask_is(cost):
    """Exactly, and of every estimator the expectation."""
    allowed = np.array([True, False, True])

    def right(w):
        p = softmax(w, allowed)
        return sum(p[k] * PLAIN[cost](k, p, w) for k in (0, 2))

    exact = scg.exact(one_choice(cost), {"w": W})
    np.testing.assert_allclose(exact.cost, right(W), rtol=1e-12)
    np.testing.assert_allclose(exact.grad["w"], numerical(right, W), atol=1e-8)
    for estimator in SUMMED:
        strategy = {"k": estimator, **({"b": scg.ScoreFunction()} if cost is later_site else {})}
        verified = scg.verify(scg.compile(one_choice(cost), strategy=strategy, backend="numpy"), {"w": W})
        assert verified.passed, (estimator, verified)


def test_the_first_value_masked():
    """Weak derivatives compare with it."""
    graph = one_choice(own_log_prob, (False, True, True))
    p = softmax(W, np.array([0, 1, 1]))
    np.testing.assert_allclose(scg.exact(graph, {"w": W}).cost, p[1:] @ (np.log(p[1:]) - [0.7, -0.2]), rtol=1e-12)
    for estimator in SUMMED:
        assert scg.verify(scg.compile(graph, strategy=estimator, backend="numpy"), {"w": W}).passed, estimator


def test_masks_by_row():
    """Each row has a mask of its own, given with the data; costs are infinite at just what it masks."""
    allowed = np.array([[1.0, 0, 1], [1, 1, 0], [0, 1, 0], [1, 1, 1]])

    def right(w):
        return np.mean([softmax(w, a)[a > 0] @ np.log(softmax(w, a)[a > 0]) for a in allowed])

    g = scg.Graph("rows")
    w, mask = g.param("w", 3), g.data("mask", 3)
    k = g.sample("k", scg.Categorical(logits=w + np.log(mask)))
    g.cost("c", np.log(mask[k]) + np.log(scg.softmax(w + np.log(mask))[k]))
    values = {"w": W, "mask": allowed}
    r = scg.compile(g, strategy=scg.Enumerate(), backend="numpy")(values, rng=0)
    np.testing.assert_allclose(r.cost, right(W), rtol=1e-12)
    np.testing.assert_allclose(r.grad["w"], numerical(right, W), atol=1e-8)
    np.testing.assert_allclose(scg.exact(g, values).grad["w"], numerical(right, W), atol=1e-8)


def test_arrays_of_choices():
    """Two draws, each with a mask; the cost of both together is infinite where either is masked."""
    allowed = np.array([[True, False, True], [False, True, True]])

    def right(w):
        p, q = softmax(w, allowed[0]), softmax(w, allowed[1])
        return sum(p[i] * q[j] * (w[1] * i * j + np.log(i + 2.0 * j)) for i in (0, 2) for j in (1, 2))

    g = scg.Graph("two")
    w = g.param("w", 3)
    k = g.sample("k", scg.Categorical(logits=w + np.where(allowed, 0.0, -np.inf)))
    g.cost("c", w[1] * k[0] * k[1] + np.log(k[0] + 2.0 * k[1]) + 0.0 / ((k[0] - 1.0) * k[1]))
    exact = scg.exact(g, {"w": W})
    np.testing.assert_allclose(exact.cost, right(W), rtol=1e-12)
    np.testing.assert_allclose(exact.grad["w"], numerical(right, W), atol=1e-8)
    for estimator in SUMMED[:3]:
        assert scg.verify(scg.compile(g, strategy=estimator, backend="numpy"), {"w": W}).passed, estimator


def deck():
    """Two cards drawn without replacement, and a coin whose odds are no number for a card that is gone."""
    g = scg.Graph("deck")
    w = g.param("w", 3)

    def step(left, x):
        k = g.sample("k", scg.Categorical(logits=w + np.log(left)))
        here = left[k]
        b = g.sample("b", scg.Bernoulli(probs=1.0 / (1.0 + 1.0 / here)))
        g.cost("c", x * (np.log(here) + b * k * w[2] + 1.0 / here))
        return scg.where(np.arange(3) == k, 0.0, left), None

    g.scan(step, np.ones(3), xs=np.array([1.0, 0.5]))
    return g


def deck_cost(w):
    p = softmax(w, np.ones(3))
    return sum(p[i] * p[j] / (1.0 - p[i]) * (1.0 + 0.5 * i * w[2] + 0.5 * (1.0 + 0.5 * j * w[2]))
               for i, j in itertools.permutations(range(3), 2))


@pytest.mark.parametrize("estimator", SUMMED[:3], ids=lambda e: type(e).__name__)
def test_draws_without_replacement(estimator):
    """In a loop, where the carry is the mask."""
    exact = scg.exact(deck(), {"w": W})
    np.testing.assert_allclose(exact.cost, deck_cost(W), rtol=1e-12)
    np.testing.assert_allclose(exact.grad["w"], numerical(deck_cost, W), atol=1e-8)
    f = scg.compile(deck(), strategy={"k": estimator, "b": scg.ScoreFunction()}, backend="numpy")
    assert scg.verify(f, {"w": W}).passed


def test_what_is_not_masked_is_seen():
    """A cost that is infinite at a value that can be drawn, however improbable, is an error."""
    g = scg.Graph("not masked")
    k = g.sample("k", scg.Categorical(logits=g.param("w", 3)))
    g.cost("c", 1.0 / (k - 1.0))
    values = {"w": [0.0, -800.0, 0.0]}
    with pytest.raises(scg.NonFiniteError):
        scg.exact(g, values)
    for estimator in SUMMED[:3]:
        with pytest.raises(scg.NonFiniteError):
            scg.compile(g, strategy=estimator, backend="numpy")(values, rng=0)


def test_where_nothing_can_be_masked_nothing_is_looked_at():
    """Logits that are finite for certain cost no comparison."""
    g = scg.Graph("finite")
    k = g.sample("k", scg.Categorical(logits=g.param("w", 3) + 0.5))
    g.cost("c", k * k)
    for estimator in SUMMED:
        assert "inf" not in scg.compile(g, strategy=estimator, backend="numpy").source


# --- probabilities that are 0 and stay so ----------------------------------------------------------------------------
def numbers(k):
    return 1.0 / (k - 1.0) + np.log(abs(k - 1.0))


LEFT = np.array([[1.0, 0.0, 3.0], [2.0, 0.0, 1.0]])
WAYS = {  # weights of three values, of which the second has none, and what they are in plain NumPy
    "a literal": (lambda w, data: np.array([1.0, 0.0, 3.0]), lambda w, row: np.array([1.0, 0.0, 3.0])),
    "data": (lambda w, data: data, lambda w, row: row),
    "a product": (lambda w, data: data * np.exp(w), lambda w, row: row * np.exp(w)),
    "a quotient": (lambda w, data: data / (1.0 + w * w), lambda w, row: row / (1.0 + w * w)),
    "a choice": (lambda w, data: np.where(data > 0, np.exp(w), 0.0), lambda w, row: (row > 0) * np.exp(w)),
    "elements": (lambda w, data: scg.stack([data[0] * w[0], data[1] * w[1], w[2] * w[2]]),
                 lambda w, row: np.array([row[0] * w[0], 0.0, w[2] ** 2])),
    "a softmax": (lambda w, data: scg.softmax(w + np.log(data)), lambda w, row: row * np.exp(w)),
    "a slice": (lambda w, data: scg.concatenate([data[:2] * w[:2], abs(w[2:])]),
                lambda w, row: np.array([row[0] * w[0], 0.0, abs(w[2])])),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_weights_that_stay_0(way):
    """A cost that is infinite at a value whose weight is 0 for certain; exactly, and of every estimator."""
    declared, plain = WAYS[way]
    g = scg.Graph("weights")
    w, data = g.param("w", 3), g.data("data", 3)
    k = g.sample("k", scg.Categorical(probs=declared(w, data)))
    g.cost("c", w[2] * numbers(k) + np.log(data[k] + 0.0 * w[0]))

    def right(w):
        rows = [plain(w, row) / plain(w, row).sum() for row in LEFT]
        return np.mean([sum(p[k] * (w[2] * numbers(k) + np.log(row[k])) for k in (0, 2)) for p, row in zip(rows, LEFT)])

    values = {"w": W, "data": LEFT}
    exact = scg.exact(g, values)
    np.testing.assert_allclose(exact.cost, right(W), rtol=1e-12)
    np.testing.assert_allclose(exact.grad["w"], numerical(right, W), atol=1e-8)
    for estimator in SUMMED[:3]:
        assert scg.verify(scg.compile(g, strategy=estimator, backend="numpy"), values).passed, estimator


def test_a_first_weight_of_0():
    """Weak derivatives compare with the first value; one of them from a compiled kernel."""
    g = scg.Graph("first")
    w = g.param("w", 3)
    k = g.sample("k", scg.Categorical(probs=np.array([0.0, 1.0, 2.0]) * np.exp(w)))
    g.cost("c", w[0] / k)

    def right(w):
        p = np.array([1.0, 2.0]) * np.exp(w[1:]) / (np.array([1.0, 2.0]) @ np.exp(w[1:]))
        return w[0] * (p[0] + p[1] / 2.0)

    for estimator in SUMMED:
        f = scg.compile(g, strategy=estimator, backend="numba" if estimator is SUMMED[1] else "numpy")
        assert scg.verify(f, {"w": W}).passed, estimator
    np.testing.assert_allclose(scg.exact(g, {"w": W}).grad["w"], numerical(right, W), atol=1e-8)


def test_outcomes_that_are_certain():
    """A coin of probability 0 or 1, by data and by an array of masks."""
    g = scg.Graph("coins")
    t, p, mask = g.param("t"), g.data("p"), np.array([1.0, 0.0])
    b = g.sample("b", scg.Bernoulli(probs=p))
    both = g.sample("both", scg.Bernoulli(probs=mask * scg.sigmoid(t)))
    g.cost("b cost", t * np.log(abs(b - 1.0 + p)))  # infinite at 1 where p is 0, and at 0 where it is 1
    g.cost("both cost", both[0] * t + np.log(1.0 - both[1]))

    def right(t):
        return np.mean([t * np.log(abs(b - 1.0 + p)) for p, b in ((0.0, 0.0), (1.0, 1.0))]) + t / (1.0 + np.exp(-t))

    values = {"t": 0.3, "p": [0.0, 1.0]}
    np.testing.assert_allclose(scg.exact(g, values).cost, right(0.3), rtol=1e-12)
    np.testing.assert_allclose(scg.exact(g, values).grad["t"], numerical(right, 0.3), atol=1e-8)
    for estimator in (scg.Enumerate(), scg.LocalExpectation(), scg.WeakDerivative()):
        assert scg.verify(scg.compile(g, strategy=estimator, backend="numpy"), values).passed, estimator


def test_counts_at_rate_0():
    """Of a Poisson at a rate that is 0 by data only the count 0 is looked at."""
    g = scg.Graph("counts")
    t, rate = g.param("t"), g.data("rate")
    n = g.sample("n", scg.Poisson(rate=rate * np.exp(t)))
    g.cost("c", np.where(rate > 0, n, np.log(1.0 - n) + n / (n - 1.0)) * t)
    values = {"t": 0.3, "rate": [0.0, 0.5]}
    right = np.mean([0.0, 0.5 * np.exp(0.3)]), np.mean([0.0, 0.5 * np.exp(0.3) * 1.3])
    exact = scg.exact(g, values)
    np.testing.assert_allclose([exact.cost, exact.grad["t"]], [right[0] * 0.3, right[1]], rtol=1e-10)
    r = scg.compile(g, strategy=scg.Enumerate(upto=30), backend="numpy")(values)
    np.testing.assert_allclose([r.cost, r.grad["t"]], [right[0] * 0.3, right[1]], rtol=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("estimator", SUMMED[:3], ids=lambda e: type(e).__name__)
def test_draws_without_replacement_by_weights(estimator, weighted):
    """In a loop, where what is left is a carry, and the weights move or do not."""
    g = scg.Graph("deck")
    w = g.param("w", 3)

    def step(left, x):
        k = g.sample("k", scg.Categorical(probs=left * np.exp(w) if weighted else left))
        g.cost("c", x * (np.log(left[k]) + k * w[2] + 1.0 / left[k]))
        return scg.where(np.arange(3) == k, 0.0, left), None

    start, xs = np.array([1.0, 2.0, 4.0]), np.array([1.0, 0.5])
    g.scan(step, start, xs=xs)

    def right(w):
        p = start * (np.exp(w) if weighted else 1.0)
        c = np.log(start) + np.arange(3) * w[2] + 1.0 / start
        return sum(p[i] / p.sum() * p[j] / (p.sum() - p[i]) * (c[i] + 0.5 * c[j])
                   for i, j in itertools.permutations(range(3), 2))

    np.testing.assert_allclose(scg.exact(g, {"w": W}).cost, right(W), rtol=1e-12)
    np.testing.assert_allclose(scg.exact(g, {"w": W}).grad["w"], numerical(right, W), atol=1e-8)
    assert scg.verify(scg.compile(g, strategy=estimator, backend="numpy"), {"w": W}).passed


def test_a_probability_that_is_0_on_its_way_elsewhere_is_seen():
    """d/dt of t f(1) + (1 − t) f(0) is f(1) − f(0) at t = 0 too, of whatever is asked to be differentiated by."""
    g = scg.Graph("moving")
    t, d = g.param("t"), g.data("d")
    b = g.sample("b", scg.Bernoulli(probs=g.node("p", t + d)))
    k = g.sample("k", scg.Categorical(probs=scg.stack([1.0 - d, d])))
    g.cost("c", 3.0 * b + 5.0 * k)
    values = {"t": 0.0, "d": [0.0]}
    assert scg.exact(g, values).grad["t"] == pytest.approx(3.0)
    for wrt, right in (("t", 3.0), ("p", 3.0), ("d", 8.0)):
        r = scg.compile(g, strategy=scg.Enumerate(), wrt=wrt, backend="numpy")(values)
        assert float(np.sum(r.grad[wrt])) == pytest.approx(right), wrt
    g = scg.Graph("infinite")
    b = g.sample("b", scg.Bernoulli(probs=g.param("t") * g.param("s")))
    g.cost("c", np.log(1.0 - b))
    for wrong in (lambda v: scg.exact(g, v), scg.compile(g, strategy=scg.Enumerate(), backend="numpy")):
        with pytest.raises(scg.NonFiniteError):
            wrong({"t": 0.0, "s": 1.0})
