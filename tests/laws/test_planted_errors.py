"""Every law fails on a planted error: what cannot fail proves nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings

import scg
from scg.baselines import BASELINES
from scg.baselines.baseline import Baseline
from scg.derive import derive
from scg.distributions.distribution import FAMILIES
from scg.distributions.triple import Triple
from scg.estimators import ESTIMATORS
from scg.ir.node import FUNCTIONS, apply, constant, make
from scg.ir.op import OPS, Smoothness
from scg.laws import families
from scg.laws.derivatives import LANE, check_derivatives, leaf, sizes_of, weighted
from scg.ops.arithmetic import add_op, mul_op, neg_op, sub_op
from scg.ops.contract import contract_op
from scg.ops.control import stop_gradient
from scg.ops.leaves import state
from scg.ops.measure import axis_sum_op, expect, expect_op, leave_one_out
from scg.ops.randomness import uniform
from scg.rules.algebra import RULES, Rule
from scg.surrogate.draft import StateUpdate
from tests.laws.checks.exact_law import check_exact_law
from tests.laws.checks.machines import declare
from tests.laws.checks.ops import check_elementwise
from tests.laws.checks.random_graphs import recipes
from tests.laws.checks.rules import check_rule
from tests.laws.checks.sampling import SAMPLES, SEED, sampled, within
from tests.problems import PROBLEMS

fails = pytest.raises(AssertionError)


@pytest.fixture(autouse=True)
def registries():
    """What a test defines is unregistered after it."""
    before = [(registry, dict(registry)) for registry in (ESTIMATORS, BASELINES, FAMILIES, OPS)]
    yield
    for registry, entries in before:
        registry.clear()
        registry.update(entries)


def law(name: str, strategy) -> None:
    """The exact law on a problem."""
    p = PROBLEMS[name]()
    check_exact_law(p.graph, p.values, strategy)


# --- estimators ------------------------------------------------------------------------------------------------------
def wrong_score_function(term):
    """A score function with another term, defined on the spot."""

    @dataclass(frozen=True)
    class Wrong(scg.ScoreFunction):
        """Not the score function."""

        def rewrite(self, site):
            return site.draft.with_term(site.name, FUNCTIONS["sum"](term(site)))

    return Wrong()


def at_other_parameters(dist):
    """The same family, its parameters off by one in a thousand."""
    return type(dist)._at({name: 1.001 * node for name, node in dist.params.items()})


WRONG_TERMS = {
    "log p at the wrong parameter":
        lambda s: s.of(lambda d, x: at_other_parameters(d).log_prob(x)) * stop_gradient(s.cost),
    "log p of the wrong value": lambda s: s.of(lambda d, x: d.log_prob(1.0 - x)) * stop_gradient(s.cost),
    "the sign": lambda s: -s.score * stop_gradient(s.cost),
    "the signal is not stopped": lambda s: s.score * s.cost,
    "one cost is missing": lambda s: s.score * stop_gradient(next(iter(s.influenced.values()))),
    "p in place of log p": lambda s: apply("exp", s.score) * stop_gradient(s.cost),
    "half of the draws": lambda s: s.of(lambda d, x: d.log_prob(x))[:1] * stop_gradient(s.cost),
}


@pytest.mark.parametrize("error", WRONG_TERMS)
def test_wrong_scores(error):
    name = "chain" if "cost" in error or "signal" in error else "two_layer_net"
    wrong = wrong_score_function(WRONG_TERMS[error])
    site = "y" if name == "chain" else "h1"
    site = "x" if "missing" in error else site
    law(name, {site: scg.ScoreFunction()})
    with fails:
        law(name, {site: wrong})


def test_a_doubled_path():
    """A term that is added twice, in a graph and in a scan."""

    @dataclass(frozen=True)
    class Twice(scg.ScoreFunction):
        """Adds its term twice."""

        def rewrite(self, site):
            draft = super().rewrite(site)
            return draft.with_term(site.name, draft.terms[-1].node)

    for name in ("bernoulli_toy", "scan_3_steps"):
        with fails:
            law(name, Twice())


@pytest.mark.parametrize("error", ["one cost is missing", "the signal is not stopped", "log p at the wrong parameter"])
def test_wrong_scores_on_random_graphs(error):
    """Random graphs find them without being told where to look."""
    wrong = wrong_score_function(WRONG_TERMS[error])

    @settings(max_examples=60, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
              report_multiple_bugs=False)
    @given(recipes())
    def every_graph(recipe):
        graph = declare(recipe)
        assume(derive(graph, scg.ScoreFunction()).draft.terms)
        check_exact_law(graph, recipe.values, wrong)

    with fails:
        every_graph()


def test_a_path_that_is_covered_twice():
    """Pathwise and the score function at one site: only sampling can show it."""

    @dataclass(frozen=True)
    class Both(scg.Pathwise):
        """The path derivative, and the score function beside it."""

        def rewrite(self, site):
            term = FUNCTIONS["sum"](site.score * stop_gradient(site.cost))
            draft = site.replaced(lambda dist, x, noise: dist.reparameterise(noise))
            return draft.with_term(site.name, term)

    p = PROBLEMS["normal_quadratic_below"]()
    r = scg.compile(p.graph, strategy=Both(), backend="numpy")(p.values, samples=SAMPLES, rng=SEED)
    with fails:
        within(r.grad["mu"], r.stderr["mu"], p.grad["mu"], "mu")


def test_replays_that_are_not_conditional():
    """A weak derivative without its coefficient, and local expectations with the wrong probabilities."""

    @dataclass(frozen=True)
    class NoCoefficient(scg.WeakDerivative):
        """Forgets half of the difference."""

        def rewrite(self, site):
            (triple,) = site.dist.weak_derivative()
            plus = site.each(lambda dist, x, noise: 1.0, "plus")
            term = FUNCTIONS["sum"](triple.eta * stop_gradient(plus - 0.999 * site.cost))
            return site.draft.with_term(site.name, term)

    @dataclass(frozen=True)
    class WrongWeights(scg.LocalExpectation):
        """p(v) of the other value."""

        def rewrite(self, site):
            term = constant(0.0)
            for v in (0.0, 1.0):
                q = site.each(lambda dist, x, noise, v=v: constant(v), f"support {v}")
                p = apply("exp", site.of(lambda dist, x, v=v: dist.log_prob(1.0 - v)))
                term = term + FUNCTIONS["sum"](p * stop_gradient(q))
            return site.draft.with_term(site.name, term)

    for wrong in (NoCoefficient(), WrongWeights()):
        with fails:
            law("two_layer_net", {"h1": wrong})


def test_muprop_without_its_correction():
    @dataclass(frozen=True)
    class Uncorrected(scg.MuProp):
        """Subtracts the expansion and does not add its mean back."""

        def rewrite(self, site):
            q, centre, slope = site.mean_field_pass(self.rollout)
            signal = stop_gradient(site.cost - q - site.per_signal(slope * (site.value - centre)))
            return site.draft.with_term(site.name, FUNCTIONS["sum"](site.score * signal))

    with fails:
        law("bernoulli_toy", Uncorrected())


# --- baselines -------------------------------------------------------------------------------------------------------
def dependent(value, checked: bool):
    """A baseline of that value, under the check or round it."""

    class Planted(Baseline):
        def value(self, site, signal):
            return value(site, signal)

    class Unchecked(Planted):
        def checked(self, site, signal):
            return self.value(site, signal)

    return scg.ScoreFunction(Planted() if checked else Unchecked())


def update_then_read(site, signal, mean):
    """The published error: the average takes in this call's cost before it is read."""
    name = f"{site.name} wrong average"
    old = state(site.node.owner, name, signal.shape)
    new = 0.9 * old + 0.1 * mean
    return new, (StateUpdate(name, old, 0.0, 0.9 * old + 0.1 * expect(signal)),)


DEPENDENT = {
    "its own cost": lambda site, signal: (0.5 * signal, ()),
    "its own value": lambda site, signal: (FUNCTIONS["sum"](site.value), ()),
    "a group's mean with its own cost": lambda site, signal: (0.5 * (signal + leave_one_out(signal, None)), ()),
    "an average that is updated before it is read": lambda site, signal: update_then_read(site, signal, signal),
}


@pytest.mark.parametrize("error", DEPENDENT)
def test_dependent_baselines(error):
    """The check refuses them, by name of the path; with the check out of the way, the exact law does."""

    for name in ("bernoulli_toy", "chain"):
        with pytest.raises(scg.BaselineError, match="own sample"):
            derive(PROBLEMS[name]().graph, dependent(DEPENDENT[error], checked=True))
        with fails:
            law(name, dependent(DEPENDENT[error], checked=False))


def test_an_average_over_the_call_is_not_taken_for_its_expectation():
    """Over weighted lanes the mean of this call's costs is a constant, and would look harmless: no exact law then."""

    def value(site, signal):
        return update_then_read(site, signal, expect(signal))

    p = PROBLEMS["bernoulli_toy"]()
    with pytest.raises(scg.BaselineError, match="own sample"):
        derive(p.graph, dependent(value, checked=True))
    with pytest.raises(scg.ExactError, match="averages over the replicates"):
        law("bernoulli_toy", dependent(value, checked=False))


# --- ops -------------------------------------------------------------------------------------------------------------
def differentiable(op) -> bool:
    """Whether a derivative flows to some argument by its record; through what rests, reverse mode passes it."""
    return op.derivative is not None and not op.rests and any(
        op.smooth_in(i) in (Smoothness.SMOOTH, Smoothness.CONTINUOUS) for i in range(op.arity)) and op.result == "real"


ELEMENTWISE = [op for op in OPS.values() if op.kind == "elementwise"]


@pytest.mark.parametrize("op", [op for op in ELEMENTWISE if differentiable(op)], ids=lambda op: op.name)
def test_derivatives_that_are_off_by_a_thousandth(op):
    def off(g, y, *args):
        return tuple(None if d is None else 1.001 * constant(d) for d in op.derivative(g, y, *args))

    check_elementwise(replace(op, name=f"{op.name} (as it is)"))
    with fails:
        check_elementwise(replace(op, name=f"{op.name} (wrong derivative)", derivative=off))


@pytest.mark.parametrize("op", [op for op in ELEMENTWISE if op.result == "real"], ids=lambda op: op.name)
def test_values_that_are_off_by_a_billionth(op):
    with fails:
        check_elementwise(replace(op, name=f"{op.name} (wrong value)",
                                  value=lambda *args: np.asarray(op.value(*args)) * (1 + 1e-9) + 1e-9))
    with fails:
        check_elementwise(replace(op, name=f"{op.name} (wrong source)", source=f"({op.source} + 1e-9)"))
    with fails:
        check_elementwise(replace(op, name=f"{op.name} (wrong form)", sympy=lambda m, *args: op.sympy(m, *args) + 1e-9))


def test_a_derivative_where_none_should_flow():
    wrong = replace(OPS["sign"], name="sign (flows)", derivative=lambda g, y, a: (g,))
    with fails:
        check_elementwise(wrong)
    with fails:
        check_elementwise(replace(wrong, name="sign (smooth)", smoothness=Smoothness.SMOOTH))


WRONG_STRUCTURE = {
    "transpose": lambda g, y, a: (make("transpose", (g,), y.attrs),),
    "suffix_sum": lambda g, y, a: (make("suffix_sum", (g,)),),
    "sum": lambda g, y, a: (1.001 * FUNCTIONS["broadcast_to"](FUNCTIONS["reshape"](g, (1, 1)), a.shape),),
    "getitem": lambda g, y, a: (2.0 * make("put", (g,), (y.attrs, a.shape)),),
}
ATTRS = {"transpose": (1, 2, 0), "suffix_sum": (), "sum": (0, 1), "getitem": (("at", 0), ("slice", 0, 1, 2))}


@pytest.mark.parametrize("name", WRONG_STRUCTURE)
def test_wrong_derivatives_of_structure(name):
    op = OPS[name]
    x = leaf(f"x of {name}", (2, 2, 2) if name == "transpose" else (2, 2), (LANE,))
    node = make(op, (x,), ATTRS[name])
    values = {x.attrs.name: np.random.default_rng(1).normal(size=(3, *x.shape)),
              "weights": np.random.default_rng(0).normal(size=sizes_of(node.axes) + node.shape)}
    check_derivatives(weighted(node, "weights"), [x], values)
    right = op.derivative
    object.__setattr__(op, "derivative", WRONG_STRUCTURE[name])  # on the op itself, which is known by identity
    try:
        with fails:
            check_derivatives(weighted(node, "weights"), [x], values)
    finally:
        object.__setattr__(op, "derivative", right)


# --- rules -----------------------------------------------------------------------------------------------------------
WRONG_RULES = [
    Rule(sub_op, "0 − x → x", lambda n: n.args[1] if n.args[0].is_const and not np.any(n.args[0].attrs.array)
         and n.args[1].shape == n.shape else None),
    Rule(mul_op, "x · 1 → x, whatever its shape", lambda n: n.args[0] if n.args[1].is_const
         and np.all(n.args[1].attrs.array == 1.0) else None),
    Rule(add_op, "x + −y → y − x", lambda n: n.args[1].args[0] - n.args[0] if n.args[1].op is neg_op else None),
    Rule(axis_sum_op, "Σ x → x", lambda n: n.args[0]),
    Rule(expect_op, "E[x] → x", lambda n: n.args[0]),
    Rule(contract_op, "never", lambda n: None),
]  # fmt: skip


@pytest.mark.parametrize("rule", WRONG_RULES, ids=lambda r: r.text)
def test_wrong_rules(rule):
    with fails:
        check_rule(rule)


def test_a_wrong_rule_changes_a_graph():
    """A rule that is wrong in the table is noticed on whole surrogates too."""
    from scg.rules import algebra
    from scg.rules.driver import rewrite

    p = PROBLEMS["two_layer_net"]()
    roots = derive(p.graph, scg.ScoreFunction()).roots()
    algebra.BY_OP[sub_op].insert(0, Rule(sub_op, "x − y → x + y", lambda n: n.args[0] + n.args[1]))
    try:
        simple = rewrite(roots)
    finally:
        algebra.BY_OP[sub_op].pop(0)
    assert not all(np.allclose(a, b) for a, b in zip(sampled(roots, p.values), sampled(simple, p.values)))
    assert len(RULES) == sum(map(len, algebra.BY_OP.values()))


# --- families --------------------------------------------------------------------------------------------------------
def changed(family, **methods):
    """A family with some of its methods replaced, under another name."""
    return type(f"Wrong{family.__name__}{len(FAMILIES)}", (family,), {"cases": family.cases, **methods})


def test_wrong_samplers():
    flipped = changed(scg.Bernoulli, sample=lambda self, noise: 1.0 - scg.Bernoulli.sample(self, noise))
    with fails:
        families.check_sampler(flipped, {"probs": 0.47})
    with fails:
        families.check_breaks(flipped, {"probs": 0.47})
    for family, case, sampler in (
        (scg.Normal, {"loc": 0.3, "scale": 1.0}, lambda self, noise: 0.3 + 1.03 * apply("ndtri", uniform(noise))),
        (scg.Exponential, {"rate": 2.0}, lambda self, noise: -apply("log", uniform(noise)) / (1.03 * self.rate)),
        (scg.Poisson, {"rate": 3.0}, lambda self, noise: scg.Poisson.sample(scg.Poisson(rate=3.1), noise)),
        (scg.Gamma, {"concentration": 0.8, "rate": 1.0},
         lambda self, noise: scg.Gamma.sample(scg.Gamma(concentration=0.83, rate=1.0), noise)),
        (scg.Categorical, {"probs": [0.2, 0.3, 0.5]}, lambda self, noise: 2.0 - scg.Categorical.sample(self, noise)),
    ):
        families.check_sampler(family, case)
        with fails:
            families.check_sampler(changed(family, sample=sampler), case)


def test_wrong_samplers_under_the_exact_law():
    """The boxes of the exact law run the sampler, while the enumeration weights by log p."""
    flipped = changed(scg.Bernoulli, sample=lambda self, noise: 1.0 - scg.Bernoulli.sample(self, noise))
    g = scg.Graph("flipped")
    b = g.sample("b", flipped(logits=g.param("theta")))
    g.cost("loss", (b - 0.45) ** 2)
    with fails:
        check_exact_law(g, {"theta": 0.3}, scg.ScoreFunction())


def test_a_sampler_that_is_right_in_the_first_moments_only():
    """A uniform with the mean and the variance of the normal: goodness of fit tells."""
    wrong = changed(scg.Normal, sample=lambda self, noise:
                    self.loc + self.scale * math.sqrt(12) * (uniform(noise) - 0.5))
    with pytest.raises(AssertionError, match="Kolmogorov"):
        families.check_sampler(wrong, {"loc": 0.0, "scale": 1.0})


def test_wrong_densities():
    for family, case, log_prob in (
        (scg.Bernoulli, {"logits": 0.3}, lambda self, v: scg.Bernoulli(logits=1.01 * self.logits).log_prob(v)),
        (scg.Normal, {"loc": 0.0, "scale": 1.0}, lambda self, v: scg.Normal(loc=0.01, scale=self.scale).log_prob(v)),
        (scg.Poisson, {"rate": 3.0}, lambda self, v: scg.Poisson(rate=1.01 * self.rate).log_prob(v)),
    ):
        with fails:
            families.check_moments(changed(family, log_prob=log_prob, cases=[case]), case)
    with fails:
        families.check_normalised(changed(scg.Normal, log_prob=lambda self, v: scg.Normal.log_prob(self, v) + 1e-6),
                                  {"loc": 0.0, "scale": 1.0})


def test_wrong_moments_and_rules():
    case = {"concentration": 2.5, "rate": 3.0}
    for wrong in (dict(mean=property(lambda self: 1.000001 * self.concentration / self.rate)),
                  dict(variance=property(lambda self: self.concentration / self.rate)),
                  dict(entropy=lambda self: scg.Gamma.entropy(self) + 1e-6)):
        with fails:
            families.check_moments(changed(scg.Gamma, **wrong), case)
    with fails:
        families.check_quadrature(changed(scg.Gamma, quadrature=lambda self, order, concentration, rate:
                                          scg.Gamma.quadrature(self, order, concentration, 1.001 * rate)), case)
    with fails:
        families.check_divergence(families.law_of(scg.Gamma, case), scg.Gamma, {"concentration": 2.0, "rate": 1.0}, 0.3)
    with fails:
        families.check_breaks(changed(scg.Bernoulli, breaks=lambda self: 1.001 * scg.Bernoulli.breaks(self)),
                              {"probs": 0.4})


def test_a_wrong_score_of_a_family():
    wrong = changed(scg.Exponential, log_prob=lambda self, v: apply("log", self.rate)
                    - stop_gradient(self.rate) * constant(v))
    families.check_normalised(wrong, {"rate": 2.0})
    with fails:
        families.check_score(wrong, {"rate": 2.0})


def test_wrong_weak_derivatives():
    def times(factor):
        return lambda self: [replace(t, coefficient=factor * constant(t.coefficient))
                             for t in scg.Normal.weak_derivative(self)]

    case = {"loc": 0.2, "scale": 1.3}
    families.check_weak_derivative(changed(scg.Normal, weak_derivative=times(1.0)), case, coupled=True)
    with fails:
        families.check_weak_derivative(changed(scg.Normal, weak_derivative=times(1.1)), case, coupled=True)
    swapped = changed(scg.Poisson, weak_derivative=lambda self: [
        Triple(self.rate, 1.0, plus=lambda x, noise: x, minus=lambda x, noise: x + 1.0)])
    with fails:
        families.check_weak_derivative(swapped, {"rate": 2.0}, coupled=True)


def test_the_score_function_of_a_uniform_has_the_wrong_sign():
    """What the compiler refuses is in fact wrong: without the objection the statistical law fails."""

    @dataclass(frozen=True)
    class Unguarded(scg.ScoreFunction):
        """Ignores that the support moves."""

        def objection(self, site):
            return None

        def rewrite(self, site):
            density = site.of(lambda dist, x: -apply("log", dist.high - dist.low))
            return site.draft.with_term(site.name, FUNCTIONS["sum"](density * stop_gradient(site.cost)))

    p = PROBLEMS["uniform_square"]()
    r = scg.compile(p.graph, strategy=Unguarded(), backend="numpy")(p.values, samples=SAMPLES, rng=SEED)
    assert r.grad["theta"] < 0 < p.grad["theta"]
    with fails:
        within(r.grad["theta"], r.stderr["theta"], p.grad["theta"], "theta")
