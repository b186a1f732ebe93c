"""The table of refusals is right, both ways: nothing else is refused, and everything in it is."""

from __future__ import annotations

import re

import numpy as np
import pytest

import scg
from scg.derive import derive
from scg.estimators import ESTIMATORS
from tests.laws.checks import shipped
from tests.laws.checks.exact_law import unbiased_estimators
from tests.problems import PROBLEMS, finite_problems
from tests.refused import REFUSED, refusal
from tests.strategies import STRATEGIES


def told_apart(strategies) -> list:
    """Each of them once."""
    return [*{repr(strategy): strategy for strategy in strategies}.values()]


# every class of estimator, in its plain form and in some of those of the laws; on finite problems in all of those
EVERY = told_apart([
    *STRATEGIES.values(), *(cls() for cls in shipped(ESTIMATORS).values() if not cls.stationary),
    scg.MuProp(rollout=True), scg.WeakDerivative(noise="fresh"), scg.ScoreFunction(scg.LeaveOneOut(group=2))])
ON_FINITE = told_apart([*EVERY, *unbiased_estimators()])


@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_strategy(problem):
    """What is not refused is what it says it is: on finite problems an unbiased estimator is, for a reason."""
    graph, finite = PROBLEMS[problem]().graph, problem in finite_problems()
    for strategy in ON_FINITE if finite else EVERY:
        words = refusal(problem, strategy)
        if words is None:
            verdicts = derive(graph, strategy).verdicts.values()
            if finite and (strategy is None or type(strategy).unbiased):
                assert all(v.status == "unbiased" and v.reason for v in verdicts), strategy
        else:
            with pytest.raises(scg.SCGError, match=words) as refused:
                derive(graph, strategy)
            for problem_ in refused.value.problems:
                assert all((problem_.where, problem_.what, problem_.why, problem_.fix)), problem_


def test_the_table_names_what_there_is():
    assert {problem for problem, _ in REFUSED} <= set(PROBLEMS)
    assert {kind for _, kind in REFUSED} <= {type(s).__name__ for s in EVERY}


MOVING = {
    "Bernoulli": lambda p: scg.Bernoulli(logits=p), "Categorical": lambda p: scg.Categorical(logits=p * np.arange(3.0)),
    "Poisson": lambda p: scg.Poisson(rate=np.exp(p)), "Exponential": lambda p: scg.Exponential(rate=np.exp(p)),
    "Normal": lambda p: scg.Normal(loc=p, scale=1.0), "Uniform": lambda p: scg.Uniform(low=0.0, high=np.exp(p)),
    "Uniform from below": lambda p: scg.Uniform(low=-np.exp(p), high=1.0),
    "Gamma": lambda p: scg.Gamma(concentration=np.exp(p), rate=1.0),
    "Gamma of a rate": lambda p: scg.Gamma(concentration=2.0, rate=np.exp(p)),
}  # fmt: skip
COSTS = {"smooth": lambda x: x**2, "jump": lambda x: 1.0 * (x > 0.5), "pole": lambda x: 1.0 / (x - 0.5),
         "stopped": lambda x: scg.stop_gradient(x) * x, "index": lambda x: scg.floor(x) % 2}


@pytest.mark.half
@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("family", MOVING)
@pytest.mark.parametrize("looped", [False, pytest.param(True, marks=pytest.mark.full)])
def test_what_is_advised_passes(family, cost, looped):
    """Whatever was asked for: no advice sends to an estimator that is refused there too."""
    def graph() -> scg.Graph:
        g = scg.Graph("advice")
        p = g.param("p")

        def draw():
            g.cost("c", COSTS[cost](g.sample("x", MOVING[family](p))))

        if looped:
            g.scan(lambda carry, _: (carry, draw()), 0.0, length=2)
        else:
            draw()
        return g

    passing, advised = 0, {}
    for strategy in (None, *(cls() for cls in shipped(ESTIMATORS).values() if not cls.stationary)):
        try:
            derive(graph(), strategy)
            passing += 1
        except scg.SCGError as error:
            (problem,) = error.problems
            advised[str(strategy)] = re.findall(r"(\w+)\((?:upto=…)?\)", problem.fix)
    for name in {name for names in advised.values() for name in names}:
        derive(graph(), scg.Enumerate(upto=5) if (family, name) == ("Poisson", "Enumerate") else getattr(scg, name)())
    assert passing and all(advised.values()), advised
