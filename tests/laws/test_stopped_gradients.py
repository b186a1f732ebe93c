"""Stopped gradients of the user's: the gradient promised is that of the expected cost as a function of its values.

Right values are sums over the sites' values in plain NumPy, differentiated by complex steps with ⊥ as the identity.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import scg

W = np.array([0.5, -0.4, 0.3])
R = np.array([1.0, -0.5, 0.3])
STEP = 1e-40


def softmax(w):
    return np.exp(w) / np.exp(w).sum()


def sigmoid(t):
    return 1.0 / (1.0 + np.exp(-t))


def slope(function, at):
    """The gradient of a function of complex numbers."""
    at = np.asarray(at, dtype=complex)
    grad = np.zeros(at.shape)
    for i in np.ndindex(at.shape):
        moved = at.copy()
        moved[i] += 1j * STEP
        grad[i] = np.imag(function(moved)) / STEP
    return grad


def policy_gradient(drawn_from=lambda w: w, sign=1.0, form=lambda lp: np.exp(lp - scg.stop_gradient(lp))):
    """A choice under softmax(w), rewarded: the line that today's reinforcement learning writes."""
    g = scg.Graph("policy")
    w = g.param("w", 3)
    k = g.sample("k", scg.Categorical(logits=drawn_from(w)))
    g.cost("c", sign * form(scg.Categorical(logits=w).log_prob(k)) * g.node("R", R)[k])  # the line
    return g


RIGHT = slope(lambda w: softmax(w) @ R, W)


def hides(graph, values, right, *words, **options):
    """The verdict is "biased", in words that a call repeats; `exact` gives the right number, and `verify` fails."""
    f = scg.compile(graph, backend="numpy", **options)
    assert not f.verdict.unbiased
    told = [v.reason for v in f.verdict.values() if v.status == "biased"]
    r = f(values, samples=4, rng=0)
    for word in ("scg.stop_gradient at test_stopped_gradients.py:", "held constant", *words):
        assert word in " ".join(r.notes) and word in f.explain() and word in str(f.verdict)
    assert all("held constant" in reason for reason in told)
    for name, expected in right.items():
        np.testing.assert_allclose(scg.exact(graph, values).grad[name], expected, rtol=1e-9, atol=1e-12)
    assert scg.verify(f, values).passed is False
    again = pickle.loads(pickle.dumps(f))
    assert not again.verdict.unbiased and again(values, samples=4, rng=0).notes == r.notes


def hides_nothing(graph, values, right=None, **options):
    """The verdict is "unbiased" and nothing is noted; `exact` and `verify` agree with it, and with the right number."""
    f = scg.compile(graph, backend="numpy", **options)
    assert f.verdict.unbiased and not any("stop_gradient" in n for n in f(values, samples=64, rng=0).notes)
    for name, expected in (right or {}).items():
        np.testing.assert_allclose(scg.exact(graph, values).grad[name], expected, rtol=1e-9, atol=1e-12)
    assert scg.verify(f, values).passed in (True, None)
    return f


# --- what is hidden ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_ratio_of_probabilities(sign):
    """exp(lp − ⊥lp) R has the value R: a replicate's derivative of it is a second score."""
    hides(policy_gradient(sign=sign), {"w": W}, {"w": sign * RIGHT}, 'how "w" moves it')


def test_a_surrogate_written_by_hand():
    """log p · R as a cost is not the surrogate of R, with ⊥ or without."""
    g = policy_gradient(form=lambda lp: scg.stop_gradient(lp) + lp)
    right = slope(lambda w: softmax(w) @ (2.0 * np.log(softmax(w)) * R), W)
    hides(g, {"w": W}, {"w": right})


@pytest.mark.parametrize("strategy", [None, scg.ScoreFunction(), scg.LocalExpectation(), scg.Enumerate()])
def test_straight_through(strategy):
    g = scg.Graph("straight-through")
    t = g.param("t")
    b, p = g.sample("b", scg.Bernoulli(logits=t)), scg.sigmoid(t)
    g.cost("c", (p + scg.stop_gradient(b - p) - 0.45) ** 2)
    right = slope(lambda t: sigmoid(t) * 0.55**2 + (1.0 - sigmoid(t)) * 0.45**2, 0.3)
    hides(g, {"t": 0.3}, {"t": right}, 'cost "c"' if strategy is None else "", strategy=strategy)


@pytest.mark.parametrize("stopped", [True, False])
def test_straight_through_as_it_is_documented(stopped):
    """Of a site drawn from stopped parameters it is the straight-through gradient; else the score's is added to it."""
    g = scg.Graph("straight-through")
    a = g.param("a")
    b, p = g.sample("b", scg.Bernoulli(logits=scg.stop_gradient(a) if stopped else a)), scg.sigmoid(a)
    g.cost("c", (p + scg.stop_gradient(b - p) - 0.45) ** 2)
    f, s = scg.compile(g, backend="numpy"), sigmoid(0.3)
    through, score = 2.0 * (s - 0.45) * s * (1.0 - s), s * (1.0 - s) * (0.55**2 - 0.45**2)
    r = f({"a": 0.3}, samples=20_000, rng=0)
    assert f.verdict["c"].status == "biased"
    assert abs(r.grad["a"] - (through if stopped else through + score)) < 5.0 * r.stderr["a"] < 0.5 * score


def test_straight_through_of_a_choice():
    g = scg.Graph("straight-through")
    w = g.param("w", 3)
    k, p = g.sample("k", scg.Categorical(logits=w)), scg.softmax(w)
    g.cost("c", (((p + scg.stop_gradient(scg.one_hot(k, 3) - p)) * R).sum() - 0.2) ** 2)
    hides(g, {"w": W}, {"w": slope(lambda w: softmax(w) @ (R - 0.2) ** 2, W)})


def test_a_cost_without_sites():
    g = scg.Graph("plain")
    t, u = g.param("t"), g.param("u")
    g.cost("c", scg.stop_gradient(t * t) * u + t)
    hides(g, {"t": 0.7, "u": 2.0}, {"t": 2.0 * 0.7 * 2.0 + 1.0, "u": 0.49}, 'how "t" moves it')
    hides_nothing(g, {"t": 0.7, "u": 2.0}, wrt=("u",))


def test_a_site_drawn_from_stopped_parameters():
    """What the distribution's motion adds is hidden, unless something else makes up for it."""
    g = scg.Graph("fixed")
    t = g.param("t")
    b = g.sample("b", scg.Bernoulli(logits=scg.stop_gradient(2.0 * t)))
    g.cost("c", t * b)
    g.cost("other", t**2)
    hides(g, {"t": 0.3}, {"t": slope(lambda t: t * sigmoid(2.0 * t) + t**2, 0.3)}, 'cost "c"')
    assert "other" not in scg.compile(g, backend="numpy").verdict


@pytest.mark.parametrize("length", [2, 3])
def test_inside_a_scan(length):
    """In the steps of a loop; the stopped value is carried on to the costs of later ones."""
    def expected(w):
        total, paths = 0.0, np.ndindex(*(2,) * length)
        for path in paths:
            chance, cost, s = 1.0, 0.0, 0.4
            for b in path:
                p = sigmoid(w * s)
                chance, cost = chance * (p if b else 1.0 - p), cost + s * b + s**2
                s = 0.5 * s + b * w
            total = total + chance * cost
        return total

    g = scg.Graph("loop")
    w = g.param("w")

    def step(s, _):
        b = g.sample("b", scg.Bernoulli(logits=w * s))
        g.cost("c", s * b + s**2)
        return 0.5 * s + b * scg.stop_gradient(w), None

    g.scan(step, 0.4, length=length)
    right = {"w": slope(expected, 0.8)}
    hides(g, {"w": 0.8}, right, 'how "w" moves it')


@pytest.mark.parametrize("drawn_from", [lambda w: w, scg.stop_gradient], ids=["w", "stopped w"])
def test_a_ratio_in_every_step(drawn_from):
    """Later rewards depend on earlier choices, whose ratio a step's own cost does not hold."""
    def expected(w):
        total = 0.0
        for path in np.ndindex(2, 2, 2):
            chance, s, cost = 1.0, 0.1, 0.0
            for b in path:
                p = sigmoid(w + s)
                chance, cost = chance * (p if b else 1.0 - p), cost + (b - 0.3) * (1.0 + s)
                s = 0.5 * s + b
            total = total + chance * cost
        return total

    g = scg.Graph("loop")
    w = g.param("w")

    def step(s, _):
        b = g.sample("b", scg.Bernoulli(logits=drawn_from(w) + s))
        lp = scg.Bernoulli(logits=w + s).log_prob(b)
        g.cost("c", np.exp(lp - scg.stop_gradient(lp)) * (b - 0.3) * (1.0 + s))
        return 0.5 * s + b, None

    g.scan(step, 0.1, length=3)
    hides(g, {"w": 0.4}, {"w": slope(expected, 0.4)}, 'how "w" moves it')


def test_stops_of_stops():
    g = scg.Graph("nested")
    t = g.param("t")
    g.cost("c", scg.stop_gradient(3.0 * scg.stop_gradient(t) ** 2 + scg.stop_gradient(2.0)) * 0.5)
    hides(g, {"t": 0.7}, {"t": 3.0 * 0.7})


def test_several_stops_of_several_params_are_told_of_in_one_sentence():
    g = scg.Graph("two")
    t, u = g.param("t"), g.param("u")
    g.cost("c", scg.stop_gradient(t)
           + scg.stop_gradient(t * u))
    hides(g, {"t": 0.7, "u": 2.0}, {"t": 3.0, "u": 0.7}, ' hide part of how "t" and "u" move it: ')


def test_a_threshold_at_which_a_density_stands():
    """P(z > θ) moves with θ, though its derivative is 0 almost everywhere in every replicate."""
    g = scg.Graph("threshold")
    t = g.param("t")
    z = g.sample("z", scg.Normal(loc=0.0, scale=1.0))
    g.cost("c", scg.where(z > scg.stop_gradient(t), 1.0, 0.0))
    f = scg.compile(g, backend="numpy")
    assert not f.verdict.unbiased and 'how "t" moves it' in f.verdict["c"].reason


# --- what is not ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_honest_ratio(sign):
    """Drawn from stopped parameters, the ratio has the score as its derivative, in every replicate."""
    f = hides_nothing(policy_gradient(scg.stop_gradient, sign), {"w": W}, {"w": sign * RIGHT})
    assert "adds up to 0" in f.verdict["c"].reason
    r = f({"w": W}, samples=20_000, rng=0)
    assert np.all(np.abs(r.grad["w"] - sign * RIGHT) < 5.0 * r.stderr["w"])


def test_the_honest_ratio_of_a_density():
    """z ~ N(m, 1): the derivative of E z² is 2 m."""
    g = scg.Graph("ratio")
    m = g.param("m")
    z = g.sample("z", scg.Normal(loc=scg.stop_gradient(m), scale=1.0))
    lp = scg.Normal(loc=m, scale=1.0).log_prob(z)
    g.cost("c", np.exp(lp - scg.stop_gradient(lp)) * z**2)
    f = hides_nothing(g, {"m": 0.7}, {"m": 1.4})
    r = f({"m": 0.7}, samples=50_000, rng=0)
    assert abs(r.grad["m"] - 1.4) < 5.0 * r.stderr["m"]


def test_a_ratio_to_another_distribution_is_not_honest():
    """Drawn from stopped parameters, but not from these."""
    g = policy_gradient(lambda w: scg.stop_gradient(0.5 * w))
    hides(g, {"w": W}, {"w": slope(lambda w: softmax(0.5 * w) @ R, W)})
    g = policy_gradient(scg.stop_gradient, form=lambda lp: np.exp(0.5 * (lp - scg.stop_gradient(lp))))
    hides(g, {"w": W}, {"w": RIGHT})


def test_values_of_sites_data_and_literals():
    """What no parameter moves along a path: the score covers what the sites do."""
    g = scg.Graph("harmless")
    t, v, x, c = g.param("t"), g.param("v"), g.data("x"), g.input("c")
    b = g.sample("b", scg.Bernoulli(logits=t * x))
    reward = scg.stop_gradient(b * x + c) + scg.stop_gradient(2.0)
    g.cost("reward", reward)
    g.cost("fit of a baseline", (v - scg.stop_gradient(reward)) ** 2)
    x, t, v, c = np.array([0.5, -1.0]), 0.3, 0.8, 0.1
    right = slope(lambda t: np.mean([sum(p * ((b * x + c + 2.0) + (v - b * x - c - 2.0) ** 2) for b, p in
                                         ((1.0, sigmoid(t * x)), (0.0, 1.0 - sigmoid(t * x)))) for x in x]), t)
    hides_nothing(g, {"t": t, "v": v, "x": x, "c": c}, {"t": right})


def test_a_threshold_on_whole_numbers():
    """k > θ is the same for all θ near any one that is not whole."""
    g = scg.Graph("threshold")
    t = g.param("t")
    k = g.sample("k", scg.Categorical(logits=np.zeros(3)))
    g.cost("c", scg.where(k > scg.stop_gradient(t), 1.0, 0.0) * np.floor(scg.stop_gradient(t)))
    hides_nothing(g, {"t": 1.4}, {"t": 0.0})


def test_the_largest_logit_in_a_softmax():
    """The compiler's own stopped gradients are not the user's."""
    g = scg.Graph("softmax")
    w = g.param("w", 3)
    g.cost("c", (scg.softmax(w) * R).sum() + scg.logsumexp(w) + np.logaddexp(w[0], w[1]))
    f = hides_nothing(g, {"w": W})
    assert len(f.verdict) == 0


# --- policy losses ----------------------------------------------------------------------------------------------------
def choices(g, w):
    k = g.sample("k", scg.Categorical(logits=w), shape=4)
    return k, scg.Categorical(logits=w).log_prob(k)


LOSSES = {
    "a policy loss": (lambda k, lp, w: -(lp * scg.stop_gradient(g_of(k))).mean(), True),
    "with a coefficient": (lambda k, lp, w: (scg.stop_gradient(0.5 * g_of(k)) * lp).sum() / 4.0, True),
    "a bound": (lambda k, lp, w: (lp - g_of(k)).sum(), False),
    "the weight of an entropy": (lambda k, lp, w: (scg.stop_gradient(np.exp(g_of(0.0))) * lp + k).sum(), False),
    "a fit to what is stopped": (lambda k, lp, w: ((lp - scg.stop_gradient(g_of(k))) ** 2).sum(), False)}


def g_of(k):
    return (k - 0.3) ** 2 + 0.1


@pytest.mark.parametrize("name", LOSSES)
def test_a_policy_loss_is_told_of(name):
    """Its gradient is that of its mean, which nobody wants who writes it; of other costs with log p nothing is said."""
    cost, told = LOSSES[name]
    g = scg.Graph("loss")
    w = g.param("w", 3)
    g.cost("c", cost(*choices(g, w), w))
    f = scg.compile(g, backend="numpy")
    assert f.verdict.unbiased
    notes = " ".join(f({"w": W}, samples=64, rng=0).notes)
    words = 'cost "c": log p of its own draw of "k" is multiplied by what scg.stop_gradient holds at test_stopped'
    assert (words in notes) is told and ("policy gradient" in f.explain()) is told
    assert told or "c" not in f.verdict


def test_a_policy_loss_in_a_loop_is_told_of():
    g = scg.Graph("loop")
    a = g.param("a")

    def step(s, _):
        k = g.sample("k", scg.Bernoulli(logits=a - s))
        return 0.5 * s + k, (scg.Bernoulli(logits=a - s).log_prob(k), k * s)

    _, (lp, r) = g.scan(step, 0.0, length=3, until=lambda s: s > 1.2)
    g.cost("c", -(lp * scg.stop_gradient(np.cumsum(r[::-1])[::-1])).sum())
    assert any("policy gradient" in note for note in scg.compile(g, backend="numpy").verdict.notes)


def test_of_two_costs_of_a_loop_one_that_cannot_be_followed_leaves_the_other_known():
    """A ratio of probabilities that is 1 stands on a kink of the first cost; the second is its policy loss."""
    g = scg.Graph("two costs of a loop")
    a = g.param("a")

    def step(c, _):
        b = g.sample("b", scg.Bernoulli(logits=scg.stop_gradient(a)))
        log_p = scg.Bernoulli(logits=a).log_prob(b)
        ratio = np.exp(log_p - scg.stop_gradient(log_p))
        g.cost("kink", np.clip(ratio, 1.0, 1.2) * (b - 0.3))
        g.cost("loss", ratio * (b - 0.2))
        return c, None

    g.scan(step, 1.0, length=3)
    verdict = scg.compile(g, backend="numpy").verdict
    assert (verdict["kink"].status, verdict["loss"].status) == ("biased", "unbiased")
    assert scg.verify(scg.compile(g, costs="loss", backend="numpy"), {"a": 0.3}).passed


@pytest.mark.parametrize("clipped", [lambda r: np.where(r > 1.2, 1.2, r),
                                     lambda r: np.where(abs(r - 1.0) > 0.2, 0.8, r)])
def test_a_ratio_that_is_1_stands_at_no_jump_elsewhere(clipped):
    """So what is clipped by a choice is differentiated, and proved; a jump at 1 itself is one."""
    def ratio(g):
        b = g.sample("b", scg.Bernoulli(logits=scg.stop_gradient(a := g.param("a"))))
        log_p = scg.Bernoulli(logits=a).log_prob(b)
        return np.exp(log_p - scg.stop_gradient(log_p)), b - 0.3

    g = scg.Graph("clipped")
    r, gain = ratio(g)
    g.cost("c", clipped(r) * gain)
    f = scg.compile(g, backend="numpy")
    assert f.verdict["c"].status == "unbiased" and scg.verify(f, {"a": 0.3}).passed
    g = scg.Graph("at the jump")
    r, gain = ratio(g)
    g.cost("c", np.where(r > 1.0, 2.0, r) * gain)
    with pytest.raises(scg.ConditionError, match="jumps"):
        scg.compile(g, backend="numpy")
