"""Sites of a loop summed out step by step: which of them together, and whether that can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log, prod
from typing import Any, NamedTuple

import numpy as np

from scg.analysis.influence import sites
from scg.ir.axes import Axis
from scg.ir.node import Node
from scg.ir.traverse import topological
from scg.ops.scan import Opened, scan_op
from scg.surrogate.draft import Draft
from scg.surrogate.draws_apart import Joined
from scg.surrogate.elimination import Eliminated
from scg.surrogate.forward import Finite, Forward, NotMarkov
from scg.surrogate.forward_by_states import ByStates, BySums, NoStates
from scg.surrogate.in_loops import holds
from scg.surrogate.recursions import Recursions
from scg.surrogate.replacement import all_combinations

MOST_BEFORE = 1 << 10  # values of a step's draws, of which all pairs with those of the step before are summed over
OTHERWISE = ("draw a next state of few values as a site of its own, from a table of zeros and ones, "
             'g.sample("state", scg.Categorical(probs=table[state, draw])), and sum it out too; or write the steps, if '
             "they are few, as a Python loop")  # what works where a loop is not summed out step by step


class Summand(NamedTuple):
    """A site of a loop that is summed out, and the values of its draws."""

    site: Any  # a `ScanSite`
    values: np.ndarray


class BySteps(NamedTuple):
    """The draft with a site summed out step by step, if it can be.

    Attributes
    ----------
    draft : Draft or None
    draws : int
        How many draws are summed over together.
    why : str
        Why so many, if it is not summed out step by step.
    others : tuple of str
        The sites that were summed out with it.
    """

    draft: Draft | None
    draws: int
    why: str
    others: tuple[str, ...] = ()


def said_of(summands: Sequence[Summand]) -> str:
    """The sites, by name."""
    return " and ".join(f'"{s.site.name}"' for s in summands)


def tried_by_steps(own: Summand, opening: Callable[[Node], Opened]) -> BySteps:
    """A site summed out step by step, with those of its step that it reaches or is reached by; or why it is not.

    Where that cannot be, its draws are told apart, or it is summed out alone; of no more than two steps the paths are
    no more than the pairs of values.
    """
    site, whys, unknown = own.site, [], []  # type: tuple[Any, list[str], list[str]]
    draws, steps, mates = prod(site.draws), site.steps[0], _mates(own)
    ways: list[tuple[tuple[Summand, ...], bool, type[Forward]]] = [(mates, False, Forward)] if mates else []
    ways += [((), True, Forward)] if draws > 1 and not site.masks else []
    ways += [((), False, Forward)] if steps > 2 else []
    ways += [(_movers(own), False, kind) for kind in (ByStates, BySums)] if steps > 2 else []
    for others, apart, kind in ways:
        try:
            draft = _recursion((own, *others), apart, opening, kind)
            return BySteps(draft, 1 if apart else draws, "", tuple(o.site.name for o in others))
        except (NotMarkov, Joined) as said:
            whys.append(str(said))
            unknown += [str(said)] if isinstance(said, NoStates) else []
    told = [*whys[:1], *(why for why in whys[1:] if why in unknown)]
    return BySteps(None, steps * draws, "; ".join(dict.fromkeys(told)) or "there are no more than two steps")


def _mates(own: Summand) -> tuple[Summand, ...]:
    """The sites of its step that are summed out as it is and reach it, or each other, or are reached."""
    site, others = own.site, {other.site.name: other for other in own.site.companions}
    body = site.scan.attrs
    inside = {s.name: s.anchor for s in sites(body.outputs) if s.scan is None and s.name in {site.name, *others}}
    reached = {name: body.downstream([anchor]) for name, anchor in inside.items()}
    group, waiting = {site.name}, [site.name] if site.name in inside else []
    while waiting:
        one = waiting.pop()
        more = {name for name, anchor in inside.items() if name not in group and (
            anchor.id in reached[one] or inside[one].id in reached[name])}
        group |= more
        waiting += sorted(more)
    return tuple(other for name, other in others.items() if name in group)


def _movers(own: Summand) -> tuple[Summand, ...]:
    """The sites of its step that are summed out as it is and move a state of the loop that it moves, or each other."""
    site, others = own.site, {other.site.name: other for other in own.site.companions}
    body = site.scan.attrs
    moved = {s.name: body.downstream([s.anchor]) for s in sites(body.outputs)
             if s.scan is None and s.name in {site.name, *others}}
    states = {name: {c.id for c in body.carries if c.id in below} for name, below in moved.items()}
    group, waiting = {site.name}, [site.name] if site.name in moved else []
    while waiting:
        one = waiting.pop()
        more = {name for name in moved if name not in group and states[name] & states[one]}
        group |= more
        waiting += sorted(more)
    return tuple(other for name, other in others.items() if name in group)


def _recursion(summands: Sequence[Summand], apart: bool, opening: Callable[[Node], Opened],
               kind: type[Forward]) -> Draft:
    first, names = summands[0].site, [s.site.name for s in summands]
    if not apart and sum(prod(s.site.draws) * log(max(len(s.values), 1)) for s in summands) > log(MOST_BEFORE):
        with_others = f", with those of {said_of(summands[1:])}," if len(summands) > 1 else ""
        raise NotMarkov(f"its draws{with_others} have more than {MOST_BEFORE:,} values in one step")
    finite = [Finite(s.site.name, s.values if apart else all_combinations(s.values, s.site.draws),
                     s.site.fixed if s.site.masks else None) for s in summands]
    scans = [n for n in topological(first.draft.roots()) if n.op is scan_op and (
        n is first.scan or any(holds(n, name) for name in names))]
    over = Recursions(scans, finite, (first.shape, first.draws) if apart else None, opening, kind)
    draft = first.draft
    for s in summands:
        draft = draft.without_values(s.site._depends)
    draft = over.summed_out_of(draft)
    for s, f in zip(summands, finite):
        before = over.states or (Axis(f"{s.site.name} before", len(f.grid)),)
        s.site._note_values((*before, Axis(f"{s.site.name} support", len(f.grid))))
    if len(summands) == 1:
        return draft
    order = tuple(names)
    return draft.with_eliminated(Eliminated(order, order, prod(
        [len(f.grid) for f in finite] + [axis.size for axis in over.states])))
