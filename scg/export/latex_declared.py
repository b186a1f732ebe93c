r"""What a graph declares, in LaTeX: costs, laws of sites, named nodes, and what loops carry.

This module imports sympy; import it inside functions only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import sympy
from sympy.core.parameters import distribute

from scg.analysis.influence import SiteNode
from scg.errors import SCGError
from scg.export.brought import loops
from scg.export.declared import declared
from scg.export.latex_forms import Written, expanded, places
from scg.export.latex_letters import Letters
from scg.export.latex_names import escaped, indexed
from scg.export.latex_parts import Parts
from scg.export.steps import until_over
from scg.export.sympy.definitions import carries
from scg.export.sympy.forms import Index
from scg.export.sympy.named import Named
from scg.export.sympy.to_sympy import At, Converter, Frame, Label, NeedsNumbers, deep
from scg.ir.node import Node
from scg.ir.printer import numbers
from scg.ir.traverse import topological
from scg.ops.arithmetic import named_op
from scg.ops.leaves import placeholder_op
from scg.ops.randomness import sample_op
from scg.ops.reduce import total
from scg.ops.scan import of_step, out_op, scan_op, split, stacked
from scg.ops.termination import as_declared

LONG = 300  # characters of a definition: what is longer is left to the text
LONGER = r"\text{longer than a line: see the text}"
_MANY = 300  # parts of one


class Declarations:
    """Definitions, as lines of an aligned display.

    Parameters
    ----------
    graph : Graph
    letters : Letters
    parts : Parts
        Writes what is longer than a line.
    """

    def __init__(self, graph, letters: Letters, parts: Parts):
        self._graph, self._letters, self._parts = graph, letters, parts
        self._all = {(d.kind, d.name): d for d in declared(graph)}
        self._in_steps = {(node.args[0].id, of_step(node).id): name for name in graph.per_step
                          if stacked(node := graph.nodes[name]) and (of_step(node).args or of_step(node).ndim)}
        roots = [*graph.costs.values(), *graph.nodes.values()]
        self._labels = {**dict(self._of_draws(roots)), **self.left(roots)}
        self._begins: dict[str, tuple[str, Node]] = {}  # what stands for the draw before the first step
        self._met: dict[str, tuple[Node, Any]] = {}  # what was met of draws, noise and carries, and the loop around

    # --- lines ------------------------------------------------------------------------------------------------------
    def cost(self, name: str) -> str:
        """What a cost is: in each step, of a loop's."""
        node = self._graph.costs[name]
        return self._defined(name, node.args[0] if name in self._graph.scales else node, summed=True)

    def node(self, name: str) -> str:
        """What a node of the user's is."""
        return self._defined(name, self._graph.nodes[name])

    def law(self, name: str, drawn: SiteNode | None = None, labels: Mapping[int, Label] = MappingProxyType({})) -> str:
        """The distribution of a site at its parameters, or at those of `drawn`, where `labels` hold."""
        d = self._all["sample", name]
        frame, steps = self._frame(d.scans if drawn is None else loops(drawn))
        draw = d.node if drawn is None else drawn.node
        dist = as_declared(draw)
        self._labels.update(labels)
        call, params = dist.as_called()
        said, live = until_over(draw, len(params))
        where = "".join(rf"\text{{{said[:-3]}}}{self._formula(node, (), frame, None, 0) or '...'}" for node in live)
        draws = [Index(letter) for letter in self._letters.elements[: d.node.ndim - len(dist.event_shape)]]

        def part(found: re.Match) -> str:
            if found[2] is None:
                return rf"\mathrm{{{escaped(found[0])}}}"
            index = self._index(params[int(found[2])], dist, draws)
            formula = self._formula(params[int(found[2])], index, frame, None, len(draws))
            formula = r"\ldots" if formula is None else formula
            if not found[1]:
                return formula
            own = [str(i) for i in index if i != 0 and i not in draws]
            return indexed(rf"\mathrm{{{escaped(found[1])}}}", own) + f" = {formula}"

        text = re.sub(r"(?:([A-Za-z]\w*)=)?\{(\d+)\}|[A-Za-z]\w*", part, call)
        # Python's way to write a map
        text = re.sub(r"\\mathrm\{lambda\} (\\mathrm\{\w+\}):", r"\1 \\mapsto", text)
        return rf"{indexed(self._letters.of(name), [*steps, *map(str, draws)])} &\sim {text}{where}"

    def carried(self) -> Iterator[str]:
        """What the loops carry, as far as the lines so far mention it."""
        for head, init in self._begins.values():
            yield f"{head} &= {numbers(init.attrs.array)}" if init.is_const else self._begun(head, init)
        converter, count = self._letters.converter(self._labels), -1
        converter.draws = self._met
        with deep(), distribute(False):
            while len(self._met) > count:  # a carry may be made of another
                count, found = len(self._met), list(carries(converter))
            texts = [(self._shown(head), self._shown(sympy.sympify(value))) for head, value in found]
        yield from (f"{head} &= {text}" if len(text) <= LONG else f"{head} &: {LONGER}" for head, text in texts)

    def _begun(self, head: str, init: Node) -> str:
        formula = self._formula(init, (), None, None) if not init.ndim else None
        return f"{head} &: \\text{{what it begins with}}" if formula is None else f"{head} &= {formula}"

    # --- formulas ---------------------------------------------------------------------------------------------------
    def in_step(self, node: Node, labels: Mapping[int, Label] = MappingProxyType({})) -> str | None:
        """A typical element of what loops put out in a typical step, where `labels` hold, if that is short enough."""
        if not stacked(node):
            return None
        node, frame, _ = self._step(node)
        self._labels.update(labels)
        return self._formula(node, tuple(map(Index, self._letters.elements[: node.ndim])), frame, None)

    def left(self, roots: Sequence[Node]) -> dict[int, Label]:
        """What loops leave, those inside of others too: by the name of the last draw, if it is one."""
        found: dict[int, Label] = {}
        for n in topological(roots):
            if n.op is out_op and not stacked(n):
                found[n.id] = self._after(n)
            if n.op is scan_op:
                found |= self.left([*n.attrs.carries, *n.attrs.outputs])
        return found

    def _step(self, node: Node) -> tuple[Node, Frame | None, list[str]]:
        """What loops put out in a typical step, that step, and its letters."""
        scans = []
        while stacked(node):
            scans.append(node.args[0])
            node = of_step(node)
        return node, *self._frame(scans)

    def _defined(self, name: str, node: Node, summed: bool = False) -> str:
        root, scans = node, stacked(node)
        node, frame, steps = self._step(node)
        if summed and node.ndim:
            root = node = total(node)
        named = self._graph.names.get(node.id) if summed and not scans else None
        if named is not None and not node.ndim:  # a cost that is a node of the user's
            return f"{self._letters.of(name)} &= {self._letters.of(named)}"
        inner = node.args[0] if node.op is named_op else node
        if inner.is_const:
            return f"{self._letters.of(name)} &= {numbers(inner.attrs.array)}"
        index = tuple(Index(letter) for letter in self._letters.elements[: node.ndim])
        formula = self._formula(node, index, frame, root)
        head = indexed(self._letters.of(name), [*steps, *map(str, index)])
        if formula is None and frame is None:
            found = self._parts.lines(inner if node is root else node, {
                i: label for i, label in self._labels.items() if i not in (root.id, node.id)})
            if found is not None:
                self._met |= self._parts.met
                return " \\\\\n".join([f"{head} &= {found[0]}", *found[1]])
        return f"{head} &: {LONGER}" if formula is None else f"{head} &= {formula}"

    def _formula(self, node: Node, index: Sequence, frame: Frame | None, root: Node | None,
                 taken: int = 0) -> str | None:
        """An element of a node, if that is short enough to be read; `root` is not called by its own name, and so many
        letters are `taken` beside those of the index."""
        own = set() if root is None else {n.id for n in (root, node) if n.op is not out_op or stacked(n)}
        if self._length(node, own) > _MANY:
            return None
        labels = {i: label for i, label in self._labels.items() if i not in own}
        letters = self._letters.elements
        bound = [letters.index(str(i)) + 1 for i in index if str(i) in letters]
        converter = self._letters.converter(labels, max([*bound, taken]))
        try:
            with deep(), distribute(False):
                expr = sympy.sympify(converter.at(node, tuple(index), frame))
                while isinstance(expr, Named) and root is not None:
                    expr = expr.definition
                text = self._shown(expr)
                if len(text) <= LONG:
                    self._met |= converter.draws
        except (SCGError, NeedsNumbers, RecursionError):
            return None
        return text if len(text) <= LONG else None

    def _length(self, node: Node, own: set[int]) -> int:
        """About how many parts are written for it: what is used twice is written twice."""
        sizes: dict[int, int] = {}
        for n in topological([node], lambda n: n.id in self._labels and n.id not in own):
            sizes[n.id] = min(1 + sum(sizes.get(a.id, 1) for a in n.args), _MANY + 1)
        return sizes.get(node.id, 1)

    def _shown(self, expr) -> str:
        return expanded(expr, self._letters)

    def _index(self, param: Node, dist, draws: Sequence) -> tuple:
        """The indices of a parameter's element: those of the draws, and more for its own dimensions."""
        known = {node.id: dist.parameters[name].event_ndim for name, node in dist.params.items()
                 if name in dist.parameters}
        own = known.get(param.id, max(0, param.ndim - len(draws)))
        lead = draws[len(draws) - (param.ndim - own):]
        more = map(Index, self._letters.elements[len(draws): len(draws) + own])
        return (*(0 if size == 1 else i for size, i in zip(param.shape, lead)), *more)

    def _frame(self, scans: Sequence[Node]) -> tuple[Frame | None, list[str]]:
        """A typical step of nested loops, outer ones first."""
        frame, letters = None, self._letters.steps[: len(scans)]
        for scan, letter in zip(scans, letters):
            frame = Frame(scan, Index(letter), frame)
        return frame, list(letters)

    # --- labels -----------------------------------------------------------------------------------------------------
    def _of_draws(self, roots: Sequence[Node]) -> Iterator[tuple[int, Label]]:
        """Names of draws, of nodes in steps, and of carries that are draws of the step before."""
        names = {inner: name for (_, inner), name in self._in_steps.items()}
        for n in topological(roots):
            if n.op is sample_op:
                yield n.id, self._name(n.attrs.site)
            elif n.op is placeholder_op:
                yield n.id, self._placeholder(n)
            elif n.id in names:
                yield n.id, self._in_step(n)
            if n.op is scan_op:
                yield from self._of_draws([*n.attrs.carries, *n.attrs.outputs])

    def _name(self, name: str, steps: bool = True) -> Label:
        def label(converter: Converter, index, at: At):
            full = (*(at.frame.steps if steps and at.frame else ()), *index)
            return Written(indexed(self._letters.of(name), places(0, full)), *full)

        return label

    def _in_step(self, node: Node) -> Label:
        def label(converter: Converter, index, at: At):
            name = self._in_steps.get((at.frame.scan.id, node.id)) if at.frame else None
            return converter.defined(node, index, at) if name is None else (
                self._name(name, not node.is_const)(converter, index, at))

        return label

    def _after(self, node: Node) -> Label:
        """What a loop leaves: the last draw, if it is one."""
        body = node.args[0].attrs
        new, last = body.new_carries[node.attrs], 0 if body.reverse else body.length - 1

        def label(converter: Converter, index, at: At):
            if new.op is not sample_op:
                return converter.defined(node, index, at)
            full = (*(at.frame.steps if at.frame else ()), last, *index)
            return Written(indexed(self._letters.of(new.attrs.site), places(0, full)), *full)

        return label

    def _placeholder(self, node: Node) -> Label:
        def label(converter: Converter, index, at: At):
            frame: Any = at.frame
            body, roles = frame.scan.attrs, frame.scan.attrs.roles
            kind, *number = roles[node.id]
            new = body.new_carries[number[0]] if kind == "carry" else None
            if new is None or new.op is not sample_op:
                return converter.defined(node, index, at)
            name, before = new.attrs.site, frame.t + 1 if body.reverse else frame.t - 1
            outer, start = frame.steps[:-1], body.length if body.reverse else -1
            head = indexed(self._letters.of(name), [*map(str, outer), str(start)])
            self._begins.setdefault(name, (head, split(frame.scan)[0][number[0]]))
            full = (*outer, before, *index)
            return Written(indexed(self._letters.of(name), places(0, full)), *full)

        return label
