"""Where a parameter reaches the edge of its range and moves there, so that a score misses part of the gradient.

At an edge some value of the site has probability 0 and is never drawn, though its probability may have a derivative.
Whether it has is a matter of the local derivative, whatever the parameter is computed by: reverse mode from the
elements that are at the edge, with either slope at a kink. What does not move there is no trouble: a literal 0, a
factor that is masked by a 0, 1 − exp(−b i) at i = 0, a probability that a minimum holds at 1.

A check stands in the draft as a mark on the parameter, so that it is rewritten with it; `settled` writes it out when
every site has been rewritten and derivatives flow along the paths of samples too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from scg.analysis.bounds import Ranges
from scg.differentiate.reverse_mode import gradients
from scg.errors import Problem
from scg.ir.check import Check
from scg.ir.node import Node, as_real, constant
from scg.ir.traverse import substitute, topological
from scg.ops.arithmetic import choose
from scg.ops.control import at_edge, at_edge_op
from scg.ops.reduce import total
from scg.surrogate.site import Site

# A parameter moves at an edge if this part of its derivative changes it in working precision. At 0 that is any at all;
# a probability that rounding makes 1 has a derivative of some units in the last place, and no say in the gradient.
STEP = 2.0**-10


def edge_checks(site: Site, asker: str, advice: str) -> Iterator[Check]:
    """What must hold at a call where `asker` multiplies the score of the site."""
    for name, edges in site.family.edges.items():
        if name not in site.dist.params or not site.flows_into(name):
            continue
        node = site.parameter(name)
        within = Ranges()(node)
        found = [at_edge(node, at) for at in edges if within.contains(at)]
        if found:
            values = " or ".join(f"{at:g}" for at in edges)
            yield Check(Problem(
                site.where,
                f"{asker} was to be used where {site.family.__name__} is given {name} = {site.spelled(name)}.",
                f"In at least one replicate {name} is {values}: a value of probability 0 is never drawn, and its part "
                "of the gradient would be missing.",
                advice or f"Keep {name} off {values}, as a softmax or a sigmoid does."), sum(found[1:], found[0]))


def settled(checks: Sequence[Check], sources: Iterable[Node]) -> tuple[Check, ...]:
    """The checks with every mark written out: above 0 where a parameter is at an edge and moves with a source."""
    sources = list(sources)
    marks = [n for n in topological([c.node for c in checks]) if n.op is at_edge_op]
    nodes = substitute([c.node for c in checks], {n: _moves(n.args[0], n.attrs, sources) for n in marks})
    return tuple(replace(check, node=node) for check, node in zip(checks, nodes))


def _moves(node: Node, at: float, sources: Sequence[Node]) -> Node:
    """How many derivatives of the elements that are `at` an edge are not 0, in each world and replicate."""
    reached = node == at
    # a direction in which derivatives of several elements cancel by accident only
    weights = 1.0 + np.modf(np.arange(1.0, node.size + 1.0) * 0.6180339887498949)[0].reshape(node.shape)
    keep = {"row", "lane", *(ax.name for ax in node.axes)}
    slopes = gradients({node: choose(reached, constant(weights), 0.0)}, sources, keep, cautious=True)
    moved = [as_real(at + STEP * g != at) for g in slopes if g is not None]
    counts = [total(m) for m in moved]
    return sum(counts[1:], counts[0]) if counts else constant(0.0)
