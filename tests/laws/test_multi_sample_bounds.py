"""Bounds of several samples, −log (1/K) Σ wₖ, under VIMCO: the exact law, and its variance by enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import scg
from scg.derive import derive
from scg.expectation.exact import integrate
from scg.expectation.law import expected_by_kernel, expected_gradient
from tests.laws.checks.exact_law import check_expectation

A, W, LIKELIHOOD = np.array([0.3, -0.7]), np.array([0.1, 0.5]), np.array([1.0, -0.6])
MEANS = ("geometric", "arithmetic")


def log_weights(g, h, q):
    """log p(h) p(x = 0.7 | h) − log q(h), one for each of the samples."""
    prior = scg.Bernoulli(logits=g.param("w", (2,))).log_prob(h).sum(axis=-1)
    return prior + scg.Normal(h @ LIKELIHOOD + g.param("c"), 0.8).log_prob(0.7) - q.log_prob(h).sum(axis=-1)


def one_layer(g, k=2):
    q = scg.Bernoulli(logits=g.param("a", (2,)))
    g.cost("bound", -scg.logmeanexp(log_weights(g, g.sample("h", q, shape=(k, 2)), q), axis=0))


def scaled_beside_another_cost(g):
    q = scg.Bernoulli(logits=g.param("a", (2,)))
    h = g.sample("h", q, shape=(2, 2))
    g.cost("bound", 3.0 - g.param("s") * scg.logmeanexp(log_weights(g, h, q)), scale=0.5)
    g.cost("other", (h.sum() - 0.4) ** 2)


def two_layers(g):
    q1 = scg.Bernoulli(logits=g.param("a", (2,)))
    h1 = g.sample("h", q1, shape=(2, 2))
    q2 = scg.Bernoulli(logits=h1 @ np.array([0.8, -0.4]) + g.param("b"))
    h2 = g.sample("k", q2)
    log_w = log_weights(g, h1, q1) + scg.Bernoulli(logits=g.param("v")).log_prob(h2) - q2.log_prob(h2) + 0.3 * h2
    g.cost("bound", -scg.logmeanexp(log_w, axis=0))


def written_out_in_rows(g):
    x = g.data("x")
    q = scg.Bernoulli(logits=g.param("a", (2,)) * x)
    h = g.sample("h", q, shape=(2, 2))
    g.cost("bound", np.log(2.0) - np.log(np.exp(log_weights(g, h, q) + x).sum()))


PROBLEMS = (one_layer, scaled_beside_another_cost, two_layers, written_out_in_rows)


def graph(build, *args):
    g = scg.Graph(build.__name__)
    build(g, *args)
    values = {"a": A, "w": W} | {name: 0.2 for name in g.params if name not in "aw"}
    return g, values | {name: np.array([1.0, -0.4]) for name in g.rows}


@pytest.mark.parametrize("build", PROBLEMS)
@pytest.mark.parametrize("mean", MEANS)
def test_the_exact_law(build, mean):
    g, values = graph(build)
    found = expected_gradient(derive(g, scg.ScoreFunction(scg.VIMCO(mean=mean))), values)
    check_expectation(found, integrate(g, values), f"under the {mean} mean", tolerance=1e-12)


@pytest.mark.by_python
def test_in_kernels():
    g, values = graph(two_layers)
    found = expected_by_kernel(derive(g, scg.ScoreFunction(scg.VIMCO())), values)
    check_expectation(found, integrate(g, values), "in a kernel", tolerance=1e-12)


def by_enumeration(mean, k=2):
    """The exact gradient in a and its variance, from the definition; without a baseline if there is no mean."""
    p, prior = 1.0 / (1.0 + np.exp(-A)), 1.0 / (1.0 + np.exp(-W))
    first, second = np.zeros(2), np.zeros(2)
    for bits in itertools.product([0.0, 1.0], repeat=2 * k):
        h = np.array(bits).reshape(k, 2)
        log_q = np.log(np.where(h > 0, p, 1.0 - p)).sum(1)
        log_w = np.log(np.where(h > 0, prior, 1.0 - prior)).sum(1) - log_q
        log_w += -0.5 * ((0.7 - h @ LIKELIHOOD - 0.2) / 0.8) ** 2 - np.log(0.8 * np.sqrt(2.0 * np.pi))
        w = np.exp(log_w)
        signal = np.full(k, np.log(w.mean()))
        for j in range(k) if mean else ():
            rest = np.delete(log_w, j)
            own = np.exp(rest.mean()) if mean == "geometric" else np.exp(rest).mean()
            signal[j] -= np.log((np.exp(rest).sum() + own) / k)
        grad = -signal @ (h - p) + (w / w.sum()) @ (h - p)
        first, second = (total + np.exp(log_q.sum()) * x for total, x in ((first, grad), (second, grad**2)))
    return first, second - first**2


@pytest.mark.parametrize("mean", (None, *MEANS))
def test_the_variance_is_that_of_the_definition(mean):
    g, values = graph(one_layer)
    f = scg.compile(g, strategy=scg.ScoreFunction(mean and scg.VIMCO(mean=mean)), backend="numpy")
    r = f(values, samples=50_000, rng=0)
    exact, variance = by_enumeration(mean)
    np.testing.assert_allclose(scg.exact(g, values).grad["a"], exact, rtol=1e-12)
    np.testing.assert_allclose(r.stderr["a"] ** 2 * r.samples, variance, rtol=0.05)


def test_it_is_far_less_than_without():
    plain = by_enumeration(None)[1]
    for mean in MEANS:
        assert np.all(by_enumeration(mean)[1] < 0.25 * plain)


def test_in_print():
    s = graph(one_layer)[0].surrogate(scg.ScoreFunction(scg.VIMCO()))
    assert "log p(h | a) * ⊥(Q(h) - B(h))" in str(s) and "B(h): bound with the geometric mean" in str(s)


def no_bound(g):
    h = g.sample("h", scg.Bernoulli(logits=g.param("a", (2,))), shape=(2, 2))
    g.cost("c", (h.sum(axis=1) - 0.4) ** 2)
    g.cost("joined", -scg.logmeanexp(h.sum(axis=1) * h[::-1].sum(axis=1), axis=0))


@pytest.mark.parametrize("make, why", [
    (lambda: scg.VIMCO(mean="harmonic"), '"geometric" or "arithmetic"'), (lambda: scg.VIMCO(axis=None), "dimension"),
    (lambda: derive(graph(no_bound)[0], scg.ScoreFunction(scg.VIMCO())), "No cost is linear in a log Σ exp"),
    (lambda: derive(graph(one_layer)[0], scg.ScoreFunction(scg.VIMCO(axis=1))),
     r"along axis 1\. Give axis=0: along it they are\."),
    (lambda: derive(graph(one_layer, 1)[0], scg.ScoreFunction(scg.VIMCO())), "no others along axis 0"),
])
def test_what_has_no_bound(make, why):
    with pytest.raises(scg.BaselineError, match=why):
        make()


def test_nothing_has_no_mean():
    with pytest.raises(scg.ShapeError, match="no elements"):
        scg.logmeanexp(np.zeros((0, 2)), axis=0)
