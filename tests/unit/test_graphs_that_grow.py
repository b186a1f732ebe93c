"""What was compiled is of the graph as it was: what is declared later changes nothing that it says."""

import re

import numpy as np
import pytest

import scg

VALUES = {"t": 0.1}


def toy():
    g = scg.Graph("grows")
    t = g.param("t")
    g.cost("c", g.sample("z", scg.Bernoulli(logits=t)) * t)
    return g


def _steady(story):
    """Without seconds."""
    return re.sub(r"  compiled .*", "", story)


def grow(g):
    """A further cost of the site that is there, a leaf without which nothing can be computed, and a second site."""
    z = g.nodes["z"]
    g.cost("more", 5.0 * z)
    g.cost("of q", g.param("q") * z * g.sample("later", scg.Bernoulli(logits=g.nodes["t"])))
    g.node("named", g.nodes["t"] * 2.0)


def grow_a_loop(g):
    g.scan(lambda c, _: (c + g.sample("in a loop", scg.Normal(loc=c, scale=1.0)), None), g.param("q"), length=2)
    g.cost("rows", g.data("d") * g.nodes["t"])


@pytest.mark.parametrize("growth", [grow, grow_a_loop])
@pytest.mark.parametrize("strategy", [scg.ScoreFunction(), scg.Enumerate()], ids=repr)
def test_what_was_compiled_stays_what_it_was(growth, strategy):
    g = toy()
    f, again = (scg.compile(g, strategy=strategy, backend="numpy") for _ in range(2))
    surrogate = g.surrogate(strategy)
    said = [_steady(f.explain()), str(f.surrogate), f.surrogate.latex(), str(surrogate), repr(surrogate),
            f.surrogate.sympy()]
    exact, before = scg.exact(g, VALUES), f(VALUES, samples=50, rng=0, record="t")
    growth(g)
    assert said == [_steady(again.explain()), str(again.surrogate), again.surrogate.latex(), str(surrogate),
                    repr(surrogate), again.surrogate.sympy()]
    verified = scg.verify(again, VALUES)
    assert verified.passed and scg.verify(f, VALUES).passed
    assert f.surrogate.gradient("t") == again.surrogate.gradient("t")
    r = again(VALUES, samples=50, rng=0, record="t")
    np.testing.assert_array_equal(r.record["t"], before.record["t"])
    assert r.grad["t"] == before.grad["t"] and exact.cost == pytest.approx(0.1 / (1 + np.exp(-0.1)))
    with pytest.raises(scg.DeclarationError, match="record names"):
        again(VALUES, samples=5, record="named" if growth is grow else "d")


def test_the_graph_goes_on():
    """It is compiled anew as it is by then, and an estimate that is not finite is explained by what was compiled."""
    g = toy()
    f = scg.compile(g, backend="numpy")
    grow(g)
    assert set(scg.compile(g, backend="numpy")(VALUES | {"q": 1.0}).costs) == {"c", "more", "of q"}
    assert set(f(VALUES).costs) == {"c"}
    h = scg.Graph("no number")
    t = h.param("t")
    h.cost("c", np.log(t - h.sample("z", scg.Bernoulli(logits=t))))
    f = scg.compile(h, backend="numpy")
    h.cost("later", h.param("q") / 0.0)
    with pytest.raises(scg.NonFiniteError, match=r"log\(t - z\)"):
        f({"t": 0.5}, samples=50, rng=0)
