"""What is chosen for a chain, what is said of the rules, and whether advice works."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import scg
from scg.comparison import Comparison
from scg.run.coupling import Coupling
from tests.laws.test_stationary_law import AT, decisions


def drawn_from(family, horizon=33, cost=lambda y: y**2):
    """y' is drawn from a family that moves with t and the state."""
    g = scg.Graph("chain")
    t = g.param("t", init=0.5)

    def step(y):
        new = g.sample("y", family(0.5 * y + t))
        new = new[0] if new.ndim else new
        g.cost("e", cost(new))
        return new

    g.chain(step, init=0.0, burn_in=10, horizon=horizon)
    return g


NORMAL = lambda m: scg.Normal(m, 1.0)
BIT = lambda m: scg.Bernoulli(logits=m)
MIXED = lambda m: scg.Mixture([scg.Normal(m, 1.0), scg.Normal(-m, 0.5)], logits=np.zeros(2))


def test_paths_are_taken_where_all_have_one():
    """The stationary mean of y² is 4 t² + 4/3. Where a draw or a cost jumps, phantoms are followed."""
    f = scg.compile(drawn_from(NORMAL, horizon=200), backend="numpy")
    assert f.verdict["y"].estimator == scg.Pathwise() and f.verdict["y"].origin == "policy"
    r = f({"t": 0.5}, samples=50, rng=0)
    assert abs(r.cost - (1.0 + 4.0 / 3.0)) < 5.0 * r.cost_stderr and abs(r.grad["t"] - 4.0) < 5.0 * r.stderr["t"]
    for g in (drawn_from(BIT), drawn_from(NORMAL, cost=lambda y: scg.where(y > 0.0, 1.0, 0.0))):
        verdict = scg.compile(g, backend="numpy").verdict["y"]
        assert verdict.estimator == scg.SPWD() and verdict.origin == "policy"


def best_if_free(table: Comparison, label: str) -> str:
    """Which rule is the best if one of them takes no time."""
    return Comparison("", {**table, label: replace(table[label], seconds=0.0)}, {}, "").best


def test_auto_measures_rules_whose_bias_is_what_they_cut_off():
    f = scg.compile(drawn_from(NORMAL), strategy="auto", backend="numpy")
    table = f.measured["y"]
    assert f.verdict["y"].estimator == scg.Pathwise() and table.best == "Pathwise()" and "LikelihoodRatio()" in table
    assert table.reference == "distance from the estimate of Pathwise()"
    assert {"SPWD()", "Phantoms()"} <= set(table.refused) and "SPSA()" not in str(table)
    assert table["LikelihoodRatio()"].fair and best_if_free(table, "LikelihoodRatio()") == "Pathwise()"
    assert "passed over: LikelihoodRatio(): that it cuts off less than 1 % is not shown" in str(table)
    assert 'strategy="auto" measured that it is the best' in f.explain() and 'measured at site "y":' in f.explain()


def test_auto_holds_rules_to_the_stationary_law():
    f = scg.compile(drawn_from(BIT), strategy="auto", backend="numpy")
    table = f.measured["y"]
    assert table.reference == "distance from the exact gradient" and table[table.best].fair
    assert repr(f.verdict["y"].estimator) == table.best and "Pathwise()" in table.refused
    assert best_if_free(table, "Phantoms()") == "Phantoms()"  # all of its pairs meet: nothing is cut off


@pytest.mark.parametrize("q", [0.3, 0.9])
def test_what_phantoms_cut_off_is_measured(q):
    """Of pairs that meet with chance 1 - q in each step, q^K of the steps apart come after K steps."""
    steps = 20
    shares = np.append((1.0 - q) * q ** np.arange(steps + 1), q ** (steps + 1))
    assert Coupling(shares).cut_off == pytest.approx(q**steps, rel=1e-9)
    never = np.append(np.zeros(steps + 1), 1.0)
    assert Coupling(never).cut_off == 1.0 and Coupling(never[::-1]).cut_off == 0.0


def test_auto_says_why_nothing_can_be_taken():
    """A chain that starts far away, and counts at once, is off by more than any rule's error."""
    g = scg.Graph("far")
    t = g.param("t", init=0.5)

    def step(y):
        g.cost("e", y)
        return g.sample("y", scg.Bernoulli(probs=t * (0.1 + 0.9 * y)))

    g.chain(step, init=0.0, burn_in=0, horizon=32)
    with pytest.raises(scg.EstimatorError, match=r"cuts off is seen.*run longer before it counts"):
        scg.compile(g, strategy="auto", values={"t": 0.9}, backend="numpy")


def advised(said: str) -> list[str]:
    """The rules that an error names as what would work, after the word Use."""
    return re.findall(r"([A-Z]\w+)\(\)", said[said.rindex("Use "):])


@pytest.mark.parametrize(("family", "rule", "first"), [
    (NORMAL, scg.SPWD(), "Pathwise"), (MIXED, scg.SPWD(), "LikelihoodRatio"),
    (lambda m: scg.MultivariateNormal(loc=scg.stack([m, 0.0 * m]), scale_diag=np.ones(2)), scg.Phantoms(), "Pathwise"),
    (BIT, scg.Pathwise(), "LikelihoodRatio")], ids=["Normal", "Mixture", "MultivariateNormal", "Bernoulli"])
def test_the_rule_that_is_named_first_works(family, rule, first):
    """Where phantoms never meet, or nothing is known of them, or there are no paths."""
    g = drawn_from(family)
    with pytest.raises(scg.SCGError) as caught:
        scg.compile(g, strategy=rule, backend="numpy")({"t": 0.5}, rng=0)
    found = advised(str(caught.value))
    assert found[0] == first and "ScoreFunction" not in found
    scg.compile(g, strategy=getattr(scg, found[0])(), backend="numpy")({"t": 0.5}, samples=2, rng=0)


def test_explanations_of_chains():
    f = scg.compile(decisions(), backend="numpy")
    assert f.verdict["a"].status == "biased" and f.verdict["next"].status == "unbiased"
    a, after = f.explain().split('\nsite "')[1:3]
    assert "SPWD(): the policy chose it\n" in a and "evaluations  1 chain and 2 phantom chains" in a
    assert "SPWD(): the policy chose it, and it is not used" in after and "moves the site's distribution" in after
    r = f({"logits": AT}, samples=100, rng=0)
    exact = scg.exact(decisions(), {"logits": AT})
    assert np.all(np.abs(r.grad["logits"] - exact.grad["logits"]) < 5.0 * r.stderr["logits"])
    spsa = scg.compile(decisions(), strategy=scg.SPSA(), backend="numpy")
    assert spsa.verdict["a"].reason.startswith("the chain starts 30 steps before it counts, and the slope between")


def test_second_derivatives_are_refused_without_advice_for_sites():
    with pytest.raises(scg.EstimatorError, match=r"Take differences of gradients .* with the same rng=\.$"):
        scg.compile(drawn_from(NORMAL), order=2, backend="numpy")
