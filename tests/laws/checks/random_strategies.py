"""Random strategies for a declared script, and which of them may be refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from hypothesis import strategies as st

import scg
from tests.laws.checks.exact_law import capable, learns, redraws, unbiased_estimators
from tests.laws.checks.machines import Declared


@st.composite
def strategies(draw, script, machine: Declared):
    """No strategy, an estimator for all sites, or one for each of some sites and pairs of sites."""
    kind = draw(st.sampled_from(["each", "each", "each", "each", "all", "none"]))
    if kind != "each":
        return draw(estimators(machine)) if kind == "all" else None
    names = draw(st.permutations(list(machine.graph.sites)))
    strategy: dict = {}
    while names:
        count = draw(st.sampled_from([1, 1, 1, 2, 0]))
        if count:
            strategy[tuple(names[:count])] = draw(estimators(machine, script.loops.intersection(names[:count])))
        names = names[max(count, 1):]
    return strategy


def estimators(machine: Declared, loops: Sequence[str] | set[str] = ()) -> st.SearchStrategy[scg.Estimator]:
    """Every registered unbiased estimator that the sites can have, each class as often as another, and among the
    baselines sums of named nodes; for sites inside scans only what the exact law can follow."""
    by_class: dict[type, list] = {}
    for e in unbiased_estimators():
        if capable(e, machine.graph) and not redraws(e) and not learns(e) and not (loops and _redrawing(e)):
            by_class.setdefault(type(e), []).append(e)
    nodes = st.sampled_from(list(_named(machine).values()))
    return st.one_of(*map(st.sampled_from, by_class.values()),
                     nodes.map(lambda node: scg.ScoreFunction(scg.Expression(node.sum()))))


def _redrawing(e) -> bool:
    """Whether later sites draw again, once in every world of every step: too many pieces of noise for the exact law."""
    return getattr(e, "noise", None) == "fresh"


def _named(machine: Declared) -> dict:
    return {**machine.graph.nodes, **machine.graph.costs}


# --- refusals --------------------------------------------------------------------------------------------------------
def by_site(strategy, graph: scg.Graph) -> dict[str, scg.Estimator]:
    """The estimators that a strategy asks for, site by site."""
    if strategy is None or isinstance(strategy, scg.Estimator):
        return {} if strategy is None else dict.fromkeys(graph.sites, strategy)
    return {name: estimator for names, estimator in strategy.items()
            for name in (names if isinstance(names, tuple) else (names,))}


def _known_before(estimator, site: str, machine: Declared) -> bool:
    """Whether the estimator's baseline is the sum of something declared before the site: it cannot depend on it."""
    nodes = _named(machine)
    return any(nodes[name].sum() is estimator.baseline.node for name in machine.before[site])


# What an error says → whether it may say so of a site under an estimator.
REFUSALS: Mapping[str, Callable] = {
    "influences it and is influenced by it through a carry":
        lambda script, machine, site, e: isinstance(e, scg.Enumerate) and site in script.loops,
    "which is summed over: they influence each other through a carry":
        lambda script, machine, site, e: not isinstance(e, scg.Pathwise) and site in script.loops,
    "jumps there, or is not defined off the site's support":
        lambda script, machine, site, e: isinstance(e, scg.MuProp) and script.jumps,
    **dict.fromkeys((" influences the distribution of ", "One of them influences the other through sites between them",
                     "are not drawn in the steps of one scan"),
                    lambda script, machine, site, e: getattr(e, "scope", "") == "together"),
    "It depends on the site's own sample":
        lambda script, machine, site, e: isinstance(getattr(e, "baseline", None), scg.Expression)
        and not _known_before(e, site, machine),
}  # fmt: skip


def rightly_refused(error: scg.SCGError, script, machine: Declared, strategy) -> bool:
    """Whether every problem of the error is a known one, of a site that may have it under the strategy."""
    asked = by_site(strategy, machine.graph)

    def known(problem) -> bool:
        site = re.search(r'sample "(.+)"$', problem.where)
        return site is not None and any(text in problem.why and may(script, machine, site[1], asked.get(site[1]))
                                        for text, may in REFUSALS.items())

    return all(map(known, error.problems))


def of_one_group(derivation) -> bool:
    """Whether leave-one-out groups are of one size, as a call needs them."""
    baselines = [getattr(v.estimator, "baseline", None) for v in derivation.verdicts.values()]
    return len({b.group for b in baselines if isinstance(b, scg.LeaveOneOut)}) < 2
