"""Is this a graph that can be compiled? Every problem is collected before one error is raised.

In: the declared graph. Out: nothing, or an error.
"""

from __future__ import annotations

from collections.abc import Mapping

from scg.analysis.facts import InsideAStep
from scg.errors import DeclarationError, Problem, ShapeError, raise_all
from scg.ir.location import calling, here
from scg.ir.node import where
from scg.ops.scan import OUTSIDE


def check(graph) -> None:
    """Refuse a graph without costs, or with nodes of a step that stand outside of it."""
    if not isinstance(getattr(graph, "costs", None), Mapping):
        raise DeclarationError(str(here() or ""), f"{graph!r} was to be compiled.", "That is not a graph.",
                               "Give a scg.Graph.")
    problems: list = []
    if not graph.costs:
        problems.append((DeclarationError, Problem(
            calling(graph.name), "A graph without costs was to be compiled.", "There is nothing to minimise.",
            'Declare one: g.cost("loss", node).')))  # fmt: skip
    problems.extend(_leaked(graph))
    for name, node in graph.costs.items():
        if node.size == 0:
            problems.append((ShapeError, Problem(where(node), f'Cost "{name}" has shape {node.shape}.',
                                                 "It has no elements.", "Give it at least one.")))
    raise_all(problems)


def _leaked(graph) -> list:
    """Costs and named nodes that use a node from inside a step."""
    known = [*((f'Cost "{name}"', node) for name, node in graph.costs.items()),
             *((f'{"Site" if name in graph.sites else "Node"} "{name}"', node) for name, node in graph.nodes.items())]
    return [(DeclarationError, Problem(str(node.source or calling(graph.name)), f"{called} uses a node from inside a "
                                       "scan's step.", *OUTSIDE)) for called, node in known if InsideAStep()(node)]
