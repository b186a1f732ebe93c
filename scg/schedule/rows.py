"""Outputs by row: every row of the data has a sum, and moments, of its own.

Where rows are lanes, the values of such an output stand in the tile row after row. Where rows are a loop inside the
tile, it is computed in the first of these loops in which all that it needs is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scg.ir.node import Node
from scg.program import Program
from scg.schedule.builder import Builder
from scg.schedule.language import Note, Observe, Run


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


def observe_rows(b: Builder, outputs: Sequence[RowOutput], row: str) -> None:
    """Add a tile's values to the numbers of its rows; `row` says what the first of them is."""
    for o in outputs:
        b.write(Note(f'by row: grad "{o.name}"'))
        buffer = b.env.ready.get(o.node.id)
        if buffer is None or buffer.vector != "lane":
            buffer = b.copied(o.node)
        b.write(Observe(Run(buffer.offset, o.at, o.node.size, o.moments), b.index(),
                        "row" if b.layout.coupled else None, b.layout.row_width, row))
