"""Functions of parts of a draw, as parts of functions of the draw: log(x[0]) as log(x)[0], log(1 − x) as log1p(−x).

A family may know a function of its draw without the rounding of the draw (`Distribution.of_draw`): log x of a share
that is too small to be written. So these stand where they are looked for, also where the user took a part first. What
becomes of a draw is the same number, where both are defined.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from scg.functions import log, log1p
from scg.ir.location import derived_from
from scg.ir.node import Node, make
from scg.ir.traverse import Substitution, rebuild, topological
from scg.ops.arithmetic import div_op, sub_op
from scg.ops.elementary import log_op
from scg.ops.randomness import distribution_of, sample_op
from scg.ops.scan import scan_op


def of_whole_draws(roots: Sequence[Node]) -> list[Node]:
    """The roots with functions of parts of draws as parts of functions that their families know, in scans too."""
    order = topological(roots)
    written = Substitution()
    for node in order:
        if node.op is scan_op:
            outputs = of_whole_draws(node.attrs.outputs)
            if any(new is not old for new, old in zip(outputs, node.attrs.outputs)):
                with derived_from(node.source):
                    args = tuple(map(written, node.args))
                    written.put(node, make(node.op, args, node.attrs.with_outputs(tuple(outputs))))
        elif node.op.kind == "elementwise" and node.kind == "real":
            with derived_from(node.source):
                found = _known(node)
            if found is not None and found is not node:
                written.put(node, written(found))
    return list(map(written, roots))


def _known(node: Node) -> Node | None:
    """The node by a function that a family knows; None if it is not made of one."""
    if node.op is log_op:
        (arg,) = node.args
        if arg.op is sub_op and arg.args[0].is_const and arg.args[0].attrs.ask("is", 1.0):
            return _known(log1p(-arg.args[1])) if arg.args[1].shape == arg.shape else None
        if arg.op is div_op and arg.args[0].shape == arg.args[1].shape:
            above, below = (_known(log(part)) for part in arg.args)
            return None if above is None or below is None else above - below
    found = _pulled(node)
    if found is None:
        return None
    x, core, moves = found
    if core is x or not x.attrs.family.can("of_draw") or core not in distribution_of(x).of_draw(x, x.args[-1]):
        return None
    return reduce(lambda whole, move: rebuild(move, (whole,)), moves, core)


def _pulled(node: Node) -> tuple[Node, Node, tuple[Node, ...]] | None:
    """The draw that a node is made of, the function of it, and what moves the elements of that."""
    if node.op is sample_op:
        return node, node, ()
    if len(node.args) != 1 or not (node.op.kind == "elementwise" or node.op.index_map is not None):
        return None
    found = _pulled(node.args[0])
    if found is None:
        return None
    x, core, moves = found
    return (x, core, (*moves, node)) if node.op.index_map is not None else (x, rebuild(node, (core,)), moves)
