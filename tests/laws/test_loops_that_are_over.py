"""A step of a loop that is over in all lanes is not computed, and no number is another for it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import scg_numpy.interpreter

import scg
from scg.schedule import language as lang
from scg.schedule import scans
from tests.laws.checks import loops
from tests.laws.test_policies import THETA, at_the_end, process

LENGTH, VALUES = 30, {"w": np.array([0.4, -0.3])}


def walk(checkpoint=None):
    """A policy pushes a point that moves by its speed; its loop is over soon."""
    g = scg.Graph("walk")
    w = g.param("w", 2)
    start = g.sample("start", scg.Uniform(-0.1, 0.1), shape=2)

    def step(state, t):
        push = g.sample("push", scg.Bernoulli(logits=w @ state))
        new = scg.stack([state[0] + 0.3 * state[1], state[1] + push - 0.5])
        g.cost("way", new[0] ** 2 + 0.01 * t)
        return new, state[0]

    _, ys = g.scan(step, start, xs=np.arange(LENGTH), checkpoint=checkpoint,
                   until=lambda state: abs(state[0]) > 0.5)
    g.cost("put out", (ys * np.linspace(0.0, 0.1, LENGTH)).sum())
    return g


def by_hand():
    """The same, with a mask that a user carries: 1 where the loop is over, and it says so by a product."""
    g = scg.Graph("walk")
    w = g.param("w", 2)
    start = g.sample("start", scg.Uniform(-0.1, 0.1), shape=2)

    def step(carry, t):
        state, over = carry
        push = g.sample("push", scg.Bernoulli(logits=scg.where(over == 1.0, scg.stop_gradient(0.0), w @ state)))
        new = scg.stack([state[0] + 0.3 * state[1], state[1] + push - 0.5])
        g.cost("way", scg.where(over == 1.0, 0.0, new[0] ** 2 + 0.01 * t))
        new = scg.where(over == 1.0, state, new)
        return (new, 1.0 - (1.0 - over) * (abs(new[0]) <= 0.5)), None

    g.scan(step, (start, 0.0), xs=np.arange(LENGTH))
    return g


@pytest.fixture
def counted(monkeypatch):
    """A backend "loops" that runs plans in Python, and how often it has filled an element of words."""
    found = []

    class Run(loops._Run):
        def do(self, s):
            if isinstance(s, lang.FillUniform):
                found.append(s)
            super().do(s)

    monkeypatch.setattr(loops, "_Run", Run)
    monkeypatch.setitem(sys.modules, "scg_loops", SimpleNamespace(compile=loops.LoopKernel))
    return found


def without(monkeypatch):
    """No loop is known to be over."""
    for module in (scans, scg_numpy.interpreter):
        monkeypatch.setattr(module, "idle", lambda body: None)


GRAPHS = {"walk": (walk, VALUES), "segments": (lambda: walk(checkpoint=5), VALUES), "by hand": (by_hand, VALUES),
          "process": (lambda: process(at_the_end), {"theta": THETA})}


@pytest.mark.parametrize("strategy", [scg.ScoreFunction(), scg.WeakDerivative()], ids=str)
@pytest.mark.parametrize("name", GRAPHS)
def test_no_number_is_another(name, strategy, monkeypatch):
    make, values = GRAPHS[name]
    given = {"action": strategy} if name == "process" else {"push": strategy}
    found = []
    for saved in (True, False):
        if not saved:
            without(monkeypatch)
        r = scg.compile(make(), strategy=given, backend="numpy")(values, samples=7, rng=3)
        found.append((r.cost, *(array for name in values for array in (r.grad[name], r.stderr[name]))))
    for one, other in zip(*found):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", ["walk", "segments", "by hand"])
def test_a_plan_skips_what_is_over(name, counted, monkeypatch):
    """In both loops: the words of each are filled for the steps that some replicate still makes."""
    made, numbers = [], []
    for saved in (True, False):
        if not saved:
            without(monkeypatch)
        counted.clear()
        r = scg.compile(GRAPHS[name][0](), strategy=scg.ScoreFunction(), backend="loops", stderr=False)(
            VALUES, samples=5, rng=3)
        made.append(len(counted))
        numbers.append((r.cost, *r.grad["w"]))
    assert numbers[0] == numbers[1]
    assert made[0] < 0.7 * made[1]
