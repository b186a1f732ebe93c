"""Derivatives of stationary means, against those of the stationary law itself."""

from __future__ import annotations

import numpy as np
import pytest

import scg

RNG = np.random.default_rng(3)
W, B = RNG.normal(size=(3, 3)), RNG.normal(size=3)
WEIGHTS = np.array([1.0, -2.0, 0.5])


def energy(x):
    return (x @ WEIGHTS) ** 2 + x[0] * x[2]


def little(burn_in=20, horizon=310, of=energy, clamped=False):
    """A Little network of three units; its weights are not symmetric, and an input may be clamped to it."""
    g = scg.Graph("little")
    w, b = g.param("W", (3, 3)), g.param("b", 3)
    given = g.data("x", ()) if clamped else 0.0

    def step(y):
        new = g.sample("y", scg.Bernoulli(logits=w @ y + b + given))
        g.cost("e", of(new))
        return new

    g.chain(step, init=np.zeros(3), burn_in=burn_in, horizon=horizon)
    return g


def stationary_mean(w, b, cost=energy):
    states = (np.arange(2 ** len(b))[:, None] >> np.arange(len(b)) & 1).astype(float)
    p = 1.0 / (1.0 + np.exp(-(states @ w.T + b)))
    move = np.prod(np.where(states[None] == 1.0, p[:, None], 1.0 - p[:, None]), axis=-1)
    return _stationary(move) @ [cost(x) for x in states]


def _stationary(move):
    system = np.vstack([(move.T - np.eye(len(move)))[:-1], np.ones(len(move))])
    return np.linalg.solve(system, np.eye(len(move))[-1])


def derivative(mean, *at):
    """Central differences of a function of arrays, by array."""
    found = []
    for k, array in enumerate(at):
        slope = np.zeros_like(array)
        for i in np.ndindex(array.shape):
            step = np.zeros_like(array)
            step[i] = 1e-5
            there, back = ([*at[:k], array + s * step, *at[k + 1:]] for s in (1.0, -1.0))
            slope[i] = (mean(*there) - mean(*back)) / 2e-5
        found.append(slope)
    return found


def agree(found, exact, stderr):
    return np.all(np.abs(found - exact) <= 5.0 * stderr)


@pytest.fixture(scope="module")
def exact():
    return stationary_mean(W, B), *derivative(stationary_mean, W, B)


@pytest.mark.parametrize("rule", [scg.SPWD(), scg.WeakDerivative()], ids=str)
def test_little_network(rule, exact):
    r = scg.compile(little(), strategy=rule, backend="numpy")({"W": W, "b": B}, samples=600, rng=0)
    assert abs(r.cost - exact[0]) <= 5.0 * r.cost_stderr
    assert agree(r.grad["W"], exact[1], r.stderr["W"]) and agree(r.grad["b"], exact[2], r.stderr["b"])
    assert np.max(r.stderr["b"]) < 0.1 and r.coupling.uncoupled < 1e-3


def test_a_kernel_runs_the_same_chains():
    r, k = (scg.compile(little(horizon=62), strategy=scg.SPWD(truncation=4), backend=b, wrt="b")(
        {"W": W, "b": B}, samples=40, rng=1) for b in ("numpy", "numba"))
    np.testing.assert_allclose(r.grad["b"], k.grad["b"], rtol=1e-12)
    np.testing.assert_allclose(r.coupling.shares, k.coupling.shares, rtol=1e-12)
    assert r.cost == pytest.approx(k.cost, rel=1e-12)


def test_truncation_is_measured_and_biases():
    """Flynn & Vázquez-Abad's estimator cut off after K steps: the law of what is left is that of Σₖ π (D P) Pᵏ e."""
    states = (np.arange(8)[:, None] >> np.arange(3) & 1).astype(float)

    def kernel(w, b):
        p = 1.0 / (1.0 + np.exp(-(states @ w.T + b)))
        return np.prod(np.where(states[None] == 1.0, p[:, None], 1.0 - p[:, None]), axis=-1)

    law, costs = _stationary(kernel(W, B)), np.array([energy(x) for x in states])
    for steps in (0, 1, 3):
        ahead = sum(np.linalg.matrix_power(kernel(W, B), k) @ costs for k in range(steps + 1))
        cut = derivative(lambda w, b, ahead=ahead: law @ kernel(w, b) @ ahead, W, B)
        f = scg.compile(little(horizon=120), strategy=scg.Phantoms(truncation=steps),
                        backend="numpy")
        r = f({"W": W, "b": B}, samples=300, rng=2)
        assert agree(r.grad["W"], cut[0], r.stderr["W"]) and agree(r.grad["b"], cut[1], r.stderr["b"])
        assert (r.coupling.uncoupled == 1.0) == (steps == 0)


def test_several_sites_functions_between_and_params_in_the_cost():
    """A queue of at most two: arrivals, then services that see them; the cost has a param of its own."""
    def build():
        g = scg.Graph("queue")
        a, s, c = g.param("a"), g.param("s"), g.param("c")

        def step(n):
            arrival = g.sample("arrival", scg.Bernoulli(logits=a))
            waiting = scg.minimum(n + arrival, 2.0)
            kind = g.sample("kind", scg.Categorical(logits=scg.stack([0.0 * s, s * waiting, 0.5 * s])))
            new = scg.maximum(waiting - scg.minimum(kind, 1.0), 0.0)
            g.cost("holding", c**2 * new + kind)
            return new

        g.chain(step, init=0.0, burn_in=20, horizon=310)
        return g

    def mean(a, s, c):
        move, paid, p = np.zeros((3, 3)), np.zeros(3), 1.0 / (1.0 + np.exp(-a))
        for n in range(3):
            for arrival in (0, 1):
                waiting = min(n + arrival, 2)
                q = np.exp([0.0, float(s) * waiting, 0.5 * float(s)])
                for kind in range(3):
                    chance = (p if arrival else 1.0 - p) * (q / q.sum())[kind]
                    new = max(waiting - min(kind, 1), 0)
                    move[n, new] += chance
                    paid[n] += chance * (c**2 * new + kind)
        return _stationary(move) @ paid

    at = [np.array(v) for v in (0.3, -0.4, 1.2)]
    r = scg.compile(build(), strategy=scg.SPWD(), backend="numpy")(dict(zip("asc", at)), samples=600, rng=0)
    for name, exact in zip("asc", derivative(mean, *at)):
        assert agree(r.grad[name], exact, r.stderr[name]) and r.stderr[name] < 0.1


def test_clamped_inputs():
    r = scg.compile(little(clamped=True), strategy=scg.SPWD(), backend="numpy")(
        {"W": W, "b": B, "x": [0.5, -1.0]}, samples=400, rng=0)
    found = [derivative(stationary_mean, W, B + x) for x in (0.5, -1.0)]
    assert agree(r.grad["b"], (found[0][1] + found[1][1]) / 2.0, r.stderr["b"])
    assert agree(r.grad["W"], (found[0][0] + found[1][0]) / 2.0, r.stderr["W"])


def test_one_chain_has_batches():
    f = scg.compile(little(horizon=4 * 100), strategy=scg.SPWD(truncation=3), backend="numpy")
    one, many = f({"W": W, "b": B}, rng=0), f({"W": W, "b": B}, samples=60, rng=0)
    assert any("100 batches" in note for note in one.notes)
    np.testing.assert_allclose(one.stderr["W"], many.stderr["W"] * np.sqrt(60.0), rtol=0.5)
    assert one.cost_stderr == pytest.approx(many.cost_stderr * np.sqrt(60.0), rel=0.5)


# --- what is refused -------------------------------------------------------------------------------------------------
def test_phantoms_that_do_not_meet():
    f = scg.compile(little(horizon=310), strategy=scg.SPWD(), backend="numpy")
    with pytest.raises(scg.CallError, match="More than half of the pairs had not met after 30 steps"):
        f({"W": 60.0 * np.eye(3), "b": np.full(3, -30.0)}, rng=0)


def path_through_the_state(g, a):
    def step(x):
        new = 0.5 * x + a * g.sample("z", scg.Bernoulli(probs=0.5))
        g.cost("e", new)
        return new

    g.chain(step, init=0.0)


def no_weak_derivative(g, a):
    def step(x):
        new = g.sample("z", scg.MultivariateNormal(loc=scg.stack([a, 0.0]), scale_diag=np.ones(2)))
        g.cost("e", new[0])
        return new[0]

    g.chain(step, init=0.0)


@pytest.mark.parametrize("build,strategy,words", [
    (path_through_the_state, scg.SPWD(), "depends on a besides through its draws"),
    (path_through_the_state, scg.ScoreFunction(), "grows with the horizon"),
    (no_weak_derivative, scg.SPWD(), "No weak derivative of MultivariateNormal in loc"),
    (path_through_the_state, scg.SPWD(truncation=1000), "takes 1001 steps"),
    (lambda g, a: g.cost("c", a * g.sample("b", scg.Bernoulli(probs=0.5))), scg.SPWD(), "the graph has none"),
])
def test_refused_by_rules(build, strategy, words):
    g = scg.Graph("chain")
    build(g, g.param("a"))
    with pytest.raises(scg.EstimatorError, match=words):
        scg.compile(g, strategy=strategy, backend="numpy")


@pytest.mark.parametrize("options,words", [
    ({"burn_in": -1}, "burn_in=-1"), ({"horizon": 0}, "horizon=0"), ({"horizon": 2.5}, "horizon=2.5"),
    ({"step": lambda x: x}, "declared no cost"), ({"step": 3.0}, "as its step")])
def test_refused_declarations(options, words):
    g = scg.Graph("chain")

    def step(x):
        g.cost("e", x)
        return x

    with pytest.raises(scg.DeclarationError, match=words):
        g.chain(**{"step": step, "init": 0.0, **options})


def test_one_chain_and_no_other_cost():
    g = little()
    with pytest.raises(scg.DeclarationError, match="has a chain"):
        g.chain(lambda x: x, init=0.0)
    with pytest.raises(scg.EstimatorError, match="truncation=-1"):
        scg.SPWD(truncation=-1)
