"""Arithmetic, comparisons and choices, element by element.

Each record is one op with all its interpretations; see `scg.ir.op.Op`. Derivatives are written in nodes, so that they
can be differentiated again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scg.errors import NodeUseError
from scg.ir import constant_sums, digits, draws
from scg.ir.interval import UNIT, Interval, exactly
from scg.ir.node import Node, apply, constant, make
from scg.ir.op import EVERY, Inverse, Op, Pole, Smoothness, register
from scg.ir.refused_uses import using
from scg.ops.powers import whole_power_value
from scg.ops.shapes import broadcast

SMOOTH, KINK, JUMP, BLOCK = (Smoothness.SMOOTH, Smoothness.CONTINUOUS, Smoothness.DISCONTINUOUS, Smoothness.BLOCKING)


def elementwise(name: str, value: Callable[..., Any], source: str, *, shape: Callable[..., Any] = broadcast,
                regular: bool | Callable[..., bool] = False, **fields: Any) -> Op:
    """Register an op that acts element by element on broadcast arguments; the fields are those of `Op`."""
    return register(Op(name, "elementwise", shape=shape, value=value, source=source, regular=regular, **fields))


_pairs = ((0.7, -1.3), (2.5, 0.4), (-0.3, 1.9))
_distinct = ((0.7, -1.3), (2.5, 3.4), (-0.3, 1.9))

add_op = elementwise(
    "add", np.add, "({0} + {1})", derivative=lambda g, y, a, b: (g, g), integral="closed",
    bounds=lambda n, a, b: a.plus(b), sympy=lambda m, a, b: a + b, regular=True, work=1, linear=True,
    constant_sums=constant_sums.linear(1.0, 1.0), text="{0} + {1}", samples=_pairs,
    inverse=Inverse(lambda i, y, b: y - b, lambda i, x, y, b: 0.0, positions=(0, 1), straight=(0, 1)))


def _bare(x: Node) -> Node:
    while x.op.transparent:
        x = x.args[0]
    return x


def _difference(n: Node, a: Interval, b: Interval) -> Interval:
    """Of a number and the same held, as a ratio of probabilities at one policy has it, the difference is 0."""
    return exactly(0.0) if _bare(n.args[0]) is _bare(n.args[1]) else a.plus(b.negated())


sub_op = elementwise(
    "sub", np.subtract, "({0} - {1})", derivative=lambda g, y, a, b: (g, -g), integral="closed",
    bounds=_difference, sympy=lambda m, a, b: a - b, regular=True, work=1, linear=True,
    constant_sums=constant_sums.linear(1.0, -1.0), text="{0} - {1}", samples=_pairs,
    inverse=Inverse(lambda i, y, b: b - y if i else y + b, lambda i, x, y, b: 0.0, positions=(0, 1), straight=(0, 1)))
mul_op = elementwise(
    "mul", np.multiply, "({0} * {1})", derivative=lambda g, y, a, b: (g * b, g * a), integral="closed",
    bounds=lambda n, a, b: a.power(2) if n.args[0] is n.args[1] else a.times(b),
    sympy=lambda m, a, b: a * b, regular=True, work=1, ignores=lambda i, a, b: apply("eq", b if i == 0 else a, 0.0),
    multiplies=True, defined=True, magnitude=digits.product, depends=draws.multiplied,
    constant_sums=constant_sums.product, text="{0} * {1}", samples=_pairs,
    inverse=Inverse(lambda i, y, b: y / b, lambda i, x, y, b: apply("log", b), positions=(0, 1), positive=True,
                    straight=(0, 1)))


def _quotient(n, a: Interval, b: Interval) -> Interval:
    """Where a quotient lies; a share of a sum of numbers that are not negative is one of the whole."""
    found = a.times(b.reciprocal())
    whole = a.low >= 0.0 and constant_sums.shares(n)
    return found._replace(high=1.0, high_open=False) if whole and found.high > 1.0 else found


div_op = elementwise(
    "div", np.divide, "({0} / {1})", derivative=lambda g, y, a, b: (g / b, -(g * y) / b),
    poles=(None, Pole("where its denominator passes 0", lambda n, a, b: b.clear_of_zero)),
    bounds=_quotient, constant_sums=constant_sums.quotient, sympy=lambda m, a, b: a / b,
    regular=lambda n: n.args[1].is_const and n.args[1].attrs.ask("all"),
    ignores=lambda i, a, b: apply("eq", a, 0.0) if i else None,
    multiplies=True, defined=lambda n, a, b: b.clear_of_zero, magnitude=digits.quotient,
    advice="Keep its denominator away from 0.", text="{0} / {1}", samples=_pairs,
    inverse=Inverse(lambda i, y, b: b / y if i else y * b,
                    lambda i, x, y, b: apply("log", b) - 2.0 * apply("log", x) if i else -apply("log", b),
                    positions=(0, 1), above=lambda i: 0.0 if i else -math.inf, positive=True, straight=(0,),
                    tail=lambda i, t: 0.0 if i else t))
neg_op = elementwise(
    "neg", np.negative, "(-{0})", derivative=lambda g, y, a: (-g,), integral="closed",
    bounds=lambda n, a: a.negated(), sympy=lambda m, a: -a, regular=True, work=1, linear=True,
    constant_sums=constant_sums.linear(-1.0), text="-{0}", samples=((0.7,), (-2.0,)),
    inverse=Inverse(lambda i, y: -y, lambda i, x, y: 0.0, straight=(0,)))


def _power_derivative(g, y, a, b):
    """b a^(b − 1), and aᵇ log a: a⁰ is 1 for every a, and 0ᵇ is 0 for every positive b, so these are 0 there."""
    in_base, in_exponent = g * b * apply("pow", a, b - 1.0), g * y * apply("log", a)
    constant_in_base = apply("eq", b, 0.0)
    constant_in_exponent = apply("and", apply("eq", a, 0.0), apply("lt", 0.0, b))
    return (_unless(constant_in_base, in_base, _may_be_zero(b)),
            _unless(constant_in_exponent, in_exponent, _may_be_zero(a)))


def _may_be_zero(node: Node) -> bool:
    return not node.is_const or not node.attrs.ask("all")


def _unless(condition: Node, value: Node, possible: bool) -> Node:
    """The value, or 0 where the condition holds; the value itself if it holds nowhere."""
    return choose(condition, 0.0, value) if possible else value


def _digits_of_power(n: Node, x: Sequence[Interval], known: Sequence[float]) -> float:
    base, exponent = x
    return digits.where(base.low >= 0.0 and exponent.low >= 0.0, max(exponent.high, 1.0) * known[0])


pow_op = elementwise(
    "pow", np.power, "({0} ** {1})", bounds=lambda n, a, b: a.raised(b),
    poles=Pole("where its base is 0 and its exponent not positive",
               lambda n, a, b: a.positive or b.positive, order=0.5),  # u^−½ has a mean, u^−2 has none
    derivative=_power_derivative,
    ignores=lambda i, a, b: apply("eq", a, 1.0) if i else apply("eq", b, 0.0),
    sympy=lambda m, a, b: a**b, steep=True, defined=lambda n, a, b: a.positive, magnitude=_digits_of_power,
    text="{0}**{1}", samples=((0.7, -1.3), (2.5, 0.4), (1.1, 3.0)),
    inverse=Inverse(lambda i, y, b: y ** (1.0 / b), lambda i, x, y, b: apply("log", b) + (b - 1.0) * apply("log", x),
                    above=lambda i: 0.0, positive=True, tail=lambda i, t: 0.0))
abs_op = elementwise(
    "abs", np.abs, "abs({0})", derivative=lambda g, y, a: (g * apply("sign", a),), smoothness=KINK,
    bounds=lambda n, a: a.magnitude(), integral="closed", sympy=lambda m, a: m.Abs(a),
    regular=True, work=1, tied=lambda n: apply("eq", n.args[0], 0.0),
    defined=True, magnitude=digits.largest, flat=False, samples=((0.7,), (-2.0,)))
sign_op = elementwise(
    "sign", np.sign, "sign({0})", derivative=lambda g, y, a: (None,), smoothness=JUMP, integral="always",
    sympy=lambda m, a: m.sign(a), regular=True, defined=True, magnitude=digits.largest,
    settled=lambda n, a: _apart(n, a, exactly(0.0)), samples=((0.7,), (-2.0,)))
floor_op = elementwise(
    "floor", np.floor, "floor({0})", derivative=lambda g, y, a: (None,), smoothness=JUMP, integral="always",
    bounds=lambda n, a: a.through(np.floor)._replace(low_open=False, high_open=False),
    sympy=lambda m, a: m.floor(a), regular=True, defined=True, magnitude=digits.largest,
    samples=((0.7,), (-2.3,)))


def _of_the_larger(g, y, a, b):
    return _shared(g, b, a), _shared(g, a, b)


def _of_the_smaller(g, y, a, b):
    return _shared(g, a, b), _shared(g, b, a)


def _shared(g, smaller, larger) -> Node:
    """The adjoint where the one is smaller than the other, half of it where they are equal.

    At a tie that is the mean of the two slopes, whatever the direction: so that of max(a, b) + min(a, b) is that of
    a + b, and all kinks agree with |x|, whose derivative is 0 at 0.
    """
    return choose(apply("le", smaller, larger), choose(apply("lt", smaller, larger), g, 0.5 * g), 0.0)


maximum_op = elementwise(
    "maximum", np.maximum, "maximum({0}, {1})", smoothness=KINK, integral="closed",
    derivative=_of_the_larger,
    bounds=lambda n, a, b: a.larger(b), sympy=lambda m, a, b: m.Max(a, b), regular=True, work=1,
    tied=lambda n: apply("eq", *n.args), picks=EVERY,
    samples=_distinct)
minimum_op = elementwise(
    "minimum", np.minimum, "minimum({0}, {1})", smoothness=KINK, integral="closed",
    derivative=_of_the_smaller,
    bounds=lambda n, a, b: a.negated().larger(b.negated()).negated(),
    sympy=lambda m, a, b: m.Min(a, b), regular=True, work=1, tied=lambda n: apply("eq", *n.args), picks=EVERY,
    samples=_distinct)


def _none(g, y, *args):
    return (None,) * len(args)


def _apart(n: Node, a: Interval, b: Interval) -> bool:
    """Whether one of two numbers is the larger one, wherever in these intervals they are."""
    return any(x.high < y.low or (x.high == y.low and (x.high_open or y.low_open)) for x, y in ((a, b), (b, a)))


def _comparison(name: str, value: Callable[..., Any], sign: str, relation: str) -> Op:
    """An op that compares two numbers; `relation` is what sympy calls it."""
    return elementwise(
        name, value, f"({{0}} {sign} {{1}})", derivative=_none, smoothness=JUMP, result="bool",
        sympy=lambda m, a, b: getattr(m, relation)(a, b), regular=True, work=1, text=lambda n: _compared(n, sign),
        settled=_apart,
        samples=_distinct)


_TURNED = {"<": ">", "<=": ">=", "==": "==", "!=": "!="}


def _compared(n: Node, sign: str) -> str:
    """A number is compared with a literal, not a literal with a number."""
    return f"{{1}} {_TURNED[sign]} {{0}}" if n.args[0].is_const else f"{{0}} {sign} {{1}}"


lt_op = _comparison("lt", np.less, "<", "StrictLessThan")
le_op = _comparison("le", np.less_equal, "<=", "LessThan")
eq_op = _comparison("eq", np.equal, "==", "Eq")
ne_op = _comparison("ne", np.not_equal, "!=", "Ne")


def _of_booleans(args, attrs=()):
    number = next((a for a in args if a.kind != "bool"), None)
    if number is not None:
        raise NodeUseError(using(number), "A number was used as a truth value with &, |, ^ or ~.",
                           "These combine comparisons.", "Compare it first, e.g. (x != 0); for powers use **.")
    return broadcast(args, attrs)


and_op = elementwise(
    "and", np.logical_and, "({0} and {1})", derivative=_none, smoothness=JUMP, result="bool",
    sympy=lambda m, a, b: m.And(a, b), shape=_of_booleans, regular=True, work=1, text="{0} & {1}",
    samples=((True, False), (True, True)))
or_op = elementwise(
    "or", np.logical_or, "({0} or {1})", derivative=_none, smoothness=JUMP, result="bool",
    sympy=lambda m, a, b: m.Or(a, b), shape=_of_booleans, regular=True, work=1, text="{0} | {1}",
    samples=((True, False), (False, False)))
not_op = elementwise(
    "not", np.logical_not, "(not {0})", derivative=_none, smoothness=JUMP, result="bool",
    sympy=lambda m, a: m.Not(a), shape=_of_booleans, regular=True, work=1, text="~{0}",
    samples=((True,), (False,)))
real_op = elementwise(
    "real", lambda a: np.asarray(a, dtype=np.float64), "where({0}, one, zero)", derivative=_none,
    bounds=lambda n, a: UNIT, smoothness=JUMP, integral="always",
    sympy=lambda m, a: m.Piecewise((1, a), (0, True)),
    regular=True, work=1, defined=True, text="{0}", samples=((True,), (False,)))
def _of_the_taken(n: Node, of: Sequence[draws.Draws]) -> draws.Draws:
    """What a choice depends on: by a literal, only on the branch that is taken."""
    if not n.args[0].is_const:
        return draws.elementwise(n, of)
    a, b = (np.broadcast_to(draws.whole(d, arg), n.shape) for d, arg in zip(of[1:], n.args[1:]))
    return np.where(n.args[0].attrs.array, a, b)


def _differs_by_stop(n: Node) -> bool:
    """Whether a choice is one of a thing and the same thing held, which without the stop would read as none."""
    held, other = n.args[1:]
    return held.op is stop_gradient_op and held.attrs == NEUTRAL and held.args[0] is other


where_op = elementwise(
    "where", np.where, "where({0}, {1}, {2})", smoothness=(JUMP, SMOOTH, SMOOTH), integral="closed",
    derivative=lambda g, y, c, a, b: (None, choose(c, g, 0.0), choose(c, 0.0, g)),
    bounds=lambda n, c, a, b: a.hull(b),
    sympy=lambda m, c, a, b: m.Piecewise((a, c), (b, True)), regular=True, work=1, picks=slice(1, 3),
    depends=_of_the_taken, constant_sums=constant_sums.chosen,
    text=lambda n: "where({0}, ⊥({1}), {2})" if _differs_by_stop(n) else "where({0}, {1}, {2})",
    samples=((True, 0.7, -1.0), (False, 0.7, -1.0)))
# attrs: () for what is asked to be held constant; NEUTRAL for what the result does not depend on, so that nothing is
# lost where it is not differentiated; OF_NOISE for what depends on the parameters in each replicate, and in
# distribution does not; NUMBER, what it is called, and of which site: see `control.as_number`
NEUTRAL, OF_NOISE, NUMBER = ("neutral",), ("noise",), ("number",)
_STOPPED = {NEUTRAL: "{0}", NUMBER: "{1}({2})"}  # in text; else ⊥
stop_gradient_op = elementwise(
    "stop_gradient", lambda a, *attrs: a, "{0}", derivative=_none, smoothness=BLOCK, bounds=lambda n, a: a,
    result=lambda args, attrs: args[0].kind, integral="closed", sympy=lambda m, a, *attrs: a,
    regular=True, samples=((0.7,),), transparent=True, work=0,
    text=lambda n: _STOPPED.get(n.attrs[:1], "⊥({0})").format("{0}", *n.attrs[1:]))
assume_continuous_op = elementwise(
    "assume_continuous", lambda a: a, "{0}", derivative=lambda g, y, a: (g,), integral="closed",
    bounds=lambda n, a: a, sympy=lambda m, a: a, regular=True, samples=((0.7,),), transparent=True, work=0)
named_op = elementwise(
    "named", lambda a, *name: a, "{0}", derivative=lambda g, y, a: (g,), integral="closed",
    bounds=lambda n, a: a, sympy=lambda m, a, *name: a, regular=True, samples=((0.7,),), transparent=True, work=0,
    rebuild=lambda node, args, hook: make(node.op, args, node.attrs, owner=node.owner))
index_op = elementwise(
    "index", lambda a, *attrs: a, "{0}", derivative=_none, smoothness=JUMP, integral="always",
    bounds=lambda n, a: a, sympy=lambda m, a, *attrs: a, regular=True, samples=((2.0,),), transparent=True, work=0,
    text="{0}")


def xor(a, b) -> Node:
    """Whether just one of two comparisons holds."""
    a, b = constant(a), constant(b)
    _of_booleans((a, b))
    return apply("ne", a, b)


def choose(condition: Node, a, b) -> Node:
    """`a` where the condition holds, else `b`."""
    return apply("where", condition, a, b)


# Whole powers are an op of their own: they are defined for negative bases, and compile to products. They are rounded
# once, so that comparisons of them do not depend on how they are multiplied.
def _whole_power_derivative(g, y, a):
    n = y.attrs[0]
    return (g * (float(n) * whole_power(a, n - 1)),)


def _digits_of_whole_power(n: Node, x: Sequence[Interval], known: Sequence[float]) -> float:
    power = n.attrs[0]
    return power * known[0] if power >= 0 else -power * digits.of_inverse(x[0])


whole_power_op = register(Op(
    "whole_power", "elementwise", shape=broadcast, value=whole_power_value,
    source="({0} ** {attrs[0]})", bounds=lambda n, a: a.power(n.attrs[0]),
    poles=Pole("where its base passes 0", lambda n, a: n.attrs[0] >= 0 or a.clear_of_zero),
    derivative=_whole_power_derivative, integral=lambda n: "closed" if n.attrs[0] >= 0 else "no",
    regular=lambda n: n.attrs[0] >= 0, work=1, growth=lambda n: float(abs(n.attrs[0])),
    sympy=lambda m, a, n: a**n, text=lambda n: f"{{0}}**{n.attrs[0]}",
    defined=lambda n, a: n.attrs[0] >= 0 or a.clear_of_zero, magnitude=_digits_of_whole_power,
    samples=((0.7, 2), (-1.3, 3), (1.7, -2)),
    inverse=Inverse(lambda i, y, n: apply("odd_root", y, float(n)) if _is_odd(n) else y ** (1.0 / n),
                    lambda i, x, y, n: math.log(abs(n)) + (n - 1.0) * (
                        apply("log", apply("abs", x) if _is_odd(n) else x)),
                    above=lambda i, n: -math.inf if _is_odd(n) else 0.0,
                    tail=lambda i, t, n: t / n if n > 0 else 0.0)))
# The number whose power to a positive odd number it is: those below 0 have one too.
odd_root_op = elementwise(
    "odd_root", lambda x, n: np.where(x >= 0.0, 1.0, -1.0) * np.abs(x) ** (1.0 / n),
    "((1.0 if {0} >= 0.0 else -1.0) * abs({0}) ** (1.0 / {1}))",
    derivative=lambda g, y, x, n: (g * y / (n * x), None), smoothness=(SMOOTH, BLOCK), steep=True,
    # it has a value there, but a slope that nearly has no integral
    poles=(Pole("where its argument touches 0", lambda n, x, order: x.clear_of_zero, order=-0.5), None),
    bounds=lambda n, x, order: Interval(nonzero=x.clear_of_zero), growth=0.5,
    defined=lambda n, x, order: order.positive,
    sympy=lambda m, x, n: m.sign(x) * m.Abs(x) ** (1 / n), text="sign({0}) * abs({0})**(1 / {1})",
    samples=((0.7, 3.0), (-1.3, 3.0), (2.5, 5.0)))


def _is_odd(n: int) -> bool:
    """Whether an xⁿ rises everywhere."""
    return n > 0 and n % 2 == 1


def whole_power(a: Node, n: int) -> Node:
    """``a ** n`` for a whole number n."""
    if n in (0, 1):
        return a if n else constant(np.ones(a.shape))  # NaN ** 0 is 1 too, as NumPy has it
    return make(whole_power_op, (a,), (n,))


def numbered(node: Node) -> int | None:
    """Which argument is what the node is, but for a number of the graph that it is multiplied by or divided by."""
    if node.op not in (mul_op, div_op):
        return None
    numbers = [a.is_const and not a.ndim for a in node.args]
    return 0 if numbers[1] and not numbers[0] else 1 if numbers[0] and node.op is mul_op else None


def with_numbers_of(node: Node, new: Node) -> Node:
    """Another node, multiplied by or divided by the number that this one is; see `numbered`."""
    i = numbered(node)
    return make(node.op, tuple(new if j == i else a for j, a in enumerate(node.args)), node.attrs)
