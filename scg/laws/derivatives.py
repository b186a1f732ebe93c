"""Derivatives of graphs against finite differences, recursively, with and without axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scg import backend
from scg.analysis.decisions import remembering
from scg.differentiate.reverse_mode import gradients
from scg.ir.axes import LANE, Axes, Axis
from scg.ir.node import Node, constant
from scg.laws.broken import require
from scg.ops.leaves import feed
from scg.ops.measure import expect
from scg.ops.reduce import total

LANES = 3
STEP = 1e-4
TOLERANCE = 1e-7
WORLD, OTHER = Axis("world", 2), Axis("other", 3)
AXES: tuple[Axes, ...] = ((), (LANE,), (WORLD,), (WORLD, LANE), (OTHER,))


def sizes_of(axes: Axes) -> tuple[int, ...]:
    """Sizes of axes, with three lanes."""
    return tuple(LANES if ax.statistical else ax.size for ax in axes)


def leaf(name: str, shape: tuple[int, ...], axes: Axes = ()) -> Node:
    """A leaf whose value is given."""
    return feed(name, shape, axes)


def values_of(nodes: Sequence[Node], values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The nodes' values, with all their axes at full size."""
    starts, groups = np.array([0]), np.array([LANES])
    numpy = backend.load("numpy")
    ev = numpy.Evaluation(values, {"row": 1, "lane": LANES}, fed=values, groups=lambda size: (starts, groups))
    return [np.asarray(found) for found in numpy.evaluate(nodes, ev)]


def value(node: Node, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """A node's value, with all its axes at full size."""
    return values_of([node], values)[0]


def objective(node: Node, values: Mapping[str, np.ndarray]) -> float:
    """What `gradients` differentiates: the mean over lanes of the sum over worlds of a scalar node."""
    found = value(node, values)
    lane = [ax.name for ax in node.axes].index("lane") if LANE in node.axes else None
    return float(found.sum() if lane is None else found.mean(axis=lane).sum())


def weighted(node: Node, name: str) -> Node:
    """A scalar that weights every element and world of a node differently, by a leaf of that name."""
    return total(node * leaf(name, node.shape, node.axes))


def check_derivatives(root: Node, leaves: Sequence[Node], values: Mapping[str, np.ndarray], order: int = 2,
                      seed: int = 0, free: Mapping[str, np.ndarray] | None = None) -> None:
    """Directional derivatives of a scalar node along random directions, then those of its derivative.

    `leaves` are the leaves in which it is differentiable; their adjoints must fit them. `free` says by a leaf's name
    which of its elements can be moved at all.
    """
    rng = np.random.default_rng([seed, 271_828])  # unlike the callers' seeds: the direction must not equal the weights
    adjoints = gradients({root: constant(1.0)}, list(leaves))
    slopes = {x.attrs.name: g for x, g in zip(leaves, adjoints) if g is not None}
    for x in leaves:
        g = slopes.get(x.attrs.name)
        if g is not None:
            require(g.shape == x.shape, f"an adjoint of shape {g.shape} for a leaf of shape {x.shape}")
            require(set(g.axes) <= set(x.axes), f"an adjoint along {g.axes} for a leaf along {x.axes}")
        along = rng.normal(size=np.shape(values[x.attrs.name])) * (free or {}).get(x.attrs.name, 1.0)
        found = 0.0 if g is None else _inner(g, x, along, values)
        expected = _slope(root, x.attrs.name, along, values)
        require(abs(found - expected) <= TOLERANCE * max(1.0, abs(expected)), (
            f"derivative of order {3 - order} in {x.attrs.name}: {found!r}, by finite differences {expected!r}"))
    _check_kept(root, leaves, slopes, values)
    if order > 1 and slopes:
        more = dict(values)
        parts = []
        for name, g in slopes.items():
            parts.append(weighted(g, f"weight {order} {name}"))
            more[f"weight {order} {name}"] = rng.normal(size=sizes_of(g.axes) + g.shape)
        whole = parts[0]
        for p in parts[1:]:
            whole = whole + p
        check_derivatives(whole, leaves, more, order - 1, seed + 1)


def _check_kept(root: Node, leaves: Sequence[Node], slopes: Mapping[str, Node], values) -> None:
    """What a kernel computes, a contribution per replicate, has the adjoint as its mean over replicates."""
    for x, g in zip(leaves, gradients({root: constant(1.0)}, list(leaves), ("row", "lane"))):
        plain = slopes.get(x.attrs.name)
        require((g is None) == (plain is None),
                f"contributions to {x.attrs.name}: some, and no derivative, or the reverse")
        if g is not None:
            mean = g if LANE in x.axes else expect(g, ("lane",))
            a, b = (value(constant(n) + leaf("zero", (), x.axes), {**values, "zero": np.zeros(sizes_of(x.axes))})
                    for n in (mean, plain))
            if not np.allclose(a, b, rtol=1e-10, atol=1e-12):  # arrays are long to write down
                require(False, f"contributions to {x.attrs.name}: {a}, on average {b}")


def _inner(g: Node, x: Node, along: np.ndarray, values) -> float:
    """⟨adjoint, direction⟩ in the measure of lanes."""
    found = value(g, values)
    where = [[ax.name for ax in x.axes].index(ax.name) for ax in g.axes]
    full = np.moveaxis(along, where, range(len(where)))  # axes that the adjoint lacks stand after those it has
    missing = len(x.axes) - len(where)
    found = found.reshape(found.shape[: len(where)] + (1,) * missing + found.shape[len(where):])
    return float((found * full).sum() / (LANES if LANE in x.axes else 1))


def _slope(root: Node, name: str, along: np.ndarray, values) -> float:
    """Central difference of fourth order."""

    def at(t: float) -> float:
        return objective(root, {**values, name: values[name] + t * STEP * along})

    with remembering():  # the node is the same four times
        return (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * STEP)
