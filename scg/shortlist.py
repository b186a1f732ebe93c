"""Which of many estimators are worth a compilation: those that may be the best, as the interpreter sees it.

In: a graph, strategies, values. Out: functions of those that stay, and what is said of the others. Variances are the
same in every backend, bit by bit; what a compiled sample takes is not known before there is a kernel. It is guessed in
two ways, by the elements that are computed and by the time of the interpreter, each beside those of a strategy that is
compiled anyhow. An estimator stays if the lower guess leaves it a chance against the higher one of the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from scg.compared import Compared
from scg.comparison import Comparison, Made, compared
from scg.errors import SCGError
from scg.function import compiled_by
from scg.strategy import Strategy

REPLICATES, FEWEST = 512, 64  # in all, and of a row: leave-one-out takes groups of so many
SLACK = 1.3  # by how much a guess may be worse than the best one: variances of few samples are guesses, too


class Standing(NamedTuple):
    """The strategy that stays whatever comes out.

    Attributes
    ----------
    label : str
    interpreted, compiled : dict of str to Made
        By its label, its functions, if there are some.
    """

    label: str
    interpreted: Mapping[str, Made] = MappingProxyType({})
    compiled: Mapping[str, Made] = MappingProxyType({})


class Shortlist(NamedTuple):
    """What is worth compiling.

    Attributes
    ----------
    made : dict of str to Made
        Functions of the wanted backend.
    interpreted : dict of str to Made
        The same in the interpreter.
    refused : dict of str to SCGError
        Strategies that cannot be compiled here, and why.
    ruled_out : dict of str to str
        What others are better than by far, and what it would have taken.
    """

    made: dict[str, Made]
    interpreted: dict[str, Made]
    refused: dict[str, SCGError]
    ruled_out: dict[str, str]


def shortlist(graph, strategies: Mapping[str, Strategy], standing: Standing, values: Mapping[str, Any],
              rows: int, options: dict[str, Any], say: Callable[[str], None]) -> Shortlist:
    """Those of some strategies that may have the least variance times time.

    Parameters
    ----------
    graph : Graph
    strategies : dict of str to strategy
    standing : Standing
    values : dict of str to array_like
    rows : int
        Of the data among them.
    options : dict
        Of `scg.compile`.
    say : callable
        Is told what is done now.

    Returns
    -------
    Shortlist

    Raises
    ------
    SCGError
        If all are refused at these values.
    """
    samples = max(FEWEST, REPLICATES // rows)
    tried = compared(graph, strategies, values, samples, 0, {**options, "backend": "numpy"}, standing.interpreted, say,
                     exactly=False)
    base = tried[standing.label if standing.label in tried else next(iter(tried))]
    stay = {base.label, *may_be_best(tried, base)}
    interpreted = {label: Made(found.function, found.compiling, True) for label, found in tried.items()
                   if label in stay}
    made = {label: standing.compiled.get(label) or Made(compiled_by(f, options["backend"]), took, False)
            for label, (f, took, _) in interpreted.items()}
    return Shortlist(made, interpreted, tried.refused,
                     {label: _why(found, base, tried) for label, found in tried.items()
                      if label not in stay})


def may_be_best(tried: Comparison, base: Compared) -> list[str]:
    """The labels of those that have a chance; where some are exact, only these have one."""
    sure = {label for label, found in tried.items() if found.exact and not tried.refuted(label)}
    guesses: dict[str, tuple[float, float]] = {}
    for label, found in tried.items():
        variance = (1.0 if label in sure else math.inf) if sure else found.total_variance
        low, high = _beside(found, base)
        guesses[label] = (math.inf,) * 2 if tried.refuted(label) else (variance * low, variance * high)
    most = SLACK * min(high for _, high in guesses.values())
    return [label for label, (low, _) in guesses.items() if low <= most]


def _beside(found: Compared, base: Compared) -> tuple[float, float]:
    """How many times as long as another a sample takes: the lower guess, and the higher one."""
    elements = (1 + found.function._layout.work) / (1 + base.function._layout.work)  # none, if a sum says it all
    interpreted = found.seconds / base.seconds
    return min(elements, interpreted), max(elements, interpreted)


def _why(found: Compared, base: Compared, tried: Comparison) -> str:
    if not found.exact and any(other.exact and not tried.refuted(label) for label, other in tried.items()):
        return "its samples vary, and those of others do not"
    low, high = _beside(found, base)
    share = found.total_variance / base.total_variance if base.total_variance else math.inf
    return (f"interpreted, a sample has {share:.2g} times the variance of one of {base.label}, and takes {low:.2g} to "
            f"{high:.2g} times as long")
