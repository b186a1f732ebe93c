"""What stands on the page of a surrogate: its objective, and L, the sum of costs and terms by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType

from scg.export.called import Called
from scg.export.names import names_of
from scg.export.noise_shown import is_noise
from scg.export.shown import is_shown, is_stopped, is_weight, views
from scg.export.steps import Loops
from scg.ir.axes import ROW
from scg.ir.node import Node
from scg.ir.sharing import Shared
from scg.ir.traverse import topological
from scg.ops.arithmetic import stop_gradient_op
from scg.ops.randomness import draw_until_op
from scg.ops.scan import stacked
from scg.surrogate.derivation import Derivation
from scg.surrogate.draft import Term
from scg.surrogate.mark import CHANCE_OF_ALL, COSTS, Mark
from scg.verdict import Verdict


class Page:
    """The text of a surrogate.

    Parameters
    ----------
    derivation : Derivation
    terms : sequence of Term

    Attributes
    ----------
    used : dict of str to Mark
        The marks whose names stand in the terms.
    met : dict of str to Node
        Nodes that stand there by a name of the user's.
    parts : dict of str to str
        Names of parts that the terms share, and what they stand for.
    """

    def __init__(self, derivation: Derivation, terms: Sequence[Term]):
        self.derivation, self._terms = derivation, list(terms)
        self.graph, self.draft = derivation.graph, derivation.draft
        self.views = views(derivation)
        self.order = topological([t.node for t in self._terms])
        self.table = names_of(derivation)
        self.loops = Loops(self._written_out() + topological(self.graph.costs.values()), self.table)
        self.names = Called(derivation, self.views, self.loops)
        self.used: dict[str, Mark] = {}
        self.met: dict[str, Node] = {}
        self.parts: dict[str, str] = {}
        self.taken = {*self.graph.nodes, *self.graph.costs, *self.table.keys}

    def _written_out(self) -> list[Node]:
        """What the terms are made of, without what is explained in words."""
        in_words = {m.node.id for m in self.draft.marks if m.name.meaning and is_shown(m)}
        values = [m.value for m in self.draft.marks if m.value is not None]
        return topological([*(t.node for t in self._terms), *values], lambda n: n.id in in_words)

    def sum(self) -> Iterator[str]:
        """What is estimated, and L."""
        costs, terms = [self.cost(name) for name in self.draft.costs], self.terms
        mean, surrogate = self.table.own("E"), self.table.own("L")
        yield f"∇{self.objective()} {'=' if self._unbiased else '≈'} {mean}[∇{surrogate}]{self._rows()}"
        first, *others = [*costs, *terms] or ["0"]
        yield f"{surrogate} = {first}"
        yield from (f"  - {text[1:]}" if text.startswith("-") else f"  + {text}" for text in others)

    # --- costs ------------------------------------------------------------------------------------------------------
    def objective(self) -> str:
        """The expectation of the costs."""
        return f"{self.table.own('E')}[{' + '.join(map(self.names.plain, self.draft.costs)) or '0'}]"

    @property
    def _unbiased(self) -> bool:
        return Verdict(self.derivation.verdicts, self.derivation.of_costs).unbiased

    def _rows(self) -> str:
        if not self.graph.rows:
            return ""
        once = [name for name, c in self.graph.costs.items() if ROW not in c.axes]
        said = f"; {' and '.join(once)} {'is' if len(once) == 1 else 'are'} the same in every row" if once else ""
        return f", averaged over the rows of {', '.join(self.graph.rows)}{said}"

    def cost(self, name: str) -> str:
        """A cost, as it stands in L; one that a rule for the whole graph has rewritten as that calls it."""
        mark = next((m for m in self.draft.marks if m.of_cost(name, self.draft.costs)), None)
        text = None if mark is None else self.names.of(mark)
        if mark is not None and text is not None:
            self.used.setdefault(text, mark)
            return text
        text = self.names.cost(name)
        stopped = self.draft.costs[name].op is stop_gradient_op is not self.graph.costs[name].op
        return f"⊥({text})" if stopped else text

    # --- terms ------------------------------------------------------------------------------------------------------
    @cached_property
    def terms(self) -> list[str]:
        """The terms, with costs by name where they are stopped."""
        return [self.own_words(self._term(t)) for t in self._terms]

    def _term(self, term: Term) -> str:
        marked = self._marked(term)
        named = {**self.loops.last, **marked}
        return self._written([term.node], {**named, **self._stopped(term.node, named)}, bare=True)[0]

    def _marked(self, term: Term) -> dict[int, str]:
        """Names of parts of a term; what two sites have in common is called as by the term's own."""
        ids = {n.id for n in topological([term.node])}
        found: dict[int, str] = {}
        for mark in sorted(self.draft.marks, key=lambda m: m.site != term.site):
            if mark.node.id in ids and mark.node.id not in found and is_shown(mark):
                text = self.names.of(mark)
                while text in self.used and self.used[text].node is not mark.node and mark.name != COSTS:
                    text += "'"  # two nodes never have one name
                if text is not None:
                    found[mark.node.id] = text
                    self.used.setdefault(text, mark)
        return found

    def _stopped(self, term: Node, named: Mapping[int, str]) -> dict[int, str]:
        """What is stopped in a term, costs by name."""
        order = topological([term], lambda n: n.id in named)
        below = {a.id: a for n in order for a in n.args if a.id in named}
        held = {m.node.id for m in self.draft.marks if is_weight(m)} & named.keys()
        stops = [n for n in (*order, *below.values()) if n.id in held or is_stopped(n)]
        costs = {c.id: name if stacked(c) else self.names.cost(name)
                 for name, c in self.draft.costs.items() if not c.is_const}
        texts = self._written([n if n.id in named else n.args[0] for n in stops], {**costs, **named}, bare=False)
        return {n.id: f"⊥({text})" for n, text in zip(stops, texts)}

    def writer(self, nodes: Sequence[Node], names: Mapping[int, str] = MappingProxyType({})) -> Shared:
        """Writes nodes, in the names of loops and noise; `names` go before these."""
        noise = {n.id: self.table.text(self.table.noise(n)) for n in topological(nodes) if is_noise(n)}
        drawn = {n.id: self.table.text(self.table.draw(n)) for n in topological(nodes) if n.op is draw_until_op}
        brought = {m.node.id: text for m in self.draft.marks if m.brought and (text := self.names.of(m)) is not None}
        summed = {m.value.id: m.site for m in self.draft.marks
                  if m.name == CHANCE_OF_ALL and m.value is not None and m.site not in self.views}
        return Shared(nodes, {**self.loops.last, **summed, **brought, **noise, **drawn, **names}, self.taken)

    def own_words(self, text: str) -> str:
        """A text in which the words of ops of ours are none of the user's names, and nothing is stopped twice."""
        text = re.sub(r"(?<!\w)(?:LOO|E)(?=\()", lambda word: self.table.own(word[0]), text)
        text = re.sub(r" for each ([^()]+) value( from \d+ to \d+)?\)", self._values, text)
        one = "|".join(map(re.escape, sorted(self._worlds, key=len, reverse=True)))
        text = once_stopped(text)
        each = rf"(?<= for each )(?:{one})(?: and (?:{one}))*(?=\))"
        if one:
            text = re.sub(each, lambda run: re.sub(one, lambda name: self._worlds[name[0]], run[0]), text)
        return text.replace(" for each all ", " for all ")

    @cached_property
    def _worlds(self) -> dict[str, str]:
        """Axes along which something stands for draws, or is drawn anew, and what that is called."""
        summed = (p.name for p in self.derivation.site_nodes if p.name not in self.views)
        found = {**{f"{name} support": self.names.values(name) for name in summed}, **self.names.worlds}
        for n in topological([*(t.node for t in self._terms), *self.draft.costs.values()]):
            if is_noise(n):
                found = {**{ax.name: self.table.text(self.table.noise(n)) for ax in n.axes}, **found}
        return found

    def _values(self, found: re.Match) -> str:
        """What a sum over a site's values binds."""
        site, v = found[1], self.table.own("v")
        if site not in self.views:
            return found[0]
        one = f"an element of {site}" if self.views[site].draws else site  # of which each draw is summed on its own
        return f" for each value {v} of {one}{found[2] or ''})"

    def _written(self, nodes: Sequence[Node], names: Mapping[int, str], bare: bool) -> list[str]:
        writer = self.writer(nodes, names)
        texts = [writer.write(node, bare) for node in nodes]
        self.parts |= writer.parts
        self.met |= writer.met
        self.taken |= writer.parts.keys()
        return texts


def once_stopped(text: str) -> str:
    """A text without ⊥ within ⊥, which would say nothing more."""
    start = text.find("⊥(")
    if start < 0:
        return text
    end = _closing(text, start + 1)
    inner = text[start + 2: end]
    while (again := inner.find("⊥(")) >= 0:
        last = _closing(inner, again + 1)
        what = inner[again + 2: last]
        inner = inner[:again] + (what if _is_one(what) else f"({what})") + inner[last + 1:]
    return f"{text[:start]}⊥({inner}){once_stopped(text[end + 1:])}"


def _closing(text: str, start: int) -> int:
    """Where the parenthesis that opens at `start` closes."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if not depth:
            return i
    return len(text)


def _is_one(text: str) -> bool:
    """Whether a text needs no parentheses: it is a name, or one call."""
    name, opened, _ = text.partition("(")
    return " " not in name and (not opened or _closing(text, len(name)) == len(text) - 1)
