"""What an op's record says is true of its values: what it picks, where it is linear, a product, defined and large."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest

from scg.analysis.dependence import combined
from scg.ir.interval import Interval, exactly
from scg.ir.node import Node, make
from scg.ir.op import OPS, Op, Smoothness
from scg.ir.traverse import topological
from scg.laws import records
from scg.laws.derivatives import LANE, WORLD, leaf, value
from scg.laws.records import POINTS, drawn, leaves_of
from scg.ops.contract import contract_op
from tests.laws.test_ops import STRUCTURAL

EVERY = [op for op in OPS.values() if op.kind == "elementwise" or op.name in STRUCTURAL]
EVERY = [op for op in EVERY if (op.kind != "loop" and op.value is not None) or op is contract_op]


def examples(op: Op) -> Iterator[Node]:
    """Nodes of the op over leaves, with literals where an argument must be one."""
    if op.kind == "elementwise":
        yield from records.examples(op)
        return
    for (build, _, shapes), axes in itertools.product(STRUCTURAL[op.name], ((), (WORLD, LANE))):
        root = build(*(leaf(f"a{i}", shape, axes) for i, shape in enumerate(shapes)))
        for node in [n for n in topological([root]) if n.op is op]:
            yield make(op, tuple(a if a.is_const else leaf(f"x{i}", a.shape, a.axes) for i, a in enumerate(node.args)),
                       node.attrs)


def named(ops) -> list:
    """One test for each op."""
    found = [pytest.param(op, id=op.name) for op in ops]
    assert found
    return found


@pytest.mark.parametrize("op", named(op for op in EVERY if op.picks is not None))
def test_what_an_op_picks(op):
    records.check_picks(op, examples(op))


@pytest.mark.parametrize("op", named(op for op in EVERY if op.inverse is not None))
def test_how_an_op_is_undone(op):
    records.check_inverse(op, examples(op))


@pytest.mark.parametrize("op", named(op for op in EVERY if op.is_linear(next(examples(op)))))
def test_linear_ops(op):
    records.check_linear(op, examples(op))


@pytest.mark.parametrize("op", named(
    op for op in EVERY if op.kind == "structural" and not op.is_linear(next(examples(op)))))
def test_what_is_not_linear_does_not_say_so(op):
    """Of structural ops, those that are linear in all arguments together say so."""
    for node in examples(op):
        x, y = drawn(node, 0), drawn(node, 1)
        both = value(node, {name: x[name] + 2.0 * y[name] for name in x})
        if len(leaves_of(node)) == len(node.args) and not np.allclose(both, value(node, x) + 2.0 * value(node, y)):
            return
    assert any(a.is_const for node in examples(op) for a in node.args), "it is linear"


@pytest.mark.parametrize("op", named(op for op in EVERY if op.multiplies and op.kind == "elementwise"))
def test_products(op):
    records.check_products(op, examples(op))


@pytest.mark.parametrize("op", named(op for op in EVERY if op.kind == "elementwise"))
def test_where_ops_are_defined_and_how_large_they_are(op):
    records.check_magnitude(op, examples(op))


@pytest.mark.parametrize("law", ["bounds", "integral", "transparent", "regular", "settled"])
@pytest.mark.parametrize("op", named(op for op in EVERY if op.kind == "elementwise" and op.samples))
def test_what_else_a_record_says(op, law):
    if records.said(op)[law]:
        records.check_record(op, law)


@pytest.mark.parametrize("op", named(EVERY))
def test_what_an_element_depends_on(op):
    """An element that changes with another of an argument's is said to depend on it."""
    for node in examples(op):
        if node.axes or any(a.kind != "real" for a in node.args):
            continue
        sizes = np.cumsum([0, *(a.size for a in node.args)]).tolist()
        sets = [np.array([1 << bit for bit in range(start, end)], dtype=object).reshape(a.shape)
                for a, start, end in zip(node.args, sizes, sizes[1:])]
        of = [s if a.shape else int(s[()]) for s, a in zip(sets, node.args)]
        said = np.broadcast_to(np.asarray(combined(node, of), dtype=object), node.shape)
        given = drawn(node, 0)
        before = value(node, given)
        for number, a in enumerate(node.args):
            for place in np.ndindex(a.shape) if not a.is_const else ():
                other = np.array(given[a.attrs.name])
                other[place] += 0.7
                changed = value(node, given | {a.attrs.name: other}) != before
                assert np.all((np.asarray(said & int(sets[number][place])) != 0) | ~changed)


KINKED = [op for op in EVERY if op.kind == "elementwise" and op.smooth_in(0) is Smoothness.CONTINUOUS]


@pytest.mark.parametrize("op", named(KINKED))
def test_flat_stretches_of_ops_with_kinks(op):
    node = next(examples(op))
    fixed = {x.attrs.name: np.asarray(0.1) for x in leaves_of(node)}
    steps = [value(node, fixed | {"x0": np.asarray(p)}) != value(node, fixed | {"x0": np.asarray(p + 0.01)})
             for p in POINTS]
    assert op.is_flat(node) is not all(steps)


@pytest.mark.parametrize("op", named(op for op in EVERY if op.kind == "elementwise" and op.smooth_in(0)
                                     is Smoothness.SMOOTH))
def test_slopes_at_ends_of_domains(op):
    """Where an op is finite its slope is, if it is not said to be steep: at the ends of its domain too."""
    for edge, side in ((0.0, 1.0), (-1.0, 1.0), (1.0, -1.0)):
        node = next(examples(op))
        others = {x.attrs.name: np.asarray(1.7) for x in leaves_of(node)}
        with np.errstate(all="ignore"):
            at, near = (float(value(node, others | {"x0": np.asarray(edge + side * d)})) for d in (0.0, 1e-8))
        if math.isfinite(at) and math.isfinite(near):
            assert op.steep or abs(near - at) < 1e-5


@pytest.mark.parametrize("op", named(op for op in EVERY if op.multiplies is False))
def test_what_does_not_multiply(op):
    records.check_no_products(op, examples(op))


EDGES = {0.0: 1.0, -1.0: 1.0, 1.0: -1.0, 0.5 * np.pi: -1.0}  # where poles are, and the side that they are met from


def orders() -> Iterator:
    """Ops and arguments, and an edge at which the op has a pole in it."""
    for op in (op for op in EVERY if op.kind == "elementwise"):
        for i in range(len(op.samples[0])):
            node = next(examples(op), None)
            pole = None if node is None or i >= len(node.args) else op.pole_in(i)
            for edge, side in EDGES.items() if pole is not None else ():
                beside = (Interval(edge, edge + 0.1 * side) if side > 0 else Interval(edge + 0.1 * side, edge))
                at = [exactly(1.7)] * len(node.args)
                near = [*at[:i], beside._replace(low_open=False, high_open=False), *at[i + 1:]]
                inner = [*at[:i], exactly(edge + 0.05 * side), *at[i + 1:]]
                if not pole.avoided(node, *near) and pole.avoided(node, *inner):
                    yield pytest.param(op, i, edge + 0.0, side, pole, id=f"{op.name} {i} at {edge:.2f}")


@pytest.mark.parametrize("op, position, edge, side, pole", list(orders()))
def test_orders_of_poles(op, position, edge, side, pole):
    """How fast |f| grows as its argument comes near to the pole: as a power of the distance from it, or slower."""
    node = next(examples(op))
    others = {x.attrs.name: np.asarray(1.7) for x in leaves_of(node)}
    sizes = [abs(float(value(node, others | {f"x{position}": np.asarray(edge + side * d)}))) for d in (1e-8, 1e-5)]
    growth = math.log10(sizes[0] / sizes[1]) / 3.0
    assert growth == pytest.approx(pole.order, abs=0.15)
