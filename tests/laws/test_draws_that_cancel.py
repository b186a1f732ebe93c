"""Baselines in which each element's own draw cancels: leave-one-out means over a site's elements, by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import scg
from tests.laws.checks.exact_law import check_exact_law

W = np.random.default_rng(0).standard_normal((3, 3))
FORMS = {
    "the sum less its own": lambda h: h.sum() - h,
    "the mean less its own": lambda h: h.mean() - h / 3,
    "the sum so far less its own": lambda h: np.cumsum(h) - h,
    "of a product": lambda h: W @ h - np.diag(W) * h,
    "a function of what is left": lambda h: scg.exp(h.sum() - h) * 0.3 + (h.sum() - h) ** 2,
    "a product with it": lambda h: (h.sum() - h) * 2.0 + h * 0.0,
    "by hand": lambda h: np.stack([h[1] + h[2], h[0] * h[2], h[0]]),
    "nothing cancels": lambda h: h.sum(),
    "not all of it": lambda h: h.sum() - 0.5 * h,
    "another's": lambda h: h.sum() - h[::-1],
    "some elements": lambda h: h.sum() - h * np.array([1.0, 1.0, 0.0]),
    "in a square": lambda h: h.sum() ** 2 - h**2,
    "not of this product": lambda h: W @ h - np.diag(W.T @ W) * h,
    "a condition": lambda h: np.where(h > 0.5, h.sum() - h, 0.0),
}


def graph(form):
    g = scg.Graph("b")
    h = g.sample("h", scg.Bernoulli(logits=g.param("t", 3)))
    g.cost("c", (h.sum() - 0.45) ** 2 * (1.0 + h[0]))
    return g, form(h)


def depends(form) -> bool:
    """Whether some element changes with its own draw, by all values of the draws."""
    g = scg.Graph("b")
    h = g.input("h", 3)
    g.cost("c", np.sum(form(h) * g.input("one", 3)))
    f = scg.compile(g, wrt=(), backend="numpy")

    def element(draws, i):
        return float(f({"h": np.array(draws), "one": np.eye(3)[i]}, samples=1).cost)

    return any(abs(element(draws, i) - element((*draws[:i], 1.0 - draws[i], *draws[i + 1:]), i)) > 1e-12
               for draws in itertools.product((0.0, 1.0), repeat=3) for i in range(3))


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_what_cancels_is_legal_and_what_does_not_is_refused(form):
    g, baseline = graph(form)
    strategy = scg.ScoreFunction(scg.Expression(baseline))
    if depends(form):
        with pytest.raises(scg.BaselineError, match="own sample"):
            scg.compile(g, strategy=strategy, backend="numpy")
    else:
        check_exact_law(g, {"t": np.array([0.3, -0.2, 0.5])}, strategy)


def test_of_vectors_each_is_a_draw():
    """The elements of a vector are weighed by one signal, and none of them may be left."""
    def made(baseline):
        g = scg.Graph("b")
        z = g.sample("z", scg.OneHotCategorical(logits=g.param("t", (2, 3))))
        values = z @ np.array([1.0, 2.0, 4.0])
        g.cost("c", values.sum() ** 2)
        return g, scg.ScoreFunction(scg.Expression(baseline(z, values)))

    g, strategy = made(lambda z, values: values.sum() - values)
    check_exact_law(g, {"t": 0.3 * W[:2]}, strategy)
    g, strategy = made(lambda z, values: z[:, 1].sum() - z[:, 0])
    with pytest.raises(scg.BaselineError, match="own sample"):
        scg.compile(g, strategy=strategy, backend="numpy")
