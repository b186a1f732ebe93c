"""The law of a rewrite rule: whatever it applies to keeps its value, shape and kind."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from scg.ir.axes import LANE, Axis
from scg.ir.node import FUNCTIONS, Node, apply, constant, make
from scg.ir.op import OPS
from scg.ir.traverse import topological
from scg.laws.derivatives import OTHER, WORLD, leaf, sizes_of, values_of
from scg.ops.contract import contract
from scg.ops.elementary import log_op
from scg.ops.measure import axis_sum, event_to_axis, expect, replace_one
from scg.rules.binary_steps import LEAST
from scg.rules.outcomes import log_probability

_rng = np.random.default_rng(17)


def _arguments() -> list[Node]:
    """Leaves of several shapes and axes, what rules look for around them, and the constants that they look for."""
    leaves = [leaf("s", ()), leaf("v", (3,)), leaf("w", (3,), (WORLD,)), leaf("m", (2, 3), (LANE,)), leaf("o", (1, 3))]
    inner = [apply(name, x) for name in ("neg", "exp", "log", "sigmoid") for x in leaves[:4]]
    numbers = [constant(c * np.ones(shape)) for c in (0.0, 1.0, -1.0, 2.5) for shape in ((), (3,), (2, 3))]
    return leaves + inner + numbers


BINARY_WORLDS = 4


def binary_step_sums(size: int, most: float = 1.0) -> list[Node]:
    """Σ log p(x; l + d w) of so many outcomes: d is the change of a binary draw that `most` replaces."""
    axis = Axis("element", BINARY_WORLDS)
    drawn = make("real", (apply("lt", 0.5, leaf("drawn", (BINARY_WORLDS,), (LANE,))),))
    logits, x = leaf("log-odds", (size,), (LANE,)), leaf("outcome", (size,))
    step, found = event_to_axis(leaf("step", (BINARY_WORLDS, size)), axis), []
    for turn in (most - 2.0 * drawn, most - drawn, (most - drawn) - drawn, *([-drawn] if most == 1.0 else [])):
        moved = log_probability(x, logits + event_to_axis(turn, axis) * step)
        outside = apply("lt", x, 0.0)
        found += [FUNCTIONS["sum"](n) for n in (moved, -make("log_density", (outside, x, moved)))]
    return found


def weighted_step_sums(size: int, most: float = 1.0) -> list[Node]:
    """Σ a σ(l + d w) and Σ a σ(s (l + d w)) of so many: d is as in `binary_step_sums`, s the sign of another draw."""
    axis, found = Axis("element", BINARY_WORLDS), []
    drawn, other = (make("real", (apply("lt", 0.5, leaf(name, (n,), (LANE,))),))
                    for name, n in (("drawn", BINARY_WORLDS), ("other", size)))
    logits, weights = leaf("log-odds", (size,), (LANE,)), leaf("weight", (size,), (LANE,))
    step = event_to_axis(leaf("step", (BINARY_WORLDS, size)), axis)
    for turn in ((most - drawn) - drawn, most - drawn):
        moved = logits + event_to_axis(turn, axis) * step
        for inside in (moved, (2.0 * other - 1.0) * moved, moved * (2.0 * other - 1.0)):
            found.append(FUNCTIONS["sum"](weights * apply("sigmoid", inside)))
    return found


@cache
def pool() -> list[Node]:
    """Nodes that rules may apply to."""
    arguments, found = _arguments(), []
    s, v, w, m, o = arguments[:5]
    for op in (op for op in OPS.values() if op.kind == "elementwise" and op.name != "whole_power"):
        if all(isinstance(a, float) for a in op.samples[0]):
            found += [make(op, args) for args in itertools.product(arguments, repeat=op.arity)]
    for x in arguments:
        found += [make("stop_gradient", (x,)), make("assume_continuous", (x,)), FUNCTIONS["sum"](x),
                  make("named", (x,), ("n",))]
        if x.shape:
            columns = (*x.shape, 1)
            rows = make("reshape", (make("reshape", (x,), columns),), (1, *x.shape))
            wide = make("broadcast_to", (make("broadcast_to", (x,), (2, *x.shape)),), (4, 2, *x.shape))
            found += [rows, wide, make("reshape", (x,), (x.size,)), x[0], x[-1:],
                      make("sum", (make("reshape", (x,), columns),), (x.ndim,)),
                      make("sum", (make("broadcast_to", (x,), (2, *x.shape)),), (0,)),
                      contract(x, constant(np.zeros(3)), "bj"[-x.ndim:], "j", "bj"[-x.ndim:-1]),
                      contract(x, leaf("v", (3,)), "bj"[-x.ndim:], "j", "bj"[-x.ndim:-1])]
        varying = event_to_axis(FUNCTIONS["broadcast_to"](x, (OTHER.size, *x.shape)), OTHER)
        found += [axis_sum(varying, ("other",)), make("axis_sum", (x,), ()), make("expect", (x,), ()),
                  expect(x * leaf("lane", (), (LANE,)))]
        found += [apply("where", apply("lt", s, x), x, x)]
        found += [apply("exp", apply("log", abs(x))), make("log_density", (constant(False), x, apply("neg", x)))]
        always = constant(np.full(x.shape, x.size % 2 == 1))
        found += [make(op, (always, apply("neg", x), apply("exp", x))) for op in ("where", "either")]
    one = replace_one(constant([1.0, 0.0, 0.25]), constant([0.0, 1.0, -2.5]), Axis("element", 3))
    found += binary_step_sums(LEAST) + weighted_step_sums(LEAST)
    found += [contract(one, m, "j", "bj", "b"), contract(m, one, "bj", "j", "b"), contract(w, one, "j", "j", "")]
    truths = [apply("lt", x, 1.0) for x in arguments[:5]]
    known = [constant(np.full(shape, c)) for c in (True, False) for shape in ((), (3,))]
    known += [make("broadcast_to", (c,), (2, 3)) for c in known]
    found += [make(op, pair) for op in ("and", "or") for pair in itertools.product([*truths[1:4], *known], repeat=2)]
    found += [apply("not", apply("not", x)) for x in (*truths, *known)]
    found += [make("where", (c, apply("neg", v), apply("exp", v))) for c in known]
    single = [leaf("lane", (), (LANE,)), *(x for x in arguments if not x.shape)]
    found += [replace_one(x, y, Axis("element", 1)) for x, y in itertools.product(single, repeat=2)]
    for op, (x, a, b) in itertools.product(("add", "sub"), ((s, v, w), (w, s, m), (v, m, o), (m, m, s))):
        found += [apply(op, apply("mul", *p), apply("mul", *q)) for p in ((x, a), (a, x)) for q in ((x, b), (b, x))]
    return found


@cache
def values() -> dict[str, np.ndarray]:
    """Positive values of every leaf in the pool."""
    leaves = {n.attrs.name: n for n in topological(pool()) if n.op.name == "feed"}
    return {name: _rng.uniform(0.2, 2.0, size=sizes_of(n.axes) + n.shape) for name, n in leaves.items()}


def replaced(rule) -> list[tuple[Node, Node]]:
    """The nodes of the pool to which a rule applies, and what it makes of them."""
    made = [(node, rule.replace(node)) for node in pool() if node.op is rule.op]
    return [(node, new) for node, new in made if new is not None and new is not node]


def both(pairs: Sequence[tuple[Node, Node]], given) -> Iterator[tuple[Node, Node, np.ndarray, np.ndarray]]:
    """Each node and what became of it with their values, which are found at once; axes that were lost are there."""
    found = iter(values_of([node for pair in pairs for node in pair], given))
    for (node, new), before, after in zip(pairs, found, found):
        lost = tuple(i for i, ax in enumerate(node.axes) if ax not in new.axes)
        yield node, new, before, np.broadcast_to(np.expand_dims(after, lost), before.shape)


def check_same(pairs: Sequence[tuple[Node, Node]], what: str) -> None:
    """Nodes and what became of them are equal wherever the first have a value: 0 · ∞ and 0 / 0 may become 0."""
    for node, new, before, after in both(pairs, values()):
        same = np.isclose(after, before, rtol=1e-12, atol=1e-12) | ~np.isfinite(before)
        assert np.all(same), f"{what}: {node!r} = {before} became {new!r} = {after}"


def check_rule(rule) -> None:
    """The rule applies somewhere in the pool, and wherever it does, nothing but the node changes."""
    pairs = replaced(rule)
    for node, new in pairs:
        assert new.shape == node.shape, f"{rule.text}: {node!r} became {new!r}"
        assert new.kind == node.kind, f"{rule.text}: {node!r} became {new!r}"
        assert set(new.axes) <= set(node.axes), f"{rule.text}: {node!r} became {new!r}"
    check_same(pairs, rule.text)
    assert pairs, f"no node of the pool has the pattern {rule.text!r} of op {rule.op.name}"


OFF = np.array([0.0, -0.0, -1.0, -2.5, np.inf, -np.inf, np.nan, 1e150, -1e150, 1e-150, 0.5])


@cache
def values_off() -> tuple[dict[str, np.ndarray], ...]:
    """Values of every leaf that functions are not defined at, infinite, huge and tiny ones."""
    rng = np.random.default_rng(3)
    return tuple({name: rng.choice(OFF, size=v.shape) for name, v in values().items()} for _ in range(6))


def check_off_domain(rule) -> None:
    """What is NaN or infinite does not become finite, unless the real numbers say so; products do not overflow here.

    log eˣ and log σ(x) are x and −softplus(−x) on all real numbers: there only rounding to 0 or ∞ lies between.
    """
    pairs, exact_on_reals = replaced(rule), rule.op is log_op
    for given in values_off():
        for node, new, before, after in both(pairs, given):
            kept = np.isfinite(before) | ~np.isfinite(after) | (exact_on_reals & np.isinf(before))
            assert np.all(kept), f"{rule.text}: {before[~kept]} became {after[~kept]} in {new!r} for {node!r}"
