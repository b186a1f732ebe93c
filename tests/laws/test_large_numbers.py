"""Log-probabilities, entropies and divergences at large counts, concentrations and rates: against mpmath.

Their terms are many times larger than they are. What is promised is the rounding of the result, and of the distance of
a value from its mean, in units of the last place of the working type; nothing of the size of the terms.
"""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import sympy

import scg

DTYPES = ("float64", "float32")
LARGE = {"float64": (30.0, 1e4, 1e9, 1e13), "float32": (30.0, 1e4, 1e6, 1.5e7)}
SIZES = [pytest.param(dtype, n, id=f"{dtype}-{n:g}") for dtype in DTYPES for n in LARGE[dtype]]


def held(x, dtype):
    """The number of the working type next to x."""
    return float(np.dtype(dtype).type(x))


def check(make, exact, values, dtype, spread=0.0, backend="numpy"):
    """Cost and derivatives in all scalars but x, to 8 ulp of themselves and of `spread`, by 1/parameter for slopes."""
    g = scg.Graph("large")
    leaves = {name: g.input(name) if name == "x" else g.param(name) for name in values}
    g.cost("cost", make(leaves))
    values = {name: held(v, dtype) for name, v in values.items()}
    r = scg.compile(g, backend=backend, dtype=dtype)(values, rng=0)
    ulp = 8 * float(np.finfo(dtype).eps)
    with mpmath.workdps(80):
        at = {name: mpmath.mpf(v) for name, v in values.items()}
        right = exact(**at)
        assert abs(r.cost - right) <= ulp * (1 + abs(right) + spread), (r.cost, mpmath.nstr(right, 12))
        for name, x in ((name, x) for name, x in at.items() if name != "x"):
            h = x * mpmath.mpf(10) ** -25
            slope = (exact(**{**at, name: x + h}) - exact(**{**at, name: x - h})) / (2 * h)
            assert abs(r.grad[name] - slope) <= ulp * (abs(slope) + (1 + spread) * min(1, 10 / x)), (
                name, r.grad[name], mpmath.nstr(slope, 12))


# --- closed forms ----------------------------------------------------------------------------------------------------
def poisson(k, rate):
    return k * mpmath.log(rate) - rate - mpmath.loggamma(k + 1)


def gamma(x, a, b):
    return a * mpmath.log(b) + (a - 1) * mpmath.log(x) - b * x - mpmath.loggamma(a)


def gamma_entropy(a, b):
    return a - mpmath.log(b) + mpmath.loggamma(a) + (1 - a) * mpmath.digamma(a)


def gamma_kl(a, b, c, d):
    return ((a - c) * mpmath.digamma(a) - mpmath.loggamma(a) + mpmath.loggamma(c) + c * mpmath.log(b / d)
            + a * (d - b) / b)


def kl(p, q):
    return lambda v: scg.kl_divergence(p(v), q(v))


# --- counts ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("far", [0.0, -0.4, 3.0])
@pytest.mark.parametrize("dtype, n", SIZES)
def test_log_prob_of_large_counts(dtype, n, far):
    """At the mean and some standard deviations from it."""
    check(lambda v: scg.Poisson(rate=v["rate"]).log_prob(v["x"]), lambda x, rate: poisson(x, rate),
          {"x": n, "rate": n + far * np.sqrt(n)}, dtype, (1 + abs(far)) * np.sqrt(n))


@pytest.mark.parametrize("dtype, n, rate", [("float32", 1e4, 1e-30), ("float32", 20.0, 1e7), ("float64", 1e8, 1e-300),
                                            ("float64", 17.0, 1e300)])
def test_log_prob_of_counts_far_from_the_rate(dtype, n, rate):
    n, rate = held(n, dtype), held(rate, dtype)
    with mpmath.workdps(50):
        right = poisson(mpmath.mpf(n), mpmath.mpf(rate))
    check(lambda v: scg.Poisson(rate=v["rate"]).log_prob(n), lambda rate: poisson(mpmath.mpf(n), rate), {"rate": rate},
          dtype, float(abs(right)))


@pytest.mark.parametrize("dtype, y, rates, right", [
    ("float32", 1e4, (10100.0, 9990.0), -0.12292203312095884), ("float32", 1e7, (10003000.0, 9999000.0),
                                                              -0.0999766716653312),
    ("float64", 1e14, (1e14 + 1e7, 1e14 + 5e6), -0.09374999278225005)])
def test_a_choice_between_two_rates_of_a_large_count(dtype, y, rates, right):
    """The gradient p(1 − p)(−log p₁(y) + log p₀(y)) in the logit of the choice at ½; from a compiled kernel."""
    g = scg.Graph("two rates")
    z = g.sample("z", scg.Bernoulli(logits=g.param("t")))
    g.cost("nll", -scg.Poisson(rate=np.where(z > 0, rates[1], rates[0])).log_prob(g.data("y")))
    r = scg.compile(g, strategy=scg.Enumerate(), dtype=dtype)({"t": 0.0, "y": [y]}, samples=1)
    assert r.grad["t"] == pytest.approx(right, rel=1e-5 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize("family, parameter", [("Poisson", "rate"), ("Gamma", "concentration")])
def test_a_divergence_from_draws_is_the_closed_form(family, parameter):
    """E[log q(x) − log p(x)] under q in float32, by draws whose log-probabilities cancel by seven digits."""
    fixed = {} if family == "Poisson" else {"rate": 2.0}
    g = scg.Graph("draws")
    q, p = (getattr(scg, family)(**{parameter: g.param(name)}, **fixed) for name in ("q", "p"))
    x = g.sample("x", q)
    g.cost("kl", q.log_prob(x) - p.log_prob(x))
    r = scg.compile(g, dtype="float32")({"q": 1e6, "p": 1.001e6}, samples=20_000, rng=0)
    right = 1e6 * np.log(1e6 / 1.001e6) + 1e3 if family == "Poisson" else float(gamma_kl(
        mpmath.mpf(10) ** 6, 2, mpmath.mpf(1001000), 2))
    assert abs(r.cost - right) < 5 * r.cost_stderr and r.cost_stderr < 0.01
    slope = {"Poisson": (-1e-3, 1 - 1e6 / 1.001e6), "Gamma": (-1e-3, 1e-3)}[family]  # to first order
    for name, right in zip(("q", "p"), slope):
        assert abs(r.grad[name] - right) < 5 * r.stderr[name] + 2e-6 and r.stderr[name] < 3e-5


# --- gammas ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype, n", SIZES)
def test_log_prob_and_entropy_of_gammas_of_large_concentration(dtype, n):
    values = {"a": n, "b": 0.5, "x": 2.0 * (n + np.sqrt(n))}
    check(lambda v: scg.Gamma(concentration=v["a"], rate=v["b"]).log_prob(v["x"]),
          lambda a, b, x: gamma(x, a, b), values, dtype, 2 * np.sqrt(n))
    check(lambda v: scg.Gamma(concentration=v["a"], rate=v["b"]).entropy(), gamma_entropy, {"a": n, "b": 3e3}, dtype)


@pytest.mark.parametrize("apart", [0.0, 0.3, -2.0])
@pytest.mark.parametrize("dtype, n", SIZES)
def test_divergence_of_gammas_of_large_concentration(dtype, n, apart):
    """Of nearly equal ones, and of such as lie some standard deviations apart: never below 0 by more than rounding."""
    values = {"a": n, "b": 2.0, "c": n + apart * np.sqrt(n), "d": 2.0}
    check(kl(lambda v: scg.Gamma(concentration=v["a"], rate=v["b"]),
             lambda v: scg.Gamma(concentration=v["c"], rate=v["d"])), gamma_kl, values, dtype, np.sqrt(n))


@pytest.mark.parametrize("a, c", [(1e7, 2.0), (2.0, 1e7), (0.3, 1e5), (1e5, 0.01)])
def test_divergence_of_gammas_of_which_one_is_narrow(a, c):
    check(kl(lambda v: scg.Gamma(concentration=v["a"], rate=v["b"]),
             lambda v: scg.Gamma(concentration=v["c"], rate=v["d"])), gamma_kl,
          {"a": a, "b": a, "c": c, "d": c}, "float32", np.sqrt(max(a, c)))


# --- the rest --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype, n", SIZES)
def test_divergence_of_poissons(dtype, n):
    """λ log(λ/μ) − λ + μ."""
    check(kl(lambda v: scg.Poisson(rate=v["p"]), lambda v: scg.Poisson(rate=v["q"])),
          lambda p, q: p * mpmath.log(p / q) - p + q, {"p": n, "q": n + 0.3 * np.sqrt(n)}, dtype, np.sqrt(n))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1e8, 1e-8])
def test_normals_and_waiting_times_of_large_and_small_scale(dtype, size):
    def normal_kl(m, s, n, t):
        return mpmath.log(t / s) + (s**2 + (m - n) ** 2) / (2 * t**2) - mpmath.mpf(1) / 2

    check(kl(lambda v: scg.Normal(loc=v["m"], scale=v["s"]), lambda v: scg.Normal(loc=v["n"], scale=v["t"])),
          normal_kl, {"m": size, "s": size, "n": 1.25 * size, "t": 1.5 * size}, dtype, 30.0 * max(1.0, 1 / size))
    check(kl(lambda v: scg.Exponential(rate=v["p"]), lambda v: scg.Exponential(rate=v["q"])),
          lambda p, q: mpmath.log(p / q) + q / p - 1, {"p": size, "q": 1.25 * size}, dtype, 30.0 * max(1.0, 1 / size))


def test_compiled_kernels_have_the_same_numbers():
    """What the reference backend is held to above, at one place of each, from kernels of both types."""
    for dtype, n in (("float64", 1e12), ("float32", 1e6)):
        far = n + 0.3 * np.sqrt(n)
        check(lambda v: scg.kl_divergence(scg.Gamma(concentration=v["a"], rate=v["b"]),
                                          scg.Gamma(concentration=v["c"], rate=v["d"]))
              + scg.Gamma(concentration=v["a"], rate=v["b"]).entropy()
              + scg.Gamma(concentration=v["a"], rate=v["b"]).log_prob(v["x"])
              + scg.kl_divergence(scg.Poisson(rate=v["a"]), scg.Poisson(rate=v["c"])),
              lambda a, b, c, d, x: gamma_kl(a, b, c, d) + gamma_entropy(a, b) + gamma(x, a, b)
              + a * mpmath.log(a / c) - a + c,
              {"a": n, "b": 1.0, "c": far, "d": 1.0, "x": far}, dtype, 4 * np.sqrt(n), backend="numba")  # fmt: skip


def test_formulas_show_the_plain_form():
    """A log-probability is written as on paper, in sympy, in text and in errors."""
    g = scg.Graph("shown")
    a, rate = g.param("a"), g.param("rate")
    x = g.sample("x", scg.Gamma(concentration=a, rate=2.0))
    g.cost("cost", x * scg.Poisson(rate=rate).log_prob(g.sample("y", scg.Poisson(rate=rate))))
    surrogate = g.surrogate(scg.ScoreFunction())
    formula = surrogate.sympy()
    assert formula.has(sympy.loggamma(sympy.Symbol("a"))) and not formula.has(sympy.Piecewise)
    assert "Poisson(rate=rate).log_prob(y)" in str(surrogate)
    shown = (str(surrogate), str(formula), surrogate.latex())
    assert not any(name in text for text in shown for name in ("either", "deviance", "rest"))


# --- logits that share an offset -------------------------------------------------------------------------------------
def _weights(w):
    return scg.Categorical(logits=w)


OF_LOGITS = {
    "log_softmax": lambda w: scg.log_softmax(w)[0],
    "log_softmax, axis": lambda w: scg.log_softmax(np.stack([w, w]), axis=1)[1, 2],
    "log_prob": lambda w: _weights(w).log_prob(1),
    "one hot": lambda w: scg.OneHotCategorical(logits=w).log_prob(np.array([0.0, 1.0, 0.0])),
    "entropy": lambda w: _weights(w).entropy(),
    "one hot entropy": lambda w: scg.OneHotCategorical(logits=w).entropy(),
    "divergence to": lambda w: scg.kl_divergence(_weights([0.0, 1.0, 0.5]), _weights(w)),
    "divergence from": lambda w: scg.kl_divergence(_weights(w), _weights([0.0, 1.0, 0.5])),
    "mixture": lambda w: scg.Mixture([scg.Normal(0.0, 1.0), scg.Normal(0.0, 2.0), scg.Normal(1.0, 1.0)],
                                     logits=w).log_prob(0.5),
    "finite mixture": lambda w: scg.Mixture([scg.Bernoulli(probs=p) for p in (0.2, 0.5, 0.7)], logits=w).log_prob(1.0),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_offset_of_all_logits_changes_nothing(dtype):
    """Of offsets that are exact: the logits are whole numbers, and powers of two more."""
    g = scg.Graph("offset")
    w = g.param("w", 3)
    for name, quantity in OF_LOGITS.items():
        g.cost(name, quantity(w))
    f = scg.compile(g, backend="numpy", dtype=dtype)
    logits, ulp = np.array([0.0, 2.0, -1.0]), 8 * float(np.finfo(dtype).eps)
    plain = f({"w": logits})
    for power in {"float64": (10, 30, 50), "float32": (5, 15, 21)}[dtype]:
        for sign in (1.0, -1.0):
            moved = f({"w": logits + sign * 2.0**power})
            for name, cost in plain.costs.items():
                assert moved.costs[name] == pytest.approx(cost, rel=ulp), (name, power)
            np.testing.assert_allclose(moved.grad["w"], plain.grad["w"], rtol=1e-12 if dtype == "float64" else 1e-5)
