"""Outputs by row: every row of the data has a sum, and moments, of its own.

Where rows are lanes, the values of such an output stand in the tile row after row. Where rows are a loop inside the
tile, it is computed in the first of these loops in which all that it needs is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scg.ir.node import Node
from scg.program import FEWEST_GROUPS, Program
from scg_numba.emit import Emitter


@dataclass(frozen=True, eq=False)
class RowOutput:
    """An output by row, and where its elements begin among those of a row."""

    at: int
    node: Node
    name: str
    moments: bool


def row_outputs(program: Program) -> list[RowOutput]:
    """The outputs by row of a program."""
    out, at = [], 0
    for o in program.by_row:
        out.append(RowOutput(at, o.node, o.name, o.moments))
        at += o.node.size
    return out


def observe_rows(e: Emitter, outputs: Sequence[RowOutput], row: str) -> None:
    """Add a tile's values to the numbers of its rows, of which the first is number `row` of the chunk."""
    width, by_group = e.layout.row_width, f"by_group and groups >= {FEWEST_GROUPS}" if e.layout.coupled else None
    for o in outputs:
        e.write(f'# by row: grad "{o.name}"')
        buffer = e.env.ready.get(o.node.id)
        if buffer is None or buffer.vector != "lane":
            buffer = e._copied(o.node)
        i = e.fresh("i")
        e.write(f"for {i} in range({o.node.size}):")
        e.indent += 1
        e.observe(f"({buffer.offset} + {i}) * W", f"{row} * {width} + {o.at} + {i}", o.moments, by_group, width)
        e.indent -= 1
