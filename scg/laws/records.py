"""The laws of an op's record: what it says of the op's values is true of them, at points.

The functions take nodes of the op over leaves; `examples` makes them for an elementwise op, from its samples.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from scg.differentiate.reverse_mode import gradients
from scg.ir.interval import Interval, between, exactly
from scg.ir.node import Node, constant, make
from scg.ir.op import Op
from scg.ir.traverse import topological
from scg.laws.broken import require
from scg.laws.derivatives import leaf, sizes_of, value

POINTS = (-2.5, -1.0, -0.4, 0.0, 0.3, 1.0, 3.0)
WIDE = (*POINTS, -700.0, -20.0, 1e-200, 20.0, 700.0)
RTOL = 1e-12


def examples(op: Op) -> Iterator[Node]:
    """Nodes of an elementwise op over leaves x0, x1 …; its samples say what they are, and the attributes."""
    for sample in op.samples:
        n = op.arity or 0
        truths = [isinstance(a, bool) for a in sample[:n]]
        args = [leaf(f"x{i}", ()) for i in range(n)]
        yield make(op, tuple(x > 0.5 if t else x for t, x in zip(truths, args)), sample[n:])


def leaves_of(node: Node) -> list[Node]:
    """The leaves that values are given of."""
    return [n for n in topological([node]) if n.op.kind == "leaf" and not n.is_const]


def drawn(node: Node, seed: int) -> dict[str, np.ndarray]:
    """Values from 0.2 to 2, where everything is defined, and sums and products keep their sign."""
    rng = np.random.default_rng(seed)
    return {x.attrs.name: rng.uniform(0.2, 2.0, size=sizes_of(x.axes) + x.shape) for x in leaves_of(node)}


def _same(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    off = np.abs(found - expected) > RTOL * np.maximum(np.abs(expected), 1e-300)
    require(not np.any(off), f"{what}: {np.ravel(found)[:3]} and {np.ravel(expected)[:3]}")


# --- what it picks, where it is linear, a product --------------------------------------------------------------------
def check_picks(op: Op, nodes: Iterable[Node]) -> None:
    """Every element is one of those of the arguments that it picks from, or padding, and none of these is left out."""
    taken: set[int] = set()
    sources: list[np.ndarray] = []
    for node, seed in itertools.product(nodes, range(8)):
        given = drawn(node, seed)
        found = value(node, given)
        sources = [value(node.args[i], given) for i in op.picked(node)]
        held = [np.isin(found, source) for source in sources]
        require(np.all(np.any(held, axis=0) | (found == op.padding(node))), "an element is none of what it picks from")
        taken |= {i for i, h in enumerate(held) if h.any()}
        require(not op.rearranges(node) or all(h.any() for h in held), "it leaves out one of what it rearranges")
    require(len(taken) == len(sources), "it never picks one of what it picks from")


def check_linear(op: Op, nodes: Iterable[Node]) -> None:
    """f(x + 2y) = f(x) + 2 f(y)."""
    for node in nodes:
        x, y = drawn(node, 0), drawn(node, 1)
        both = value(node, {name: x[name] + 2.0 * y[name] for name in x})
        _same(both, value(node, x) + 2.0 * value(node, y), "f(x + 2y) and f(x) + 2 f(y)")


def check_products(op: Op, nodes: Iterable[Node]) -> None:
    """f(a, b) f(c, d) = f(a, d) f(c, b); b and d are all other arguments."""
    for node in nodes:
        first, second = drawn(node, 0), drawn(node, 1)
        at = [value(node, {**q, "x0": p["x0"]}) for p, q in itertools.product((first, second), repeat=2)]
        _same(at[0] * at[3], at[1] * at[2], "f(a, b) f(c, d) and f(a, d) f(c, b)")


def check_no_products(op: Op, nodes: Iterable[Node]) -> None:
    """f(a, b) + f(c, d) = f(a, d) + f(c, b): the derivative in one argument is none of the other's business."""
    for node in nodes:
        first, second = drawn(node, 0), drawn(node, 1)
        names = sorted(first)[-2:]
        at = [value(node, {**first, names[0]: p[names[0]], names[-1]: q[names[-1]]})
              for p, q in itertools.product((first, second), repeat=2)]
        if len(names) == 2:
            _same(at[0] + at[3], at[1] + at[2], "f(a, b) + f(c, d) and f(a, d) + f(c, b)")


# --- where it is defined, how large it is ----------------------------------------------------------------------------
def at_points(node: Node, points: Iterable[float] = POINTS) -> Iterator[tuple[list[float], float]]:
    """Arguments and result, for every combination of points."""
    leaves = leaves_of(node)
    for point in itertools.product(tuple(points), repeat=len(leaves)):
        given = {x.attrs.name: np.asarray(p) for x, p in zip(leaves, point)}
        with np.errstate(all="ignore"):
            yield [float(value(a, given)) for a in node.args], float(value(node, given))


def check_magnitude(op: Op, nodes: Iterable[Node]) -> None:
    """A node that is said to be a real number is one, and has no more digits than is said."""
    for node in itertools.islice(nodes, 3):
        for args, found in at_points(node):
            intervals = tuple(exactly(a) for a in args)
            require(not op.is_defined(node, *intervals) or math.isfinite(found), f"at {args} it is {found}")
            digits = op.digits(node, intervals, [max(math.log10(abs(a)), 0.0) if a else 0.0 for a in args])
            require(not math.isfinite(digits) or abs(found) <= 10.0 ** (digits + 0.5),
                    f"at {args} it is {found}, of {digits} digits")


def check_bounds(op: Op, nodes: Iterable[Node]) -> None:
    """It lies where its bounds say, for arguments in the intervals between points, ends left out."""
    for node in itertools.islice(nodes, 3):
        leaves = leaves_of(node)
        for low, high in itertools.combinations(POINTS, 2):
            said = op.bounds(node, *(_interval(a, low, high) for a in node.args))  # type: ignore[misc]
            inner = [low + t * (high - low) for t in (1e-9, 0.31, 0.77, 1.0 - 1e-9)]
            for point in itertools.product(inner, repeat=len(leaves)):
                with np.errstate(all="ignore"):
                    found = float(value(node, {x.attrs.name: np.asarray(p) for x, p in zip(leaves, point)}))
                slack = RTOL * max(1.0, abs(found))
                require(math.isnan(found) or said.low - slack <= found <= said.high + slack,
                        f"at {point} it is {found}, and its bounds are {said.low} and {said.high}")


def check_settled(op: Op, nodes: Iterable[Node]) -> None:
    """Where it is said to be settled it has one value."""
    for node in itertools.islice(nodes, 3):
        leaves = leaves_of(node)
        for ends in itertools.product(itertools.combinations(POINTS, 2), repeat=len(leaves)):
            if op.is_settled(node, (between(low, high, True, True) for low, high in ends)):
                inner = ([low + t * (high - low) for t in (1e-9, 0.4, 1.0 - 1e-9)] for low, high in ends)
                found = {float(value(node, {x.attrs.name: np.asarray(p) for x, p in zip(leaves, point)}))
                         for point in itertools.product(*inner)}
                require(len(found) == 1, f"between {ends} it is {' and '.join(map(str, sorted(found)))}")


def _interval(a: Node, low: float, high: float) -> Interval:
    return Interval(0.0, 1.0, False, False) if a.kind == "bool" else between(low, high, True, True, low * high >= 0.0)


def check_integral(op: Op, nodes: Iterable[Node]) -> None:
    """It is an integer, always or where all arguments are; of what is its argument, that is said of this."""
    for node in itertools.islice(nodes, 3):
        for args, found in at_points(node):
            whole = "closed" if op.transparent else op.is_integral(node)
            if whole == "always" or (whole == "closed" and all(a == math.floor(a) for a in args)):
                require(not math.isfinite(found) or found == math.floor(found), f"at {args} it is {found}, no integer")


def check_transparent(op: Op, nodes: Iterable[Node]) -> None:
    """Its value is that of its one argument."""
    for node in nodes:
        for args, found in at_points(node):
            require(found == args[0], f"at {args[0]} it is {found}")


def check_regular(op: Op, nodes: Iterable[Node]) -> None:
    """It is finite wherever its arguments are."""
    for node in itertools.islice(nodes, 3):
        for args, found in at_points(node, WIDE) if op.is_regular(node) else ():
            require(math.isfinite(found), f"at {args} it is {found}")


def check_inverse(op: Op, nodes: Iterable[Node]) -> None:
    """Undone it is its argument, and the logarithm of its slope is that of its derivative."""
    inverse = op.inverse
    assert inverse is not None
    for node, position in itertools.product(nodes, inverse.positions):
        numbers = node.attrs if isinstance(node.attrs, tuple) else ()
        x, others = node.args[position], (*(a for i, a in enumerate(node.args) if i != position), *numbers)
        least = inverse.above(position, *numbers)
        made = [x, inverse.undo(position, node, *others), inverse.log_slope(position, x, node, *others),
                gradients({node: constant(1.0)}, [x])[0]]
        for point in itertools.product(POINTS, repeat=len(node.args)):
            at = dict(zip((a.attrs.name for a in node.args), map(np.asarray, point)))
            rest = [p for i, p in enumerate(point) if i != position]
            if point[position] <= least or (inverse.positive and not all(p > 0.0 for p in rest)):
                continue
            number, back, log_slope, slope = (float(value(constant(n), at)) for n in made)
            require(abs(back - number) <= 1e-9 * max(1.0, abs(number)), f"at {point} undone it is {back}")
            expected = math.log(abs(slope)) if slope else -math.inf  # as that of x³ at 0
            require(log_slope == expected or abs(log_slope - expected) <= 1e-9, f"at {point} its slope is {slope}, not "
                    f"{math.exp(log_slope)}")


def said(op: Op) -> Mapping[str, bool]:
    """The laws by name, and whether the record says what they are about."""
    node = next(examples(op), None)
    return {
        "picks": op.picks is not None, "linear": op.linear, "multiplies": op.multiplies is not None,
        "defined": op.defined is not None or op.magnitude is not None, "bounds": op.bounds is not None,
        "integral": node is not None and op.is_integral(node) != "no", "transparent": op.transparent,
        "regular": node is not None and op.is_regular(node),
        "settled": op.settled is not None, "inverse": op.inverse is not None}


def check_record(op: Op, name: str) -> None:
    """One of these laws, of an elementwise op at its samples."""
    nodes = list(examples(op))
    if name == "multiplies":
        (check_products if op.multiplies else check_no_products)(op, nodes)
    else:
        LAWS[name](op, nodes)


LAWS = {"picks": check_picks, "linear": check_linear, "defined": check_magnitude, "bounds": check_bounds,
        "integral": check_integral, "transparent": check_transparent, "regular": check_regular,
        "settled": check_settled, "inverse": check_inverse}
