"""A graph that was pickled is the same graph in another process, among that one's own nodes."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

import scg
from scg.ir.traverse import topological

VALUES = {"t": [0.1, 0.2, 0.3], "x": [0.5, -0.5]}

# Both processes declare graphs by the same steps, with other numbers: their nodes are numbered alike.
DECLARED = """
import pickle, sys, numpy as np, scg
def declared(a):
    g = scg.Graph("g")
    t = g.param("t")
    b = g.sample("b", scg.Bernoulli(logits=t * a))
    l, _ = g.scan(lambda c, x: (c * a + g.sample("s", scg.Bernoulli(logits=c)), None), b, length=2)
    g.cost("c", (b - a) ** 2 + l)
    return g
def go_on(g, a):
    g.cost("d", np.exp(g.nodes["b"] * a) + a)
    l, _ = g.scan(lambda c, x: (c * a + g.sample("z", scg.Bernoulli(logits=c)), None), g.nodes["b"], length=2)
    g.cost("e", l)
    return repr(scg.exact(g, {"t": 0.3}))
"""
WRITES = "sys.stdout.buffer.write(pickle.dumps(declared(2.0)))"
READS = """
own = declared(3.0)
read = pickle.loads(sys.stdin.buffer.read())
print(go_on(own, 3.0) == go_on(declared(3.0), 3.0), go_on(read, 2.0) == go_on(declared(2.0), 2.0))
nodes = {id(n) for n in own.nodes.values()} & {id(n) for n in read.nodes.values()}
print(not nodes, all(n.owner is read for n in read.nodes.values()))
"""


def _python(text: str, given: bytes = b"") -> bytes:
    return subprocess.run([sys.executable, "-c", DECLARED + text], input=given, capture_output=True, check=True).stdout


def test_nodes_of_another_process_do_not_mix_with_those_of_this_one():
    assert _python(READS, _python(WRITES)).split() == [b"True"] * 4


def _graph() -> scg.Graph:
    g = scg.Graph("g")
    t, x = g.param("t", 3), g.data("x")
    v = g.node("v", np.tanh(t) * 1.5)
    b = g.sample("b", scg.Bernoulli(logits=v[0] + x),
                 estimator=scg.ScoreFunction(baseline=scg.Expression(v[1] * 2.0)))

    def step(c, y):
        z = g.sample("z", scg.Normal(loc=c * v[1], scale=1.0))
        g.node("twice", z * 2.0)
        return c + z * y, z

    last, zs = g.scan(step, 0.0, xs=np.array([1.0, 2.0, 0.5]))
    w = g.sample("w", scg.Gamma(concentration=np.exp(t[0]), rate=1.0))
    g.cost("c", (last - b * g.sample("u", scg.Bernoulli(probs=0.3))) ** 2 + zs.sum() * v[2] + w)
    return g


def _same(g, h) -> bool:
    a, b = (scg.compile(each, backend="numpy")(VALUES, samples=5, rng=0, record=("twice", "v")) for each in (g, h))
    return a.cost == b.cost and all(np.array_equal(x[k], y[k]) for x, y in ((a.grad, b.grad), (a.record, b.record))
                                    for k in x)


def test_the_same_graph():
    g = _graph()
    h = pickle.loads(pickle.dumps(g))
    assert str(g) == str(h) and _same(g, h)
    assert {node.owner for node in h.nodes.values()} == {h}
    assert not {n.id for n in h.nodes.values()} & {n.id for n in g.nodes.values()}
    assert str(g.surrogate()) == str(h.surrogate())


def test_a_graph_that_was_read_goes_on():
    g = _graph()
    h = pickle.loads(pickle.dumps(g))
    for each in (g, h):  # open loops of both are told apart from those that come
        v = each.nodes["v"]
        each.cost("d", each.scan(lambda c, _, v=v: (c * v[0] + 1.0, None), v[2], length=3)[0])
    assert str(g) == str(h) and _same(g, h)
    with pytest.raises(scg.DeclarationError, match="Nodes of two graphs"):
        h.cost("e", g.nodes["v"])
    with pytest.raises(scg.DeclarationError, match="used a second time"):
        h.node("v", 1.0)


def test_equal_nodes_are_one_after_reading():
    g = _graph()
    h, v, (b,) = pickle.loads(pickle.dumps((g, g.nodes["v"], [g.nodes["b"]])))
    assert h.nodes["v"] is v and h.nodes["b"] is b
    assert h.nodes["t"] + 1.0 is h.nodes["t"] + 1.0
    w = pickle.loads(pickle.dumps(g.nodes["v"]))
    assert w.owner is not g and w.owner.nodes["v"] is w
    constant = scg.exp(np.arange(3.0))
    assert pickle.loads(pickle.dumps(constant)) is constant
    assert not constant.args[0].attrs.array.flags.writeable


def test_the_same_surrogate():
    s = _graph().surrogate()
    again = pickle.loads(pickle.dumps(s))
    assert str(again) == str(s)
    assert again.derivation.site_nodes[0].node.owner is again.derivation.graph.home


def test_a_graph_of_twenty_thousand_nodes():
    g = scg.Graph("deep")
    y = g.param("t")
    for i in range(10_000):
        y = y + float(i)
    g.cost("c", y)
    h = pickle.loads(pickle.dumps(g))
    assert len(topological([h.costs["c"]])) == len(topological([g.costs["c"]])) == 20_001
