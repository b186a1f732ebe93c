"""The garbage collector while something is compiled, and afterwards."""

from __future__ import annotations

import gc
import importlib
from unittest.mock import patch

import pytest

import scg
from scg.collecting import ALIVE, seldom_collecting

OFTEN = (691, 7, 5)


@pytest.fixture(autouse=True)
def thresholds():
    """Those of a program, which are put back."""
    before = gc.get_threshold()
    gc.set_threshold(*OFTEN)
    yield
    gc.set_threshold(*before)


def _graph() -> scg.Graph:
    g = scg.Graph("collected")
    g.cost("c", g.sample("b", scg.Bernoulli(logits=g.param("t"))) ** 2)
    return g


@pytest.mark.parametrize("strategy", [None, scg.Pathwise()], ids=["compiled", "refused"])
def test_it_runs_seldom_while_a_graph_is_compiled_and_as_often_as_before_afterwards(strategy):
    seen, module = [], importlib.import_module("scg.compile")
    derive = module.derive

    def looked_at(*args, **options):
        seen.append(gc.get_threshold())
        return derive(*args, **options)

    with patch.object(module, "derive", looked_at):
        if strategy is None:
            scg.compile(_graph(), backend="numpy")
        else:
            with pytest.raises(scg.SCGError):
                scg.compile(_graph(), strategy=strategy, backend="numpy")
    assert seen == [(ALIVE, *OFTEN[1:])] and gc.get_threshold() == OFTEN


def test_the_last_one_to_leave_puts_it_back():
    with seldom_collecting():
        with seldom_collecting():
            pass
        assert gc.get_threshold()[0] == ALIVE
    assert gc.get_threshold() == OFTEN


@pytest.mark.parametrize("chosen", [(0, 7, 5), (ALIVE + 1, 7, 5)])
def test_a_program_that_collects_never_or_more_seldom_does_so(chosen):
    gc.set_threshold(*chosen)
    with seldom_collecting():
        assert gc.get_threshold() == chosen
    assert gc.get_threshold() == chosen


def test_what_a_program_sets_meanwhile_stays():
    with seldom_collecting():
        gc.set_threshold(300, 3, 3)
    assert gc.get_threshold() == (300, 3, 3)
