"""Standard errors at the ends of the floating-point range: right, or said not to be known; never 0 or ∞ in silence."""

from __future__ import annotations

import numpy as np
import pytest

import scg

BACKENDS = ["numba", "numpy"]
SAMPLES = 4096


def by_group(scale):
    g = scg.Graph("groups")
    b = g.sample("b", scg.Bernoulli(logits=g.param("t")))
    g.cost("c", (b + 1.0) * g.input("s"))
    return g, {"t": 0.3, "s": scale}


def by_row(scale):
    g = scg.Graph("rows")
    b = g.sample("b", scg.Bernoulli(logits=g.param("t") + g.data("x")))
    g.cost("c", (b + 1.0) * g.input("s"))
    return g, {"t": 0.3, "s": scale, "x": np.array([0.0, 0.5, -1.0])}


def shared_by_rows(scale):
    g = scg.Graph("shared")
    b = g.sample("b", scg.Bernoulli(logits=g.param("t")))
    g.cost("c", (b + g.data("x")) * g.input("s"))
    return g, {"t": 0.3, "s": scale, "x": np.array([0.0, 0.5, -1.0])}


@pytest.mark.by_python
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("build", [by_group, by_row, shared_by_rows], ids=lambda f: f.__name__)
def test_errors_scale_with_the_costs_or_a_note_says_that_they_are_not_known(build, backend):
    graph, values = build(1.0)
    for strategy in (None,) if backend == "numba" else (None, scg.ScoreFunction()):  # groups; replicates are observed
        f = scg.compile(graph, strategy=strategy, wrt=("t", *graph.rows), backend=backend)
        whole = f(values, samples=SAMPLES, rng=0)
        assert whole.notes == () and whole.cost_stderr > 0
        for scale in (2.0**-1000, 2.0**-560, 2.0**-300, 2.0**400, 2.0**530, 2.0**900):
            r = f(values | {"s": scale}, samples=SAMPLES, rng=0)
            known = 2.0**-400 < scale < 2.0**500
            assert ("not known" in " ".join(r.notes)) is not known, scale
            for name, of_one in (("", whole.cost_stderr), *whole.stderr.items()):
                error = np.asarray(r.stderr[name] if name else r.cost_stderr)
                if known:
                    np.testing.assert_allclose(error / scale, of_one, rtol=1e-9)
                elif np.any(of_one):
                    assert np.isnan(error).all()
                else:  # the same in every replicate
                    assert not error.any()
            varying = {"c", *(name for name, error in whole.stderr.items() if np.any(error))}
            assert known or {n for n in ("c", *f._layout.wrt) if n in r.notes[-1].rpartition(":")[2]} == varying


def coin(g, scale):
    return scale * (g.sample("b", scg.Bernoulli(logits=g.param("t"))) - 0.5)


def two_coins(g, scale):
    """0 for half of the draws, and ± the scale else: the mean of a call is one of its values."""
    p = scg.Bernoulli(logits=g.param("t"))
    return scale * (g.sample("b", p) - g.sample("a", p))


def by_rows(g, scale):
    return scale * g.data("x") * (g.sample("b", scg.Bernoulli(logits=g.param("t"))) - 0.5)


VANISHING = [("numpy", None), ("numba", scg.ScoreFunction()), ("numba", None)]


@pytest.mark.parametrize("backend, strategy", VANISHING, ids=["numpy", "replicates", "groups"])
@pytest.mark.parametrize("cost", [coin, two_coins, by_rows], ids=lambda f: f.__name__)
def test_a_mean_of_zero_says_nothing_of_what_it_is_the_mean_of(cost, backend, strategy):
    """Values whose squares vanish, and whose mean is exactly 0: costs, and gradients with respect to their scale."""
    g = scg.Graph("vanishing")
    s = g.param("s")
    g.cost("c", cost(g, s * g.input("unit")))
    f = scg.compile(g, strategy=strategy, backend=backend, wrt=("s", *g.rows))
    met = set()
    for samples, seed in [(4, k) for k in range(12)] + [(64 * 64, k) for k in range(2)]:
        values = {"t": 0.0, "s": 1.0, **({"x": [1.0, -2.0]} if g.rows else {})}
        tiny, whole = (f(values | {"unit": unit}, samples=samples, rng=seed) for unit in (1e-170, 1.0))
        for name in ("cost", *f._layout.wrt):
            ours, theirs = ((np.atleast_1d(r.cost if name == "cost" else r.grad[name]),
                             np.atleast_1d(r.cost_stderr if name == "cost" else r.stderr[name])) for r in (tiny, whole))
            varies = theirs[1] > 0
            if varies.any():
                assert np.isnan(ours[1][varies]).all() and "not known" in " ".join(tiny.notes)
            met |= {name for v, mean in zip(varies, ours[0]) if v and mean == 0.0}
    assert met, "no call had a mean of exactly 0"


@pytest.mark.by_python(backend="numba")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_cost_that_does_not_vary_has_the_standard_error_zero(backend):
    g = scg.Graph("fixed")
    g.sample("b", scg.Bernoulli(logits=g.param("t")))
    g.cost("c", 3.0 * g.input("s"))
    for scale in (1.0, 0.0, 2.0**-400, 2.0**400):
        r = scg.compile(g, backend=backend)({"t": 0.0, "s": scale}, samples=64, rng=0)
        said = ('no cost depends on "t": its gradient is 0',)
        assert r.cost_stderr == 0.0 and r.notes == said


@pytest.mark.by_python(backend="numba")
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_element_that_a_mask_excludes_has_the_standard_error_zero(backend):
    """0 times a number below 0 is −0, which is no deviation from 0."""
    g = scg.Graph("masked")
    x = g.sample("x", scg.Normal(0.0, 1.0))
    g.cost("c", (g.param("p", 2) * np.array([1.0, 0.0])).sum() * x)
    r = scg.compile(g, backend=backend)({"p": [1.0, 2.0]}, samples=100, rng=0)
    assert r.grad["p"][1] == 0.0 and r.stderr["p"][1] == 0.0 < r.stderr["p"][0] and r.notes == ()


def test_what_is_nan_is_said_to_be():
    graph, values = by_group(1.0)
    one = scg.compile(graph, strategy=scg.ScoreFunction(), backend="numpy")(values, samples=1, rng=0)
    assert np.isnan(one.cost_stderr) and any("one replicate" in note for note in one.notes)
    none = scg.compile(graph, stderr=False, backend="numpy")(values, samples=64, rng=0)
    assert np.isnan(none.cost_stderr) and none.notes == ()
    g = scg.Graph("large")
    g.cost("c", (g.param("w", (200, 100)) ** 2).sum() * g.sample("b", scg.Bernoulli(probs=0.5)))
    r = scg.compile(g, backend="numpy")({"w": np.ones((200, 100))}, samples=2, rng=0)
    assert np.isnan(r.stderr["w"]).all() and any("large gradients" in note and "w" in note for note in r.notes)


@pytest.mark.parametrize("size", [10, 40_000])
def test_what_no_draw_moves_has_the_standard_error_zero_however_large_it_is(size):
    """With one sample too; and none where errors are left out."""
    g = scg.Graph("still")
    w, x = g.param("w", size), g.sample("x", scg.Normal(0.0, 1.0))
    g.cost("c", 0.5 * (w * w).sum() + x)
    values = {"w": np.full(size, 3.0)}
    f = scg.compile(g, backend="numpy")
    r = f(values, samples=10, rng=0)
    assert (r.grad["w"] == 3.0).all() and not r.stderr["w"].any() and r.cost_stderr > 0.0 and r.notes == ()
    assert not f(values, samples=1, rng=0).stderr["w"].any()
    assert np.isnan(scg.compile(g, stderr=False, backend="numpy")(values, samples=10, rng=0).stderr["w"]).all()


def test_a_gradient_that_float32_cannot_hold_is_said_to_be_zero():
    g = scg.Graph("small")
    w, x = g.param("w"), g.data("x")
    g.cost("c", 1e-40 * w * x + 0.0 * g.sample("b", scg.Bernoulli(probs=0.5), per_row=True))
    x = np.full(1000, 1e-5)
    x[0] = 1.0  # a mean of 1e-43 over the rows: at the edge of what float32 holds
    for dtype, lost in (("float32", True), ("float64", False)):
        r = scg.compile(g, wrt=("w", "x"), dtype=dtype, backend="numpy")({"w": 1e-5, "x": x}, samples=2, rng=0)
        assert any("too small for float32" in note for note in r.notes) is lost
        assert (r.grad["x"] == 0).any() == lost
