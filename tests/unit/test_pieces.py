"""Exact integration over noise: every uniform is split where its samples change, and after what they depend on."""

import numpy as np
import pytest

import scg
from scg.surrogate.site import Site

SCORE = scg.ScoreFunction()


def last_carry_is_a_constant():
    """What one scan ends with is a constant of a longer one."""
    g = scg.Graph()
    t = g.param("t")
    last, _ = g.scan(lambda c, x: (c + g.sample("b", scg.Bernoulli(logits=t)), None), 0.0, length=1)
    s, _ = g.scan(lambda s, x: (s + t * g.sample("h", scg.Bernoulli(logits=last - s)), None), 0.0, length=2)
    g.cost("c", (s - 0.45) ** 2)
    return g, SCORE


def an_outer_site_is_a_constant():
    g = scg.Graph()
    t = g.param("t")
    b = g.sample("b", scg.Bernoulli(logits=t), shape=3)
    s, _ = g.scan(lambda s, x: (s + t * g.sample("h", scg.Bernoulli(logits=np.sum(b) - s)), None), 0.0, length=2)
    g.cost("c", (s - 0.45) ** 2)
    return g, SCORE


def _with_baseline(baseline):
    g = scg.Graph()
    t = g.param("t")
    b = g.sample("b", scg.Bernoulli(logits=t))
    g.cost("c", (b - 0.45) ** 2)
    return g, scg.ScoreFunction(baseline=scg.Expression(2.0 * baseline(g, t) + 0.3))


def sites_of_a_baseline_alone():
    def baseline(g, t):
        k = g.sample("k", scg.Bernoulli(logits=0.3))
        return g.sample("l", scg.Bernoulli(logits=t * k))

    return _with_baseline(baseline)


def a_scan_of_a_baseline_alone():
    def baseline(g, t):
        def step(s, x):
            h = g.sample("h", scg.Bernoulli(logits=t - s))
            return s + h + g.sample("m", scg.Bernoulli(logits=s + h)), None

        return g.scan(step, 0.0, length=2)[0]

    return _with_baseline(baseline)


def steps_with_a_site_between():
    """Two sites draw steps of one stream; what stands between them depends on one, and the other on it."""
    g = scg.Graph()
    t = g.param("t")
    first = g.sample("h[0]", scg.Bernoulli(logits=t))
    k = g.sample("k", scg.Bernoulli(logits=t * first + 0.3))
    second = g.sample("h[1]", scg.Bernoulli(logits=t * k - first))
    g.cost("c", (second + 2.0 * k * first - 0.45) ** 2)
    return g, SCORE


@pytest.mark.parametrize("case", [last_carry_is_a_constant, an_outer_site_is_a_constant, sites_of_a_baseline_alone,
                                  a_scan_of_a_baseline_alone, steps_with_a_site_between])
def test_the_exact_law_holds(case):
    g, strategy = case()
    found = scg.verify(scg.compile(g, backend="numpy", strategy=strategy), {"t": 0.7})
    assert found.passed and found.method.startswith("exact law: the numpy kernel fed")


def test_the_exact_law_still_tells_what_is_wrong(monkeypatch):
    right = Site.cost.func
    monkeypatch.setattr(Site, "cost", property(lambda self: 1.1 * right(self)))
    g, strategy = steps_with_a_site_between()
    assert scg.verify(scg.compile(g, backend="numpy", strategy=strategy), {"t": 0.7}).passed is False
