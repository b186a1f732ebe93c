"""Several sites, as an estimator sees them together: replayed at once, under noise that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from scg.analysis.dependence import Dependence
from scg.distributions.distribution import Distribution
from scg.errors import Problem
from scg.ir.node import Node
from scg.surrogate.draft import Draft
from scg.surrogate.mark import Name
from scg.surrogate.site import Site

Replacement = Callable[[Site, Distribution, Node], Node]


class Together:
    """Sites that do not influence each other, and the draft that is rewritten for all of them.

    Parameters
    ----------
    sites : sequence of Site
        Views of one draft; of one scan, if any of them is inside one.
    """

    def __init__(self, sites: Sequence[Site]):
        self.sites = tuple(sites)

    def __iter__(self) -> Iterator[Site]:
        return iter(self.sites)

    def __len__(self) -> int:
        return len(self.sites)

    @property
    def draft(self) -> Draft:
        """What is rewritten."""
        return self.sites[0].draft

    def replay(self, value: Replacement, of: Site, said: Name | None = None, *, fresh: str = "") -> Node:
        """Q̂ where all draws of all sites (of one step) are replaced at once by ``value(site, dist, x)``.

        It is a signal of the site `of`: subtract another replay from it. Values that vary along one axis make a world
        for each of its indices, in which all sites have theirs. Later sites are replayed under their own noise, or,
        outside of loops, under streams that are `fresh`, by that name.
        """
        return of.replayed_with({site: _at(value, site) for site in self}, said, fresh)

    def objection(self) -> Problem | None:
        """Why they cannot stand together, or None."""
        first = self.sites[0]
        names = " and ".join(f'"{site.name}"' for site in self)
        for site in self.sites[1:]:
            if site.site_node.scans != first.site_node.scans:
                return Problem(site.where, f"An estimator was asked for sites {names} together.",
                               f'"{first.name}" and "{site.name}" are not drawn in the steps of one scan.',
                               "Give each its own.")
            for one, other in ((first, site), (site, first)):
                if any(_moves(one, other, p) for p in other.dist.params):
                    return Problem(other.where, f"An estimator was asked for sites {names} together.",
                                   f'"{one.name}" influences the distribution of "{other.name}": replaced at once, '
                                   "their draws would no longer be those of one distribution.",
                                   "Give each its own estimator.")
        return Together(self.sites[1:]).objection() if len(self) > 2 else None


def _at(value: Replacement, site: Site) -> Callable[[Distribution, Node], Node]:
    return lambda dist, x: value(site, dist, x)


def _moves(one: Site, other: Site, parameter: str) -> bool:
    """Whether the draws of one (in the same step) move a parameter of the other."""
    known, node = Dependence(one.name, apart=bool(one.steps)), other.parameter(parameter)
    return known.in_its_own_step(node) if one.steps else bool(known.any(node))
