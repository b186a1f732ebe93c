"""Where a number first stopped being finite."""

from __future__ import annotations

import numpy as np

from scg import backend
from scg.ir.node import where
from scg.ir.printer import title
from scg.ir.traverse import topological


def first_nonfinite(program, call, merged, seed: int) -> tuple[str, str]:
    """Place and name of the first node that is not finite although its arguments are, by the reference backend."""
    numpy = backend.load("numpy")
    nodes = [n for n in topological([o.node for o in program.outputs]) if n.kind in ("real", "bool")]
    for chunk in call.division.chunks:
        evaluation = numpy.evaluation(program.layout, call, chunk)
        finite: dict[int, bool] = {}
        for node, value in zip(nodes, numpy.evaluate(nodes, evaluation)):
            finite[node.id] = node.op.name == "const" or bool(np.all(np.isfinite(value)))
            if not finite[node.id] and all(finite.get(a.id, True) for a in node.args):
                return where(node), title(node)
    return "", "the estimate"
