"""Bounds hold what they say: arguments drawn from intervals, ends and signs included, never leave the result's.

Elementwise ops are evaluated in 700 digits, so that an open end, or that 0 is left out, is asked of the real function:
tanh(800) is below 1 there. What moves or adds up elements is evaluated on small dyadic numbers, whose sums and products
are exact.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scg_numpy import Evaluation, evaluate

import scg
from scg.analysis.bounds import Ranges, holds
from scg.ir.axes import Axis
from scg.ir.constraints import positive, unit_interval, weights
from scg.ir.interval import SMALLEST, Interval, between, exactly
from scg.ir.node import make
from scg.ir.op import OPS
from scg.ir.traverse import topological
from scg.noise import key
from scg.ops.leaves import feed
from scg.ops.randomness import expand
from tests.laws.checks.sampling import streams
from tests.laws.test_random_graphs import FIXED

SMALL = (-4.0, -3.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 2.5, 4.0)
WIDE = (*SMALL, -800.0, -20.0, 20.0, 800.0, 1e-200, -1e-200, 5e-324, 1e200, 1.0 + 2.0**-52, 0.1, -0.3)


@st.composite
def intervals(draw, ends=WIDE):
    """Any interval between some of these ends, or unbounded, that holds some number."""
    low, high = sorted((draw(st.sampled_from((*ends, -math.inf))), draw(st.sampled_from((*ends, math.inf)))))
    if low == high and math.isinf(low):
        low, high = -math.inf, math.inf
    low_open, high_open = (draw(st.booleans()) if math.isfinite(end) and low < high else math.isinf(end)
                           for end in (low, high))
    return between(low, high, low_open, high_open, draw(st.booleans()) and not low == high == 0.0)


def inside(interval: Interval, x) -> bool:
    """Whether it holds a number."""
    above = interval.low < x or (interval.low == x and not interval.low_open)
    below = x < interval.high or (x == interval.high and not interval.high_open)
    return bool(above and below and not (interval.nonzero and x == 0))


def numbers(interval: Interval, ends=WIDE) -> list[float]:
    """Numbers that the interval holds: its ends, those next to them, and others between."""
    near = [end + sign * step for end in (interval.low, interval.high) if math.isfinite(end)
            for sign in (-1, 1) for step in (0.0, 0.25, 2.0**-20)]
    beside = [math.nextafter(end, way) for end in (interval.low, interval.high) if math.isfinite(end)
              for way in (-math.inf, math.inf)]
    found = [x for x in (*ends, *near, *(beside if ends is WIDE else ())) if inside(interval, x)]
    return found or [x for x in (0.5 * (interval.low + interval.high),) if inside(interval, x)]


def one(data, interval: Interval, ends=WIDE):
    """One number of the interval."""
    found = numbers(interval, ends)
    return data.draw(st.sampled_from(found)) if found else None


EXACT = SimpleNamespace(
    exp=mpmath.exp, log=mpmath.log, sqrt=mpmath.sqrt, tanh=mpmath.tanh, sin=mpmath.sin, cos=mpmath.cos, tan=mpmath.tan,
    erf=mpmath.erf, erfc=mpmath.erfc, pi=mpmath.pi, Abs=abs, floor=mpmath.floor, Max=max, Min=min, sign=mpmath.sign,
    Piecewise=lambda *cases: next(value for value, condition in cases if condition))  # fmt: skip
HARD = {  # in 700 digits, of numbers larger than that
    **dict.fromkeys(("exp", "expm1", "pow", "sigmoid", "softplus", "tanh", "sin", "cos"), 1e4),
    **dict.fromkeys(("erf", "ndtr", "log_ndtr", "inverse_mills", "inverse_mills_rest"), 35.0)}
SAME = ("stop_gradient", "assume_continuous", "named", "index")
ELEMENTWISE = [op for op in OPS.values() if op.kind == "elementwise" and op.bounds is not None]


def _arity(op) -> int:
    """How many of a sample's parts are arguments; attributes come after them."""
    return 1 if op.name in ("whole_power", "named") else len(op.samples[0])


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
@settings(max_examples=20, **FIXED)
@given(data=st.data())
def test_elementwise(op, data):
    whole = op.name == "whole_power"
    attrs = (data.draw(st.sampled_from([-3, -2, -1, 2, 3, 4])),) if whole else op.samples[0][_arity(op):]
    given = [data.draw(intervals()) for _ in range(_arity(op))]
    if op.name in ("sin", "cos", "exp", "expm1"):
        given = [i if i.high <= 800.0 or math.isinf(i.high) else Interval() for i in given]
    leaves = [feed(f"x{k}", ()) for k in range(len(given))]
    truth = [data.draw(st.booleans())] if op.name in ("real", "where") else []
    if truth:
        leaves[0] = leaves[0] > 0.0
    found = op.bounds(make(op, tuple(leaves), attrs), *given)
    for _ in range(12):
        at = [*truth, *(one(data, i) for i in given[len(truth):])]
        if None in at:
            return
        if max(map(abs, at)) > HARD.get(op.name, math.inf):
            continue
        with mpmath.workdps(700):
            arguments = [mpmath.mpf(x) if not isinstance(x, bool) else x for x in at]
            try:
                known = 0 if op.name in SAME else op.stands_for  # of two that are equal
                y = op.sympy(EXACT, *arguments, *attrs) if known is None else arguments[known]
            except (ZeroDivisionError, ValueError):
                continue  # no value
            if not isinstance(y, mpmath.mpf):
                if isinstance(y, mpmath.mpc) or not mpmath.isfinite(y):
                    continue
                y = mpmath.mpf(y)
            assert not mpmath.isfinite(y) or inside(found, y), (op.name, at, given, found)


# What is made of vectors x and y of four elements: every structural op with bounds that users can make.
STRUCTURAL = {
    "sum": lambda x, y: x.sum(), "product of sums": lambda x, y: x.sum() * y.sum(), "mean": lambda x, y: x.mean(),
    "max": lambda x, y: np.max(x), "min": lambda x, y: np.min(x), "x @ y": lambda x, y: x @ y,
    "x @ x": lambda x, y: x @ x, "matrix": lambda x, y: np.outer(x, y)[1:3] @ y,
    "cumsum": lambda x, y: np.cumsum(x),
    "suffix": lambda x, y: np.cumsum(x[::-1])[::-1] + 0.0 * y, "concatenate": lambda x, y: scg.concatenate([x, y]),
    "stack": lambda x, y: scg.stack([x, y]).T.reshape(8), "take": lambda x, y: x[scg.where(y > 0.0, 1.0, 2.0)],
    "broadcast": lambda x, y: np.broadcast_to(x, (2, 4)), "one_hot": lambda x, y: scg.one_hot(y[0] > 0.0, 2) * x[0],
    "square": lambda x, y: (x - y) * (x - y), "quotient": lambda x, y: x / 4.0 + y * 0.5,
    "empty": lambda x, y: x[:0].sum() + y, "clip": lambda x, y: np.clip(x, -0.5, 2.0) - y}  # fmt: skip


@pytest.mark.parametrize("name", STRUCTURAL)
@settings(max_examples=14, **FIXED)
@given(data=st.data())
def test_structural(name, data):
    given = [data.draw(intervals(SMALL)) for _ in "xy"]
    leaves = [feed(n, (4,), ()) for n in "xy"]
    node = STRUCTURAL[name](*leaves)
    found = Ranges(dict(zip((leaf.id for leaf in leaves), given)))(node)
    for _ in range(5):
        at = [[one(data, i, SMALL) for _ in range(4)] for i in given]
        if None in (*at[0], *at[1]):
            return
        fed = dict(zip("xy", map(np.array, at)))
        values = evaluate([node], Evaluation({}, {"row": 1, "lane": 1}, fed=fed))[0]
        assert all(inside(found, v) for v in np.ravel(values).tolist()), (name, at, given, found, values)


def test_every_op_with_bounds_is_tried():
    x, y = (feed(n, (4,), ()) for n in "xy")
    made = {n.op.name for build in STRUCTURAL.values() for n in topological([build(x, y)])}
    others = {"const", "uniform", "sample"}  # a literal's own elements; families have a test of their own
    others |= {"below", "category"}  # draws that are written out: below
    inverses = {"put", "suffix_sum", "axis_to_event", "event_to_axis", "replace_one"}  # made by passes only: below
    have = {op.name for op in OPS.values() if op.bounds is not None}
    assert have - {op.name for op in ELEMENTWISE} <= made | others | inverses, have - made


@settings(max_examples=30, **FIXED)
@given(data=st.data())
def test_what_passes_make(data):
    x = data.draw(intervals(SMALL))
    at = np.array([one(data, x, SMALL) for _ in range(4)], dtype=object)
    if None in at:
        return
    leaf = feed("x", (4,), ())
    axis = Axis("w", 4)
    spread = make("event_to_axis", (leaf,), axis)
    nodes = [make("put", (leaf,), ((("slice", 1, 1, 4),), (6,))), make("suffix_sum", (leaf,)),
             make("prefix_sum", (leaf,)), make("axis_to_event", (spread,), axis),
             make("replace_one", (leaf, leaf * 1.0 + 0.0), axis)]
    values = evaluate(nodes, Evaluation({}, {"row": 1, "lane": 1}, fed={"x": at.astype(float)}))
    for node, value in zip(nodes, values):
        found = Ranges({leaf.id: x})(node)
        assert all(inside(found, v) for v in np.ravel(value).tolist()), (node.op, at, x, found)


@pytest.mark.parametrize("dist", [scg.Bernoulli(probs=0.4), scg.Bernoulli(logits=[-3.0, 0.2]),
                                  scg.Categorical(logits=[0.1, 0.4, -0.2])], ids=str)
def test_draws_that_are_written_out(dist):
    """The op that stands in a sampler's place holds its draws, and knows what each of them may be."""
    g = scg.Graph("draws")
    (written,) = expand([g.sample("x", dist)])
    found = Ranges()(written)
    values = evaluate([written], Evaluation({}, {"row": 1, "lane": 500}, samples=500,
                                            keys={path: key(0, path) for path in streams([written])}))[0]
    assert all(inside(found, v) for v in np.unique(values).tolist()) and len(np.unique(values)) > 1


CARRIES = {
    "add": lambda s, x: s + x, "multiply": lambda s, x: s * x, "halve": lambda s, x: 0.5 * s,
    "root": lambda s, x: np.sqrt(s), "negate": lambda s, x: -s, "square": lambda s, x: s * s,
    "decay": lambda s, x: 0.5 * s + 0.5 * x,
    "away": lambda s, x: s - x, "keep": lambda s, x: s, "reset": lambda s, x: x,
    "larger": lambda s, x: np.maximum(s, x), "inverse": lambda s, x: 1.0 / s, "exp": lambda s, x: np.exp(-s),
    "tanh": lambda s, x: np.tanh(s + x)}  # fmt: skip


@pytest.mark.parametrize("name", CARRIES)
@settings(max_examples=10, **FIXED)
@given(data=st.data())
def test_carries_of_scans(name, data):
    """What is said of a carry holds after every step, and is found in finitely many."""
    given = [data.draw(intervals(SMALL)) for _ in "sx"]
    start, along = feed("s", (), ()), feed("x", (3,), ())
    g = scg.Graph("loop")
    last, before = g.scan(lambda s, x: (CARRIES[name](s, x), s), start, xs=along)
    ranges = Ranges({start.id: given[0], along.id: given[1]})
    found = [ranges(last), ranges(before)]
    for _ in range(4):
        s, xs = one(data, given[0], SMALL), [one(data, given[1], SMALL) for _ in range(3)]
        if None in (s, *xs):
            return
        fed = {"s": np.array(s), "x": np.array(xs)}
        with np.errstate(all="ignore"):
            values = evaluate([last, before], Evaluation({}, {"row": 1, "lane": 1}, fed=fed))
        for held, value in zip(found, values):
            assert all(inside(held, v) or not math.isfinite(v) for v in np.ravel(value).tolist()), (s, xs, found)


# --- what follows from it --------------------------------------------------------------------------------------------
def test_numbers_that_are_not_zero_may_add_up_to_it():
    apart = Interval(nonzero=True)
    assert not apart.repeated(2).clear_of_zero and apart.repeated(1).clear_of_zero
    assert Interval(0.0).repeated(3).positive
    assert exactly(2.0).repeated(0) == exactly(0.0)


@pytest.mark.parametrize("denominator", [
    lambda p, e: p @ e, lambda p, e: (p * e).sum(), lambda p, e: np.cumsum(p * e)[1], lambda p, e: (p * e).mean(),
    lambda p, e: (p * e)[0] + (p * e)[1], lambda p, e: np.outer(p, e)[0, 0] + p[1] * e[1]])
def test_a_sum_of_signed_numbers_is_a_pole(denominator):
    """Each summand keeps clear of 0, their sum does not: the path derivative misses what happens as it passes 0."""
    def build(weights):
        g = scg.Graph("poles")
        e = g.sample("e", scg.Exponential(rate=g.param("r")), shape=2)
        g.cost("c", np.tanh(1.0 / denominator(weights(g.param("p", 2)), e)))
        return g

    with pytest.raises(scg.SCGError, match="passes 0"):
        scg.compile(build(lambda p: p), backend="numpy")
    scg.compile(build(np.exp), backend="numpy")  # a sum of positive numbers is positive


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("of", [np.exp, scg.softplus, lambda t: 1.0 / np.exp(-t)])
def test_a_scale_that_underflows_is_an_error_of_the_call(of, backend):
    """The real exp(−1000) is positive, but the computer's is 0, at which a density has no value."""
    g = scg.Graph("scale")
    t = g.param("t")
    z = g.sample("z", scg.Normal(loc=0.0, scale=of(t)))
    g.cost("c", z**2)
    f = scg.compile(g, backend=backend)
    assert np.isfinite(f({"t": -3.0}, samples=10, rng=0).cost)
    with pytest.raises(scg.CallError, match="must be positive"):
        f({"t": -1000.0}, samples=10, rng=0)


def test_checks_that_cannot_fail_are_left_out():
    x = feed("x", (3,))
    for node in (np.exp(x) + 0.01, np.sqrt(1.0 + x * x), np.maximum(x, 2.0 * SMALLEST), 1.0 + np.exp(x)):
        assert holds(positive, node)
    for node in (np.exp(x), scg.softplus(x), x * x + 1e-60, 1.0 / (1.0 + np.exp(x)), np.abs(x)):
        assert not holds(positive, node)
    assert holds(unit_interval, scg.sigmoid(x)) and holds(unit_interval, np.exp(-(x * x)))
    assert not holds(weights, np.exp(x)) and holds(weights, 1.0 + np.exp(x))
