"""The uniforms behind a surrogate's draws, and on which intervals of each the draws have which values.

A draw of a finite family is a step function of its uniform; where it steps is a formula in the parameters. Draws that
share a uniform, such as antithetic ones and those of replays, have their steps in one order, which is decided at a
point (see `rational`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import sympy

from scg import backend
from scg.export.proofs.limits import Limits, OutOfRange
from scg.export.proofs.rational import TIE, Rational
from scg.export.proofs.written_out import Behind, WrittenOut
from scg.export.sympy.calculus import unstop
from scg.ir.axes import LANE
from scg.ir.index_map import repeated
from scg.ir.node import Node, constant
from scg.ir.traverse import topological
from scg.ops.leaves import noise, noise_op, site_path
from scg.ops.randomness import antithetic_op, distribution_of, sample, sample_op, uniform_op


@dataclass
class Draw:
    """One draw of a sample node: its elements' symbols by their indices in it, and what its steps are made of."""

    behind: Behind
    flipped: bool
    elements: dict[tuple[int, ...], Any] = field(default_factory=dict)
    steps: tuple[Any, ...] = ()
    parameters: Mapping[str, np.ndarray] = field(default_factory=dict)

    def needs(self) -> list:
        """The formulas that it depends on."""
        return [*self.steps, *(x for a in self.parameters.values() for x in a.flat)]


@dataclass
class Uniform:
    """One uniform: the draws that are made of it, and the symbols under which formulas read it themselves."""

    draws: dict[Any, Draw] = field(default_factory=dict)
    read: list[Any] = field(default_factory=list)

    def needs(self) -> set:
        """The draws that must be known before those of this one."""
        exprs = [e for draw in self.draws.values() for e in draw.needs()]
        return set().union(*(e.atoms(sympy.Symbol, sympy.Indexed) for e in exprs))


class Interval(NamedTuple):
    """Where the draws of a uniform have these values: from `low` to `high`, in the variables."""

    low: Any
    high: Any
    values: Mapping[Any, Any]


def uniforms(c: WrittenOut, exprs: Iterable[Any], limits: Limits) -> list[Uniform]:
    """The uniforms that formulas depend on, with all that their draws depend on, earlier ones first.

    Raises
    ------
    ExactError
        If a draw does not have finitely many values.
    """
    found: dict[tuple, Uniform] = {}
    waiting, seen = _symbols(exprs), set()
    while waiting:
        symbol = waiting.pop()
        if symbol in seen or symbol not in c.behind:
            continue
        seen.add(symbol)
        behind = c.behind[symbol]
        if behind.node.op is uniform_op:
            _of_stream(c, behind, behind.node.args[0], behind.where, found).read.append(symbol)
        else:
            waiting += _add_draw(c, symbol, behind, found, limits)
    order = sorted(found.values(), key=lambda u: min(list(c.behind).index(s) for s in _own(u)))
    return _upstream_first(order, set(c.behind), limits)


def _symbols(exprs: Iterable[Any]) -> list:
    return sorted(set().union(*(e.atoms(sympy.Symbol, sympy.Indexed) for e in exprs)), key=str)


def _own(uniform: Uniform) -> list:
    return [*uniform.read, *(s for d in uniform.draws.values() for s in d.elements.values())]


def _add_draw(c: WrittenOut, symbol, behind: Behind, found: dict[tuple, Uniform], limits: Limits) -> list:
    """Add a symbol to its uniform's draws; what it depends on."""
    node = behind.node
    if node.op is not sample_op or not node.attrs.family.can("breaks"):
        raise limits.refusal(_without_steps(symbol, node))
    flipped = node.args[-1].op is antithetic_op
    stream = node.args[-1].args[0] if flipped else node.args[-1]
    dims = len(stream.attrs.shape)
    where, event = behind.where[:dims], behind.where[dims:]
    uniform = _of_stream(c, behind, stream, where, found)
    key = (node.id, where, behind.at.worlds, behind.at.frame.key if behind.at.frame else None)
    if key not in uniform.draws:
        draw = uniform.draws[key] = Draw(behind, flipped)
        dist = distribution_of(node)
        draw.steps = tuple(_elements(c, dist.breaks(), where, 1, behind).flat)
        draw.parameters = {name: _elements(c, p, where, dist.parameters[name].event_ndim, behind)
                           for name, p in dist.params.items()}
        for index in np.ndindex(node.shape[dims:]):
            draw.elements[index] = c.element(node, (*where, *index), behind.at)
    draw = uniform.draws[key]
    assert draw.elements[event] == symbol
    return _symbols(draw.needs())


def _without_steps(symbol, node: Node) -> str:
    """Why a symbol is no step function of a uniform."""
    if node.op is sample_op:
        return f'Site "{node.attrs.site}" is {node.attrs.family.__name__}, which does not take finitely many values.'
    site = next(site_path(n.attrs.path) for n in topological([node]) if n.op is noise_op)
    return f'Site "{site}" does not take finitely many values: {symbol} is its noise.'


def _elements(c: WrittenOut, node: Node, where: tuple, event_ndim: int, behind: Behind) -> np.ndarray:
    """The elements of a parameter of one draw."""
    batch = node.ndim - event_ndim
    found = np.empty(node.shape[batch:], dtype=object)
    for index in np.ndindex(found.shape):
        found[index] = unstop(sympy.sympify(c.element(node, (*repeated(where, node.shape[:batch]), *index), behind.at)))
    return found


def _of_stream(c: WrittenOut, behind: Behind, stream: Node, where: tuple, found: dict[tuple, Uniform]) -> Uniform:
    """The uniform that a stream has for one draw."""
    step = c.element(stream.args[0], (), behind.at)
    worlds = tuple((ax.name, behind.at.world(ax.name)) for ax in stream.axes if not ax.statistical)
    key = (stream.attrs.path, stream.attrs.shape, int(step), where, worlds)
    return found.setdefault(key, Uniform())


def _upstream_first(order: list[Uniform], drawn: set, limits: Limits) -> list[Uniform]:
    done: list[Uniform] = []
    known: set = set()
    while len(done) < len(order):
        ready = next((u for u in order if u not in done and u.needs() & drawn <= known), None)
        if ready is None:
            raise limits.refusal("Draws of one uniform depend on each other.")
        done.append(ready)
        known |= set(_own(ready))
    return done


# --- intervals -------------------------------------------------------------------------------------------------------
class Intervals:
    """The intervals of uniforms near a point.

    Parameters
    ----------
    rational : Rational
    limits : Limits
    """

    def __init__(self, rational: Rational, limits: Limits):
        self._rational, self._limits = rational, limits
        self._drawn: dict[tuple, np.ndarray] = {}

    def of(self, uniform: Uniform, assigned: Mapping[Any, Any]) -> list[Interval]:
        """The intervals on which all draws of a uniform are constant, given those before it."""
        r = self._rational
        edges: list[tuple[float, Any, int]] = [(0.0, sympy.Integer(0), -1), (1.0, sympy.Integer(1), -1)]
        draws = list(uniform.draws.values())
        for i, draw in enumerate(draws):
            for step in draw.steps:
                edge = r.of(step.xreplace(assigned))
                edge = 1 - edge if draw.flipped else edge
                edges.append((r.number(edge), edge, i))
        edges = self._apart(sorted(edges, key=lambda e: e[0]))
        middles = np.array([0.5 * (a[0] + b[0]) for a, b in itertools.pairwise(edges)])
        values: list[dict] = [{} for _ in middles]
        for draw in draws:
            drawn = self._values(draw, assigned, middles)
            for found, value in zip(values, drawn):
                found.update((s, sympy.Rational(float(value[index]))) for index, s in draw.elements.items())
        return [Interval(a[1], b[1], v) for (a, b), v in zip(itertools.pairwise(edges), values)]

    def _apart(self, edges: list[tuple[float, Any, int]]) -> list[tuple[float, Any, int]]:
        """Without those that are equal, and with the order of those of different draws decided."""
        r, kept = self._rational, edges[:1]
        for edge in edges[1:]:
            last = kept[-1]
            if edge[1] == last[1] or (edge[0] - last[0] <= TIE and r.same(edge[1] - last[1])):
                r.at_edge |= last[2] < 0 or edge[2] < 0 or last[2] == edge[2]
                continue
            if last[2] >= 0 and edge[2] >= 0 and last[2] != edge[2]:
                r.side(edge[1] - last[1])  # at 0 there is nothing between them
            kept.append(edge)
        return kept

    def _values(self, draw: Draw, assigned: Mapping[Any, Any], middles: np.ndarray) -> np.ndarray:
        """What the family's sampler makes of uniforms."""
        node = draw.behind.node
        numbers = {name: np.array([self._rational.number(self._rational.of(x.xreplace(assigned))) for x in a.flat],
                                  float).reshape(a.shape) for name, a in draw.parameters.items()}
        u = 1.0 - middles if draw.flipped else middles
        key = (node.attrs.family, u.tobytes(), *((n, a.tobytes()) for n, a in numbers.items()))
        if key not in self._drawn:
            dist = node.attrs.family._at({name: constant(a) for name, a in numbers.items()})
            for name, array in numbers.items():
                if not np.all(dist.parameters[name].test(array)):
                    raise OutOfRange(self._limits.refusal(
                        f'Of site "{node.attrs.site}", {name} must be {dist.parameters[name].text}, and is not.'))
            leaf = noise("x", (), (LANE,), constant(0.0))
            numpy = backend.load("numpy")
            evaluation = numpy.Evaluation({}, {"row": 1, "lane": len(u)}, uniforms={leaf.attrs.fed: u[:, None]})
            (found,) = numpy.evaluate([sample("x", dist, leaf)], evaluation)
            self._drawn[key] = np.broadcast_to(found, (len(u), *dist.event_shape))
        return self._drawn[key]
