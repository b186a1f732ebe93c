"""Where a number first stopped being finite."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scg import backend
from scg.derivation import Derivation
from scg.errors import Problem
from scg.ir.location import calling
from scg.ir.node import Node, where
from scg.ir.printer import name_of, short, title
from scg.ir.traverse import topological
from scg.program import Call, Layout, Program

_ADVICE = {
    "log": "Keep its argument above 0.", "log1p": "Keep its argument above -1.", "sqrt": "Keep its argument above 0.",
    "div": "Keep its denominator away from 0.",
    "exp": "Keep its argument below 709, or use scg.sigmoid, scg.softplus or scg.logsumexp.",
    "take": "Keep the index from 0 to the length of the table less 1.",
    "sample": "Keep its parameters away from the ends of their range.",
}  # fmt: skip


def first_nonfinite(derivation: Derivation, program: Program, call: Call) -> Problem:
    """The first node that is not finite although its arguments are, by the reference backend.

    The costs as they were declared come first, because their nodes have the user's names; then what was compiled.
    """
    layout = program.layout
    what = f'The estimate of graph "{layout.name}" is not finite.'
    declared, compiled = list(derivation.graph.costs.values()), [o.node for o in program.outputs]
    for roots, kind in ((declared, "value"), (compiled, "derivative")):
        node = _first(_drawn(roots, layout), layout, call)
        if node is not None:
            advice = _ADVICE.get(node.op.name, "Keep its arguments where it is defined.")
            return Problem(where(node), what, _why(node, kind), advice)
    return Problem(calling(layout.name), what, "Every node is finite in every replicate, but a sum over them is not.",
                   "Scale the costs down.")


def _why(node: Node, kind: str) -> str:
    if node.op.name == "take":
        called = f"An index left its table, of length {node.args[0].shape[0]}, at {short(node)}"
    elif kind == "derivative":
        called = f"The derivative {short(node)} is the first that is not"
    elif name_of(node) is None:
        called = f"{short(node)} is the first that is not"
    else:
        meaning = "" if node.op.name == "sample" else f" = {short(node)}"
        called = f"{title(node)[0].upper()}{title(node)[1:]}{meaning} is the first that is not"
    return f"{called}, in at least one replicate."


def _drawn(roots: Sequence[Node], layout: Layout) -> list[Node]:
    """The numbers below the roots, less those that depend on noise that is not drawn: of sites summed out."""
    lacking: set[int] = set()
    found = []
    for n in topological(roots):
        if (n.op.name == "noise" and n.attrs.path not in layout.paths) or any(a.id in lacking for a in n.args):
            lacking.add(n.id)
        elif n.kind in ("real", "bool"):
            found.append(n)
    return found


def _first(nodes: Sequence[Node], layout: Layout, call: Call) -> Node | None:
    numpy = backend.load("numpy")
    for chunk in call.division.chunks:
        finite: dict[int, bool] = {}
        for node, value in zip(nodes, numpy.evaluate(nodes, numpy.evaluation(layout, call, chunk))):
            finite[node.id] = node.op.name == "const" or bool(np.all(np.isfinite(value)))
            if not finite[node.id] and all(finite.get(a.id, True) for a in node.args):
                return node
    return None
