"""What the names in the text of a surrogate stand for: costs, sites, nodes of the user's, parts of terms, noise."""

from __future__ import annotations

import re
from collections.abc import Iterator

from scg.errors import in_a_row
from scg.export.brought import brought, given_to, own_of
from scg.export.called import by_element
from scg.export.noise_shown import made_of_noise
from scg.export.page import Page
from scg.export.shown import STOPPED, held, holds_for_any, in_a_few_words, is_literal, others_of_group, with_key
from scg.export.steps import Line, Steps, mentions, of_cost, until_over
from scg.ir.node import Node
from scg.ir.op import OPS
from scg.ir.printer import numbers
from scg.ir.sharing import Shared
from scg.ir.traverse import topological
from scg.ops.arithmetic import named_op
from scg.ops.measure import event_to_axis_op, leave_one_out_op
from scg.ops.randomness import draw_until_op, sample_op
from scg.ops.scan import stacked
from scg.ops.termination import as_declared
from scg.surrogate.mark import (
    CHANCE,
    CHANCE_OF_ALL,
    COSTS,
    RATIO,
    REPLAYS,
    SCORE,
    SCORE_OF_VALUE,
    VALUE,
    Mark,
    Name,
    follows,
)
from scg.surrogate.site import Site

_BY_NAME = (SCORE, RATIO, VALUE, CHANCE, SCORE_OF_VALUE, CHANCE_OF_ALL)  # what these are is said of the site


class Where:
    """The definitions below the text of a surrogate.

    Parameters
    ----------
    page : Page
    """

    def __init__(self, page: Page):
        self._page, self._graph, self._draft = page, page.graph, page.draft
        self._done: set[str] = set()
        self._texts: list[str] = []

    def lines(self) -> list[str]:
        """All of them."""
        lines = [line for name in self._draft.costs for line in self._of_cost(name)]
        lines += [line for p in self._page.derivation.site_nodes for line in self._of_site(p)]
        order = {p.name: i for i, p in enumerate(self._page.derivation.site_nodes)}
        used = sorted(self._page.used.items(), key=lambda item: order.get(item[1].site, -1))
        marks = [line for text, mark in used if not mark.brought for line in self._of_mark(text, mark)]
        self._write([*lines, *marks, *(line for name, node in self._page.met.items()
                                       for line in self._of_node(name, node))])
        self._write([line for name in sorted(self._graph.per_step) if self._mentions(name)
                     for line in self._of_node(name, self._graph.nodes[name])])
        self._write([line for name, at in self._page.loops.unnamed.items() if self._mentions(name)
                     for line in self._of_step(name, *at)])
        carried: set[str] = set()
        while new := [line for line in self._page.loops.carried(self._all()) if line.name not in carried]:
            carried |= {line.name for line in new}
            self._write([line for line in new if not self._has(line)])  # these may be made of others
        self._texts += [self._page.own_words(f"{name} = {text}") for name, text in self._page.parts.items()]
        self._texts += [f"{name} = {text}" for name, text in self._page.loops.arrays(self._all())]
        self._write([line for text, mark in used if mark.brought and self._mentions(text)
                     for line in self._of_mark(text, mark)])
        return with_key([*self._texts, *self._glossary()])

    def _write(self, lines: list[Line | str]) -> None:
        """Write lines, and then those that they need."""
        while lines:
            outside = [line for line in lines if isinstance(line, Line) and not line.names]
            writer = self._page.writer([node for line in outside for node in line.nodes])
            met: dict[str, Node] = {}
            for line in lines:
                if isinstance(line, str):
                    self._add(line)
                    continue
                own = self._page.writer(line.nodes, line.names) if line.names else writer
                self._add(line.text(own))
                if own is not writer:
                    self._added(own)
                met |= own.met
            self._added(writer)
            lines = [line for name, node in met.items() for line in self._of_node(name, node)]

    def _has(self, line: Line) -> bool:
        """Whether it is written already."""
        return any(text.startswith(f"{line.name} {line.sign} ") for text in self._texts)

    def _mentions(self, name: str) -> bool:
        """Whether a name stands in the text."""
        return mentions(self._all(), name)

    def _all(self) -> str:
        return "\n".join([*self._page.terms, *self._texts])

    def _added(self, writer: Shared) -> None:
        for name, text in writer.parts.items():
            self._add(f"{name} = {text}")
        self._page.taken |= writer.parts.keys()

    def _add(self, text: str) -> None:
        text = self._page.own_words(text)
        if text not in self._done:
            self._done.add(text)
            self._texts.append(text)

    # --- what is defined --------------------------------------------------------------------------------------------
    def _of_cost(self, name: str) -> Iterator[Line]:
        cost = self._graph.costs[name]
        if name in self._graph.scales:
            cost = cost.args[0]
        if stacked(cost):
            yield from self._in_step(name, cost)
        else:
            yield of_cost(name, cost)

    def _in_step(self, name: str, node: Node, indexed: bool = True) -> Iterator[Line]:
        """What a loop puts out in each step, and the nodes and carries that it is made of."""
        yield from self._of_step(name, *self._page.loops.of_output(node), indexed)

    def _of_step(self, name: str, steps: Steps, inner: Node, indexed: bool = True) -> Iterator[Line]:
        yield Line(steps.indexed(name, inner) if indexed else name, "{0}", *steps.inside((inner,)))
        for i in sorted(steps.read([inner])):
            yield from steps.carried(i)

    def _of_node(self, name: str, node: Node) -> Iterator[Line]:
        if f"node {name}" in self._done:
            return
        self._done.add(f"node {name}")
        if stacked(node):
            yield from self._in_step(name, node)
        else:
            yield Line(name, "{0}", (node.args[0] if node.op is named_op else node,))

    def _of_site(self, p) -> Iterator[Line | str]:
        now, view = self._draft.values.get(p.name), self._page.views.get(p.name)
        elsewhere = given_to(self._page.derivation, view)
        p = view.site_node if view is not None and elsewhere else p
        dist, seen, name = as_declared(p.node), self._path(p, now), p.name
        names = elsewhere
        call, params = dist.as_called()
        made = made_of_noise(p, self._page.order) if seen is None else None
        live, going_on = until_over(p.node, len(params))
        nodes = (*params, *going_on) if made is None else (*params, *going_on, made)
        if p.scan is not None:
            steps = self._page.loops.of_scans((p.scan, *p.inner))
            nodes, inner = steps.inside(nodes)
            names = {**inner, **elsewhere}
            name = steps.at(p.name, steps.t)
        said = f" of shape {p.node.shape}" if p.node.shape and p.node.shape != dist.batch_shape else ""
        said += live
        if made is not None:
            said += f", drawn as {{{len(nodes) - 1}}}"
        elif seen is not None:
            nodes, said = (*nodes, seen), f"{said}, {self._how(p, seen)} {{{len(nodes)}}}"
            names = {**names, **{v.id: name for name, v in self._draft.values.items() if name != p.name
                                 and v.op is not sample_op and not stacked(v)}}
        said += "".join(f", one for each value of {other}" for other in self._page.names.drawn_for(p.name))
        yield Line(name, call + said, nodes, names, "~")
        if p.scan is not None:
            for i in sorted(steps.read(p.node.args[:-1])):
                yield from steps.carried(i)

    def _how(self, p, seen: Node) -> str:
        """Whether what stands downstream is the draw, computed from noise, or something else in its place."""
        mixed = any(n.op is sample_op and n.attrs.site == p.name for n in topological([seen]))
        biased = self._page.derivation.verdicts[p.name].status != "unbiased"
        return "replaced by" if mixed or biased else "drawn as"

    def _path(self, p, now: Node | None) -> Node | None:
        """What is seen downstream in the place of the draw."""
        if now is None or now.op is sample_op or p.scan is None:
            return None if now is None or now.op is sample_op else now
        if not stacked(now):
            return None
        steps, inner = self._page.loops.of_output(now)
        drawn = self._page.loops.of_scans((p.scan, *p.inner))
        return None if inner.op is sample_op else steps.in_place_of(drawn, inner)

    def _of_mark(self, text: str, mark: Mark) -> Iterator[Line | str]:
        yield from self._of_value(mark)
        if mark.name in (CHANCE, SCORE_OF_VALUE):
            yield from self._of_chance(text, mark)
        elif mark.name in (SCORE, RATIO) and mark.site in self._page.views:
            yield from self._of_score(text, self._page.views[mark.site], mark.node)
        if mark.name in _BY_NAME or text == "1":
            return
        if mark.name == COSTS:
            site = self._page.views[mark.site]
            if not self._page.names.spelled_out(site):
                at, name = self._at(len(site.credit)), self._page.names.in_step(mark.site)
                apart = any(by_element(site, cost) for cost in site.influenced)
                which = f": element {at} weighs {name}[{at}], and is" if at else ":" if apart else " ="
                yield f"{text}{which} {self._page.names.credited(site)}"
        elif mark.name in REPLAYS:
            yield from self._of_replay(mark)
        elif mark.name.meaning:
            yield f"{self._of_any(text, mark)}: {self._in_words(mark, mark.name.meaning)}{self._brought(mark)}"
        elif stacked(mark.node):
            yield from self._in_step(text, mark.node, indexed=False)
        else:
            worlds = self._page.names.worlds_of(mark.node)
            each = f", one for each {worlds}" if worlds and "<worlds>" in mark.name.text else ""
            text = self._of_any(text, mark) if holds_for_any(mark) else text
            yield Line(text, f"{{0}}{each}{self._also(mark.name, mark)}", (mark.node,), self._at_value(mark))

    def _of_value(self, mark: Mark) -> Iterator[Line | str]:
        """What stands for the draws, unless it is a number; in a loop there may be words for it alone."""
        if mark.said is None:
            return
        name = self._page.names.value(mark)
        numeric = name == self._page.table.own("v") or re.fullmatch(r"-?\d.*", name or "0")
        array = mark.value.args[0] if mark.value is not None and mark.value.op is event_to_axis_op else None
        if array is not None and array.is_const and array.ndim > 1 and name == self._page.table.own("v"):
            yield f"{name}: each row of {numbers(array.attrs.array)}"
        if mark.said.meaning and name is not None:
            yield f"{name}: {self._in_words(mark, mark.said.meaning)}"
        elif name is not None and not numeric and mark.value is not None and not stacked(mark.value):
            yield Line(name, "{0}" + self._also(mark.said, mark), (mark.value,))

    def _in_words(self, mark: Mark, words: str) -> str:
        """Words of a name's, with the names of the user's in them."""
        names = self._page.names
        value, worlds = self._any(mark) if mark.name.meaning == words else "", names.worlds_of(mark.node)
        return names.of_site(words, mark.site, value, prose=True, worlds=worlds)

    def _any(self, mark: Mark) -> str:
        """What stands for any value that a name holds for: the value itself, where it is a number."""
        value = self._page.names.value(mark) or ""
        return value if not value or re.fullmatch(r"-?\d.*", value) else self._page.table.own("v")

    def _of_any(self, text: str, mark: Mark) -> str:
        """A name with what stands for any value in it."""
        if "<value>" not in mark.name.text or text.endswith("'"):
            return text
        return self._page.names.of_site(mark.name.text, mark.site, self._any(mark))

    def _also(self, name: Name, mark: Mark) -> str:
        """What is said beside a formula."""
        return f": {self._in_words(mark, name.also)}" if name.also else ""

    def _brought(self, mark: Mark) -> str:
        """The real names of what an estimator brings along."""
        found = brought(self._page.derivation, mark)
        return "" if found is None else ", " + found.said(
            lambda node, names: Shared([node], names, self._page.taken).write(node, True))

    def _at_value(self, mark: Mark) -> dict[int, str]:
        """The names of parts that a formula is made of: of what stands for the draw, and of what has no formula."""
        found = {m.node.id: text for text, m in self._page.used.items()
                 if (m.name.meaning or m.name.also) and m.node is not mark.node}
        name = None if mark.value is None or mark.said is None else self._page.names.value(mark)
        return found if mark.value is None or name is None or is_literal(mark.value) else {
            **found, mark.value.id: self._any(mark) if holds_for_any(mark) else name}

    def _of_chance(self, text: str, mark: Mark) -> Iterator[str]:
        """What a probability of a value is, where each draw has its own."""
        site = self._page.views.get(mark.site)
        if site is not None and site.draws and mark.node.ndim > len(site.steps):
            names, i = self._page.names, self._page.table.own("i")
            name, value = names.in_step(mark.site), names.value(mark)
            value = value if mark.said is None else f"{value}[{i}]"  # one for all draws
            said = "probability" if mark.name == CHANCE else "log-probability"
            yield f"{text}: element {i} is the {said} that {name}[{i}] is {value}"

    def _of_score(self, text: str, site: Site, node: Node) -> Iterator[str]:
        """Of which draws a score is, where there are several."""
        if site.draws and (count := node.ndim - len(site.steps)):
            at, name = self._at(count), self._page.names.in_step(site.name)
            said = "log-probability" if text.startswith("log") else "ratio"
            yield f"{text}: element {at} is the {said} of {name}[{at}]"

    def _at(self, count: int) -> str:
        """The indices of an element."""
        return ", ".join(map(self._page.table.own, "ijk"[:count]))

    def _of_replay(self, mark: Mark) -> Iterator[str]:
        site = self._page.views.get(mark.site)
        if site is None:
            return
        name = self._page.names.in_step(mark.site)
        costs = " + ".join(self._page.names.cost(cost, site) for cost in site.influenced)
        v, i, q = map(self._page.table.own, "viQ")
        if mark.node.ndim == len(site.steps) and site.draws and not (mark.value is None or is_literal(mark.value)):
            v = self._page.names.value(mark) or v  # of all draws at once
        if mark.node.ndim > len(site.steps):
            at = f"element {i} is {self._page.names.replayed(site, f'{name}[{i}]')} where {name}[{i}] is {v}"
        else:
            at = f"{costs} where {name} is {v}"
        yield f"{q}({name} ← {v}): {at}, {follows(mark.name)}{self._page.names.moving(site)}"

    def _glossary(self) -> Iterator[str]:
        own, text = self._page.table.own, self._all()
        if leave_one_out_op in {n.op for n in self._page.order}:
            yield f"{own('LOO')}(·): {others_of_group(self._page.order, bool(self._graph.rows))}"
        drawn = held(self._draft, self._page.views)
        yield f"∇: the gradient in {in_a_few_words(list(self._page.derivation.moved)) or 'the params'}{drawn}"
        if "⊥(" in text:
            yield STOPPED
        yield from self._page.loops.lettered(text)
        yield from self._of_noise(text)
        yield from (op.said for op in OPS.values() if op.said and f"{op.name}(" in text)
        for o in self._page.draft.objectives:
            if (asked := own_of(self._page.derivation, o)) and o.said:
                one = "s" * (len(asked) == 1)
                yield f'"{o.name}": what {in_a_row(asked)} minimise{one} on average: {o.said}'
        u = own("u")
        for site in self._page.views:
            if re.search(rf"(?<![\w]){re.escape(site)}'", text):
                yield f"{site}': drawn as {site} is, from 1 - {u} in place of its uniform noise {u}"

    def _of_noise(self, text: str) -> Iterator[str]:
        """What is drawn, where a text has it."""
        own, table = self._page.table.own, self._page.table
        for kind, said in ((own("ε"), "standard normal noise"), (own("u"), "uniform noise")):
            found = dict.fromkeys(re.findall(rf"(?<!\w){kind}\d*\((?:[^()\[\]]|\[[^\]]*\])*\)", text))
            if found:
                yield f"{', '.join(found)}: {said}{', independent of each other' if len(found) > 1 else ''}"
        drawn = [table.text(name) for name, (node, _) in table.drawn.items() if node.op is draw_until_op]
        drawn = [name for name in drawn if self._mentions(name)]
        yield from (f"{name}: drawn by rejection" for name in drawn)
