"""Which estimator for which site: what the user says, then what the site's declaration says, then the policy.

The policy takes Pathwise where the compiler can prove it valid, else ScoreFunction with a leave-one-out baseline, or
WeakDerivative where a score would miss that a support moves; never a biased estimator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import NamedTuple

from scg.analysis.dependence import Dependence
from scg.analysis.influence import SiteNode
from scg.analysis.smoothness import Flow, flow
from scg.baselines import LeaveOneOut
from scg.errors import DeclarationError, EstimatorError
from scg.estimators import SPWD, Estimator, Pathwise, ScoreFunction, WeakDerivative
from scg.ir.location import here
from scg.ir.node import Node
from scg.ops.randomness import distribution_of
from scg.surrogate.feeding import distributions, parameters
from scg.surrogate.triples import moved_by_triples

Strategy = Estimator | Mapping[str | tuple[str, ...], Estimator] | None


class Assignment(NamedTuple):
    """An estimator for a site, and who chose it: ``"strategy"``, ``"site"`` or ``"policy"``.

    `together` names the sites that it is to rewrite at once, this one among them; nobody if it takes one at a time.
    """

    estimator: Estimator
    origin: str
    together: tuple[str, ...] = ()


def _assignment(estimator: Estimator, origin: str, names: tuple[str, ...]) -> Assignment:
    if estimator.scope == "graph":
        raise EstimatorError(str(here() or ""), f"{estimator} was asked for at site {' and '.join(names)}.",
                             "It is a rule for a whole graph.", f"Write strategy={estimator}.")
    return Assignment(estimator, origin, names if estimator.scope == "together" else ())


def asked_for(strategy: Strategy, declared: Mapping[str, Estimator | None]) -> dict[str, Assignment]:
    """What the strategy and the declarations ask for; the strategy goes first.

    Raises
    ------
    DeclarationError
        If the strategy names a site that the graph does not have, or one twice.
    """
    given = _from_strategy(strategy, declared)
    own = {name: _assignment(e, "site", (name,)) for name, e in declared.items() if e is not None and name not in given}
    return {**own, **given}


def for_chain(strategy: Strategy, declared: Mapping[str, Estimator | None], line: str,
              paths: Callable[[], bool]) -> Assignment | None:
    """The rule for the stationary mean of a chain, and who chose it; None if each site is to follow its path.

    By default that is where `paths` says that all can; else simultaneous weak derivatives.

    Raises
    ------
    EstimatorError
        If what was asked for knows no stationary means.
    """
    own = {name: e for name, e in declared.items() if e is not None}
    asked = strategy if isinstance(strategy, Estimator) or strategy else own
    if not asked:
        return None if paths() else Assignment(SPWD(), "policy")
    rule = asked.on_chain() if isinstance(asked, Estimator) else None
    if rule is None and not (isinstance(asked, Estimator) and asked.passes_gradient):
        what = str(asked) if isinstance(asked, Estimator) else ", ".join(map(str, asked.values()))
        raise EstimatorError(line, f"{what} was asked for in a chain.",
                             "One rule is for all sites of a chain; what weighs draws with all later costs has a "
                             "variance that grows with the horizon.",
                             "Use SPWD(), WeakDerivative(), LikelihoodRatio(), Regenerative() or SPSA() as the "
                             "strategy, or Pathwise() where the costs are smooth in all draws.")
    return Assignment(rule or asked, "strategy")  # type: ignore[arg-type]


def follows_paths(costs: Sequence[Node], site_nodes: Sequence[SiteNode], sources: Sequence[Node]) -> bool:
    """Whether the policy takes the path at every site that moves with the sources."""
    assigned = assign(costs, site_nodes, {}, sources)
    flows = Flow(dict.fromkeys(sources, 1), through(assigned))
    moving = (p for p in site_nodes if any(flows(node).differentiated for node in parameters(p).values()))
    return all(assigned[p.name].estimator.passes_gradient for p in moving)


def assign(costs: Sequence[Node], site_nodes: Sequence[SiteNode], chosen: Mapping[str, Assignment],
           sources: Sequence[Node]) -> dict[str, Assignment]:
    """An estimator for every site that costs depend on: what was asked for, else the policy's.

    `sources` are what is differentiated with respect to.
    """
    assigned = dict(chosen)
    paths = Paths(costs, site_nodes, chosen)
    for site_node in reversed(site_nodes):  # later sites first: whether a path is smooth depends on what they do
        if site_node.name not in assigned:
            assigned[site_node.name] = Assignment(_policy(site_node, paths), "policy")
            paths.decide(site_node, assigned)
    flows = Flow(dict.fromkeys(sources, 1), through(assigned))  # a score and a weak derivative pass none
    return {site_node.name: _legal(assigned[site_node.name], site_node, flows) for site_node in site_nodes}


def _from_strategy(strategy: Strategy, declared: Mapping[str, Estimator | None]) -> dict[str, Assignment]:
    if strategy is None:
        return {}
    if isinstance(strategy, Estimator):
        if strategy.scope == "graph":
            return dict.fromkeys(declared, Assignment(strategy, "strategy"))
        return {name: _assignment(strategy, "strategy", (name,)) for name in declared}
    if not isinstance(strategy, Mapping):
        raise EstimatorError(str(here() or ""), f"strategy={strategy!r} was given.",
                             "A strategy is an estimator, or a dict from site names to estimators.",
                             'For example strategy={"b": scg.ScoreFunction()}.')
    out: dict[str, Assignment] = {}
    for key, estimator in strategy.items():
        names = key if isinstance(key, tuple) else (key,)
        for name in names:
            if name not in declared or name in out:
                why = "It is named twice." if name in out else "The graph has no site of that name."
                raise DeclarationError(str(here() or ""), f'The strategy names site "{name}".', why,
                                       f"Its sites are: {', '.join(declared) or 'none'}.")
            if not isinstance(estimator, Estimator):
                raise EstimatorError(str(here() or ""), f'The strategy gives {estimator!r} for site "{name}".',
                                     "That is not an estimator.", "Make one, e.g. scg.ScoreFunction().")
            out[name] = _assignment(estimator, "strategy", names)
    return out


def through(assigned: Mapping[str, Assignment]) -> Callable[[Node], bool]:
    """Whether a derivative flows through a sample node, under the assignments so far."""

    def passes(node: Node) -> bool:
        estimator = assigned[node.attrs.site].estimator if node.attrs.site in assigned else None
        return estimator is not None and estimator.passes_gradient and estimator.offer(node.attrs.family) is not None

    return passes


def _policy(site_node: SiteNode, paths: Paths) -> Estimator:
    family = site_node.node.attrs.family
    pathwise = family.can("reparameterise") and not family.support.integral
    if pathwise and not paths.obstructed(site_node):
        return Pathwise()
    return ScoreFunction(baseline=LeaveOneOut())


def _legal(assignment: Assignment, site_node: SiteNode, flows: Flow) -> Assignment:
    """The policy's choice, or instead of a score that would miss a moving bound the weak derivative."""
    family = site_node.node.attrs.family
    if assignment.origin != "policy" or not assignment.estimator.scores or not family.can("weak_derivative"):
        return assignment
    moved = {name for name, node in parameters(site_node).items() if flows(node).differentiated}
    if moved.isdisjoint(family.support.moving):
        return assignment
    covered = moved_by_triples(distribution_of(site_node.node))
    return Assignment(WeakDerivative(), "policy") if covered is not None and moved <= covered else assignment


class Obstacle(NamedTuple):
    """What makes Pathwise wrong at a site: an op in the way, and what lies behind it (a cost's or a site's name)."""

    op: Node
    behind: str
    moving: bool = False


class Root(NamedTuple):
    """What a site may influence: a cost, or a parameter of a site; and the site whose support it moves, if any."""

    node: Node
    label: str
    moves: str | None = None


class Paths:
    """At which sites `path_obstacle` finds something, for all of them by one walk.

    Derivatives are followed from every site to the costs and to the parameters of the sites that it moves. What lies
    behind these is put together from there, as it becomes known what their estimators are.

    Parameters
    ----------
    costs : sequence of Node
    site_nodes : sequence of SiteNode
    assigned : dict of str to Assignment
        What is known so far.
    """

    def __init__(self, costs: Sequence[Node], site_nodes: Sequence[SiteNode], assigned: Mapping[str, Assignment]):
        self._names = [site_node.name for site_node in site_nodes]
        self._bits = {name: 1 << i for i, name in enumerate(self._names)}
        parameters = {site_node.name: _parameters(site_node) for site_node in site_nodes}
        nodes = [*costs, *(root.node for roots in parameters.values() for root in roots)]
        found = Flow({n: self._bits[n.attrs.site] for n, _ in distributions(nodes) if n.attrs.site in self._bits},
                     poles=True, means=True)
        states = [found(node) for node in nodes]
        self._obstructed = reduce(or_, [s.jumped | s.stopped for s in states], 0)
        self._moves = {name: reduce(or_, [found(root.node).differentiated for root in roots], 0)
                       for name, roots in parameters.items()}
        self._moves_bound = {name: reduce(or_, [found(r.node).differentiated for r in roots if r.moves is not None], 0)
                             for name, roots in parameters.items()}
        self._passing = 0  # sites that a derivative passes, with no obstacle behind them so far
        for site_node in site_nodes:
            if site_node.name in assigned:
                self.decide(site_node, assigned)

    def decide(self, site_node: SiteNode, assigned: Mapping[str, Assignment]) -> None:
        """A site has its estimator."""
        bit, estimator = self._bits[site_node.name], assigned[site_node.name].estimator
        if estimator.scores:
            self._obstructed |= self._moves_bound[site_node.name]
        if through(assigned)(site_node.node):
            self._passing |= bit
        while reached := self._passing & self._obstructed:
            last = reached.bit_length() - 1  # what moves it moves what is behind it
            self._passing ^= 1 << last
            self._obstructed |= self._moves[self._names[last]]

    def obstructed(self, site_node: SiteNode) -> bool:
        """Whether there is an obstacle on the way from the site, through sites that have their estimators."""
        return bool(self._obstructed & self._bits[site_node.name])


def path_obstacle(site_node: SiteNode, costs, site_nodes, assigned: Mapping[str, Assignment],
                  names: Sequence[str] = (), stops: bool = True) -> Obstacle | None:
    """What first keeps the path derivative from a cost or a later site's distribution, or None.

    That is a jump, a pole that is not avoided for certain, or a stopped gradient, on the way from the site's value. A
    later site under the score function whose support's bounds would be moved by this site's value counts too. Without
    `stops`, stopped gradients do not count: they are nothing to an integral over the site.
    """
    roots = [Root(c, f'cost "{n}"') for c, n in zip(costs, names)] if names else [Root(c, "a cost") for c in costs]
    others = (other for other in site_nodes if other.name != site_node.name or other.scan is not None)
    roots += [root for other in others for root in _parameters(other)]  # of a scan's site itself too, steps later
    nodes = [root.node for root in roots]
    draws = [node for node, _ in distributions(nodes) if node.attrs.site == site_node.name]
    known = flow(nodes, draws, through(assigned), poles=True, means=True)
    for root in roots:
        state = known[root.node.id]
        op = state.jump if state.jump is not None or not stops else state.stop
        if op is not None:
            return Obstacle(op, root.label)
        if state.differentiated and root.moves is not None:
            later = assigned.get(root.moves)
            if later is not None and later.estimator.scores:
                return Obstacle(root.node, root.label, moving=True)
    return None


def _parameters(site_node: SiteNode) -> list[Root]:
    moving = site_node.node.attrs.family.support.moving
    return [Root(node, f'site "{site_node.name}"', site_node.name if name in moving else None)
            for name, node in parameters(site_node).items()]


def in_groups(site_nodes: Sequence[SiteNode], assigned: Mapping[str, Assignment]) -> list[tuple[SiteNode, ...]]:
    """The sites, those upstream first, where those that stand together are one.

    Raises
    ------
    EstimatorError
        If what stands between two sites that are to be one is moved by the one and moves the other.
    """
    head = {site_node.name: (assigned[site_node.name].together or (site_node.name,))[0] for site_node in site_nodes}
    if len(set(head.values())) == len(site_nodes):
        return [(site_node,) for site_node in site_nodes]
    known = Dependence(*(site_node.name for site_node in site_nodes))
    needs = {site_node.name: _above(site_node, known) for site_node in site_nodes}
    waiting: dict[str, list[SiteNode]] = {}
    for site_node in site_nodes:
        waiting.setdefault(head[site_node.name], []).append(site_node)
    groups: list[tuple[SiteNode, ...]] = []
    done: set[str] = set()
    while waiting:
        ready = next((name for name, group in waiting.items()
                      if all(needs[site_node.name] - {p.name for p in group} <= done for site_node in group)), None)
        if ready is None:
            group = next(group for group in waiting.values() if len(group) > 1)
            names = " and ".join(f'"{site_node.name}"' for site_node in group)
            raise EstimatorError(group[0].where, f"An estimator was asked for sites {names} together.",
                                 "One of them influences the other through sites between them: replaced at once, their "
                                 "draws would no longer be those of one distribution.", "Give each its own estimator.")
        groups.append(tuple(waiting.pop(ready)))
        done |= {site_node.name for site_node in groups[-1]}
    return groups


def _above(site_node: SiteNode, known: Dependence) -> set[str]:
    """The sites that influence the distribution of a site; of those of its own scan nobody knows an order."""
    found = reduce(or_, (known.any(node) for node in site_node.anchor.args), 0)
    return {name for name, bit in known.bits.items() if found & bit}
