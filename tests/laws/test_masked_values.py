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
