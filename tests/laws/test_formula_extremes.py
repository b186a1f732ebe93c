"""Formulas of families at the ends of their parameters: values and derivatives against mpmath, in both precisions.

What has probability 0 adds nothing to an entropy or a divergence; its derivative is infinite where it is, and so an
error, and right down to the smallest number above.
"""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import scg

mpmath.mp.dps = 60
PRECISION = {"float64": 1e-13, "float32": 2e-5}


def evaluated(make, values, dtype="float64"):
    """The cost ``make(leaves)`` and its gradient."""
    g = scg.Graph("formula")
    leaves = {name: g.param(name, np.shape(v)) for name, v in values.items()}
    g.cost("c", make(leaves))
    r = scg.compile(g, backend="numpy", dtype=dtype)(values, rng=0)
    return r.cost, r.grad


def against_mpmath(make, exact, values, dtype="float64"):
    """Value and derivatives in scalar parameters, to the working precision, relative to themselves."""
    cost, grad = evaluated(make, values, dtype)
    held = {name: mpmath.mpf(float(np.dtype(dtype).type(v))) for name, v in values.items()}
    right = exact(**held)
    assert abs(cost - right) <= PRECISION[dtype] * abs(right), (cost, mpmath.nstr(right, 17))
    for name, x in held.items():
        h = (abs(x) or 1) * mpmath.mpf(10) ** -20
        slope = (exact(**{**held, name: x + h}) - exact(**{**held, name: x - h})) / (2 * h)
        assert abs(grad[name] - slope) <= PRECISION[dtype] * (1 + abs(slope)), (name, grad[name], float(slope))


def _h(p):
    return -p * mpmath.log(p) - (1 - p) * mpmath.log(1 - p)


def _sigma(x):
    return 1 / (1 + mpmath.exp(-x))


def _kl(p, q):
    return p * mpmath.log(p / q) + (1 - p) * mpmath.log((1 - p) / (1 - q))


def bernoulli(name, kind="probs"):
    return lambda leaves: scg.Bernoulli(**{kind: leaves[name]})


ENTROPIES = [
    *[("probs", p, dtype) for p, dtype in ((1e-40, "float64"), (5e-324, "float64"), (1e-40, "float32"),
                                           (1 - 1e-12, "float64"), (0.3, "float64"), (0.99999, "float32"))],
    *[("logits", x, dtype) for x in (0.4, 40.0, -40.0) for dtype in PRECISION], ("logits", 700.0, "float64"),
    ("logits", -700.0, "float64"),
]  # fmt: skip


@pytest.mark.parametrize("kind, x, dtype", ENTROPIES)
def test_entropy_of_a_bernoulli(kind, x, dtype):
    exact = _h if kind == "probs" else lambda t: _h(_sigma(t))
    if x == 5e-324:  # the least number: no central difference
        cost, grad = evaluated(lambda v: scg.Bernoulli(probs=v["t"]).entropy(), {"t": x})
        assert grad["t"] == pytest.approx(744.4400719213812, rel=1e-14) and 0 < cost < 1e-320
        return
    mpmath.mp.dps = 700
    try:
        against_mpmath(lambda v: scg.Bernoulli(**{kind: v["t"]}).entropy(), lambda t: exact(t), {"t": x}, dtype)
    finally:
        mpmath.mp.dps = 60


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_the_entropy_of_what_is_certain_is_0_and_its_derivative_an_error(p):
    g = scg.Graph("certain")
    g.cost("h", scg.Bernoulli(probs=g.param("p")).entropy())
    assert scg.compile(g, wrt=(), backend="numpy")({"p": p}, rng=0).cost == 0.0
    with pytest.raises(scg.NonFiniteError):
        scg.compile(g, backend="numpy")({"p": p}, rng=0)


@pytest.mark.parametrize("kinds", [("probs", "probs"), ("probs", "logits"), ("logits", "probs"), ("logits", "logits")])
@pytest.mark.parametrize("p, q", [(1e-30, 0.3), (0.25, 1e-30), (1e-200, 1e-210)])
def test_divergence_of_bernoullis(kinds, p, q):
    """In each pair of parametrisations; logits are those of the probabilities."""
    mpmath.mp.dps = 300
    values, exact = {}, []
    for name, kind, x in (("p", kinds[0], p), ("q", kinds[1], q)):
        values[name] = x if kind == "probs" else float(mpmath.log(mpmath.mpf(x) / (1 - mpmath.mpf(x))))
        exact.append((lambda t: t) if kind == "probs" else _sigma)
    try:
        against_mpmath(
            lambda v: scg.kl_divergence(scg.Bernoulli(**{kinds[0]: v["p"]}), scg.Bernoulli(**{kinds[1]: v["q"]})),
            lambda p, q: _kl(exact[0](p), exact[1](q)), values)
    finally:
        mpmath.mp.dps = 60


@pytest.mark.parametrize("dtype, s, t", [("float32", -50.0, 0.0), ("float64", -400.0, 0.0), ("float64", 3.0, 300.0),
                                         ("float32", -40.0, -41.0)])
def test_divergence_of_normals_of_very_different_widths(dtype, s, t):
    """½(e^(2(s − t)) − 1) − (s − t) for log scales s and t."""
    against_mpmath(
        lambda v: scg.kl_divergence(scg.Normal(loc=0.0, scale=scg.exp(v["s"])),
                                    scg.Normal(loc=0.0, scale=scg.exp(v["t"]))),
        lambda s, t: (mpmath.exp(2 * (s - t)) - 1) / 2 - (s - t), {"s": s, "t": t}, dtype)


@pytest.mark.parametrize("dtype, s, t", [("float32", -60.0, 20.0), ("float64", 300.0, -300.0)])
def test_divergence_of_exponentials_and_gammas_of_very_different_rates(dtype, s, t):
    """e^(t − s) − 1 − (t − s) for log rates; for gammas of one concentration a, that times a."""
    def exact(s, t):
        return mpmath.exp(t - s) - 1 - (t - s)

    values = {"s": max(s, t), "t": min(s, t)}
    def rates(v):
        return scg.exp(v["s"]), scg.exp(v["t"])

    against_mpmath(lambda v: scg.kl_divergence(*(scg.Exponential(rate=r) for r in rates(v))), exact, values, dtype)
    against_mpmath(lambda v: scg.kl_divergence(*(scg.Gamma(concentration=2.5, rate=r) for r in rates(v))),
                   lambda s, t: 2.5 * exact(s, t), values, dtype)


# --- categoricals ----------------------------------------------------------------------------------------------------
def plain_kl(p, q):
    """Σ p log(p/q) over the values that p takes, of weights."""
    p, q = np.asarray(p) / np.sum(p), np.asarray(q) / np.sum(q)
    return float(np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0])))


def slopes(f, x, h=1e-6):
    """Central differences in each element."""
    return np.array([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(len(x))])


def masked(form, free):
    """Three values of which the last one is never taken."""
    if form == "logits":
        return scg.Categorical(logits=scg.where(np.array([True, True, False]), scg.concatenate([free, [0.0]]), -np.inf))
    return scg.Categorical(probs=scg.concatenate([np.exp(free), [0.0]]))


@pytest.mark.parametrize("forms", [(a, b) for a in ("logits", "probs") for b in ("logits", "probs")])
def test_divergence_over_a_common_support(forms):
    """Both lack the same value: it adds nothing, to the derivative neither; each in both parametrisations."""
    a, b = np.array([0.3, -0.4]), np.array([-0.7, 0.2])
    cost, grad = evaluated(lambda v: scg.kl_divergence(masked(forms[0], v["a"]), masked(forms[1], v["b"])),
                           {"a": a, "b": b})
    assert cost == pytest.approx(plain_kl(np.exp(a), np.exp(b)), rel=1e-12)
    np.testing.assert_allclose(grad["a"], slopes(lambda x: plain_kl(np.exp(x), np.exp(b)), a), rtol=1e-7)
    np.testing.assert_allclose(grad["b"], slopes(lambda x: plain_kl(np.exp(a), np.exp(x)), b), rtol=1e-7)


@pytest.mark.parametrize("form", ["logits", "probs"])
def test_divergence_from_what_lacks_a_value_is_infinite(form):
    g = scg.Graph("kl")
    w = g.param("w", 2)
    wide = scg.Categorical(logits=scg.concatenate([w, [0.0]]))
    g.cost("kl", scg.kl_divergence(wide, masked(form, w)))
    with pytest.raises(scg.NonFiniteError):
        scg.compile(g, backend="numpy")({"w": [0.1, 0.2]}, rng=0)


@pytest.mark.parametrize("form", ["logits", "probs"])
def test_entropy_with_values_that_are_never_taken(form):
    w = np.array([0.3, -0.4])
    cost, grad = evaluated(lambda v: masked(form, v["w"]).entropy(), {"w": w})

    def plain(x):
        p = np.exp(x) / np.exp(x).sum()
        return -float(p @ np.log(p))

    assert cost == pytest.approx(plain(w), rel=1e-13)
    np.testing.assert_allclose(grad["w"], slopes(plain, w), rtol=1e-7)


# --- counts at rate 0 ------------------------------------------------------------------------------------------------
def test_log_prob_of_no_events():
    """log p(0 | λ) = −λ, down to λ = 0, where log p(1 | λ) is −∞; ∂ log p(x | λ) = x/λ − 1."""
    def nll(leaves):
        return -scg.Poisson(rate=leaves["r"]).log_prob(np.array([0.0, 1.0, 3.0])).sum()

    cost, grad = evaluated(nll, {"r": np.array([1e-300, 1e-300, 0.2])})
    assert cost == pytest.approx(1e-300 + 300 * np.log(10.0) + 0.2 - 3 * np.log(0.2) + np.log(6.0), rel=1e-13)
    np.testing.assert_allclose(grad["r"], [1.0, 1.0 - 1e300, 1.0 - 3 / 0.2], rtol=1e-13)
