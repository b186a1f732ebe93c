"""Derivatives of stationary means, against those of the stationary law itself."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.derive import derive
from scg.ir.traverse import topological
from scg.ops.scan import scan_op
from scg.passes.outputs import program_of
from scg.rules.idle import idle
from scg.simplification import simplified

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


def derivative(mean, *at, by=1e-5):
    """Central differences of a function of arrays, by array."""
    found = []
    for k, array in enumerate(at):
        slope = np.zeros_like(array)
        for i in np.ndindex(array.shape):
            step = np.zeros_like(array)
            step[i] = by
            there, back = ([*at[:k], array + s * step, *at[k + 1:]] for s in (1.0, -1.0))
            slope[i] = (mean(*there) - mean(*back)) / (2.0 * by)
        found.append(slope)
    return found


def agree(found, exact, stderr):
    return np.all(np.abs(found - exact) <= 5.0 * stderr)


@pytest.fixture(scope="module")
def exact():
    return stationary_mean(W, B), *derivative(stationary_mean, W, B)


OFTEN = np.array([1.0, 0.0, 0.0])  # every second state
RULES = [scg.SPWD(), scg.WeakDerivative(), scg.LikelihoodRatio(window=10), scg.Regenerative(state=OFTEN)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_little_network(rule, exact):
    r = scg.compile(little(), strategy=rule, backend="numpy")({"W": W, "b": B}, samples=600, rng=0)
    assert abs(r.cost - exact[0]) <= 5.0 * r.cost_stderr
    assert agree(r.grad["W"], exact[1], r.stderr["W"]) and agree(r.grad["b"], exact[2], r.stderr["b"])
    assert np.max(r.stderr["b"]) < 0.1 and (r.coupling is None or r.coupling.uncoupled < 1e-3)


def test_finite_differences():
    """Their mean is the difference of the stationary means themselves, however large it is."""
    f = scg.compile(little(horizon=100), strategy=scg.FiniteDifferences(step=2.0), backend="numpy")
    r, slopes = f({"W": W, "b": B}, samples=600, rng=0), derivative(stationary_mean, W, B, by=2.0)
    assert agree(r.grad["W"], slopes[0], r.stderr["W"]) and agree(r.grad["b"], slopes[1], r.stderr["b"])
    assert not agree(r.grad["b"], derivative(stationary_mean, W, B)[1], r.stderr["b"])


def test_four_units():
    """Weights of either sign, cyclic, with a threshold for a cost."""
    w, b = 1.5 * RNG.normal(size=(4, 4)), RNG.normal(size=4)
    g = scg.Graph("little")
    params = g.param("W", (4, 4)), g.param("b", 4)

    def step(y):
        new = g.sample("y", scg.Bernoulli(logits=params[0] @ y + params[1]))
        g.cost("majority", scg.where(new.sum() > 2.0, 1.0, 0.0))
        return new

    g.chain(step, init=np.zeros(4), burn_in=20, horizon=310)
    r = scg.compile(g, strategy=scg.SPWD(), backend="numpy")({"W": w, "b": b}, samples=600, rng=0)
    found = derivative(lambda w, b: stationary_mean(w, b, lambda x: float(x.sum() > 2.0)), w, b)
    assert agree(r.grad["W"], found[0], r.stderr["W"]) and agree(r.grad["b"], found[1], r.stderr["b"])


def test_waiting_times():
    """A queue M/M/1 by Lindley's recursion: the mean waiting time is λ / (μ (μ - λ)); an empty system forgets."""
    g = scg.Graph("queue")
    arrive, serve = g.param("arrive"), g.param("serve")

    def step(waited):
        g.cost("wait", waited)
        service = g.sample("service", scg.Exponential(serve))
        return scg.maximum(waited + service - g.sample("gap", scg.Exponential(arrive)), 0.0)

    g.chain(step, init=0.0, burn_in=50, horizon=640)
    r = scg.compile(g, strategy=scg.Regenerative(), backend="numpy")({"arrive": 0.3, "serve": 1.0}, samples=300, rng=0)
    assert abs(r.cost - 0.3 / 0.7) <= 5.0 * r.cost_stderr
    for name, slope in (("arrive", 1.0 / 0.49), ("serve", -0.3 * 1.7 / 0.49)):
        assert agree(r.grad[name], slope, r.stderr[name]) and r.stderr[name] < 0.1 * abs(slope)


def test_a_kernel_runs_the_same_chains():
    r, k = (scg.compile(little(horizon=62), strategy=scg.SPWD(truncation=4), backend=b, wrt="b")(
        {"W": W, "b": B}, samples=40, rng=1) for b in ("numpy", "numba"))
    np.testing.assert_allclose(r.grad["b"], k.grad["b"], rtol=1e-12)
    np.testing.assert_allclose(r.coupling.shares, k.coupling.shares, rtol=1e-12)
    assert r.cost == pytest.approx(k.cost, rel=1e-12)


def test_truncation_is_measured_and_biases():
    """Flynn & Vázquez-Abad's estimator cut off after K steps: the law of what is left is that of Σₖ π (D P) Pᵏ e.

    So it is of scores that weigh the costs of K more steps.
    """
    states = (np.arange(8)[:, None] >> np.arange(3) & 1).astype(float)

    def kernel(w, b):
        p = 1.0 / (1.0 + np.exp(-(states @ w.T + b)))
        return np.prod(np.where(states[None] == 1.0, p[:, None], 1.0 - p[:, None]), axis=-1)

    law, costs = _stationary(kernel(W, B)), np.array([energy(x) for x in states])
    for steps in (0, 2):
        ahead = sum(np.linalg.matrix_power(kernel(W, B), k) @ costs for k in range(steps + 1))
        cut = derivative(lambda w, b, ahead=ahead: law @ kernel(w, b) @ ahead, W, B)
        for rule in (scg.Phantoms(truncation=steps), scg.LikelihoodRatio(window=steps)):
            r = scg.compile(little(horizon=120), strategy=rule, backend="numpy")({"W": W, "b": B}, samples=300, rng=2)
            assert agree(r.grad["W"], cut[0], r.stderr["W"]) and agree(r.grad["b"], cut[1], r.stderr["b"])
            assert r.coupling is None or (r.coupling.uncoupled == 1.0) == (steps == 0)


def test_coupling_times():
    """Of two states under common noise each unit is drawn from one uniform: the pair is a chain of its own."""
    states = (np.arange(8)[:, None] >> np.arange(3) & 1).astype(float)
    p = 1.0 / (1.0 + np.exp(-(states @ W.T + B)))
    below, above = np.minimum(p[:, None], p), np.maximum(p[:, None], p)
    joint = np.array([[np.prod(np.where(x + y == 2.0, below, np.where(
        x + y == 0.0, 1.0 - above, (above - below) * ((x > y) == (p[:, None] > p)))), axis=-1)
        for y in states] for x in states]).transpose(2, 3, 0, 1)  # from two states to two others
    law, apart = _stationary(joint[range(8), range(8)].diagonal(axis1=1, axis2=2)), np.zeros((8, 8))
    for unit in range(3):
        for x, share in enumerate(law):
            apart[x | 1 << unit, x & ~(1 << unit)] += share / 3.0
    shares = [0.0]
    for _ in range(4):
        apart = np.einsum("ij,ijkl->kl", apart, joint)
        shares.append(np.trace(apart))
        apart -= np.diag(np.diag(apart))
    r = scg.compile(little(horizon=500), strategy=scg.Phantoms(truncation=4), backend="numpy")(
        {"W": W, "b": B}, samples=100, rng=0)
    np.testing.assert_allclose(r.coupling.shares, shares, atol=5.0 * 0.5 / np.sqrt(100 * 100))
    assert r.coupling.uncoupled == pytest.approx(apart.sum(), abs=5.0 * np.sqrt(apart.sum()) / 100.0)


@pytest.mark.parametrize("rule", [scg.SPWD(), scg.Phantoms()], ids=lambda rule: type(rule).__name__)
def test_pairs_that_have_met_cost_nothing(rule):
    """Their steps have a mask, those of the chain have none: where all pairs of a tile have met, they rest."""
    chain, pairs = [n.attrs for n in topological(_outputs(rule)) if n.op is scan_op and n.attrs.length == 30]
    assert idle(chain) is None
    met = idle(pairs)
    assert met is not None and len(pairs.carries) == 2 + 1 + 2 and not pairs.ys


def _outputs(rule):
    """Of a block of steps, whatever stands in the loop over blocks."""
    program = simplified(program_of(derive(little(), rule), "float64", True))
    blocks = max((n for n in topological([o.node for o in program.outputs]) if n.op is scan_op),
                 key=lambda n: sum(x.op is scan_op for x in topological(n.attrs.outputs)))
    return blocks.attrs.outputs


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


def test_no_batches_of_very_large_gradients():
    """Squares of more than 2^14 elements would cost more than the gradient; those of others are kept."""
    g = scg.Graph("wide")
    a, b = g.param("a"), g.param("b", (1 << 14) + 1)

    def step(y):
        g.cost("e", y * (a + b.sum()))
        return g.sample("y", scg.Bernoulli(logits=a + b.sum()))

    g.chain(step, init=0.0, burn_in=1, horizon=64)
    f = scg.compile(g, strategy=scg.LikelihoodRatio(window=1), backend="numpy")
    r = f({"a": 0.3, "b": np.zeros((1 << 14) + 1)}, rng=0)
    assert np.isnan(r.stderr["b"]).all() and r.stderr["a"] > 0.0 and np.allclose(r.grad["b"], r.grad["a"])


# --- what is refused -------------------------------------------------------------------------------------------------
def test_phantoms_that_do_not_meet():
    f = scg.compile(little(horizon=310), strategy=scg.SPWD(), backend="numpy")
    with pytest.raises(scg.CallError, match="More than half of the pairs had not met after 30 steps"):
        f({"W": 60.0 * np.eye(3), "b": np.full(3, -30.0)}, rng=0)


def test_a_state_of_several_parts():
    """Parts of a dict are told by their names, in whatever order."""
    g = scg.Graph("walks")
    a = g.param("a")

    def step(state):
        up = g.sample("up", scg.Bernoulli(logits=a))
        left = scg.where(state["left"] < 2.0, state["left"] + 1.0, 0.0)
        g.cost("e", up * left)
        return {"up": up, "left": left}

    g.chain(step, init={"up": 0.0, "left": 0.0}, burn_in=8, horizon=640)
    for state in ({"left": 0, "up": 1}, {"up": 1.0, "left": 0.0}):
        r = scg.compile(g, strategy=scg.Regenerative(state=state), backend="numpy")({"a": 0.5}, samples=50, rng=0)
        slope = 1.0 / (1.0 + np.exp(-0.5)) / (1.0 + np.exp(0.5))
        assert agree(r.grad["a"], slope, r.stderr["a"])
    for state in (0.0, {"up": 1.0}, {"left": 0.0, "down": 1.0}, {"left": [0.0], "up": 1.0}):
        with pytest.raises(scg.EstimatorError, match=r"has the shape \(\) and \(\), and this is none"):
            scg.compile(g, strategy=scg.Regenerative(state=state), backend="numpy")


def test_cycles_that_are_too_long():
    f = scg.compile(little(), strategy=scg.Regenerative(), backend="numpy")
    with pytest.raises(scg.CallError, match="fewer than 1 of 9 steps, or never"):
        f({"W": W, "b": B}, rng=0)


def test_scores_at_an_edge():
    g = scg.Graph("chain")
    a = g.param("a")

    def step(x):
        new = g.sample("z", scg.Bernoulli(probs=a))
        g.cost("e", new)
        return new

    g.chain(step, init=0.0, burn_in=1, horizon=100)
    f = scg.compile(g, strategy=scg.LikelihoodRatio(window=2), backend="numpy")
    r = f({"a": 0.4}, rng=0)
    assert agree(r.grad["a"], 1.0, r.stderr["a"])
    with pytest.raises(scg.CallError, match=r"LikelihoodRatio\(window=2\) was to be used.*never drawn"):
        f({"a": 0.0}, rng=0)


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


def ends_that_move(g, a):
    def step(x):
        new = g.sample("z", scg.Uniform(0.0, a))
        g.cost("e", new)
        return new

    g.chain(step, init=0.0)


def draws_in_a_scan(g, a):
    def step(x):
        last, _ = g.scan(lambda c, _: (c + g.sample("b", scg.Bernoulli(logits=a - c)), None), 0.0, length=3)
        g.cost("e", x)
        return 0.5 * x + last

    g.chain(step, init=0.0, burn_in=4, horizon=64)


def draws_in_a_python_loop(g, a):
    def step(x):
        last = 0.0
        for i in range(3):
            last = last + g.sample(f"b{i}", scg.Bernoulli(logits=a - last))
        g.cost("e", x)
        return 0.5 * x + last

    g.chain(step, init=0.0, burn_in=4, horizon=64)


@pytest.mark.parametrize("rule", [scg.SPWD(), scg.LikelihoodRatio(), scg.Phantoms(), scg.Pathwise()], ids=str)
def test_of_draws_in_a_scan_it_is_said_what_works(rule):
    """It does: both ways to write the step have the same derivative."""
    made = {}
    for build in (draws_in_a_scan, draws_in_a_python_loop):
        made[build] = g = scg.Graph("chain")
        build(g, g.param("a"))
    with pytest.raises(scg.EstimatorError, match=r"Write the scan as a Python loop in the step.*or use SPSA\(\)"):
        scg.compile(made[draws_in_a_scan], strategy=rule, backend="numpy")
    if rule != scg.LikelihoodRatio():
        return
    found = [scg.compile(made[build], strategy=strategy, backend="numpy")({"a": 0.3}, samples=500, rng=0)
             for build, strategy in ((draws_in_a_scan, scg.SPSA(step=0.1)), (draws_in_a_python_loop, rule))]
    off = found[0].grad["a"] - found[1].grad["a"]
    error = np.hypot(*(r.stderr["a"] for r in found))
    assert abs(off) < 4.0 * error < 0.5 * abs(found[1].grad["a"])


@pytest.mark.parametrize("build,strategy,words", [
    (path_through_the_state, scg.SPWD(), "depends on a besides through its draws"),
    (path_through_the_state, scg.ScoreFunction(), "grows with the horizon"),
    (no_weak_derivative, scg.SPWD(), "No weak derivative of MultivariateNormal in loc"),
    (path_through_the_state, scg.SPWD(truncation=1000), "takes 1001 steps"),
    (path_through_the_state, scg.LikelihoodRatio(window=1000), "costs of 1001 steps"),
    (path_through_the_state, scg.LikelihoodRatio(), "depends on a besides through its draws"),
    (path_through_the_state, scg.Regenerative(state=np.zeros(2)), "has the shape"),
    (ends_that_move, scg.LikelihoodRatio(), "the score misses what a moving bound contributes"),
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
    with pytest.raises(scg.EstimatorError, match=r"window=2\.5.*later steps"):
        scg.LikelihoodRatio(window=2.5)
    with pytest.raises(scg.EstimatorError, match="step=0"):
        scg.FiniteDifferences(step=0)
    with pytest.raises(scg.EstimatorError, match="into 32 batches, and the horizon is 20"):
        scg.compile(little(horizon=20), strategy=scg.Regenerative(), backend="numpy")


@pytest.mark.parametrize(("rule", "mean"), [
    (scg.SPWD(truncation=2), 1.5), (scg.Phantoms(truncation=1), 1.0), (scg.LikelihoodRatio(window=2), 1.5)], ids=str)
def test_every_draw_of_several_blocks_is_integrated_over(rule, mean):
    """Phantoms and windows draw in steps that are not those of the loops they stand in: the mean of a bit that is on
    with probability s + y/2 moves by 1 at once, by a half of that a step later, and so on."""
    g = scg.Graph("bit")
    s = g.param("s")

    def step(y):
        g.cost("level", y)
        return g.sample("y", scg.Bernoulli(probs=s + 0.5 * y))

    g.chain(step, init=0.0, burn_in=0, horizon=6)
    found = scg.verify(scg.compile(g, strategy=rule, backend="numpy"), {"s": 0.1})
    assert found.passed is False and "calls agree" in found.method
    assert found.max_error == pytest.approx(abs(mean - scg.exact(g, {"s": 0.1}).grad["s"]), abs=1e-9)


@pytest.mark.parametrize("rule", [scg.SPWD(), scg.LikelihoodRatio(window=20), scg.Regenerative(state=0.0)], ids=str)
@pytest.mark.parametrize("family", [
    lambda: scg.Simulator(lambda u: 1.0 * (u[0] < 0.25), uniforms=1),
    lambda: scg.Mixture([scg.Exponential(1.0), scg.Exponential(4.0)], logits=np.zeros(2))],
    ids=["Simulator", "Mixture"])
def test_nothing_is_asked_of_sites_that_do_not_move(family, rule):
    """A chain of 0 and 1 that is on if it is let in, beside a draw that no param moves: P(on) = sigmoid(s)."""
    g = scg.Graph("beside")
    s = g.param("s")

    def step(y):
        g.cost("level", y + 0.1 * g.sample("v", family()))
        return g.sample("y", scg.Bernoulli(logits=s + 0.0 * y))

    g.chain(step, init=0.0, burn_in=5, horizon=310)
    r = scg.compile(g, strategy=rule, backend="numpy")({"s": 0.3}, samples=100, rng=1)
    p = 1.0 / (1.0 + np.exp(-0.3))
    assert abs(r.grad["s"] - p * (1.0 - p)) < 5.0 * r.stderr["s"] + 1e-12  # of phantoms that meet at once it is exact


@pytest.mark.parametrize("rule", [None, scg.WeakDerivative()], ids=str)
def test_laws_that_nothing_moves_come_first(rule):
    """A stock whose demand is drawn with a fixed chance, before what the param moves."""
    g = scg.Graph("shop")
    t = g.param("t")

    def day(stock):
        demand = g.sample("demand", scg.Bernoulli(probs=0.4))
        order = g.sample("order", scg.Bernoulli(logits=t - stock))
        g.cost("held", stock)
        return np.clip(stock - demand + order, 0.0, 3.0)

    g.chain(day, init=0.0, burn_in=20, horizon=155)
    r = scg.compile(g, strategy=rule, backend="numpy")({"t": 0.2}, samples=60, rng=0)
    assert abs(r.grad["t"] - scg.exact(g, {"t": 0.2}).grad["t"]) < 5.0 * r.stderr["t"]


def test_paths_of_a_chain_begin_where_it_does():
    """Its objective is the stationary mean, which a finite run from a given state is not."""
    g = scg.Graph("drift")
    m = g.param("m")

    def step(x):
        g.cost("level", x)
        return 0.9 * x + g.sample("e", scg.Normal(m, 1.0))

    g.chain(step, init=50.0, burn_in=7, horizon=20)
    f = scg.compile(g, strategy=scg.Pathwise(), backend="numpy")
    assert not f.verdict.unbiased and f.verdict["e"].status == "unbiased"
    r = f({"m": 1.0}, samples=4, rng=0)
    assert r.notes == ('cost "level" is biased: the chain starts 7 steps before it counts',)


@pytest.mark.parametrize("rule", [None, scg.Pathwise(), scg.LikelihoodRatio(window=2), scg.SPSA()], ids=str)
def test_a_cost_that_neither_draws_nor_the_state_move(rule):
    """Nothing is cut off of what params move it by, and so it is called; by finite differences it is biased."""
    g = scg.Graph("staff")
    serve, price = g.param("serve"), g.param("price")

    def customer(w):
        g.cost("wait", w)
        g.cost("staff", price * serve**2)
        return g.sample("s", scg.Normal(0.1 * w + serve, 1.0))

    g.chain(customer, init=0.0, burn_in=4, horizon=320)
    f = scg.compile(g, strategy=rule, backend="numpy")
    exact = rule != scg.SPSA()
    assert f.verdict["wait"].status == "biased" and f.verdict["staff"].status == ("unbiased" if exact else "biased")
    r = f({"serve": 0.7, "price": 3.0}, samples=4, rng=0)
    assert rule is None or not exact or r.grad["price"] == pytest.approx(0.49, rel=1e-12)
    assert abs(r.grad["price"] - 0.49) < 5.0 * r.stderr["price"] + 1e-9
    assert any('"wait"' in note for note in r.notes) and exact is not any('"staff"' in note for note in r.notes)


def two_classes(leaves: float) -> scg.Graph:
    """A first step leads to 1 or 2; with probability `leaves` a later one goes to the other of them."""
    g = scg.Graph("two classes")
    a = g.param("a")

    def step(x):
        g.cost("c", x)
        b, leave = g.sample("b", scg.Bernoulli(logits=a)), g.sample("leave", scg.Bernoulli(probs=leaves))
        return np.where(x == 0, 1.0 + b, np.where(leave > 0, 3.0 - x, x))

    g.chain(step, init=0.0, burn_in=20, horizon=600)
    return g


@pytest.mark.parametrize("rule", [scg.SPWD(), scg.LikelihoodRatio(window=10)], ids=str)
def test_that_chains_stay_in_several_classes_is_told(rule):
    """By how their means differ: their gradient, 0, lacks what the param does to which class is entered. Where each
    leaves its class nothing is said, nor of one chain, of a few, or of means that are all alike."""
    said = []
    for leaves, samples in ((0.0, 50), (0.3, 50), (0.0, 3), (0.0, 1)):
        r = scg.compile(two_classes(leaves), strategy=rule, backend="numpy")({"a": 0.2}, samples=samples, rng=0)
        said.append(any("several classes" in note for note in r.notes))
    assert said == [True, False, False, False]


def test_of_chains_that_are_alike_it_is_not():
    g = scg.Graph("alike")
    a = g.param("a")

    def step(x):
        g.cost("c", 0.1 * a)
        return g.sample("b", scg.Bernoulli(logits=a + x))

    g.chain(step, init=0.0, burn_in=5, horizon=320)
    for dtype in ("float64", "float32"):
        r = scg.compile(g, strategy=scg.SPWD(), backend="numpy", dtype=dtype)({"a": 0.3}, samples=20, rng=0)
        assert not any("classes" in note for note in r.notes)
