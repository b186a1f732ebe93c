"""Rules of algebra, one line each: (op, pattern and replacement in words, function).

A function takes the node and returns what it equals, or None. Rules are applied after differentiation: a stopped
gradient is then its own value. A rule keeps NumPy's values, NaN and infinities too: it may assume of an argument only
what is certain, that it is a real number (`scg.analysis.reals`) or in an interval. What overflows on the way to a real
number, as in log eˣ, may be that number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scg.analysis.bounds import Ranges
from scg.analysis.magnitudes import certainly_finite
from scg.analysis.reals import Reals
from scg.functions import exp, log, log1p, sigmoid, softplus
from scg.ir.node import Node, constant, make, of_literals
from scg.ir.op import Op
from scg.ops.arithmetic import (
    add_op,
    and_op,
    div_op,
    mul_op,
    neg_op,
    not_op,
    or_op,
    sub_op,
    where_op,
)
from scg.ops.cancelling import alike_op, bernoulli_residual_op, either_op, log_bernoulli_op, log_outcome_op, term
from scg.ops.contract import contract_op
from scg.ops.density import log_density_op
from scg.ops.elementary import exp_op, log_op, sigmoid_op
from scg.ops.indices import getitem_op
from scg.ops.log_space import log_of_sum_op
from scg.ops.measure import axis_sum_op, expect_op, replace_one, replace_one_op
from scg.ops.reduce import sum_op
from scg.ops.special import exp_times_op, xlog1py_op, xlogy_op, xmuly
from scg.ops.structure import broadcast_to, broadcast_to_op, reshape, reshape_op
from scg.rules.binary_steps import changed_by_steps, weighed_by_steps
from scg.rules.outcomes import log_probability, past
from scg.rules.rank_one import changed_by_one


class Rule(NamedTuple):
    """A rewrite of nodes of one op; `exact` if IEEE arithmetic gives the same number, to the last bit."""

    op: Op
    text: str
    replace: Callable[..., Node | None]
    exact: bool = True


def _number(node: Node) -> Node:
    """The literal that a literal was repeated from."""
    while node.op is broadcast_to_op:
        node = node.args[0]
    return node


def _is(node: Node, value: float) -> bool:
    node = _number(node)
    return node.is_const and node.kind == "real" and node.attrs.ask("is", value)


def _with_literal(deciding: bool) -> Callable[[Node], Node | None]:
    """`and` and `or` of a truth that is known: one of them decides, the other leaves it to the other argument."""

    def rule(n: Node) -> Node | None:
        for known, other in (n.args, n.args[::-1]):
            truth = _number(known)
            if truth.is_const and truth.size:
                if np.all(truth.attrs.array == deciding):
                    return _as(constant(deciding), n)
                if np.all(truth.attrs.array != deciding):
                    return _as(other, n)
        return _as(n.args[0], n) if n.args[0] is n.args[1] else None

    return rule


def _as(node: Node, like: Node) -> Node:
    """`node` at the shape of `like`."""
    return node if node.shape == like.shape else broadcast_to(node, like.shape)


def _fold(n: Node) -> Node | None:
    return of_literals(n) if n.args and n.op.kind == "elementwise" and all(a.is_const for a in n.args) else None


def _empty(n: Node) -> Node | None:
    """A node without elements, or in none of its worlds, is any constant: nobody reads it, and sums of it are 0."""
    if (0 not in n.shape and all(ax.size != 0 for ax in n.axes)) or n.is_const \
            or n.kind not in ("real", "bool"):
        return None
    return constant(np.zeros(n.shape, dtype=bool if n.kind == "bool" else np.float64))


def _seen_through(n: Node) -> Node | None:
    """⊥x, named x, x that is assumed to be continuous, an index that was looked at → x."""
    return n.args[0] if n.op.transparent else None


def _of_replaced(n: Node) -> Node | None:
    """f(x with one element replaced by v) → f(x) with it replaced by f(v): f is computed once, not in every world."""
    axis = next((a.attrs for a in n.args if a.op is replace_one_op), None)
    if axis is None or n.op.kind != "elementwise" or n.kind != "real":
        return None
    parts = []
    for a in n.args:
        if a.op is replace_one_op and a.attrs == axis and a.shape == n.shape and a.kind == "real":
            parts.append(a.args)
        elif axis not in a.axes:
            parts.append((a, a))
        else:
            return None
    x, v = (make(n.op, side, n.attrs) for side in zip(*parts))
    return replace_one(_as(x, n), _as(v, n), axis)


def _inner(n: Node, op: Op) -> Node | None:
    return n.args[0].args[0] if n.args[0].op is op else None


def _factored(n: Node) -> Node | None:
    """A sum or difference of two products with a factor in common."""
    if any(a.op is not mul_op for a in n.args):
        return None
    (a, b), second = n.args[0].args, n.args[1].args
    for x, y in ((a, b), (b, a)):
        for i in (0, 1):
            if second[i] is x:
                return x * make(n.op, (y, second[1 - i]))
    return None


def _throughout(n: Node) -> Node | None:
    """The branch of a choice that is taken at every element."""
    condition = _number(n.args[0])
    if not condition.is_const or not n.size:
        return None
    holds = condition.attrs.array
    return _as(n.args[1], n) if np.all(holds) else None if np.any(holds) else _as(n.args[2], n)


def _residual(n: Node) -> Node:
    x, logits = n.args
    less = sigmoid(-abs(logits))  # the probability of the other outcome
    return past(x, logits) + term(logits > 0.0, less, -less)


def _times_zero(n: Node) -> Node | None:
    """0 · ∞ and 0 · NaN are NaN, and stay so: the other factor must be a real number, and none that may overflow."""
    others = [n.args[1 - i] for i in (0, 1) if _is(n.args[i], 0.0)]
    return constant(np.zeros(n.shape)) if any(Reals()(x) and certainly_finite(x) for x in others) else None


RULES: list[Rule] = [
    Rule(mul_op, "x · 0 → 0, x real", _times_zero),
    Rule(mul_op, "x · 1 → x", lambda n: next((_as(n.args[1 - i], n) for i in (0, 1) if _is(n.args[i], 1.0)), None)),
    Rule(mul_op, "x · −1 → −x", lambda n: next((-_as(n.args[1 - i], n) for i in (0, 1) if _is(n.args[i], -1.0)), None)),
    Rule(mul_op, "−x · y → −(x · y)",
         lambda n: -(n.args[0].args[0] * n.args[1]) if n.args[0].op is neg_op else None),
    Rule(mul_op, "x · −y → −(x · y)",
         lambda n: -(n.args[0] * n.args[1].args[0]) if n.args[1].op is neg_op else None),
    Rule(add_op, "x + 0 → x", lambda n: next((_as(n.args[1 - i], n) for i in (0, 1) if _is(n.args[i], 0.0)), None)),
    Rule(add_op, "x + −y → x − y", lambda n: n.args[0] - n.args[1].args[0] if n.args[1].op is neg_op else None),
    Rule(add_op, "−x + y → y − x", lambda n: n.args[1] - n.args[0].args[0] if n.args[0].op is neg_op else None),
    Rule(add_op, "x · a + x · b → x · (a + b)", _factored, exact=False),
    Rule(sub_op, "x · a − x · b → x · (a − b)", _factored, exact=False),
    Rule(sub_op, "x − 0 → x", lambda n: _as(n.args[0], n) if _is(n.args[1], 0.0) else None),
    Rule(sub_op, "0 − x → −x", lambda n: -_as(n.args[1], n) if _is(n.args[0], 0.0) else None),
    Rule(sub_op, "x − −y → x + y", lambda n: n.args[0] + n.args[1].args[0] if n.args[1].op is neg_op else None),
    Rule(div_op, "x / 1 → x", lambda n: _as(n.args[0], n) if _is(n.args[1], 1.0) else None),
    Rule(div_op, "0 / x → 0, x real and not 0", lambda n: constant(np.zeros(n.shape)) if _is(n.args[0], 0.0)
         and Ranges()(n.args[1]).clear_of_zero and Reals()(n.args[1]) else None),
    Rule(neg_op, "−−x → x", lambda n: _inner(n, neg_op)),
    Rule(log_op, "log eˣ → x", lambda n: _inner(n, exp_op), exact=False),
    Rule(exp_op, "e^log x → x, x ≥ 0", lambda n: _inner(n, log_op)
         if n.args[0].op is log_op and Ranges()(n.args[0].args[0]).low >= 0 else None, exact=False),
    Rule(log_of_sum_op, "log of a sum → log", lambda n: log(n.args[0])),
    Rule(log_op, "log σ(x) → −softplus(−x)", lambda n: -softplus(-n.args[0].args[0])
         if n.args[0].op is sigmoid_op else None, exact=False),
    Rule(log_density_op, "log p of what can be drawn → its formula",
         lambda n: _as(n.args[2], n) if n.args[0].is_const and not n.args[0].attrs.ask("any") else None),
    Rule(where_op, "x either way → x", lambda n: _as(n.args[1], n) if n.args[1] is n.args[2] else None),
    Rule(where_op, "one branch throughout → that", _throughout),
    Rule(and_op, "x and True → x, x and False → False, x and x → x", _with_literal(False)),
    Rule(or_op, "x or False → x, x or True → True, x or x → x", _with_literal(True)),
    Rule(not_op, "not not x → x", lambda n: _inner(n, not_op)),
    Rule(alike_op, "x, alike another → x", lambda n: _as(n.args[0], n)),
    Rule(either_op, "one way throughout → that", _throughout),
    Rule(xlogy_op, "x log y → x · log y, 0 where x is", lambda n: xmuly(n.args[0], log(n.args[1]))),
    Rule(xlog1py_op, "x log(1 + y) → x · log(1 + y), 0 where x is",
         lambda n: xmuly(n.args[0], log1p(n.args[1]))),
    Rule(exp_times_op, "eᵃ y → eᵃ · y, 0 where eᵃ is", lambda n: xmuly(exp(n.args[0]), n.args[1])),
    Rule(log_outcome_op, "log p of x, of probability p → x · log p + (1 − x) · log(1 − p), 0 where a factor is",
         lambda n: xmuly(n.args[0], log(n.args[1])) + xmuly(1.0 - n.args[0], log1p(-n.args[1]))),
    Rule(log_bernoulli_op, "log p of x, of log-odds l → (x − 1) l − softplus(−l) above 0, x l − softplus(l) below",
         lambda n: log_probability(*n.args)),
    Rule(bernoulli_residual_op, "x − σ(l) → (x − 1) + σ(−l) above 0, x − σ(l) below", _residual),
    Rule(reshape_op, "reshape of reshape", lambda n: reshape(_inner(n, reshape_op), n.shape)
         if n.args[0].op is reshape_op else None),
    Rule(broadcast_to_op, "broadcast of broadcast",
         lambda n: broadcast_to(_inner(n, broadcast_to_op), n.shape)
         if n.args[0].op is broadcast_to_op else None),
    Rule(replace_one_op, "the only element, replaced → what replaces it",
         lambda n: _as(n.args[1], n) if n.attrs.size == 1 and n.size == 1 else None),
    Rule(sum_op, "sum of nothing but zeros", lambda n: constant(np.zeros(n.shape)) if _is(n.args[0], 0.0) else None),
    Rule(sum_op, "Σ over size 1 → reshape", lambda n: reshape(n.args[0], n.shape)
         if all(n.args[0].shape[d] == 1 for d in n.attrs) else None),
    Rule(sum_op, "Σ log p(x; l + d w) → Σ log p(x; l) + d Σ x w − Σ (softplus(l + d w) − softplus(l)), d in −1, 0, 1",
         changed_by_steps, exact=False),
    Rule(sum_op, "Σ a σ(s (l + d w)) → Σ s a σ(l + d w) + Σ a (1 − s)/2, d in −1, 0, 1, s in −1, 1", weighed_by_steps,
         exact=False),
    Rule(contract_op, "x · 0 → 0, x real", _times_zero),
    Rule(contract_op, "(x, one element v) · b → x · b + (v − x) · row of b", changed_by_one, exact=False),
    Rule(axis_sum_op, "Σ 0 → 0", lambda n: n.args[0] if _is(n.args[0], 0.0) else None),
    Rule(expect_op, "E[constant] → constant", lambda n: n.args[0] if n.args[0].is_const else None),
    Rule(getitem_op, "part of a constant", lambda n: constant(n.op.value(n, [n.args[0].attrs.array]))
         if n.args[0].is_const else None),
    Rule(reshape_op, "reshape of a constant", lambda n: constant(n.args[0].attrs.array.reshape(n.shape))
         if n.args[0].is_const else None),
]  # fmt: skip

BY_OP: dict[Op, list[Rule]] = {}
for _rule in RULES:
    BY_OP.setdefault(_rule.op, []).append(_rule)


def step(n: Node, exact: bool | None = None) -> Node | None:
    """What the first rule that applies makes of the node, or None.

    With `exact` given, by those rules only that keep the last bit, or by those that do not.
    """
    if exact is not False:
        for known in (_empty(n), _seen_through(n), _fold(n), _of_replaced(n)):
            if known is not None:
                return known
    for rule in BY_OP.get(n.op, ()):
        new = rule.replace(n) if exact is None or rule.exact is exact else None
        if new is not None and new is not n:
            return new
    return None
