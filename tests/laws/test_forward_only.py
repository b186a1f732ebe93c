"""What a reverse loop adds up is added up in the loop itself: the same numbers, and memory that does not grow."""

from __future__ import annotations

import re

import numpy as np
import pytest

import scg
from scg import simplification
from scg.derive import derive
from scg.passes.outputs import program_of
from scg.schedule import plan, printed

VALUES = {"w": np.array([0.3, -0.5]), "m": 0.2}
X = np.array([[0.4, -0.2], [0.1, 0.7], [-0.5, 0.3]])


def by_state(state, t):
    """A baseline of what the step has before it draws."""
    return state**2 + 0.1 * t


def policy(length: int = 40, estimator=None, until: bool = False, after: bool = False, two: bool = False,
           rows: bool = False, checkpoint=None):
    """A point is pushed, and shaken if there are `two` sites; costs in steps, and perhaps after them."""
    g = scg.Graph("policy")
    w, m = g.param("w", 2), g.param("m")
    pushed = g.data("x", 2) @ w if rows else 0.0

    def step(state, t):
        given = estimator(state, t) if callable(estimator) else estimator
        push = g.sample("push", scg.Bernoulli(logits=w[0] * state + w[1] + pushed), estimator=given)
        state = 0.9 * state + 0.2 * push - 0.1
        if two:
            state = state + g.sample("shake", scg.Normal(loc=0.1 * m * push, scale=0.1), estimator=scg.ScoreFunction())
        g.cost("way", 0.95**t * state**2)
        return state, None

    last, _ = g.scan(step, 0.5, xs=np.arange(float(length)), until=(lambda s: abs(s) > 1.0) if until else None,
                     checkpoint=checkpoint)
    if after:
        g.cost("after", last**4)
    return g


SCORE = scg.ScoreFunction
CASES = {
    "others": {}, "none": {"estimator": SCORE(baseline=None)}, "constant": {"estimator": SCORE(scg.Constant(0.7))},
    "by state": {"estimator": lambda s, t: SCORE(scg.Expression(by_state(s, t)))},
    "learned": {"estimator": lambda s, t: SCORE(scg.Learned(s))},
    "until": {"until": True}, "after": {"after": True}, "two": {"two": True, "after": True}, "rows": {"rows": True},
}


def found(case: str, **more):
    """A call's cost, gradients and standard errors, and its function."""
    f = scg.compile(policy(**CASES[case], **more), strategy=None if "estimator" in CASES[case] else SCORE(),
                    backend="numpy")
    given = {**VALUES, **({"x": X} if case == "rows" else {})}
    r = f(given, samples=24, rng=3)
    return [r.cost, *(x for name in VALUES for x in (r.grad[name], r.stderr[name]))], f


def scans(f) -> int:
    """How many loops a function's graph has, outside of others."""
    return len(re.findall(r"^%\d+ = scan", f.source, flags=re.M))


@pytest.mark.parametrize("case", CASES)
def test_forwards_is_what_backwards_is(case, monkeypatch):
    mine, f = found(case)
    monkeypatch.setattr(simplification, "forward_only", list)
    right, back = found(case)
    assert (scans(f), scans(back)) == (1, 3 if case == "two" else 2)
    for a, b in zip(mine, right):
        assert np.allclose(a, b, rtol=1e-10, atol=1e-13)


def plans(length: int, **options):
    """The plan of a kernel."""
    derivation = derive(policy(length, **options), SCORE() if "estimator" not in options else None)
    return plan(simplification.simplified(program_of(derivation, "float32", True)))


REPLAYED = {"estimator": scg.WeakDerivative(), "checkpoint": 10}


@pytest.mark.parametrize("options", [{}, {"until": True}, {"after": True, "two": True}, REPLAYED], ids=str)
def test_a_plan_is_as_long_for_any_number_of_steps(options):
    """So compiling is too; and forwards nothing is kept of a step."""
    few, many = plans(40, **options), plans(400, **options)
    assert len(printed(few).splitlines()) == len(printed(many).splitlines())
    if "estimator" not in options:
        assert (few.width, few.sizes) == (many.width, many.sizes)


def test_what_is_kept_of_steps_is_asked_for():
    """A record is of every step, and then what is behind the loop stays there; so do replays."""
    g = policy(40)
    f = scg.compile(g, strategy=SCORE(), backend="numpy")
    r = f(VALUES, samples=24, rng=3, record=("push",))
    assert r.record["push"].shape == (1, 24, 40)
    assert r.grad["w"] == pytest.approx(found("others")[0][1], rel=1e-10)


def test_the_reference_keeps_one_step():
    """Of a loop that puts nothing out, for any number of steps; else what it puts out besides."""
    few, many = (scg.compile(policy(n), strategy=SCORE(), backend="numpy") for n in (40, 4000))
    assert many._kernel.kept == few._kernel.kept and many._layout.work > 50 * few._layout.work
    taped = scg.compile(shaken(4000), backend="numpy")._kernel.kept
    assert 4000 < taped < 10 * 4000
    assert many._kernel.memory == 8 * many._kernel.kept * many._layout.chunk_lanes


@pytest.mark.full
def test_a_million_steps():
    """In the memory that ten need."""
    memory = []
    for length in (10, 1_000_000):
        f = scg.compile(policy(length), strategy=SCORE(), dtype="float32", stderr=False)
        r = f({"w": np.array([0.3, -0.5]), "m": 0.2}, samples=64, rng=0)
        memory.append(re.search(r"memory +(\S+ \S+)", f.explain())[1])
        assert np.isfinite(r.grad["w"]).all()
    assert memory[0] == memory[1]


def shaken(length: int, checkpoint: int | None = None) -> scg.Graph:
    """A path through two carries, with parameters that are checked in every step."""
    g = scg.Graph("shaken")
    a, b = g.param("a"), g.param("b")

    def step(carry, _):
        x, v = carry
        v = 0.9 * v + 0.1 * np.sin(a * x) + 0.05 * g.sample("push", scg.Normal(0.0, 1.0))
        x = 0.95 * x + 0.1 * v + 0.02 * g.sample("shake", scg.Normal(b * x, 0.5))
        g.cost("way", x**2 + 0.1 * v**2)
        return (x, v), None

    g.scan(step, (0.3, 0.1), length=length, checkpoint=checkpoint)
    return g


def test_segments_are_all_that_is_kept():
    """Of each carry its values where segments begin, and those in one segment; of costs and checks the sums."""
    size = {k: plan(simplification.simplified(program_of(derive(shaken(900, k)), "float64", True))).sizes.arena
            for k in (None, 9, 30)}
    assert size[None] > 2 * 900 and size[30] < 2 * (30 + 30) + 100 and size[9] < 2 * (100 + 9) + 100
    values = {"a": 0.7, "b": 0.2}
    plain, again = (scg.compile(shaken(90, k), backend="numpy")(values, samples=20, rng=1) for k in (None, 9))
    for name in values:
        assert plain.grad[name] == pytest.approx(again.grad[name], rel=1e-10)
        assert plain.stderr[name] == pytest.approx(again.stderr[name], rel=1e-10)
