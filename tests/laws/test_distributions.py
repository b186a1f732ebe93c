"""Every registered family at each of its cases: samplers, densities, moments and capabilities hold each other up."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.distributions.distribution import FAMILIES as REGISTERED
from scg.distributions.distribution import _divergences
from scg.laws import families as law
from tests.laws.checks import parametric

FAMILIES = parametric(REGISTERED)
DIVERGENCES = [pair for pair in _divergences if set(pair) <= set(FAMILIES.values())]

# Beside a family's own cases: where its sampler changes its method, and where probabilities vanish.
EDGES = {
    "Poisson": [{"rate": 9.999}, {"rate": 10.0}, {"rate": 700.0}],
    "Gamma": [{"concentration": 0.05, "rate": 2.0}, {"concentration": 1.0, "rate": 0.5},
              {"concentration": 2000.0, "rate": 10.0}],
    "Bernoulli": [{"probs": 0.0}, {"probs": 1.0}, {"logits": 30.0}],
    "Categorical": [{"logits": [0.3]}, {"probs": [0.0, 0.4, 0.0, 0.6]}],
}  # fmt: skip
CASES = [pytest.param(family, case, id=f"{name}-{case}") for name, family in FAMILIES.items() for case in family.cases]
SAMPLED = CASES + [pytest.param(FAMILIES[name], case, id=f"{name}-{case}") for name, cases in EDGES.items()
                   for case in cases]
every_case = pytest.mark.parametrize("family, case", CASES)
every_case_and_edge = pytest.mark.parametrize("family, case", SAMPLED)


def having(capability: str):
    """Cases of the families that have a capability."""
    return pytest.mark.parametrize("family, case", [p for p in CASES if p.values[0].can(capability)])


def test_every_family_has_cases():
    for family in FAMILIES.values():
        tried = {name for case in family.cases for name in case}
        assert tried == set(family.parameters), f"{family.__name__} is not tried at {set(family.parameters) - tried}"


@pytest.mark.one_in(3)
@every_case_and_edge
def test_log_prob_is_normalised(family, case):
    law.check_normalised(family, case)


@pytest.mark.one_in(3)
@every_case_and_edge
def test_moments_and_entropy(family, case):
    law.check_moments(family, case)


@pytest.mark.one_in(3)
@every_case
def test_score(family, case):
    law.check_score(family, case)


@pytest.mark.one_in(3)
@every_case_and_edge
def test_sampler(family, case):
    law.check_sampler(family, case)


@pytest.mark.one_in(3)
@every_case_and_edge
def test_sampler_on_antithetic_noise(family, case):
    law.check_sampler(family, case, flipped=True)


@pytest.mark.one_in(3)
@having("reparameterise")
def test_reparameterisation_has_the_same_law(family, case):
    law.check_sampler(family, case, "reparameterise")


@pytest.mark.parametrize("family, case", [
    pytest.param(*p.values, id=p.id, marks=[] if p.values[0] in (scg.Normal, scg.Uniform) else pytest.mark.full)
    for p in CASES if p.values[0].can("reparameterise")])
def test_the_derivative_of_the_path(family, case):
    law.check_path(family, case)


@pytest.mark.one_in(3)
@having("quadrature")
def test_quadrature(family, case):
    law.check_quadrature(family, case)


@pytest.mark.one_in(3)
@having("breaks")
def test_breaks(family, case):
    law.check_breaks(family, case)


def of_weak_derivatives():
    """Every case, with draws that share their noise and with such that do not.

    Where a draw takes a search in a table of integrals, all but the first are for `--full`.
    """
    for p in CASES:
        family, case = p.values
        searched = family.__name__ in ("Beta", "Dirichlet")
        for coupled in (True, False) if family.can("weak_derivative") else ():
            marks = [pytest.mark.full] if searched and not (coupled and case is family.cases[0]) else []
            yield pytest.param(family, case, coupled, marks=marks,
                               id=f"{'coupled' if coupled else 'independent'}-{p.id}")


@pytest.mark.one_in(3)
@pytest.mark.parametrize("family, case, coupled", list(of_weak_derivatives()))
def test_weak_derivative(family, case, coupled):
    law.check_weak_derivative(family, case, coupled)


def test_finite_support_goes_with_breaks():
    for family in FAMILIES.values():
        finite = family(**family.cases[0]).support_values() is not None
        assert finite == family.can("breaks") and (not finite or family.support.integral)


# --- divergences -----------------------------------------------------------------------------------------------------
def divergence_cases():
    for p, q in DIVERGENCES:
        for a in p.cases:
            for b in q.cases:
                if _size(a) == _size(b):
                    yield pytest.param(p, a, q, b, id=f"{p.__name__}{a}-{q.__name__}{b}")


def _size(case):
    return [np.shape(v) for v in case.values() if np.ndim(v)]


@pytest.mark.one_in(3)
@pytest.mark.parametrize("p, a, q, b", list(divergence_cases()))
def test_divergence(p, a, q, b):
    formula = float(law.compute([scg.kl_divergence(p(**a), q(**b))])[0][0])
    law.check_divergence(law.law_of(p, a), q, b, formula)


def test_every_divergence_is_tried():
    assert {(c.values[0], c.values[2]) for c in divergence_cases()} == set(DIVERGENCES)


# --- parameters ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("family", [f for f in FAMILIES.values() if {"logits", "probs"} <= set(f.parameters)])
def test_logits_and_probs_are_two_ways_to_say_the_same(family):
    for case in (c for c in family.cases if "logits" in c):
        by_logits = family(**case)
        if np.ndim(case["logits"]):
            probs = np.exp(law.compute([by_logits.log_prob(by_logits.support_values())])[0][0])
        else:
            probs = np.exp(law.compute([by_logits.log_prob(1.0)])[0][0])
        by_probs = family(probs=probs)
        x = by_logits.support_values()
        for quantity in (lambda d: d.log_prob(x), lambda d: d.mean, lambda d: d.entropy(), lambda d: d.breaks()):
            a, b = law.compute([quantity(by_logits), quantity(by_probs)])
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda f: f.__name__)
def test_parameters_that_do_not_determine_it_are_refused(family):
    for given in ({}, {"nonsense": 1.0}, {**dict.fromkeys(family.parameters, 0.5), "more": 1.0}):
        with pytest.raises(scg.DeclarationError, match=r"test_distributions\.py"):
            family(**given)


TRIED = [
    np.array([-2.0, -1e-3, 0.0, 0.3, 1.0, 1.5]), np.array([[0.2, 0.8], [0.5, 0.6], [1.2, -0.2], [0.0, 1.0]]),
    np.array([[[1.0, 0.0], [0.5, 2.0]], [[1.0, 1e-300], [0.5, 2.0]], [[0.0, 0.0], [0.5, 2.0]],
              [[1.0, 0.0], [0.5, -2.0]], [[0.3, 0.0], [0.0, 0.1]]])]  # by the dimensions of one value


@pytest.mark.parametrize("constraint", {id(c): c for f in FAMILIES.values() for c in f.parameters.values()}.values(),
                         ids=lambda c: c.text)
def test_constraints_say_the_same_of_numbers_and_of_nodes(constraint):
    from scg.ops.leaves import feed

    for value in TRIED[constraint.event_ndim]:
        valid = bool(np.all(constraint.test(np.asarray(value))))
        if constraint.node is None:
            assert valid, "a constraint without a node must hold for all real numbers"
        else:
            node = constraint.node(feed("p", np.shape(value), ()))
            assert bool(np.all(law.compute([node], p=np.asarray(value))[0])) == valid


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda f: f.__name__)
def test_constants_outside_the_constraint_are_refused(family):
    for name, constraint in family.parameters.items():
        case = next(c for c in family.cases if name in c)
        for value in (-1.0, 2.0, np.nan):
            bad = np.full(np.shape(case[name]), value)
            if not np.all(constraint.test(bad)):
                with pytest.raises(scg.DeclarationError, match=constraint.text.split()[0]):
                    family(**{**case, name: bad})


@pytest.mark.parametrize("concentration, cost, slope", [(1e3, 31.6188240018159, 0.0158133643534141),
                                                        (1e5, 316.227370732377, 0.00158114080)])
def test_quadrature_of_a_large_concentration(concentration, cost, slope):
    """E √x = Γ(a + ½) / Γ(a), by mpmath; the polynomials of the rule overflow there, the rule must not."""
    g = scg.Graph()
    g.cost("c", np.sqrt(g.sample("x", scg.Gamma(concentration=g.param("a"), rate=1.0))))
    found = scg.exact(g, {"a": concentration})
    assert found.cost == pytest.approx(cost, rel=1e-12) and found.grad["a"] == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("widen, value, slope", [(scg.exp, np.exp(0.3), np.exp(0.3)),
                                                 (scg.softplus, np.log1p(np.exp(0.3)), 1.0 / (1.0 + np.exp(-0.3)))])
def test_the_divergence_of_uniforms_moves_with_the_widths(widen, value, slope):
    """log((high − low of q) / (high − low of p)) where p lies inside; a call where it does not is refused."""
    g = scg.Graph("uniforms")
    width = widen(g.param("a"))
    g.cost("kl", scg.kl_divergence(scg.Uniform(low=0.0, high=width), scg.Uniform(low=-1.0, high=5.0)))
    f = scg.compile(g, backend="numpy")
    r = f({"a": 0.3})
    assert np.isclose(r.cost, np.log(6.0 / value)) and np.isclose(r.grad["a"], -slope / value) and f.verdict.unbiased
    with pytest.raises(scg.NonFiniteError):
        f({"a": 6.0})


OF_SIZE = {
    "Categorical": lambda n: scg.Categorical(logits=np.zeros(n)),
    "Dirichlet": lambda n: scg.Dirichlet(np.ones(n)),
    "MultivariateNormal": lambda n: scg.MultivariateNormal(np.zeros(n), scale_tril=np.eye(n)),
    "OneHotCategorical": lambda n: scg.OneHotCategorical(probs=np.ones(n))}


@pytest.mark.parametrize("sizes", [(3, 1), (1, 3), (2, 3)])
@pytest.mark.parametrize("p, q", [(p, q) for p, q in DIVERGENCES if any(
    c.event_ndim for f in (p, q) for c in f.parameters.values())])
def test_divergences_of_different_spaces_are_refused(p, q, sizes):
    with pytest.raises(scg.ShapeError, match="different spaces"):
        scg.kl_divergence(OF_SIZE[p.__name__](sizes[0]), OF_SIZE[q.__name__](sizes[1]))
