"""Paths whose derivative is given: of gamma draws from 1e-3 to 1e6, and of the families that are made of them.

The truth is −∂F/∂a / p by mpmath, and gradients of expectations by quadrature in plain NumPy and SciPy.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import mpmath
import numpy as np
import pytest
from scipy import integrate, special, stats

import scg
from scg.differentiate.reverse_mode import gradients
from scg.ir.constraints import positive_numbers, real_vectors
from scg.ir.node import apply, constant
from scg.laws.families import at_leaves, compute
from scg.ops.implicit import implicit
from scg.ops.leaves import per_element
from scg.ops.randomness import uniform
from tests.laws.checks.exported import with_the_kernel_of
from tests.laws.checks.sampling import within
from tests.laws.checks.slopes import slope

CONCENTRATIONS = (1e-3, 0.04, 0.7, 1.0, 1.6, 12.0, 400.0)
PROBABILITIES = (1e-6, 0.03, 0.4, 0.6, 0.97, 1.0 - 1e-7)


def log_quantile(a: float, p: float) -> float:
    """log x where F(x; a) = p, to what of a small a can be written as a logarithm."""
    small = (np.log(p) + special.gammaln(a + 1.0)) / a
    return small if small < -30.0 else float(np.log(special.gammaincinv(a, p)))


@pytest.mark.parametrize("a", CONCENTRATIONS)
def test_slope_of_a_gamma_draw(a):
    at = np.array([log_quantile(a, p) for p in PROBABILITIES])
    found = compute([apply("gamma_slope", constant(np.full(len(at), a)), constant(at))])[0][0]
    np.testing.assert_allclose(found, [slope(a, t) for t in at], rtol=1e-11)


def test_slope_of_a_gamma_draw_of_a_very_large_concentration():
    """d log x / da = 1/a (1 − z/(2√a) + …) at x = a + z√a: Cornish & Fisher's expansion, to the order 1/a."""
    a, z = 1e6, np.array([-4.0, -1.0, 0.0, 2.0])
    x = a + z * np.sqrt(a) + (z * z - 1.0) / 3.0
    found = compute([apply("gamma_slope", constant(np.full(4, a)), constant(np.log(x)))])[0][0]
    by_x = 1.0 + z / (2.0 * np.sqrt(a))
    np.testing.assert_allclose(found, by_x / x, rtol=3e-6)


@pytest.mark.parametrize("backend, dtype", [("numpy", "float64"), ("numba", "float32")])
def test_gradients_of_gamma_draws(backend, dtype):
    """E log x = ψ(α) − log β, from 1e-3 to 1e6, in both types; where x itself is too small to be written too."""
    a = np.array([1e-3, 0.1, 1.0, 30.0, 1e6])
    g = scg.Graph("gammas")
    x = g.sample("x", scg.Gamma(concentration=g.param("a", 5), rate=g.param("b")))
    g.cost("log", np.log(x).sum())
    f = scg.compile(g, strategy=scg.Pathwise(), backend=backend, dtype=dtype)
    assert f.verdict.unbiased
    r = f({"a": a, "b": 2.0}, samples=4000, rng=1)
    expected = special.polygamma(1, a)
    assert np.all(np.abs(r.grad["a"] - expected) < 5.0 * r.stderr["a"] + 1e-5 * expected)
    assert r.grad["b"] == pytest.approx(-5.0 / 2.0, rel=1e-5)


def test_the_policy_takes_the_path_and_varies_less_than_the_score():
    """Var of x · d log x/da · 2x against Var of x² (log x − ψ(a)), both by quadrature, for the cost x² at a = 2.3."""
    a = 2.3
    g = scg.Graph("square")
    g.cost("c", g.sample("x", scg.Gamma(concentration=g.param("a"), rate=1.0)) ** 2)
    policy, score = scg.compile(g, backend="numpy"), scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")
    assert isinstance(policy.verdict["x"].estimator, scg.Pathwise)
    x = special.gammaincinv(a, (np.arange(4000) + 0.5) / 4000)
    by_path = np.array([2.0 * v * v * slope(a, np.log(v)) for v in x[::20]])
    by_score = x * x * (np.log(x) - special.digamma(a))
    for f, per_draw in ((policy, by_path), (score, by_score)):
        r = f({"a": a}, samples=20_000, rng=2)
        within(r.grad["a"], r.stderr["a"], 2.0 * a + 1.0, "a")
        assert r.stderr["a"] * np.sqrt(20_000) == pytest.approx(per_draw.std(), rel=0.15)
    assert by_path.std() < 0.5 * by_score.std()


# --- families that are made of gamma draws ---------------------------------------------------------------------------
def central(f, at: float, step: float) -> float:
    """∂f by differences of fourth order."""
    return (8.0 * (f(at + step) - f(at - step)) - (f(at + 2 * step) - f(at - 2 * step))) / (12.0 * step)


@pytest.mark.parametrize("strategy", [scg.Pathwise(), scg.ScoreFunction()], ids=str)
def test_gradients_of_beta_draws(strategy):
    a, b = 0.4, 2.5

    def cost(a, b):
        return integrate.quad(lambda t: np.sin(5.0 * t ** (1 / a)) * (1.0 - t ** (1 / a)) ** (b - 1.0), 0.0, 1.0)[0] / (
            a * special.beta(a, b))

    g = scg.Graph("beta")
    x = g.sample("x", scg.Beta(concentration1=g.param("a"), concentration0=g.param("b")))
    g.cost("c", np.sin(5.0 * x))
    r = scg.compile(g, strategy=strategy, backend="numpy")({"a": a, "b": b}, samples=20_000, rng=1)
    within(r.cost, r.cost_stderr, cost(a, b), "cost")
    within(r.grad["a"], r.stderr["a"], central(lambda v: cost(v, b), a, 1e-3), "a")
    within(r.grad["b"], r.stderr["b"], central(lambda v: cost(a, v), b, 1e-3), "b")


@pytest.mark.parametrize("strategy", [scg.Pathwise(), scg.ScoreFunction()], ids=str)
def test_gradients_of_student_draws(strategy):
    df, loc, scale = 3.2, 0.4, 0.7

    def cost(df, loc, scale):
        return integrate.quad(lambda x: np.cos(x) * stats.t.pdf(x, df, loc, scale), -60.0, 60.0, limit=400,
                              epsabs=1e-12)[0]

    g = scg.Graph("student")
    x = g.sample("x", scg.StudentT(df=g.param("df"), loc=g.param("loc"), scale=g.param("scale")))
    g.cost("c", np.cos(x))
    values = {"df": df, "loc": loc, "scale": scale}
    r = scg.compile(g, strategy=strategy, backend="numpy")(values, samples=20_000, rng=1)
    for name, at in values.items():
        within(r.grad[name], r.stderr[name], central(lambda v: cost(**{**values, name: v}), at, 1e-2), name)


@pytest.mark.parametrize("strategy", [scg.Pathwise(), scg.ScoreFunction()], ids=str)
def test_gradients_of_dirichlet_draws(strategy):
    """E x₀x₁ = α₀α₁ / (n (n + 1)), and E log x₂ = ψ(α₂) − ψ(n)."""
    a = np.array([0.3, 1.7, 0.05])
    n = a.sum()
    g = scg.Graph("dirichlet")
    x = g.sample("x", scg.Dirichlet(concentration=g.param("a", 3)))
    g.cost("product", x[0] * x[1])
    g.cost("log", 0.01 * np.log(x)[2])
    r = scg.compile(g, strategy=strategy, backend="numpy")({"a": a}, samples=40_000, rng=3)
    product = a[0] * a[1] / (n * (n + 1.0))
    expected = np.array([a[1], a[0], 0.0]) / (n * (n + 1.0)) - product * (2 * n + 1.0) / (n * (n + 1.0))
    expected = expected + 0.01 * (np.array([0.0, 0.0, special.polygamma(1, a[2])]) - special.polygamma(1, n))
    within(r.cost, r.cost_stderr, product + 0.01 * (special.digamma(a[2]) - special.digamma(n)), "cost")
    within(r.grad["a"], r.stderr["a"], expected, "a")


@pytest.mark.parametrize("a", [1e-3, 1e6])
def test_beta_and_dirichlet_draws_of_extreme_concentrations(a):
    """E x = a / (a + b), where nearly all shares are 0 or 1, and where they are nearly one number."""
    g = scg.Graph("extremes")
    c, d = g.param("c"), g.param("d", 2)
    g.cost("beta", g.sample("x", scg.Beta(concentration1=c, concentration0=a)))
    g.cost("dirichlet", g.sample("y", scg.Dirichlet(concentration=d))[0])
    r = scg.compile(g, strategy=scg.Pathwise(), backend="numpy")({"c": a, "d": [a, a]}, samples=40_000, rng=1)
    for found, error, sign in ((r.grad["c"], r.stderr["c"], 1.0), (r.grad["d"], r.stderr["d"], np.array([1.0, -1.0]))):
        assert np.all(np.abs(found * 4.0 * a - sign) < 5.0 * error * 4.0 * a) and np.all(error * 4.0 * a < 0.3)


def test_heavy_tails():
    """Where a t value has no moments, Kolmogorov and Smirnov's test."""
    g = scg.Graph("cauchy")
    g.cost("c", np.tanh(g.sample("x", scg.StudentT(df=0.8, loc=0.0, scale=2.0))))
    f = scg.compile(g, backend="numpy")
    x = f({}, samples=20_000, rng=0, record=("x",)).record["x"].reshape(-1)
    assert stats.kstest(x, lambda v: stats.t.cdf(v, 0.8, 0.0, 2.0)).pvalue > 5.7e-7


@pytest.mark.parametrize("family, case, x, expected", [
    (scg.Beta, dict(concentration1=2e8, concentration0=1e8), 2 / 3 + 1e-5, stats.beta.logpdf(2 / 3 + 1e-5, 2e8, 1e8)),
    (scg.Beta, dict(concentration1=1e-4, concentration0=3.0), 1e-300, None),
    (scg.StudentT, dict(df=1e12, loc=0.0, scale=1.0), 1.3, stats.norm.logpdf(1.3)),
    (scg.StudentT, dict(df=3.0, loc=0.0, scale=1.0), 1e200, None),
    (scg.Dirichlet, dict(concentration=[3e7, 1e7, 2e7]), [0.5, 1 / 6, 1 / 3], None)])
def test_log_probabilities_where_large_terms_cancel(family, case, x, expected):
    """Against mpmath in 60 digits."""
    with mpmath.workdps(60):
        c = {n: [mpmath.mpf(float(e)) for e in np.atleast_1d(v)] for n, v in case.items()}
        v = [mpmath.mpf(float(e)) for e in np.atleast_1d(x)]
        if family is scg.StudentT:
            nu = c["df"][0]
            true = (mpmath.loggamma((nu + 1) / 2) - mpmath.loggamma(nu / 2) - mpmath.log(nu * mpmath.pi) / 2
                    - (nu + 1) / 2 * mpmath.log(1 + v[0] ** 2 / nu))
        else:
            a = c["concentration"] if family is scg.Dirichlet else [c["concentration1"][0], c["concentration0"][0]]
            v = v if family is scg.Dirichlet else [v[0], 1 - v[0]]
            true = mpmath.loggamma(sum(a)) + sum((b - 1) * mpmath.log(w) - mpmath.loggamma(b) for b, w in zip(a, v))
    found = float(compute([family(**case).log_prob(np.array(x))])[0][0])
    assert found == pytest.approx(float(true), rel=1e-10, abs=1e-7)
    assert expected is None or found == pytest.approx(expected, abs=1e-5)


# --- a family's own --------------------------------------------------------------------------------------------------
class Lomax(scg.Distribution):
    """p(x) = a (1 + x)^(−a−1), with the derivative of a draw: −∂F/∂a / p = −(1 + x) log(1 + x) / a."""

    parameters = {"a": replace(scg.Gamma.parameters["rate"])}
    support = positive_numbers
    cases = [dict(a=3.0)]

    def log_prob(self, value):
        return scg.log(self.a) - (self.a + 1.0) * scg.log1p(value)

    def sample(self, noise):
        return scg.expm1(-scg.log(uniform(noise)) / self.a)

    def draw_derivative(self, x):
        return {"a": -(1.0 + x) * scg.log1p(x) / self.a}


class Pair(scg.Distribution):
    """A normal value and one about its square times w, by a triangular map: ∂x₁/∂w = x₀², ∂x₁/∂m = 2 w x₀."""

    parameters = {"m": scg.Normal.parameters["loc"], "w": scg.Normal.parameters["loc"]}
    support = real_vectors
    cases = [dict(m=0.3, w=0.5)]
    event_shape = (2,)

    def log_prob(self, value):
        one, two = value[..., 0] - self.m, value[..., 1] - self.w * value[..., 0] ** 2
        return -0.5 * (one**2 + two**2) - np.log(2.0 * np.pi)

    def sample(self, noise):
        z = apply("ndtri", uniform(per_element(noise, (2,))))
        one = self.m + z[..., 0]
        return scg.stack([one, z[..., 1] + self.w * one**2], axis=-1)

    def draw_derivative(self, x):
        first, none = x[..., 0], 0.0 * x[..., 0]
        return {"m": scg.stack([1.0 + none, 2.0 * self.w * first], axis=-1),
                "w": scg.stack([none, first**2], axis=-1)}


def test_a_family_that_gives_the_derivative_of_its_draw():
    a = 4.5
    g = scg.Graph("lomax")
    g.cost("c", np.sqrt(g.sample("x", Lomax(a=g.param("a")))))
    f = scg.compile(g, backend="numpy")
    assert isinstance(f.verdict["x"].estimator, scg.Pathwise)

    def cost(a):
        return a * special.beta(1.5, a - 0.5)

    r = f({"a": a}, samples=20_000, rng=1)
    within(r.cost, r.cost_stderr, cost(a), "cost")
    within(r.grad["a"], r.stderr["a"], central(cost, a, 1e-3), "a")


@pytest.mark.parametrize("shape", [(), (3,)])
def test_a_triangular_map(shape):
    """E x₀x₁ = w (m³ + 3m)."""
    g = scg.Graph("pair")
    m, w = g.param("m"), g.param("w")
    x = g.sample("x", Pair(m=m, w=w), shape=shape)
    g.cost("c", (x[..., 0] * x[..., 1]).sum())
    r = scg.compile(g, strategy=scg.Pathwise(), backend="numpy")({"m": 0.4, "w": 0.6}, samples=20_000, rng=1)
    many = int(np.prod(shape, dtype=int))
    within(r.grad["m"], r.stderr["m"], many * 0.6 * (3 * 0.16 + 3), "m")
    within(r.grad["w"], r.stderr["w"], many * (0.064 + 1.2), "w")


def test_second_derivatives_of_a_path():
    """x = (1/u)^(1/a) − 1 has d²x/da² = (1 + x) log(1+x) (2 + log(1+x))/a²; of a gamma draw they are refused."""
    dist, values = at_leaves(Lomax, {"a": 3.0})
    from scg.laws.families import STREAM

    x = dist.reparameterise(STREAM)
    first = gradients({x: constant(1.0)}, [dist.params["a"]], ("lane",))[0]
    second = gradients({first: constant(1.0)}, [dist.params["a"]], ("lane",))[0]
    at, found = compute([x, second], 5, **values)
    log = np.log1p(at)
    np.testing.assert_allclose(found, (1.0 + at) * log * (2.0 + log) / 9.0, rtol=1e-12)
    gamma, values = at_leaves(scg.Gamma, {"concentration": 3.0, "rate": 1.0})
    first = gradients({gamma.reparameterise(STREAM): constant(1.0)}, [gamma.params["concentration"]], ("lane",))[0]
    with pytest.raises(scg.SCGError, match="gamma_slope"):
        gradients({first: constant(1.0)}, [gamma.params["concentration"]], ("lane",))


def test_a_path_is_its_draw():
    """The value that derivatives pass is the one that is drawn, to the last bit, also where it is made of a path."""
    for family in (scg.Beta, scg.Gamma, scg.Dirichlet, scg.StudentT):
        from scg.laws.families import draws

        for case in family.cases:
            one, two = draws(family, case, "sample", n=50), draws(family, case, "reparameterise", n=50)
            np.testing.assert_array_equal(one, two)


def test_shapes_of_slopes_must_fit():
    x = constant(2.0)
    with pytest.raises(scg.ShapeError):
        implicit(x, [(constant(np.zeros(2)), constant(np.zeros(3)))])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_exported_paths(dtype, tmp_path):
    """An exported module of gamma, beta and Student's paths gives the numbers of the function, to the last bit."""
    g = scg.Graph("exported")
    a = g.param("a", 2)
    x = g.sample("x", scg.Gamma(concentration=scg.exp(a), rate=1.5))
    y = g.sample("y", scg.Beta(concentration1=scg.exp(a[0]), concentration0=x[1]))
    z = g.sample("z", scg.StudentT(df=3.0 + scg.exp(a[1]), loc=y, scale=1.0))
    g.cost("c", x @ x + y * x[0] + np.cos(z))
    f = scg.compile(g, dtype=dtype, stderr=False)
    f.export(tmp_path / "paths.py")
    spec = importlib.util.spec_from_file_location("paths", tmp_path / "paths.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    values = {"a": [0.3, -0.4]}
    ours, theirs = f(values, samples=300, rng=1), with_the_kernel_of(f, module).estimate(values, samples=300, rng=1)
    np.testing.assert_array_equal(theirs.grad["a"], ours.grad["a"])
    assert theirs.cost == ours.cost
