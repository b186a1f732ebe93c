"""Where a number first stopped being finite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from scg import backend
from scg.analysis.reach import sum_of
from scg.differentiate.reverse_mode import gradients
from scg.errors import Problem
from scg.ir.check import Check
from scg.ir.location import calling
from scg.ir.node import Node, as_real, constant, where
from scg.ir.printer import name_of, short, title
from scg.ir.traverse import downstream, topological
from scg.ops.density import in_ranges_op, log_density_op
from scg.ops.indices import take_op
from scg.ops.leaves import noise_op
from scg.ops.measure import event_to_axis_op
from scg.ops.randomness import sample_op
from scg.ops.scan import open_scan, out, out_op, scan_op
from scg.program import Call, Layout, Program
from scg.run.blame import Known, Place, argument, cause, value_at
from scg.surrogate.derivation import Derivation
from scg.surrogate.domains import looked_at


class _Fault(NamedTuple):
    """A node that is to blame; inside a scan, its step, its name, and what the scan runs along, by the leaves for it.

    `density` is what was asked of a density.
    """

    node: Node
    step: int | None = None
    name: str | None = None
    density: str = ""
    along: Mapping[int, Node] = MappingProxyType({})


def first_nonfinite(derivation: Derivation, program: Program, call: Call) -> Problem:
    """What is to blame for an estimate that is not finite, by the reference backend.

    The costs as they were declared come first, because their nodes have the user's names; then what the estimators
    made of them, which still has samples for nodes; then what was compiled.
    """
    layout, search = program.layout, _Search(program.layout, call)
    what = f'The estimate of graph "{layout.name}" is not finite.'
    roots = derivation.roots()
    slopes = gradients({sum_of(roots): constant(1.0)}, list(derivation.targets.values()), ("row", "lane"))
    stages = ((list(derivation.graph.costs.values()), ""), (roots, "surrogate"),
              ([g for g in slopes if g is not None], "derivative"), ([o.node for o in program.outputs], "derivative"))
    for nodes, kind in stages:
        fault = search.first(nodes)
        if fault is not None:
            fault = search.in_step(fault.node, _names_in_step(derivation, fault.node)) or fault
            advice = fault.node.op.advice
            if fault.density:
                return Problem(where(fault.node), what, fault.density, advice)
            return Problem(where(fault.node), what, _why(fault, kind, _sites(derivation, fault)), advice)
    return Problem(calling(layout.name), what, "Every node is finite in every replicate, but a sum over them is not.",
                   "Scale the costs down.")


def _sites(derivation: Derivation, fault: _Fault) -> dict[int, str]:
    """The names of the nodes that stand for a site: what draws it by now, or its values where it is summed out."""
    found = {value.id: name for name, value in derivation.draft.values.items()}
    summed_out = {f"{name} support": name for name in derivation.graph.sites}
    for n in topological([fault.node]):
        given = fault.along.get(n.id, n)
        if given.op is event_to_axis_op and given.attrs.name in summed_out:
            found[n.id] = summed_out[given.attrs.name]
    return found


def _why(fault: _Fault, kind: str, sites: Mapping[int, str]) -> str:
    node, name = fault.node, fault.name or name_of(fault.node)
    text = short(node, names={k: v for k, v in sites.items() if k != node.id})
    if node.op is take_op:
        called = f"An index left its table, of length {node.args[0].shape[0]}, at {text}"
    elif name is None:
        called = f"The derivative {text}" if kind == "derivative" else text
    else:
        called = title(node) if fault.name is None else f'node "{name}"'
        called = f"{called[0].upper()}{called[1:]}" + ("" if node.op is sample_op else f" = {text}")
    inside = "" if fault.step is None else f" in step {fault.step} of a scan"
    first = inside if node.op is take_op else f"{inside} is the first that is not"
    there = ", in the surrogate" if kind == "surrogate" else ""
    return f"{called}{first}{there}, in at least one replicate."


def _names_in_step(derivation: Derivation, node: Node) -> dict[int, str]:
    """The user's names of what the scan behind a node puts out, by its number."""
    graph = derivation.graph
    if node.op is not out_op:
        return {}
    named = {name: graph.nodes[name] for name in graph.per_step}
    return {n.attrs: name for name, n in named.items() if n.op is out_op and n.args[0] is node.args[0]}


def may_be_meant(check: Check, layout: Layout, call: Call) -> bool:
    """Whether what a check found not to be finite is infinite, and may be meant: nowhere is it NaN."""
    node = looked_at(check) if check.meant else None
    return node is not None and not any(np.isnan(array).any() for _, (array,) in _Search(layout, call)._values([node]))


def located(check: Check, layout: Layout, call: Call) -> Problem:
    """What to say of a check that failed: of an index its first value that is none, and the row."""
    if check.index is None:
        return check.problem
    names = [ax.name for ax in check.index.axes]
    for row0, (array,) in _Search(layout, call)._values([check.index]):
        wrong = ~((array == np.floor(array)) & (array >= 0) & (array < check.size))
        if wrong.any():
            at = np.argwhere(np.moveaxis(wrong, names.index("row"), 0) if "row" in names else wrong)[0]
            value = (np.moveaxis(array, names.index("row"), 0) if "row" in names else array)[tuple(at)]
            row = f"In row {row0 + int(at[0])} it is {value:g}" if "row" in names else f"It is {value:g}"
            why = f"{row}, and must be a whole number from 0 to {check.size - 1}: the table has length {check.size}."
            return replace(check.problem, why=why)
    return check.problem


class _Search:
    """Looks for faults by the reference backend, range by range of a call's replicates."""

    def __init__(self, layout: Layout, call: Call):
        self.layout, self.call = layout, call

    def first(self, roots: Sequence[Node]) -> _Fault | None:
        """The first fault below the roots, outside of scans."""
        nodes = self._drawn(roots)
        for row0, arrays in self._values(nodes):
            known = {n.id: np.asarray(v) for n, v in zip(nodes, arrays)}
            for root in (r for r in roots if r.id in known):
                way = cause(root, known)
                if way:
                    return self._fault(way, known, row0)
        return None

    def in_step(self, node: Node, names: Mapping[int, str]) -> _Fault | None:
        """The first fault in the steps of the scan that puts out `node`."""
        if node.op is not out_op:
            return None
        opened = open_scan(node.args[0])
        outputs = opened.new_carries + opened.ys
        within = downstream((opened.step, *opened.carries, *opened.xs), outputs)
        nodes = [n for n in self._drawn(outputs) if n.id in within]
        k = len(opened.carries)
        watched = opened.close(ys=tuple(map(as_real, nodes)))
        named = {outputs[i].id: name for i, name in names.items()}
        along = {leaf.id: array for leaf, array in zip(opened.xs, opened.arrays)}
        steps = range(opened.length - 1, -1, -1) if opened.reverse else range(opened.length)
        roots = [n for n in (outputs[node.attrs], *opened.new_carries) if n.id in within]
        for row0, arrays in self._values([out(watched, k + i) for i in range(len(nodes))]):
            by_step = [np.moveaxis(np.asarray(v), len(n.axes), 0) for n, v in zip(nodes, arrays)]
            for t in steps:
                known = {n.id: v[t] for n, v in zip(nodes, by_step)}
                way = next((way for root in roots if (way := cause(root, known))), None)
                if way:
                    fault = self._fault(way, known, row0)
                    return fault._replace(step=t, name=named.get(fault.node.id), along=along)
        return None

    def _fault(self, way: Sequence[Place], known: Known, row0: int) -> _Fault:
        point = way[-1]
        if point.node.op is in_ranges_op:
            return _Fault(point.node, density=f"A parameter is out of its range: {point.node.attrs}, and in at least "
                                              "one replicate it is not.")
        if point.node.op is not log_density_op:
            return _Fault(point.node)
        row = next((p.axes["row"] for p in reversed(way) if "row" in p.axes), None)
        varies = row is not None and (row0 or any(len(np.unique(known[n.id])) > 1 for n in point.node.args[1:]
                                                  if n.id in known))
        return _Fault(point.node, density=_of_density(point, known, row0 + row if varies and row is not None else None))

    def _drawn(self, roots: Sequence[Node]) -> list[Node]:
        """The numbers below the roots, less those that depend on noise that is not drawn: of sites summed out."""
        lacking: set[int] = set()
        found = []
        for n in topological(roots):
            if self._is_lacking(n) or any(a.id in lacking for a in n.args):
                lacking.add(n.id)
            elif n.kind in ("real", "bool"):
                found.append(n)
        return found

    def _is_lacking(self, node: Node) -> bool:
        """Whether a node is noise that is not drawn, or a loop with such noise in it."""
        if node.op is scan_op:
            return any(map(self._is_lacking, topological(node.attrs.outputs)))
        return node.op is noise_op and node.attrs.path not in self.layout.paths

    def _values(self, nodes: Sequence[Node]) -> Any:
        numpy = backend.load("numpy")
        for chunk in self.call.division.chunks:
            yield chunk.row0, numpy.evaluate(nodes, numpy.evaluation(self.layout, self.call, chunk))


def _of_density(point: Place, known: Known, row: int | None) -> str:
    """Which value has no density, under what, and in which row."""
    said, x = point.node.attrs, point.node.args[1]
    value = value_at(argument(point, 1, known), known) if x.id in known else float(x.attrs.array.flat[0])
    at = f" (row {row})" if row is not None else ", in at least one replicate"
    infinite = "−∞" if value_at(point, known) < 0 else "∞"
    named = f"{short(x)} = {value:g}" if not x.is_const else f"{value:g}"
    named = f"a vector with {named}" if said.vectors else named
    never = bool(np.any(value_at(argument(point, 0, known), known)))
    why = f"the values of {said.family} are {said.values}" if never else (
        f"{said.family} can take {said.values}, but with these parameters not that one")
    return f"The log-probability of {named}{at} is {infinite} under {said.family}: {why}."
