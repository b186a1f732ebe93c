"""A trial of an op from outside the package: value, source and derivative at its samples, when it is declared.

Its derivative is held to differences of its value; and on the way from one sample to the next the value must not jump,
unless the record says so.
"""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import special

from scg.errors import DeclarationError
from scg.ir.location import here
from scg.ir.node import Node, constant, make
from scg.ir.op import OPS, Op, Smoothness
from scg.ir.traverse import topological
from scg.ops.arithmetic import broadcast
from scg.ops.arithmetic import elementwise as registered
from scg.ops.leaves import feed, feed_op

_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?:\.\w+)?")
_MEANINGS = {"np": np, "abs": abs, "INF": math.inf, "NAN": math.nan, "one": 1.0, "zero": 0.0, "sqrt": np.sqrt,
             "floor": np.floor, "erfc": special.erfc}
_SMOOTH = (Smoothness.SMOOTH, Smoothness.CONTINUOUS)
_CELLS, _STEEPEST, _HALVINGS = 255, 5, 30
_KNOWN = ("abs", "erfc", "np.floor", "np.sqrt")  # what kernels know beside what the ops here use


def elementwise(name: str, value: Callable[..., Any], source: str, *, shape: Callable[..., Any] = broadcast,
                regular: bool | Callable[..., bool] = False, **fields: Any) -> Op:
    """Register an op that acts element by element on broadcast arguments; the other fields are those of `Op`.

    It is tried at its `samples`: value, source and derivative must say the same.

    Raises
    ------
    DeclarationError
    """
    known = known_functions()
    op = registered(name, value, source, shape=shape, regular=regular, **fields)
    try:
        _try(op, known)
    except BaseException:
        del OPS[name]
        raise
    return op


def known_functions() -> set[str]:
    """What a source may call: what those of the ops here do, and what kernels know besides."""
    return {n for op in OPS.values() for n in _names(op.source or "")}.union(_KNOWN)


def _try(op: Op, known: set[str]) -> None:
    _check_names(op, known)
    for sample in op.samples:
        _check_source(op, sample)
    if op.derivative is not None and op.samples and op.result == "real":
        _check_derivative(op)


def _refused(op: Op, what: str, why: str, fix: str) -> DeclarationError:
    return DeclarationError(str(here() or ""), f'The op "{op.name}" was declared with {what}.', why, fix)


def _names(source: str) -> set[str]:
    return {name for name in _NAME.findall(source) if not keyword.iskeyword(name) and name != "attrs"}


def meanings() -> dict[str, Any]:
    """What names in a source mean: ops of that name, and what kernels know besides."""
    return {**{name: known.value for name, known in OPS.items() if known.value is not None}, **_MEANINGS}


# --- the source ------------------------------------------------------------------------------------------------------
def _check_names(op: Op, known: set[str]) -> None:
    unknown = sorted(_names(re.sub(r"\{[^}]*\}", "0", op.source or "")) - known)
    if unknown:
        raise _refused(op, f"the source {op.source!r}", f"Kernels know no {' and no '.join(unknown)}.",
                       "Write it by what they know: " + ", ".join(sorted(n for n in known if n.islower())) + ".")


def _check_source(op: Op, sample: Sequence[Any]) -> None:
    count = op.arity or 0  # what follows in a sample are attributes
    args, attrs = sample[:count], tuple(sample[count:])
    text = (op.source or "").format(*(f"({a!r})" for a in args), attrs=attrs)
    with np.errstate(all="ignore"):
        value = np.asarray(op.value(*args, *attrs))  # type: ignore[misc]
        try:
            found = eval(text, {"__builtins__": {}}, meanings())
        except SyntaxError as why:
            raise _refused(op, f"the source {op.source!r}", f"That is no expression: {why.msg}.",
                           "Write one scalar expression in {0}, {1} ….") from None
        except ZeroDivisionError:
            return
    if not np.allclose(float(found), float(value), rtol=1e-6, atol=1e-12, equal_nan=True):
        raise _refused(op, f"a source that is {float(found):g} at {tuple(args)}",
                       f"Its value there is {float(value):g}: kernels would compute another function than NumPy.",
                       "Let source= and the value say the same.")


# --- the derivative --------------------------------------------------------------------------------------------------
def _check_derivative(op: Op) -> None:
    count = op.arity or 0
    real = [i for i in range(count) if not isinstance(op.samples[0][i], (bool, np.bool_))]
    smooth = [i for i in real if op.smooth_in(i) in _SMOOTH]
    leaves = [feed(f"x{i}", ()) for i in range(count)]
    for sample in op.samples:
        _check_slopes(op, sample, leaves, smooth)
    if op.poles is None and not op.steep:
        for one, other in pairwise(op.samples):
            fixed = [i for i in range(len(one)) if i not in smooth]
            if all(one[i] == other[i] for i in fixed):
                _check_between(op, one, other, smooth)


def _derivatives(op: Op, sample: Sequence[Any], leaves: Sequence[Node]) -> Sequence[Any]:
    """The derivative in each argument, as nodes over leaves; literals stand for what is no real number."""
    count = len(leaves)
    args = tuple(constant(a) if isinstance(a, (bool, np.bool_)) else leaf for a, leaf in zip(sample, leaves))
    node = make(op, args, tuple(sample[count:]))
    assert op.derivative is not None
    found = op.derivative(constant(1.0), node, *args)
    if not isinstance(found, (tuple, list)) or len(found) != count:
        raise _refused(op, f"a derivative that returns no tuple of {count}", "It has one adjoint for each argument.",
                       "Return (g * …,), with None where nothing flows.")
    return found


def _check_slopes(op: Op, sample: Sequence[Any], leaves: Sequence[Node], smooth: Sequence[int]) -> None:
    found = _derivatives(op, sample, leaves)
    for i in smooth:
        if found[i] is None:
            raise _refused(op, f"no derivative in argument {i}", "Its record calls it smooth there: its gradient would "
                           "be 0, and miss the jumps.", "Name them: smoothness=JUMP, or BLOCK if it has no derivative "
                           "by definition.")
        step = 1e-6 * max(1.0, abs(sample[i]))
        at = [np.array([sample[j] + step * k * (j == i) for k in (-1, 0, 1)]) if j in smooth else sample[j]
              for j in range(len(sample))]
        with np.errstate(all="ignore"):
            values = np.broadcast_to(np.array(op.value(*at), dtype=np.float64), (3,))  # type: ignore[misc]
            slopes = np.diff(values) / step
        said = _numbers(found[i], {leaf.attrs.name: a for leaf, a in zip(leaves, sample)})
        size = 1e-3 * max(1.0, abs(slopes[0]), float(np.abs(values).max()) / max(1.0, abs(sample[i])))
        if said is None or not np.all(np.isfinite([*slopes, said])) or abs(slopes[1] - slopes[0]) > size:
            continue
        if abs(float(said) - slopes.mean()) > size:
            raise _refused(op, f"a derivative that is {float(said):g} in argument {i} at {tuple(sample)}",
                           f"Its value changes there by {slopes.mean():g} for each unit.", "Correct derivative=.")


def _check_between(op: Op, one: Sequence[Any], other: Sequence[Any], smooth: Sequence[int]) -> None:
    """Refuse a jump on the way from one sample to the other: a change that remains however short the way is made."""
    def value(t: Any) -> Any:
        return op.value(*(a + t * (b - a) if i in smooth else a  # type: ignore[misc]
                          for i, (a, b) in enumerate(zip(one, other))))

    edges = np.linspace(0.0, 1.0, _CELLS + 1) ** 1.01  # no cell ends at a round number, where poles are
    with np.errstate(all="ignore"):
        values = np.asarray(value(edges), dtype=float)
        if values.shape != edges.shape or not np.all(np.isfinite(values)):
            return  # it is not defined everywhere between them
        size = max(abs(values[0]), abs(values[-1]), abs(values[-1] - values[0]), 1e-300)
        for cell in np.argsort(-np.abs(np.diff(values)))[:_STEEPEST]:
            low, high = edges[cell], edges[cell + 1]
            for _ in range(_HALVINGS):
                middle = 0.5 * (low + high)
                first = abs(value(middle) - value(low)) >= abs(value(high) - value(middle))
                low, high = (low, middle) if first else (middle, high)
            if not abs(value(high) - value(low)) <= 1e-3 * size:
                raise _refused(op, "no smoothness",
                               f"From {tuple(one)} to {tuple(other)} its value jumps, or grows without bound: its "
                               "derivative misses that.", "Name it: smoothness=JUMP, or poles=Pole(…).")


def _numbers(root: Any, values: Mapping[str, Any]) -> Any:
    """What a formula of elementwise ops is at numbers of its leaves; None if it has other ops."""
    found: dict[Node, Any] = {}
    node = constant(root)
    with np.errstate(all="ignore"):
        for n in topological([node]):
            if n.is_const:
                found[n] = n.attrs.array
            elif n.op is feed_op:
                found[n] = values[n.attrs.name]
            elif n.op.kind == "elementwise" and n.op.value is not None:
                found[n] = n.op.value(*(found[a] for a in n.args), *(n.attrs or ()))
            else:
                return None
    return found[node]
