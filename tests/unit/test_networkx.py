"""The declared graph as a networkx graph."""

from __future__ import annotations

import networkx
import numpy as np
import pytest
from problems import PROBLEMS

import scg


def edges(graph) -> set[tuple[str, str]]:
    return set(graph.to_networkx().edges)


@pytest.mark.parametrize(("problem", "expected"), [
    ("figure_1_graph_1", {("theta", "x"), ("x", "y"), ("y", "f")}),
    ("figure_1_graph_2", {("theta", "x"), ("x", "y"), ("y", "f")}),
    ("figure_1_graph_3", {("theta", "x"), ("x", "y"), ("y", "f")}),
    ("figure_1_graph_4", {("theta", "x"), ("theta", "y"), ("x", "f"), ("y", "f")}),
    ("figure_1_graph_5", {("theta", "x_1"), ("x_0", "x_1"), ("theta", "x_2"), ("x_1", "x_2"), ("x_1", "f_1"),
                          ("x_2", "f_2")}),
])  # fmt: skip
def test_graphs_of_the_paper(problem, expected):
    assert edges(PROBLEMS[problem]().graph) == expected


def test_what_a_node_says():
    g = scg.Graph("attributes")
    x, w, c = g.data("x", 3), g.param("W", (2, 3)), g.input("c")
    h = g.sample("h", scg.Bernoulli(logits=w @ x))
    doubled = g.node("doubled", h * 2.0)
    g.cost("loss", (doubled - c) ** 2)
    got = g.to_networkx().nodes
    assert {n: got[n]["kind"] for n in got} == {
        "W": "param", "c": "input", "x": "data", "h": "sample", "doubled": "node", "loss": "cost"}
    assert got["W"]["shape"] == "(2, 3)" and got["loss"]["shape"] == "(2,)"
    assert got["h"]["label"] == "h ~ Bernoulli" and got["doubled"]["label"] == "doubled"
    assert edges(g) == {("x", "h"), ("W", "h"), ("h", "doubled"), ("doubled", "loss"), ("c", "loss")}


def test_a_cost_may_be_a_sample_or_a_named_node():
    g = scg.Graph("same")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
    g.cost("b_cost", b)
    y = g.node("y", b + 1.0)
    g.cost("y_cost", y)
    assert edges(g) == {("theta", "b"), ("b", "b_cost"), ("b", "y"), ("y", "y_cost")}


def test_a_sample_without_cost_is_there():
    g = scg.Graph("idle")
    theta = g.param("theta")
    g.sample("b", scg.Bernoulli(logits=theta))
    g.cost("loss", theta**2)
    assert edges(g) == {("theta", "b"), ("theta", "loss")}


def recurrent() -> scg.Graph:
    g = scg.Graph("recurrent")
    w, m0, x = g.param("w"), g.param("m0"), g.data("x", 4)

    def step(carry, xt):
        h, m = carry
        g.cost("before", m * m)
        new = g.sample("h", scg.Bernoulli(logits=w * xt + h))
        g.cost("after", (new - m) ** 2)
        return (new, m * 0.5), None

    (last, _), _ = g.scan(step, (0.0, m0), xs=x)
    g.cost("end", last * w)
    return g


def test_scans_are_seen_through():
    found = recurrent().to_networkx()
    assert set(found.edges) == {("w", "h"), ("x", "h"), ("h", "h"), ("m0", "before"), ("m0", "after"), ("h", "after"),
                                ("h", "end"), ("w", "end")}  # fmt: skip
    assert [e for e in found.edges if found.edges[e]["carried"]] == [("h", "h")]
    assert found.nodes["h"]["steps"] == 4 and found.nodes["after"]["steps"] == 4 and found.nodes["end"]["steps"] == 0
    assert found.nodes["after"]["shape"] == "()"


def test_scans_in_scans():
    g = scg.Graph("nested")
    theta = g.param("theta")

    def inner(s, _):
        b = g.sample("b", scg.Bernoulli(logits=theta + s))
        g.cost("hit", b * theta)
        return s + b, None

    def outer(s, _):
        s, _ = g.scan(inner, s, length=2)
        return s, None

    last, _ = g.scan(outer, np.zeros(()), length=3)
    g.cost("end", last)
    found = g.to_networkx()
    assert set(found.edges) == {("theta", "b"), ("b", "b"), ("b", "hit"), ("theta", "hit"), ("b", "end")}
    assert found.edges["b", "b"]["carried"]


def test_named_nodes_of_steps():
    """What has a name in a step stands between what it is made of and what is made of it: a carry in the next step."""
    g = scg.Graph("walk")
    theta = g.param("theta")

    def step(state, x):
        move = g.sample("move", scg.Bernoulli(logits=theta * state))
        after = g.node("after", 0.5 * state + move)
        g.cost("reward", (after - x) ** 2)

        def inner(heat, _):
            warmed = g.node("warmed", heat * after)
            return warmed, None

        return g.scan(inner, after, length=2)[0], None

    last, _ = g.scan(step, 0.3, xs=np.array([1.0, 2.0]))
    g.cost("end", last**2)
    found = g.to_networkx()
    edges = {e: found.edges[e]["carried"] for e in found.edges}
    assert edges == {("theta", "move"): False, ("move", "after"): False, ("after", "reward"): False,
                     ("after", "warmed"): False, ("warmed", "warmed"): True, ("warmed", "move"): True,
                     ("warmed", "after"): True, ("after", "end"): False, ("warmed", "end"): False,
                     ("after", "move"): True, ("after", "after"): True}  # fmt: skip


@pytest.mark.parametrize("problem", PROBLEMS)
def test_all_but_carried_edges_make_a_dag(problem):
    graph = PROBLEMS[problem]().graph
    found = graph.to_networkx()
    assert set(found) == {*graph.params, *graph.inputs, *graph.rows, *graph.costs, *graph.sites,
                          *(name for name in graph.names.values())}
    now = [e for e in found.edges if not found.edges[e]["carried"]]
    assert networkx.is_directed_acyclic_graph(found.edge_subgraph(now))
    sinks = {n for n in found if not list(found.successors(n))}
    assert set(graph.costs) <= sinks


@pytest.mark.parametrize("problem", PROBLEMS)
def test_what_is_not_blocked_is_what_the_compiler_differentiates(problem):
    """A derivative flows into a site's parameters just if it comes along one of the edges to it."""
    graph = PROBLEMS[problem]().graph
    verdicts = graph.surrogate().derivation.verdicts
    found = graph.to_networkx({})
    acting = set(graph.params).union(*(networkx.descendants(found, p) for p in graph.params if p in found))
    for name, v in verdicts.items():
        if name in graph.sites and v.influenced:
            live = [p for p in found.predecessors(name) if p in acting and not found.edges[p, name]["blocked"]]
            assert bool(live) == v.differentiated, (name, live)
