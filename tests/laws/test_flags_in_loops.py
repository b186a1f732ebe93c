"""Flags that users carry by hand through loops that begin at a param; what jumps is asked of what steps make."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from tests.laws.test_policies import barrier

AT, BELOW = {"start": 0.05}, -0.1
FLAGS = {"where": lambda over, old, new: (scg.where(over > 0, old, new), lambda x: scg.where(x < BELOW, 1.0, over)),
         "largest": lambda over, old, new: (scg.where(over > 0.5, old, new), lambda x: scg.maximum(over, x < BELOW)),
         "either": lambda over, old, new: (scg.where(over == 1, old, new),
                                           lambda x: ((over != 0) | (x < BELOW)) * 1.0),
         "product": lambda over, old, new: (over * old + (1.0 - over) * new,
                                            lambda x: 1.0 - (1.0 - over) * (x >= BELOW))}


def flagged(flag, first=0.0, asked="new", drawn=False):
    """`barrier`, whose price stays what it is once it has fallen below; asked of the new price, or of the old one."""
    g = scg.Graph("flagged")
    start = g.param("start")
    begin = g.sample("first", scg.Normal(start, 0.1)) if drawn else start

    def step(carry, _):
        old, over = carry
        new, tested = flag(over, old, g.sample("x", scg.Normal(old, 0.1)))
        return (new, tested(new if asked == "new" else old)), None

    (last, over), _ = g.scan(step, (begin, g.input("set") if first is None else first), length=3)
    g.cost("pay", np.exp(last) * (over <= 0))
    return g


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_of_the_user(flag):
    """What it keeps was drawn: so it is one of the forms of the loop that ends early, on the same noise."""
    f, like = (scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy") for g in (flagged(FLAGS[flag]),
                                                                                       barrier("until")))
    assert f.verdict["x"].status == "unbiased"
    r, same = f(AT, samples=300, rng=3), like(AT, samples=300, rng=3)
    assert r.cost == pytest.approx(same.cost, rel=1e-12) and r.stderr["start"] > 0.0
    assert r.grad["start"] == pytest.approx(same.grad["start"], rel=1e-9)


@pytest.mark.parametrize("options", [{"first": 1.0}, {"first": None}, {"asked": "old"}], ids=str)
def test_where_a_loop_begins_is_asked_of_nothing_that_jumps(options):
    """Where it is, the error says so, and what it names works: to ask of what a step made, to begin with a draw."""
    with pytest.raises(scg.ConditionError, match="what a loop begins with") as error:
        scg.compile(flagged(FLAGS["where"], **options), strategy=scg.ScoreFunction(), backend="numpy")
    (problem,) = error.value.problems
    assert "what a step has made" in problem.fix and "begin the loop with a draw" in problem.fix
    for graph in (flagged(FLAGS["where"]), flagged(FLAGS["where"], drawn=True, **options)):
        f = scg.compile(graph, strategy=scg.ScoreFunction(), backend="numpy")
        assert {v.status for v in f.verdict.values()} == {"unbiased"}


def newton(ends: bool, result=lambda x: x):
    """A root, to which steps come near enough."""
    g = scg.Graph("newton")
    p = g.param("p")
    root, _ = g.scan(lambda x, _: (0.5 * (x + p / x), None), 1.0, length=20,
                     until=(lambda x: abs(x * x - p) < 1e-10) if ends else None)
    g.cost("root", result(root))
    return g


def test_a_loop_that_ends_where_it_is_near_enough():
    """Its result is continuous, though its test jumps; the error says how that is vouched for."""
    with pytest.raises(scg.ConditionError) as error:
        scg.compile(newton(True), backend="numpy")
    (problem,) = error.value.problems
    assert problem.fix == ("Give the loop a length= alone; or scg.assume_continuous(last) of the carry that the scan "
                           "returns, if you know that to be continuous; or leave out of wrt= what is to count as "
                           "constant.")
    for graph in (newton(False), newton(True, scg.assume_continuous)):
        r = scg.compile(graph, backend="numpy")({"p": 2.0})
        np.testing.assert_allclose([r.cost, r.grad["p"]], [2.0**0.5, 0.5 / 2.0**0.5], rtol=1e-9)


# --- flags beside what moves -----------------------------------------------------------------------------------------
MASK = np.array([1.0, 0.0, 1.0])
STACKED = {"stack": lambda m, w: scg.stack([m, w], axis=1), "np.stack": lambda m, w: np.stack([m, w], axis=-1),
           "T": lambda m, w: scg.stack([m, w]).T, "two": lambda m, w: (m, w)}


def masked(kind, drawn=False):
    """Steps that a flag leaves out, which stands beside a param in one array, or in an array of its own."""
    g = scg.Graph("masked")
    w = g.param("w", 3)
    m = g.sample("m", scg.Bernoulli(logits=w)) if drawn else MASK

    def step(at, x):
        b = g.sample("b", scg.Bernoulli(probs=x[0] * scg.sigmoid(x[1] + 0.3 * at)))
        after = scg.where(x[0] > 0.5, 0.5 * at + b, at)
        g.cost("c", x[0] * (after - 1.0) ** 2 + x[1] * after)
        return after, None

    g.scan(step, 0.0, xs=STACKED[kind](m, w))
    return g


@pytest.mark.parametrize("kind, strategy, drawn", [
    ("stack", scg.DisARM(), False), ("np.stack", scg.LocalExpectation(), True), ("T", scg.ScoreFunction(), False)],
    ids=str)
def test_a_flag_beside_what_moves_is_one_that_stands_alone(kind, strategy, drawn):
    """It is no part of what moves, although it is stacked with that."""
    values = {"w": np.array([0.2, -0.4, 0.7])}
    chosen = {"b": strategy, "m": scg.Enumerate()} if drawn else strategy
    r, like = (scg.compile(masked(k, drawn), strategy=chosen, backend="numpy")(values, samples=200, rng=3)
               for k in (kind, "two"))
    np.testing.assert_allclose(r.grad["w"], like.grad["w"], rtol=1e-12)
    assert np.all(np.isfinite(r.grad["w"])) and np.all(r.stderr["w"] > 0.0)
