"""A node belongs to the graph in which it was declared, also one that depends on no leaf of it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import scg

NORMAL = scg.Normal(loc=0.0, scale=1.0)


def drawn(g):
    """A site of literal parameters."""
    return g.sample("z", NORMAL)


def looped(g):
    """What a loop makes of draws whose parameters are literals, from a literal."""
    return g.scan(lambda carry, _: (carry + g.sample("z", NORMAL), None), 0.0, length=2)[0]


def stacked(g):
    """The same, step by step."""
    return g.scan(lambda carry, _: (carry, g.sample("z", NORMAL)), 0.0, length=2)[1].sum()


NODES = {"site": drawn, "function of a site": lambda g: np.exp(drawn(g)[None]).sum(), "loop": looped, "steps": stacked,
         "per row": lambda g: g.sample("z", NORMAL, per_row=True), "named literal": lambda g: g.node("z", 2.0),
         "site of a site": lambda g: g.sample("y", scg.Normal(loc=drawn(g), scale=1.0))}  # fmt: skip


def in_a_step(g, node):
    """A loop that uses the node in its steps."""
    g.scan(lambda carry, _: (carry + node * g.sample("b", NORMAL), None), 0.0, length=2)


USES = {"cost": lambda g, n: g.cost("c", n), "difference": lambda g, n: n - g.sample("w", NORMAL),
        "parameter": lambda g, n: g.sample("y2", scg.Normal(loc=n, scale=1.0)), "node": lambda g, n: g.node("n", n),
        "first value": lambda g, n: g.scan(lambda carry, _: (carry, None), n, length=2),
        "array": lambda g, n: g.scan(lambda carry, x: (carry, x), 0.0, n[None]), "step": in_a_step}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", NODES)
def test_a_node_of_another_graph_is_refused(kind, use):
    first, second = scg.Graph("first"), scg.Graph("second")
    node = NODES[kind](first)
    assert NODES[kind](second) is not node  # though it has the same name and distribution
    with pytest.raises(scg.DeclarationError, match=r"two graphs|Nodes of two"):
        USES[use](second, node)
    third = scg.Graph("third")
    USES[use](third, NODES[kind](third))


@pytest.mark.parametrize("strategy", [None, scg.ScoreFunction(), scg.WeakDerivative(), scg.Enumerate(),
                                      scg.LocalExpectation(), scg.MuProp()], ids=str)
def test_what_estimators_make_stays_in_its_graph(strategy):
    """Every node of a surrogate that draws noise belongs to the graph, in loops too."""
    from scg.derive import derive
    from scg.passes.outputs import _everything

    g = scg.Graph("own")
    t = g.param("t")

    def step(carry, _):
        x = g.sample("x", scg.Bernoulli(logits=t))
        y = g.sample("y", scg.Bernoulli(logits=0.0))
        g.cost("c", (carry + x - y) ** 2)
        return x, None

    g.scan(step, 0.0, length=2)
    noise = [n for n in _everything(derive(g, {"x": strategy} if strategy else None).roots()) if n.op.name == "noise"]
    assert noise and all(n.owner is g for n in noise)


MIXED = {
    "node": lambda g, t, b: g.node("q", t), "cost": lambda g, t, b: g.cost("q", b),
    "sum": lambda g, t, b: t + g.param("u"),
    "scale": lambda g, t, b: g.cost("q", 1.0, scale=b), "site": lambda g, t, b: g.sample("q", scg.Bernoulli(logits=t)),
    "first value": lambda g, t, b: g.scan(lambda c, _: (c, None), t, length=2),
    "choice": lambda g, t, b: scg.where(t > 0, g.param("u"), 1.0),
    "step": lambda g, t, b: g.scan(lambda c, x: (c + t, x), g.param("u"), length=2),
}  # fmt: skip


@pytest.mark.parametrize("use", MIXED)
def test_the_line_is_the_one_that_mixes(use):
    """Not that of the declaration, which is told besides: two graphs may have one name."""
    g, h = scg.Graph("toy"), scg.Graph("toy")
    t, line = h.param("t"), sys._getframe().f_lineno
    b = h.sample("b", scg.Bernoulli(logits=t))
    with pytest.raises(scg.DeclarationError) as info:
        MIXED[use](g, t, b)
    assert str(info.value).startswith(f"test_owners.py:{MIXED[use].__code__.co_firstlineno}: ")
    declared = {"cost": f"{line + 1}, sample", "scale": f"{line + 1}, sample", "choice": "comparison", "step": "sum"}
    assert declared.get(use, f"{line}, param") in str(info.value)


def test_a_baseline_of_another_graph():
    g, h = scg.Graph("toy"), scg.Graph("toy")
    g.cost("c", g.sample("b", scg.Bernoulli(logits=g.param("t"))))
    strategy = scg.ScoreFunction(baseline=scg.Expression(h.sample("other", NORMAL)))
    with pytest.raises(scg.BaselineError, match=r'node of another graph: .*sample "other"'):
        scg.compile(g, strategy=strategy, backend="numpy")
