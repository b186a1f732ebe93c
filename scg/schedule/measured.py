"""Which standard errors are from comparisons: those of gradients that are summed as they come.

Backends are given the program as it is after this, so that all of them mean the same by a standard error.
"""

from __future__ import annotations

from dataclasses import replace

from scg.program import Output, Program
from scg.schedule.summed import parts_of
from scg.schedule.whole import rank_of


def measured(program: Program) -> Program:
    """The program, in which outputs are `compared` if they are summed in tiles, and no others."""
    ranks = rank_of([o.node for o in program.outputs], program.layout.shared)

    def settled(o: Output) -> Output:
        compared = o.compared and not program.layout.shared and parts_of(o.node, lambda n: ranks[n.id] > 0) is not None
        return o._replace(compared=compared, moments=o.moments and not compared)

    outputs = tuple(map(settled, program.outputs))
    means = tuple(slot._replace(moments=o.moments, compared=o.compared)
                  for slot, o in zip(program.layout.means, outputs))
    return Program(replace(program.layout, means=means), outputs)
