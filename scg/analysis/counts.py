"""Counts that the working type can hold: beyond 2^53, or 2^24 in float32, whole numbers are not told apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from scg.analysis.influence import SiteNode
from scg.errors import Problem
from scg.ir.check import Check
from scg.ir.node import Node, as_real
from scg.ops.randomness import distribution_of
from scg.ops.reduce import total


def largest_count(dtype: str) -> int:
    """The largest whole number n of the type for which n + 1 is another one, and all below are told apart."""
    return (1 << np.finfo(dtype).nmant + 1) - 1


def count_checks(values: Mapping[str, Node], site_nodes: Sequence[SiteNode], dtype: str) -> Iterator[Check]:
    """A check for every site whose draws have no bound; `values` are the sites' values as seen downstream."""
    most = largest_count(dtype)
    for site_node in site_nodes:
        support = site_node.node.attrs.family.support
        if support.integral and support.high == np.inf and site_node.name in values and _unbounded(site_node):
            beyond = as_real(float(most) < values[site_node.name])
            wider = "" if dtype == "float64" else ' Or use dtype="float64".'
            problem = Problem(site_node.where, f"Site \"{site_node.name}\" was drawn in {dtype}.",
                              f"A draw is above {most:.8g}, from where {dtype} does not tell whole numbers apart.",
                              f"Keep its parameters smaller; a normal is as good for such counts.{wider}")
            yield Check(problem, total(beyond))


def _unbounded(site_node: SiteNode) -> bool:
    """Whether the family has no finite list of values."""
    return distribution_of(site_node.node).support_values() is None
