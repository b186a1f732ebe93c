"""An op, a distribution and an estimator added from outside the package: the how-to pages' examples, under the laws."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scg_numpy import Evaluation, evaluate
from scipy import stats
from scipy.integrate import quad

import scg
from scg.derive import derive
from scg.distributions import FAMILIES
from scg.estimators import ESTIMATORS
from scg.expectation.exact import integrate
from scg.expectation.law import expected_by_kernel
from scg.ir.op import OPS
from tests.laws.checks.exact_law import TOLERANCE, check_exact_law, worst
from tests.laws.checks.ops import check_elementwise

DOCS = Path(__file__).parents[2] / "docs"
BACKENDS = ("numpy", "numba")
REGISTRIES = (OPS, FAMILIES, ESTIMATORS)


def module_name(page: str) -> str:
    """What a page's example is called as a module."""
    return "scg_example_" + re.sub(r"\W", "_", page)


def example(page: str) -> ModuleType:
    """The page's one block of Python, run as a module whose lines are numbered as in the page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", text, re.M | re.S))
    assert len(blocks) == 1, f"{page} has {len(blocks)} blocks of Python"
    start = blocks[0].start(1)
    module = ModuleType(module_name(page))
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(compile("\n" * text[:start].count("\n") + blocks[0][1], str(DOCS / page), "exec"), module.__dict__)
    return module


def added(page: str) -> Iterator[ModuleType]:
    """The example's module; what it registered is unregistered afterwards."""
    before = [dict(registry) for registry in REGISTRIES]
    try:
        yield example(page)
    finally:
        for registry, entries in zip(REGISTRIES, before):
            registry.clear()
            registry.update(entries)
        sys.modules.pop(module_name(page), None)


@pytest.fixture(scope="module")
def op():
    """The page on ops."""
    yield from added("adding-an-op.md")


@pytest.fixture(scope="module")
def family():
    """The page on distributions."""
    yield from added("adding-a-distribution.md")


@pytest.fixture(scope="module")
def estimator():
    """The page on estimators."""
    yield from added("adding-an-estimator.md")


def close_to_exact(result, exact, most: float = 5.0) -> None:
    """Cost and gradients within a few standard errors."""
    assert abs(result.cost - exact.cost) < most * result.cost_stderr
    for name, expected in exact.grad.items():
        z = (result.grad[name] - expected) / result.stderr[name]
        assert np.all(np.abs(z) < most), f"{name}: z = {z}"


def same_on_both(graph, values, strategy=None, dtype: str = "float64", rtol: float = 1e-11) -> None:
    """One seed, both backends: the same estimate, but for rounding."""
    functions = [scg.compile(graph, strategy=strategy, backend=b, dtype=dtype) for b in BACKENDS]
    one, two = (f(values, samples=5000, rng=3) for f in functions)
    np.testing.assert_allclose(one.cost, two.cost, rtol=rtol)
    for name in one.grad:
        np.testing.assert_allclose(one.grad[name], two.grad[name], rtol=rtol, atol=rtol)


# --- nothing is left behind; before the fixtures above are made ------------------------------------------------------
@pytest.mark.parametrize("page, registry", [("adding-an-op.md", OPS), ("adding-a-distribution.md", FAMILIES),
                                            ("adding-an-estimator.md", ESTIMATORS)])
def test_a_page_adds_one_thing(page, registry):
    before = dict(registry)
    for _ in added(page):
        assert len(set(registry) - set(before)) == 1, "the package has something of that name already"
    assert registry == before


# --- an op -----------------------------------------------------------------------------------------------------------
def test_op_interpretations_agree(op):
    """Value, scalar source and sympy form; the derivative to second order against finite differences."""
    check_elementwise(OPS["log_cosh"])


@pytest.mark.parametrize("dtype, rtol", [("float64", 1e-13), ("float32", 2e-6)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_op_in_a_kernel(op, backend, dtype, rtol):
    g = scg.Graph("values")
    x = g.param("x", shape=(7,))
    g.cost("sum", op.log_cosh(x).sum())
    at = np.array([-300.0, -2.0, -0.1, 0.0, 0.4, 3.0, 50.0])
    f = scg.compile(g, backend=backend, dtype=dtype)
    r = f({"x": at})
    np.testing.assert_allclose(r.cost, np.sum(np.logaddexp(at, -at) - np.log(2.0)), rtol=rtol)
    np.testing.assert_allclose(r.grad["x"], np.tanh(at), rtol=rtol, atol=1e-30)
    if backend == "numba" and dtype == "float32":
        assert "np.float32(0.5) * expm1" in f.source, "a literal of double precision in a kernel of single precision"


def test_op_downstream_of_a_site(op):
    assert op.f.verdict["x"].estimator == scg.Pathwise()
    values = {"loc": 0.3}
    exact = scg.exact(op.g, values)
    close_to_exact(op.f(values, samples=100_000, rng=1), exact)
    same_on_both(op.g, values)
    assert "cosh" in str(op.g.surrogate().sympy()), "it is shown under its name in mathematics"


# --- a distribution --------------------------------------------------------------------------------------------------
def at(node) -> float:
    """The value of a node without leaves."""
    return float(evaluate([node], Evaluation({}, {"row": 1, "lane": 1}))[0])


def cases(family):
    """Distributions of all test cases, with their densities."""
    for case in family.Rayleigh.cases:
        dist = family.Rayleigh(**case)
        yield case, dist, lambda x, dist=dist: float(np.exp(at(dist.log_prob(x))))


def test_distribution_integrates(family):
    for case, dist, density in cases(family):
        top = 12.0 * case["scale"]
        moments = [quad(lambda x: x**k * density(x), 0.0, top, points=[case["scale"]])[0] for k in range(3)]
        assert moments[0] == pytest.approx(1.0, abs=1e-9)
        assert moments[1] == pytest.approx(at(dist.mean), rel=1e-9)
        assert moments[2] - moments[1] ** 2 == pytest.approx(at(dist.variance), rel=1e-8)


@pytest.mark.parametrize("backend", BACKENDS)
def test_distribution_sampler_has_the_density(family, backend):
    """Kolmogorov and Smirnov's test against the integral of exp(log_prob)."""
    for case, _, density in cases(family):
        g = scg.Graph("draws")
        g.cost("total", g.sample("x", family.Rayleigh(**case)))
        grid = np.linspace(1e-9, 8.0 * case["scale"], 801)
        p = np.array([density(x) for x in grid])
        below = np.concatenate([[0.0], np.cumsum(0.5 * (p[1:] + p[:-1]) * np.diff(grid))])
        draws = scg.compile(g, backend=backend)({}, samples=20_000, rng=5, record=("x",)).record["x"].reshape(-1)
        assert stats.kstest(draws, lambda x: np.interp(x, grid, below)).pvalue > 1e-3


STRATEGIES = [None, scg.Pathwise(), scg.ScoreFunction(), scg.WeakDerivative(), scg.WeakDerivative(coupled=False)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_distribution_gradients(family, strategy, backend):
    """Every capability that gives an estimator gives the gradient 4σ² − 2σ√(2π) of E(X − 2)² in log σ."""
    values = {"sigma": 0.3}
    exact = scg.exact(family.g, values)
    s = np.exp(0.3)
    assert float(exact.grad["sigma"]) == pytest.approx(4.0 * s * s - 2.0 * s * np.sqrt(2.0 * np.pi), rel=1e-10)
    f = scg.compile(family.g, strategy=strategy, backend=backend)
    assert f.verdict.unbiased
    close_to_exact(f(values, samples=40_000, rng=2), exact)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_distribution_on_both_backends(family, strategy):
    same_on_both(family.g, {"sigma": 0.3}, strategy)


def test_distribution_refuses_bad_parameters(family):
    with pytest.raises(scg.DeclarationError, match="positive"):
        family.Rayleigh(scale=-1.0)
    with pytest.raises(scg.EstimatorError, match="no finite support"):
        scg.compile(family.g, strategy=scg.LocalExpectation())


# --- an estimator ----------------------------------------------------------------------------------------------------
def several_draws(logits: bool = True):
    """A chain of two sites of several draws, with rows of data."""
    g = scg.Graph("chain")
    theta, w = g.param("theta", shape=(2,)), g.param("w")
    x = g.data("x")
    a = theta + w * x
    b = g.sample("b", scg.Bernoulli(logits=a) if logits else scg.Bernoulli(probs=scg.sigmoid(a)))
    c = g.sample("c", scg.Bernoulli(logits=w * b[0] - 0.5 * b[1]), shape=(2,))
    g.cost("loss", (b.sum() - c[0] * x - 0.3 * c[1]) ** 2)
    g.cost("direct", w * c[0] * b[1] + theta.sum() ** 2)
    return g, {"theta": [0.4, -1.1], "w": 0.7, "x": [0.2, -1.5]}


def in_a_scan():
    """Three steps of one draw each."""
    g = scg.Graph("walk")
    theta = g.param("theta")

    def step(state, _):
        b = g.sample("b", scg.Bernoulli(logits=theta - 0.4 * state))
        after = 0.8 * state + b
        return after, (after - 0.5) ** 2

    last, costs = g.scan(step, 0.3, length=3)
    g.cost("running", costs.sum())
    g.cost("final", last * last * theta)
    return g, {"theta": 0.6}


GRAPHS = {
    "page": lambda estimator: (estimator.g, {"theta": [0.3, -1.2]}), "chain": lambda _: several_draws(),
    "probs": lambda _: several_draws(logits=False), "scan": lambda _: in_a_scan(),
}  # fmt: skip


@pytest.mark.parametrize("graph", GRAPHS)
def test_estimator_exact_law(estimator, graph):
    """Its expected gradient is the gradient of the enumerated cost, on the reference and in kernels."""
    g, values = GRAPHS[graph](estimator)
    exact = integrate(g, values)
    for form in ("log", "ratio"):
        check_exact_law(g, values, estimator.U2G(), form=form, exact=exact)
    for backend in BACKENDS:
        found = expected_by_kernel(derive(g, estimator.U2G()), values, backend)
        assert worst(found.grad, exact.grad) < TOLERANCE
        assert abs(found.cost - exact.cost) < TOLERANCE


@pytest.mark.parametrize("other", [scg.ScoreFunction(), scg.WeakDerivative(), scg.LocalExpectation(), scg.Enumerate()],
                         ids=str)
@pytest.mark.parametrize("site", ["b", "c"])
def test_estimator_beside_others(estimator, site, other):
    g, values = several_draws()
    strategy = {"b": other, "c": other} | {site: estimator.U2G()}
    check_exact_law(g, values, strategy)


def test_estimator_in_use(estimator):
    _, values = GRAPHS["page"](estimator)
    close_to_exact(estimator.f(values, samples=100_000, rng=1), scg.exact(estimator.g, values))
    same_on_both(estimator.g, values, estimator.U2G())
    assert estimator.f.verdict["b"].status == "unbiased"
    assert "b̃" in estimator.U2G.__doc__ and "U2G()" in estimator.f.explain()


@pytest.mark.parametrize("theta", [0.0, 0.3, -2.0])
def test_estimator_variance(estimator, theta):
    """On the toy it is ½Δ max(p, 1 − p) where the draws differ, which they do with probability 2 min(p, 1 − p)."""
    g = scg.Graph("toy")
    g.cost("loss", (g.sample("b", scg.Bernoulli(logits=g.param("theta"))) - 0.45) ** 2)
    n, delta, p = 100_000, 0.55**2 - 0.45**2, 1.0 / (1.0 + np.exp(-theta))
    low, high = min(p, 1.0 - p), max(p, 1.0 - p)
    expected = np.sqrt(max((0.5 * delta * high) ** 2 * 2.0 * low - (delta * low * high) ** 2, 0.0) / n)
    found = scg.compile(g, strategy=estimator.U2G())({"theta": theta}, samples=n, rng=0).stderr["theta"]
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=1e-12)


def test_a_wrong_sign_is_caught(estimator):
    """The law sees what it is for."""
    class Wrong(estimator.U2G):
        """The two draws exchanged on one side only."""

        def rewrite(self, site):
            draft = super().rewrite(site)
            return draft.with_term(site.name, -2.0 * draft.terms[-1].node)

    g, values = GRAPHS["page"](estimator)
    with pytest.raises(AssertionError, match="off by"):
        check_exact_law(g, values, Wrong())


def test_estimator_refuses_other_families(estimator):
    g = scg.Graph("counts")
    theta = g.param("theta")
    g.cost("loss", g.sample("k", scg.Categorical(logits=theta * np.arange(3.0))) ** 2)
    with pytest.raises(scg.EstimatorError, match="not 0 and 1 only"):
        scg.compile(g, strategy=estimator.U2G())


# --- families of other kinds, through the one door -------------------------------------------------------------------
OUTSIDE = '''
import numpy as np
import scg
from scg.extend import (
    Distribution, Support, category, log_weights, normal, per_element, positive, real_vector, real_vectors, split,
    uniform)


class Isotropic(Distribution):
    """Normal vectors of one deviation."""

    parameters = {"loc": real_vector, "scale": positive}
    support = real_vectors
    cases = [dict(loc=[0.3, -1.0, 0.2], scale=0.7)]

    def log_prob(self, value):
        size = self.event_shape[0]
        square = (((value - self.loc) / self._wide) ** 2).sum(axis=-1)
        return -0.5 * square - size * scg.log(self.scale) - 0.5 * size * np.log(2.0 * np.pi)

    @property
    def _wide(self):
        return self.scale.reshape(*self.scale.shape, 1)

    def sample(self, noise):
        return self.loc + self._wide * normal(per_element(noise, self.event_shape))

    def reparameterise(self, noise):
        """x = loc + scale z."""
        return self.sample(noise)


class Histogram(Distribution):
    """A value that is uniform between two of some edges: these are data, the same at every site of the family."""

    parameters = {"logits": log_weights}
    support = Support("the numbers between the edges", low=0.0, high=1.0)

    def __init__(self, edges, *, logits):
        self.hold(tuple(edges))
        super().__init__(logits=logits)

    def log_prob(self, value):
        edges = np.array(self.data)
        x = value.reshape(*value.shape, 1)
        within = scg.where((x >= edges[:-1]) & (x < edges[1:]), 1.0, 0.0)
        return (within * (scg.log_softmax(self.logits) - np.log(np.diff(edges)))).sum(axis=-1)

    def sample(self, noise):
        edges = np.array(self.data)
        which, where = split(noise, 2)
        k = category(which, scg.softmax(self.logits))
        return scg.take(edges[:-1], k) + scg.take(np.diff(edges), k) * uniform(where)
'''


@pytest.fixture(scope="module")
def outside():
    """A module that imports nothing of the package but `scg` and `scg.extend`."""
    before = dict(FAMILIES)
    module = ModuleType("scg_example_outside")
    sys.modules[module.__name__] = module
    exec(compile(OUTSIDE, "outside.py", "exec"), module.__dict__)
    yield module
    FAMILIES.clear()
    FAMILIES.update(before)
    sys.modules.pop(module.__name__)


@pytest.mark.parametrize("strategy", [scg.Pathwise(), scg.ScoreFunction()], ids=str)
def test_a_family_of_vectors_from_outside(outside, strategy):
    """E |x|² = |m|² + 3s²."""
    g = scg.Graph("vectors")
    m, s = g.param("m", 3), g.param("s")
    x = g.sample("x", outside.Isotropic(loc=m, scale=s), shape=2)
    g.cost("c", (x**2).sum())
    values = {"m": [0.3, -0.5, 0.8], "s": 0.7}
    r = scg.compile(g, strategy=strategy, backend="numpy")(values, samples=20_000, rng=1)
    assert np.all(np.abs(r.grad["m"] - 4.0 * np.array(values["m"])) < 5.0 * r.stderr["m"])
    assert abs(r.grad["s"] - 12.0 * 0.7) < 5.0 * r.stderr["s"]


def test_a_family_with_data_from_outside(outside):
    """E x = Σ w · middle; two sites of equal edges are of one family, and one of other edges is not."""
    edges = [0.0, 0.2, 0.7, 1.0]
    g = scg.Graph("histograms")
    w = g.param("w", 3)
    x, y = (g.sample(name, outside.Histogram(e, logits=w)) for name, e in (("x", edges), ("y", [0.0, 0.1, 0.5, 1.0])))
    same = g.sample("z", outside.Histogram(edges, logits=w))
    assert x.attrs.family == same.attrs.family != y.attrs.family
    g.cost("c", x + 2.0 * y)
    at = np.array([0.3, -0.4, 0.1])
    p = np.exp(at) / np.exp(at).sum()
    middle = np.array([0.1, 0.45, 0.85]) + 2.0 * np.array([0.05, 0.3, 0.75])
    for backend in BACKENDS:
        r = scg.compile(g, backend=backend)({"w": at}, samples=20_000, rng=1)
        assert abs(r.cost - p @ middle) < 5.0 * r.cost_stderr
        assert np.all(np.abs(r.grad["w"] - p * (middle - p @ middle)) < 5.0 * r.stderr["w"])
