"""Surrogates that users write by hand, with stopped gradients: what is called unbiased is so, by enumeration.

They are exp(log p − ⊥log p), the "magic box" of Foerster et al., *DiCE: The Infinitely Differentiable Monte Carlo
Estimator* (ICML 2018), its equals, and what today's policy losses make of them, of sites drawn from stopped parameters.
"""

from __future__ import annotations

import numpy as np
import pytest

import scg

stop = scg.stop_gradient
V = {"a": 0.3}


def box(log_p):
    return np.exp(log_p - stop(log_p))


def verdict_is(expected: bool, graph, values) -> None:
    """The verdict, and the truth by enumeration; what is biased must never be called unbiased."""
    f = scg.compile(graph, strategy=scg.ScoreFunction(), backend="numpy")
    assert scg.verify(f, values).passed is expected
    assert f.verdict.unbiased is expected, f.verdict


# --- two sites, and arrays of draws -----------------------------------------------------------------------------------
def several(cost):
    """Two draws of one probability, a third that depends on them, and an array."""
    g = scg.Graph("several")
    a = g.param("a")
    x, y = (g.sample(name, scg.Bernoulli(logits=stop(a) + 0.2)) for name in "xy")
    z = g.sample("z", scg.Bernoulli(logits=stop(a * x) - y))
    v = g.sample("v", scg.Bernoulli(logits=0.5 * stop(a)), shape=3)
    pairs = ((a + 0.2, x), (a + 0.2, y), (a * x - y, z), (0.5 * a, v))
    logs = [scg.Bernoulli(logits=logits).log_prob(k) for logits, k in pairs]
    g.cost("c", cost(a, (x, y, z, v), logs))
    return g


def clipped(ratio, advantage):
    """As of Schulman et al., *Proximal Policy Optimization Algorithms* (2017), equation 7."""
    return np.minimum(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage)


def fit_near_the_old(a):
    """Of a value that moves no further than 0.2 from what it was."""
    near = stop(a) + np.clip(a - stop(a), -0.2, 0.2)
    return np.maximum((a - 0.7) ** 2, (near - 0.7) ** 2)


W = np.array([0.2, 0.3, 0.5])
HONEST = {
    "over 2": lambda a, k, lp: box(lp[0]) * k[0] / 2.0,
    "and a constant": lambda a, k, lp: box(lp[0]) * (k[0] - 0.4) + 1.0,
    "and a path": lambda a, k, lp: box(lp[0]) * (k[0] - 0.4) + 0.1 * a**2,
    "of a reward that moves": lambda a, k, lp: box(lp[0]) * (k[0] - a),
    "two sites": lambda a, k, lp: box(lp[0]) * k[0] + 0.5 * box(lp[1]) * k[1],
    "two boxes": lambda a, k, lp: box(lp[0]) * box(lp[1]) * k[0] * k[1],
    "a joint box": lambda a, k, lp: box(lp[0] + lp[1] + lp[2]) * (k[2] - k[0]) ** 2,
    "a quotient": lambda a, k, lp: np.exp(lp[0]) / stop(np.exp(lp[0])) * k[0],
    "two exponentials": lambda a, k, lp: np.exp(lp[0]) * np.exp(-stop(lp[0])) * k[0],
    "of first order": lambda a, k, lp: (1.0 + lp[0] - stop(lp[0])) * k[0],
    "a baseline": lambda a, k, lp: box(lp[0]) * k[0] + (1.0 - box(lp[0])) * 0.3,
    "another's baseline": lambda a, k, lp: box(lp[1]) * k[1] + (1.0 - box(lp[1])) * k[0],
    "a mean": lambda a, k, lp: (box(lp[3]) * (k[3] - 0.4) ** 2).mean(),
    "a third of a sum": lambda a, k, lp: (box(lp[3]) * k[3]).sum() / 3.0,
    "weights": lambda a, k, lp: W @ (box(lp[3]) * k[3]),
    "jointly": lambda a, k, lp: box(lp[3].sum()) * (k[3].sum() - 1.0) ** 2,
    "a part": lambda a, k, lp: box(lp[3])[1] * k[3][1],
    "clipped": lambda a, k, lp: np.clip(box(lp[0]), 0.8, 1.2) * (k[0] - 0.4),
    "the smaller of both": lambda a, k, lp: clipped(box(lp[3]), k[3] - 0.4).mean(),
    "as a loss": lambda a, k, lp: -np.maximum(-box(lp[0]) * k[0], -np.clip(box(lp[0]), 0.8, 1.2) * k[0]),
    "a clipped fit": lambda a, k, lp: box(lp[0]) * k[0] + fit_near_the_old(a)}
FALSE = {
    "a box that is missing": lambda a, k, lp: box(lp[2]) * k[0] * k[2],
    "a box above": lambda a, k, lp: box(lp[2]) * k[2],
    "a reward that is stopped": lambda a, k, lp: box(lp[0]) * stop(k[0] - a),
    "half the box": lambda a, k, lp: box(0.5 * lp[0]) * k[0],
    "a baseline of the draw itself": lambda a, k, lp: box(lp[0]) * k[0] + (1.0 - box(lp[0])) * 0.3 * k[0],
    "a baseline of a later draw": lambda a, k, lp: box(lp[0] + lp[1]) * k[0] + (1.0 - box(lp[0] + lp[1])) * k[2],
    "a box of each for all": lambda a, k, lp: (box(lp[3])).mean() * (k[3].sum() - 1.0) ** 2,
    "of another's draw": lambda a, k, lp: box(lp[1]) * k[0],
    "squared": lambda a, k, lp: box(lp[0]) ** 2 * k[0],
    "clipped where it stands": lambda a, k, lp: np.clip(box(lp[0]), 1.0, 1.2) * k[0],
    "clipped elsewhere": lambda a, k, lp: np.minimum(box(lp[0]), 0.9) * k[0],
    "the smaller of it and a reward": lambda a, k, lp: np.minimum(box(lp[0]) * (k[0] - 0.4), k[0] - 0.4),
    "twice the smaller of it and 1": lambda a, k, lp: 2.0 * np.minimum(box(lp[0]), 1.0) * k[0],
    "with a bound on the reward": lambda a, k, lp: np.minimum(box(lp[0]) * k[0], 0.7)}


@pytest.mark.half
@pytest.mark.parametrize("name", HONEST)
def test_what_is_right_is_proved(name):
    verdict_is(True, several(HONEST[name]), V)


@pytest.mark.parametrize("name", FALSE)
def test_what_is_wrong_is_not(name):
    verdict_is(False, several(FALSE[name]), V)


# --- loops ------------------------------------------------------------------------------------------------------------
def loop(cost, live=False, until=None, length=2):
    """A walk whose steps depend on the earlier ones; the cost of a step is made of its draw, its state and log p."""
    g = scg.Graph("loop")
    a = g.param("a")

    def step(carry, _):
        s, past = carry
        logits = a - 0.4 * s
        k = g.sample("k", scg.Bernoulli(logits=logits if live else stop(a) - 0.4 * s))
        lp = scg.Bernoulli(logits=logits).log_prob(k)
        g.cost("c", cost(s, k, lp, past, past + lp))
        return (0.5 * s + k, past + lp), None

    g.scan(step, (0.0, 0.0), length=length, until=until)
    return g


def later(s, k, lp, past, now):
    return box(now) * (k - 0.3) * (1.0 + s)


IN_LOOPS = {
    "all up to now": (later, {}, True),
    "until": (later, {"until": lambda carry: carry[0] > 0.4}, True),
    "all before, of the state": (lambda s, k, lp, past, now: box(past) * s**2, {}, True),
    "a baseline of the state": (lambda *at: later(*at) + (1.0 - box(at[2])) * (0.2 + at[0]), {}, True),
    "a baseline alone, of live draws": (lambda s, k, lp, past, now: (1.0 - box(lp)) * s + k, {"live": True}, True),
    "all before, of the draw": (lambda s, k, lp, past, now: box(past) * (k - 0.3), {}, False),
    "this step's alone": (lambda s, k, lp, past, now: box(lp) * (k - 0.3) * (1.0 + s), {}, False),
    "a baseline of the draw": (lambda *at: later(*at) + (1.0 - box(at[2])) * at[1], {}, False),
    "live draws": (later, {"live": True}, False)}


@pytest.mark.parametrize("name", IN_LOOPS)
def test_costs_of_steps(name):
    cost, options, right = IN_LOOPS[name]
    verdict_is(right, loop(cost, **options), V)


WALKS = {
    True: {"all up to now": later,
           "clipped": lambda s, k, lp, past, now: clipped(box(now), k - 0.3),
           "a baseline of the state": lambda *at: later(*at) + (1.0 - box(at[2])) * (0.2 + at[0])},
    False: {"a baseline of the draw": lambda *at: later(*at) + (1.0 - box(at[2])) * at[1],
            "this step's alone": lambda s, k, lp, past, now: box(lp) * (k - 0.3) * (1.0 + s)}}


@pytest.mark.parametrize("right", WALKS)
def test_costs_of_steps_up_to_a_last_state(right):
    """The tables of a step have no row for the state in which the loop ends."""
    g = scg.Graph("walk")
    a, u = g.param("a"), g.node("u", np.array([0.4, -0.8]))

    def step(carry, _):
        s, past = carry
        k = g.sample("k", scg.Bernoulli(logits=stop(a) * u[s]))
        lp = scg.Bernoulli(logits=a * u[s]).log_prob(k)
        for name, cost in WALKS[right].items():
            g.cost(name, cost(s, k, lp, past, past + lp))
        return (s + 1.0 + k, past + lp), None

    (s, log_p), _ = g.scan(step, (0.0, 0.0), length=2, until=lambda carry: carry[0] >= 2.0)
    g.cost("late", box(log_p) * s)
    f = scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")
    assert scg.verify(f, V).passed is right
    assert {name: f.verdict[name].status for name in ("late", *WALKS[right])} == {
        "late": "unbiased", **dict.fromkeys(WALKS[right], "unbiased" if right else "biased")}


@pytest.mark.parametrize("right", [True, False])
def test_loops_that_end_inside_of_loops_that_end(right):
    """The verdict alone: that it is true takes long to enumerate."""
    g = scg.Graph("loops")
    a, u = g.param("a"), g.node("u", np.array([0.4, -0.8]))

    def game(carry, _):
        def move(inner, _):
            place, log_p = inner
            k = g.sample("k", scg.Bernoulli(logits=stop(a) * u[place]))
            lp = scg.Bernoulli(logits=a * u[place]).log_prob(k)
            g.cost("c", box(log_p + lp if right else lp) * (k - 0.3) * (1.0 + place))
            return (place + k, log_p + lp), None

        (place, log_p), _ = g.scan(move, (0.0, carry[1]), length=2, until=lambda inner: inner[0] >= 1.0)
        return (carry[0] + place, log_p), None

    g.scan(game, (0.0, 0.0), length=2, until=lambda carry: carry[0] >= 1.0)
    assert scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy").verdict.unbiased is right


def test_returns_weigh_log_probabilities_outside_of_the_loop():
    """As in policy losses, with the value of the rewards kept."""
    g = scg.Graph("returns")
    a = g.param("a")

    def step(s, _):
        k = g.sample("k", scg.Categorical(logits=stop(scg.stack([a, 0.2, -a])) * (1.0 - 0.3 * s)))
        lp = scg.Categorical(logits=scg.stack([a, 0.2, -a]) * (1.0 - 0.3 * s)).log_prob(k)
        return 0.5 * k, (lp, np.array([0.1, -0.4, 0.3])[1] * s + k * s)

    _, (lp, rewards) = g.scan(step, 0.0, length=2)
    togo = np.cumsum(rewards[::-1])[::-1]
    g.cost("c", (rewards + (lp - stop(lp)) * stop(togo)).mean())
    verdict_is(True, g, V)


def test_log_probabilities_by_the_table():
    """As where a library has no distributions."""
    g = scg.Graph("table")
    w = g.param("w", 3)
    k = g.sample("k", scg.Categorical(logits=stop(w)), shape=2)
    lp = scg.log_softmax(w)[k]
    g.cost("c", (box(lp) * (k - 0.4) ** 2).mean())
    verdict_is(True, g, {"w": np.array([0.2, -0.1, 0.4])})


def test_long_loops_are_proved():
    assert scg.compile(loop(later, length=60), backend="numpy").verdict.unbiased
    ending = loop(later, length=12, until=lambda carry: carry[0] > 1.2)
    assert scg.compile(ending, backend="numpy").verdict.unbiased


def test_arrays_that_are_not_taken_apart():
    g = scg.Graph("large")
    w = g.param("w", (40, 20))
    k = g.sample("k", scg.Bernoulli(logits=stop(w)))
    lp = scg.Bernoulli(logits=w).log_prob(k)
    for name, log_p in (("right", lp.sum()), ("wrong", 0.5 * lp.sum())):
        g.cost(name, box(log_p) * ((k - 0.3) ** 2).sum())
    verdict = scg.compile(g, backend="numpy").verdict
    assert verdict["right"].status == "unbiased" and verdict["wrong"].status == "biased"


# --- what moves in the mean -------------------------------------------------------------------------------------------
def moved_by_a_stopped_choice(g, t):
    z = g.sample("z", scg.Normal(0.0, 1.0))
    return stop(scg.where(z > t, 1.0, 0.0)) + 0.0 * t


def score_of_a_moving_support(g, t):
    """Its mean is not 0: ∂ log (1/t) is what it is in every replicate."""
    z = g.sample("z", scg.Uniform(0.0, t))
    log_p = scg.Uniform(0.0, t).log_prob(z)
    return log_p - stop(log_p) + z


@pytest.mark.parametrize("cost", [moved_by_a_stopped_choice, score_of_a_moving_support], ids=lambda f: f.__name__)
def test_what_is_not_seen_of_paths_is_not_proved(cost):
    g = scg.Graph("moves")
    g.cost("c", cost(g, g.param("t")))
    assert scg.compile(g, backend="numpy").verdict["c"].status == "biased"
