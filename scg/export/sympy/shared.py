"""Parts of a formula that occur more than once: each is written once, so that text grows with the graph.

While nodes are converted, or derivatives taken, every long part gets a name; when the whole is known, those that are
written once lose it.
"""

from __future__ import annotations

from collections.abc import Callable

import sympy

from scg.export.sympy.named import Named, Shared

DEEP = 40  # levels of a part that keeps its name though it occurs once: sympy prints, and differentiates, by recursion


def settled(expr, renamed: Callable = lambda part, definition: part.func(part.head, definition)):
    """The expression with names for those parts only that are written more than once, or are deep.

    Parameters
    ----------
    expr : sympy expression
    renamed : callable
        ``renamed(part, definition) -> part``: what a part that keeps a name becomes.
    """
    order = _outermost_first(expr)
    kept = _written_again(order)
    done: dict = {}
    levels: dict = {}
    for part in reversed(order):
        args = [done.get(a, a) for a in part.args]
        if isinstance(part, Shared):
            definition = done[part.definition]
            keep = part in kept or levels[definition] > DEEP
            new = renamed(part, definition) if keep else definition
        elif isinstance(part, Named):
            new = part.changed(lambda e: done.get(e, e))
        else:
            new = part if all(a is b for a, b in zip(args, part.args)) else part.func(*args)
        done[part] = new
        _measure(new, levels)
    return done[expr]


def _measure(expr, levels: dict) -> None:
    """Enter the levels of an expression whose parts are mostly entered."""
    waiting = [expr]
    while waiting:
        part = waiting[-1]
        args = part.args
        missing = [a for a in args if a not in levels]
        if missing:
            waiting += missing
        else:
            levels[part] = 1 + max((levels[a] for a in args), default=0)
            waiting.pop()


def _outermost_first(expr) -> list:
    """Every distinct part, before all that it is made of; of a name only what it stands for."""
    order: list = []
    state: dict = {}
    waiting = [expr]
    while waiting:
        part = waiting[-1]
        if part not in state:
            state[part] = False
            waiting += [a for a in _made_of(part) if a not in state]
        else:
            waiting.pop()
            if not state[part]:
                state[part] = True
                order.append(part)
    return order[::-1]


def _made_of(part) -> tuple:
    if isinstance(part, (Shared, Named)):
        return (part.definition,)
    return tuple(a for a in part.args if isinstance(a, sympy.Basic))


def _written_again(order: list) -> set:
    """The named parts that would be written more than once if they had no name."""
    times: dict = {order[0]: 1}
    kept = set()
    for part in order:
        if isinstance(part, Shared) and times[part] > 1:
            kept.add(part)
        for a in _made_of(part):
            times[a] = times.get(a, 0) + (1 if part in kept or isinstance(part, Named) else times[part])
    return kept
