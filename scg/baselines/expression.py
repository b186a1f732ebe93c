"""Any node that the site does not influence, as baseline."""

from __future__ import annotations

from dataclasses import dataclass

from scg.baselines.baseline import Baseline, Subtracted, of_each_draw
from scg.ir.node import Node, constant
from scg.ir.printer import expression


@dataclass(frozen=True, eq=False)
class Expression(Baseline):
    """A node of the graph, built from what the site does not influence. Its gradient is not used.

    Parameters
    ----------
    node : Node
        Of scalar shape (or of the scan's length, for a site inside one), or of the site's: then an element must not
        depend on the draw that it belongs to, whatever the other draws are, so that its product with the score of
        that draw is 0 in the mean. Which draws an element is made of is followed through all that moves elements. A
        draw that cancels is none: ``h.sum() - h`` will do, of which rounding leaves 1e-16.
    """

    node: Node

    def __post_init__(self):
        constant(self.node)  # refuses what is no node and no number

    def along(self, site):
        return of_each_draw(site, self.node)

    def value(self, site, signal):
        return Subtracted(self.of_site(site, self.node))

    def __repr__(self) -> str:
        return f"Expression({expression(constant(self.node))})"
