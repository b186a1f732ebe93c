"""Gradients that would be wrong without a word: what cannot be right is refused, what can be is right."""

import numpy as np
import pytest
from scipy import special

import scg
from scg.derive import derive
from scg.distributions.distribution import FAMILIES as DISTRIBUTIONS
from scg.expectation.exact import CLOSE
from scg.laws.families import compute
from scg.ops.measure import axis_to_event
from tests.laws.checks.exact_law import check_exact_law
from tests.problems import PROBLEMS


def graph(dist, loss=lambda x: x * x, shape=()) -> scg.Graph:
    """One site "x" of the family that `dist` makes of a param, and a cost of it."""
    g = scg.Graph("one")
    x = g.sample("x", dist(g.param("m", shape)))
    g.cost("loss", loss(x))
    return g


# --- a weak derivative for every parameter that is differentiated ----------------------------------------------------
@pytest.mark.parametrize("dist", [
    lambda m: scg.Normal(loc=m, scale=m), lambda m: scg.Uniform(low=-m, high=m),
    lambda m: scg.Gamma(concentration=2.0, rate=m), lambda m: scg.Gamma(concentration=m, rate=m),
    lambda m: scg.Gamma(concentration=m * m, rate=m), lambda m: scg.Gamma(concentration=m, rate=1.0)])
def test_weak_derivatives_of_parameters_given_by_one_node_are_summed(dist):
    g = graph(dist)
    r = scg.compile(g, strategy=scg.WeakDerivative(), backend="numpy")({"m": 1.5}, samples=20_000, rng=0)
    exact = scg.exact(g, {"m": 1.5}).grad["m"]
    assert abs(r.grad["m"] - exact) < 5 * r.stderr["m"]


# --- baselines that hold what other estimators have replaced ---------------------------------------------------------
def scanned(b_first: bool):
    """Two sites in one scan, a cost of both; and what the scan returns."""
    g = scg.Graph("scanned")
    m = g.param("m")

    def step(s, _):
        draws = {"b": lambda: g.sample("b", scg.Bernoulli(logits=m)),
                 "z": lambda: g.sample("z", scg.Normal(loc=m, scale=1.0))}
        found = {name: draws[name]() for name in ("bz" if b_first else "zb")}
        b, z = found["b"], found["z"]
        g.cost("c", b * z + b)
        return s + b, (b, z)

    return g, *g.scan(step, 0.0, length=3)


@pytest.mark.parametrize("b_first", [True, False])
@pytest.mark.parametrize("node", [lambda last, ys: last, lambda last, ys: ys[0]])
def test_a_baseline_on_its_own_draws_in_a_scan_is_refused_whatever_its_siblings_do(b_first, node):
    g, last, ys = scanned(b_first)
    for other in (scg.Pathwise(), scg.ScoreFunction(), scg.WeakDerivative()):
        with pytest.raises(scg.BaselineError, match=r'own sample.*along sample "b".*result of a scan'):
            derive(g, {"b": scg.ScoreFunction(scg.Expression(node(last, ys))), "z": other})


def test_a_baseline_on_a_replaced_site_that_its_own_sample_reaches_is_refused():
    g = scg.Graph("downstream")
    b = g.sample("b", scg.Bernoulli(logits=g.param("m")))
    z = g.sample("z", scg.Normal(loc=b, scale=1.0))
    k = g.sample("k", scg.Bernoulli(logits=0.5 * b))
    g.cost("c", (b + z - k) ** 2)
    for node, other in ((z, {"z": scg.Pathwise()}), (k, {"k": scg.Enumerate()})):
        with pytest.raises(scg.BaselineError, match='own sample, along sample "b"'):
            derive(g, {"b": scg.ScoreFunction(scg.Expression(node)), **other})


def test_a_node_of_a_step_that_follows_its_draw_is_no_baseline():
    g, seen = scg.Graph("leak"), []

    def step(s, _):
        b = g.sample("b", scg.Bernoulli(logits=g.params["m"] + s))
        seen.append(2.0 * b + s)
        g.cost("c", b + s)
        return b, None

    g.param("m")
    g.scan(step, 0.0, length=3)
    with pytest.raises(scg.BaselineError, match=r'own sample.*along sample "b"'):
        derive(g, {"b": scg.ScoreFunction(scg.Expression(seen[0]))})


OTHERS = [scg.ScoreFunction(), scg.ScoreFunction(scg.LeaveOneOut()), scg.WeakDerivative(), scg.MuProp(),
          scg.Enumerate(), scg.LocalExpectation()]


@pytest.mark.parametrize("other", OTHERS, ids=str)
@pytest.mark.parametrize("late", [True, False])
def test_a_baseline_on_another_site_obeys_the_exact_law(other, late):
    """Its estimator comes before or after that of the site whose baseline it is, and leaves it as it was."""
    g = scg.Graph("two")
    m, t = g.param("m"), g.param("t")
    if late:
        x = g.sample("x", scg.Bernoulli(logits=t))
        b = g.sample("b", scg.Bernoulli(logits=m + x))
    else:
        b = g.sample("b", scg.Bernoulli(logits=m))
        x = g.sample("x", scg.Bernoulli(logits=t + m))
    g.cost("c", (b - 0.3 + x * m) ** 2 + x * b)
    for node in (x * 2.0 + t, scg.exp(x - m)):
        check_exact_law(g, {"m": 0.4, "t": -0.6}, {"b": scg.ScoreFunction(scg.Expression(node)), "x": other})


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_a_baseline_on_a_site_of_another_scan_obeys_the_exact_law(other):
    g = scg.Graph("scans")
    m, t = g.param("m"), g.param("t")
    last, ys = g.scan(lambda s, _: (g.sample("x", scg.Bernoulli(logits=t + s)),) * 2, 0.0, length=2)

    def step(s, x):
        b = g.sample("b", scg.Bernoulli(logits=m + s * x))
        g.cost("c", (b + 0.5 * x - m) ** 2)
        return b, None

    g.scan(step, 0.0, xs=ys)
    for node in (ys, last - t):
        check_exact_law(g, {"m": 0.4, "t": -0.6}, {"b": scg.ScoreFunction(scg.Expression(node)), "x": other})


@pytest.mark.parametrize("in_scan", [True, False])
def test_a_baseline_reads_the_same_draws_whatever_is_done_to_their_site(in_scan):
    """Strategies share their noise, so the gradient through the other site is the same to the bit but for rounding."""
    g = scg.Graph("draws")
    m, t = g.param("m"), g.param("t")
    if in_scan:
        z, _ = g.scan(lambda s, _: (s + g.sample("z", scg.Normal(loc=t, scale=1.0)), None), 0.0, length=2)
    else:
        z = g.sample("z", scg.Normal(loc=t, scale=1.0))
    b = g.sample("b", scg.Bernoulli(logits=m))
    g.cost("c", (b + z) ** 2)
    found = []
    for other in (scg.Pathwise(), scg.ScoreFunction(), scg.WeakDerivative()):
        f = scg.compile(g, strategy={"b": scg.ScoreFunction(scg.Expression(z * z + 0.5)), "z": other}, backend="numpy")
        found.append(f({"m": 0.3, "t": 0.2}, samples=200, rng=1))
    assert np.ptp([r.grad["m"] for r in found]) < 1e-12
    plain = scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")({"m": 0.3, "t": 0.2}, samples=200, rng=1)
    assert found[0].stderr["m"] < 0.8 * plain.stderr["m"]


# --- probabilities of 0 and 1 ----------------------------------------------------------------------------------------
EDGES = [(lambda p: scg.Bernoulli(probs=p), 0.0, 5.0), (lambda p: scg.Bernoulli(probs=p), 1.0, 5.0),
         (lambda p: scg.Categorical(probs=p), np.array([0.2, 0.0, 0.8]), np.array([-9.6, -4.6, 2.4]))]
WHOLE = [scg.WeakDerivative(), scg.Enumerate(), scg.LocalExpectation()]
SCORES = [None, scg.ScoreFunction(), scg.ScoreFunction(scg.Constant(1.0)), scg.MuProp(), scg.MuProp(rollout=True)]


@pytest.mark.parametrize("dist, p, grad", EDGES)
def test_gradients_at_the_edge_are_right_or_refused(dist, p, grad):
    """E (x + 2)²: a value of probability 0 is never drawn, but its probability has a derivative."""
    g = graph(dist, lambda x: (x + 2.0) ** 2, np.shape(p))
    np.testing.assert_allclose(scg.exact(g, {"m": p}).grad["m"], grad, rtol=1e-14)
    for estimator in WHOLE:
        check_exact_law(g, {"m": p}, estimator)
        r = scg.compile(g, strategy=estimator, backend="numpy")({"m": p}, samples=20, rng=0)
        np.testing.assert_allclose(r.grad["m"], grad, rtol=1e-14)
    for estimator in SCORES:
        f = scg.compile(g, strategy=estimator, backend="numpy")
        with pytest.raises(scg.CallError, match=r"probs is 0.*never drawn.*Enumerate\(\), LocalExpectation\(\)"):
            f({"m": p}, samples=20, rng=0)
        inside = np.full(np.shape(p), 0.25)
        assert np.all(np.isfinite(f({"m": inside}, samples=20, rng=0).grad["m"]))  # the function stays usable


def test_the_edge_is_seen_in_one_replicate_row_and_step():
    """In loops, in tables, and in rows: wherever a parameter is 0 or 1 and moves."""
    def looped(g, p):
        step = lambda s, _: (g.sample("x", scg.Bernoulli(probs=p * s)),) * 2
        return g.scan(step, 1.0, length=3)[0]

    shapes = [(looped, 0.0, 0.5),
              (lambda g, p: g.sample("x", scg.Bernoulli(probs=scg.stack([p, 0.5, 1.0]))).sum(), 0.0, 0.3),
              (lambda g, p: g.sample("x", scg.Bernoulli(probs=1.0 - p * 0.5)), 0.0, 0.9),
              (lambda g, p: g.sample("x", scg.Bernoulli(probs=g.data("d") * p)), 1.0, 0.3),
              (lambda g, p: g.sample("x", scg.Categorical(probs=scg.stack([p, 1.0 - p, 0.0]))), 1.0, 0.9)]
    for site, edge, inside in shapes:
        g = scg.Graph("edges")
        g.cost("c", (site(g, g.param("p")) - 0.3) ** 2)
        f = scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")
        rest = {"d": [0.0, 1.0, 0.5]} if "d" in g.rows else {}
        with pytest.raises(scg.CallError, match=r'sample "x".*never drawn'):
            f({"p": edge, **rest}, samples=20, rng=0)
        assert np.isfinite(f({"p": inside, **rest}, samples=20, rng=0).grad["p"])


def test_what_cannot_move_at_the_edge_is_no_trouble():
    """Literals, data, masked factors, and sigmoids that rounding makes 0 or 1."""
    p = PROBLEMS["scan_masked"]()
    for strategy in (None, scg.ScoreFunction()):
        r = scg.compile(p.graph, strategy=strategy, backend="numpy")(p.values, samples=20_000, rng=2)
        exact = scg.exact(p.graph, p.values)
        for name in p.values:
            assert abs(r.grad[name] - exact.grad[name]) < 5 * r.stderr[name]
    g = graph(lambda m: scg.Bernoulli(probs=scg.sigmoid(m)), lambda x: (x + 2.0) ** 2)
    f = scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")
    assert f({"m": 800.0}, samples=5, rng=0).grad["m"] == f({"m": -800.0}, samples=5, rng=0).grad["m"] == 0.0
    g = graph(lambda m: scg.Categorical(probs=scg.softmax(m)), lambda x: (x + 2.0) ** 2, (2,))
    f = scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")
    assert np.all(f({"m": [0.0, -800.0]}, samples=5, rng=0).grad["m"] == 0.0)


@pytest.mark.parametrize("dist, shape", [(lambda m: scg.Bernoulli(logits=m), ()),
                                         (lambda m: scg.Categorical(logits=m), (2,))])
def test_logits_are_not_checked(dist, shape):
    assert derive(graph(dist, shape=shape), scg.ScoreFunction()).draft.checks == ()


def test_probabilities_that_underflow():
    """Beside draws of probability 1 and of probability 0: the products over draws, and their derivatives, are exact."""
    g = graph(lambda m: scg.Bernoulli(logits=m), lambda x: (x.sum() + 2.0) ** 2, (3,))
    for m in ([800.0, -800.0, 0.3], [-800.0, -801.0, -802.0]):
        slope = special.expit(m[2]) * special.expit(-m[2])
        expected = [0.0, 0.0, slope * ((4.0**2 - 3.0**2) if m[0] > 0 else (3.0**2 - 2.0**2))]
        assert np.allclose(scg.exact(g, {"m": m}).grad["m"], expected, rtol=1e-13, atol=0.0)
        for estimator in (scg.Enumerate(), scg.LocalExpectation()):
            f = scg.compile(g, strategy=estimator, backend="numpy")
            assert np.allclose(f({"m": m}, samples=2, rng=0).grad["m"][:2], 0.0, atol=0.0)
            check_exact_law(g, {"m": m}, estimator)


# --- unnormalised probabilities --------------------------------------------------------------------------------------
def test_probabilities_are_normalised_wherever_they_are_used():
    """As in torch.distributions: every capability is that of the normalised family."""
    w, q = np.array([0.4, 1.5, 0.9]), np.array([3.0, 2.0, 5.0])
    p, k = w / w.sum(), np.arange(3.0)
    raw, other = scg.Categorical(probs=w), scg.Categorical(probs=q)
    nodes = [raw.probs, raw.log_prob(k), raw.mean, raw.entropy(), scg.kl_divergence(raw, other), raw.breaks(),
             *(axis_to_event(t.eta, t.along) for t in raw.weak_derivative())]
    expected = [p, np.log(p), p @ k, -(p * np.log(p)).sum(), (p * np.log(p / (q / q.sum()))).sum(), np.cumsum(p)[:-1],
                p[1:]]
    for node, value in zip(nodes, expected, strict=True):
        np.testing.assert_allclose(compute([node])[0][0], value, rtol=1e-12)


@pytest.mark.parametrize("w", [[0.2, -0.1, 0.9], [0.0, 0.0, 0.0]])
def test_weights_that_are_no_probabilities_are_refused_at_the_call(w):
    f = scg.compile(PROBLEMS["categorical_weights"]().graph, backend="numpy")
    with pytest.raises(scg.CallError, match="non-negative, with a positive sum"):
        f({"w": w}, samples=10, rng=0)


# --- quadrature ------------------------------------------------------------------------------------------------------
FAMILIES = {"Normal": lambda m: scg.Normal(loc=m, scale=1.0), "Exponential": lambda m: scg.Exponential(rate=m),
            "Uniform": lambda m: scg.Uniform(low=-m, high=2.0 * m),
            "Gamma": lambda m: scg.Gamma(concentration=1.5, rate=m)}
JUMPS = [lambda x: scg.where(abs(x - 0.3) < 0.001, 1.0, 0.0), lambda x: np.floor(1000.0 * x),
         lambda x: np.sign(x - 0.3)]


@pytest.mark.parametrize("family", FAMILIES)
def test_quadrature_of_jumps_and_narrow_peaks_is_refused(family):
    for jump in (*JUMPS, lambda x: scg.stop_gradient(JUMPS[0](x))):
        with pytest.raises(scg.ExactError, match=r'cost "loss" over site "x".*jumps'):
            scg.exact(graph(FAMILIES[family], jump), {"m": 0.8})
    for vouched in (lambda x: scg.assume_continuous(JUMPS[0](x)), lambda x: scg.exp(-1e6 * (x - 0.3) ** 2)):
        with pytest.raises(scg.ExactError, match="disagree"):
            scg.exact(graph(FAMILIES[family], vouched), {"m": 0.8})
    found = scg.exact(graph(FAMILIES[family], lambda x: scg.cos(x - 0.3)), {"m": 0.8})
    assert 0.1 < found.cost < 1.0


def test_a_jump_on_the_way_to_another_site_is_refused():
    for later in (lambda c: scg.Bernoulli(probs=c), lambda c: scg.Normal(loc=c, scale=1.0)):
        g = graph(FAMILIES["Normal"])
        g.cost("later", g.sample("y", later(scg.where(abs(g.nodes["x"] - 0.3) < 0.001, 0.9, 0.1))))
        with pytest.raises(scg.ExactError, match=r'site "y" over site "x".*jumps'):
            scg.exact(g, {"m": 0.3})


@pytest.mark.parametrize("peak", [lambda x, y, b: x + b - 0.3, lambda x, y, b: y - 0.3, lambda x, y, b: x - y - 0.2])
def test_narrow_peaks_beside_other_sites_are_refused(peak):
    g = graph(FAMILIES["Normal"])
    x = g.nodes["x"]
    y, b = g.sample("y", scg.Exponential(rate=1.0)), g.sample("b", scg.Bernoulli(logits=x))
    g.cost("peak", scg.exp(-1e5 * peak(x, y, b) ** 2))
    with pytest.raises(scg.ExactError, match="disagree"):
        scg.exact(g, {"m": 0.3})


def test_a_count_may_jump():
    """The values of a Poisson site are summed one by one, so nothing lies between them."""
    g = graph(lambda m: scg.Poisson(rate=m), lambda x: scg.where(x > 1.0, 1.0, 0.0))
    found = scg.exact(g, {"m": 0.8})
    assert found.cost == pytest.approx(1.0 - 1.8 * np.exp(-0.8), rel=1e-12)
    assert found.grad["m"] == pytest.approx(0.8 * np.exp(-0.8), rel=1e-12)


@pytest.mark.parametrize("count", CLOSE)
@pytest.mark.parametrize("family", [f for f in DISTRIBUTIONS.values() if f.can("fine_quadrature")])
def test_many_points_agree_with_the_moments(family, count):
    extra = [dict(concentration=0.08, rate=2.0), dict(concentration=1e6, rate=3.0)] if family is scg.Gamma else []
    for case in [*family.cases, *extra]:
        dist = family(**case)
        points, weights = family.fine_quadrature(dist, count, **{k: np.array([float(v)]) for k, v in case.items()})
        weights = np.broadcast_to(weights, points.shape)[0]
        mean, variance = (float(v[0]) for v in compute([dist.mean, dist.variance]))
        assert weights.sum() == pytest.approx(1.0, rel=1e-12)
        assert weights @ points[0] == pytest.approx(mean, rel=1e-8, abs=1e-8 * np.sqrt(variance))
        assert weights @ (points[0] - mean) ** 2 == pytest.approx(variance, rel=1e-8)


# --- baselines of what does not vary ---------------------------------------------------------------------------------
@pytest.mark.by_python(backend="numba")
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_the_mean_over_the_others_of_what_does_not_vary(backend):
    """A cost that turns out to be the same in every replicate: the signal is 0, and so is the gradient."""
    g = scg.Graph("constant")
    z = g.sample("z", scg.Normal(loc=g.param("m"), scale=1.0))
    g.cost("c", 0.0 * z + 3.0)
    r = scg.compile(g, strategy=scg.ScoreFunction(scg.LeaveOneOut()), backend=backend)({"m": 0.4}, samples=64, rng=0)
    assert r.cost == 3.0 and r.grad["m"] == 0.0 == r.stderr["m"]
