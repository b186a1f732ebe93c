"""What estimators and baselines bring along, by the names under which it is given and comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from scg.analysis.influence import SiteNode
from scg.analysis.made_of import MadeOf
from scg.analysis.stops import looked_through
from scg.ir.node import Node
from scg.ir.traverse import topological
from scg.ops.leaves import state_op
from scg.surrogate.derivation import Derivation
from scg.surrogate.draft import Objective
from scg.surrogate.mark import Mark
from scg.surrogate.site import Site

LEARNED, GIVEN, KEPT = "learned as", "given as", "kept as"


class Brought(NamedTuple):
    """How something is brought: in a word, and what holds it, a leaf or made of leaves."""

    how: str
    nodes: tuple[Node, ...]
    leaves: tuple[Node, ...]

    def said(self, write: Callable[[Node, dict[int, str]], str]) -> str:
        """In words; ``write(node, names)`` writes a node in which leaves have these names."""
        names = {leaf.id: f'"{leaf.attrs.name}"' for leaf in self.leaves}
        return f"{self.how} {' and '.join(write(node, names) for node in self.nodes)}"


def given_to(derivation: Derivation, site: Site | None) -> dict[int, str]:
    """The params at which a site is drawn in the place of the user's, in quotes, by their ids; none if it is not."""
    learned = {x.id for x in derivation.auxiliary.values()}
    leaves = {p.leaf.id: f'"{p.leaf.attrs.name}"' for p in derivation.draft.params if p.leaf.id not in learned}
    nodes = [] if site is None or not leaves else [*site.node.args[:-1], *loops(site.site_node)]
    below = {i for node in nodes for i in MadeOf()(node)}
    return {i: name for i, name in leaves.items() if i in below}


def loops(p: SiteNode) -> tuple[Node, ...]:
    """The scans around a site, the outermost first."""
    return () if p.scan is None else (p.scan, *p.inner)


def own_of(derivation: Derivation, objective: Objective) -> list[str]:
    """The auxiliary params of an objective, in quotes."""
    below = MadeOf()(objective.node)
    return [f'"{name}"' for name, x in derivation.auxiliary.items() if x.id in below]


def brought(derivation: Derivation, mark: Mark) -> Brought | None:
    """What the part of a term that is explained in words rests on, beside the user's own; what has a name of its own is
    explained there."""
    others = {m.node.id for m in derivation.draft.marks if m.node is not mark.node}
    others |= set() if mark.value is None else {mark.value.id}
    theirs = {p.leaf.id for p in derivation.draft.params}
    below = topological([mark.node], None if mark.brought else lambda n: n.id in others)
    found = tuple(n for n in below if n.op is state_op or n.id in theirs)
    if not found:
        return None
    learned = {x.id for x in derivation.auxiliary.values()}
    how = KEPT if found[0].op is state_op else LEARNED if found[0].id in learned else GIVEN
    return Brought(how, tuple(looked_through([mark.node])) if mark.brought else found, found)
