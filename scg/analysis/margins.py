"""Poles that paths of samples are kept from by a tiny number only: x / (|x| + 1e-8).

That is continuous, and its derivative is right in expectation; but all of it may be a spike as wide as the margin,
which no sample meets: the estimate is then 0 ± 0, or what is left of it. So it is said where a pole would be passed if
the margin were 0.

A margin is a literal that is added to what varies, or that a maximum takes. The pole is passed where the end of a range
is attained: |x| and x² are 0 somewhere, eˣ nowhere. A sum of several numbers that are not below 0, as a squared norm
is, is 0 only where all of them are, and near there it has next to no density; unless each of them is 0 over a stretch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from scg.analysis.near_poles import AtPoints
from scg.analysis.smoothness import Through, flow
from scg.ir.interval import Interval, exactly
from scg.ir.looks import together
from scg.ir.node import Node
from scg.ir.traverse import topological
from scg.ops.arithmetic import add_op, maximum_op, minimum_op, sub_op
from scg.ops.scan import scan_op

NARROW = 1e-4  # the share of 100,000 standard normal draws that come closer to 0 is ten or fewer
_HOLD = (add_op, sub_op, maximum_op)


class Margin(NamedTuple):
    """What keeps paths from a pole.

    Attributes
    ----------
    node : Node
        The op that has the pole.
    width : float
        The margin.
    """

    node: Node
    width: float


def narrow_margin(roots: Sequence[Node], sources: Iterable[Node], through: Through) -> Margin | None:
    """The first pole that a differentiated random number would pass, if literals up to `NARROW` were 0; or None.

    Parameters
    ----------
    roots : sequence of Node
        Costs and parameters, in which derivatives meet no jump or pole.
    sources : iterable of Node
        Where derivatives start.
    through : callable
        ``through(sample node) -> bool``: whether one passes that site.
    """
    if not any(_holds(n) for n in _everywhere(roots)):
        return None
    found = flow(roots, sources, through, poles=True, ranges=_WithoutMargins())
    node = next((state.jump for state in (found[root.id] for root in roots) if state.jump is not None), None)
    if node is None:
        return None
    widths = [float(np.abs(a.attrs.array).max()) for n in topological(node.args) if _holds(n) for a in n.args
              if _is_margin(a)]
    return Margin(node, min(widths)) if widths else None


class _WithoutMargins(AtPoints):
    """Ranges where margins are 0."""

    def _of(self, node: Node) -> Interval:
        if _holds(node) and node.op.bounds is not None:
            known = [exactly(0.0) if _is_margin(a) else self._known[a.id] for a in node.args]
            return node.op.bounds(node, *together(known))
        found = super()._of(node)
        return found._replace(low_open=True) if found.low == 0.0 and _of_several(node) else found


def _is_margin(node: Node) -> bool:
    return (node.is_const and node.kind == "real" and node.attrs.ask("at most", NARROW)
            and not node.attrs.ask("is", 0.0))


def _holds(node: Node) -> bool:
    return node.op in _HOLD and any(map(_is_margin, node.args))


def _of_several(node: Node) -> bool:
    """Whether it is 0 only where several numbers are, none of which is over a stretch."""
    varying = [a for a in node.args if not a.is_const]
    if node.op.reduces:
        smallest = node.op.combines is not None and node.op.combines[0] is minimum_op
        several = not smallest and max((a.size for a in varying), default=0) > node.size
    else:
        several = node.op in (add_op, maximum_op) and len(varying) > 1
    return several and not all(a.op.is_flat(a) for a in varying)


def _everywhere(roots: Sequence[Node]) -> list[Node]:
    """The nodes below the roots, those in the bodies of loops among them."""
    found: list[Node] = []
    waiting = list(roots)
    while waiting:
        nodes = topological(waiting)
        found += nodes
        waiting = [n for scan in nodes if scan.op is scan_op for n in scan.attrs.outputs]
    return found
