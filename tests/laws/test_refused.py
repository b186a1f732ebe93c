"""The table of refusals is right, both ways: nothing else is refused, and everything in it is."""

from __future__ import annotations

import pytest

import scg
from scg.derivation import derive
from scg.estimators import ESTIMATORS
from tests.laws.checks import shipped
from tests.problems import PROBLEMS
from tests.refused import REFUSED, refusal
from tests.strategies import STRATEGIES

# every class of estimator, in its plain form and in those of the laws
EVERY = [*STRATEGIES.values(), *(cls() for cls in shipped(ESTIMATORS).values()), scg.MuProp(rollout=True),
         scg.WeakDerivative(noise="fresh"), scg.ScoreFunction(scg.LeaveOneOut(group=2))]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_strategy(problem):
    graph = PROBLEMS[problem]().graph
    for strategy in EVERY:
        words = refusal(problem, strategy)
        if words is None:
            derive(graph, strategy)
        else:
            with pytest.raises(scg.SCGError, match=words):
                derive(graph, strategy)


def test_the_table_names_what_there_is():
    assert {problem for problem, _ in REFUSED} <= set(PROBLEMS)
    assert {kind for _, kind in REFUSED} <= {type(s).__name__ for s in EVERY}
