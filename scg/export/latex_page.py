"""LaTeX of a surrogate: as in the paper (costs, and log p times stopped costs), or of the whole expression.

This module imports sympy; import it inside functions only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import sympy
from sympy.core.parameters import distribute

from scg.analysis.influence import SiteNode
from scg.analysis.reach import sum_of
from scg.export import names
from scg.export.called import Called, grid
from scg.export.latex_forms import Last, Written, expanded, filled, place, places
from scg.export.latex_letters import Letters
from scg.export.latex_names import accented, indexed, primed
from scg.export.names import names_of
from scg.export.parents import EARLIER, NOW, PREVIOUS, Parent, Parents, loop_of
from scg.export.shown import is_literal, is_shown, is_stopped, is_weight, views
from scg.export.sympy.calculus import unstop
from scg.export.sympy.forms import number
from scg.export.sympy.to_sympy import At, Converter, Label
from scg.ir.axes import ROW
from scg.ir.node import Node
from scg.ir.printer import name_of, numbers
from scg.ir.traverse import topological
from scg.ops.arithmetic import stop_gradient_op
from scg.ops.measure import event_to_axis_op
from scg.ops.scan import stacked
from scg.ops.structure import broadcast_to
from scg.surrogate.derivation import Derivation
from scg.surrogate.draft import Term
from scg.surrogate.mark import CHANCE_OF_ALL, COSTS, Mark
from scg.surrogate.site import Site
from scg.verdict import Verdict

_TOKEN = r"@(bar|tilde|')?(\[\])?|<given>|<site>"
_MANY = 8  # of more parents than this the middle ones are left out


def of_draws(mark: Mark) -> bool:
    """Whether the indices of a marked node are those of draws; of a param that is learned they are its own."""
    return not mark.brought or "[]" in mark.name.latex


class Page:
    """What the lines of the display are made of: see `scg.export.page` for the same in text."""

    def __init__(self, derivation: Derivation, terms: Sequence[Term]):
        self.derivation, self.draft, self.graph = derivation, derivation.draft, derivation.graph
        self._sum = list(terms)
        self.terms = [t.node for t in self._sum]
        self.table = names_of(derivation)
        self.letters = Letters(self.table)
        self.parents = Parents(self.table, lambda scan, i: self.table.carry(i, names.Loop(scan)))
        self.drawn = views(derivation)
        self.nodes = {p.name: p for p in derivation.site_nodes}
        self.ranks = {name: i + 1 for i, name in enumerate(self.draft.costs)}
        self.used: dict[int, Mark] = {}
        self.called = Called(derivation, self.drawn)
        texts = Counter[str | None]()
        ids = {n.id for n in topological([*self.terms, *self._rewritten])}
        self._primes: dict[int, str] = {}
        self.vectors: dict[str, dict[str, None]] = {}  # by site, what vectors in the place of its draws are
        self.seen: dict[str, Mark] = {}  # marks of nodes that another site's mark is of too
        for mark in self.draft.marks:
            if mark.node.id in ids and is_shown(mark) and mark.node.id not in self.used:
                self.used[mark.node.id] = mark
                text = self.called.of(mark)
                texts[text] += mark.name != COSTS  # of one site they are all the same costs
                if texts[text] > 1:  # two nodes never have one name
                    self._primes[mark.node.id] = rf"^{{({texts[text]})}}"
        self._place = {i: place for place, i in enumerate(self.used)}
        self.summed = {f"{name} support": self.table.given(name) for name in self.nodes if name not in self.drawn}
        for axis, name in self.summed.items():  # what sums over the values of a site that is summed out bind
            self.letters.bind(axis, name)

    @property
    def _rewritten(self) -> list[Node]:
        """Costs that have a name of their own."""
        costs = self.draft.costs
        return [costs[name] for name in costs if any(m.of_cost(name, costs) for m in self.draft.marks)]

    def sum(self) -> list[str]:
        """What is estimated, and L."""
        self.said = [*self._terms()]
        first, *others = [*map(self.cost, self.draft.costs), *self.said] or ["0"]
        whole = self.table.own_in_latex("L") + (f"_{{{self.letters.n}}}" if self.graph.rows else "")
        sign = "=" if self._unbiased else r"\approx"
        slope = self._mean(rf"\nabla {whole}")
        lines = [rf"\nabla\,{self._objective()} &{sign} {slope}", f"{whole} &= {first}"]
        return lines + [rf"&\quad {p}" if p.startswith("-") else rf"&\quad + {p}" for p in others]

    def own_words(self, text: str) -> str:
        """A text in which the words of ops of ours are none of the user's names."""
        return text.replace(r"\operatorname{LOO}", rf"\operatorname{{{self.table.own('LOO')}}}")

    @property
    def _unbiased(self) -> bool:
        return Verdict(self.derivation.verdicts, self.derivation.of_costs).unbiased

    def _mean(self, inner: str) -> str:
        expected = rf"\mathbb{{E}}\left[{inner}\right]"
        n, rows = self.letters.n, self.table.own_in_latex("N")
        return rf"\frac{{1}}{{{rows}}} \sum_{{{n}=1}}^{{{rows}}} {expected}" if self.graph.rows else expected

    def _objective(self) -> str:
        """The expectation of the costs; those that vary by row have its number."""
        by_row = [name for name, c in self.graph.costs.items() if ROW in c.axes]
        once = [name for name in self.graph.costs if name not in by_row]
        parts = []
        if by_row or not once:
            parts.append(self._mean(" + ".join(map(self.in_sum, by_row)) or "0"))
        if once:
            parts.append(rf"\mathbb{{E}}\left[{' + '.join(map(self.in_sum, once))}\right]")
        return parts[0] if len(parts) == 1 else rf"\left({' + '.join(parts)}\right)"

    # --- costs ------------------------------------------------------------------------------------------------------
    def credited(self, name: str, step: str, site: Site) -> str:
        """A cost as a summand of a site's Q̂, with a letter for its steps."""
        return self._sums(name, site) + self.in_sum(name, step)

    def in_sum(self, name: str, step: str = "") -> str:
        """A cost as a summand of the objective, with its scale."""
        text, t = self.latex(name), step or self.letters.t
        if stacked(self.graph.costs[name]):
            text = rf"\sum_{{{t}=0}}^{{{self.last(name)}}} {indexed(text, [t])}"
        return self._scale(name) + text

    def last(self, name: str) -> int:
        """The last step of a cost's loop."""
        return self.graph.costs[name].shape[0] - 1

    def _scale(self, name: str) -> str:
        scale = self.graph.scales.get(name)
        if scale is None:
            return ""
        if scale.is_const and not scale.ndim:
            return rf"{numbers(scale.attrs.array)}\,"
        return rf"{self.latex(name_of(scale) or 'scale')}\,"

    def cost(self, name: str) -> str:
        """A cost as a function of its parents, under the sums of the sites that are summed out.

        One that a rule for the whole graph has rewritten stands as that calls it.
        """
        mark = next((m for m in self.used.values() if m.of_cost(name, self.draft.costs)), None)
        if mark is not None:
            return self.named(self.table.worded_in_latex(mark.name.latex), mark.site, [])
        declared = self.graph.costs[name]
        t = self.letters.t
        steps = rf"\sum_{{{t}=0}}^{{{self.last(name)}}} " if stacked(declared) else ""
        known = self.parents.of_output(declared)
        inner = filled(f"({self.listed(known)})", (t, f"{t}-1")) if known else ""
        head = indexed(self.latex(name), [t] if steps else [])
        text = f"{self._sums(name)}{self._scale(name)}{steps}{head}{inner}"
        stopped = self.draft.costs[name].op is stop_gradient_op is not declared.op
        return rf"\bot\left({text}\right)" if stopped else text

    def _sums(self, name: str, weighed: Site | None = None) -> str:
        """The sums over the values of the sites that are summed out of a cost; as it weighs a site, if one is given."""
        summed = self.called.summed(name, weighed)
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
        step, p_ = self.table.own_in_latex(r"\tau"), self.table.own_in_latex("p")
        own = indexed(self.latex(p.name), [] if p.scan is None else [step])
        given = filled(self.given(p.name), (step, f"{step}-1"))
        text = rf"{p_}({own} \mid {given})" if given else f"{p_}({own})"
        if p.scan is None:
            return text
        ends = "" if p.inner else f"^{{{p.scan.attrs.length - 1}}}"
        return rf"\prod_{{{step}{'=0' if ends else ''}}}{ends} {text}"

    def latex(self, name: str) -> str:
        """A name of the user's."""
        return self.letters.of(name)

    def listed(self, parents: list[Parent]) -> str:
        """Names with their steps: place 0 is for the step, and place 1 for the one before."""
        many = len(parents) > _MANY
        names = [self._in_step(p) for p in ([*parents[:3], *parents[-2:]] if many else parents)]
        return ", ".join([*names[:3], r"\ldots", *names[3:]] if many else names)

    def _in_step(self, p: Parent) -> str:
        below = {NOW: [place(0)], PREVIOUS: [place(1)], EARLIER: [f"<{place(0)}"]}
        return indexed(self.letters.latex(p.name), below.get(p.when, [p.when] if p.when else []))

    def given(self, site: str) -> str:
        """The parents of a site; place 0 is for the step, and place 1 for the one before."""
        p = self.nodes.get(site)
        return "" if p is None else self.listed(self.parents.of_site(p.node, loop_of(p)))

    # --- terms ------------------------------------------------------------------------------------------------------
    def _terms(self) -> list[str]:
        return [self._term(t) for t in self._sum]

    def _term(self, term: Term) -> str:
        marked = {**self.below_sums(), **{i: self.label(mark) for i, mark in self.used.items()}}
        for mark in reversed(self.draft.marks):  # what two sites have in common is called as by the term's own
            if mark.site == term.site and mark.node.id in self.used:
                marked[mark.node.id] = self.label(mark)
                self.seen.setdefault(mark.name.latex + mark.site, mark)
        costs = {c.id: self._name(name) for name, c in self.draft.costs.items() if not c.is_const}
        inside = self.letters.converter({**costs, **marked})

        def stopped(node: Node) -> Label:
            return lambda converter, index, at: Last(unstop(inside.element(node, index, at)))

        outer = {}
        for n in topological([term.node], lambda n: n.id in marked):
            for m in (n, *(a for a in n.args if a.id in marked)):
                if is_stopped(m) or (m.id in self.used and is_weight(self.used[m.id])):
                    outer[m.id] = stopped(m if m.id in marked else m.args[0])
        with distribute(False):
            found = self.letters.converter({**marked, **outer}).scalar(sum_of([term.node]))
            text = expanded(found, self.letters, self.ranks)
        over = {rf"\sum_{{{self.latex(site)}=0}}": self._over(site) for site in self.nodes if site not in self.drawn}
        for start, whole in over.items():
            text = re.sub(rf"{re.escape(start)}\^\{{\d+\}}", lambda found, whole=whole: whole, text)
        return text

    def _name(self, name: str) -> Label:
        def label(converter: Converter, index, at: At):
            text = self._scale(name) + indexed(self.latex(name), places(0, index))
            self.ranks.setdefault(text, self.ranks[name])
            return Written(text, *index)

        return label

    def label(self, mark: Mark) -> Label:
        """A marked node by its name, in which the places of indices are filled in where it stands."""
        site = self.drawn.get(mark.site)
        steps = bool(site is not None and site.steps)

        if re.fullmatch(r"-?[\d.]+", mark.name.latex):
            return lambda converter, index, at: number(float(mark.name.latex))

        def label(converter: Converter, index, at: At):
            t = sympy.sympify(index[0] if steps and index else 0)
            args = [t, t - 1]
            text = self.table.worded_in_latex(mark.name.latex)
            worlds: list = []
            if "<value>" in text or "<values>" in text:
                value = self._value(mark, converter, index, at, args)
                text = text.replace("<value>", value).replace("<values>", value.replace("@[]", "<site>"))
            else:  # in a world for each of several values
                worlds = [at.world(ax.name) for ax in mark.node.axes
                          if not ax.statistical and ax.name.startswith(f"{mark.site} ") and ax.name not in self.summed]
            beside = self.beside(mark.site, mark.node, places(len(args) + len(index), worlds))
            own = places(len(args), index)
            index = (*index, *worlds, *self._bound(mark.node, at))
            text = self.named(text, mark.site, *((own, beside) if of_draws(mark) else ([], [*beside, *own])))
            text += self._primes.get(mark.node.id, "")
            rank = 0 if mark.name == COSTS else len(self.draft.costs) + 1 + self._place.get(mark.node.id, 0)
            self.ranks.setdefault(text, rank)
            return Written(text, *args, *index)

        return label

    def _bound(self, node: Node, at: At) -> list:
        """What sums over summed sites' values bind, which a name does not show: there stand these values themselves."""
        return [at.world(ax.name) for ax in node.axes if ax.name in self.summed]

    def below_sums(self) -> dict[int, Label]:
        """Names of the values of sites that are summed out, and of what is drawn anew for each."""
        def drawn(name: str) -> Label:
            return lambda converter, index, at: Written(
                indexed(self.letters.latex(name), places(0, index)), *index, *self._bound(found[name], at))

        found = {name: node for name, (node, loop) in self.table.drawn.items()
                 if loop is None and any(ax.name in self.summed for ax in node.axes)}
        found |= {self.table.given(m.site): m.value for m in self.draft.marks
                  if m.name == CHANCE_OF_ALL and m.value is not None and m.site not in self.drawn}
        return {node.id: drawn(name) for name, node in found.items()}

    def beside(self, site: str, node: Node, worlds: Sequence[str] = ()) -> list[str]:
        """What tells parts of a site apart that are no draws of its own: the row, if its draws are shared by all rows,
        and values that stand for a draw."""
        p = self.nodes.get(site)
        shared = p is not None and ROW in node.axes and ROW not in p.node.axes
        return [*([self.letters.n] if shared else []), *worlds]

    def named(self, text: str, site: str, places: Sequence[str], beside: Sequence[str] = ()) -> str:
        """A name with its site, the indices of an element, and the parents; what is `beside` stands below the name."""
        text, given = self.table.worded_in_latex(text), self.given(site)

        def written(token: re.Match) -> str:
            if token[0] == "<given>":
                return given
            if token[0] == "<site>":
                return indexed(self.latex(site), places[: len(self.drawn[site].steps)])
            mark = token[1] or ""
            name = accented(self.latex(site), mark) if mark in ("bar", "tilde") else primed(self.latex(site), mark)
            return indexed(name, places) if token[2] else name

        text = text if given else text.replace(r" \mid <given>", "")
        head, called, rest = text.partition("(")
        found = re.sub(_TOKEN, written, head)
        return indexed(found, beside) + called + re.sub(_TOKEN, written, rest)

    def _value(self, mark: Mark, converter: Converter, index, at: At, args: list) -> str:
        """What stands for the draw: a number, in a place of its own, or a name."""
        value = mark.value
        if value is not None and is_literal(value):
            site = self.drawn[mark.site]
            inner = index[len(site.steps):]
            wide = broadcast_to(value, site.shape) if inner else value
            if wide.ndim <= len(inner):
                args.append(converter.element(wide, inner if wide.shape else (), at))
                return place(len(args) - 1)
            return self._vector(mark, value, [at.world(ax.name) for ax in value.axes if not ax.statistical], args)
        if mark.said is None or "<world>" not in mark.said.latex:
            return self.standing(mark)
        worlds = [at.world(ax.name) for ax in mark.node.axes
                  if not ax.statistical and value is not None and ax in value.axes]
        text = mark.said.latex.replace("<world>", ",".join(places(len(args), worlds)))
        args += worlds
        return text

    def standing(self, mark: Mark) -> str:
        """A name for what stands for the draws."""
        return "@'[]" if mark.said is None else mark.said.latex

    def _vector(self, mark: Mark, value: Node, worlds: Sequence, args: list) -> str:
        """The same of a draw that is a vector: a name, whose numbers stand below."""
        v, i = self.letters.v, self.letters.which
        array = value.args[0] if value.op is event_to_axis_op else value
        known = numbers(array.attrs.array) if array.is_const else None
        if worlds or mark.said is None:
            text = indexed(v, places(len(args), worlds))
            row = rf"\text{{row }} {i} \text{{ of }} {known}"
            line = f"{indexed(v, [i])} &: {row}" if known else (
                rf"{indexed(v, [i])} &: \text{{value number }} {i} \text{{ of }} {self.latex(mark.site)}")
        else:
            site, text = self.drawn[mark.site], mark.said.latex
            line = f"{self.plain(text, mark.site, len(site.draws), bool(site.steps))} &= {known}"
        self.vectors.setdefault(mark.site, {})[line] = None
        args += worlds
        return text

    def plain(self, text: str, site: str, draws: int, steps: bool, beside: Sequence[str] = ()) -> str:
        """A name in a typical step, of a typical element."""
        t = self.letters.t
        places = [t] * steps + self.letters.elements[:draws]
        return filled(self.named(text, site, places, beside), (t, f"{t}-1"))
