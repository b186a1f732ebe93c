"""Which pieces of an index map an element may be, where a plan knows some of its indices and not others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scg.ir.index_map import Piece, Within
from scg.ir.node import Node
from scg.schedule import language as lang
from scg.schedule.indices import as_index


class Option(NamedTuple):
    """A piece that an element may be: an element of an argument, or a number where that is None.

    `where` are the conditions that are not known to hold, `guarded` the dimensions whose index is one of the argument's
    only where they do.
    """

    argument: int | None
    at: tuple
    where: tuple[Within, ...]
    guarded: tuple[int, ...]
    number: float = 0.0


def possible(node: Node, pieces: Sequence[Piece | float]) -> list[Option]:
    """The pieces that an element may be; the last of them it is where it is none of the others."""
    found: list[Option] = []
    for piece in pieces:
        option = _option(node, piece)
        found += [option] if option is not None else []
        if option is not None and not option.where:
            return found
    if not found or any(as_index(w.index).read for w in found[-1].where):
        found.append(Option(None, (), (), (), np.nan))
    return found


def _option(node: Node, piece: Piece | float) -> Option | None:
    if not isinstance(piece, Piece):
        return Option(None, (), (), (), piece)
    shape = node.args[piece.argument].shape
    read = [Within(i, 0, size) for i, size in zip(piece.at, shape) if as_index(i).read]
    where = [Within(as_index(i), low, high) for i, low, high in (*piece.where, *read)]
    if 0 in shape or any(w.index.known and not w.low <= w.index.number < w.high for w in where):
        return None
    unknown = tuple(w for w in where if not w.index.known)
    bounded = {w.index.value for w in unknown}
    guarded = tuple(d for d, i in enumerate(piece.at) if as_index(i).value in bounded)
    return Option(piece.argument, piece.at, unknown, guarded)


def test_of(conditions: Sequence[Within]) -> lang.Every:
    """Conditions as one expression."""
    return lang.Every(tuple(lang.Within(as_index(w.index).expr, w.low, w.high) for w in conditions))
