"""What a baseline of the draws' own shape is made of, element by element: accepted where no element is made of its own.

The oracle moves one draw at a time, to a real number at random, and looks which elements of the baseline move.
"""

from __future__ import annotations

import numpy as np
import pytest

import scg
from tests.laws.checks.exact_law import check_exact_law

SHAPES = ((3,), (4,), (2, 2), (3, 2))
PER_SHAPE = 12


def graph(shape, *costs):
    g = scg.Graph("b")
    h = g.sample("h", scg.Bernoulli(logits=g.param("t", shape)))
    for k, cost in enumerate(costs or (lambda h: (h.sum() - 0.45) ** 2,)):
        g.cost(f"c{k}", cost(h))
    return g, h


def refused(g, strategy) -> bool:
    try:
        scg.compile(g, strategy=strategy, backend="numpy")
    except scg.BaselineError as error:
        assert "own" in str(error)
        return True
    return False


def reached(function, shape) -> np.ndarray:
    """Which elements of a function's value move with which draw, by number."""
    r = np.random.default_rng(5)
    at = r.normal(size=shape)
    found = []
    for index in np.ndindex(shape):
        moved = at.copy()
        moved[index] = r.normal()
        found.append(np.abs(function(moved) - function(at)).ravel() > 1e-9)
    return np.array(found).T


# --- functions of arrays, of nodes and of numbers alike ---------------------------------------------------------------
def _turned(r, shape, axis):
    """An array taken apart along an axis and put together in another order."""
    cut = int(r.integers(shape[axis] + 1))
    at = [(*[slice(None)] * axis, part) for part in (slice(cut, None), slice(cut))]
    at = at[::-1] if r.random() < 0.2 else at
    return lambda x: np.concatenate([x[i] for i in at], axis=axis)


def _stacked(r, shape, axis):
    """Some of an array's slices, one beside the other."""
    which = r.integers(shape[axis], size=shape[axis])
    return lambda x: np.stack([x[(*[slice(None)] * axis, int(k))] for k in which], axis=axis)


def _picked(r, shape, axis):
    which = r.integers(shape[axis], size=shape[axis])
    return lambda x: x[(*[slice(None)] * axis, which)]


def _shuffled(r, shape, axis):
    """The elements of the array as a vector in another order."""
    n = int(np.prod(shape))
    order = r.permutation(n)
    return lambda x: x.reshape(n)[order].reshape(shape)


def _so_far(r, shape, axis):
    """Partial sums, of all before an element: the last ones stand for none."""
    none = np.zeros((*shape[:axis], 1, *shape[axis + 1:]))
    all_but_last = (*[slice(None)] * axis, slice(-1))
    return lambda x: np.concatenate([none, np.cumsum(x, axis=axis)[all_but_last]], axis=axis)


def _mixed(r, shape, axis):
    """Sums with weights, many of which are 0."""
    m = r.normal(size=(shape[-1],) * 2) * (r.random((shape[-1],) * 2) < 0.4)
    return lambda x: x @ m


def _masked(r, shape, axis):
    mask = (r.random(shape) < 0.7) * r.normal(size=shape)
    return lambda x: x * mask


def _summed(r, shape, axis):
    """One number for a line, which is that of a part of it."""
    part = (*[slice(None)] * axis, slice(int(r.integers(shape[axis])), None))
    return lambda x: x[part].sum(axis=axis, keepdims=True) + np.zeros(shape)


def _itself(r, shape, axis):
    return lambda x: x


MOVES = (_turned, _stacked, _picked, _shuffled, _so_far, _mixed, _masked, _summed, _itself)
JOINS = (lambda x, y: x + 0.7 * y, lambda x, y: np.exp(0.3 * x) * (y + 0.2), lambda x, y: (x - 0.3) ** 2 * y)


def made(r, shape, depth):
    """A function of an array to one of the same shape."""
    move = MOVES[int(r.integers(len(MOVES)))](r, shape, int(r.integers(len(shape))))
    if depth == 0:
        return move
    inner = made(r, shape, depth - 1)
    if r.random() < 0.7:
        return lambda x: move(inner(x))
    other, join = made(r, shape, 0), JOINS[int(r.integers(len(JOINS)))]
    return lambda x: join(move(inner(x)), other(x))


STRATEGIES = (
    lambda b: scg.ScoreFunction(scg.Expression(b)),
    lambda b: scg.MuProp(baseline=scg.Expression(b)),
    lambda b: scg.ScoreFunction(scg.Learned(b)),
    lambda b: scg.ScoreFunction(scg.Expression(b), credit="elements"))


def functions(shape, count, depth=2):
    """As many in which no element moves with its own draw as others."""
    r, found = np.random.default_rng(sum(shape)), {False: [], True: []}
    while min(map(len, found.values())) < count // 2:
        function = made(r, shape, int(r.integers(depth + 1)))
        found[bool(np.any(np.diag(reached(function, shape))))].append(function)
    return [(f, own) for own, those in found.items() for f in those[: count // 2]]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_baseline_is_refused_where_an_element_is_made_of_its_own_draw_and_nowhere_else(shape):
    for k, (function, own) in enumerate(functions(shape, PER_SHAPE)):
        g, h = graph(shape)
        assert refused(g, STRATEGIES[k % len(STRATEGIES)](function(h))) == own, k


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_what_is_taken_away_again_is_not_of_the_element_wherever_it_was_moved(shape):
    """Of f(h).sum() − f(h) and the like what is accepted is made of no own draw."""
    accepted = 0
    for k, (f, _) in enumerate(functions(shape, PER_SHAPE, depth=1)):
        whole = (lambda x: x.sum(), lambda x: x.sum(axis=0, keepdims=True))[k % 2]
        left = (lambda h: whole(h) - f(h)) if k % 3 else (lambda h: f(whole(h) - h))
        own = np.any(np.diag(reached(left, shape)))
        g, h = graph(shape)
        if not refused(g, scg.ScoreFunction(scg.Expression(left(h)))):
            accepted += 1
            assert not own, k
    assert accepted


def alone(function, shape) -> bool:
    """Whether each element of a value is made of draws of one index along the first axis."""
    by_index = reached(function, shape).reshape(-1, shape[0], int(np.prod(shape[1:])))
    return bool(np.all(by_index.any(axis=2).sum(axis=1) <= 1))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_draws_along_an_axis_are_compared_where_all_costs_are_made_of_one_index_each(shape):
    r, left = np.random.default_rng(sum(shape)), {True: PER_SHAPE // 3, False: PER_SHAPE // 3}
    while any(left.values()):
        parts = [made(r, shape, int(r.integers(2))) for _ in range(int(r.integers(1, 3)))]
        if not all(np.any(reached(f, shape)) for f in parts):
            continue
        legal = all(alone(f, shape) for f in parts)
        if left[legal]:
            left[legal] -= 1
            g, _ = graph(shape, *(lambda h, f=f: (f(h) - 0.2) ** 2 for f in parts))
            assert refused(g, scg.ScoreFunction(scg.LeaveOneOut(axis=0))) != legal, left


def test_what_is_accepted_leaves_the_gradient_as_it_is():
    at = {"t": np.array([0.3, -0.2, 0.5])}
    for costs, strategy in (
            ((), lambda h: scg.ScoreFunction(scg.Expression(np.concatenate([h[1:] * 0.8, h[:1]])))),
            ((lambda h: (np.concatenate([h[1:], h[:1]]) - 0.3) ** 2 * np.arange(1.0, 4.0),),
             lambda h: scg.ScoreFunction(scg.LeaveOneOut(axis=0)))):
        g, h = graph((3,), *costs)
        check_exact_law(g, at, strategy(h))


def test_of_a_hundred_draws_the_one_that_is_its_own_is_seen():
    """There are more draws than a machine word has bits."""
    for n, which in ((100, 80), (65, 64), (64, 63)):
        g, h = graph((n,))
        others = [(i + 1) % n for i in range(n)]
        assert not refused(g, scg.ScoreFunction(scg.Expression(h[others])))
        others[which] = which
        assert refused(g, scg.ScoreFunction(scg.Expression(h[others])))


@pytest.mark.parametrize(("legal", "baseline"), [
    (False, lambda h: np.maximum(scg.Uniform(0.0, 1.0).log_prob(h), -3.0)),
    (False, lambda h: np.exp(scg.Uniform(0.0, 1.0).log_prob(h))),
    (True, lambda h: np.exp(scg.Uniform(0.0, 1.0).log_prob(h[[1, 2, 0]]))),
    (True, lambda h: scg.Normal(0.3, 1.0).log_prob(h).sum() - scg.Normal(0.3, 1.0).log_prob(h)),
    (False, lambda h: np.where(scg.Normal(0.3, h).log_prob(h) * 0.0 > -1.0, 1.0, 0.0)),
    (False, lambda h: np.where(h / h > 0.5, 1.0, 0.0)),
    (True, lambda h: np.where(scg.exp(h.sum() - h) > 0.5, 1.0, 0.0)),
    (True, lambda h: h.sum() - h + np.where(1.0 / h.owner.input("x") > 0.5, 1.0, 0.0)),
])
def test_a_formula_that_cancels_is_none_of_its_draw_only_where_it_holds_everywhere(legal, baseline):
    """A density is 0 outside of its support, and a comparison with 0/0 does not hold: that tells of the draw."""
    g = scg.Graph("b")
    h = g.sample("h", scg.Normal(g.param("t", 3), 1.0))
    g.cost("c", (h.sum() - 0.45) ** 2)
    assert refused(g, scg.ScoreFunction(scg.Expression(baseline(h)))) != legal


def test_a_cost_that_no_draw_moves_has_no_signal():
    """And still a baseline along the axis of its site."""
    g = scg.Graph("b")
    h = g.sample("h", scg.Bernoulli(logits=g.param("t", 3)))
    g.cost("c", (h * np.zeros(3) - 0.2) ** 2)
    f = scg.compile(g, strategy=scg.ScoreFunction(scg.LeaveOneOut(axis=0)), backend="numpy")
    assert not f({"t": np.array([0.1, -0.2, 0.3])}, samples=20, rng=0).grad["t"].any()
