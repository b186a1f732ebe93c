"""From a derivation to the outputs of a program: costs, gradients, state updates, checks, records.

In: the derivation and what is wanted. Out: a `Program` whose nodes are per replicate. Gradients keep their `row` and
`lane` axes to the end, so that a kernel sees every replicate's contribution; where sites are shared by rows, the mean
over rows is taken first, because then a sample index over all rows is the independent observation. The gradient of what
has a value per row is an output by row, and keeps its row either way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from scg.analysis.counts import count_checks
from scg.analysis.decisions import decided
from scg.analysis.kinks import ties
from scg.analysis.made_of import MadeOf
from scg.analysis.reach import sum_of
from scg.differentiate.reverse_mode import gradients
from scg.errors import DeclarationError, EstimatorError
from scg.ir.location import calling, here
from scg.ir.node import Node, as_real, constant
from scg.ir.traverse import topological
from scg.noise import check_collisions
from scg.ops.leaves import feed_op, noise_op
from scg.ops.measure import expect, expect_op, leave_one_out_op
from scg.ops.randomness import expand
from scg.ops.scan import scan_op
from scg.program import MEASURED, Layout, Leaf, Output, Program, Slot
from scg.surrogate.derivation import Derivation
from scg.surrogate.domains import checked_to_be_finite
from scg.surrogate.draft import MANY_MOMENTS
from scg.surrogate.feeding import feed_noise, parameters

_LAST = ("row grad", "record")  # roles of the outputs that stand after those whose means are wanted


def program_of(derivation: Derivation, dtype: str, stderr: bool, record: Sequence[str] = (),
               drawn: Mapping[str, Node] | None = None) -> Program:
    """The program that computes a surrogate's value and gradient.

    What is recorded are sites and nodes by name; `drawn` has those that the graph does not name.

    Raises
    ------
    DeclarationError
        If `record` names something that the graph does not have.
    """
    graph, draft = derivation.graph, derivation.draft
    shared = _shared(derivation)
    keep = ("lane",) if shared else ("row", "lane")

    def seen(node: Node) -> Node:
        return expect(node, ("row",)) if shared else node

    outputs = [Output("cost", name, seen(sum_of([c])), stderr) for name, c in draft.costs.items()]
    if len(draft.costs) > 1:
        outputs.insert(0, Output("cost", "", seen(sum_of(list(draft.costs.values()))), stderr))
    found = _gradients(derivation, keep)
    for name, node in derivation.targets.items():
        g = found[name]
        g = constant(np.zeros(node.shape)) if g is None else g
        by_row = any(ax.name == "row" for ax in node.axes)
        outputs.append(Output("row grad" if by_row else "grad", name, g if by_row else seen(g),
                              stderr and node.size <= MANY_MOMENTS, stderr and not by_row))
    outputs.extend(Output("state", s.name, seen(_update(s.update)), False) for s in draft.states)
    checks = [*draft.checks, *count_checks(draft.values, derivation.site_nodes, dtype)]
    outputs.extend(Output("check", c.problem.what, seen(c.node), False) for c in checks)
    outputs.extend(Output("tie", text, seen(count), False)
                   for text, count in ties(derivation.roots(), derivation.moved.values()))
    outputs.extend(Output(m.role, m.name, seen(m.node), False) for m in draft.measured if stderr or m.role != "batches")
    drawn = drawn or {}
    outputs.extend(Output("record", name, drawn[name] if name in drawn else _recorded(derivation, name), False)
                   for name in record)
    outputs = [o._replace(node=node) for o, node in zip(outputs, expand([o.node for o in outputs]))]
    roots = [o.node for o in outputs]
    groups = _group_sizes(roots)
    outputs.sort(key=lambda o: _LAST.index(o.role) if o.role in _LAST else -1)
    slots = tuple(Slot(o.role, "" if o.role == "check" else o.name, o.node.shape, o.moments,
                       stderr and o.role in MEASURED and all(ax.name != "lane" for ax in o.node.axes))
                  for o in outputs)
    rows, records = (tuple(s for s in slots if s.role == role) for role in _LAST)
    means = slots[: len(slots) - len(rows) - len(records)]
    layout = Layout(graph.name, means, rows, records, _leaves(derivation, roots), _paths(roots, graph.name), shared,
                    bool(groups), _one_group(groups, graph.name), dtype, _work(roots),
                    tuple(c.problem for c in checks), tuple(derivation.targets),
                    tuple(i for i, c in enumerate(checks) if c.finite), draft.batches if stderr else 0,
                    next((m.refused for m in draft.measured if m.refused is not None), None),
                    _moving(derivation, ()), _moving(derivation, ("latent",)))
    return Program(layout, tuple(outputs))


def _moving(derivation: Derivation, asking: Sequence[str]) -> tuple[str, ...]:
    """What is differentiated and stands in the parameters of a site whose draws are scored.

    By estimators that ask for these capabilities.
    """
    made_of, below = MadeOf(), frozenset[int]()
    for site_node in derivation.site_nodes:
        verdict = derivation.verdicts[site_node.name]
        estimator = verdict.estimator
        if estimator is not None and estimator.scores and verdict.differentiated and {*asking} <= {*estimator.requires}:
            below = below.union(*map(made_of, parameters(site_node).values()))
    return tuple(name for name, x in derivation.moved.items() if x.id in below)


def _gradients(derivation: Derivation, keep: Sequence[str]) -> dict[str, Node | None]:
    """Of auxiliary params the gradients of the objectives, of all else those of the surrogate; neither of both."""
    ours, theirs = derivation.moved, {n: x for n, x in derivation.targets.items() if n in derivation.auxiliary}
    finite = checked_to_be_finite(derivation.draft.checks)
    found = gradients({sum_of(derivation.roots()): constant(1.0)}, list(ours.values()), keep, finite=finite)
    objective = sum_of(o.node for o in derivation.draft.objectives)
    aside = gradients({objective: constant(1.0)}, list(theirs.values()), keep, finite=finite) if theirs else []
    return {**dict(zip(ours, found)), **dict(zip(theirs, aside))}


def contributions(derivation: Derivation) -> list[Output]:
    """Every replicate's cost, and its contributions to the gradients of those params that are differentiated."""
    graph = derivation.graph
    shared = _shared(derivation)
    keep = ("lane",) if shared else ("row", "lane")
    wanted = {name: x for name, x in graph.params.items() if name in derivation.moved}
    found = gradients({sum_of(derivation.roots()): constant(1.0)}, list(wanted.values()), keep)
    outputs = [Output("record", "", sum_of(list(derivation.draft.costs.values())), False)]
    for (name, node), g in zip(wanted.items(), found):
        outputs.append(Output("record", name, constant(np.zeros(node.shape)) if g is None else g, False))
    if shared:
        outputs = [o._replace(node=expect(o.node, ("row",))) for o in outputs]
    return [o._replace(node=n) for o, n in zip(outputs, expand([o.node for o in outputs]))]


def fed_program(derivation: Derivation, dtype: str = "float64") -> Program:
    """The program that records every replicate's cost and gradient contributions under noise that is fed."""
    graph, shared = derivation.graph, _shared(derivation)
    outputs = contributions(derivation)
    roots = feed_noise([o.node for o in outputs])
    outputs = [o._replace(node=n) for o, n in zip(outputs, roots)]
    slots = tuple(Slot(o.role, o.name, o.node.shape, False) for o in outputs)
    groups = _group_sizes(roots)
    layout = Layout(graph.name, (), (), slots, _leaves(derivation, roots), (), shared, bool(groups),
                    _one_group(groups, graph.name), dtype, _work(roots))
    return Program(layout, tuple(outputs))


def _shared(derivation: Derivation) -> bool:
    """Whether a site without rows stands beside data (or beside a site that is drawn per row)."""
    graph = derivation.graph
    by_row = [any(ax.name == "row" for ax in p.node.axes) for p in derivation.site_nodes]
    return bool(graph.rows or any(by_row)) and not all(by_row)


def _update(node: Node) -> Node:
    """A state's update, without its expectation: the mean over replicates is linear in it, and kernels take means."""
    memo: dict[int, Node] = {}
    from scg.ir.traverse import substitute

    for n in topological([node]):
        if n.op is expect_op:
            memo[n.id] = n
    return substitute([node], {n: n.args[0] for n in memo.values()})[0]


def _recorded(derivation: Derivation, name: str) -> Node:
    node = derivation.draft.values.get(name)
    if node is None:
        node = derivation.graph.nodes.get(name)
    if node is None:
        raise DeclarationError(
            str(here() or ""), f'record names "{name}".', "It is no site or node, or its site is summed out.",
            f"What can be recorded: {', '.join(dict.fromkeys([*derivation.draft.values, *derivation.graph.nodes]))}.")
    return as_real(node)


def _everything(roots: Sequence[Node]):
    """All nodes below the roots, bodies of scans included."""
    for n in topological(roots):
        yield n
        if n.op is scan_op:
            yield from _everything(n.attrs.outputs)


def _group_sizes(roots: Sequence[Node]) -> set[int | None]:
    return {n.attrs[0] for n in _everything(roots) if n.op is leave_one_out_op}


def _one_group(groups: set[int | None], graph: str) -> int | None:
    if len(groups) > 1:
        sizes = " and ".join(map(str, sorted(size for size in groups if size is not None)))
        raise EstimatorError(calling(graph), f"Leave-one-out groups of {sizes} replicates were asked for.",
                             "The replicates of a call fall into groups in one way.", "Use one size for all sites.")
    return next(iter(groups), None)


def _leaves(derivation: Derivation, roots: Sequence[Node]) -> tuple[Leaf, ...]:
    graph, deciding = derivation.graph, decided(roots)
    leaves = [*(Leaf("param", n, x.shape) for n, x in derivation.leaves.params.items()),
              *(Leaf("input", n, x.shape, x.id in deciding) for n, x in graph.inputs.items()),
              *(Leaf("data", n, x.shape, x.id in deciding) for n, x in graph.rows.items()),
              *(Leaf("state", s.name, s.leaf.shape) for s in derivation.draft.states)]
    fed = {n.attrs.name: n for n in _everything(roots) if n.op is feed_op}
    return (*leaves, *(Leaf("feed", name, n.shape) for name, n in fed.items()))


def _paths(roots: Sequence[Node], graph: str) -> tuple[str, ...]:
    paths = tuple(sorted({n.attrs.path for n in _everything(roots) if n.op is noise_op}))
    try:
        check_collisions(paths)
    except ValueError as why:
        raise DeclarationError(calling(graph), "Two streams of noise would be one.", f"{why}.",
                               "Rename a site.") from None
    return paths


def _work(roots: Sequence[Node]) -> int:
    """Elements computed per replicate, roughly."""
    work = 0
    for n in topological(roots):
        if any(ax.statistical for ax in n.axes):
            worlds = math.prod(ax.size or 1 for ax in n.axes)
            work += max(n.size, 1) * worlds
        if n.op is scan_op:
            work += n.attrs.length * _body_work(n.attrs.outputs)
    return work


def _body_work(roots: Sequence[Node]) -> int:
    total_work = 0
    for n in topological(roots):
        worlds = math.prod(ax.size or 1 for ax in n.axes)
        total_work += max(n.size, 1) * worlds
    return total_work


