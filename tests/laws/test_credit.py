"""Credit by elements: each draw of a site is weighed by the parts of the costs that are made of it, and no others.

The exact law holds whatever is told apart; what is told apart is read off the incidence; and where it must help, the
variance falls to what it is for single draws.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import sympy

import scg
from scg.analysis import credit
from scg.analysis.credit import Share, Shares
from scg.derive import derive
from scg.expectation.exact import integrate
from scg.expectation.law import expected_by_kernel, expected_gradient
from scg.initial import brought
from scg.surrogate import parts
from tests.laws.checks.exact_law import capable, check_expectation, unbiased_estimators
from tests.laws.test_exact_law import problem as shipped_problem
from tests.problems import finite_problems

WEIGHTS = np.array([1.0, 2.0])
LOGITS = [0.3, -0.7]


def bernoulli(g, name="h", n=2):
    """A site of n switches with logits t."""
    return g.sample(name, scg.Bernoulli(logits=g.param("t", (n,))))


def separable(g):
    g.cost("c", ((bernoulli(g) - 0.45) ** 2 * WEIGHTS).sum())
    return {"c": "by element"}


def one_separable_and_one_coupled(g):
    h = bernoulli(g)
    g.cost("c", (h - 0.45) ** 2)
    g.cost("d", (h.sum() - 0.7) ** 3)
    return {"c": "by element", "d": "whole: the sum mixes the elements of h"}


def partly_separable(g):
    h = bernoulli(g)
    g.cost("c", 3.0 - ((h - 0.45) ** 2 * WEIGHTS).sum() + 0.5 * (h.sum() - 0.7) ** 2)
    return {"c": "whole: the sum mixes the elements of h"}


def matrix_product(g):
    g.cost("c", ((bernoulli(g) @ np.array([[1.0, 0.3], [-0.7, 0.2]]) - 0.45) ** 2).sum())
    return {"c": "whole: the matrix product mixes the elements of h"}


def linear_in_a_matrix_product(g):
    h = bernoulli(g)
    g.cost("c", (h @ g.param("W", (2, 2))).sum() + h.mean())
    return {"c": "by element"}


def two_layers(g):
    h = bernoulli(g)
    k = g.sample("k", scg.Bernoulli(logits=1.3 * h - g.params["t"]))
    g.cost("c", (k - 0.45) ** 2 @ WEIGHTS)
    return {"c": "by element"}


def joined_by_a_later_layer(g):
    h = bernoulli(g)
    k = g.sample("k", scg.Bernoulli(logits=h @ np.array([[1.0, 0.4], [-0.3, 0.8]])))
    g.cost("c", ((k - 0.45) ** 2).sum())
    return {"c": "whole: the matrix product mixes the elements of h"}


def one_hot(g):
    h = g.sample("h", scg.OneHotCategorical(logits=g.param("t", (2, 3))))
    g.cost("c", ((h @ np.array([1.0, 0.3, 2.0]) - 0.45) ** 2).sum() + (h * np.arange(6.0).reshape(2, 3)).sum())
    return {"c": "by element"}


def categorical_by_a_table(g):
    k = g.sample("h", scg.Categorical(logits=g.param("t", (2, 3))))
    g.cost("c", (g.param("table", (3,))[k] * WEIGHTS).sum())
    return {"c": "by element"}


def draws_one_after_another(g):
    h = bernoulli(g)
    g.cost("c", sum((h[i] - 0.45) ** 2 * (i + 1.0) for i in range(2)))
    return {"c": "by element"}


def neighbours(g):
    h = bernoulli(g, n=3)
    g.cost("c", (h[1:] * h[:-1] @ WEIGHTS) + (h[::-1] - 0.3) ** 2 @ np.array([1.0, 2.0, 4.0]))
    return {"c": "by element"}


def along_one_dimension(g):
    h = g.sample("h", scg.Bernoulli(logits=g.param("t", (2, 2))))
    g.cost("c", ((h.sum(axis=0) - 0.45) ** 2).sum())
    g.cost("d", (h.T.reshape(4) - 0.2) ** 2 @ np.arange(1.0, 5.0))
    return {"c": "by element along dimension 1: the sum mixes the elements of h", "d": "by element"}


def shared_by_rows(g):
    x = g.data("x", (2,))
    g.cost("c", ((bernoulli(g) - x) ** 2).sum() * x.sum())
    return {"c": "by element"}


def drawn_in_each_row(g):
    x = g.data("x", (2,))
    h = g.sample("h", scg.Bernoulli(logits=g.param("t", (2,)) * x))
    g.cost("c", ((h - x) ** 2).sum() + h[0])
    return {"c": "by element"}


def stepwise(g):
    t = g.param("t", (2,))

    def step(z, _):
        h = g.sample("h", scg.Bernoulli(logits=t + 0.5 * z))
        return 0.5 * z + h, (((0.5 * z + h - 0.3) ** 2).sum() - 2.0, h @ np.ones(2))

    last, (ys, both) = g.scan(step, np.zeros(2), length=2)
    g.cost("c", ys * np.array([1.0, 0.5]))
    g.cost("d", both[1] ** 2)
    g.cost("last", (last - 0.2) ** 2)
    return {"c": "by step and element", "d": "whole: the result of a scan mixes the elements of h",
            "last": "by element"}


def mixed_by_the_carry(g):
    t = g.param("t", (2,))

    def step(z, _):
        h = g.sample("h", scg.Bernoulli(logits=t + 0.5 * z))
        return z[::-1] + h, ((h + z - 0.3) ** 2).sum()

    g.cost("c", g.scan(step, np.zeros(2), length=3)[1].sum())
    return {"c": "by step: the result of a scan mixes the elements of h"}


def costs_in_a_later_loop(g):
    h = bernoulli(g)
    g.cost("c", g.scan(lambda z, x: (z * x, ((h - z) ** 2).sum() + x), 0.4, np.array([1.0, 0.5]))[1])
    return {"c": "by element"}


def multiplied_by_zero(g):
    g.cost("c", (bernoulli(g) * np.zeros(2)).sum() + (g.params["t"] ** 2).sum())
    return {}


PROBLEMS = [separable, one_separable_and_one_coupled, partly_separable, matrix_product, linear_in_a_matrix_product,
            two_layers, joined_by_a_later_layer, one_hot, categorical_by_a_table, draws_one_after_another, neighbours,
            along_one_dimension, shared_by_rows, drawn_in_each_row, stepwise, mixed_by_the_carry,
            costs_in_a_later_loop, multiplied_by_zero]
ALWAYS = [scg.ScoreFunction(), scg.LocalExpectation(), scg.MuProp()]
OF_ALL = [separable, one_separable_and_one_coupled, two_layers, one_hot, along_one_dimension, stepwise]


@cache
def declared(build):
    """A graph, values for it, and how its costs are credited to h."""
    g = scg.Graph(build.__name__)
    words = build(g)
    rng = np.random.default_rng(3)
    values = {name: np.resize(LOGITS, x.shape) + 0.1 * rng.normal(size=x.shape) for name, x in g.params.items()}
    values |= {name: np.array([[1.0, 2.0], [0.4, -1.0]]) for name in g.rows}
    return g, values, words


@cache
def problem(build):
    """A graph, values for it, its exact gradient, and how its costs are credited to h."""
    g, values, words = declared(build)
    return g, values, integrate(g, values), words


def by_elements(estimator):
    """The estimator, with credit by elements."""
    return replace(estimator, credit="elements")


def weighing():
    """The unbiased estimators that weigh draws."""
    return [e for e in unbiased_estimators() if not (e.passes_gradient or e.always or e.scope == "graph" or e.joint)
            and not isinstance(e, (scg.REBAR, scg.LAX))]  # tried below: these need slopes, and a path


def check(build, strategy, form="log", by=expected_gradient):
    g, values, exact, _ = problem(build)
    d = derive(g, strategy, form=form)
    starting = brought(d.draft.params)
    found = by(d, {**starting, **values})
    check_expectation(found, exact, f"under {strategy}", tolerance=1e-12, aside=tuple(d.auxiliary))


REFUSED = {(categorical_by_a_table, "MuProp"): "which jumps there"}


def refused(build, estimator):
    """Whether the site's family, or what is downstream, has not what the estimator needs."""
    return (build, type(estimator).__name__) in REFUSED or not capable(estimator, declared(build)[0])


@cache
def cases():
    found = []
    for build in PROBLEMS:
        for estimator in weighing() if build in OF_ALL else ALWAYS:
            small = build is not stepwise or "fresh" not in str(estimator)  # else its noise falls into too many pieces
            if small and not refused(build, estimator):
                found.append(pytest.param(build, by_elements(estimator), id=f"{build.__name__}-{estimator}"))
    return found


@pytest.mark.parametrize("build, kind", REFUSED)
def test_what_is_not_tried_is_refused(build, kind):
    for estimator in weighing():
        if type(estimator).__name__ == kind:
            with pytest.raises(scg.SCGError, match=REFUSED[build, kind]):
                derive(declared(build)[0], estimator)


# --- the exact law ---------------------------------------------------------------------------------------------------
@pytest.mark.half
@pytest.mark.parametrize("build, estimator", cases())
def test_every_unbiased_estimator(build, estimator):
    check(build, estimator)


def test_every_estimator_that_weighs_draws_is_tried():
    tried = {type(case.values[1]).__name__ for case in cases()}
    assert tried == {type(e).__name__ for e in weighing()}
    assert {"ARM", "DisARM", "LocalExpectation", "MuProp", "ScoreFunction", "WeakDerivative"} <= tried


@pytest.mark.parametrize("build", [one_separable_and_one_coupled, stepwise])
def test_in_ratio_form(build):
    check(build, scg.ScoreFunction(scg.LeaveOneOut(), credit="elements"), form="ratio")


@pytest.mark.parametrize("name", finite_problems())
def test_on_every_finite_problem(name):
    p, exact = shipped_problem(name)
    d = derive(p.graph, scg.ScoreFunction(credit="elements"))
    check_expectation(expected_gradient(d, p.values), exact, "by elements", tolerance=1e-12)


@pytest.mark.parametrize("estimator", [e for e in unbiased_estimators() if e.joint], ids=str)
def test_worlds_of_all_draws_tell_apart_what_every_cost_does(estimator):
    """A cost that joins draws would be weighed by either's: by elements it is refused, aligned it is right."""
    with pytest.raises(scg.EstimatorError, match="a cost that joins both"):
        by_elements(estimator)
    for build in (along_one_dimension, one_separable_and_one_coupled):
        check(build, estimator)


def test_relaxed_samples():
    check(separable, scg.REBAR(credit="elements"))


@pytest.mark.parametrize("credit", ["elements", "aligned"])
def test_draws_along_paths(credit):
    """LAX: E Σ wᵢ xᵢ² + (Σ x)² of normal draws has the gradient 2 wᵢ mᵢ + 2 Σ m."""
    g = scg.Graph("paths")
    m = g.param("m", 3)
    x = g.sample("x", scg.Normal(m, 1.0))
    g.cost("apart", (np.array([1.0, 2.0, -1.0]) * x**2).sum())
    g.cost("joined", x.sum() ** 2)
    f = scg.compile(g, strategy=scg.LAX(credit=credit), backend="numpy")
    means = np.array([0.3, -0.2, 0.5])
    r = f({**f.init(0), "m": means}, samples=20_000, rng=0)
    exact = 2.0 * np.array([1.0, 2.0, -1.0]) * means + 2.0 * means.sum()
    assert np.all(np.abs(r.grad["m"] - exact) <= 5.0 * r.stderr["m"])


def test_two_sites_together_have_signals_of_their_own():
    g = scg.Graph("together")
    t = g.param("t", (2,))
    a, b = g.sample("a", scg.Bernoulli(logits=t)), g.sample("b", scg.Bernoulli(logits=t.sum()))
    g.cost("c", ((a - 0.45) ** 2 * WEIGHTS).sum() + b * a[0])
    values = {"t": LOGITS}
    for estimator in (scg.ARM(credit="elements"), scg.DisARM(credit="elements")):
        found = expected_gradient(derive(g, {("a", "b"): estimator}), values)
        check_expectation(found, integrate(g, values), f"under {estimator}", tolerance=1e-12)


def test_an_estimator_of_one_s_own_is_written_once(registry):
    @dataclass(frozen=True)
    class Replayed(scg.Estimator):
        """+ log p · ⊥Q, from a replay."""

        requires = ("log_prob",)

        def rewrite(self, site):
            q = scg.stop_gradient(site.replay(lambda dist, x: x) - 0.3)
            return site.draft.with_term(site.name, (site.per_signal(site.log_prob) * q).sum())

    for build in (along_one_dimension, stepwise):
        check(build, Replayed(credit="elements"))


@pytest.mark.by_python
def test_in_kernels():
    check(stepwise, scg.ScoreFunction(scg.LeaveOneOut(), credit="elements"), by=expected_by_kernel)


def test_the_law_sees_a_wrong_credit(monkeypatch):
    wrong = Shares((Share(0, (0,), None),))
    monkeypatch.setattr(parts, "shares", lambda found, shape, bits, dims=None, alone=False: wrong)
    check(separable, scg.ScoreFunction(credit="elements"))
    with pytest.raises(AssertionError, match="is off by"):
        check(matrix_product, scg.ScoreFunction(credit="elements"))


def test_what_is_wrongly_taken_for_linear_is_found_by_its_slopes(monkeypatch):
    monkeypatch.setattr(parts, "affine", lambda node, places: True)
    g = problem(matrix_product)[0]
    assert g.surrogate(scg.ScoreFunction(credit="elements")).incidence.credit["h"]["c"].startswith("whole")


# --- what is told apart ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("build", PROBLEMS)
def test_what_is_told_apart(build):
    g, _, _, words = problem(build)
    found = g.surrogate(scg.ScoreFunction(credit="elements")).incidence
    assert found.credit["h"] == words
    assert all(f"{name} ({how})" in str(found) for name, how in words.items())


def test_more_elements_than_are_told_apart_are_weighed_together(monkeypatch):
    monkeypatch.setattr(credit, "MOST_TOLD_APART", 8)
    found = problem(neighbours)[0].surrogate(scg.ScoreFunction(credit="elements")).incidence
    assert found.credit["h"] == {"c": "whole: its elements are too many to be told apart"}
    check(neighbours, scg.ScoreFunction(credit="elements"))
    assert problem(separable)[0].surrogate(scg.ScoreFunction(credit="elements")).incidence.credit["h"] == {
        "c": "by element"}  # in order: nothing is listed


def test_in_print():
    s = problem(separable)[0].surrogate(scg.ScoreFunction(credit="elements"))
    assert r"\log p(h_{i} \mid t)\,\bot\left(\hat{Q}_{h_{i}}\right)" in s.latex()
    t, h = (s.symbols[name] for name in "th")
    p = 1 / (1 + sympy.exp(-t[1]))
    assert sympy.simplify(s.estimator("t")(1) - 2 * (h[1] - sympy.Rational(9, 20)) ** 2 * (h[1] - p)) == 0


def test_by_steps_draws_are_weighed_together():
    by_steps = scg.ScoreFunction(credit="steps")
    assert problem(separable)[0].surrogate(by_steps).incidence.credit["h"] == {"c": "whole"}
    loop = shipped_problem("scan_3_steps")[0].graph
    assert set(loop.surrogate(by_steps).incidence.credit["h"].values()) == {"by step", "whole"}


def test_a_world_for_each_draw_is_needed_only_where_draws_are_joined():
    """Replays of separable costs replace all draws at once."""
    def worlds(build):
        d = derive(problem(build)[0], scg.LocalExpectation(credit="elements"))
        return {ax.name for n in parts.topological(d.roots()) for ax in n.axes if not ax.statistical}

    assert worlds(separable) == {"h value"}
    assert worlds(matrix_product) == {"h value", "h element"}
    assert worlds(along_one_dimension) == {"h value", "h element 0"}


# --- what it is for --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["steps", "elements"])
def test_the_variance_falls_to_that_of_single_draws(kind):
    """Of n switches with costs cᵢ(hᵢ): E[(hᵢ − pᵢ)² Q²] − (pᵢ(1 − pᵢ)(cᵢ(1) − cᵢ(0)))², with Q = cᵢ, or their sum."""
    n, t = 3, np.array([0.3, -0.7, 1.1])
    offset, weight, p = np.array([0.45, 0.1, 0.8]), np.array([1.0, 2.0, 0.5]), 1.0 / (1.0 + np.exp(-t))
    g = scg.Graph("switches")
    h = g.sample("h", scg.Bernoulli(logits=g.param("t", (n,))))
    g.cost("c", ((h - offset) ** 2 * weight).sum())
    second = np.zeros(n)
    for x in map(np.array, itertools.product([0.0, 1.0], repeat=n)):
        own = (x - offset) ** 2 * weight
        q = own if kind == "elements" else own.sum()
        second += np.prod(np.where(x > 0, p, 1 - p)) * ((x - p) * q) ** 2
    slope = p * (1 - p) * weight * ((1 - offset) ** 2 - offset**2)
    f = scg.compile(g, strategy=scg.ScoreFunction(credit=kind), backend="numpy")
    r = f({"t": t}, samples=200_000, rng=0)
    np.testing.assert_allclose(r.stderr["t"] ** 2 * r.samples, second - slope**2, rtol=0.02)


# --- baselines -------------------------------------------------------------------------------------------------------
def test_what_other_draws_give_is_a_baseline_and_what_its_own_gives_is_not():
    g = problem(separable)[0]
    h = next(n for n in parts.topological([g.costs["c"]]) if n.op.name == "sample")
    check(separable, scg.ScoreFunction(scg.Expression(np.exp(h[::-1])), credit="elements"))
    for own in (h, h.sum(), h[0]):
        with pytest.raises(scg.BaselineError, match="depends on the site's own sample"):
            derive(g, scg.ScoreFunction(scg.Expression(own), credit="elements"))
    with pytest.raises(scg.BaselineError, match="Its shape is"):
        derive(g, scg.ScoreFunction(scg.Expression(scg.concatenate([h, h]))))


def test_baselines_of_a_step():
    """One number a step, and one for each draw of a step: of the carry, which the draw does not reach."""
    g, kept = scg.Graph("steps"), {}
    t = g.param("t", (2,))
    g.param("w", (2,))

    def step(z, _):
        kept["z"] = z
        kept["h"] = h = g.sample("h", scg.Bernoulli(logits=t + 0.5 * z))
        return 0.5 * z + h, ((z + h - 0.3) ** 2).sum()

    g.cost("c", g.scan(step, np.zeros(2), length=2)[1])
    values = {"t": LOGITS, "w": [0.4, -0.3]}
    exact = integrate(g, {"t": LOGITS, "w": [0.4, -0.3]})
    for node in (kept["z"].sum() ** 2, kept["z"] ** 2, kept["h"][::-1] * 0.3):
        d = derive(g, scg.ScoreFunction(scg.Expression(node), credit="elements"))
        check_expectation(expected_gradient(d, values), exact, "with a baseline of the step", tolerance=1e-12)
    learned = derive(g, scg.ScoreFunction(scg.Learned(kept["z"] * g.params["w"]), credit="elements"))
    assert set(learned.auxiliary) == {"w"}
    found = expected_gradient(learned, values)
    check_expectation(found, exact, "with a learned baseline", tolerance=1e-12, aside=("w",))
    with pytest.raises(scg.BaselineError, match="of the same step"):
        derive(g, scg.ScoreFunction(scg.Expression(kept["h"] * 0.3), credit="elements"))


# --- what is refused -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("make, why", [
    (lambda: scg.ScoreFunction(credit="rows"), 'Use "steps", "aligned" or "elements"'),
    (lambda: scg.ScoreFunction(credit=True), 'Use "steps", "aligned" or "elements"'),
    (lambda: scg.Pathwise(credit="elements"), "weighs no draws"),
    (lambda: scg.Enumerate(credit="elements"), "weighs no draws"),
    (lambda: scg.SPSA(credit="elements"), "weighs no draws")])
def test_what_has_no_credit_to_give(make, why):
    with pytest.raises(scg.EstimatorError, match=why):
        make()
