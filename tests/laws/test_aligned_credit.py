"""Credit by default: where all costs of a site are sums of parts along an axis of it, each draw is weighed by its own.

An array of draws with separable costs is estimated as well as so many sites are; one whose draws some cost joins is
weighed as a whole, as it was declared. The exact law holds whatever is told apart.
"""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.analysis import credit
from scg.derive import derive
from tests.laws import test_credit as shown
from tests.laws.test_credit import bernoulli, check, problem

SUM, PRODUCT = "whole: the sum mixes the elements of h", "whole: the matrix product mixes the elements of h"
SCAN = "the result of a scan mixes the elements of h"
WORDS = {
    shown.separable: {"c": "by element"},
    shown.one_separable_and_one_coupled: {"c": 'whole: as the cost "d" is', "d": SUM},
    shown.partly_separable: {"c": SUM},
    shown.matrix_product: {"c": PRODUCT},
    shown.two_layers: {"c": "by element"},
    shown.joined_by_a_later_layer: {"c": PRODUCT},
    shown.one_hot: {"c": "by element"},
    shown.neighbours: {"c": "by element"},
    shown.along_one_dimension: {"c": "by element along dimension 1: the sum mixes the elements of h",
                                "d": 'by element along dimension 1: as the cost "c" is'},
    shown.drawn_in_each_row: {"c": "by element"},
    shown.stepwise: {"c": 'whole: as the cost "d" is', "d": f"whole: {SCAN}",
                     "last": 'whole: as the cost "d" is'},
    shown.mixed_by_the_carry: {"c": f"whole: {SCAN}"},
}
BASELINES = (None, scg.LeaveOneOut(), scg.MovingAverage())


@pytest.mark.parametrize("build", WORDS)
def test_what_is_aligned(build):
    assert problem(build)[0].surrogate(scg.ScoreFunction()).incidence.credit["h"] == WORDS[build]


@pytest.mark.parametrize("build", WORDS)
def test_the_exact_law(build):
    for baseline in BASELINES if build in shown.OF_ALL else BASELINES[:1]:
        check(build, scg.ScoreFunction(baseline))
    check(build, None)


def met_in_elements(g):
    """Each element is made of a draw of its own and of another, and takes the place of the former."""
    h = bernoulli(g)
    g.cost("c", (h - 0.3 * h[0]) ** 2 * np.array([0.5, -1.0]))


def met_along_one_dimension(g):
    h = g.sample("h", scg.Bernoulli(logits=g.param("t", (2, 2))))
    g.cost("c", np.tanh(h * h[0] - 0.3) * np.array([[1.0, 2.0], [-1.0, 0.5]]))


def met_twice(g):
    """All elements are made of the last draw; one cost of several has each draw in an element alone."""
    h = bernoulli(g, n=3)
    g.cost("c", (h[:2] - h[2]) ** 2 * np.array([0.5, -1.0]))
    g.cost("d", (h - 0.3) ** 2 * np.array([1.0, 2.0, 4.0]))


def met_in_steps(g):
    t = g.param("t", (2,))

    def step(z, _):
        h = g.sample("h", scg.Bernoulli(logits=t + 0.5 * z))
        return 0.5 * z + h, (h - 0.3 * h[0] + z) ** 2 * np.array([0.5, -1.0])

    g.cost("c", g.scan(step, np.zeros(2), length=2)[1])


JOINT = [e for e in shown.unbiased_estimators() if e.joint]
MET = [shown.neighbours, met_in_elements, met_along_one_dimension, met_twice, met_in_steps]


def test_joint_estimators_are_tried():
    assert {type(e).__name__ for e in JOINT} >= {"StochasticTriple", "SumAndSample", "WithoutReplacement"}


@pytest.mark.parametrize("strategy", JOINT, ids=repr)
@pytest.mark.parametrize("build", MET)
def test_what_is_replaced_at_once_is_told_apart_where_it_is_alone(build, strategy):
    if not shown.refused(build, strategy):
        check(build, strategy)


def test_why_they_are_not_told_apart():
    g = problem(met_along_one_dimension)[0]
    found = g.surrogate(scg.SumAndSample()).incidence.credit["h"]
    assert found == {"c": "by element along dimension 1: several draws of h are in an element of it, and replaced at "
                          "once"}
    assert problem(shown.separable)[0].surrogate(scg.SumAndSample()).incidence.credit["h"] == {"c": "by element"}


def test_what_is_joined_has_the_terms_that_it_had():
    for build in (shown.matrix_product, shown.one_separable_and_one_coupled, shown.partly_separable):
        default, by_steps = (derive(problem(build)[0], scg.ScoreFunction(scg.LeaveOneOut(), credit=how))
                             for how in ("aligned", "steps"))
        assert [t.node for t in default.draft.terms] == [t.node for t in by_steps.draft.terms]


def test_sites_of_too_many_draws_are_weighed_as_a_whole(monkeypatch):
    monkeypatch.setattr(credit, "MOST_BITS", 3)
    found = problem(shown.separable)[0].surrogate(scg.ScoreFunction()).incidence
    assert found.credit["h"] == {"c": "whole: its elements are too many to be told apart"}
    check(shown.separable, scg.ScoreFunction())


# --- an array of draws, and as many sites ----------------------------------------------------------------------------
def coordinates(n, way):
    """The costs of n switches, declared as an array or as sites, or joined by a square; and values."""
    g = scg.Graph(way)
    t = g.param("t", (n,))
    offsets = np.linspace(0.1, 0.8, n)
    if way == "sites":
        for i in range(n):
            g.cost(f"c{i}", (g.sample(f"h{i}", scg.Bernoulli(logits=t[i])) - offsets[i]) ** 2)
    else:
        apart = g.sample("h", scg.Bernoulli(logits=t)) - offsets
        g.cost("c", (apart**2).sum() if way == "array" else apart.sum() ** 2)
    return g, {"t": np.linspace(-1.0, 1.5, n)}


@pytest.mark.parametrize("baseline", [pytest.param(None, marks=pytest.mark.full), scg.LeaveOneOut(group=4)])
def test_an_array_of_draws_is_estimated_as_well_as_so_many_sites(baseline):
    variance = {}
    for way in ("array", "sites"):
        g, values = coordinates(100, way)
        f = scg.compile(g, strategy=scg.ScoreFunction(baseline), backend="numpy")
        r = f(values, samples=2048, rng=1)
        variance[way] = np.mean(r.stderr["t"] ** 2 * r.samples)
    assert abs(variance["array"] / variance["sites"] - 1.0) < 0.1


@pytest.mark.parametrize("baseline", [None, scg.LeaveOneOut(group=2)])
def test_their_variances_are_equal_as_formulas(baseline):
    found = []
    for way in ("array", "sites"):
        g, values = coordinates(2, way)
        found.append(g.surrogate(scg.ScoreFunction(baseline)).variance("t").evaluate(values))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_a_cost_that_mixes_the_axis_is_left_alone():
    g, values = coordinates(100, "mixed")
    grads = [scg.compile(g, strategy=scg.ScoreFunction(credit=how), backend="numpy")(values, samples=64, rng=0)
             for how in ("aligned", "steps")]
    np.testing.assert_array_equal(grads[0].grad["t"], grads[1].grad["t"])


# --- baselines of each draw ------------------------------------------------------------------------------------------
def test_a_number_is_a_baseline_of_the_costs_as_a_whole():
    g = problem(shown.separable)[0]
    for baseline in (scg.Constant(0.3), scg.Expression(g.params["t"].sum())):
        assert g.surrogate(scg.ScoreFunction(baseline)).incidence.credit["h"] == {"c": "whole"}
        check(shown.separable, scg.ScoreFunction(baseline))


def of_one_draw(g):
    """A site of which a cost joins the draws, and params of a baseline."""
    h = bernoulli(g, n=3)
    g.cost("c", (h.sum() - 0.45) ** 2)
    g.param("w", (3,))
    return h


def test_a_baseline_of_the_draws_shape_is_made_of_the_others():
    g = scg.Graph("others")
    h = of_one_draw(g)
    values = {"t": [0.3, -0.7, 1.1], "w": [0.4, -0.3, 0.2]}
    exact = shown.integrate(g, {**values})
    beside = h @ (np.ones((3, 3)) - np.eye(3))
    for baseline in (scg.Expression((beside - 0.45) ** 2), scg.Learned(beside * g.params["w"])):
        d = derive(g, scg.ScoreFunction(baseline))
        aside = ("w",) if isinstance(baseline, scg.Learned) else ()
        shown.check_expectation(shown.expected_gradient(d, values), exact, str(baseline), tolerance=1e-12, aside=aside)
    with pytest.raises(scg.BaselineError, match="own sample of the same element"):
        derive(g, scg.ScoreFunction(scg.Expression(beside + 0.1 * h)))


def test_what_is_made_of_the_other_draws_lowers_the_variance():
    g = scg.Graph("others")
    h = of_one_draw(g)
    beside = h @ (np.ones((3, 3)) - np.eye(3))
    best = scg.Expression((beside + 0.5 - 0.45) ** 2)
    values = {"t": [0.3, -0.7, 1.1], "w": np.zeros(3)}
    found = [scg.compile(g, strategy=scg.ScoreFunction(b), backend="numpy")(values, samples=2000, rng=0).stderr["t"]
             for b in (best, None)]
    assert np.all(found[0] < 0.5 * found[1])


# --- means along an axis ---------------------------------------------------------------------------------------------
def samples(k):
    """The mean of a cost over k draws of two switches, and values."""
    g = scg.Graph("samples")
    h = g.sample("h", scg.Bernoulli(logits=g.param("t", (2,))), shape=(k, 2))
    g.cost("c", ((h @ np.array([1.0, 2.0]) - 0.45) ** 2).mean())
    return g, {"t": np.array(shown.LOGITS)}


def test_a_mean_over_the_other_draws_of_an_axis():
    g, values = samples(3)
    for strategy in (scg.ScoreFunction(scg.LeaveOneOut(axis=0)), scg.ScoreFunction(scg.LeaveOneOut(axis=-2))):
        found = shown.expected_gradient(derive(g, strategy), values)
        shown.check_expectation(found, shown.integrate(g, values), "along an axis", tolerance=1e-12)
    assert g.surrogate(strategy).incidence.credit["h"] == {"c": "by element along dimension 0: the matrix product "
                                                                "mixes the elements of h"}


def test_its_variance_is_that_of_replicates_compared():
    """k draws of one replicate, compared, are k replicates of one draw, compared."""
    g, values = samples(2)
    one = samples(1)[0]
    along = g.surrogate(scg.ScoreFunction(scg.LeaveOneOut(axis=0))).variance("t").evaluate(values)
    beside = one.surrogate(scg.ScoreFunction(scg.LeaveOneOut(group=2))).variance("t").evaluate(values)
    np.testing.assert_allclose(along, beside, rtol=1e-12)


def test_in_a_loop():
    g = scg.Graph("loop")
    t = g.param("t")

    def step(z, _):
        h = g.sample("h", scg.Bernoulli(logits=t + 0.5 * z), shape=2)
        return 0.5 * z + h, (0.5 * z + h - 0.3) ** 2

    g.cost("c", g.scan(step, np.zeros(2), length=2)[1])
    values = {"t": 0.4}
    found = shown.expected_gradient(derive(g, scg.ScoreFunction(scg.LeaveOneOut(axis=0))), values)
    shown.check_expectation(found, shown.integrate(g, values), "in a loop", tolerance=1e-12)


def test_a_site_that_does_not_move_is_asked_for_no_axis():
    g = samples(2)[0]
    g.cost("d", g.sample("k", scg.Bernoulli(probs=0.4)) * g.params["t"].sum())
    s = g.surrogate(scg.ScoreFunction(scg.LeaveOneOut(axis=0)))
    assert s.incidence.credit["h"] and str(s)


@pytest.mark.parametrize("make, why", [
    (lambda: scg.LeaveOneOut(axis=0.5), "dimension of the site"), (lambda: scg.LeaveOneOut(2, axis=0), "not both"),
    (lambda: derive(samples(1)[0], scg.ScoreFunction(scg.LeaveOneOut(axis=0))), "no others along axis 0"),
    (lambda: derive(samples(2)[0], scg.ScoreFunction(scg.LeaveOneOut(axis=2))), "no others along axis 2"),
    (lambda: derive(problem(shown.matrix_product)[0], scg.ScoreFunction(scg.LeaveOneOut(axis=0))),
     'no costs of their own in "c": the matrix product mixes the elements')])
def test_what_has_no_others(make, why):
    with pytest.raises(scg.BaselineError, match=why):
        make()
