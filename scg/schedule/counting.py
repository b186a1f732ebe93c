"""Sums over a group whose lanes differ in one draw of two values: lanes are counted, and each value is computed once.

With n of N lanes at which a draw is 1, Σ h = n · h(1) + (N − n) · h(0) for whatever h is computed from the draw and from
what all lanes of the group have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from scg.schedule.language import (
    Block,
    Buffer,
    Cast,
    Counted,
    Expr,
    Groups,
    Lane,
    Let,
    Load,
    Num,
    Part,
    PartOf,
    Product,
    Replicate,
    RowOf,
    Set,
    Statement,
    Sum,
    Var,
    changed,
    parts,
)

LONG = 16  # lanes of a group from which on two values are less work than so many
NOTHING = Num(0.0, "float64")


def counted(groups: Groups, indicators: Collection[Buffer], fresh: Callable[[str], str]) -> Groups:
    """The same sums; by counting, if the lanes read one element of buffers whose numbers are 0 and 1, and all else that
    they read is the same for the whole group."""
    draw = _only_draw(groups, indicators)
    if draw is None or (groups.usual or 0) < LONG or len(groups.lanes) < 3:
        return groups
    ones = Var(fresh("n"), "float64")
    own = draw.var if draw.var.type == "float64" else Cast(draw.var, "float64")
    at = {value: _with_value(groups.lanes, draw.var, value) for value in (1.0, 0.0)}
    sums = [Set(s.var, Counted(ones, _product(one), _product(zero)))
            for s, one, zero in zip(groups.lanes, at[1.0], at[0.0])
            if isinstance(s, Sum) and isinstance(one, Sum) and isinstance(zero, Sum)]
    lets = [s for block in at.values() for s in block if isinstance(s, Let)]
    return replace(groups, head=(*groups.head, Set(ones, NOTHING)), lanes=(draw, Sum(ones, (own,))),
                   sums=(*lets, *sums), usual=None)


def _only_draw(groups: Groups, indicators: Collection[Buffer]) -> Let | None:
    """The statement that reads the draw which the lanes differ in, if they differ in nothing else."""
    runs = {s.var: s.value.buffer for s in groups.head if isinstance(s, Let) and isinstance(s.value, PartOf)}
    draws = [s for s in groups.lanes if isinstance(s, Let) and isinstance(s.value, Load)
             and isinstance(s.value.place, Part) and runs.get(s.value.place.part) in indicators]
    rest = [s for s in groups.lanes if s not in draws]
    if len(draws) != 1 or not all(isinstance(s, Let | Sum) for s in rest) or any(map(_varies, rest)):
        return None
    return draws[0]


def _varies(thing: Statement | Expr) -> bool:
    """Whether something depends on the lane by itself, and not by a variable."""
    return isinstance(thing, Lane | Part | Replicate) or (isinstance(thing, RowOf) and not thing.grouped) \
        or any(map(_varies, parts(thing)))


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
