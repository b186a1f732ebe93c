"""What is said of poles that paths of samples are kept from by a tiny number only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scg.analysis.influence import SiteNode
from scg.analysis.margins import narrow_margin
from scg.ir.node import Node, where
from scg.strategy import Assignment, through
from scg.surrogate.feeding import parameters


def narrow_poles(costs: Mapping[str, Node], sources: Mapping[str, Node], site_nodes: Sequence[SiteNode],
                 assigned: Mapping[str, Assignment]) -> tuple[str, ...]:
    """Notes on the poles that keep by little from the paths which the assigned estimators follow.

    Parameters
    ----------
    costs, sources : dict of str to Node
        The costs, and what is differentiated with respect to.
    site_nodes : sequence of SiteNode
    assigned : dict of str to Assignment
        The sites' estimators.
    """
    passes = through(assigned)
    along = [f'"{site_node.name}"' for site_node in site_nodes if passes(site_node.node)]
    if not along:
        return ()
    roots = [*costs.values(), *(node for site_node in site_nodes for node in parameters(site_node).values())]
    found = narrow_margin(roots, list(sources.values()), passes)
    if found is None:
        return ()
    said = (f"{where(found.node)}: {found.width:g} is all that keeps it from a pole: its derivative may lie where no "
            "sample comes, and the gradient and its standard error may both miss it, at 0 for instance; "
            f"ScoreFunction() at {' and '.join(along)} does not depend on it")
    return (said,)
