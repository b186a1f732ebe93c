"""The law of an elementwise op: its value, scalar source, sympy form and derivatives agree at its sample points."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scg.differentiate.reverse_mode import gradients
from scg.ir.node import Node, constant, make
from scg.ir.op import Op, Smoothness
from scg.ir.traverse import topological
from scg.laws.broken import require
from scg.laws.derivatives import check_derivatives, leaf
from scg.ops.leaves import feed_op
from scg.ops.trial import meanings

FAR = (-30.0, -7.3, -2.5, -1.0, -0.4, 0.0, 1e-7, 0.3, 1.0, 3.7, 11.0, 45.0)
MANY = 400  # points at most that are tried for a sample


def check_elementwise(op: Op, scalars: Mapping[str, Any] | None = None) -> None:
    """All interpretations of the op at all its samples; `scalars` are what names in its source mean."""
    require(op.samples, f"{op.name} has no samples")
    require(op.sympy is not None, f"{op.name} has no sympy form")
    n = op.arity or 0
    for sample in op.samples:
        _check_value(op, sample[:n], sample[n:], meanings() if scalars is None else scalars)
        _check_derivative(op, sample[:n], sample[n:])


def check_elsewhere(op: Op) -> None:
    """Value and source beyond the samples, and the derivative beside them."""
    n = op.arity or 0
    for sample in op.samples[:3]:
        points = [(a,) if isinstance(a, bool) else FAR for a in sample[:n]]
        for args in itertools.islice(itertools.product(*points), MANY):
            _check_source(op, args, sample[n:])
        beside = tuple(a if isinstance(a, bool) else (1.03 + 0.02 * i) * a + 0.007 for i, a in enumerate(sample[:n]))
        with np.errstate(all="ignore"):
            defined = np.isfinite(op.value(*beside, *sample[n:]))  # type: ignore[misc]
        if defined:
            _check_derivative(op, beside, sample[n:])


def _check_source(op: Op, args: Sequence[Any], attrs: Sequence[Any]) -> None:
    text = (op.source or "").format(*(f"({a!r})" for a in args), attrs=tuple(attrs))
    with np.errstate(all="ignore"):
        value = float(op.value(*args, *attrs))  # type: ignore[misc]
        try:
            result = eval(text, {}, dict(meanings()))
        except ZeroDivisionError:  # in Python alone
            return
    if isinstance(result, complex):  # likewise
        return
    found = float(result)
    same = found == value or abs(found - value) <= 1e-12 * max(1.0, abs(value)) or not math.isfinite(value)
    require(same, f"source of {op.name} at {tuple(args)}: {found}, its value is {value}")


def _check_value(op: Op, args: Sequence[Any], attrs: Sequence[Any], scalars: Mapping[str, Any]) -> None:
    found = np.asarray(op.value(*args, *attrs))  # type: ignore[misc]
    require(found.shape == (), f"{op.name} of scalars has shape {found.shape}")
    require((found.dtype == bool) == (op.result == "bool"), f"{op.name} returns {found.dtype}")
    from scg.export.sympy.at_numbers import formula_at  # which imports sympy

    expected = formula_at(op, args, attrs)
    _close(op, "value", found, expected)
    text = (op.source or "").format(*(f"({a!r})" for a in args), attrs=tuple(attrs))
    _close(op, "source", eval(text, dict(scalars)), expected)


def _close(op: Op, what: str, found: Any, expected: Any) -> None:
    error = abs(float(found) - float(expected))
    require(error <= 1e-13 * max(1.0, abs(expected)), f"{what} of {op.name}: {found}, by its sympy form {expected}")


def _check_derivative(op: Op, args: Sequence[Any], attrs: Sequence[Any]) -> None:
    leaves = [constant(a) if isinstance(a, bool) else leaf(f"x{i}", ()) for i, a in enumerate(args)]
    node = make(op, tuple(leaves), tuple(attrs))
    values = {x.attrs.name: np.asarray(a) for x, a in zip(leaves, args) if x.op is feed_op}
    smooth = [x for i, x in enumerate(leaves) if x.op is feed_op and
              op.smooth_in(i) in (Smoothness.SMOOTH, Smoothness.CONTINUOUS)]
    flat = [x for x in leaves if x.op is feed_op and all(x is not s for s in smooth)]
    if flat:
        found = gradients({node: constant(1.0)}, flat)
        require(all(g is None for g in found), f"a derivative flows through {op.name}, which says that none does")
    if smooth and op.derivative is not None:
        check_derivatives(node, smooth, values, 2 if _twice(node, smooth) else 1)


def _twice(node: Node, smooth: Sequence[Node]) -> bool:
    """Whether the derivative can be differentiated again: it uses no op without a derivative."""
    grads = [g for g in gradients({node: constant(1.0)}, smooth) if g is not None]
    return all(n.op.derivative is not None for n in topological(grads) if n.args)
