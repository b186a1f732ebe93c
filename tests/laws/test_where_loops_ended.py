"""Where a loop ended nothing is looked at: its last state may lie outside of a table, or of what a function takes."""

from __future__ import annotations

import re

import numpy as np
import pytest

import scg
from tests.laws.checks.sampling import within

XS, VALUES = np.array([0.5, 1.0, 1.4]), {"a": 0.7}
WAYS = {"table": lambda g, s: g.node("T", np.array([0.3]))[s], "log": lambda g, s: scg.log(1.0 - s) + 0.3,
        "pole": lambda g, s: 0.3 / (1.0 - s), "root": lambda g, s: scg.sqrt(0.5 - s) + 0.3 - np.sqrt(0.5)}
OF_VALUES = ("DoubleCV", "RELAX", "RODEO", "ScoreFunction")  # what they look at is of all kinds
OTHERS = ("ARM", "ARMS", "CARMS", "DisARM", "LocalExpectation", "StochasticTriple", "SumAndSample", "WeakDerivative",
          "WithoutReplacement")


def walk(ways, xs, rule=None, **options):
    """A state that stays 0 until it is 1, where what the step is made of has no value."""
    g = scg.Graph("walk")
    a, c = g.param("a"), None if rule is None else g.param("c")

    def step(s, x):
        level = sum(way(g, s) for way in ways) / len(ways)
        b = g.sample("b", scg.Bernoulli(logits=a * level * x),
                     estimator=rule and rule(level, c))
        g.cost("cost", x * (1.0 + level * b + a * level))
        return b, level * b

    last, ys = g.scan(step, 0.0, xs=xs, until=lambda s: s == 1)
    g.cost("last", 1.0 / (last - 2.0) + ys.sum())
    return g, scg.compile(g, **options)


def expected(a, xs):
    """The cost, by recursion from the last step."""
    value = -0.5
    for x in xs[::-1]:
        p = 1.0 / (1.0 + np.exp(-0.3 * a * x))
        value = x * (1.0 + 0.3 * p + 0.3 * a) + p * (0.3 - 1.0) + (1.0 - p) * value
    return value


def is_exact(found, xs):
    np.testing.assert_allclose(found.cost, expected(VALUES["a"], xs), rtol=1e-13)
    np.testing.assert_allclose(found.grad["a"], np.imag(expected(VALUES["a"] + 1e-30j, xs)) / 1e-30, rtol=1e-12)


@pytest.mark.parametrize("way, backend", [*((way, "numpy") for way in WAYS), ("table", "numba")])
def test_all_paths(way, backend):
    """Walked one by one, and summed step by step."""
    g, f = walk([WAYS[way]], XS, strategy=scg.Enumerate(), backend=backend)
    is_exact(scg.exact(g, VALUES), XS)
    is_exact(f(VALUES), XS)
    assert "no more than" not in f.verdict["b"].reason


@pytest.mark.parametrize("name", [*OF_VALUES, *(pytest.param(name, marks=pytest.mark.full) for name in OTHERS)])
def test_every_estimator(name):
    """Of two steps, of which the second is held where the first ended the loop."""
    g, f = walk(WAYS.values(), XS[:2], strategy=getattr(scg, name)(), backend="numpy")
    values = f.init(0) | VALUES
    is_exact(scg.exact(g, VALUES), XS[:2])
    assert scg.verify(f, values).passed and f.verdict["b"].status == "unbiased"
    r = f(values, samples=50, rng=0)
    assert np.isfinite([r.cost, r.grad["a"], r.stderr["a"]]).all()


@pytest.mark.parametrize("baseline", [scg.Expression, scg.Learned])
def test_a_baseline_of_the_state(baseline):
    """It is asked for nothing where the loop ended, nor does it learn there."""
    _, f = walk(WAYS.values(), XS[:2], lambda level, c: scg.ScoreFunction(baseline(c * level)), backend="numpy")
    values = {"c": 0.2} | VALUES
    r = f(values, samples=2000, rng=0)
    if baseline is scg.Learned:
        within(r.grad["c"], r.stderr["c"], slope_of_the_errors(**values), "c")
    else:
        assert scg.verify(f, values).passed and r.grad["c"] == 0.0


def slope_of_the_errors(a, c):
    """The expected derivative in c of the squares of what c times 0.3 leaves of the costs to go, over three paths."""
    p = 1.0 / (1.0 + np.exp(-0.3 * a * XS))

    def cost(t, b):
        return XS[t] * (1.0 + 0.3 * b + 0.3 * a)

    paths = [(p[0], [cost(0, 1) - 0.7]), *((
        (1.0 - p[0]) * (p[1] if b else 1.0 - p[1]), [cost(0, 0) + cost(1, b) + end, cost(1, b) + end])
        for b, end in ((1, -0.7), (0, -0.5)))]
    return sum(chance * sum(-0.6 * (q - 0.3 * c) for q in to_go) for chance, to_go in paths)


@pytest.mark.parametrize("given", [lambda w, x, s: w * x + s, lambda w, x, s: w], ids=["the state", "a param"])
def test_draws_read_as_they_were_declared(given):
    """As in a loop that never ends, and it is said where the loop has not ended."""
    read = []
    for until in (None, lambda s: s >= 2):
        g = scg.Graph("cards")
        w = g.param("w")

        def step(s, x, g=g, w=w):
            card = g.sample("card", scg.Categorical(logits=np.array([0.3, -0.2]) * given(w, x, s)))
            g.cost("cost", x * card)
            return s + card, None

        g.scan(step, 0.0, xs=XS, until=until)
        f = scg.compile(g, backend="numpy", strategy=scg.ScoreFunction())
        pages = (str(g), str(f.surrogate), f.surrogate.latex(), f.explain())
        read.append([next(line for line in page.splitlines() if re.search(r"card.*(~|\\sim)", line)) for page in pages])
    ends = (", where over[t] == 0", ", where over[t] == 0", r"\text{, where }\mathrm{over}_{t} = 0",
            " until the loop is over")
    for (plain, ending), end in zip(zip(*read), ends):
        assert ending.replace(end, "", 1) == plain and end in ending


def test_a_step_may_be_tried_by_hand():
    """What a loop begins with is real, and an index in its steps; so it is in a loop of Python over the same steps."""
    found = []
    for unrolled in (False, True):
        g = scg.Graph("tried")
        table = g.param("table", 3)
        if unrolled:
            state, rows = 0.0, []
            for t in range(3):
                state, row = state + 1.0 - (t == 2), table[state]
                rows.append(row)
            g.cost("cost", sum(row * 0.5**t for t, row in enumerate(rows)))
        else:
            _, ys = g.scan(lambda s, go: (s + go, table[s]), 0.0, xs=np.array([1.0, 1.0, 0.0]))
            g.cost("cost", ys @ 0.5 ** np.arange(3))
        found.append(scg.exact(g, {"table": [1.0, 2.0, 4.0]}).grad["table"])
    np.testing.assert_allclose(found, [[1.0, 0.5, 0.25]] * 2)
    with pytest.raises(scg.ShapeError, match="no whole number"):
        table[0.5]
