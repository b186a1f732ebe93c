"""What LLVM is told of a kernel's loops.

The file's text is pasted into exported modules: it needs llvmlite only.
"""

import ast

from llvmlite import ir

from scg_numba.trees import Repeated, nodes_of

ADD_WIDELY = "llvm.loop.vectorize.width", 16  # of loops in float32 that add to sums in float64: turns at a time
STAY_LOOPS = ("llvm.loop.unroll.disable",)


def around_lanes(loop):
    """Whether a loop stands around loops over lanes, or goes over times.

    LLVM would write its body down once for each turn, and make vectors of each of these loops over lanes: ten times the
    machine code, which is no faster, for the time goes into the lanes.
    """
    return isinstance(loop, Repeated) or any(isinstance(x, ast.For) and _of_lanes(x)
                                             for statement in loop.body for x in nodes_of(statement))


def _of_lanes(loop):
    """Whether it is not known how far a loop counts."""
    return any(isinstance(x, ast.Name | ast.Subscript) for bound in loop.iter.args for x in nodes_of(bound))


def tell(module, branch, words):
    """Say something of the loop that a branch goes back to the beginning of: the same node for all of a module."""
    said = module.add_metadata([ir.MetaDataString(module, x) if isinstance(x, str) else ir.IntType(32)(x)
                                for x in words])
    loop = module.add_metadata([said, said])
    loop.operands = loop, said  # LLVM wants a node that begins with itself
    branch.set_metadata("llvm.loop", loop)
