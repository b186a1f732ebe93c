"""Draws that cancel: of h.sum() − h each element is made of all draws of h but its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

import numpy as np

from scg.analysis.differentials import Differentials
from scg.analysis.influence import sites
from scg.analysis.polynomial_arrays import Known, Unproved, is_number, number_of
from scg.analysis.reals import Reals
from scg.ir.node import Node
from scg.ir.op import Op
from scg.ops.density import in_ranges_op, log_density_op

HOLDS = {log_density_op: False, in_ranges_op: True}  # they are their formulas where the condition is this


def own_draws_cancel(node: Node, site: str, signals: np.ndarray) -> bool:
    """Whether it is proved that no element of a node is made of the draws of a site that belong to it.

    Parameters
    ----------
    node : Node
    site : str
        One outside of loops.
    signals : array of int
        For each element of the site's draws, the number of the node's element that it belongs to. Of a scalar node no
        draw at all may be left.

    Notes
    -----
    The node is written out as polynomials of draws, and it is asked which are left in them.
    """
    graph = _Everywhere(())
    try:
        value = graph(node).value
    except Unproved:
        return False
    drawn = [graph.atoms.drawn(p) for p in np.broadcast_to(value, node.shape).flat]
    return all(not drawn[signals[index] if node.ndim else 0] & bit
               for index, bit in graph.draws_of(site, signals.shape).items())


class _Everywhere(Differentials):
    """Values for all draws, also those for which formulas have none: a density is 0 outside of its support, and a
    comparison with 0/0 does not hold."""

    def draws_of(self, site: str, shape: tuple[int, ...]) -> dict[tuple[int, ...], int]:
        """The bit of each draw of a site outside of loops, of an array of draws; one that was not met has none."""
        known = {index: self.met.get((("draw", site, ()), index)) for index in np.ndindex(shape)}
        if None in known.values():  # of a large array all have one
            of_all = self.met.get((("draw", site, ()), (0,) * len(shape)))
            return dict.fromkeys(known, 0 if of_all is None else 1 << of_all)
        return {index: 1 << number for index, number in known.items() if number is not None}

    def is_formula(self, op: Op, condition: Known) -> bool:
        return all(is_number(p) and bool(number_of(p)) is HOLDS[op] for p in condition.value.flat)

    def truth(self, node: Node, args: Sequence[Known], steps: tuple[int, ...]) -> Known:
        """Of what may be no number it is made of all draws that this is made of, whatever cancels in formulas."""
        if not steps and all(map(Reals(), node.args)):
            return self.condition(node, args)
        return self.as_one(node, args, self.apart(node, (node.id, steps), self._drawn_before(node, steps)))

    def _drawn_before(self, node: Node, steps: tuple[int, ...]) -> int:
        """The draws of all sites that a node depends on; in a step, all that were met."""
        names = {site.name for site in sites([node])}
        met = ((site, 1 << number) for ((_, site, _), _), number in self.met.items())
        return reduce(or_, (bit for site, bit in met if steps or site in names), 0)
