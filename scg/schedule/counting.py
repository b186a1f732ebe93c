"""Sums over lanes that differ in one draw of two values: they are counted, and each value is computed once.

With n of N lanes in which a draw is 1, Σ h = n · h(1) + (N − n) · h(0) for whatever h is computed from the draw and
from what all these lanes have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from scg.schedule.language import (
    Block,
    Buffer,
    Cast,
    Counted,
    Element,
    Expr,
    Groups,
    Lane,
    Let,
    Load,
    Loop,
    Num,
    Part,
    PartOf,
    Place,
    Product,
    Replicate,
    RowOf,
    Set,
    Statement,
    Sum,
    Tally,
    TallyCounted,
    Var,
    changed,
    parts,
)

LONG = 16  # lanes of a group from which on two values are less work than so many
NOTHING = Num(0.0, "float64")


def counted_groups(groups: Groups, indicators: Collection[Buffer], fresh: Callable[[str], str]) -> Groups:
    """The same sums; by counting, if the lanes of a group differ in one element of a buffer of zeros and ones."""
    runs = {s.var: s.value.buffer for s in groups.head if isinstance(s, Let) and isinstance(s.value, PartOf)}

    def drawn(place: Place) -> bool:
        return isinstance(place, Part) and runs.get(place.part) in indicators

    draw = _only_draw(groups.lanes, drawn, Sum)
    if draw is None or (groups.usual or 0) < LONG:
        return groups
    ones = Var(fresh("n"), "float64")
    lets, pairs = _with_both(groups.lanes, draw.var)
    sums = [Set(one.var, Counted(ones, _product(one), _product(zero))) for one, zero in pairs]
    # A loop that adds up 64 numbers would be written out, and then no longer be turned into vectors.
    return replace(groups, head=(*groups.head, Set(ones, NOTHING)), lanes=_count(draw, ones), sums=(*lets, *sums),
                   usual=None)


def counted_tallies(loop: Loop, indicators: Collection[Buffer], fresh: Callable[[str], str]) -> Block:
    """The same, of what is tallied in a loop over the lanes of a tile."""

    def drawn(place: Place) -> bool:
        return isinstance(place, Element) and place.buffer in indicators and not _varies(place.at)

    draw = _only_draw(loop.body, drawn, Tally) if loop.kind == "counted" else None
    if draw is None:
        return (loop,)
    ones = Var(fresh("n"), "float64")
    lets, pairs = _with_both(loop.body, draw.var)
    tallies = [TallyCounted(one.element, ones, one.value, zero.value, one.moments) for one, zero in pairs]
    return Set(ones, NOTHING), replace(loop, body=_count(draw, ones)), *lets, *tallies


def _only_draw(lanes: Block, drawn: Callable[[Place], bool], sink: type[Statement]) -> Let | None:
    """The statement that reads the draw in which lanes differ, if they differ in nothing else and all is summed."""
    draws = [s for s in lanes if isinstance(s, Let) and isinstance(s.value, Load) and drawn(s.value.place)]
    rest = [s for s in lanes if s not in draws]
    if len(draws) != 1 or len(rest) < 2 or not all(isinstance(s, Let | sink) for s in rest) or any(map(_varies, rest)):
        return None
    return draws[0]


def _count(draw: Let, ones: Var) -> Block:
    """What is done in each lane: it is counted if the draw is 1."""
    return draw, Sum(ones, (draw.var if draw.var.type == "float64" else Cast(draw.var, "float64"),))


def _varies(thing: Statement | Expr) -> bool:
    """Whether something depends on the lane by itself, and not by a variable."""
    return isinstance(thing, Lane | Part | Replicate) or (isinstance(thing, RowOf) and not thing.grouped) \
        or any(map(_varies, parts(thing)))


def _with_both(lanes: Block, draw: Var) -> tuple[list[Let], list[tuple[Any, Any]]]:
    """The variables of a lane where the draw is 1, and where it is 0; and what is summed, in pairs of these."""
    one, zero = _with_value(lanes, draw, 1.0), _with_value(lanes, draw, 0.0)
    return [s for s in one + zero if isinstance(s, Let)], [p for p in zip(one, zero) if not isinstance(p[0], Let)]


def _with_value(lanes: Block, draw: Var, value: float) -> Block:
    """The statements where the draw has a value, with names of their own."""
    own = {s.var for s in lanes if isinstance(s, Let)}

    def change(x: object) -> object:
        if isinstance(x, Let) and x.var == named(draw):
            return Let(x.var, Num(value, draw.type))
        return named(x) if isinstance(x, Var) and x in own else x

    def named(x: Var) -> Var:
        return Var(f"{x.name}_{value:.0f}", x.type)

    return changed(lanes, change)


def _product(s: Sum) -> Expr:
    return s.factors[0] if len(s.factors) == 1 else Product(s.factors)
