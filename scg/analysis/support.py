"""Whether a value can be drawn from a distribution: what is certain, and what is left to be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scg.analysis.bounds import Ranges
from scg.analysis.integers import integral
from scg.analysis.simplex import ROUNDING, ConstantSums, in_simplex
from scg.functions import floor
from scg.ir.interval import Interval
from scg.ir.node import Node, as_real
from scg.ir.traverse import rebuild
from scg.ops.randomness import distribution_of, sample_op
from scg.ops.reduce import total
from scg.ops.scan import out_op
from scg.ops.shapes import broadcasts_to
from scg.ops.structure import broadcast_to


def outside(dist, x: Node) -> Node | None:
    """A comparison that holds where x cannot be drawn from the distribution; None if it is certain that x can.

    NaN is no value, and not outside either: a density is NaN there.
    """
    support = dist.support
    if drawn_from(dist, x):
        return None
    low, high = (dist.end(name) for name in (support.low, support.high))
    ranges, here = Ranges(), _range(x)
    if support.jointly is not None and support.jointly.sum == 1.0 and in_simplex(x).holds:
        here = here._replace(high=min(here.high, 1.0))
    found = []
    if low is not None and not here.low >= ranges(low).high:
        found.append(x < low)
    if high is not None and not here.high <= ranges(high).low:
        found.append(high < x)
    if support.integral and not _integral(x):
        found.append(floor(x) < x)
    result = found[0] if found else None
    for other in found[1:]:
        result = result | other
    return result if not support.event_ndim else _of_draws(support, x, result)


def _of_draws(support, x: Node, elements: Node | None) -> Node | None:
    """Whether an element of a draw is outside, or what its elements must satisfy together does not hold."""
    dims = tuple(range(x.ndim - support.event_ndim, x.ndim))
    result = None
    if elements is not None:
        result = total(as_real(elements), axis=dims) > 0.0
    if support.jointly is not None and not _adds_up(support.jointly, x):
        broken = ~support.jointly.node(x)
        result = broken if result is None else result | broken
    return result


def _adds_up(jointly, x: Node) -> bool:
    """Whether the elements of x add up to what is asked, for certain."""
    found = None if jointly.sum is None else ConstantSums()(x).get(-1)
    return found is not None and abs(found - jointly.sum) <= ROUNDING


def _range(x: Node) -> Interval:
    """Where x lies; of a draw from a support that does not move, without a look at its parameters."""
    fixed = x.op is sample_op and not x.attrs.family.support.moving
    return distribution_of(x).range({}) if fixed else Ranges()(x)


def _integral(x: Node) -> bool:
    return x.attrs.family.support.integral if x.op is sample_op else integral(x)


def drawn_from(dist, x: Node) -> bool:
    """Whether the value is made of draws from this very distribution: a draw, its antithetic twin, elements, stacks."""
    given = _parameters(dist.family, x)
    draws = x.shape[: x.ndim - dist.support.event_ndim]
    return given is not None and given.keys() == dist.params.keys() and all(
        _same(node, given[name], draws, dist.parameters[name].event_ndim) for name, node in dist.params.items())


def _unstopped(node: Node) -> Node:
    """The node that has the value: ⊥x is x, and so is what has a name."""
    while node.op.transparent:
        node = node.args[0]
    return node


def _same(a: Node, b: Node, shape: tuple[int, ...], event_ndim: int) -> bool:
    """Whether two parameters are equal at every draw of that shape; their last dimensions belong to one draw."""
    a, b = _unstopped(a), _unstopped(b)
    if a is b:
        return True
    whole = shape + a.shape[a.ndim - event_ndim:]
    both = [broadcast_to(n, whole) for n in (a, b) if broadcasts_to(n.shape, whole)]
    return len(both) == 2 and both[0] is both[1]


def _of_all(family: Any, name: str, node: Node) -> bool:
    """Whether a parameter is that of every element: it has no dimensions but those of one draw."""
    return node.ndim == family.parameters[name].event_ndim


def _parameters(family: Any, x: Node) -> Mapping[str, Node] | None:
    """The parameters with which each element of x was drawn from the family; None if it was not, for all that is known.

    A parameter of one draw is that of all elements; others are moved about with the elements, if they are scalar.
    """
    x = _unstopped(x)
    if x.op is sample_op:
        return dict(zip(x.attrs.names, x.args[:-1])) if x.attrs.family == family else None
    if family.support.event_ndim and x.op is not out_op:
        return None  # elements of draws, moved about, are draws no longer
    if len(x.args) == 1 and x.op.rearranges(x):
        inner = _parameters(family, x.args[0])
        if inner is None or any(family.parameters[name].event_ndim and not _of_all(family, name, node)
                                for name, node in inner.items()):
            return None
        return {name: node if _of_all(family, name, node) else _moved(node, x) for name, node in inner.items()}
    if x.op.picks is not None and x.op.padding(x) is None:
        every = [_parameters(family, x.args[i]) for i in x.op.picked(x)]
        first = every[0]
        if first is None or any(e is None or e.keys() != first.keys() for e in every):
            return None
        equal = all(node is e[name] and _of_all(family, name, node) for e in every if e for name, node in first.items())
        return first if equal else None
    if x.op is out_op:
        return _of_steps(family, x)
    return None


def _moved(node: Node, x: Node) -> Node:
    return rebuild(x, (broadcast_to(node, x.args[0].shape),))


def _of_steps(family: Any, x: Node) -> Mapping[str, Node] | None:
    """Draws that a scan put out step by step, if every step's have the same scalar parameters."""
    scan, index = x.args[0], x.attrs
    body = scan.attrs
    if index < len(body.carries):
        return None  # the first one is what the scan began with
    inner = _parameters(family, body.outputs[index])
    around = {c.id: a for c, a in zip(body.consts, scan.args[len(body.carries):])}
    known = inner and {name: around.get(node.id, node) for name, node in inner.items()}
    outside_of_it = {a.id for a in around.values()}
    fixed = known and all(_of_all(family, name, n) and (n.is_const or n.id in outside_of_it)
                          for name, n in known.items())
    return known if fixed else None
