"""Which estimator for which site: what the user says, then what the site's declaration says, then the policy.

The policy takes Pathwise where the compiler can prove it valid, else ScoreFunction with a leave-one-out baseline; never
a biased estimator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from scg.analysis.influence import SiteNode
from scg.analysis.smoothness import flow
from scg.baselines import LeaveOneOut
from scg.errors import DeclarationError, EstimatorError
from scg.estimators import Estimator, Pathwise, ScoreFunction
from scg.ir.location import here
from scg.ir.node import Node
from scg.ir.traverse import substitute, topological
from scg.ops.leaves import feed
from scg.ops.randomness import distribution_of, sample_op
from scg.ops.scan import open_scan, scan_op

Strategy = Estimator | Mapping[str | tuple[str, ...], Estimator] | None


class Assignment(NamedTuple):
    """An estimator for a site, and who chose it: ``"strategy"``, ``"site"`` or ``"policy"``."""

    estimator: Estimator
    origin: str


def asked_for(strategy: Strategy, declared: Mapping[str, Estimator | None]) -> dict[str, Assignment]:
    """What the strategy and the declarations ask for; the strategy goes first.

    Raises
    ------
    DeclarationError
        If the strategy names a site that the graph does not have, or one twice.
    """
    chosen = {name: Assignment(e, "site") for name, e in declared.items() if e is not None}
    return {**chosen, **_from_strategy(strategy, declared)}


def assign(costs: Sequence[Node], params: Sequence[Node], places: Sequence[SiteNode],
           chosen: Mapping[str, Assignment]) -> dict[str, Assignment]:
    """An estimator for every site that costs depend on: what was asked for, else the policy's."""
    out: dict[str, Assignment] = {}
    for place in reversed(places):  # later sites first: whether a path is smooth depends on what they do
        picked = chosen.get(place.name)
        out[place.name] = picked or Assignment(_policy(place, costs, places, params, {**chosen, **out}), "policy")
    return {place.name: out[place.name] for place in places}


def _from_strategy(strategy: Strategy, declared: Mapping[str, Estimator | None]) -> dict[str, Assignment]:
    if strategy is None:
        return {}
    if isinstance(strategy, Estimator):
        return {name: Assignment(strategy, "strategy") for name in declared}
    if not isinstance(strategy, Mapping):
        raise EstimatorError(str(here() or ""), f"strategy={strategy!r} was given.",
                             "A strategy is an estimator, or a dict from site names to estimators.",
                             'For example strategy={"b": scg.ScoreFunction()}.')
    out: dict[str, Assignment] = {}
    for key, estimator in strategy.items():
        for name in key if isinstance(key, tuple) else (key,):
            if name not in declared or name in out:
                why = "It is named twice." if name in out else "The graph has no site of that name."
                raise DeclarationError(str(here() or ""), f'The strategy names site "{name}".', why,
                                       f"Its sites are: {', '.join(declared) or 'none'}.")
            if not isinstance(estimator, Estimator):
                raise EstimatorError(str(here() or ""), f'The strategy gives {estimator!r} for site "{name}".',
                                     "That is not an estimator.", "Make one, e.g. scg.ScoreFunction().")
            out[name] = Assignment(estimator, "strategy")
    return out


def through(assigned: Mapping[str, Assignment]) -> Callable[[Node], bool]:
    """Whether a derivative flows through a sample node, under the assignments so far."""
    return lambda node: node.attrs.site in assigned and assigned[node.attrs.site].estimator.passes_gradient


def _policy(place: SiteNode, costs, places, params, assigned: Mapping[str, Assignment]) -> Estimator:
    family = place.node.attrs.family
    pathwise = family.can("reparameterise") and not family.support.integral
    if pathwise and path_obstacle(place, costs, places, assigned) is None:
        return Pathwise()
    return ScoreFunction(baseline=LeaveOneOut())


class Obstacle(NamedTuple):
    """What makes Pathwise wrong at a site: the op that jumps, and what lies behind it (a cost's or a site's name)."""

    op: Node
    behind: str
    moving: bool = False


def path_obstacle(place: SiteNode, costs, places, assigned: Mapping[str, Assignment],
                  names: Sequence[str] = ()) -> Obstacle | None:
    """The first jump between a site's value and a cost or a later site's distribution, or None.

    A later site under the score function whose support's bounds would be moved by this site's value counts too.
    """
    probe, roots, labels = _probed(place, list(costs), places, names)
    if probe is None:
        return None
    known = flow([r for r, _ in roots], [probe], through(assigned))
    for (root, moving_under_score), label in zip(roots, labels):
        state = known[root.id]
        if state.jump is not None:
            return Obstacle(state.jump, label)
        if state.differentiated and moving_under_score is not None:
            later = assigned.get(moving_under_score)
            if later is not None and later.estimator.scores:
                return Obstacle(root, label, moving=True)
    return None


def _probed(place: SiteNode, costs: list[Node], places, names):
    """Costs and parameters of the other sites as functions of a leaf that stands for the site's value."""
    roots: list[tuple[Node, str | None]] = [(c, None) for c in costs]
    labels = [f'cost "{n}"' for n in names] or ["a cost"] * len(costs)
    for other in places:
        if other.name == place.name or other.scan is not None:
            continue
        dist = distribution_of(other.node)
        for name, node in dist.params.items():
            roots.append((node, other.name if name in dist.support.moving else None))
            labels.append(f'site "{other.name}"')
    if place.scan is None:
        return place.node, roots, labels
    probe = feed(f"{place.name} (probe)", place.node.shape)
    mapping = {}
    for node in topological([r for r, _ in roots]):
        if node.op is scan_op and (x := _sample_in(node, place.name)) is not None:
            opened, x = x
            mapping[node] = opened.mapped({x: probe}).close()
    replaced = substitute([r for r, _ in roots], mapping)
    return (probe if mapping else None), [(new, m) for new, (_, m) in zip(replaced, roots)], labels


def _sample_in(scan: Node, name: str):
    opened = open_scan(scan)
    for n in topological(opened.new_carries + opened.ys):
        if n.op is sample_op and n.attrs.site == name:
            return opened, n
    return None
