"""Maps that can be inverted: a formula of a draw, read as a chain of ops each of which can be undone.

What stands beside the draw in an op (`scg.ir.op.Inverse`) is a parameter of the family that the map makes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from scg.analysis.bounds import Ranges
from scg.distributions.distribution import Distribution
from scg.errors import DeclarationError
from scg.ir.constraints import positive, real
from scg.ir.interval import ANY, POSITIVE, Interval
from scg.ir.location import here
from scg.ir.node import Node, as_real, constant, make
from scg.ir.op import Op
from scg.ir.printer import expression, short
from scg.ir.spelling import Hole, bracketed, sign_of, template
from scg.ir.traverse import topological
from scg.ops.arithmetic import add_op, div_op, mul_op, neg_op, sub_op
from scg.ops.leaves import feed

_CALLED = {add_op: "shift", sub_op: "shift", mul_op: "factor", div_op: "factor"}
_TRIED = (0.37, 1.0, 2.9)  # values of a parameter at which an end of the support is looked at
_MORE = "+ - * / by what is not made of the draw, exp, log, sqrt, powers, sigmoid, softplus and tanh"


class Step(NamedTuple):
    """One op of a map: at which of its arguments the draw stands, and what the parameter beside it is called."""

    op: Op
    position: int
    attrs: Any
    parameter: str

    def args(self, x: Any, params: Mapping[str, Any]) -> tuple:
        """The arguments, with the draw in its place."""
        others = [params[self.parameter]] if self.parameter else []
        return (*others[:self.position], x, *others[self.position:])

    def others(self, params: Mapping[str, Any]) -> tuple:
        """What the functions of the op's inverse are given besides."""
        return (*([params[self.parameter]] if self.parameter else []), *self.numbers)

    @property
    def numbers(self) -> tuple:
        """The attributes, as functions of values take them."""
        return self.attrs if isinstance(self.attrs, tuple) else ()

    def __call__(self, x: Node, params: Mapping[str, Node]) -> Node:
        return make(self.op, self.args(x, params), self.attrs)

    def value(self, x: Any, params: Mapping[str, Any]) -> np.ndarray:
        """The same of arrays."""
        with np.errstate(all="ignore"):
            return self.op.value(*self.args(x, params), *self.numbers)  # type: ignore[misc]

    @property
    def straight(self) -> bool:
        """Whether it is a straight line."""
        return self.op.inverse is not None and self.position in self.op.inverse.straight


class Map(NamedTuple):
    """What a transformed family is made of; two of the same are one family.

    Attributes
    ----------
    family : type or Family
        That of the draw which is mapped.
    names : tuple of str
        The names of its parameters.
    steps : tuple of Step
    ends : tuple
        Of the support: numbers, or the names of properties where parameters move them.
    rising : bool
        Whether the map is increasing.
    moving : tuple of str
        The parameters that move an end at which the density is not known to be 0.
    """

    family: Any
    names: tuple[str, ...]
    steps: tuple[Step, ...]
    ends: tuple[float | str, float | str]
    rising: bool
    moving: tuple[str, ...]


class Line(NamedTuple):
    """A straight line, ± (factor · x + shift), with a positive factor; no shift is None."""

    sign: float
    factor: Node
    shift: Node | None

    def after(self, step: Step, params: Mapping[str, Node]) -> Line | None:
        """The line and a step after it; None if that is no straight line."""
        if not step.straight:
            return None
        if step.op is neg_op:
            return self._replace(sign=-self.sign)
        by = params[step.parameter]
        if step.op in (mul_op, div_op):
            by = by if step.op is mul_op else 1.0 / by
            return Line(self.sign, self.factor * by, None if self.shift is None else self.shift * by)
        turned = step.op is sub_op and step.position == 1
        sign = -self.sign if turned else self.sign
        by = by if (step.op is add_op or turned) == (sign > 0.0) else -by
        return Line(sign, self.factor, by if self.shift is None else self.shift + by)


def steps_of(x: Node, y: Node, taken: Sequence[str]) -> tuple[tuple[Step, ...], dict[str, Node]]:
    """The chain of ops from x to y, and the parameters beside it."""
    found: list[Step] = []
    params: dict[str, Node] = {}
    for node, position in reversed(list(_chain(x, y))):
        other, name = next((a for i, a in enumerate(node.args) if i != position), None), ""
        op, sign = node.op, False
        if other is not None:
            name = _free(_CALLED.get(op, "exponent"), (*taken, *params))
            sign = op in (mul_op, div_op) and other.is_const and bool(np.all(other.attrs.array < 0.0))
            params[name] = as_real(constant(-other.attrs.array) if sign else other)
        found.append(Step(op, position, node.attrs, name))
        if sign:
            found.append(Step(neg_op, 0, None, ""))
    return tuple(found), params


def _chain(x: Node, y: Node) -> Iterator[tuple[Node, int]]:
    """The nodes from y down to x, and which of their arguments goes on to x."""
    while y is not x:
        on = [i for i, a in enumerate(y.args) if any(n is x for n in topological([a]))]
        if len(on) != 1:
            raise refused(f"the map {short(y)}", "The draw x stands in it in several places, so it is not certain that "
                          "it can be inverted." if on else "It is not made of the draw x.",
                          "Write it with x in one place.")
        if y.op.inverse is None or on[0] not in y.op.inverse.positions:
            raise refused(f"a map with {short(y)} in it", f"{y.op.name} has no inverse in x, which a density is made "
                           "of.", f"Make the map of {_MORE}; or draw x at a site, and make a node of it.")
        yield y, on[0]
        y = y.args[on[0]]


def _free(name: str, taken: Sequence[str]) -> str:
    names = [name, *(f"{name}_{i}" for i in range(2, 2 + len(taken)))]
    return next(n for n in names if n not in taken)


def constraint_of(step: Step) -> Any:
    """What the parameter of a step must satisfy."""
    return positive if step.op.inverse is not None and step.op.inverse.positive else real


def map_of(base: Distribution, steps: tuple[Step, ...], params: Mapping[str, Node]) -> Map:
    """The map, with what is known of the support."""
    rising, where = True, base.range({name: Ranges()(node) for name, node in base.params.items()})
    ends = [np.nan if isinstance(end, str) else float(end) for end in (base.support.low, base.support.high)]
    for i, step in enumerate(steps):
        _check_domain(steps[: i + 1], where, params)
        a, b = (step.value(_inside(where, share), _at(step, 1.3)) for share in (0.25, 0.75))
        rising = rising is bool(a < b)
        ends = [_moved(step, end) for end in ends]
        where = range_of(where, (step,), params, {})
    vanishing = base.vanishes() and all(step.straight for step in steps)
    low, high = ends if rising else ends[::-1]
    named = ("lowest" if np.isnan(low) else low, "highest" if np.isnan(high) else high)
    moving = () if vanishing else tuple(_moving(base, steps, params))
    return Map(base.family, tuple(base.params), steps, named, rising, moving)


def _moving(base: Distribution, steps: Sequence[Step], params: Mapping[str, Node]) -> Iterator[str]:
    """The parameters that move an end of the support, the others being where they are."""
    given: dict[str, Any] = {name: node.attrs.array for name, node in {**base.params, **params}.items() if
                             node.is_const}
    named = [n for n in base.support.moving if n in base.params]
    for name in (*named, *params):
        others = [{n: given.get(n, t) for n in (*named, *params)} for t in _TRIED]
        for end, at in itertools.product((base.support.low, base.support.high), others):
            found = [_mapped_end(end, steps, at | {name: t}) for t in _TRIED]
            if not all(np.array_equal(one, found[0]) for one in found):  # NaN, an end nobody knows, is not equal
                yield name
                break


def _mapped_end(end: float | str, steps: Sequence[Step], at: Mapping[str, Any]) -> np.ndarray:
    """Where the steps take an end of the base's support, at values of the parameters."""
    found = np.asarray(at.get(end, np.nan) if isinstance(end, str) else end, float)
    for step in steps:
        found = np.asarray(step.value(found, at))
    return found


def _check_domain(steps: Sequence[Step], where: Interval, params: Mapping[str, Node]) -> None:
    """Refuse a last step that is not monotone, or not defined, where the others take the draw."""
    step = steps[-1]
    least = step.op.inverse.above(step.position, *step.numbers) if step.op.inverse is not None else -np.inf
    if not where.low >= least:
        beside = {each.parameter: expression(params[each.parameter]) for each in steps if each.parameter}
        signs = {name: sign_of(text) for name, text in beside.items()}
        whole, text = spelled(steps, beside, signs), spelled(steps[:-1], beside, signs)
        raise refused(f"a map with {whole} in it",
                       f"Of numbers below {least:g} that has no inverse, and {text} may be one.",
                       f"Let it be made of what is above {least:g}, as scg.exp of a draw is.")


def end_of(start: float | Node, steps: Sequence[Step], params: Mapping[str, Node]) -> Node:
    """Where the steps take an end of the base's support: a literal where only literals have a say in it."""
    known = _number(start)
    found = constant(start if np.isnan(known) else known)
    for step in steps:
        known = _moved(step, known, _number(params[step.parameter]) if step.parameter else np.nan)
        found = step(found, params) if np.isnan(known) else constant(known)
    return found


def _number(known: float | Node) -> float:
    """The number that a literal is throughout; NaN of all else."""
    if not isinstance(known, Node):
        return float(known)
    found = Ranges()(known)
    return found.low if found.low == found.high else np.nan


def _moved(step: Step, end: float, beside: float = np.nan) -> float:
    """Where the step takes an end of the support; NaN if that depends on a parameter beside it that is not known."""
    found = {float(step.value(end, _at(step, t))) for t in (_TRIED if np.isnan(beside) else (beside,))}
    return found.pop() if len(found) == 1 else np.nan


def _at(step: Step, value: float) -> dict[str, float]:
    return {step.parameter: value} if step.parameter else {}


def _inside(where: Interval, share: float) -> float:
    """A number in the interval, the larger the larger the share is."""
    low, high = where.low, where.high
    if np.isfinite(low) and np.isfinite(high):
        return low + share * (high - low)
    return low + share if np.isfinite(low) else high - 1.0 + share if np.isfinite(high) else share


def range_of(where: Interval, steps: Sequence[Step], params: Mapping[str, Node],
           intervals: Mapping[str, Interval]) -> Interval:
    """Where the steps take an interval, given where the parameters lie."""
    for step in steps:
        known = {}
        if step.parameter:
            node = params.get(step.parameter)
            own = intervals.get(step.parameter, ANY if node is None else Ranges()(node))
            known[step.parameter] = POSITIVE if constraint_of(step) is positive and not own.positive else own
        leaves = {name: feed(name, (), ()) for name in known}
        bounds = step.op.bounds
        where = ANY if bounds is None else bounds(step(feed("x", (), ()), leaves), *step.args(where, known))
    return where


def spelled(steps: Sequence[Step], beside: Mapping[str, str], signs: Mapping[str, str] | None = None) -> str:
    """A map in text, of a draw x.

    Parameters
    ----------
    steps : sequence of Step
    beside : mapping of str to str
        What stands for each parameter.
    signs : mapping of str to str, optional
        The outermost operators of the formulas that it stands for.
    """
    found = "x"
    for step in steps:
        node = step(feed("x", (), ()), {step.parameter: feed("p", (), ())})
        text = node.op.text(node) if callable(node.op.text) else node.op.text
        form = template(text or f"{node.op.name}({', '.join(f'{{{i}}}' for i in range(len(node.args)))})")
        parts = []
        for part in form.parts:
            if isinstance(part, Hole):
                drawn = part.position == step.position
                inner = found if drawn else beside[step.parameter]
                sign = sign_of(found) if drawn else (signs or {}).get(step.parameter, "")
                part = f"({inner})" if bracketed(sign, part.side, form.sign) else inner
            parts.append(part)
        found = "".join(parts)
    return found


def refused(what: str, why: str, fix: str) -> DeclarationError:
    """The error of a declaration, at the user's line."""
    return DeclarationError(str(here() or ""), f"Transformed was given {what}.", why, fix)
