r"""What the names in the LaTeX of a surrogate stand for: costs, sites, nodes of the user's, parts of terms, noise.

This module imports sympy; import it inside functions only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import sympy
from sympy.core.parameters import distribute

from scg.analysis.influence import SiteNode
from scg.errors import SCGError, in_a_row
from scg.export.brought import brought, given_to, own_of
from scg.export.called import by_element, in_steps
from scg.export.latex_declared import LONG, LONGER, Declarations
from scg.export.latex_forms import Written, expanded, places
from scg.export.latex_names import escaped, indexed, primed
from scg.export.latex_page import Page, of_draws
from scg.export.latex_parts import Parts
from scg.export.names import NORMAL, UNIFORM
from scg.export.noise_shown import is_noise, made_of_noise
from scg.export.shown import REPLICATE, held, holds_for_any, in_a_few_words, is_literal, others_of_group
from scg.export.sympy.forms import Index
from scg.export.sympy.to_sympy import At, Converter, Label, NeedsNumbers, deep
from scg.ir.node import Node
from scg.ir.op import OPS
from scg.ir.traverse import topological
from scg.ops.arithmetic import named_op
from scg.ops.measure import leave_one_out_op
from scg.ops.randomness import draw_until_op, sample_op
from scg.ops.scan import scan_op, stacked
from scg.surrogate.mark import COSTS, REPLAYED, REPLAYS, VALUE, Mark, Name, follows
from scg.surrogate.site import Site

_SMOOTH = r"\text{a smooth function of the parameters and of noise: see the text}"


class Where:
    """The definitions below the sum.

    Parameters
    ----------
    page : Page
    """

    def __init__(self, page: Page):
        self._page, self._letters, self._own = page, page.letters, page.table.own_in_latex
        self._parts = Parts(page.letters)
        self._declared = Declarations(page.graph, page.letters, self._parts)
        self._said: set[str] = set()

    def lines(self) -> list[str]:
        """All of them."""
        page, declared = self._page, self._declared
        lines = [declared.cost(name) for name in page.draft.costs]
        for p in page.derivation.site_nodes:
            marks = [m for m in (*page.used.values(), *page.seen.values()) if m.site == p.name and not m.brought]
            each = "".join(rf"\text{{, one for each value of }} {page.latex(other)}"
                           for other in page.called.drawn_for(p.name))
            lines += [self._law(p) + each, *self._of_path(p)]
            lines += [*(line for m in marks for line in self._of_mark(m)), *page.vectors.get(p.name, ())]
        lines += [line for m in page.used.values() if m.site not in page.nodes and not m.brought
                  for line in self._of_mark(m)]
        said = [*page.said, *map(page.cost, page.draft.costs), *lines]
        lines = list(dict.fromkeys([*lines, *self._nodes(said), *declared.carried()]))
        for m in page.used.values():
            if m.brought and _mentions([*page.said, *lines], page.plain(m.name.latex, m.site, 0, False)):
                lines += self._of_mark(m)
        lines += self._glossary("\n".join([*page.said, *lines]))
        speaks = any(re.search(r"\breplicates?\b", line) for line in lines)
        return [*lines, *([rf"\text{{replicate}} &: \text{{{REPLICATE}}}"] if speaks else [])]

    def _nodes(self, lines: list[str]) -> list[str]:
        """The user's nodes that stand in lines, or in what others of them are; all, where loops may carry them."""
        graph, found = self._page.graph, dict[str, str]()
        names = [name for name, node in graph.nodes.items() if node.op is named_op or name in graph.per_step]
        loops = any(n.op is scan_op for n in topological(graph.costs.values()))
        while new := [name for name in names if name not in found and (
                      loops or _mentions([*lines, *found.values()], self._page.latex(name)))]:
            found |= {name: self._declared.node(name) for name in new}
        return [found[name] for name in names if name in found]

    def _glossary(self, text: str) -> Iterator[str]:
        if leave_one_out_op in {n.op for n in topological(self._page.terms)}:
            others = others_of_group(self._page.terms, bool(self._page.graph.rows))
            yield rf"\operatorname{{LOO}}(\cdot) &: \text{{{others}}}"
        drawn = held(self._page.draft, self._page.drawn)
        yield rf"\nabla &: \text{{the gradient in }} {self._gradient_in()}" + rf"\text{{{drawn}}}" * bool(drawn)
        if r"\bot\left" in text:
            yield r"\bot(\cdot) &: \text{its argument, not differentiated}"
        if self._page.graph.rows:
            yield rf"{self._own('N')} &: \text{{the number of rows}}"
        for o in self._page.draft.objectives:
            if (asked := own_of(self._page.derivation, o)) and o.said:
                named = in_a_row([_quoted(name[1:-1]) for name in asked])
                words = f"what {named} minimise{'s' * (len(asked) == 1)} on average: {_in_text(o.said)}"
                yield rf"\text{{{_quoted(o.name)}}} &: \text{{{words}}}"
        table = self._page.table
        for name, (node, _) in table.drawn.items():
            if node.op is draw_until_op and self._letters.latex(name).removesuffix("}") in text:
                yield rf"{self._letters.latex(name)} &: \text{{drawn by rejection}}"
        for op in OPS.values():
            called = rf"\operatorname{{{op.name.title().replace('_', '')}}}"
            if op.said and called in text:
                head, _, words = op.said.partition(": ")
                yield rf"{called}{head.removeprefix(op.name)} &: \text{{{_in_text(words)}}}"
        u, formulas = self._own("u"), re.sub(r"\\text\{[^{}]*\}", "", text)
        for site in self._page.drawn:
            name = self._page.latex(site)
            twin = primed(name, "'")
            below = "(?=[,}])" if twin.endswith("}") and "_" in twin else ""
            if re.search(re.escape(twin[:-1] if below else twin) + below, formulas):
                yield (rf"{twin} &: \text{{drawn as }} {name} \text{{ is, from }} 1 - {u} "
                       rf"\text{{ in place of its uniform noise }} {u}")
        noise = {name: self._letters.latex(name) for name, (node, _) in table.drawn.items() if is_noise(node)}
        for kind, said in ((NORMAL, "standard normal"), (UNIFORM, "uniform")):
            own = (head for name, head in noise.items() if name.startswith(f"{kind}_"))
            found = [head for head in own if _mentions([formulas], head)]
            if found:
                others = ", independent of each other" if len(found) > 1 else ""
                yield rf"{', '.join(found)} &: \text{{{said} noise{others}}}"

    def _law(self, p: SiteNode) -> str:
        """The distribution of a site, at the params at which it is drawn."""
        view = self._page.drawn.get(p.name)
        leaves = {i: name[1:-1] for i, name in given_to(self._page.derivation, view).items()}
        if view is None or not leaves:
            return self._declared.law(p.name)
        labels = {i: lambda converter, index, at, name=name: Written(
            indexed(rf"\text{{{_quoted(name)}}}", places(0, index)), *index) for i, name in leaves.items()}
        return self._declared.law(p.name, view.site_node, labels)

    def _gradient_in(self) -> str:
        moved = self._page.derivation.moved
        return in_a_few_words([self._page.latex(name) for name in moved]) or r"\text{the params}"

    def _of_path(self, p: SiteNode) -> Iterator[str]:
        """What is seen in the place of a draw, where it is differentiated through."""
        now = self._page.draft.values.get(p.name)
        if now is None or now.op is sample_op:
            now = made_of_noise(p, topological(self._page.terms))
        if now is None or p.scan is not None:
            return
        others = {v.id: self._symbol(name) for name, v in self._page.draft.values.items()
                  if name != p.name and v.op is not sample_op and not stacked(v)}
        others = {**self._left, **others}
        converter = self._page.letters.converter(others, now.ndim)
        index = converter.free
        short = self._formula(now, index, converter)
        formula, parts = (self._parts.lines(now, others) or (_SMOOTH, [])) if short is None else (short, [])
        mixed = any(n.op is sample_op and n.attrs.site == p.name for n in topological([now]))
        biased = self._page.derivation.verdicts[p.name].status != "unbiased"
        head = indexed(self._page.latex(p.name), [str(i) for i in index])
        yield rf"{head} &: \text{{replaced by }} {formula}" if mixed or biased else f"{head} &= {formula}"
        yield from parts

    def _symbol(self, name: str) -> Label:
        return lambda converter, index, at: Written(indexed(self._page.latex(name), places(0, index)), *index)

    @cached_property
    def _definitions(self) -> Converter:
        """Of formulas for parts; what stands for draws has the draws' names."""
        return self._converter({})

    def _at_value(self, mark: Mark) -> Converter:
        """Of the formula for what is made of parts with names: of a value that has one, of what has no formula."""
        parts = {i: self._page.label(m) for i, m in self._page.used.items()
                 if (m.name.meaning or m.name.also) and m.node is not mark.node}
        if mark.value is None or mark.said is None or is_literal(mark.value) or "<world>" in mark.said.latex:
            return self._converter(parts) if parts else self._definitions
        named = self._any if holds_for_any(mark) else self._page.label(Mark(mark.site, mark.said, mark.value))
        return self._converter({**parts, mark.value.id: named})

    def _any(self, converter: Converter, index, at: At):
        """An element of what stands for any value."""
        return Written(indexed(self._letters.v, places(0, index)), *index)

    @cached_property
    def _left(self) -> dict[int, Label]:
        """What loops leave has one name in laws and in parts of terms."""
        marked = [n for m in self._page.draft.marks for n in (m.node, m.value) if n is not None]
        return self._declared.left([*self._page.terms, *marked])

    @property
    def _brought(self) -> dict[int, Label]:
        """What estimators bring, by its names."""
        return {m.node.id: self._page.label(m) for m in self._page.draft.marks if m.brought}

    def _converter(self, known: Mapping[int, Label]) -> Converter:
        nodes = [n for m in self._page.draft.marks for n in (m.node, m.value) if n is not None]
        most = max((n.ndim + sum(not ax.statistical for ax in n.axes)
                    for n in (*nodes, *self._page.draft.values.values())), default=0)
        labels = {v.id: self._symbol(name) for name, v in self._page.draft.values.items()
                  if v.op is not sample_op and not stacked(v)}
        labels = {**self._left, **self._page.below_sums(), **labels, **self._brought, **known}
        return self._page.letters.converter(labels, min(most, 4))

    def _formula(self, node: Node, index: Sequence, converter: Converter) -> str | None:
        """An element of a node, if that is short enough to be read; indices along worlds come last."""
        worlds = [ax.name for ax in node.axes if not ax.statistical and ax.name not in self._page.summed]
        if len(index) < node.ndim + len(worlds):
            return None
        bound = {ax.name: Index(self._page.summed[ax.name]) for ax in node.axes if ax.name in self._page.summed}
        at = At(tuple(sorted({**dict(zip(worlds, index[node.ndim:])), **bound}.items())))
        try:
            with deep(), distribute(False):
                expr = sympy.sympify(converter.converted(node, tuple(index[: node.ndim]), at))
                text = expanded(expr, self._letters, {})
        except (SCGError, NeedsNumbers, RecursionError):
            return None
        return text if len(text) <= LONG else None

    def _of_mark(self, mark: Mark) -> Iterator[str]:
        """What a name stands for, and then what stands for the draw in it."""
        site = self._page.drawn.get(mark.site)
        yield from self._of_name(mark, site)
        if site is not None and re.search("<values?>", mark.name.latex):
            yield from self._of_value(mark, site)

    def _of_name(self, mark: Mark, site: Site | None) -> Iterator[str]:
        if mark.name == COSTS and site is not None:
            beside = self._page.beside(site.name, mark.node)
            name = self._page.plain(COSTS.latex, site.name, len(site.credit), bool(site.steps), beside)
            yield f"{name} &= {self._credited(site)}"
        elif mark.name in REPLAYS and site is not None:
            yield from self._of_replay(mark, site)
        elif mark.name == VALUE or "<given>" in mark.name.latex or re.fullmatch(r"-?[\d.]+", mark.name.latex):
            return
        elif mark.name.meaning or (mark.name.otherwise and site is None):
            yield self._in_other_words(mark, site)
        elif site is not None:
            found = list(self._defined(mark.name._replace(latex=self._head(mark)), site, mark.node, mark))
            longer = mark.name.otherwise and found[0].endswith(LONGER)
            yield from [self._in_other_words(mark, site)] if longer else found

    def _head(self, mark: Mark) -> str:
        """A name in which there stands what stands for the draw: a name, or the letter of a number."""
        named = (mark.said is not None and mark.value is not None and not is_literal(mark.value)
                 and not holds_for_any(mark))
        return mark.name.latex.replace("<value>", self._numbered(self._page.standing(mark)) if named else
                                       self._letters.v)

    def _in_other_words(self, mark: Mark, site: Site | None) -> str:
        itself = self._page.plain("@[]", mark.site, mark.node.ndim - (len(site.steps) if site is not None else 0),
                                  bool(site is not None and site.steps))
        text = f"{self._typical(mark, site)} &: {self._in_words(mark.name, itself, site, mark.node)}"
        found = brought(self._page.derivation, mark)
        return text if found is None else rf"{text}\text{{, {found.how} }} " + r" \text{ and } ".join(
            self._by_name(node, found.leaves) for node in found.nodes)

    def _by_name(self, node: Node, leaves: Sequence[Node]) -> str:
        """What an estimator brings, by its real names."""
        names = {leaf.id: rf"\text{{{_quoted(leaf.attrs.name)}}}" for leaf in leaves}
        if node.id in names:
            return names[node.id]
        labels = {i: lambda converter, index, at, name=name: Written(name) for i, name in names.items()}
        return self._formula(node, (), self._page.letters.converter(labels)) or " ".join(names.values())

    def _of_replay(self, mark: Mark, site: Site) -> Iterator[str]:
        draws, steps, s = mark.node.ndim - len(site.steps), bool(site.steps), self._letters.s
        texts = {name: [self._page.credited(name, s if steps else self._letters.t, site)] for name in site.influenced}
        costs = self._shared(site, texts) if draws else " + ".join(text for each in texts.values() for text in each)
        at_once = draws == 0 and site.draws  # of all draws
        whole = at_once and mark.value is not None and not is_literal(mark.value)
        value = self._numbered(self._page.standing(mark)) if whole else self._letters.v
        shown = self._page.plain(value, site.name, 0, steps) if whole else value
        alone = [text for name in site.influenced for text in self._moving(site, name, shown)]
        comma = "," * (draws > 0 and any(by_element(site, name) for name in site.influenced))
        head = REPLAYED.latex.replace("<value>", value)
        yield (f"{self._page.plain(head, site.name, draws, steps, self._page.beside(site.name, mark.node))} &= {costs} "
               rf"\text{{{comma} where }} {self._page.plain('@[]', site.name, draws, steps)} \text{{ is }} "
               rf"{shown}"
               rf"\text{{, {follows(mark.name)}}}" + "".join(rf"\text{{; }} {text}" for text in alone))

    def _moving(self, site: Site, name: str, shown: str) -> Iterator[str]:
        """Which steps of a cost what is `shown` in the place of a draw acts on, if not on all."""
        reached = in_steps(site, name)
        if reached is not None and reached.any:
            sign = {(True, True): r"\geq", (True, False): "=", (False, True): ">"}[reached.now, reached.later]
            sign = {r"\geq": r"\leq", ">": "<"}.get(sign, sign) if reached.back else sign
            s, t = self._letters.s, self._letters.t
            cost = indexed(self._page.latex(name), [s])
            yield rf"\text{{of }} {cost}, {shown} \text{{ acts on those with }} {s} {sign} {t}"

    def _typical(self, mark: Mark, site: Site | None) -> str:
        count = len(site.steps) if site is not None else 0
        text = re.sub("<values?>", self._letters.v, mark.name.latex)
        draws = mark.node.ndim - count * of_draws(mark)
        beside = self._page.beside(mark.site, mark.node, self._worlds(mark.node, draws))
        if not of_draws(mark):
            return self._page.plain(text, mark.site, 0, bool(count), [*beside, *self._letters.elements[:draws]])
        return self._page.plain(text, mark.site, draws, bool(count), beside)

    def _worlds(self, node: Node, draws: int) -> list[str]:
        """The numbers of worlds in which something stands for draws, after the indices of these."""
        count = sum(not ax.statistical and ax.name in self._page.called.worlds for ax in node.axes)
        return self._letters.elements[draws: draws + count]

    def _numbered(self, latex: str) -> str:
        """The name of one of several that stand for a draw, with a number."""
        return latex.replace("<world>", self._letters.elements[0])

    def _in_words(self, name: Name, itself: str, site: Site | None, node: Node) -> str:
        """What it means, with names as mathematicians set them; `itself` is what the site's is."""
        costs = "" if site is None else self._credited(site)
        whole = "" if site is None else self._page.plain("@", site.name, 0, bool(site.steps))
        worlds = "" if site is None else ", ".join(
            f"{whole}^{{({i})}}" for i in self._worlds(node, node.ndim - len(site.steps)))
        own = {"@": itself, "<value>": self._letters.v, "<costs>": costs, "<site>": whole,
               "<worlds>": worlds, "⊥": r"\bot"}
        table, said = self._page.table, name.meaning or name.also or name.otherwise
        said = re.sub("<([a-z])>", lambda letter: table.worded(letter[1]), said)
        words = filter(None, re.split(f"({'|'.join(own)})", said))
        return " ".join(own.get(word, rf"\text{{{word}}}") for word in words)

    def _of_value(self, mark: Mark, site: Site) -> Iterator[str]:
        """What stands for a draw, if it has a name, and is no number."""
        value = mark.value
        if mark.said is not None and mark.said.meaning:
            head = self._page.plain(self._numbered(mark.said.latex), site.name, 0, bool(site.steps))
            if head in self._said:  # another of several, told apart by its number
                return
            self._said.add(head)
            itself = self._page.plain("@[]", site.name, 0, bool(site.steps))
            yield rf"{head} &: {self._in_words(mark.said, itself, site, mark.node)}"
        elif mark.said is not None and value is not None and not is_literal(value):
            yield from self._defined(mark.said, site, value)

    def _defined(self, name: Name, site: Site, node: Node, mark: Mark | None = None) -> Iterator[str]:
        """A formula for a node; what stands for the draw in that of a mark's has its name."""
        worlds = sum(not ax.statistical and ax.name not in self._page.summed for ax in node.axes)
        if site.steps:
            formula = None if worlds else self._declared.in_step(node, self._brought)
        else:
            known = self._definitions if mark is None else self._at_value(mark)
            formula = self._formula(node, known.free[: node.ndim + worlds], known)
        draws = node.ndim - len(site.steps)
        beside = self._page.beside(site.name, node, self._letters.elements[draws: draws + worlds])
        head = self._page.plain(name.latex, site.name, draws, bool(site.steps), beside)
        itself = self._page.plain("@[]", site.name, draws, bool(site.steps))
        also = self._in_words(name, itself, site, node) if name.also else ""
        short = f"{head} &= {formula}" + rf" \text{{: }} {also}" * bool(also)
        yield f"{head} &: {also or LONGER}" if formula is None else short

    def _credited(self, site: Site) -> str:
        return self._shared(site, {name: list(self._in_steps(site, name)) for name in site.influenced})

    def _shared(self, site: Site, texts: Mapping[str, list[str]]) -> str:
        """The sum of costs, of those that are shared out by element the parts that are made of a draw."""
        apart = [name for name in site.influenced if by_element(site, name)]
        found = [text for name in site.influenced if name not in apart for text in texts[name]]
        if apart:
            mine = " + ".join(text for name in apart for text in texts[name])
            draw = self._page.plain("@[]", site.name, len(site.credit), bool(site.steps))
            found.insert(0, rf"\text{{those parts of }} {mine} \text{{ that are made of }} {draw}")
        return " + ".join(found) or "0"

    def _in_steps(self, site: Site, name: str) -> Iterator[str]:
        reached = in_steps(site, name)
        t, s = self._letters.t, self._letters.s
        if reached is None:
            yield self._page.credited(name, s if site.steps else t, site)
            return
        now, later, back = reached
        low, high = ("0", t if now else f"{t}-1") if back else (t if now else f"{t}+1", str(self._page.last(name)))
        if later:
            yield rf"\sum_{{{s}={low}}}^{{{high}}} {indexed(self._page.latex(name), [s])}"
        elif now:
            yield indexed(self._page.latex(name), [t])


def _quoted(name: str) -> str:
    """A name as it was given."""
    return f"``{_in_text(name)}''"


def _in_text(words: str) -> str:
    """Words inside of ``\\text``, where blanks are seen."""
    return escaped(words).replace(r"\ ", " ")


def _mentions(lines: Sequence[str], name: str) -> bool:
    """Whether a name stands in lines, with indices or without."""
    stem = name.rstrip("}") if "_" in name else name
    return re.search(rf"(?<![A-Za-z\\]){re.escape(stem)}(?![A-Za-z\d])", "\n".join(lines)) is not None
