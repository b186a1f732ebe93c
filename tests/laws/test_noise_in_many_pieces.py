"""How the noise is divided into boxes: some at a time, and not at all where they are too many to be looked at."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import scg
from scg import backend, progress
from scg.errors import ExactError
from scg.expectation import division, paths
from scg.expectation.exact import integrate
from scg.expectation.law import lanes_of, what_is_averaged
from scg.ir.node import constant
from scg.run.values import bind

VALUES = {"t": 0.3}


def walk(steps, until=None):
    g = scg.Graph("walk")
    t = g.param("t")

    def step(at, _):
        b = g.sample("b", scg.Bernoulli(logits=t + 0.3 * at))
        k = g.sample("k", scg.Categorical(logits=np.arange(3.0) * t * b))
        after = 0.5 * at + b - k
        g.cost("c", (after - 1.0) ** 2)
        return after, None

    g.scan(step, 0.0, length=steps, until=until)
    return g


def lanes(g):
    derivation = scg.compile(g, strategy=scg.ScoreFunction(None), backend="numpy")._whole("verify")
    (row,) = bind(derivation.leaves, VALUES).by_row()
    return lanes_of(derivation, what_is_averaged(derivation), row, {})


def ended(at):
    return at < -0.5


@pytest.mark.parametrize("g, pieces", [(walk(3), 216), (walk(3, until=ended), None)])
def test_boxes_are_those_that_are_found_all_at_once(g, pieces, monkeypatch):
    whole = lanes(g)
    monkeypatch.setattr(division, "AT_ONCE", 7)
    some = lanes(g)
    assert pieces in (None, len(whole.measure)) and len(whole.measure) > 60
    assert np.isclose(whole.measure.sum(), 1.0)
    np.testing.assert_array_equal(some.measure, whole.measure)
    for path, u in whole.uniforms.items():
        np.testing.assert_array_equal(some.uniforms[path], u)


def test_too_many_are_told_of_before_they_are_looked_at(monkeypatch):
    """Draws of 300 steps fall into 6^300 boxes."""
    f = scg.compile(walk(300), strategy=scg.ScoreFunction(None), backend="numpy")
    evaluated, numpy = [], backend.load("numpy")
    right = numpy.evaluate

    def counted(roots, ev):
        evaluated.append(ev.sizes["lane"])
        return right(roots, ev)

    monkeypatch.setattr(numpy, "evaluate", counted)
    found = scg.verify(f, VALUES)
    assert found.passed is None and "more than 2097152 pieces" in found.method
    assert sum(evaluated) < 100 * division.PATHS


def tree(rng, depth):
    """Nested boxes of very unequal sizes and depths: the ends of the leaves in [0, 1]^depth."""
    if depth == 0 or rng.random() < 0.3:
        return 1, None
    cuts = np.sort(rng.random(rng.integers(1, 4)) ** 4)
    below = [tree(rng, depth - 1) for _ in range(len(cuts) + 1)]
    return sum(count for count, _ in below), (cuts, [part for _, part in below])


class Tree:
    """A division whose change points are those of a tree; its uniforms are one stream's."""

    def __init__(self, part, depth):
        self.part, self.depth = part, depth

    def points(self, at, count):
        u = at["u"]

        def found(_, index):
            rows = []
            for lane in range(count):
                part = self.part
                for i in range(index[0]):
                    part = part and part[1][int(np.searchsorted(part[0], u[lane, i], side="right"))]
                rows.append(np.zeros(0) if part is None else part[0])
            wide = max(map(len, rows))
            return np.array([np.concatenate([r, np.full(wide - len(r), 2.0)]) for r in rows])

        return found

    def division(self, most):
        changes = [division.Changes("u", constant(np.zeros(0)), constant(0.0), ())]
        made = division.Division(changes, [range(self.depth)], {"u": self.depth},
                                 [("u", (i,)) for i in range(self.depth)], None, most)
        made._points = self.points
        return made


def refused():
    return ExactError("here", "Boxes were asked for.", "They are too many.", "Use a smaller graph.")


@pytest.mark.parametrize("seed", range(12))
def test_no_more_are_refused_than_are_too_many(seed, monkeypatch):
    """As many as there may be are divided, one more is refused, however unequal they are."""
    monkeypatch.setattr(division, "FEW", 0)
    monkeypatch.setattr(division, "AT_ONCE", 5)
    count, part = tree(np.random.default_rng(seed), 9)
    if part is None:
        count, part = 2, (np.array([0.5]), [None, None])
    found = Tree(part, 9).division(count).divided(refused)
    volumes = np.prod(found.high["u"] - found.low["u"], axis=1)
    assert found.lanes == count and np.isclose(volumes.sum(), 1.0)
    with pytest.raises(ExactError, match="too many"):
        Tree(part, 9).division(count - 1).divided(refused)


def test_what_may_be_by_chance_shows_nothing():
    """If there are no more than there may be, a path says m times as many with a probability of at most 1/m."""
    made = Tree(None, 1).division(1000)
    assert not made._surely_more(np.log(np.full(division.PATHS, 1000.0)))
    lucky = np.full(division.PATHS, -1.0)
    lucky[:2] = np.log(1e6)  # one path in a thousand says a thousand times too much
    assert not made._surely_more(lucky)
    assert made._surely_more(np.log(np.full(division.PATHS, 4000.0)))
    assert division.PATHS * float(Fraction(1, 4) ** division.PATHS) < division.CHANCE


def test_paths_are_added_up_some_at_a_time(monkeypatch):
    whole = integrate(walk(3), VALUES)
    monkeypatch.setattr(paths, "AT_ONCE", 50)
    some = integrate(walk(3), VALUES)
    assert np.isclose(some.cost, whole.cost, rtol=1e-13)
    np.testing.assert_allclose(some.grad["t"], whole.grad["t"], rtol=1e-13)
    np.testing.assert_allclose(some.grad_size["t"], whole.grad_size["t"], rtol=1e-13)


def test_it_is_shown_to_those_who_wait(monkeypatch):
    titles = []

    class Bar:
        start_t = 0.0

        def __getattr__(self, _):
            return lambda *args, **options: None

    monkeypatch.setattr(progress, "SECONDS", 0.0)
    monkeypatch.setattr(progress, "quiet", lambda: False)
    monkeypatch.setattr(progress, "bar", lambda total, title, *args, **options: titles.append(title) or Bar())
    monkeypatch.setattr(division, "AT_ONCE", 50)
    assert scg.verify(scg.compile(walk(3), strategy=scg.ScoreFunction(None), backend="numpy"), VALUES).passed
    assert list(dict.fromkeys(titles)) == ["dividing the noise", "running the kernel",
                                           "computing the costs of all paths"]
