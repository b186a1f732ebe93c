"""What the parts of a surrogate's terms are called in text: scores, costs, replays, means, as their marks say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np

from scg.analysis.dependence import Dependence
from scg.export.names import names_of
from scg.export.parents import EARLIER, NOW, PREVIOUS, Parent, Parents, loop_of
from scg.export.steps import Loops
from scg.ir.node import Node
from scg.ir.printer import name_of, numbers
from scg.ir.traverse import ancestors, topological
from scg.ops.measure import event_to_axis_op
from scg.ops.scan import of_step, stacked
from scg.ops.structure import broadcast_to_op
from scg.surrogate.derivation import Derivation
from scg.surrogate.mark import CHANCE_OF_ALL, COSTS, Mark
from scg.surrogate.site import Site

_FEW = 3  # costs that are written out in the place of their sum


class Called:
    """Texts for nodes of a finished surrogate.

    Parameters
    ----------
    derivation : Derivation
    views : dict of str to Site
        Its sites, as they stand in the finished draft.
    loops : Loops, optional
        What names what loops carry; without it carries are looked through.
    """

    def __init__(self, derivation: Derivation, views: Mapping[str, Site], loops: Loops | None = None):
        self._derivation, self._views = derivation, views
        self.table = names_of(derivation)
        self._parents = Parents(self.table, None if loops is None else lambda scan, i: loops.steps(scan).carried_as(i))
        self._nodes = {p.name: p for p in derivation.site_nodes}

    # --- costs ------------------------------------------------------------------------------------------------------
    def plain(self, name: str) -> str:
        """A cost with its scale, as it stands in a sum."""
        cost, scale = self._derivation.graph.costs[name], self._derivation.graph.scales.get(name)
        text = f"sum({name})" if stacked(cost) else name
        return text if scale is None else f"{factor(scale)} * {text}"

    def cost(self, name: str, site: Site | None = None) -> str:
        """The same below the sums of the sites that are summed out; as it weighs a site's draws, if one is given."""
        text, sums = self.plain(name), self.summed(name, site)
        stepped = {p.name for p in self._derivation.site_nodes if p.scan is not None}
        for summed in reversed(sums):
            probability = self.of_site("p(@ | <given>)", summed)
            text = f"{f'prod({probability})' if summed in stepped else probability} * {text}"
        return f"sum({text}{''.join(f' for {self.values(summed)}' for summed in sums)})" if sums else text

    def summed(self, cost: str, site: Site | None = None) -> list[str]:
        """The sites that are summed out of a cost.

        A site that is drawn for each of another's values is weighed by the cost at that value: those are left out.
        """
        declared, verdicts = self._derivation.graph.costs[cost], self._derivation.verdicts
        drawn = [p.anchor for p in self._derivation.site_nodes if site is not None and p.name == site.name]
        before = ancestors(drawn) - {n.id for n in drawn}
        return [p.name for p in self._derivation.site_nodes if p.name not in self._views
                and Dependence(p.name).any(declared) and not verdicts[p.name].estimator.passes_gradient
                and p.anchor.id not in before]

    def drawn_for(self, site: str) -> list[str]:
        """The sites that are summed out, for each of whose values a site is drawn."""
        axes = [ax.name for ax in self._views[site].node.axes] if site in self._views else []
        summed = (p.name for p in self._derivation.site_nodes if p.name not in self._views)
        return [name for name in summed if f"{name} support" in axes]

    def values(self, site: str) -> str:
        """A site that is summed out, and what it runs over."""
        array = grid(self._derivation, site)
        if array is None:
            return f"all {site}"
        if array.size > 2 and np.array_equal(array, np.arange(array.size)):
            return f"{site} in range({array.size})"
        return f"{site} in ({', '.join(numbers(x) for x in array)})"

    def credited(self, site: Site) -> str:
        """The costs that weigh a site's draws, in the notation of a step or an element."""
        return self._shared(site, {name: list(self._in_steps(site, name)) for name in site.influenced}, "this draw")

    def replayed(self, site: Site, draw: str) -> str:
        """The costs of a replay in which one `draw` is replaced: whole, or those parts that are made of it."""
        found = self._shared(site, {name: [self.cost(name, site)] for name in site.influenced}, draw)
        return f"{found}," if any(by_element(site, name) for name in site.influenced) else found

    def _shared(self, site: Site, texts: Mapping[str, list[str]], draw: str) -> str:
        """The sum of costs, of those that are shared out by element the parts that are made of a draw."""
        apart = [name for name in site.influenced if by_element(site, name)]
        parts = [text for name in site.influenced if name not in apart for text in texts[name]]
        if apart:
            mine = " and ".join(text for name in apart for text in texts[name])
            parts.insert(0, f"those parts of {mine} that are made of {draw}")
        return " + ".join(parts) or "0"

    def _in_steps(self, site: Site, name: str) -> Iterator[str]:
        reached = in_steps(site, name)
        if reached is None:
            yield self.cost(name, site)
        elif reached.later:
            yield f"sum({self._from_step(name, reached, site)})"
        elif reached.now:
            yield self._from_step(name, reached, site)

    def _from_step(self, name: str, reached: InSteps, site: Site) -> str:
        """Of a cost that steps put out, those that a draw of the step reaches."""
        depth = min(self._depth(name), self._depth(site.name))
        t = self.table.step(depth)
        before, after = (f":{t}+1", f"{t}:") if reached.now else (f":{t}", f"{t}+1:")
        return self.table.at(name, t if not reached.later else before if reached.back else after, depth)

    def _depth(self, name: str) -> int:
        """In how many loops, inside of another, there is what steps draw or put out."""
        if name in self._nodes:
            return len(self._nodes[name].inner)
        depth, node = 0, {**self._derivation.graph.nodes, **self._derivation.graph.costs}.get(name)
        while node is not None and stacked(node) and stacked(of_step(node)):
            depth, node = depth + 1, of_step(node)
        return depth

    def moving(self, site: Site) -> str:
        """Which steps of its costs a draw acts on, in words, if not on all."""
        v = self.table.own("v")
        return "".join(f"; of {name}, {v} acts on {self._from_step(name, reached, site)} only"
                       for name in site.influenced
                       if (reached := in_steps(site, name)) is not None and reached.any)

    def spelled_out(self, site: Site) -> bool:
        """Whether its costs are written in the place of their sum."""
        return not site.steps and not site.credit and len(site.influenced) <= _FEW

    # --- marks ------------------------------------------------------------------------------------------------------
    def of(self, mark: Mark) -> str | None:
        """What a marked node is called."""
        site = self._views.get(mark.site)
        if mark.name == COSTS and site is not None and self.spelled_out(site):
            return " + ".join(self.cost(name, site) for name in site.influenced) or None
        value = self.value(mark)
        if value is None and "<value>" in mark.name.text:
            return self.of_site(COSTS.text, mark.site) if "←" in mark.name.text else None
        return self.of_site(mark.name.text, mark.site, value or "", worlds=self.worlds_of(mark.node))

    @cached_property
    def worlds(self) -> dict[str, str]:
        """Axes along which something stands for draws, and what that is called."""
        found: dict[str, str] = {}
        for mark in self._derivation.draft.marks:
            name = None if mark.value is None or mark.said is None else self.value(mark)
            if mark.value is not None and name is not None:
                found = {**{ax.name: name for ax in mark.value.axes}, **found}
        return found

    def worlds_of(self, node: Node) -> str:
        """What stands for the draws in the worlds along which a node varies."""
        return ", ".join(self.worlds[ax.name] for ax in node.axes if not ax.statistical and ax.name in self.worlds)

    def of_site(self, text: str, site: str, value: str = "", prose: bool = False, worlds: str = "") -> str:
        """A text with the name of a site, its parents, and what stands in its place; `prose` has no words of ours."""
        text = text if prose else self.table.worded(text)
        given, name, view = self.given(site), self.in_step(site), self._views.get(site)
        text = text if given else text.replace(" | <given>", "")
        costs = self.credited(view) if view is not None and "<costs>" in text else ""
        written = {"<given>": given, "<value>": value, "@": name, "@̄": f"{name[:1]}̄{name[1:]}", "<costs>": costs,
                   "<worlds>": worlds, "<site>": name}
        written |= {letter: self.table.worded(letter[1:-1]) for letter in re.findall("<[a-z]>", text)}
        return re.sub("<given>|<value>|<costs>|<worlds>|<site>|<[a-z]>|@̄|@", lambda token: written[token[0]], text)

    def value(self, mark: Mark) -> str | None:
        """What stands for the draws; None where they are as they were drawn."""
        node, site = mark.value, self._views.get(mark.site)
        if node is None or all(n.is_const for n in topological([node]) if not n.args):
            number = None if node is None else self._number(node)
            return number or (self.of_site(mark.said.text, mark.site) if mark.said else self.in_step(mark.site, "'"))
        if site is not None and node is site.node:
            return None
        if mark.said is not None:
            return self.of_site(mark.said.text, mark.site)
        return name_of(node) or f"{mark.site}'"

    def _number(self, node: Node) -> str | None:
        while node.op is broadcast_to_op:
            node = node.args[0]
        if node.op is event_to_axis_op:
            return self.table.own("v")
        array = node.attrs.array if node.is_const else None
        if array is None or array.size == 0 or (array != array.flat[0]).any():
            return None
        return numbers(array.reshape(-1)[0])

    def in_step(self, site: str, primes: str = "") -> str:
        """The name of a site, or of another draw of it, with its step."""
        p = self._nodes.get(site)
        if p is None or p.scan is None:
            return f"{site}{primes}"
        return self.table.at(f"{site}{primes}", self.table.step(len(p.inner)), len(p.inner))

    def given(self, site: str) -> str:
        """The parents of a site."""
        p = self._nodes.get(site)
        if p is None:
            return ""
        found = self._parents.of_site(p.node, loop_of(p))
        return ", ".join(self._in_its_step(p) for p in found)

    def _in_its_step(self, parent: Parent) -> str:
        name, when = self.table.text(parent.name), parent.when
        if parent.kind == "noise" or not when:
            return name
        depth = 0 if parent.kind == "carry" else self._depth(name)
        t = self.table.step(depth)
        return self.table.at(name, {NOW: t, PREVIOUS: f"{t}-1", EARLIER: f":{t}"}.get(when, when), depth)


class InSteps(NamedTuple):
    """Of a cost that a loop puts out: whether a draw reaches it in its own step, and in later ones; which are those
    before it in a loop that runs backwards."""

    now: bool
    later: bool
    back: bool

    @property
    def any(self) -> bool:
        """Whether it reaches it at all."""
        return self.now or self.later


def in_steps(site: Site, cost: str) -> InSteps | None:
    """Which steps of a cost a site inside a loop reaches; None if the cost does not come from its steps."""
    reached = [r for part, r in zip(site.parts, getattr(site, "_reached", [])) if part.cost == cost]
    if not reached or reached[0] is None:
        return None
    now, later = any(r[-1] for r in reached), any(any(r[:-1]) for r in reached)
    return InSteps(now, later, site.site_node.scan is not None and site.site_node.scan.attrs.reverse)


def grid(derivation: Derivation, site: str) -> np.ndarray | None:
    """The numbers over which a site of one draw is summed."""
    found = next((m.value.args[0] for m in derivation.draft.marks if m.name == CHANCE_OF_ALL and m.site == site
                  and m.value is not None and m.value.args), None)
    return None if found is None or not found.is_const or found.ndim > 1 else found.attrs.array


def by_element(site: Site, cost: str) -> bool:
    """Whether draws are weighed by those parts of a cost that are made of them."""
    how = site.credits.get(cost, "")
    return how.startswith("by") and "element" in how.partition(":")[0]


def factor(scale: Node) -> str:
    """A scale, as a factor."""
    if scale.is_const and not scale.ndim:
        return numbers(scale.attrs.array)
    return name_of(scale) or "scale"
