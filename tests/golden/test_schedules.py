"""What `f.schedule` prints: kernels in the loop language, for people to read."""

from __future__ import annotations

import pickle
import re

import pytest

import scg
from tests.problems import PROBLEMS
from tests.strategies import STRATEGIES


@pytest.mark.parametrize("problem, strategy", [
    ("bernoulli_toy", "policy"), ("rows", "score"), ("truths_in_scan", "score")])
def test_schedule(problem, strategy, golden):
    f = scg.compile(PROBLEMS[problem]().graph, strategy=STRATEGIES[strategy], backend="numpy")
    golden(re.sub(r", [\w.]+:\d+$", "", f.schedule, flags=re.MULTILINE))  # equal nodes are the first one's


def test_it_is_asked_for_where_the_graph_is():
    f = scg.compile(PROBLEMS["bernoulli_toy"]().graph, backend="numpy")
    with pytest.raises(scg.SCGError, match="schedule was asked for of an unpickled"):
        pickle.loads(pickle.dumps(f)).schedule  # noqa: B018
