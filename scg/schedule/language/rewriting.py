"""The loop language: one thing made of another, with parts of it changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from scg.schedule.language.expressions import Expr, Place
from scg.schedule.language.statements import Kernel, Statement


def changed(thing: Any, change: Callable[[Any], Any]) -> Any:
    """Something, with each of its parts, and then itself, changed; what becomes None is left out of its block."""
    if isinstance(thing, tuple) and not hasattr(thing, "_fields"):
        return tuple(y for x in thing for y in [changed(x, change)] if y is not None)
    if isinstance(thing, tuple):
        return type(thing)(*(changed(x, change) for x in thing))
    if isinstance(thing, Kernel):
        return dataclasses.replace(thing, call=changed(thing.call, change), tile=changed(thing.tile, change))
    if not isinstance(thing, Expr | Place | Statement):
        return thing
    names = [f.name for f in dataclasses.fields(thing)]  # type: ignore[arg-type]  # all of these are dataclasses
    values = {name: changed(getattr(thing, name), change) for name in names}
    return change(type(thing)(**values))
