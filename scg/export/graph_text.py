"""A graph as text: its leaves, sites, named nodes and costs, one a line, in the notation of the user's own program."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from scg.analysis.influence import SiteNode, sites
from scg.export.called import factor
from scg.export.names import Names
from scg.export.shown import STOPPED, with_key
from scg.export.steps import Line, Loops, Steps, mentions, of_cost, until_over
from scg.ir.node import Node
from scg.ir.sharing import Shared
from scg.ir.traverse import topological
from scg.ops.arithmetic import named_op
from scg.ops.randomness import distribution_of, sample_op
from scg.ops.scan import scan_op, stacked
from scg.ops.termination import as_declared


def graph_text(graph) -> str:
    """All lines."""
    return "\n".join([f'graph "{graph.name}"', *(f"  {line}" for line in _Lines(graph).lines())])


class _Lines:
    def __init__(self, graph):
        self._graph = graph
        named = [n for n in graph.nodes.values() if n.op.kind != "leaf"]
        self._order = topological([*named, *graph.costs.values()])
        self._table = Names(graph)
        self._loops = Loops(self._order, self._table)
        self._taken = {*graph.nodes, *graph.costs, *graph.sites, *self._table.keys}

    def lines(self) -> list[str]:
        found = list(self._leaves())
        lines = [line for _, made in sorted(self._declared(), key=lambda item: item[0]) for line in made()]
        outside = [node for _, line, _ in lines if not line.names for node in line.nodes]
        names = dict(self._loops.last)
        writer = Shared(outside, names, self._taken)
        texts: list[tuple[str, str]] = []
        for kind, line, said in lines:
            own = Shared(line.nodes, {**names, **line.names}, self._taken) if line.names else writer
            texts.append((kind, line.text(own) + said))
            texts += [("", f"{name} = {text}") for name, text in own.parts.items() if own is not writer]
        texts += [("", f"{name} = {text}") for name, text in writer.parts.items()]
        every = "\n".join(text for _, text in texts)
        for name, (steps, inner) in self._loops.unnamed.items():
            if mentions(every, name):
                line = Line(steps.indexed(name, inner), "{0}", *steps.inside((inner,)))
                texts.append(("", line.text(Shared(line.nodes, {**names, **line.names}, self._taken))))
        texts += [("", f"{name} = {text}") for name, text in self._loops.arrays(every)]
        every_line = [*found, *dict.fromkeys(f"{kind:<7} {text}" for kind, text in texts)]
        return with_key([*every_line, *([STOPPED] if "⊥(" in every else [])])

    def _leaves(self) -> Iterator[str]:
        graph = self._graph
        for kind, table in (("param", graph.params), ("input", graph.inputs), ("data", graph.rows)):
            for name, node in table.items():
                yield f"{kind:<7} {name}{_shape(node)}{', one for each row' if kind == 'data' else ''}"

    def _declared(self) -> Iterator[tuple[int, Callable[[], Iterator[tuple[str, Line, str]]]]]:
        """Sites, named nodes and costs, and where in the graph they stand."""
        graph = self._graph
        for name, node in graph.nodes.items():
            if node.op is sample_op:
                yield node.id, lambda node=node: self._site(SiteNode(node.attrs.site, node, None))
            elif node.op.kind != "leaf":
                yield node.id, lambda name=name, node=node: self._node("node", name, node)
        for name, node in graph.costs.items():
            yield node.id, lambda name=name, node=node: self._node("cost", name, node)
        seen: set[str] = set()
        for n in self._order:
            if n.op is scan_op:
                mine = [s for s in sites(n.attrs.outputs) if s.name not in seen]
                seen |= {s.name for s in mine}
                yield n.id, lambda n=n, mine=mine: self._loop(n, mine)

    def _site(self, p: SiteNode) -> Iterator[tuple[str, Line, str]]:
        call, params = distribution_of(p.node).as_called()
        yield "sample", Line(p.name, call, params, {}, "~"), _shape(p.node) + _axes(p.node)

    def _node(self, kind: str, name: str, node: Node) -> Iterator[tuple[str, Line, str]]:
        if stacked(node):
            yield kind, self._in_step(name, node), _axes(node) + _steps(self._loops.of_output(node)[0])
            return
        scale = self._graph.scales.get(name) if kind == "cost" else None
        inner = node.args[0] if scale is not None or (node.op is named_op and kind == "node") else node
        if kind == "cost":  # which is the sum of its elements
            yield kind, of_cost(name, inner), _axes(node) + (f", times {factor(scale)}" if scale is not None else "")
        else:
            yield kind, Line(name, "{0}", (inner,)), _shape(node) + _axes(node)

    def _in_step(self, name: str, node: Node) -> Line:
        steps, inner = self._loops.of_output(node)
        return Line(steps.indexed(name, inner), "{0}", *steps.inside((inner,)))

    def _loop(self, scan: Node, mine: list[SiteNode]) -> Iterator[tuple[str, Line, str]]:
        for steps in [s for s in self._loops.known if s.chain[0] is self._loops.steps(scan)]:
            for i in range(len(steps.body.carries)):
                for line in steps.carried(i):
                    yield "carry", line, _steps(steps) if re.search(rf"\b{steps.t}(\+1|-1)?\]$", line.name) else ""
        for p in mine:
            call, params = as_declared(p.node).as_called()
            said, live = until_over(p.node, len(params))
            steps = self._loops.of_scans([scan, *([] if p.scan is None else [p.scan]), *p.inner])
            nodes, names = steps.inside((*params, *live))
            yield ("sample", Line(steps.at(p.name, steps.t), call + said, nodes, names, "~"),
                   _shape(p.node) + _axes(p.node) + _steps(steps))


def _shape(node: Node) -> str:
    return f" {node.shape}" if node.shape else ""


def _steps(steps: Steps) -> str:
    lengths = " times ".join(str(s.body.length) for s in steps.chain)
    return f", in {lengths} steps{', backwards' if steps.body.reverse else ''}"


def _axes(node: Node) -> str:
    names = [ax.name for ax in node.axes if ax.statistical]
    said = {"row": "row", "lane": "replicate"}
    return f", by {' and '.join(said[name] for name in names)}" if names else ""
