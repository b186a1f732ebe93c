"""The loop language: what a thing is made of, and another made of it with parts of it changed."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from scg.schedule.language.expressions import Expr, Place, Var, Words
from scg.schedule.language.kernels import Kernel
from scg.schedule.language.statements import Row, Statement


def changed(thing: Any, change: Callable[[Any], Any]) -> Any:
    """Something, with each of its parts, and then itself, changed; what becomes None is left out of its block."""
    if isinstance(thing, tuple) and not hasattr(thing, "_fields"):
        return tuple(y for x in thing for y in [changed(x, change)] if y is not None)
    if isinstance(thing, tuple):
        return type(thing)(*(changed(x, change) for x in thing))
    if isinstance(thing, Kernel):
        return dataclasses.replace(thing, call=changed(thing.call, change), tile=changed(thing.tile, change),
                                   end=changed(thing.end, change))
    if not isinstance(thing, Expr | Place | Statement):
        return thing
    names = [f.name for f in dataclasses.fields(thing)]  # type: ignore[arg-type]  # all of these are dataclasses
    values = {name: changed(getattr(thing, name), change) for name in names}
    return change(type(thing)(**values))


WHOLE = {"tuple[int, ...]", "str", "int", "bool", "float", "str | None", "int | None", "Op", "Buffer", "Run", "Any",
         "Operand", "Buffer | Leaf"}


@functools.cache
def _composed(kind: type) -> tuple[str, ...]:
    """The fields that hold expressions, places and statements."""
    return tuple(field.name for field in dataclasses.fields(kind) if field.type not in WHOLE)


def parts(thing: Any) -> list[Any]:
    """The expressions, places and statements that one is made of, as they are read."""
    found: list[Any] = []
    for name in _composed(thing.__class__):
        value = getattr(thing, name)
        if value.__class__ is tuple or isinstance(value, Words | Row):
            found += _among(value)
        elif value is not None:
            found.append(value)
    return found


def _among(values: tuple) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if isinstance(value, tuple):
            found += _among(value)
        elif isinstance(value, Expr | Place | Statement):
            found.append(value)
    return found


def variables(thing: Any) -> list[Var]:
    """All variables in an expression or statement, as they are read."""
    found: list[Var] = []
    waiting = [thing]
    while waiting:
        one = waiting.pop()
        if one.__class__ is Var:
            found.append(one)
        else:
            waiting += parts(one)[::-1]
    return found
