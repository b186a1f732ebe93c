"""Rewrites by the rule tables, to a fixed point.

In: a program. Out: the same outputs, in fewer or cheaper nodes.
"""

from __future__ import annotations

from dataclasses import replace

from scg.program import Program
from scg.rules.driver import rewrite


def simplify(program: Program) -> Program:
    """The program with every rule applied."""
    nodes = rewrite([o.node for o in program.outputs])
    return replace(program, outputs=tuple(o._replace(node=n) for o, n in zip(program.outputs, nodes)))
