"""From a program to the one that a backend gets: fewer and cheaper nodes for the same outputs."""

from __future__ import annotations

from scg.analysis.decisions import remembering
from scg.passes.forward_only import forward_only
from scg.passes.scans import give_to_all_steps, merge_scans, prune_scans, split_scans
from scg.passes.simplify import simplify
from scg.passes.summed_steps import sum_products
from scg.passes.sums_apart import sums_apart
from scg.passes.sums_in_steps import add_up_in_steps
from scg.program import Program


def simplified(program: Program) -> Program:
    """The program after the rules, with loops merged, without large sums of products, taken apart by what varies by
    row, and pruned."""
    with remembering():
        apart = (sums_apart,) if program.layout.dtype == "float32" else ()
        for rewrite in (give_to_all_steps, simplify, *apart, merge_scans, sum_products, split_scans, prune_scans,
                        forward_only, add_up_in_steps, prune_scans):
            program = program.rewritten(rewrite)
    return program
