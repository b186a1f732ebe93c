"""Quantities of a distribution that a user made: NaN where a parameter has left its range.

A site's parameters are checked at each call, and named. Formulas of what is no site may give a number that looks right
for parameters that no distribution has: a log-probability above 0, a divergence below it. Those of a site's own
distribution are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import and_
from typing import Any

from scg.analysis.bounds import holds
from scg.ir.constraints import log_weights
from scg.ir.node import Node
from scg.ops.cancelling import shown_as
from scg.ops.control import held
from scg.ops.density import in_ranges


def within_ranges(found: Node, *dists: Any) -> Node:
    """The quantity, of the shape of what it has one of; NaN where a parameter of a distribution is out of range."""
    asked = [each for dist in dists if dist.stated for each in _conditions(dist)]
    if not asked:
        return found
    said = "; ".join(dict.fromkeys(said for said, _ in asked))
    return shown_as(in_ranges(reduce(and_, (valid for _, valid in asked)), found, said), found)


def _conditions(dist: Any) -> Iterator[tuple[str, Node]]:
    """What must hold of each parameter, in words and as a node."""
    for name, node in dist.params.items():
        constraint = dist.parameters[name]
        # without a finite logit there is no number anyway
        if constraint.node is not None and constraint is not log_weights and not holds(constraint, node):
            yield f"{name} of {type(dist).__name__} must be {constraint.text}", constraint.node(held(node))
