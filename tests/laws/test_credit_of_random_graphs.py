"""Credit by elements on random graphs of arrays and loops: whatever is told apart, the exact law holds."""

from __future__ import annotations

import random

import numpy as np
import pytest

import scg
from scg.derive import derive
from scg.expectation.exact import integrate
from scg.expectation.law import expected_gradient
from tests.laws.checks.exact_law import worst

ESTIMATORS = (scg.ScoreFunction(credit="elements"), scg.ScoreFunction(), scg.LocalExpectation(credit="elements"),
              scg.MuProp(credit="elements"))
SMOOTH = (lambda x: (x - 0.4) ** 2, lambda x: scg.sigmoid(x), lambda x: np.exp(0.3 * x), lambda x: x * x * x,
          lambda x: 1.5 * x)


def moved(r: random.Random, x):
    """The elements of x moved, repeated, weighed or joined."""
    ways = [lambda: x[::-1], lambda: x.T, lambda: x.reshape(x.size), lambda: x[1:] if x.shape[0] > 1 else x,
            lambda: scg.concatenate([x, 0.3 * x]), lambda: scg.stack([x, 0.5 - x]), lambda: x.sum(axis=0),
            lambda: x[np.array([r.randrange(x.shape[0]) for _ in range(x.shape[0])])],
            lambda: x * np.array([r.choice([0.0, 1.0, -2.0]) for _ in range(x.shape[-1])]),
            lambda: x @ np.array([[r.choice([0.0, 1.0, 0.3])] * 2 for _ in range(x.shape[-1])])]
    return r.choice(ways)() if x.ndim else x


def of_arrays(r: random.Random) -> scg.Graph:
    g = scg.Graph("arrays")
    shape = r.choice([(3,), (2, 2), (1, 2)])
    if r.random() < 0.3:
        h = g.sample("h", scg.OneHotCategorical(logits=g.param("t", (2, 2)))) @ np.array([1.0, 0.4])
    else:
        h = g.sample("h", scg.Bernoulli(logits=g.param("t", shape)))
    w = g.param("w", (2,))
    for c in range(2):
        total = None
        for _ in range(r.randrange(1, 3)):
            x = h
            for _ in range(3):
                x = r.choice(SMOOTH)(x) if r.random() < 0.5 else moved(r, x)
            if r.random() < 0.3 and x.size <= 2:
                x = 1.5 * g.sample(f"k{len(g.sites)}", scg.Bernoulli(logits=x)) + x
            summand = r.choice(SMOOTH)(x).sum() * (w[0] if r.random() < 0.4 else 1.0)
            total = summand if total is None else total + summand if r.random() < 0.8 else total * summand
        g.cost(f"c{c}", total)
    return g


def of_loops(r: random.Random) -> scg.Graph:
    g = scg.Graph("loops")
    t, w = g.param("t", (2,)), g.param("w", (2,))
    beside = g.sample("o", scg.Bernoulli(logits=w)) if r.random() < 0.4 else None
    along = [lambda x: x, lambda x: x, lambda x: x * np.array([0.5, -1.0]), lambda x: x[::-1], *SMOOTH[:2]]

    def step(z, _):
        h = g.sample("h", scg.Bernoulli(logits=t + 0.5 * r.choice(along)(z)))
        y = r.choice(along)(z + h) + (0.0 if beside is None else beside)
        return r.choice(along)(0.5 * z + h), (y if r.random() < 0.4 else 2.0 * (y**2).sum() - y.sum(), y)

    last, (ys, each) = g.scan(step, np.zeros(2), length=2)
    g.cost("c", r.choice([lambda: ys, lambda: 1.5 * ys.sum(), lambda: (ys - 0.3) ** 2, lambda: each[1] * w])())
    g.cost("last", ((last - 0.1) ** 2).sum() + (ys.sum() if r.random() < 0.4 else 0.0))
    return g


@pytest.mark.parametrize("build, seed", [*((of_arrays, i) for i in range(24)), *((of_loops, i) for i in range(8))])
def test_the_exact_law(build, seed):
    g = build(random.Random(seed))
    rng = np.random.default_rng(seed)
    values = {name: rng.normal(size=x.shape) for name, x in g.params.items()}
    exact = integrate(g, values)
    for estimator in ESTIMATORS:
        assert worst(expected_gradient(derive(g, estimator), values).grad, exact.grad) < 1e-11, estimator


def test_these_graphs_are_told_apart_in_every_way():
    seen = set()
    for build in (of_arrays, of_loops):
        for seed in range(24 if build is of_arrays else 8):
            d = derive(build(random.Random(seed)), ESTIMATORS[0])
            seen |= {how.split(":")[0] for v in d.verdicts.values() for how in v.credit.values()}
    assert seen >= {"by element", "by element along dimension 1", "whole", "by step and element"}
