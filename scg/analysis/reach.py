"""What the sites of one derivation find of its costs together, so that the graph is not walked once for every site."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from scg.analysis.dependence import Dependence
from scg.analysis.facts import Facts
from scg.ir.node import Node, constant
from scg.ir.traverse import topological
from scg.ops.arithmetic import assume_continuous_op
from scg.ops.reduce import total
from scg.ops.scan import Opened, ScanBody, scan_op


class Vouched(Facts[bool]):
    """Whether a node is made of something that the user vouches to be continuous, in the bodies of scans too."""

    def _of(self, node: Node) -> bool:
        if node.op is assume_continuous_op or any(self._known[a.id] for a in node.args):
            return True
        return node.op is scan_op and any(self(n) for n in node.attrs.outputs)

    def _of_step(self, body: ScanBody | Opened) -> bool:
        return False

    def _joined(self, before: bool, after: bool) -> bool:
        return before or after


def vouched_at(roots: Sequence[Node]) -> list[Node]:
    """What below the roots the user vouches for, in the bodies of scans too."""
    found = []
    for node in topological(roots):
        if node.op is assume_continuous_op:
            found.append(node)
        elif node.op is scan_op:
            found += vouched_at(node.attrs.outputs)
    return found


class Reach:
    """Which costs each site reaches, and sums of them.

    Parameters
    ----------
    sites : iterable of str

    Attributes
    ----------
    draws : Dependence
        On the draws of these sites, by their bits.
    """

    def __init__(self, sites: Iterable[str]):
        self.draws = Dependence(*sites)
        self._reached: dict[int, int] = {}
        self._vouched: dict[int, bool] = {}
        self._sums: dict[tuple[int, int], Node] = {}

    def influenced(self, site: str, costs: Mapping[str, Node]) -> dict[str, Node]:
        """The costs that the site reaches."""
        own, found = self.draws.bits[site], self._reached
        for cost in costs.values():
            if cost.id not in found:
                found[cost.id] = self.draws.any(cost)
        return {name: cost for name, cost in costs.items() if found[cost.id] & own}

    def vouched(self, costs: Iterable[Node]) -> bool:
        """Whether the user vouches for something that one of them is made of."""
        found = self._vouched
        for cost in costs:
            if cost.id not in found:
                found[cost.id] = Vouched()(cost)
            if found[cost.id]:
                return True
        return False

    def sum_of(self, costs: Iterable[Node]) -> Node:
        """`sum_of`, where sums that were made before are found without asking for every node again."""
        result: Node | None = None
        for cost in reversed([*costs]):
            key = (cost.id, -1 if result is None else result.id)
            if key not in self._sums:
                self._sums[key] = sum_of([cost]) if result is None else sum_of([cost]) + result
            result = self._sums[key]
        return sum_of([]) if result is None else result


def sum_of(nodes: Iterable[Node]) -> Node:
    """The sum of scalar or array costs, each summed over its event dimensions.

    They are added from the last to the first: what a site influences are most often the costs from one on, and these
    sums share the costs that come later.
    """
    result: Node | None = None
    for node in reversed([*nodes]):
        summed = total(node)
        result = summed if result is None else summed + result
    return constant(0.0) if result is None else result
