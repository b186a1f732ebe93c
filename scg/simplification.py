"""From a program to the one that a backend gets: fewer and cheaper nodes for the same outputs."""

from __future__ import annotations

from scg.passes.scans import merge_scans, prune_scans, split_scans
from scg.passes.simplify import simplify
from scg.program import Program


def simplified(program: Program) -> Program:
    """The program after the rules, with loops merged, taken apart by what varies by row, and pruned."""
    return program.rewritten(simplify).rewritten(merge_scans).rewritten(split_scans).rewritten(prune_scans)
