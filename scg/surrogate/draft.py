"""What estimators rewrite: the costs and terms of a surrogate that is being built, objectives, and states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from scg.errors import Problem
from scg.ir.check import Check
from scg.ir.node import Node
from scg.ir.traverse import Hook, Substitution, substitute
from scg.surrogate.elimination import Eliminated, Elimination, Sum
from scg.surrogate.mark import Mark

MANY_MOMENTS = 1 << 14  # elements of a parameter beyond which its standard error would cost more than its gradient
Written = Callable[[tuple[Node, ...]], Mapping[Node, Node]]


class Summation(Protocol):
    """A sum over the values of draws, which have axes of their own."""

    def made_of(self, node: Node) -> bool:
        """Whether a node is made of the draws."""

    def fits(self, node: Node) -> bool:
        """Whether the node's table over the values that it is made of can be made."""

    def expected(self, root: Node, stopped: bool = False) -> Node:
        """The expectation of a node; `stopped` if the probabilities are not differentiated."""

    def placed(self, node: Node) -> Node:
        """The node as a table over the values that it is made of."""

    def shown(self, node: Node) -> Node:
        """An index as such a table: as it is in worlds that may come about, and else 0."""


@dataclass(frozen=True)
class Term:
    """A summand of the surrogate with a gradient but no value: whatever weights it is stopped.

    Where draws upstream are weighed with the draws of its site held, one that is `passed` on stands for what the costs
    owe to these: its change, if a draw upstream is replaced, with the draws of its site and its weights as they are.
    `passed` are those weights.
    """

    site: str
    node: Node
    passed: Node | None = None


@dataclass(frozen=True)
class StateUpdate:
    """A number carried from call to call: its leaf, first value, and the node that computes the next one."""

    name: str
    leaf: Node
    initial: float
    update: Node


@dataclass(frozen=True)
class Objective:
    """What auxiliary params minimise: a node per replicate, whose mean their gradients are those of.

    Auxiliary are the params that it is made of and no cost is; the gradients of others are of costs and terms alone.
    `otherwise` is what would work where it cannot be differentiated, and `said` what the node is, in words.
    """

    name: str
    node: Node
    otherwise: str = ""
    said: str = ""


@dataclass(frozen=True)
class Brought:
    """A param that an estimator or baseline brings along: its leaf, and how it starts, if it does (`scg.initial`)."""

    leaf: Node
    init: Any

    @property
    def name(self) -> str:
        """Under which values are given and gradients come back."""
        return self.leaf.attrs.name


@dataclass(frozen=True)
class Measured:
    """What a rule measures of itself in every replicate, and whose mean is told with the estimate.

    Its role is ``"batches"`` (the variance of the mean of one replicate's batches, by the name of a gradient, or ``""``
    of the costs) or ``"coupling"`` (the shares of phantom chains that met after 0, 1, … steps, and at last of those
    that did not; a call in which these are most is refused with `refused`).
    """

    role: str
    name: str
    node: Node
    refused: Problem | None = None


class Replay(NamedTuple):
    """What the costs are, for a site, in worlds besides the one that is drawn.

    Attributes
    ----------
    site : str
    nodes : tuple of Node
        The costs there, or the parts that they are taken apart into.
    values : int
        In place of these, where the site is summed out: how many values it has.
    """

    site: str
    nodes: tuple[Node, ...] = ()
    values: int = 0


@dataclass(frozen=True)
class Draft:
    """Costs by name and terms; their sum is the surrogate. Beside them stand objectives, of params of their own.

    `values` holds each site's value as seen downstream, `checks` what must hold of the sites' parameters, `replaced`
    the draws that are to be replaced, by what, those downstream first, `marks` what parts of terms are called, and
    `replays` what the costs are in worlds besides the one that is drawn. `sums` are the sites
    that are to be summed out, those downstream first, and `eliminated` says how others were.
    """

    costs: Mapping[str, Node]
    terms: tuple[Term, ...] = ()
    states: tuple[StateUpdate, ...] = ()
    values: Mapping[str, Node] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    replaced: tuple[tuple[Node, Written], ...] = ()
    objectives: tuple[Objective, ...] = ()
    params: tuple[Brought, ...] = ()
    marks: tuple[Mark, ...] = ()
    replays: tuple[Replay, ...] = ()
    sums: tuple[Sum, ...] = ()
    eliminated: tuple[Eliminated, ...] = ()
    measured: tuple[Measured, ...] = ()
    batches: int = 0

    def with_sum(self, new: Sum) -> Draft:
        """With a site to be summed out when the draft is `settled`: together with others that are."""
        return replace(self, sums=(*self.sums, new))

    def with_replaced(self, draw: Node, written: Written) -> Draft:
        """With a sample node replaced, wherever it is seen, when the draft is `settled`.

        Until then those that come before it in the graph may be replaced too, and all is rewritten once.

        Parameters
        ----------
        draw : Node
        written : callable
            ``written(args)``: what replaces the node, and functions of it, where its arguments have become these.
        """
        return replace(self, replaced=(*self.replaced, (draw, written)))

    def settled(self, enough: Callable[[Node], bool] = lambda node: True) -> Draft:
        """The draft in which what was to be replaced is, and sites that were to be summed out are gone.

        What is summed is taken apart where it is linear until it is `enough` for what comes after.
        """
        if self.sums:
            over = Elimination(self.sums[::-1], enough)
            return replace(self, sums=()).summed(over).with_eliminated(over.said).settled()
        if not self.replaced:
            return self
        new = Substitution()
        for draw, written in reversed(self.replaced):  # those upstream come first
            for old, in_place in written(tuple(map(new, draw.args))).items():
                new.put(old, in_place)
        return replace(self.with_roots(list(map(new, self.roots()))), replaced=())

    def summed(self, over: Summation) -> Draft:
        """Costs c → E c over the sites that are summed out; terms, and what must hold, likewise, with ⊥p for p."""
        draft = replace(self.without_values(over.made_of), marks=tuple(m for m in self.marks if over.fits(m.node)))
        roots, shown = draft.roots(), draft.shown()
        stopped = roots[len(draft.costs): len(roots) - len(shown)]
        new = [over.expected(cost) for cost in draft.costs.values()] + [over.expected(n, True) for n in stopped]
        new += [over.shown(k) for k in draft.indices()]
        aside, replayed = draft.aside(), draft.replayed()
        new += [over.placed(n) for n in aside[: len(aside) - len(replayed)]]
        new += [over.placed(n) if over.fits(n) else over.expected(n, True) for n in replayed]
        return draft.with_roots(new)

    def with_eliminated(self, said: Eliminated) -> Draft:
        """With one more account of how sites were summed out."""
        return replace(self, eliminated=(*self.eliminated, said))

    def with_term(self, site: str, node: Node, passed: Node | None = None) -> Draft:
        """One more term; with its weights, if it is passed on (see `Term`)."""
        return replace(self, terms=(*self.terms, Term(site, node, passed)))

    def with_state(self, state: StateUpdate) -> Draft:
        """One more number that is carried from call to call."""
        return replace(self, states=(*self.states, state))

    def with_objective(self, name: str, node: Node, otherwise: str = "", said: str = "") -> Draft:
        """One more objective."""
        return replace(self, objectives=(*self.objectives, Objective(name, node, otherwise, said)))

    def with_params(self, params: Iterable[Brought]) -> Draft:
        """More params that estimators and baselines bring along."""
        known = {p.name for p in self.params}
        return replace(self, params=(*self.params, *(p for p in params if p.name not in known)))

    def with_checks(self, checks: Iterable[Check]) -> Draft:
        """More that must hold at a call."""
        return replace(self, checks=(*self.checks, *checks))

    def with_marks(self, marks: Iterable[Mark]) -> Draft:
        """More names for parts of terms."""
        return replace(self, marks=(*self.marks, *marks))

    def with_replays(self, replays: Iterable[Replay]) -> Draft:
        """With more that is asked for in other worlds."""
        return replace(self, replays=(*self.replays, *replays))

    def without_values(self, forgotten: Callable[[Node], bool]) -> Draft:
        """Without the recorded values that `forgotten` picks: their sites are no longer drawn as they stand."""
        return replace(self, values={name: v for name, v in self.values.items() if not forgotten(v)})

    @property
    def of_draws(self) -> list[Check]:
        """What must hold of draws, in replayed worlds too."""
        return [c for c in self.checks if c.drawn]

    def roots(self) -> list[Node]:
        """Costs, terms, state updates, objectives, site values and checks, in this order, and what is only `shown`."""
        return [*self.costs.values(), *(t.node for t in self.terms), *(s.update for s in self.states),
                *(o.node for o in self.objectives), *self.values.values(), *(c.node for c in self.checks),
                *self.shown()]

    def shown(self) -> list[Node]:
        """What nothing is made of, beside the other roots: indices, what is marked, and weights that are passed on."""
        return [*self.indices(), *self.aside()]

    def indices(self) -> list[Node]:
        """What indexes, of the checks of indices."""
        return [c.index for c in self.checks if c.index is not None]

    def aside(self) -> list[Node]:
        """What is called something, and what stands for draws there; passed weights of terms; `replayed`."""
        return [*(n for m in self.marks for n in (m.node, m.value) if n is not None),
                *(t.passed for t in self.terms if t.passed is not None), *(m.node for m in self.measured),
                *self.replayed()]

    def replayed(self) -> list[Node]:
        """What the costs are in other worlds."""
        return [n for r in self.replays for n in r.nodes]

    def rewritten(self, mapping: Mapping[Node, Node], hook: Hook | None = None) -> Draft:
        """Every root with nodes replaced."""
        return self.with_roots(substitute(self.roots(), mapping, hook))

    def with_roots(self, roots: list[Node]) -> Draft:
        """The draft with other roots, in the order of `roots()`."""
        left = iter(roots)
        costs = {name: next(left) for name in self.costs}
        terms = tuple(replace(t, node=next(left)) for t in self.terms)
        states = tuple(replace(s, update=next(left)) for s in self.states)
        objectives = tuple(replace(o, node=next(left)) for o in self.objectives)
        values = {name: next(left) for name in self.values}
        checks = [replace(c, node=next(left)) for c in self.checks]
        checks = [c if c.index is None else replace(c, index=next(left)) for c in checks]
        marks = [replace(m, node=next(left), value=m.value if m.value is None else next(left)) for m in self.marks]
        terms = tuple(t if t.passed is None else replace(t, passed=next(left)) for t in terms)
        measured = tuple(replace(m, node=next(left)) for m in self.measured)
        replays = tuple(r._replace(nodes=tuple(next(left) for _ in r.nodes)) for r in self.replays)
        return replace(self, costs=costs, terms=terms, states=states, objectives=objectives, values=values,
                       checks=tuple(checks), marks=tuple(marks), measured=measured, replays=replays)
