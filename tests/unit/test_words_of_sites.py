"""No two sites of a graph draw the same words of noise, whatever their names, and whatever depends on them."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from tests.strategies import STRATEGIES

COIN = scg.Bernoulli(logits=0.0)


def coin(name, **options):
    """Declares a fair coin of that name."""
    return lambda g: g.sample(name, COIN, **options)


def scanned(name, length=3, **options):
    """Declares a site inside a loop, whose draws a step adds up."""

    def declare(g):
        g.scan(lambda carry, _: (carry + g.sample(name, COIN, **options).sum(), None), 0.0, length=length)

    return declare


# what a declaration takes: its name, the path of the noise, and the steps
TAKEN = [
    (coin, "h", "h", {0}), (coin, "h[0]", "h", {0}), (coin, "h[2]", "h", {2}), (coin, "h[02]", "h", {2}),
    (coin, "h[3]", "h", {3}), (coin, "h[-1]", "h[-1]", {0}), (coin, "h[1][2]", "h[1]", {2}), (coin, "h[1]", "h", {1}),
    (coin, "h [2]", "h ", {2}), (scanned, "h", "h", {0, 1, 2}), (scanned, "h[1]", "h[1]", {0, 1, 2}),
]


@pytest.mark.parametrize("first", TAKEN)
@pytest.mark.parametrize("options", [{}, {"per_row": True}, {"shape": (2, 2)}], ids=str)
def test_a_second_site_of_the_same_words_is_refused(first, options):
    kind, name, path, steps = first
    for other, second, other_path, other_steps in TAKEN:
        g = scg.Graph("pair")
        kind(name, **options)(g)
        if name == second or (path == other_path and steps & other_steps):
            with pytest.raises(scg.DeclarationError, match="second time" if name == second else "same words"):
                other(second)(g)
        else:
            other(second)(g)
            assert {name, second} <= set(g.sites)


@pytest.mark.parametrize("name", ["h[4294967296]", "h[4294967297]", "h[99999999999999999999]", f"h[{'9' * 5000}]"])
def test_a_step_that_noise_does_not_tell_apart_is_refused(name):
    with pytest.raises(scg.DeclarationError, match="2\\^32"):
        coin(name)(scg.Graph("far"))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_the_last_step_is_a_step_of_its_own(backend):
    """Three fair coins: the probability that all are 1 is 1/8."""
    g = scg.Graph("last")
    g.cost("all", coin("h[0]")(g) * coin("h[4294967295]")(g) * coin("h[4294967294]")(g))
    r = scg.compile(g, backend=backend)({}, samples=100_000, rng=0)
    assert abs(r.cost - 0.125) < 5 * r.cost_stderr
    assert scg.verify(scg.compile(g, backend="numpy"), {}).passed is None


def test_a_refused_site_leaves_its_name_free():
    g = scg.Graph("again")
    coin("h")(g)
    with pytest.raises(scg.DeclarationError, match='same words as site "h"'):
        coin("h[0]")(g)
    with pytest.raises(ZeroDivisionError):
        g.scan(lambda carry, _: (carry + g.sample("k", COIN) / 0 * (1 / 0), None), 0.0, length=2)
    coin("k[1]")(g)
    scanned("b", 2)(g)
    with pytest.raises(scg.DeclarationError, match='same words as site "b"'):
        coin("b[1]")(g)
    coin("b[2]")(g)


def test_a_site_that_only_a_baseline_uses_is_another_random_number():
    """E (h + 1)² for a coin of logit m: 3/4 at m = 0, with any baseline drawn apart from h."""
    g = scg.Graph("beside")
    m = g.param("m")
    h = g.sample("h", scg.Bernoulli(logits=m))
    with pytest.raises(scg.DeclarationError, match="same words"):
        coin("h[0]")(g)
    k = coin("h[1]")(g)
    g.cost("c", (h + 1.0) ** 2)
    f = scg.compile(g, strategy=scg.ScoreFunction(scg.Expression(4.0 * k)), backend="numpy")
    r = f({"m": 0.0}, samples=20_000, rng=0)
    assert abs(r.grad["m"] - 0.75) < 5 * r.stderr["m"]
    assert scg.verify(f, {"m": 0.0}).passed


def test_a_site_that_only_a_baseline_uses_is_checked():
    g = scg.Graph("beside")
    m, p = g.param("m"), g.input("p")
    h = g.sample("h", scg.Bernoulli(logits=m))
    k = g.sample("k", scg.Bernoulli(probs=p))
    g.cost("c", h)
    f = scg.compile(g, strategy=scg.ScoreFunction(scg.Expression(k)), backend="numpy")
    with pytest.raises(scg.CallError, match=r'"k".*probs'):
        f({"m": 0.0, "p": 1.5}, samples=10, rng=0)


@pytest.mark.parametrize("shapes", [((), 2), (2, ()), ((2,), (1,))])
@pytest.mark.parametrize("label", ["score", "weak", "local", "policy"])
def test_steps_of_one_name_may_have_several_shapes(shapes, label):
    """The exact law holds, of steps outside of loops beside those of a loop too."""
    strategy = STRATEGIES[label]
    g = scg.Graph("shapes")
    t = g.param("t")

    def step(carry, _):
        x = g.sample("h", scg.Bernoulli(logits=t - carry))
        g.cost("inside", (x - carry) ** 2)
        return x, None

    carry, _ = g.scan(step, 0.0, length=2)
    a = g.sample("h[2]", scg.Bernoulli(logits=t + carry), shape=shapes[0])
    b = g.sample("h[4]", scg.Bernoulli(logits=a.sum() - t), shape=shapes[1])
    g.cost("after", (a.sum() + 2.0 * b.sum()) ** 2)
    assert scg.verify(scg.compile(g, strategy=strategy, backend="numpy"), {"t": np.float64(0.3)}).passed
