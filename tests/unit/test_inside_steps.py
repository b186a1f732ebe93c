"""Nodes of a scan's step: they have a value per step, and are refused where one value is wanted."""

import re

import pytest

import scg


def _graph():
    """A scan, its last carry, and what its step let out: the carry, a named node, a sample."""
    g, let_out = scg.Graph("loops"), {}
    t = g.param("t")

    def step(c, x):
        b = g.sample("b", scg.Bernoulli(logits=t - c))
        let_out.update(carry=c, named=g.node("h", c + 2.0 * b), sample=b)
        return c + b, None

    last, _ = g.scan(step, 0.0, length=2)
    g.cost("c", (last - 0.45) ** 2)
    return g, let_out


def named_node(g, node):
    g.node("n", 2.0 * node)


def cost(g, node):
    g.cost("n", node)


def site(g, node):
    g.sample("n", scg.Bernoulli(logits=node))


def another_scan(g, node):
    g.cost("n", g.scan(lambda c, x: (c + node, None), 0.0, length=2)[0])


def start_of_a_scan(g, node):
    g.cost("n", g.scan(lambda c, x: (c + 1.0, None), node, length=2)[0])


def _refused(call, kind):
    with pytest.raises(kind, match=r"uses a node from inside a scan's step.*Return it") as info:
        call()
    assert type(info.value) is kind and not re.search(r"\d+:carry", str(info.value))


@pytest.mark.parametrize("use", [named_node, cost, site, another_scan, start_of_a_scan])
@pytest.mark.parametrize("which", ["carry", "named", "sample"])
def test_nodes_of_a_step_outside_it(use, which):
    g, let_out = _graph()
    use(g, let_out[which])
    _refused(lambda: scg.compile(g, backend="numpy"), scg.DeclarationError)
    _refused(lambda: scg.exact(g, {"t": 0.3}), scg.DeclarationError)


@pytest.mark.parametrize("which", ["carry", "named", "sample"])
def test_baselines_from_a_step_of_a_site_outside(which):
    g, let_out = _graph()
    g.cost("n", g.sample("z", scg.Bernoulli(logits=g.params["t"])))
    strategy = {"z": scg.ScoreFunction(baseline=scg.Expression(let_out[which]))}
    _refused(lambda: scg.compile(g, strategy=strategy, backend="numpy"), scg.errors.BaselineError)


def test_named_nodes_of_a_step_are_recorded_by_step():
    g, _ = _graph()
    r = scg.compile(g, backend="numpy")({"t": 0.3}, samples=50, rng=0, record=("h", "b"))
    h, b = r.record["h"][0], r.record["b"][0]
    assert h.shape == (50, 2) and set(b.ravel()) == {0.0, 1.0}
    assert (h[:, 0] == 2.0 * b[:, 0]).all() and (h[:, 1] == b[:, 0] + 2.0 * b[:, 1]).all()
