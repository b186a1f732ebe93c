"""LaTeX of a surrogate: as in the paper (costs, and log p times stopped costs), or of the whole expression.

This module imports sympy; import it inside functions only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import sympy
from sympy.core.parameters import distribute

from scg.analysis.influence import SiteNode
from scg.analysis.reach import sum_of
from scg.errors import SCGError
from scg.export.called import Called, by_element, grid
from scg.export.latex_forms import Last, Written, expanded, filled, place, places
from scg.export.latex_names import accented, indexed
from scg.export.names import names_of
from scg.export.parents import EARLIER, NOW, PREVIOUS, Loop, Parent, Parents
from scg.export.shown import views
from scg.export.sympy.forms import number
from scg.export.sympy.named import Named
from scg.export.sympy.to_sympy import At, Converter, Label, deep
from scg.ir.axes import ROW
from scg.ir.node import Node
from scg.ir.printer import name_of, numbers
from scg.ir.traverse import topological
from scg.ops.arithmetic import named_op, stop_gradient_op
from scg.ops.measure import event_to_axis_op, leave_one_out_op
from scg.ops.randomness import sample_op
from scg.ops.scan import stacked
from scg.ops.structure import broadcast_to
from scg.surrogate.derivation import Derivation
from scg.surrogate.draft import Term
from scg.surrogate.mark import AS_DRAWN, COSTS, REPLAYED, VALUE, Mark
from scg.surrogate.site import Site
from scg.verdict import Verdict

_MANY = 8  # of more parents than this the middle ones are left out
_LONG = 300  # a definition of more characters is left to the text


def paper(derivation: Derivation, terms: Iterable[Term]) -> str:
    r"""L = Σ c(parents) + Σ log p(site | parents) ⊥(its costs − baseline), and what the names in it stand for."""
    return _Page(derivation, list(terms)).text()


class _Page:
    def __init__(self, derivation: Derivation, terms: Sequence[Term]):
        self.derivation, self.draft, self.graph = derivation, derivation.draft, derivation.graph
        self._sum = list(terms)
        self.terms = [t.node for t in self._sum]
        self.table = names_of(derivation)
        self.parents = Parents(self.table)
        self.drawn = views(derivation)
        self.nodes = {p.name: p for p in derivation.site_nodes}
        self.ranks = {name: i + 1 for i, name in enumerate(self.draft.costs)}
        self.used: dict[int, Mark] = {}
        self.called = Called(derivation, self.drawn)
        texts = Counter[str | None]()
        ids = {n.id for n in topological(self.terms)}
        self._primes: dict[int, str] = {}
        self._vectors: dict[str, dict[str, None]] = {}  # by site, what vectors in the place of its draws are
        self._seen: dict[str, Mark] = {}  # marks of nodes that another site's mark is of too
        for mark in self.draft.marks:
            if mark.node.id in ids and mark.node.args and mark.node.id not in self.used:
                self.used[mark.node.id] = mark
                text = self.called.of(mark)
                texts[text] += 1
                if texts[text] > 1:  # two nodes never have one name
                    self._primes[mark.node.id] = rf"^{{({texts[text]})}}"
        self._place = {i: place for place, i in enumerate(self.used)}

    def text(self) -> str:
        """An aligned display."""
        first, *others = [*map(self.cost, self.draft.costs), *self._terms()] or ["0"]
        row = "_{n}" if self.graph.rows else ""
        sign = "=" if self._unbiased else r"\approx"
        slope = self._mean(rf"\nabla L{row}")
        lines = [rf"\nabla\,{self._objective()} &{sign} {slope}", f"L{row} &= {first}"]
        lines += [rf"&\quad {p}" if p.startswith("-") else rf"&\quad + {p}" for p in others]
        lines += self._where()
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    @property
    def _unbiased(self) -> bool:
        return Verdict(self.derivation.verdicts, self.derivation.of_costs).unbiased

    def _mean(self, inner: str) -> str:
        expected = rf"\mathbb{{E}}\left[{inner}\right]"
        return rf"\frac{{1}}{{N}} \sum_{{n=1}}^{{N}} {expected}" if self.graph.rows else expected

    def _objective(self) -> str:
        """The expectation of the costs; those that vary by row have its number."""
        by_row = [name for name, c in self.graph.costs.items() if ROW in c.axes]
        once = [name for name in self.graph.costs if name not in by_row]
        parts = []
        if by_row or not once:
            parts.append(self._mean(" + ".join(self.in_sum(name, ["n"]) for name in by_row) or "0"))
        if once:
            parts.append(rf"\mathbb{{E}}\left[{' + '.join(map(self.in_sum, once))}\right]")
        return parts[0] if len(parts) == 1 else rf"\left({' + '.join(parts)}\right)"

    # --- costs ------------------------------------------------------------------------------------------------------
    def credited(self, name: str) -> str:
        """A cost as a summand of Q̂."""
        return self._sums(name) + self.in_sum(name)

    def in_sum(self, name: str, index: Sequence[str] = ()) -> str:
        """A cost as a summand of the objective, with its scale."""
        text = indexed(self.latex(name), index)
        if stacked(self.graph.costs[name]):
            text = rf"\sum_{{t=0}}^{{{self._last(name)}}} {indexed(self.latex(name), ['t', *index])}"
        return self._scale(name) + text

    def _last(self, name: str) -> int:
        return self.graph.costs[name].shape[0] - 1

    def _scale(self, name: str) -> str:
        scale = self.graph.scales.get(name)
        if scale is None:
            return ""
        if scale.is_const and not scale.ndim:
            return rf"{numbers(scale.attrs.array)}\,"
        return rf"{self.latex(name_of(scale) or 'scale')}\,"

    def cost(self, name: str) -> str:
        """A cost as a function of its parents, under the sums of the sites that are summed out."""
        declared = self.graph.costs[name]
        steps = rf"\sum_{{t=0}}^{{{self._last(name)}}} " if stacked(declared) else ""
        known = self.parents.of_output(declared)
        inner = filled(f"({self.listed(known)})", ("t", "t-1")) if known else ""
        head = indexed(self.latex(name), ["t"] if steps else [])
        text = f"{self._sums(name)}{self._scale(name)}{steps}{head}{inner}"
        stopped = self.draft.costs[name].op is stop_gradient_op is not declared.op
        return rf"\bot\left({text}\right)" if stopped else text

    def _sums(self, name: str) -> str:
        """The sums over the values of the sites that are summed out of a cost."""
        summed = self.called.summed(name)
        return "".join(rf"{self._over(site)} {self._of_all_steps(self.nodes[site])}\," for site in summed)

    def _over(self, site: str) -> str:
        """The sum over the values of a site, with the limit at which it ends."""
        array, name = grid(self.derivation, site), self.latex(site)
        if array is None:
            return rf"\sum_{{{name}}}"
        if all(x == i for i, x in enumerate(array)):
            return rf"\sum_{{{name}=0}}^{{{array.size - 1}}}"
        return rf"\sum_{{{name} \in \{{{', '.join(numbers(x) for x in array)}\}}}}"

    def _of_all_steps(self, p: SiteNode) -> str:
        """p(site | parents), for a site inside a scan the product over its steps."""
        own = indexed(self.latex(p.name), [] if p.scan is None else [r"\tau"])
        given = filled(self.given(p.name), (r"\tau", r"\tau-1"))
        text = rf"p({own} \mid {given})" if given else f"p({own})"
        return text if p.scan is None else rf"\prod_{{\tau}} {text}"

    def latex(self, name: str) -> str:
        """A name of the user's."""
        return self.table.latex(self.table.given(name))

    def listed(self, parents: list[Parent]) -> str:
        """Names with their steps: place 0 is for the step, and place 1 for the one before."""
        many = len(parents) > _MANY
        names = [self._in_step(p) for p in ([*parents[:3], *parents[-2:]] if many else parents)]
        return ", ".join([*names[:3], r"\ldots", *names[3:]] if many else names)

    def _in_step(self, p: Parent) -> str:
        below = {NOW: [place(0)], PREVIOUS: [place(1)], EARLIER: [f"<{place(0)}"]}
        return indexed(self.table.latex(p.name), below.get(p.when, []))

    def given(self, site: str) -> str:
        """The parents of a site; place 0 is for the step, and place 1 for the one before."""
        p = self.nodes.get(site)
        return "" if p is None else self.listed(self.parents.of_site(p.node, None if p.scan is None else Loop(p.scan)))

    # --- terms ------------------------------------------------------------------------------------------------------
    def _terms(self) -> list[str]:
        return [self._term(t) for t in self._sum]

    def _term(self, term: Term) -> str:
        marked = {i: self._label(mark) for i, mark in self.used.items()}
        for mark in self.draft.marks:  # what two sites have in common is called as by the term's own
            if mark.site == term.site and mark.node.id in self.used:
                marked[mark.node.id] = self._label(mark)
                self._seen.setdefault(mark.name.latex + mark.site, mark)
        costs = {c.id: self._name(name) for name, c in self.draft.costs.items() if not c.is_const}
        inside = self._converter({**costs, **marked})

        def stopped(node: Node) -> Label:
            return lambda converter, index, at: Last(inside.element(node, index, at))

        outer = {}
        for n in topological([term.node], lambda n: n.id in marked):
            for m in (n, *(a for a in n.args if a.id in marked)):
                if m.op is stop_gradient_op and not m.attrs:
                    outer[m.id] = stopped(m if m.id in marked else m.args[0])
        with distribute(False):
            found = self._converter({**marked, **outer}).scalar(sum_of([term.node]))
            return expanded(found, self.table, self.ranks)

    def _converter(self, labels: dict[int, Label], reserved: int = 0) -> Converter:
        return Converter(self.table, False, labels, reserved)

    def _name(self, name: str) -> Label:
        def label(converter: Converter, index, at: At):
            text = self._scale(name) + indexed(self.latex(name), places(0, index))
            self.ranks.setdefault(text, self.ranks[name])
            return Written(text, *index)

        return label

    def _label(self, mark: Mark) -> Label:
        """A marked node by its name, in which the places of indices are filled in where it stands."""
        site = self.drawn.get(mark.site)
        steps = bool(site is not None and site.steps)

        if re.fullmatch(r"-?[\d.]+", mark.name.latex):
            return lambda converter, index, at: number(float(mark.name.latex))

        def label(converter: Converter, index, at: At):
            t = sympy.sympify(index[0] if steps and index else 0)
            args = [t, t - 1]
            text = mark.name.latex
            if "<value>" in text:
                text = text.replace("<value>", self._value(mark, converter, index, at, args))
            else:  # in a world for each of several values
                index = (*index, *(at.world(ax.name) for ax in mark.node.axes
                                   if not ax.statistical and ax.name.startswith(f"{mark.site} ")))
            text = self._named(text, mark.site, places(len(args), index)) + self._primes.get(mark.node.id, "")
            rank = 0 if mark.name == COSTS else len(self.draft.costs) + 1 + self._place[mark.node.id]
            self.ranks.setdefault(text, rank)
            return Written(text, *args, *index)

        return label

    def _named(self, text: str, site: str, places: Sequence[str]) -> str:
        """A name with its site, the indices of an element, and the parents."""
        given = self.given(site)

        def written(token: re.Match) -> str:
            if token[0] == "<given>":
                return given
            mark = token[1] or ""
            name = accented(self.latex(site), mark) if mark in ("bar", "tilde") else _primed(self.latex(site), mark)
            return indexed(name, places) if token[2] else name

        text = text if given else text.replace(r" \mid <given>", "")
        return re.sub(r"@(bar|tilde|')?(\[\])?|<given>", written, text)

    def _value(self, mark: Mark, converter: Converter, index, at: At, args: list) -> str:
        """What stands for the draw: a number, in a place of its own, or a name."""
        value = mark.value
        if value is not None and _literal(value):
            site = self.drawn[mark.site]
            inner = index[len(site.steps):]
            wide = broadcast_to(value, site.shape) if inner else value
            if wide.ndim <= len(inner):
                args.append(converter.element(wide, inner if wide.shape else (), at))
                return place(len(args) - 1)
            return self._vector(mark, value, [at.world(ax.name) for ax in value.axes if not ax.statistical], args)
        if mark.said is not None:
            return mark.said.latex
        return "@'[]"


    def _vector(self, mark: Mark, value: Node, worlds: Sequence, args: list) -> str:
        """The same of a draw that is a vector: a name, whose numbers stand below."""
        text = mark.said.latex if mark.said is not None and not worlds else "v"
        array = value.args[0] if value.op is event_to_axis_op else value
        known = numbers(array.attrs.array) if array.is_const else None
        head = self._plain(text, mark.site, len(self.drawn[mark.site].draws), bool(self.drawn[mark.site].steps))
        if not worlds:
            line = f"{head} &= {known}"
        else:
            rows = rf"\text{{row }} i \text{{ of }} {known}"
            line = f"v_{{i}} &: {rows}" if known else (
                rf"v_{{i}} &: \text{{value number }} i \text{{ of }} {self.latex(mark.site)}")
        self._vectors.setdefault(mark.site, {})[line] = None
        args += worlds
        return indexed(text, places(len(args) - len(worlds), worlds)) if worlds else text

    # --- what the names stand for -----------------------------------------------------------------------------------
    def _where(self) -> list[str]:
        lines: list[str] = []
        for p in self.derivation.site_nodes:
            marks = [m for m in (*self.used.values(), *self._seen.values()) if m.site == p.name]
            lines += self._of_path(p)
            lines += [*(line for m in marks for line in self._of_mark(m)), *self._vectors.get(p.name, ())]
        lines += [line for m in self.used.values() if m.site not in self.nodes for line in self._of_mark(m)]
        lines += [line for name, node in self.graph.nodes.items() if node.op is named_op
                  for line in self._of_node(name, node)]
        return list(dict.fromkeys([*lines, *self._glossary(lines)]))

    def _glossary(self, lines: Sequence[str]) -> Iterator[str]:
        ops = {n.op for n in topological(self.terms)}
        if leave_one_out_op in ops:
            yield r"\operatorname{LOO}(x) &: \text{the mean of } x \text{ over the other replicates of the group}"
        if stop_gradient_op in ops or stop_gradient_op in {c.op for c in self.draft.costs.values()}:
            yield r"\bot(x) &: x \text{, not differentiated}"
        for command, said in ((r"\varepsilon", "standard normal"), ("u", "uniform")):
            noise = {m[0] for line in lines for m in re.finditer(rf"(?<![\w\\]){re.escape(command)}'*_\{{", line)}
            if noise and not (command == "u" and "u" in self.graph.nodes):
                yield rf"{command} &: \text{{{said} noise}}"

    def _of_path(self, p: SiteNode) -> Iterator[str]:
        """What is seen in the place of a draw, where it is differentiated through."""
        now = self.draft.values.get(p.name)
        if now is None or now.op is sample_op or p.scan is not None:
            return
        others = {v.id: self._symbol(name) for name, v in self.draft.values.items()
                  if name != p.name and v.op is not sample_op and not stacked(v)}
        converter = self._converter(others, now.ndim)
        index = converter.free
        sign = r"\leftarrow" if any(n.op is sample_op and n.attrs.site == p.name for n in topological([now])) else "="
        formula = self._formula(now, index, converter)
        if formula is not None:
            yield f"{indexed(self.latex(p.name), [str(i) for i in index])} &{sign} {formula}"

    def _of_node(self, name: str, node: Node) -> Iterator[str]:
        """A node that the user has named."""
        inner = node.args[0]
        if inner.is_const:
            yield f"{self.latex(name)} &= {numbers(inner.attrs.array)}"
            return
        converter = self._converter({}, node.ndim)
        with deep(), distribute(False):
            try:
                found = converter.at(node, converter.free)
                while isinstance(found, Named):
                    found = found.definition
                text = expanded(found, self.table, {})
            except SCGError:
                text = None
        if text is not None and len(text) <= _LONG:
            yield f"{indexed(self.latex(name), [str(i) for i in converter.free])} &= {text}"

    def _symbol(self, name: str) -> Label:
        return lambda converter, index, at: Written(indexed(self.latex(name), places(0, index)), *index)

    @cached_property
    def _definitions(self) -> Converter:
        """Of formulas for parts; what stands for draws has the draws' names."""
        nodes = [n for m in self.draft.marks for n in (m.node, m.value) if n is not None]
        most = max((n.ndim for n in (*nodes, *self.draft.values.values())), default=0)
        return self._converter({v.id: self._symbol(name) for name, v in self.draft.values.items()
                                if v.op is not sample_op and not stacked(v)}, min(most, 4))

    def _formula(self, node: Node, index: Sequence, converter: Converter) -> str | None:
        """An element of a node, if that is short enough to be read."""
        if len(index) < node.ndim or any(not ax.statistical for ax in node.axes):
            return None
        try:
            with deep(), distribute(False):
                expr = sympy.sympify(converter.at(node, tuple(index)))
                text = expanded(expr, self.table, {})
        except (SCGError, RecursionError):
            return None
        return text if len(text) <= _LONG else None

    def _of_mark(self, mark: Mark) -> Iterator[str]:
        site = self.drawn.get(mark.site)
        if mark.name == COSTS and site is not None:
            name = self._plain(COSTS.latex, site.name, len(site.credit), bool(site.steps))
            yield f"{name} &= {self._credited(site)}"
        elif mark.name in (REPLAYED, AS_DRAWN) and site is not None:
            costs, draws = " + ".join(map(self.credited, site.influenced)), mark.node.ndim - len(site.steps)
            steps = bool(site.steps)
            yield (f"{self._plain(REPLAYED.latex.replace('<value>', 'v'), site.name, draws, steps)} &= {costs} "
                   rf"\text{{ where }} {self._plain('@[]', site.name, draws, steps)} \text{{ is }} v")
            yield from self._of_value(mark, site)
        elif mark.name == VALUE and site is not None:
            yield from self._of_value(mark, site)
        elif "<" in mark.name.latex or re.fullmatch(r"-?[\d.]+", mark.name.latex):
            return
        elif mark.name.meaning or (mark.name.otherwise and (site is None or site.steps)):
            words = re.split("@", mark.name.meaning or mark.name.otherwise)
            meaning = self.latex(mark.site).join(rf" \text{{{w}}} " for w in words).replace(r" \text{} ", "").strip()
            count = len(site.steps) if site is not None else 0
            name = self._plain(mark.name.latex, mark.site, mark.node.ndim - count, bool(count))
            yield f"{name} &: {meaning}"
        elif site is not None and not site.steps:
            yield from self._defined(mark.name.latex, site, mark.node)

    def _of_value(self, mark: Mark, site: Site) -> Iterator[str]:
        """What stands for a draw, if it has a name, and is no number."""
        value = mark.value
        if value is None or site.steps:
            return
        if mark.said is not None and not _literal(value):
            yield from self._defined(mark.said.latex, site, value)

    def _plain(self, text: str, site: str, draws: int, steps: bool) -> str:
        """A name in a typical step, of a typical element."""
        places = ["t"] * steps + ["i", "j", "k", "l"][:draws]
        return filled(self._named(text, site, places), ("t", "t-1"))

    def _defined(self, text: str, site: Site, node: Node) -> Iterator[str]:
        index = self._definitions.free[: node.ndim]
        formula = self._formula(node, index, self._definitions)
        if formula is not None:
            yield f"{filled(self._named(text, site.name, [str(i) for i in index]), ('t', 't-1'))} &= {formula}"

    def _credited(self, site: Site) -> str:
        apart = [name for name in site.influenced if by_element(site, name)]
        found = [text for name in site.influenced if name not in apart for text in self._in_steps(site, name)]
        if apart:
            mine = " + ".join(text for name in apart for text in self._in_steps(site, name))
            draw = self._plain("@[]", site.name, len(site.credit), bool(site.steps))
            found.insert(0, rf"\left.{mine}\right|_{{{draw}}}")
        return " + ".join(found) or "0"

    def _in_steps(self, site: Site, name: str) -> Iterator[str]:
        reached = [r for part, r in zip(site.parts, getattr(site, "_reached", [])) if part.cost == name]
        if not reached or reached[0] is None:
            yield self.credited(name)
            return
        now, later = (any(r[i] for r in reached) for i in (0, 1))
        back = site.site_node.scan is not None and site.site_node.scan.attrs.reverse
        low, high = ("0", "t" if now else "t-1") if back else ("t" if now else "t+1", str(self._last(name)))
        if later:
            yield rf"\sum_{{s={low}}}^{{{high}}} {indexed(self.latex(name), ['s'])}"
        elif now:
            yield indexed(self.latex(name), ["t"])


def _literal(value: Node) -> bool:
    """Whether it is made of numbers only."""
    return all(n.is_const for n in topological([value]) if not n.args)


def _primed(name: str, prime: str) -> str:
    """A name in LaTeX with a prime, before its subscript."""
    head, *below = re.split(r"(?<!\\)(?=_)", name, maxsplit=1)
    return head + prime + "".join(below)
