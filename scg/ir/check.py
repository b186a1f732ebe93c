"""What must hold at a call, and cannot be proved when a graph is compiled."""

from __future__ import annotations

from dataclasses import dataclass

from scg.errors import Problem
from scg.ir.node import Node


@dataclass(frozen=True)
class Check:
    """What must hold at a call: a node that is 0 where it does, and what to say where it does not.

    What must hold of draws (`drawn`) must hold of them in the worlds that estimators replay as well. Of what is only to
    be `finite`, where an estimate is not finite either, the node where that began says more; unless it is infinite, and
    somebody could have `meant` that.
    """

    problem: Problem
    node: Node
    drawn: bool = False
    finite: bool = False
    index: Node | None = None  # of an index: what it is, and the size of what it indexes
    size: int = 0
    meant: bool = False
