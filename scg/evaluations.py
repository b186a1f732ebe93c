"""How often the costs downstream of a site are computed: counted in the program that is compiled, not in the rule.

Estimators note what they ask for in other worlds (`Draft.replays`). Here it goes through the passes beside the outputs,
and of what becomes of it counts what the outputs are made of: replays that become one node are one, and one that
becomes the replicate's own costs is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from scg.ir.axes import Axis
from scg.ir.node import Node
from scg.ir.traverse import ancestors, topological
from scg.ops.randomness import expand
from scg.ops.scan import out_op
from scg.passes.outputs import program_of
from scg.passes.scans import pruned
from scg.program import Output, Program
from scg.simplification import simplified
from scg.surrogate.derivation import Derivation


class Evaluations(NamedTuple):
    """How often what is downstream of a site is computed besides for the replicate itself.

    Attributes
    ----------
    replays : int
        In each replicate.
    once : int
        In each call, the same for all replicates.
    values : int
        In place of the replicate's own, for each value of a site that is summed out; or 0.
    random : bool
        Whether the costs themselves differ from replicate to replicate.
    common : tuple of str
        Other sites for which the very same replays are asked for.
    """

    replays: int = 0
    once: int = 0
    values: int = 0
    random: bool = True
    common: tuple[str, ...] = ()


def evaluations(derivation: Derivation, options: Mapping[str, Any]) -> dict[str, Evaluations]:
    """The evaluations of every site by name; of a rule for the whole graph, which has no sites, by the name "".

    Parameters
    ----------
    derivation : Derivation
    options : dict
        Of `scg.compile`.
    """
    draft = derivation.draft
    program = program_of(derivation, options["dtype"], options["stderr"])
    outputs, (costs, *replays) = _through_passes(program, [[*draft.costs.values()], *(r.nodes for r in draft.replays)])
    used, drawn = ancestors(outputs), _made_of(costs)
    random = any(map(_varies, costs))
    own = {p.name: p.node.axes for p in derivation.site_nodes}
    found: dict[str, dict[int, Node]] = {name: {} for name in derivation.verdicts}
    values = dict.fromkeys(found, 0)
    for replay, nodes in zip(draft.replays, replays):
        values[replay.site] = max(values.get(replay.site, 0), replay.values)
        more = [n for n in topological(nodes) if n.id not in drawn and (n.id in used or _of_loop(n, used))]
        dear = _dearest(more, own.get(replay.site, ()))
        by_node = found.setdefault(replay.site, {})
        if dear is not None:
            by_node[dear.id] = dear
    common = {site: tuple(other for other in found if other != site and found[other].keys() == nodes.keys() != set())
              for site, nodes in found.items()}
    return {site: _counted([*nodes.values()], own.get(site, ()))._replace(
        values=values[site], random=random, common=common[site]) for site, nodes in found.items()}


def _through_passes(program: Program, more: Sequence[Sequence[Node]]) -> tuple[list[Node], list[list[Node]]]:
    """What becomes of the outputs, and of more nodes beside them."""
    beside = [Output("record", "", n, False) for n in expand([n for nodes in more for n in nodes])]
    whole = simplified(Program(program.layout, (*program.outputs, *beside)))
    left = iter(o.node for o in whole.outputs)
    return [next(left) for _ in program.outputs], [[next(left) for _ in nodes] for nodes in more]


def _made_of(costs: Sequence[Node]) -> set[int]:
    """Ids of what the costs are made of: of a loop that carries more than they need, of what they need alone."""
    found: set[int] = set()
    waiting = list(costs)
    while waiting:
        n = waiting.pop()
        if n.id not in found:
            found.add(n.id)
            if n.op is out_op:
                found.add(n.args[0].id)
                waiting += pruned(n.args[0], {n.attrs})[0].args
            else:
                waiting += n.args
    return found


def _of_loop(node: Node, used: set[int]) -> bool:
    """Whether it is put out by a loop that is gone through, though nobody may need what it puts out there."""
    return node.op is out_op and node.args[0].id in used


def _worlds(node: Node, own: Sequence[Axis]) -> int:
    """In how many worlds a node is computed, of those that the site itself is not drawn in."""
    return prod(ax.size for ax in node.axes if not ax.statistical and ax not in own)


def _dearest(nodes: Sequence[Node], own: Sequence[Axis]) -> Node | None:
    """The node of most elements, of several that nearest to the costs: how often it is computed is how often they are.

    What makes the draws that are replaced comes before their worlds, and does not count beside what comes after; nor
    does what is the same in all replicates beside what is not.
    """
    some = [n for n in nodes if n.args and n.kind == "real" and not n.op.transparent]
    some = [n for n in some if _worlds(n, own) > 1] or some
    some = [n for n in some if _varies(n)] or some
    return max(reversed(some), key=lambda n: max(a.size for a in (n, *n.args)) * _worlds(n, own), default=None)


def _varies(node: Node) -> bool:
    """Whether it differs from replicate to replicate."""
    return any(ax.statistical for ax in node.axes)


def _counted(nodes: Sequence[Node], own: Sequence[Axis]) -> Evaluations:
    counts = {False: 0, True: 0}
    for node in nodes:
        counts[_varies(node)] += _worlds(node, own)
    return Evaluations(counts[True], counts[False])
