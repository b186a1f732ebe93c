"""Fresh noise in replays: later sites draw anew in them, also where they are written as paths of their noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

import scg
from scg.derive import derive
from scg.ir.traverse import topological
from scg.ops.leaves import is_derived
from tests.laws.checks.sampling import within

STRATEGIES = {noise: {"b": scg.WeakDerivative(noise=noise), "z": scg.Pathwise()} for noise in ("common", "fresh")}


def behind(family) -> scg.Graph:
    """A binary site that moves a continuous one."""
    g = scg.Graph("behind")
    w = g.param("w", 2)
    b = g.sample("b", scg.Bernoulli(logits=w[0]))
    z = g.sample("z", family(b, w[1]))
    g.cost("c", z)
    return g


FAMILIES = {"normal": lambda b, s: scg.Normal(loc=0.3 * b, scale=scg.exp(s)),
            "gamma": lambda b, s: scg.Gamma(concentration=1.0 + b, rate=scg.exp(-s))}
VALUES = {"w": [0.4, -0.2]}


@pytest.mark.parametrize("family", FAMILIES)
def test_variances_of_common_and_of_fresh_noise(family):
    """The difference of two worlds has no noise of the later site under common noise (of a normal), and twice its
    variance under fresh noise: (p(1 − p))² (d² + 2 s²) − (p(1 − p) d)², d the difference of the means."""
    g, n = behind(FAMILIES[family]), 40_000
    r = {k: scg.compile(g, strategy=s, backend="numpy")(VALUES, samples=n, rng=1) for k, s in STRATEGIES.items()}
    slope, s = expit(0.4) * expit(-0.4), np.exp(-0.2)
    d, twice = (0.3, 2.0 * s * s) if family == "normal" else (s, 3.0 * s * s)  # variances 2s² and s² of gamma draws
    for found in r.values():
        within(found.grad["w"][0], found.stderr["w"][0], slope * d, "w[0]")
    assert r["fresh"].stderr["w"][0] ** 2 * n == pytest.approx(slope**2 * twice, rel=0.05)
    assert r["common"].stderr["w"][0] < 0.8 * r["fresh"].stderr["w"][0]


def test_sites_that_are_not_moved_keep_their_noise():
    """What comes before the site, and what it does not influence, is drawn once in a replicate."""
    g = scg.Graph("beside")
    w = g.param("w", 2)
    a = g.sample("a", scg.Normal(loc=w[1], scale=1.0))
    b = g.sample("b", scg.Bernoulli(logits=w[0] + a))
    y = g.sample("y", scg.Normal(loc=w[1], scale=1.0))
    z = g.sample("z", scg.Normal(loc=b * y, scale=1.0))
    g.cost("c", a * b + z * z + y)
    strategy = {"a": scg.Pathwise(), "b": scg.WeakDerivative(noise="fresh"), "y": scg.Pathwise(), "z": scg.Pathwise()}
    d = derive(g, strategy)
    drawn = {n.attrs.path.split("\x1f")[0] for n in topological(d.roots()) if n.op.name == "noise"
             and is_derived(n.attrs.path)}
    assert drawn == {"z"}
    r = scg.compile(g, strategy=strategy, backend="numpy")({"w": [0.2, 0.5]}, samples=40_000, rng=2)
    long = scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")({"w": [0.2, 0.5]}, samples=200_000, rng=3)
    within(r.grad["w"], np.hypot(r.stderr["w"], long.stderr["w"]), long.grad["w"], "w")


def loop() -> scg.Graph:
    """In a loop: a path before the site in its step, one after it that it moves, and one of later steps."""
    g = scg.Graph("loop")
    w = g.param("w", 2)

    def step(carry, _):
        a = g.sample("a", scg.Normal(loc=0.5 * carry, scale=1.0))
        b = g.sample("b", scg.Bernoulli(logits=w[0] + a))
        z = g.sample("z", scg.Normal(loc=w[1] * b + a, scale=0.5))
        return 0.5 * carry + z, z * z + a * b

    last, costs = g.scan(step, 0.2, length=3)
    y = g.sample("y", scg.Normal(loc=last, scale=1.0))
    g.cost("steps", costs.sum())
    g.cost("after", y * last)
    return g


def test_in_loops():
    """Unbiased against a long run of the score function; and fresh draws vary more."""
    at = {"w": [0.3, 0.6]}
    paths = {name: scg.Pathwise() for name in ("a", "z", "y")}
    r = {k: scg.compile(loop(), strategy={**paths, "b": scg.WeakDerivative(noise=k)}, backend="numpy")(
        at, samples=10_000, rng=2) for k in ("common", "fresh")}
    long = scg.compile(loop(), strategy={**paths, "b": scg.ScoreFunction(scg.LeaveOneOut())}, backend="numpy")(
        at, samples=100_000, rng=3)
    for found in r.values():
        within(found.grad["w"], np.hypot(found.stderr["w"], long.stderr["w"]), long.grad["w"], "w")
    assert r["fresh"].stderr["w"][0] > 1.05 * r["common"].stderr["w"][0]


def test_a_loop_behind_the_site():
    """Steps of a later loop are drawn anew too."""
    g = scg.Graph("loop behind")
    w = g.param("w")
    b = g.sample("b", scg.Bernoulli(logits=w))
    last, _ = g.scan(lambda c, _: (c + g.sample("z", scg.Normal(loc=0.3 * b, scale=1.0)), None), 0.0, length=2)
    g.cost("c", last)
    n, slope = 40_000, expit(0.4) * expit(-0.4)
    r = scg.compile(g, strategy=STRATEGIES["fresh"], backend="numpy")({"w": 0.4}, samples=n, rng=1)
    within(r.grad["w"], r.stderr["w"], 0.6 * slope, "w")
    assert r.stderr["w"] ** 2 * n == pytest.approx(slope**2 * 4.0, rel=0.05)


@pytest.mark.by_python
def test_in_a_kernel():
    fs = [scg.compile(behind(FAMILIES["normal"]), strategy=STRATEGIES["fresh"], backend=b, stderr=False)
          for b in ("numpy", "numba")]
    one, two = (f(VALUES, samples=300, rng=1) for f in fs)
    np.testing.assert_allclose(one.grad["w"], two.grad["w"], rtol=1e-11)
