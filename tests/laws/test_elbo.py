"""Evidence bounds: declared from a model and a guide they are what they are written by hand, in value and gradient."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.analysis.dependence import Dependence
from scg.derive import derive
from scg.expectation.exact import integrate
from scg.expectation.law import expected_gradient
from tests.laws.checks.exact_law import check_expectation

ROWS = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])


def layers(g):
    """Of a net of two layers of two units: what draws them given what is below, and above."""
    x, c = g.data("x", 3), g.param("c", 2)
    w = {name: (g.param(f"W{name}", shape), g.param(f"b{name}", shape[0]))
         for name, shape in {"1": (2, 3), "2": (2, 2), "x": (3, 2), "h": (2, 2)}.items()}

    def layer(name, given):
        return scg.Bernoulli(logits=w[name][0] @ given + w[name][1])

    return x, layer, scg.Bernoulli(logits=c)


def net_by_hand():
    g = scg.Graph("net")
    x, layer, top = layers(g)
    q1 = layer("1", x)
    h1 = g.sample("h1", q1)
    q2 = layer("2", h1)
    h2 = g.sample("h2", q2)
    joint = layer("x", h1).log_prob(x).sum() + layer("h", h2).log_prob(h1).sum() + top.log_prob(h2).sum()
    g.cost("bound", q1.log_prob(h1).sum() + q2.log_prob(h2).sum() - joint, scale=5.0)
    return g


def net(closed_form=True):
    g = scg.Graph("net")
    x, layer, top = layers(g)

    def guide(q):
        h1 = q.sample("h1", layer("1", x))
        q.sample("h2", layer("2", h1))

    def model(p):
        h2 = p.sample("h2", top)
        h1 = p.sample("h1", layer("h", h2))
        p.observe("x", layer("x", h1), x)

    return g, scg.elbo(g, model, guide, scale=5.0, closed_form=closed_form)


def values(g):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=leaf.shape) for name, leaf in g.params.items()} | {"x": ROWS}


def equal(g, by_hand):
    found, expected = (scg.exact(graph, values(by_hand)) for graph in (g, by_hand))
    assert found.cost == pytest.approx(expected.cost, rel=1e-13)
    for name in by_hand.params:
        np.testing.assert_allclose(found.grad[name], expected.grad[name], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("closed_form, costs", [
    (True, ["h1 entropy", "h1 prior", "h2 kl", "x likelihood"]),
    (False, ["h1 guide", "h1 prior", "h2 guide", "h2 prior", "x likelihood"])])
def test_a_belief_net_is_what_it_is_by_hand(closed_form, costs):
    g, declared = net(closed_form)
    assert list(declared) == list(g.costs) == costs
    equal(g, net_by_hand())
    found = expected_gradient(derive(g), values(g))
    check_expectation(found, integrate(g, values(g)), "of the bound", tolerance=1e-12)


def test_a_divergence_under_a_prior_that_the_site_moves_would_be_another(monkeypatch):
    """What the model draws h1 given is made of h1 in the guide: taken for constant, the bound is not the bound."""
    monkeypatch.setattr(Dependence, "any", lambda self, node: 0)
    g, declared = net()
    monkeypatch.undo()
    assert list(declared) == ["h1 kl", "h2 kl", "x likelihood"]
    with pytest.raises(AssertionError):
        equal(g, net_by_hand())


def test_draws_are_credited_with_what_they_influence_only():
    credit = net()[0].surrogate().incidence.credit
    assert {site: set(costs) for site, costs in credit.items()} == {
        "h1": {"h1 prior", "h2 kl", "x likelihood"}, "h2": {"h1 prior"}}


def test_it_varies_less_than_one_cost():
    one, parts = (scg.compile(g, backend="numpy")(values(g), samples=500, rng=0) for g in (net_by_hand(), net()[0]))
    for name in ("W1", "W2"):
        assert np.sum(parts.stderr[name] ** 2) < 0.4 * np.sum(one.stderr[name] ** 2)


def test_an_autoencoder_is_what_it_is_by_hand():
    found = []
    for by_hand in (True, False):
        g = scg.Graph("vae")
        x, w = g.data("x", 3), g.param("w", (3, 2))
        q, prior = scg.Normal(x @ w, scg.exp(g.param("s", 2))), scg.Normal(0.0, 1.0)
        if by_hand:
            z = g.sample("z", q)
            g.cost("likelihood", -scg.Bernoulli(logits=w @ z).log_prob(x), scale=7.0)
            g.cost("kl", scg.kl_divergence(q, prior), scale=7.0)
        else:
            scg.elbo(g, lambda p: p.observe("x", scg.Bernoulli(logits=w @ p.sample("z", prior)), x),
                     lambda q_: q_.sample("z", q), scale=7.0)
        f = scg.compile(g, backend="numpy")
        assert isinstance(f.verdict["z"].estimator, scg.Pathwise)
        found.append(f(values(g), samples=5, rng=0))
    for name in ("w", "s"):
        np.testing.assert_allclose(found[0].grad[name], found[1].grad[name], rtol=1e-12)


def test_what_rows_share_counts_once():
    """A weight that all rows share, and a latent variable that each row draws though its guide is the same."""
    g = scg.Graph("shared")
    x, m = g.data("x"), g.param("m")
    costs = scg.elbo(g, lambda p: p.observe("x", scg.Normal(p.sample("w", scg.Normal(0.0, 1.0)) +
                                                            p.sample("z", scg.Normal(0.0, 1.0)), 1.0), x),
                     lambda q: (q.sample("w", scg.Normal(m, 1.0)), q.sample("z", scg.Normal(m, 0.5), per_row=True)),
                     scale=10.0)
    e = scg.compile(g, backend="numpy")({"m": 0.4, "x": [0.1, 0.7]}, samples=2, rng=0)
    assert list(costs) == ["w kl", "z kl", "x likelihood"]
    assert e.costs["w kl"] == pytest.approx(0.08)
    assert e.costs["z kl"] == pytest.approx(10.0 * (0.5 * (0.25 + 0.16 - 1.0) + np.log(2.0)))


def test_several_draws_have_so_many_divergences():
    costs = []
    for closed_form in (True, False):
        g = scg.Graph("several")
        t = g.param("t", 2)
        scg.elbo(g, lambda p: p.sample("b", scg.Bernoulli(probs=0.3)),
                 lambda q, t=t: q.sample("b", scg.Bernoulli(logits=t), shape=(3, 2)), closed_form=closed_form)
        costs.append(scg.exact(g, {"t": [0.3, -0.7]}))
    assert costs[0].cost == pytest.approx(costs[1].cost, rel=1e-13)
    np.testing.assert_allclose(costs[0].grad["t"], costs[1].grad["t"], rtol=1e-12)


def test_in_the_steps_of_a_loop():
    exact = []
    for closed_form in (True, False):
        g = scg.Graph("chain")
        a, b = g.param("a"), g.param("b")

        def step(z, x, g=g, a=a, b=b, closed_form=closed_form):
            new = []
            scg.elbo(g, lambda p: p.observe("x", scg.Normal(p.sample("z", scg.Bernoulli(logits=a * z)), 1.0), x),
                     lambda q: new.append(q.sample("z", scg.Bernoulli(logits=b + x + z))), closed_form=closed_form)
            return new[0], None

        g.scan(step, 0.0, xs=np.array([0.3, -0.4, 1.0]))
        exact.append(scg.exact(g, {"a": 0.5, "b": -0.2}))
    assert exact[0].cost == pytest.approx(exact[1].cost, rel=1e-13) and "z kl" in exact[0].costs
    for name in "ab":
        np.testing.assert_allclose(exact[0].grad[name], exact[1].grad[name], rtol=1e-12)


def flip():
    return scg.Bernoulli(probs=0.4)


@pytest.mark.parametrize("model, guide, why", [
    (None, lambda q: None, "It takes a graph, and the model and the guide"),
    (lambda p: None, lambda q: None, "draws and observes nothing"),
    (lambda p: p.observe("x", flip(), 1.0), lambda q: q.sample("z", flip()), "The model says nothing of it"),
    (lambda p: p.sample("y", flip()), lambda q: q.sample("z", flip()), "The guide does not"),
    (lambda p: (p.sample("z", flip()), p.observe("z", flip(), 1.0)), lambda q: q.sample("z", flip()), "a second time"),
    (lambda p: p.sample("z", 0.3), lambda q: q.sample("z", flip()), "not a distribution"),
    (lambda p: p.sample("z", scg.Bernoulli(probs=[0.4, 0.5])), lambda q: q.sample("z", flip()), "has shape"),
])
def test_what_is_no_bound(model, guide, why):
    with pytest.raises(scg.SCGError, match=why):
        scg.elbo(scg.Graph("refused"), model, guide)
