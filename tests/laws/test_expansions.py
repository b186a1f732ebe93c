"""Delta, DoubleCV and RODEO: unbiased at any weight, and at their best where the expansion is the cost."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

import scg
from scg.derive import derive
from scg.expectation.exact import integrate
from scg.expectation.law import expected_by_kernel, expected_gradient
from scg.initial import brought
from tests.laws.checks.exact_law import check_exact_law
from tests.laws.checks.sampling import within
from tests.laws.test_learned_control_variates import trained
from tests.problems import PROBLEMS, scan_values, scanned

POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
AT = {"m": 1.0, "s": 1.0}
COSTS = {  # the cost, its first and second derivative: Mohamed et al. 2020, Figures 2 and 3
    "square": (lambda x: (x + 3.0) ** 2, lambda x: 2.0 * (x + 3.0), lambda x: 2.0 + 0.0 * x),
    "cos": (lambda x: np.cos(x), lambda x: -np.sin(x), lambda x: -np.cos(x)),
    "bell": (lambda x: np.exp(-0.1 * x**2), lambda x: -0.2 * x * np.exp(-0.1 * x**2),
             lambda x: (0.04 * x**2 - 0.2) * np.exp(-0.1 * x**2))}


def normal(cost, shape=None) -> scg.Graph:
    g = scg.Graph("normal")
    g.cost("loss", cost(g.sample("x", scg.Normal(g.param("m"), g.param("s")), shape=shape)))
    return g


def binary(cost) -> scg.Graph:
    g = scg.Graph("binary")
    g.cost("loss", cost(g.sample("b", scg.Bernoulli(logits=g.param("t", 2)))))
    return g


def pair(b):
    return (b - 0.45) @ np.array([[1.0, 0.4], [-0.2, 0.5]]) @ b + np.exp(b[0])


T = {"t": np.array([0.4, -0.7])}


# --- Delta -----------------------------------------------------------------------------------------------------------
def spread(n: int, variance, fourth):
    """Five standard errors of a variance that n draws of that fourth central moment have, and rounding."""
    return 5.0 * np.sqrt(np.maximum(fourth - variance**2, 0.0) / n) + 1e-20


def delta_moments(name: str, pathwise: bool, eta: float) -> dict[str, tuple[float, float, float]]:
    """Mean, variance and fourth moment of the estimate in both parameters of N(1, 1), by quadrature over ε."""
    f, d1, d2 = COSTS[name]
    e, x = POINTS, 1.0 + POINTS
    h = f(1.0) + d1(1.0) * e + 0.5 * d2(1.0) * e**2
    left = {"m": d1(x) - eta * (d1(1.0) + d2(1.0) * e) if pathwise else (f(x) - eta * h) * e}
    left["s"] = left["m"] * e if pathwise else (f(x) - eta * h) * (e**2 - 1.0)
    added = {"m": eta * d1(1.0), "s": eta * d2(1.0)}
    means = {k: WEIGHTS @ left[k] for k in left}
    return {k: (means[k] + added[k], *(WEIGHTS @ (left[k] - means[k]) ** m for m in (2, 4))) for k in left}


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("pathwise", [False, True], ids=["score", "path"])
def test_the_variance_of_delta(name, pathwise):
    """Against quadrature; without the control variate it is that of the plain estimator, in the table of the survey."""
    n = 40_000
    for eta in (1.0, 0.6):
        f = scg.compile(normal(COSTS[name][0]), strategy=scg.Delta(pathwise=pathwise, eta=eta), backend="numpy")
        assert f.verdict.unbiased
        r = f(AT, samples=n, rng=0)
        for param, (mean, variance, fourth) in delta_moments(name, pathwise, eta).items():
            assert abs(r.stderr[param] ** 2 * n - variance) < spread(n, variance, fourth)
            within(r.grad[param], r.stderr[param], mean, param)
    published = {("square", False): (495.0, 1546.0), ("square", True): (4.0, 72.0), ("cos", False): (0.32399, 0.83629),
                 ("cos", True): (0.26767, 0.30813), ("bell", False): (0.56353, 0.93538),
                 ("bell", True): (0.01629, 0.02777)}
    plain = delta_moments(name, pathwise, 0.0)
    assert [plain[k][1] for k in AT] == pytest.approx(published[name, pathwise], rel=1e-3)


@pytest.mark.parametrize("pathwise", [False, True], ids=["score", "path"])
def test_quadratic_costs_leave_no_variance(pathwise):
    """Of a sum of squares of the elements; and where draws meet in products, of the diagonal only."""
    strategy = scg.Delta(pathwise=pathwise, eta=1.0)
    f = scg.compile(normal(lambda x: (x**2 - 3.0 * x).sum(), 3), strategy=strategy, backend="numpy")
    r = f({"m": 0.4, "s": 0.7}, samples=50, rng=0)
    np.testing.assert_allclose([r.grad["m"], r.grad["s"]], [3 * (0.8 - 3.0), 3 * 1.4], rtol=1e-12)
    assert max(r.stderr["m"], r.stderr["s"]) < 1e-12
    f = scg.compile(normal(lambda x: x[0] * x[1] * 2.0 + x[0] ** 2, 2), strategy=strategy, backend="numpy")
    r = f({"m": 0.4, "s": 0.7}, samples=40_000, rng=0)
    within(r.grad["m"], r.stderr["m"], 4 * 0.4 + 2 * 0.4, "m")
    within(r.grad["s"], r.stderr["s"], 2 * 0.7, "s")


def test_the_weight_minimises_the_variance():
    """The gradient in η is that of E g², whose minimum is at Σ cov / Σ var."""
    def square(eta):
        return sum(v + m**2 for m, v, _ in delta_moments("cos", False, eta).values())

    f = scg.compile(normal(COSTS["cos"][0]), strategy=scg.Delta(), backend="numpy")
    assert f.init(0) == {"x eta": 1.0}
    for eta in (0.2, 1.0):
        r = f({**AT, "x eta": eta}, samples=40_000, rng=0)
        within(r.grad["x eta"], r.stderr["x eta"], (square(eta + 1e-4) - square(eta - 1e-4)) / 2e-4, "eta")


def test_delta_before_later_sites():
    """A later coin stays as it is in the expansion, whatever moves it; a path is followed."""
    p = PROBLEMS["normal_to_bernoulli"]()
    f = scg.compile(p.graph, strategy={"z": scg.Delta(eta=0.8)}, backend="numpy")
    r = f(p.values, samples=40_000, rng=0)
    for name, expected in scg.exact(p.graph, p.values).grad.items():
        within(r.grad[name], r.stderr[name], expected, name)


# --- of binary draws -------------------------------------------------------------------------------------------------
EVERY = [scg.Delta(), scg.DoubleCV(), scg.RODEO(), scg.RODEO(surrogate=lambda y: 0.7 * y[0] * y[1] - y[1])]


@pytest.mark.by_python(by=expected_by_kernel)
@pytest.mark.parametrize("by", [expected_gradient, expected_by_kernel])
@pytest.mark.parametrize("estimator", EVERY, ids=["Delta", "DoubleCV", "RODEO", "RODEO of one's own"])
def test_any_weight_leaves_the_mean(estimator, by):
    for eta in (-1.3, 0.6)[:1 if by is expected_by_kernel else 2]:
        check_exact_law(binary(pair), {**T, "b eta": eta}, estimator, by=by, exact=integrate(binary(pair), T))


def test_in_loops_with_a_weight_that_is_given():
    check_exact_law(scanned(2, 1), scan_values(1), scg.DoubleCV(eta=0.8))


RODEOS = [scg.RODEO(eta=0.6), scg.RODEO(eta=0.7, units=2),
          scg.RODEO(eta=0.6, surrogate=lambda y: 0.7 * y[0] * y[1] - y[1])]


@pytest.mark.parametrize("estimator", RODEOS, ids=["linear", "net", "of one's own"])
def test_any_function_leaves_the_mean(estimator):
    """Whatever was learned, of one site, and of the steps of a loop."""
    for graph, values in ((binary(pair), T), (scanned(2, 2), scan_values(2))):
        anywhere = {name: np.resize([0.4, -0.7, 1.1], np.shape(v))
                    for name, v in brought(derive(graph, estimator).draft.params).items()}
        check_exact_law(graph, {**anywhere, **values}, estimator, exact=integrate(graph, values))


def test_the_net_is_made_of_costs_and_of_what_slopes_say():
    """Of costs that are not linear it takes a good part of the variance that the linear expansion leaves."""
    g = scg.Graph("curved")
    b = g.sample("b", scg.Bernoulli(logits=g.param("t", (4,))))
    g.cost("c", np.exp(0.9 * b.sum() - 1.5) + (b.sum() - 2.0) ** 2)
    values, variance = {"t": np.array([0.3, -0.4, 0.8, 0.0])}, []
    for estimator in (scg.RODEO(group=4), scg.RODEO(group=4, units=8)):
        f = scg.compile(g, strategy=estimator, backend="numpy")
        r = f(trained(f, values, 0.03, 120), samples=8_000, rng=0)
        variance.append(np.sum(r.stderr["t"] ** 2))
    assert variance[1] < 0.75 * variance[0]


def test_beside_others():
    check_exact_law(PROBLEMS["chain"]().graph, PROBLEMS["chain"]().values,
                    {"x": scg.Delta(eta=0.8), "y": scg.DoubleCV(eta=-0.4), "z": scg.ScoreFunction(scg.LeaveOneOut())})


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_the_variance_of_pairs(p):
    """Of groups of two replicates and two bits, by enumeration of the formulas of the papers, whose α is −η."""
    a = np.array([[1.0, 0.4], [-0.2, 0.5]])
    theta, eta = np.log(p / (1.0 - p)) * np.ones(2), 0.7
    mu = expit(theta)
    draws = [np.array(v, float) for v in np.ndindex(2, 2)]

    def cost(b):
        return (b - 0.45) @ a @ b + np.exp(b[0])

    def slope(b):
        return a @ b + a.T @ (b - 0.45) + np.exp(b[0]) * np.array([1.0, 0.0])

    def one(b, c):
        """What the replicate of b contributes beside that of c (Titsias & Shi 2022, eq. 10)."""
        t, other = (b - mu) @ slope(c), (c - mu) @ slope(b)
        signal = cost(b) - eta * t - (cost(c) - eta * other)
        return signal * (b - mu) + eta * slope(c) * mu * (1.0 - mu)

    second, mean, found = np.zeros(2), np.zeros(2), []
    for b in draws:
        for c in draws:
            chance = np.prod(np.where(b, mu, 1 - mu)) * np.prod(np.where(c, mu, 1 - mu))
            g = 0.5 * (one(b, c) + one(c, b))
            second, mean = second + chance * g**2, mean + chance * g
            found.append((chance, g))
    variance, fourth = second - mean**2, sum(chance * (g - mean) ** 4 for chance, g in found)
    n = 60_000
    f = scg.compile(binary(pair), strategy=scg.DoubleCV(eta=eta, group=2), backend="numpy")
    r = f({"t": theta}, samples=n, rng=0)
    within(r.grad["t"], r.stderr["t"], mean, "t")
    np.testing.assert_allclose(mean, integrate(binary(pair), {"t": theta}).grad["t"], atol=1e-12)
    assert np.all(np.abs(r.stderr["t"] ** 2 * n / 2.0 - variance) < spread(n // 2, variance, fourth))


def test_where_the_expansion_is_the_cost():
    """Of linear costs of one bit nothing varies at η = 1, but what other replicates' means do."""
    g = scg.Graph("linear")
    g.cost("loss", 3.0 * g.sample("b", scg.Bernoulli(logits=g.param("t"))))
    exact = 3.0 * expit(0.4) * expit(-0.4)
    for estimator in (scg.DoubleCV(eta=1.0), scg.Delta(eta=1.0)):
        r = scg.compile(g, strategy=estimator, backend="numpy")({"t": 0.4}, samples=64, rng=0)
        assert r.grad["t"] == pytest.approx(exact, rel=1e-12)
    plain, rodeo = (scg.compile(g, strategy=s, backend="numpy")({"t": 0.4}, samples=20_000, rng=0).stderr["t"]
                    for s in (scg.ScoreFunction(scg.LeaveOneOut()), scg.RODEO(eta=1.0)))
    assert rodeo < plain


@pytest.mark.parametrize("wrong, why", [(lambda: scg.Delta(pathwise=1), "True or False"),
                                        (lambda: scg.DoubleCV(group=1), "from 2"),
                                        (lambda: scg.Delta(eta="a"), "finite"),
                                        (lambda: scg.RODEO(units=-1), "0 is no net"),
                                        (lambda: scg.RODEO(surrogate=2.0), "Give a function")])
def test_arguments(wrong, why):
    with pytest.raises(scg.SCGError, match=why):
        wrong()


def test_paths_that_there_are_none_of():
    with pytest.raises(scg.EstimatorError, match="no differentiable path"):
        derive(binary(pair), scg.Delta(pathwise=True))
